"""Choosing the confidence above which nobody needs to look, with a stated guarantee: Learn then Test.

Angelopoulos, Bates, Candès, Jordan, Lei: "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control",
arXiv 2110.01052: each candidate threshold is a hypothesis that the risk above it exceeds what is allowed, and a
threshold is used only if its hypothesis is rejected. They are tested in an order fixed beforehand, so that the error
that is allowed need not be divided among all of them.

Nobody knows beforehand where there are enough items, so testing may begin at a few fixed places, each with an equal
part of the allowed error; what is left after an unbroken run of rejections is carried into the next part (the fallback
procedure: Wiens, "A fixed sequence Bonferroni procedure for testing multiple endpoints", Pharmaceutical Statistics
2003). Why that is safe: let H be a true hypothesis and G the true one before it. If G was not rejected, H is tested
with at most the parts that begin after G. So the chance that H is the first false rejection is at most those parts, no
two true hypotheses share a part, and all parts together are ``delta``.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

GRID = tuple(step / 100 for step in range(100, -1, -1))
"""The thresholds that are tested, strictest first. Fixed: a grid taken from the labels would void the guarantee."""

STARTS = (0.99, 0.95, 0.9, 0.8, 0.6)
"""Where testing may begin in ``GRID``."""


@dataclass(frozen=True)
class Calibration:
    """What a sample of decisions says about a threshold.

    ``threshold`` is the lowest confidence that may be let through unseen, None if none may. ``alpha`` is the share of
    wrong items that is allowed above it and ``delta`` the chance that is allowed of being mistaken. ``n`` labels were
    looked at, ``accepted`` of them lie at or above the threshold and ``wrong`` of those were wrong. ``needed`` is the
    smallest number without an error that could be enough, ``reason`` says all of it in words.
    """

    threshold: float | None
    alpha: float
    delta: float
    n: int
    accepted: int
    wrong: int
    needed: int
    reason: str

    @property
    def automated(self) -> float:
        """The share of the sample that the threshold would have let through."""
        return self.accepted / self.n if self.n else 0.0


@dataclass(frozen=True)
class _Plan:
    """What is tested, settled before a label is looked at: thresholds, strictest first, and where testing begins."""

    grid: tuple[float, ...]
    starts: frozenset[float]
    alpha: float
    delta: float

    def level(self, begun: int) -> float:
        """The p-value up to which a threshold is accepted, after ``begun`` starts in an unbroken run."""
        return self.delta * begun / len(self.starts)


@dataclass(frozen=True)
class _Above:
    """How many labels lie at or above a threshold, and how many of them were wrong."""

    accepted: int
    wrong: int


def calibrate(
    labels: Iterable[tuple[float, bool]],
    *,
    alpha: float,
    delta: float = 0.1,
    candidates: Sequence[float] | None = None,
) -> Calibration:
    """The lowest threshold t such that P(wrong | confidence >= t) <= ``alpha``, known with 1 - ``delta``.

    ``labels`` are (confidence in [0, 1], whether the item was right), one for each item that a person decided. With
    probability at least 1 - delta over the sample no threshold that is too low is given. That holds if the labels are
    independent and drawn as the items to come are: a sample of hard cases only says nothing of easy ones, and ten
    decisions about one item are not ten labels. The p-value of a threshold is the exact binomial tail of its errors:
    given how many items lie above it, each is wrong with one and the same probability.

    Without ``candidates`` the thresholds are ``GRID`` and testing begins at each of ``STARTS``. With them it begins at
    the strictest one, which has all of ``delta``: fewer labels are enough, if enough lie above that one. They must be
    chosen without looking at these labels, their confidences included (no quantiles): the test is exact for
    thresholds that were fixed before.

    Raises ValueError for values outside their range.
    """
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise ValueError("alpha and delta lie between 0 and 1")
    plan = _plan(candidates, alpha, delta)
    above = _count(labels, plan.grid)
    best = _lowest(plan, above)
    kept = above[best] if best is not None else _Above(0, 0)
    needed = smallest_sample(alpha, plan.level(1))
    reason = _allowed(plan, best, above) if best is not None else _refused(plan, above, needed)
    threshold = plan.grid[best] if best is not None else None
    return Calibration(threshold, alpha, delta, above[-1].accepted, kept.accepted, kept.wrong, needed, reason)


def _plan(candidates: Sequence[float] | None, alpha: float, delta: float) -> _Plan:
    if candidates is None:
        return _Plan(GRID, frozenset(STARTS), alpha, delta)
    if not candidates or any(not 0 <= one <= 1 for one in candidates):
        raise ValueError("candidates are one or more thresholds between 0 and 1")
    grid = tuple(sorted(set(candidates), reverse=True))
    return _Plan(grid, frozenset(grid[:1]), alpha, delta)


def _count(labels: Iterable[tuple[float, bool]], grid: tuple[float, ...]) -> list[_Above]:
    """What lies at or above each threshold of ``grid``; one more at the end for all labels."""
    rising = grid[::-1]
    accepted, wrong = [0] * (len(grid) + 1), [0] * (len(grid) + 1)
    for confidence, right in labels:
        if not 0 <= confidence <= 1:  # NaN too
            raise ValueError(f"a confidence lies between 0 and 1, not {confidence}")
        place = bisect_right(rising, confidence)
        accepted[place] += 1
        if not right:
            wrong[place] += 1
    return [_Above(*both) for both in zip(accumulate(accepted[::-1]), accumulate(wrong[::-1]), strict=True)]


def _lowest(plan: _Plan, above: list[_Above]) -> int | None:
    """The place in the grid of the lowest threshold whose hypothesis is rejected."""
    best, begun = None, 0
    for place, threshold in enumerate(plan.grid):
        begun += threshold in plan.starts
        seen = above[place]
        if begun and binomial_tail(seen.wrong, seen.accepted, plan.alpha) <= plan.level(begun):
            best = place
        else:
            begun = 0  # What was carried is spent; the next start has its own part.
    return best


def smallest_sample(alpha: float, level: float) -> int:
    """How many items without a single error are enough for a p-value of at most ``level``."""
    n = max(1, math.ceil(math.log(level) / math.log1p(-alpha)))
    # At an exact tie the quotient may be rounded to the wrong side; the test itself decides.
    if n > 1 and binomial_tail(0, n - 1, alpha) <= level:
        return n - 1
    return n if binomial_tail(0, n, alpha) <= level else n + 1


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """P(X <= successes) for X binomial with ``trials`` and ``probability``: summed exactly, no approximation.

    The largest term is computed in logarithms, the others from their neighbours, until they no longer count. The
    relative error is about 1e-8 for a million trials, and less for fewer.
    """
    if successes >= trials:
        return 1.0
    if successes == 0:
        return float((1 - probability) ** trials)
    odds = probability / (1 - probability)
    mode = min(successes, math.floor((trials + 1) * probability))
    total = term = 1.0
    for k in range(mode, 0, -1):
        term *= k / ((trials - k + 1) * odds)
        total += term
        if term < 1e-17 * total:
            break
    term = 1.0
    for k in range(mode, successes):
        term *= (trials - k) * odds / (k + 1)
        total += term
        if term < 1e-17 * total:
            break
    return min(1.0, math.exp(_log_term(mode, trials, probability) + math.log(total)))


def _log_term(k: int, trials: int, probability: float) -> float:
    ways = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
    return ways + k * math.log(probability) + (trials - k) * math.log1p(-probability)


def _allowed(plan: _Plan, best: int, above: list[_Above]) -> str:
    return (
        f"At or above {plan.grid[best]:g} at most {_percent(plan.alpha)} are wrong, with {_percent(1 - plan.delta)} "
        f"confidence: {above[best].wrong} of {above[best].accepted} were, out of {above[-1].accepted} decisions."
    )


def _refused(plan: _Plan, above: list[_Above], needed: int) -> str:
    start = min(plan.starts)
    seen = above[plan.grid.index(start)]  # No other start has more.
    if seen.accepted < needed:
        return (
            f"Too few: {seen.accepted} of {above[-1].accepted} decisions have a confidence of {start:g} or more, "
            f"and there at least {needed} without an error are needed."
        )
    more = " More decisions may show it." if seen.wrong < plan.alpha * seen.accepted else ""
    return (
        f"No threshold is known to keep it to {_percent(plan.alpha)} wrong with {_percent(1 - plan.delta)} confidence: "
        f"at or above {start:g}, {seen.wrong} of {seen.accepted} decisions were wrong.{more}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:g}%"
