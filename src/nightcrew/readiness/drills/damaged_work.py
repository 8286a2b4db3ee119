"""Damaged work among good: tickets and a playbook that break their schema are refused, and never worked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from nightcrew.crew.project import STATE
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import (
    project,
    set_up,
    shift,
    shift_arguments,
    short,
    worked,
)
from nightcrew.readiness.drills.protocol import Done, NotDone, Observed, On, Place
from nightcrew.readiness.target import Target
from nightcrew.store import handoffs, sessions

_GOOD = "nightcrew-drill-good.txt"
_DAMAGED = {
    2: ("a line that is cut off", b'{"title": "Cut o'),
    3: ("a title that is a number", b'{"title": 7}'),
    4: ("a line without a title", b'{"body": "What is to be done?"}'),
    5: ("a priority that does not exist", b'{"title": "Soon", "priority": "urgent"}'),
    6: ("a field that does not exist", b'{"title": "Approved", "approved": true}'),
    7: ("a line that is no text", b'{"title": "\xff\xfe"}'),
}


@dataclass(frozen=True)
class DamagedWork:
    """See ``Drill``."""

    name: str = "damaged-work"
    title: str = "work that breaks its schema is refused, and the good work beside it is done"
    boxes: tuple[Box, ...] = (Box.INPUTS,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = (
        f"a file of tickets in which {len(_DAMAGED)} of {len(_DAMAGED) + 1} lines are damaged, and a playbook that"
        " breaks its schema"
    )
    expects: str = (
        "each damaged line is refused with its number and the reason; no shift begins with that playbook; nobody works"
        " what is damaged, and the good line is worked"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew is given work
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        set_up(place, tables={"limits": {"attempts_per_shift": 1}})
        file = place.scratch / "work.jsonl"
        good = json.dumps({"title": f"Write {_GOOD}", "command": f"printf drill > {_GOOD}"}).encode()
        file.write_bytes(b"\n".join([good, *(data for _, data in _DAMAGED.values())]) + b"\n")
        began = place.elapsed()
        brought = place.nightcrew("import", "jsonl", str(file), "--with-commands", "--json")
        detected = place.elapsed() - began
        things = _things(brought)
        filed = next((one["ticket"] for one in things if one["ref"] not in _refs() and one.get("ticket")), None)
        if filed is None:
            return Observed(False, f"the good line was not filed either: {brought.tail(300)}")
        wrong = [*_refused(things, filed), *_by_the_playbook(place)]
        shift(place)
        wrong += [problem] if (problem := worked(place, filed)) else []
        happened = "; ".join(wrong) or (
            f"{len(_DAMAGED)} damaged lines were refused, each with its number and the reason; no shift began with the"
            f" playbook that breaks its schema; {filed}, the good line, was worked"
        )
        evidence = {"refused": {one["ref"]: short(one["reason"]) for one in things if one["what"] == "refused"}}
        return Observed(not wrong, happened, detected, None, evidence)


def _refs() -> list[str]:
    return [f"line {number}" for number in _DAMAGED]


def _things(brought: Done) -> list[dict[str, str]]:
    if brought.status not in (0, 1):
        raise NotDone(f"the file was not brought in: it ended with {brought.status}: {brought.tail(300)}")
    found: list[dict[str, str]] = brought.json()["things"]
    return found


def _refused(things: list[dict[str, str]], good: str) -> Iterator[str]:
    """What is wrong with what was said of the damaged lines."""
    known = {one["ref"]: one for one in things if one["what"] == "refused"}
    for number, (what, _) in _DAMAGED.items():
        said = known.get(f"line {number}")
        if said is None:
            yield f"line {number} ({what}) was not refused"
        elif not said["reason"]:
            yield f"line {number} ({what}) was refused without a reason"
    if made := [one["ticket"] for one in things if one.get("ticket") not in (None, good)]:
        yield f"damaged lines were filed as tickets: {', '.join(made)}"


def _by_the_playbook(place: Place) -> Iterator[str]:
    """What is wrong with a shift whose playbook breaks its schema."""
    path = place.root / STATE / "playbook.md"
    before = path.read_bytes()
    path.write_text("---\nschema: nightcrew/playbook/v1\ngates:\n  severity: whatever\n---\n")
    try:
        done = place.nightcrew(*shift_arguments())
    finally:
        path.write_bytes(before)
    with project(place).store.read() as tx:
        begun = [one.id for one in sessions.list(tx)] or [one.id for one in handoffs.list(tx) if one.sender == "build"]
    if done.status in (0, 1) or begun:
        yield f"a shift began with a playbook that breaks its schema ({done.tail(200)})"


DRILL = DamagedWork()
