"""Whether an agent does worse than it used to: an exact test of its latest values against its own past. Pure.

Values are of independent pieces of work: sessions, changes, decided reviews. Latest and past are divided at the median
of both together and compared by how many lie above it (Mood's median test; Brown and Mood 1951). With the pooled values
given, that number is hypergeometric if nothing changed, whatever the values' distribution: the test is exact for small
numbers, for ties, and for values that come in clumps, which a Poisson test of counts takes for a change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

LATEST = 20
"""The latest values that are compared, at most; and of the past at most five times as many."""
FEWEST = 8
"""Fewer values than this on either side say nothing."""
FALSE_ALARMS = 0.01
"""The chance of a false alarm in one look at all agents and measures together."""


@dataclass(frozen=True)
class Worsening:
    """The means of the latest values and of the past, how many there are of each, and the chance of it being luck."""

    latest: float
    past: float
    n: int
    of: int
    p: float


def worsening(newest_first: Sequence[float], *, tests: int) -> Worsening | None:
    """How much higher (worse) the latest values are; None if they are not, or if it may well be luck.

    ``tests`` is how many are made in one look: each gets its share of ``FALSE_ALARMS`` (Bonferroni).
    """
    n = min(LATEST, len(newest_first) // 2)
    latest, past = newest_first[:n], newest_first[n : 6 * LATEST]
    if n < FEWEST:
        return None
    p = chance(latest, past)
    if p > FALSE_ALARMS / tests:
        return None
    return Worsening(fmean(latest), fmean(past), len(latest), len(past), p)


def chance(latest: Sequence[float], past: Sequence[float]) -> float:
    """The chance that so many of the latest values lie above the median of all if nothing changed."""
    both = sorted([*latest, *past])
    middle = both[len(both) // 2]
    if middle == both[-1]:  # Nothing lies above it: what is below is told from it instead.
        middle = max((value for value in both if value < middle), default=middle)
    high = sum(value > middle for value in both)
    seen = sum(value > middle for value in latest)
    return at_least(seen, drawn=len(latest), marked=high, of=len(both))


def at_least(seen: int, *, drawn: int, marked: int, of: int) -> float:
    """The chance to draw ``seen`` marked ones or more among ``drawn`` of ``of``, ``marked`` of which are marked."""
    ways = sum(math.comb(marked, k) * math.comb(of - marked, drawn - k) for k in range(seen, min(drawn, marked) + 1))
    return ways / math.comb(of, drawn)
