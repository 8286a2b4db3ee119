"""The checklist: the eight boxes of a target, each with what is known of it and by what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.readiness import drills
from nightcrew.readiness.boxes import Box, BoxState, Evidence, Gap, Status, is_ready
from nightcrew.readiness.drills.protocol import Drill, Result
from nightcrew.readiness.fingerprint import Fingerprint
from nightcrew.readiness.looks import Look
from nightcrew.readiness.target import CodeTarget, CrewTarget, PipelineTarget, Target


@dataclass(frozen=True)
class Checklist:
    """What is known of a target at a moment. ``undrilled``: of each box, drills that could prove it and have not."""

    target: str
    at: datetime
    fingerprint: Fingerprint
    boxes: tuple[BoxState, ...]
    undrilled: Mapping[Box, tuple[str, ...]]

    @property
    def ready(self) -> bool:
        """Whether nothing is left to do."""
        return is_ready(self.boxes)

    def count(self, status: Status) -> int:
        """How many boxes have a status."""
        return sum(state.status is status for state in self.boxes)

    def summary(self) -> str:
        """``5 proven, 2 configured, 1 missing``."""
        said = [f"{count} {status.replace('_', ' ')}" for status in Status if (count := self.count(status))]
        return ", ".join(said)

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return {
            "target": self.target,
            "at": isoformat(self.at),
            "ready": self.ready,
            "fingerprint": self.fingerprint.digest,
            "parts": dict(self.fingerprint.parts),
            "boxes": [
                {**state.plain(), "asks": state.box.asks, "undrilled": list(self.undrilled.get(state.box, ()))}
                for state in self.boxes
            ],
        }


def check(target: Target, *, clock: Clock = system_clock) -> Checklist:
    """Look at a target, and at the drills of it that are stored. A pipeline's module is imported, plain code is not.

    Raises IntegrityError for results that are not what was stored, and what importing the module raises.
    """
    fingerprint = target.fingerprint()
    results: dict[str, Result] = {}
    able: list[Drill] = []
    if isinstance(target, CodeTarget):
        from nightcrew.readiness.code_boxes import look_at_code

        looks = look_at_code(target.path, target.root)
    else:
        results, load = _stored(target, fingerprint)
        able = able_drills(target)
        if isinstance(target, PipelineTarget):
            from nightcrew.readiness.pipeline_boxes import look_at_pipeline

            looks = look_at_pipeline(target, load=load)
        else:
            from nightcrew.readiness.crew_boxes import look_at_crew

            looks = look_at_crew(target.project)
    states, undrilled = [], {}
    for box in Box:
        states.append(_state(looks[box], results, fingerprint))
        undrilled[box] = tuple(
            one.name for one in able if box in one.boxes and not _holds(results.get(one.name), fingerprint)
        )
    return Checklist(target.label, clock(), fingerprint, tuple(states), undrilled)


def able_drills(target: CrewTarget | PipelineTarget) -> list[Drill]:
    """Every drill, nightcrew's and the user's own, that can be done on a target."""
    from nightcrew.readiness.drills import own

    found: list[Drill] = []
    for name in drills.names():
        try:
            one = drills.for_target(name, target)
        except ImportError:  # A drill of an extra that is not installed.
            continue
        if not drills.why_not(one, target):
            found.append(one)
    return [*found, *own.found(target)]


def _stored(target: CrewTarget | PipelineTarget, fingerprint: Fingerprint) -> tuple[dict[str, Result], str]:
    """The last result of each drill, and what is known of the last load test (empty: there is none)."""
    from nightcrew.readiness.drills import running
    from nightcrew.store import drills as stored

    if isinstance(target, PipelineTarget) and not target.pipeline.state.exists():
        return {}, ""
    results = running.last_results(target)
    with running.opened(target) as store, store.read() as tx:
        loads = [one for one in stored.loads(tx, target.label, limit=1) if stored.load_is_vouched(tx, one)]
    said = ""
    if loads:
        stale = "" if loads[0].fingerprint == fingerprint.digest else ", before something changed"
        said = f"a load test on {loads[0].started:%Y-%m-%d}{stale}, entry {loads[0].entry} of the ledger"
    return results, said


def _holds(result: Result | None, now: Fingerprint) -> bool:
    return result is not None and result.outcome == "passed" and result.fingerprint == now.digest


def _state(look: Look, results: Mapping[str, Result], now: Fingerprint) -> BoxState:
    """What is known of one box: what is not there outweighs every drill that passed, and so does one that failed."""
    about = [one for one in results.values() if look.box in one.boxes]
    passed = [one for one in about if _holds(one, now)]
    failed = [one for one in about if one.outcome == "failed" and one.fingerprint == now.digest]
    stale = [one for one in about if one.fingerprint != now.digest and one.outcome in ("passed", "failed")]
    gaps = [*look.gaps, *(_as_gap(one) for one in failed)]
    evidence = (*(_as_evidence(one) for one in passed), *look.evidence)
    status, reason = _judged(look, gaps, failed, passed, stale, now)
    return BoxState(box=look.box, status=status, reason=reason, evidence=evidence, gaps=tuple(gaps))


def _judged(
    look: Look,
    gaps: Sequence[Gap],
    failed: Sequence[Result],
    passed: Sequence[Result],
    stale: Sequence[Result],
    now: Fingerprint,
) -> tuple[Status, str]:
    if failed:
        names = ", ".join(one.drill for one in failed)
        return Status.MISSING, f"{names} failed: {failed[0].happened}"
    if gaps:
        more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
        return Status.MISSING, f"{gaps[0].what}{more}"
    if passed:
        last = max(one.started for one in passed)
        return Status.PROVEN, f"{_drills(len(passed))} passed, the last on {last:%Y-%m-%d}: {_names(passed)}"
    if look.needless:
        return Status.NOT_APPLICABLE, look.needless
    if stale:
        one = max(stale, key=lambda result: result.started)
        changed = "; ".join(now.changed(Fingerprint(one.parts))[:3])
        return Status.CONFIGURED, f"{one.drill} {one.outcome} on {one.started:%Y-%m-%d}, and since then: {changed}"
    return Status.CONFIGURED, "it is there, and no drill has shown yet that it works"


def _as_gap(result: Result) -> Gap:
    fix = f"Do it again and look at the copy: nightcrew drill {result.drill} --keep"
    return Gap(what=f"the drill {result.drill} failed: {result.happened}", fix=fix)


def _as_evidence(result: Result) -> Evidence:
    stood_in = f" (stood in: {result.stood_in})" if result.stood_in else ""
    return Evidence(
        kind="drill", detail=f"{result.drill}: {result.happened}{stood_in}", at=result.started, entry=result.entry
    )


def _drills(count: int) -> str:
    return f"{count} {'drill' if count == 1 else 'drills'}"


def _names(results: Sequence[Result]) -> str:
    return ", ".join(sorted(one.drill for one in results))
