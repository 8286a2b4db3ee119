"""What a load test looks for: the rates that it goes through, what was seen at each, and the rule of the knee.

A rate *holds* when what arrives is served as fast as it arrives (the queue does not grow), the slowest of a hundred is
stored within the limit, and no more of the records fail or are answered by a fallback than at the rates that held
before. The *knee* is the highest rate that held. A rate that does not hold is tried once more, because a machine has
hiccups, and chance makes some rates look bad.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

GROWTH = 0.05
"""The queue grows when waits rise by more than this much of the time that goes by: less than 95 % is served."""
WORSE = 0.01
"""How much more of the records (0..1) may fail or be answered by a fallback than at the rates that held, besides what
chance makes of it: ``_Z`` standard errors of the difference (a rate has to fail twice)."""
_Z = 2.0
MOST_RECORDS = 500_000
"""A load test ends after so many: their outcomes are on a disk."""
FEWEST = 20
"""Records that arrive at one rate, at least; a slow rate is held for longer."""
_TIMES, _COMMITS = 3, 4
_HELD_COMMITS = 10
"""Commit intervals that a rate is held for, at least: waits go up and down by one, which must be little beside it."""
_DOWN, _CLOSE = 4, 1.1


@dataclass(frozen=True)
class Plan:
    """What to try.

    ``rate``: records a second, at first; ``factor``: by what it rises (1: it does not); ``seconds``: how long each rate
    is held; ``limit``: seconds from a record's arrival to its stored outcome that the slowest of a hundred may take
    (None: three times what it is at the first rate that is served, and not less than four times ``commit_seconds`` of
    the pipeline); ``most``: the highest rate; ``total``: seconds in all; ``refine``: how many rates are tried between
    the highest that held and the lowest that did not.
    """

    rate: float = 10.0
    factor: float = 2.0
    seconds: float = 5.0
    limit: float | None = None
    most: float | None = None
    total: float = 180.0
    refine: int = 2

    @property
    def rising(self) -> bool:
        """Whether the rate rises."""
        return self.factor > 1


@dataclass(frozen=True)
class Step:
    """What was seen at one rate; times in seconds.

    ``p50`` to ``slowest`` count from when a record was to arrive until its outcome was durable: also the time that it
    could not even be taken in is part of it. Those that were not served (``unserved``) count with the time that they
    had waited when the step was ended. ``work`` is the mean time in the pipeline's steps; ``growth`` by how much waits
    rose in a second.
    """

    rate: float
    seconds: float
    arrived: int
    stored: int
    unserved: int
    throughput: float
    p50: float
    p95: float
    p99: float
    slowest: float
    work: float
    growth: float
    states: Mapping[str, int] = field(default_factory=dict)
    held: bool = False
    why_not: str = ""

    @property
    def worse(self) -> float:
        """The part (0..1) of the stored records that failed or were answered by a fallback."""
        return self.bad / self.stored if self.stored else 1.0

    @property
    def bad(self) -> int:
        """How many of the stored records failed or were answered by a fallback."""
        return sum(self.states.get(state, 0) for state in ("fallback", "quarantined", "waiting_retry"))

    @property
    def at_a_time(self) -> float:
        """How many records are in the steps at a time, on average (Little's law: rate times the time in them)."""
        return self.throughput * self.work

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return {**asdict(self), "states": dict(self.states), "at_a_time": self.at_a_time}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From what :meth:`plain` gave."""
        return cls(**{name: value for name, value in plain.items() if name != "at_a_time"})


class Climb:
    """Chooses the rates, and judges them."""

    def __init__(self, plan: Plan, commit_seconds: float) -> None:
        self.plan = plan
        self.limit = plan.limit
        self.commit_seconds = commit_seconds
        self._well = [0, 0]
        """Of the rates that held: how many records were stored, and how many of them were bad."""
        self._held: float | None = None
        self._failed: float | None = None
        self._again: set[float] = set()
        self._down = self._refined = 0

    def length(self, rate: float) -> float:
        """How long a rate is held, in seconds."""
        return max(self.plan.seconds, FEWEST / rate, _HELD_COMMITS * self.commit_seconds)

    def judge(self, step: Step) -> str:
        """Empty if the rate held, else why not."""
        if grew := self._grew(step):
            return grew
        if self.limit is None:
            self.limit = max(_TIMES * step.p99, _COMMITS * self.commit_seconds)
        if step.p99 > self.limit:
            return f"the slowest of a hundred took {step.p99:.2f} s; the limit is {self.limit:.2f} s"
        stored, bad = self._well
        if stored and step.worse > bad / stored + WORSE + self._chance(step):
            return f"{step.worse:.1%} failed or were answered by a fallback; before it was {bad / stored:.1%}"
        self._well = [stored + step.stored, bad + step.bad]
        return ""

    def _chance(self, step: Step) -> float:
        """By how much two shares may differ by chance, where all records are alike."""
        stored, bad = self._well
        share = (bad + step.bad) / (stored + step.stored)
        return _Z * math.sqrt(share * (1 - share) * (1 / stored + 1 / step.stored))

    def _grew(self, step: Step) -> str:
        # Waits go up and down by a commit interval; in a short step that is not yet a queue.
        if step.unserved:
            return f"{step.unserved:,} of {step.arrived:,} were not served in time"
        rise = step.growth * step.seconds
        if step.growth > GROWTH and rise > self.commit_seconds:
            return f"the queue grew: waits rose by {rise:.2f} s in {step.seconds:.1f} s"
        return ""

    def next(self, step: Step) -> float | None:
        """The rate to try after ``step``, which was judged; None when nothing is left to try."""
        if step.held:
            self._held = max(step.rate, self._held or 0.0)
        elif self.plan.rising and step.rate not in self._again:
            self._again.add(step.rate)
            return step.rate
        else:
            self._failed = min(step.rate, self._failed or math.inf)
        if not self.plan.rising:
            return None
        if self._failed is None:
            return self._up(step.rate)
        if self._held is None:
            self._down += 1
            return min(step.rate / 2, max(0.7 * step.throughput, step.rate / 50)) if self._down <= _DOWN else None
        if self._refined < self.plan.refine and self._failed / self._held > _CLOSE:
            self._refined += 1
            return float(f"{math.sqrt(self._held * self._failed):.3g}")
        return None

    def _up(self, rate: float) -> float | None:
        most = self.plan.most
        if most is None:
            return rate * self.plan.factor
        return None if rate >= most else min(rate * self.plan.factor, most)


def knee(steps: list[Step]) -> float | None:
    """The highest rate that held; None if none did."""
    return max((step.rate for step in steps if step.held), default=None)


def missed(steps: list[Step]) -> Step | None:
    """The lowest rate above the knee that did not hold; None if every rate held."""
    highest = knee(steps) or 0.0
    above = [step for step in steps if not step.held and step.rate > highest]
    return min(above, key=lambda step: step.rate) if above else None


def why_no_more(steps: list[Step]) -> str:
    """Why that rate did not hold; empty if every rate held."""
    found = missed(steps)
    return found.why_not if found is not None else ""
