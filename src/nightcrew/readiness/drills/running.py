"""Running a drill on an isolated copy of a target, and keeping what came of it."""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import NightcrewError, SandboxError
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import why_not
from nightcrew.readiness.drills.place import SECONDS, Given, made
from nightcrew.readiness.drills.protocol import ChildError, Drill, NotApplicable, Observed, Outcome, Result
from nightcrew.readiness.fingerprint import Fingerprint
from nightcrew.readiness.target import CrewTarget, PipelineTarget, Target
from nightcrew.store import drills as stored
from nightcrew.store import rows

if TYPE_CHECKING:
    from nightcrew.store.drills import DrillRun
    from nightcrew.store.store import Store

_MOST_TEXT = 4000
_HELD = "A pipeline is drilled in a sandbox or not at all: Linux with Landlock (5.13 or later) or bubblewrap, or macOS."
_MOST_FACTS = 500_000


def run(
    drill: Drill,
    target: Target,
    *,
    seconds: float = SECONDS,
    given: Given | None = None,
    keep: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    clock: Clock = system_clock,
) -> Result:
    """Do one drill on a copy of ``target``, which is not touched; gives what came of it. Nothing is stored.

    ``seconds`` limit what is run in the copy. A drill that breaks, or a copy that cannot be made, is an outcome
    (``error``), which proves nothing; only interruption is raised.
    """
    started, began = clock(), time.monotonic()
    fingerprint = target.fingerprint()
    outcome, observed = _outcome(drill, target, seconds, given, keep, tell)
    return Result(
        drill=drill.name,
        target=target.label,
        outcome=outcome,
        boxes=drill.boxes,
        injected=_text(drill.injects),
        expected=_text(drill.expects),
        happened=_text(observed.happened),
        detected_seconds=_rounded(observed.detected_seconds),
        recovered_seconds=_rounded(observed.recovered_seconds),
        stood_in=_text(observed.stood_in),
        started=started,
        seconds=round(time.monotonic() - began, 3),
        evidence=_facts(observed.evidence),
        fingerprint=fingerprint.digest,
        parts=fingerprint.parts,
    )


def keep_result(target: Target, result: Result) -> Result:
    """Store a result in the state of the target, with an entry of its ledger; gives it with their numbers."""
    doc = {name: value for name, value in result.plain().items() if name not in ("id", "entry")}
    with opened(target) as store:
        with store.begin() as tx:
            run = stored.add(
                tx, target=result.target, drill=result.drill, outcome=result.outcome, started=result.started,
                fingerprint=result.fingerprint, doc=doc,
            )  # fmt: skip
        _pin(target)
    return replace(result, id=run.id, entry=run.entry)


def last_results(target: Target) -> dict[str, Result]:
    """The last result of each drill of a target, by the drill's name; only what the ledger vouches for.

    Whether they still hold is for ``Result.fingerprint``, compared with the target's. Raises IntegrityError.
    """
    with opened(target) as store, store.read() as tx:
        return {
            name: as_result(run) for name, run in stored.latest(tx, target.label).items() if stored.is_vouched(tx, run)
        }


def as_result(run: "DrillRun") -> Result:
    """What is stored, as it was."""
    doc = dict(run.doc)
    doc["boxes"] = tuple(Box(name) for name in doc["boxes"])
    doc["started"] = rows.from_time(doc["started"])
    return Result(**doc, id=run.id, entry=run.entry)


def changed_since(target: Target, result: Result) -> list[str]:
    """What of the target is not as it was when the result was made, in words; empty: it still holds."""
    return target.fingerprint().changed(Fingerprint(result.parts))


def require_whole(target: Target) -> None:
    """Raises IntegrityError if the ledger of a target lacks an entry, or has one that nightcrew did not write."""
    if isinstance(target, CrewTarget):
        target.project.verify_ledger()
    elif isinstance(target, PipelineTarget):
        target.pipeline.state.verify_ledger()


@contextmanager
def opened(target: Target) -> "Iterator[Store]":
    """The state that belongs to a target: the crew's; the pipeline's (its module is imported); of plain code, none.

    Raises NotApplicable for plain code: it has no state.
    """
    if isinstance(target, CrewTarget):
        yield target.project.store
    elif isinstance(target, PipelineTarget):
        yield target.pipeline.state.store
    else:
        raise NotApplicable("plain code has no state")


def _pin(target: Target) -> None:
    if isinstance(target, CrewTarget):
        target.project.pin_ledger()
    elif isinstance(target, PipelineTarget):
        target.pipeline.state.pin()


def _outcome(
    drill: Drill,
    target: Target,
    seconds: float,
    given: Given | None,
    keep: bool,
    tell: Callable[[str], None],
) -> tuple[Outcome, Observed]:
    if reason := why_not(drill, target):
        return "not_applicable", Observed(False, reason)
    try:
        with made(target, seconds=seconds, given=given, keep=keep, tell=tell) as place:
            tell(drill.injects)
            place.begin()
            observed = drill.run(place)
            notes = [note for note in (observed.stood_in, *place.notes, _passed_along(given)) if note]
            return "passed" if observed.passed else "failed", replace(observed, stood_in="; ".join(notes))
    except NotApplicable as reason:
        return "not_applicable", Observed(False, str(reason))
    except ChildError as error:
        more = {"kind": error.kind, "hint": error.hint}
        return "error", Observed(False, f"the code under drill broke: {error}", evidence=more)
    except NightcrewError as error:
        has_no_switch = isinstance(error, SandboxError) and isinstance(target, PipelineTarget)
        more = {"code": error.code, "hint": _HELD if has_no_switch else error.hint}
        return "error", Observed(False, f"the drill could not be done: {error}", evidence=more)
    except Exception as error:
        more = {"traceback": traceback.format_exc()[-4000:]}
        return "error", Observed(False, f"the drill itself broke: {type(error).__name__}: {error}", evidence=more)


def _passed_along(given: Given | None) -> str:
    """What of this environment the code was shown: it may behave otherwise at night, without that."""
    names = sorted(name for name in given.variables if name in os.environ) if given is not None else []
    return f"it was given {', '.join(names)} of the environment" if names else ""


def _text(said: object) -> str:
    """What the code under drill may have said, as the store and the ledger can hold it."""
    text = str(said).encode("utf-8", "replace").decode()
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _facts(evidence: Mapping[str, Any]) -> dict[str, Any]:
    plain = json.dumps(dict(evidence), default=str, ensure_ascii=False).encode("utf-8", "replace")
    if len(plain) > _MOST_FACTS:
        return {"left_out": f"{len(plain)} bytes of facts: too many to keep"}
    found: dict[str, Any] = json.loads(plain, parse_constant=str)
    return found


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
