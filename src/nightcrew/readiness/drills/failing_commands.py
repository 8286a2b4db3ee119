"""Commands of the crew that must fail: each says so by its status and a code, and the code leads to what to do."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from nightcrew.crew.project import STATE
from nightcrew.model.errors import DocumentError, IntegrityError, NotFoundError, UsageError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import short
from nightcrew.readiness.drills.protocol import Done, Observed, On, Place
from nightcrew.readiness.target import Target

_FIX = "Fix"


@dataclass(frozen=True)
class FailingCommands:
    """See ``Drill``."""

    name: str = "failing-commands"
    title: str = "what fails says so, and leads to a runbook that says what to do"
    boxes: tuple[Box, ...] = (Box.RUNBOOKS,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = (
        "a ticket and a handoff that are not there, an agent that does not exist, settings that are no TOML, a playbook"
        " that breaks its schema, a ledger that was written to"
    )
    expects: str = (
        "each command ends with a status that is not 0 and the code of what is wrong, never with a bug's, and nightcrew"
        " runbook CODE says what to do"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew has commands
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        settings, playbook = place.root / SETTINGS_FILE, place.root / STATE / "playbook.md"
        wrong, codes = [], list[str]()
        slowest = 0.0
        for what, arguments, injected, wanted in (
            ("a ticket that is not there", ("ticket", "show", "T-9999"), None, NotFoundError.code),
            ("a handoff that is not there", ("handoff", "show", "H-999999"), None, NotFoundError.code),
            ("an agent that does not exist", ("plan", "nobody-of-that-name"), None, UsageError.code),
            ("settings that are no TOML", ("ticket", "list"), _text(settings, "this is [no TOML"), DocumentError.code),
            (
                "a playbook that breaks its schema", ("plan", "build"), _text(playbook, "---\nschema: nothing\n---\n"),
                DocumentError.code,
            ),
            (
                "a ledger that was written to", ("audit", "verify"), _ledger(place.root / STATE / "nightcrew.db"),
                IntegrityError.code,
            ),
        ):  # fmt: skip
            undo = injected() if injected is not None else None
            done = place.nightcrew(*arguments, "--json")
            slowest = max(slowest, done.seconds)
            code = _code(done)
            if done.ok:
                wrong.append(f"{what}: nightcrew {' '.join(arguments)} reports success")
            elif code != wanted:
                with_code = f"with {code}, and not with {wanted}" if code else "without a code"
                wrong.append(f"{what}: it failed {with_code}: {short(done.tail(200))}")
            if code:
                codes.append(code)
            if undo is not None:
                undo()
        for code in dict.fromkeys(codes):
            shown = place.nightcrew("runbook", code, "--json")
            if not shown.ok or not shown.json().get("sections", {}).get(_FIX):
                wrong.append(f"{code} leads to no runbook that says what to do: {shown.tail(200)}")
        happened = (
            "; ".join(wrong)
            or f"6 commands failed and said why ({', '.join(dict.fromkeys(codes))}), each with a runbook"
        )
        return Observed(not wrong, happened, slowest, None, {"codes": codes})


def _code(done: Done) -> str:
    for text in (done.errors, done.output):
        try:
            said = json.loads(text)
            return str(said.get("error", said)["code"])  # An audit tells what does not fit as its answer.
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return ""


def _text(path: Path, text: str) -> Callable[[], Callable[[], object]]:
    def damage() -> Callable[[], object]:
        before = path.read_bytes() if path.exists() else None
        path.write_text(text)
        return (lambda: path.unlink()) if before is None else (lambda: path.write_bytes(before))

    return damage


def _ledger(path: Path) -> Callable[[], None]:
    def damage() -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE ledger SET actor = 'drill' WHERE seq = 1")

    return damage


DRILL = FailingCommands()
