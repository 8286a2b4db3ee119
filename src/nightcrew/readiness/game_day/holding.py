"""Holding a game day: on a pipeline one run with all faults; on a crew drill after drill, in random order."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nightcrew.model.clock import Clock, system_clock
from nightcrew.readiness import drills
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import own, running
from nightcrew.readiness.drills.place import Given
from nightcrew.readiness.drills.protocol import Drill, NotApplicable, Observed, On, Outcome, Place, Result
from nightcrew.readiness.drills.samples import offered
from nightcrew.readiness.game_day.judging import Seen, over, seen, unaccounted, unquiet
from nightcrew.readiness.game_day.refereeing import events_of
from nightcrew.readiness.game_day.timeline import Planned, drawn, slot_of, whole_seed
from nightcrew.readiness.target import CrewTarget, PipelineTarget, Target

NAME = "game-day"
_EXPECTED = (
    "each fault is noticed, work goes on as before when it is over, and in the end each record has one outcome and the"
    " ledger fits"
)
_NOT_LOOKED = "whether each record has one outcome was not looked at"
_ASIDE = 120.0
"""Seconds for what is not the day itself: loading the code, starting it again after a kill, working what waits."""
_RATE = 20.0


@dataclass(frozen=True)
class GameDay:
    """A game day on a pipeline: see ``Drill``. ``length`` in seconds, ``rate`` in records a second."""

    length: float
    seed: int
    rate: float = _RATE
    name: str = NAME
    title: str = "work goes on through one fault after the other"
    boxes: tuple[Box, ...] = ()
    on: frozenset[On] = frozenset({"pipeline"})
    expects: str = _EXPECTED

    @property
    def injects(self) -> str:
        """See ``Drill``."""
        return f"faults at random times (seed {self.seed}) into a run of {self.length:.0f} s, {self.rate:g} records/s"

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline has steps
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        assert isinstance(place.target, PipelineTarget)  # noqa: S101 - it is about pipelines
        spec = {
            "samples": offered(place), "scratch": str(place.scratch), "root": str(place.root),
            "entry": str(place.target.path),
        }  # fmt: skip
        began = place.elapsed()
        about = place.child("nightcrew.readiness.game_day.playing:described", spec)
        if about.get("not"):
            raise NotApplicable(about["not"])
        seed = whole_seed(self.seed, place.elapsed() - began)
        timeline = drawn(seed, self.length, list(about["steps"]), slot_of(seed))
        for fault in timeline:
            place.say(f"planned after {fault.at:.1f} s: {fault.injected}")
        more = {
            "timeline": [asdict(fault) for fault in timeline], "rate": self.rate, "seconds": self.length,
            "events": str(place.scratch / "events.jsonl"), "begun": str(place.scratch / "begun"),
            "target": place.target.spec, "pipeline": about["name"], "state": str(place.root),
            "patience": self.length + _ASIDE / 2,
        }  # fmt: skip
        day = _Day(timeline, self.rate, len(about["steps"]), seed, about["stood_in"])
        try:
            answer = place.child("nightcrew.readiness.game_day.refereeing:referee", {**spec, **more}, loads=False)
        except KeyboardInterrupt:
            return day.as_far_as(events_of(more))
        return day.observed(answer, self.length)


@dataclass(frozen=True)
class _Day:
    """What was planned for a pipeline, to be held against what was seen."""

    timeline: list[Planned]
    rate: float
    steps: int
    seed: int
    stood_in: str

    def observed(self, answer: Mapping[str, Any], length: float) -> Observed:
        """What the whole day came to. Raises NotApplicable if records have trouble of their own."""
        events = answer["events"]
        if why := unquiet(events, before=self.timeline[0].at, steps=self.steps):
            raise NotApplicable(why)
        until = max([length, *(event["time"] for event in events)]) + 1.0
        faults = seen(self.timeline, events, rate=self.rate, steps=self.steps, until=until)
        count = int(length * self.rate)
        wrong = [*unaccounted(answer["stored"], count), *answer["broke"]]
        return observed(faults, wrong, f"each of {count} records has one outcome", self.seed, self.stood_in)

    def as_far_as(self, events: Sequence[Mapping[str, Any]]) -> Observed:
        """What is known of a day that was interrupted. Raises KeyboardInterrupt if no fault was over."""
        now = max((event["time"] for event in events), default=0.0)
        done = over(self.timeline, now)
        if not done:
            raise KeyboardInterrupt
        faults = seen(self.timeline[: len(done) + 1], events, rate=self.rate, steps=self.steps, until=now)[: len(done)]
        return interrupted(observed(faults, [], _NOT_LOOKED, self.seed, self.stood_in), now)


def interrupted(came: Observed, after: float) -> Observed:
    """What a day that was not held to its end came to."""
    said = f"interrupted after {after:.0f} s; until then: {came.happened}"
    return replace(came, passed=False, happened=said, evidence={**came.evidence, "interrupted": round(after, 1)})


def observed(faults: list[Seen], wrong: list[str], right: str, seed: int, stood_in: str = "") -> Observed:
    """What a whole game day came to."""
    failed = [one for one in faults if not one.passed]
    said = [f"{one.fault} at {one.at:.0f} s: {one.happened}" for one in failed]
    happened = "; ".join([*wrong, *said]) or (f"{len(faults)} faults were survived; {right}")
    detected = [one.detected for one in faults if one.detected is not None]
    recovered = [one.recovered for one in faults if one.recovered is not None]
    evidence = {"seed": seed, "faults": [one.plain() for one in faults]}
    return Observed(
        not wrong and not failed, happened, max(detected, default=None), max(recovered, default=None), evidence,
        stood_in,
    )  # fmt: skip


def hold(
    target: Target,
    *,
    minutes: float,
    seed: int,
    given: Given,
    keep: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    clock: Clock = system_clock,
) -> Result:
    """Hold a game day on a copy of ``target``; gives one result, each fault in its evidence. Nothing is stored."""
    seconds = 60.0 * minutes
    if not isinstance(target, CrewTarget):
        day = GameDay(seconds, seed)
        limit = seconds + _ASIDE
        held = running.run(day, target, seconds=limit, given=given, keep=keep, tell=tell, clock=clock)
        return replace(held, outcome="error") if "interrupted" in held.evidence else held
    return _crew_day(target, seconds, seed, given, tell, clock)


def _crew_day(
    target: CrewTarget, seconds: float, seed: int, given: Given, tell: Callable[[str], None], clock: Clock
) -> Result:
    """Drill after drill until the time is over; each is a night of a crew of its own, with one fault in it."""
    started, began = clock(), time.monotonic()
    fingerprint = target.fingerprint()
    faults: list[Seen] = []
    broke: list[str] = []
    stopped: float | None = None
    for drill in _shuffled(target, seed):
        at = time.monotonic() - began
        if at >= seconds:
            break
        tell(f"after {at:.0f} s: {drill.name}")
        try:
            found = running.run(drill, target, given=given, tell=tell, clock=clock)
        except KeyboardInterrupt:
            if not faults:
                raise
            stopped = time.monotonic() - began
            break
        if found.outcome == "error":
            broke.append(f"{drill.name} could not be done: {found.happened}")
        elif found.outcome != "not_applicable":
            faults.append(_as_seen(found, at))
    outcome, came = _came_to(faults, broke, seed)
    if stopped is not None:
        outcome, came = "error", interrupted(came, stopped)
    return Result(
        drill=NAME, target=target.label, outcome=outcome, boxes=(),
        injected=f"drills in random order (seed {seed}) for {seconds:.0f} s, each in a night of its own",
        expected="each drill passes", happened=came.happened, detected_seconds=came.detected_seconds,
        recovered_seconds=came.recovered_seconds, stood_in="", started=started,
        seconds=round(time.monotonic() - began, 3), evidence=came.evidence, fingerprint=fingerprint.digest,
        parts=fingerprint.parts,
    )  # fmt: skip


def _came_to(faults: list[Seen], broke: list[str], seed: int) -> tuple[Outcome, Observed]:
    if not faults and not broke:
        return "not_applicable", Observed(False, "no drill can be done on this crew")
    came = observed(faults, broke, "no drill failed", seed)
    if all(one.passed for one in faults) and broke:
        return "error", came
    return "passed" if came.passed else "failed", came


def _shuffled(target: Target, seed: int) -> Iterator[Drill]:
    """Drills in random order, all of them before any comes again; none if none can be done."""
    chance = random.Random(seed)  # noqa: S311 - it is to be repeated, not to be secret
    users: list[Drill] = list(own.found(target))
    every = [*(drills.for_target(name, target) for name in drills.names()), *users]
    usable = [drill for drill in every if not drills.why_not(drill, target)]
    while usable:
        yield from chance.sample(usable, len(usable))


def _as_seen(found: Result, at: float) -> Seen:
    return Seen(
        found.drill, found.injected, round(at, 1), found.detected_seconds, found.recovered_seconds, found.happened,
        found.outcome == "passed",
    )  # fmt: skip
