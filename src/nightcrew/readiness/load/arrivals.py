"""In the child: records that arrive when they are due, whether those before them are through or not (an open loop).

A load generator that waits for an answer before it sends the next request leaves out just the waits that a user would
have had (coordinated omission: Tene, "How NOT to Measure Latency"). Here each record has a time at which it is due,
fixed by the rate alone, and waits are counted from that time.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from nightcrew.monitoring.sketches import Distribution
from nightcrew.pipeline.chain import Chain, Made, Stage
from nightcrew.pipeline.chain import Step as PipelineStep
from nightcrew.pipeline.measuring import Meter
from nightcrew.readiness.load.curve import MOST_RECORDS, Climb, Plan, Step
from nightcrew.store.outcomes import Row

_WARM_SECONDS = 1.0
_DRAIN_SECONDS = 30.0
_FILL_SECONDS = 0.02
_PARTS = 3


class Over(Exception):
    """The load test is over; the run that it drove is of no more use."""


class Give(NamedTuple):
    """A record arrives."""

    record: Any


class Wait(NamedTuple):
    """Nothing arrives for so many seconds."""

    seconds: float


class _Now:
    """The rate that is held now. Records are numbered from 1, in all; this one's begin after ``first``."""

    def __init__(self, rate: float, seconds: float, first: int, *, counts: bool) -> None:
        self.rate, self.seconds, self.first, self.counts = rate, seconds, first, counts
        self.arrived = max(1, round(rate * seconds))
        self.begin = time.perf_counter()
        self.given = 0
        self.cut: float | None = None
        self.last = self.begin
        self.out: set[int] = set()
        self.waits = Distribution()
        self.work: list[float] = []
        self.states: Counter[str] = Counter()
        self._sums = [[0.0, 0.0, 0] for _ in range(_PARTS)]

    def due(self, number: int) -> float:
        return self.begin + (number - self.first - 1) / self.rate

    def waited(self, numbers: Sequence[int], now: float) -> None:
        waits = []
        for number in numbers:
            due = self.due(number)
            waits.append(now - due)
            part = self._sums[min(_PARTS - 1, (number - self.first - 1) * _PARTS // self.arrived)]
            part[0] += due
            part[1] += now - due
            part[2] += 1
        self.waits.add(waits)

    def growth(self) -> float:
        """By how many seconds waits rose a second, from the first third of the records to the last."""
        (due, wait, count), (later, waited, counted) = self._sums[0], self._sums[-1]
        if not count or not counted:
            return 0.0
        between = later / counted - due / count
        return (waited / counted - wait / count) / between if between > 0 else 0.0


class Arrivals:
    """Says what arrives next, and sees what becomes of it; ``told`` is called with each step that is over.

    ``fills``: whether records that do not count are given to a pipeline at the end of a step: one that works a record
    at a time commits only when another comes.
    """

    def __init__(
        self, records: Sequence[Any], plan: Plan, climb: Climb, told: Callable[[Step], None], *, fills: bool
    ) -> None:
        self._records, self._plan, self._climb, self._told, self._fills = records, plan, climb, told, fills
        self._count = 0
        self._lock = threading.Lock()
        self._began = time.perf_counter()
        self._now = _Now(plan.rate, max(_WARM_SECONDS, 2 / plan.rate), 0, counts=False)
        self._filled = False
        self.ended_by = ""
        """Empty if nothing was left to try; else what ended it before: time, or the number of records."""

    def next(self) -> Give | Wait:
        """What is to be done now. Raises Over."""
        step, now = self._now, time.perf_counter()
        if step.cut is None:
            if step.given < step.arrived and now <= step.begin + step.seconds + self._grace():
                due = step.due(step.first + step.given + 1)
                if due > now:
                    return Wait(due - now)
                step.given += 1
                with self._lock:
                    step.out.add(self._count + 1)
                return self._give()
            step.cut = now
        if step.out and now < step.cut + _DRAIN_SECONDS:
            self._filled = not self._filled
            return self._give() if self._fills and not self._filled else Wait(_FILL_SECONDS)
        self._close(step)
        return self.next()

    def stored(self, rows: Iterable[Row]) -> None:
        """Outcomes are durable now."""
        with self._lock:
            step, now = self._now, time.perf_counter()
            mine = []
            for row in rows:
                number = int(row.key.rpartition("@")[2])
                if number in step.out:
                    step.out.discard(number)
                    mine.append(number)
                    step.states[row.state] += 1
            if mine:
                step.last = now
                step.waited(mine, now)

    def worked(self, seconds: float) -> None:
        """A record is through the pipeline's steps."""
        self._now.work.append(seconds)

    def _give(self) -> Give:
        record = self._records[self._count % len(self._records)]
        self._count += 1
        return Give(dict(record) if isinstance(record, dict) else record)

    def _grace(self) -> float:
        return min(self._climb.limit or self._plan.seconds, self._now.seconds)

    def _close(self, step: _Now) -> None:
        rate: float | None = self._plan.rate
        if step.counts:
            seen = self._seen(step)
            self._told(seen)
            rate = self._climb.next(seen)
        if rate is None:
            raise Over
        seconds = self._climb.length(rate)
        if time.perf_counter() - self._began + seconds > self._plan.total and step.counts:
            self.ended_by = f"the {self._plan.total:.0f} s for all rates were over"
            raise Over
        if self._count + rate * seconds > MOST_RECORDS:
            self.ended_by = f"a load test works {MOST_RECORDS:,} records at most"
            raise Over
        with self._lock:
            self._now = _Now(rate, seconds, self._count, counts=True)

    def _seen(self, step: _Now) -> Step:
        now = time.perf_counter()
        with self._lock:
            never = range(step.first + step.given + 1, step.first + step.arrived + 1)
            unserved = [*step.out, *never]
            stored = step.waits.count
            step.waited(unserved, now)
            step.out.clear()
        work = list(step.work)
        # What was worked last was committed up to one interval later: on average half of it.
        took = max(step.seconds, step.last - step.begin - self._climb.commit_seconds / 2)
        p50, p95, p99, slowest = (step.waits.quantile(rank) or 0.0 for rank in (0.5, 0.95, 0.99, 1.0))
        found = Step(
            rate=step.rate, seconds=step.seconds, arrived=step.arrived, stored=stored, unserved=len(unserved),
            throughput=stored / took, p50=p50, p95=p95, p99=p99, slowest=slowest,
            work=sum(work) / len(work) if work else 0.0, growth=step.growth(), states=dict(step.states),
        )  # fmt: skip
        why_not = self._climb.judge(found)
        return Step(**{**found.__dict__, "held": not why_not, "why_not": why_not})


class _Named:
    name = "load"

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    def total(self) -> int | None:
        """Not known."""
        return None

    def fingerprint(self) -> str:
        """It has none."""
        return "load"


class Waiting(_Named):
    """A source for a pipeline that works one record at a time: reading it waits until a record is due."""

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:  # noqa: ARG002 - there is one range
        """See ``Source``."""
        position = start
        while True:
            found = self._arrivals.next()
            if isinstance(found, Wait):
                time.sleep(found.seconds)
            else:
                position += 1
                yield position, found.record

    def split(self, parts: int) -> list[tuple[int, int | None]]:  # noqa: ARG002 - there is one range
        """See ``Source``."""
        return [(0, None)]


class Awaited(_Named):
    """The same for a pipeline that works many at a time."""

    async def aread(self, start: int = 0) -> AsyncIterator[tuple[int, Any]]:
        """See ``AsyncSource``."""
        position = start
        while True:
            found = self._arrivals.next()
            if isinstance(found, Wait):
                await asyncio.sleep(found.seconds)
            else:
                position += 1
                yield position, found.record


class Watcher(Protocol):
    """Is told what becomes of records."""

    def worked(self, seconds: float) -> None:
        """A record is through the steps, after so many seconds in them."""
        ...

    def stored(self, rows: Iterable[Row]) -> None:
        """Outcomes are durable now."""
        ...


class SeenChain(Chain):
    """The stages of a pipeline, with what they take and come to told to ``watcher`` as well."""

    def __init__(self, stages: Sequence[Stage], watcher: Watcher) -> None:
        super().__init__(stages)
        self.meter = _SeenMeter(self.meter.steps, watcher)
        steps = self.meter.steps
        self._took = [steps[stage.name].took if isinstance(stage, PipelineStep) else None for stage in stages]


class _SeenMeter(Meter):
    def __init__(self, steps: Iterable[str], watcher: Watcher) -> None:
        super().__init__(steps)
        self._watcher = watcher

    def through(self, record: Any, made: Made, seconds: float) -> None:
        """See Meter."""
        super().through(record, made, seconds)
        self._watcher.worked(seconds)

    def committed(self, rows: Iterable[Row]) -> None:
        """See Meter."""
        kept = list(rows)
        self._watcher.stored(kept)
        super().committed(kept)
