"""The checklist: the eight boxes of a target, each with what is known of it and by what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.model.errors import IntegrityError
from nightcrew.readiness import drills
from nightcrew.readiness.boxes import Box, BoxState, Evidence, Gap, Status, is_ready
from nightcrew.readiness.drills.protocol import Drill, Result
from nightcrew.readiness.fingerprint import Fingerprint
from nightcrew.readiness.looks import Look
from nightcrew.readiness.target import CodeTarget, CrewTarget, PipelineTarget, Target

_CHANGED = 3


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

    Where the ledger is not whole, no drill counts. Raises what importing the module raises.
    """
    fingerprint = target.fingerprint()
    kept = _Kept({})
    able: list[Drill] = []
    if isinstance(target, CodeTarget):
        from nightcrew.readiness.code_boxes import look_at_code

        looks = look_at_code(target.path, target.root)
    else:
        kept = _stored(target, fingerprint)
        able = able_drills(target)
        if isinstance(target, PipelineTarget):
            from nightcrew.readiness.pipeline_boxes import look_at_pipeline

            looks = look_at_pipeline(target, load=kept.load, outdated=kept.outdated)
        else:
            from nightcrew.readiness.crew_boxes import look_at_crew

            looks = look_at_crew(target.project)
        if kept.problem and kept.problem not in [gap.what for gap in looks[Box.STATE].gaps]:
            looks[Box.STATE].gap(kept.problem, "See all of it: nightcrew audit verify")
    states, undrilled = [], {}
    for box in Box:
        undrilled[box] = tuple(
            one.name for one in able if box in one.boxes and not _holds(kept.results.get(one.name), fingerprint)
        )
        states.append(_state(looks[box], kept, fingerprint, target, undrilled[box]))
    return Checklist(target.label, clock(), fingerprint, tuple(states), undrilled)


def able_drills(target: CrewTarget | PipelineTarget) -> list[Drill]:
    """Every drill, nightcrew's and the user's own, that can be done on a target."""
    from nightcrew.readiness.drills import own

    found: list[Drill] = []
    for name, kinds in drills.CATALOGUE.items():
        if drills.kind(target) not in kinds:
            continue
        try:
            one = drills.for_target(name, target)
        except ImportError:  # A drill of an extra that is not installed.
            continue
        if not drills.why_not(one, target):
            found.append(one)
    return [*found, *own.found(target)]


@dataclass(frozen=True)
class _Kept:
    """What the state of a target has on it: the last result of each drill, with the hashes of their entries; the last
    load test, and what has changed since. ``problem``: ledger or results are not what was written: nothing counts.
    """  # noqa: D205

    results: Mapping[str, Result]
    hashes: Mapping[int, str] = field(default_factory=dict)
    load: Evidence | None = None
    outdated: str = ""
    problem: str = ""


def _stored(target: CrewTarget | PipelineTarget, fingerprint: Fingerprint) -> _Kept:
    from nightcrew.pipeline.pinned import hash_of
    from nightcrew.readiness.drills import running
    from nightcrew.store import drills as stored

    if isinstance(target, PipelineTarget) and not target.pipeline.state.exists():
        return _Kept({})
    with running.opened(target) as store:
        try:
            with store.read() as tx:
                loads = stored.loads(tx, target.label, limit=1)
                if not loads and not stored.latest(tx, target.label):
                    return _Kept({})
            running.require_whole(target)  # Else a drill that failed is forgotten with its entry.
            results = running.last_results(target)
            with store.read() as tx:
                entries = {one.entry for one in results.values() if one.entry is not None}
                # One at which no rate held shows nothing.
                loads = [one for one in loads if one.doc.get("knee") is not None and stored.load_is_vouched(tx, one)]
                hashes = {seq: hash_of(tx, seq) or "" for seq in sorted(entries | {one.entry for one in loads})}
        except IntegrityError as error:
            return _Kept({}, problem=str(error))
    if not loads:
        return _Kept(results, hashes)
    last = loads[0]
    evidence = Evidence(
        kind="ledger", detail="a load test", at=last.started, entry=last.entry, sha256=hashes[last.entry]
    )
    stale = "" if last.fingerprint == fingerprint.digest else f"the load test on {last.started:%Y-%m-%d}"
    return _Kept(results, hashes, evidence, stale)


def _holds(result: Result | None, now: Fingerprint) -> bool:
    return result is not None and result.outcome == "passed" and result.fingerprint == now.digest


def _state(look: Look, kept: _Kept, now: Fingerprint, target: Target, undrilled: Sequence[str]) -> BoxState:
    """What is known of one box: what is not there outweighs every drill that passed, and so does one that failed."""
    about = [one for one in kept.results.values() if look.box in one.boxes]
    passed = [one for one in about if _holds(one, now)]
    failed = [one for one in about if one.outcome == "failed" and one.fingerprint == now.digest]
    stale = [one for one in about if one.fingerprint != now.digest and one.outcome in ("passed", "failed")]
    gaps = [*look.gaps, *(_as_gap(one, target) for one in failed)]
    evidence = (*(_as_evidence(one, kept.hashes) for one in passed), *look.evidence)
    if failed:
        names = ", ".join(one.drill for one in failed)
        status, reason = Status.MISSING, f"{names} failed: {failed[0].happened}"
    elif gaps:
        more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
        status, reason = Status.MISSING, f"{gaps[0].what}{more}"
    elif passed:
        status, reason = _shown(passed, look, [name for name in undrilled if name in drills.CATALOGUE])
    elif look.needless:
        status, reason = Status.NOT_APPLICABLE, look.needless
    else:
        status, reason = Status.CONFIGURED, _unshown(stale, now)
    return BoxState(box=look.box, status=status, reason=reason, evidence=evidence, gaps=tuple(gaps))


def _shown(passed: Sequence[Result], look: Look, undrilled: Sequence[str]) -> tuple[Status, str]:
    """Of a box whose drills passed. One of the user's own is the application's word, unless there is no other."""
    last = max(one.started for one in passed)
    said = f"{_drills(len(passed))} passed, the last on {last:%Y-%m-%d}: {_names(passed)}"
    if undrilled and not any(one.drill in drills.CATALOGUE for one in passed):
        return Status.CONFIGURED, f"{said}, of its own making; not drilled: {', '.join(undrilled)}"
    if look.outdated:
        return Status.CONFIGURED, f"{said}; {look.outdated} was before something changed"
    stood_in = [one for one in passed if one.stood_in]
    if stood_in:
        said += " (with stand-ins)" if len(stood_in) == len(passed) else f" (with stand-ins: {_names(stood_in)})"
    return Status.PROVEN, said


def _unshown(stale: Sequence[Result], now: Fingerprint) -> str:
    if not stale:
        return "it is there, and no drill has shown yet that it works"
    one = max(stale, key=lambda result: result.id or 0)
    changed = now.changed(Fingerprint(one.parts))
    more = f"; and {len(changed) - _CHANGED} more" if len(changed) > _CHANGED else ""
    return f"{one.drill} {one.outcome} on {one.started:%Y-%m-%d}, and since then: {'; '.join(changed[:_CHANGED])}{more}"


def _as_gap(result: Result, target: Target) -> Gap:
    named = f" --target {target.typed}" if isinstance(target, PipelineTarget) else ""
    fix = f"Do it again and look at the copy: nightcrew drill {result.drill}{named} --keep"
    return Gap(what=f"the drill {result.drill} failed: {result.happened}", fix=fix)


def _as_evidence(result: Result, hashes: Mapping[int, str]) -> Evidence:
    stood_in = f" (stood in: {result.stood_in})" if result.stood_in else ""
    return Evidence(
        kind="drill", detail=f"{result.drill}: {result.happened}{stood_in}", at=result.started, entry=result.entry,
        sha256=hashes.get(result.entry or 0, ""),
    )  # fmt: skip


def _drills(count: int) -> str:
    return f"{count} {'drill' if count == 1 else 'drills'}"


def _names(results: Sequence[Result]) -> str:
    return ", ".join(sorted(one.drill for one in results))
