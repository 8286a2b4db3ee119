"""Choosing the confidence above which nobody needs to look, with a stated guarantee: Learn then Test.

Angelopoulos, Bates, Candès, Jordan, Lei: "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control",
arXiv 2110.01052: each threshold of a grid is a hypothesis that the risk above it exceeds what is allowed. Thresholds
are tested one after another in an order fixed beforehand until one is not rejected. Since nobody knows beforehand where
there are enough items, such a sequence begins at each of a few fixed places, and they share the error that is allowed
(their section on multi-start fixed sequence testing).
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

GRID = tuple(step / 100 for step in range(100, -1, -1))
"""The thresholds that are tested, strictest first. Fixed: a grid taken from the data would void the guarantee."""

STARTS = (0.99, 0.95, 0.9, 0.8, 0.6)
"""Where a sequence of tests begins."""


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


def calibrate(labels: Iterable[tuple[float, bool]], *, alpha: float, delta: float = 0.1) -> Calibration:
    """The lowest threshold t of ``GRID`` such that P(wrong | confidence >= t) <= alpha, known with 1 - delta.

    ``labels`` are (confidence in [0, 1], whether the item was right), one for each item that a person decided. With
    probability at least 1 - delta over the sample no threshold that is too low is given. That holds if the labels are
    drawn as the items to come are: a sample of hard cases only says nothing of easy ones. The p-value of a threshold
    is the exact binomial tail of its errors: given how many items lie above it, each is wrong with one and the same
    probability. Raises ValueError for values outside their range.
    """
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise ValueError("alpha and delta lie between 0 and 1")
    ordered = sorted(labels)
    if any(not 0 <= confidence <= 1 for confidence, _ in ordered):
        raise ValueError("a confidence lies between 0 and 1")
    confidences = [confidence for confidence, _ in ordered]
    wrong_below = [0, *accumulate(0 if right else 1 for _, right in ordered)]

    def above(threshold: float) -> tuple[int, int]:
        start = bisect_left(confidences, threshold)
        return len(ordered) - start, wrong_below[-1] - wrong_below[start]

    def rejected(threshold: float) -> bool:
        accepted, wrong = above(threshold)
        return binomial_tail(wrong, accepted, alpha) <= delta / len(STARTS)

    found = [last for start in STARTS if (last := _sequence(start, rejected)) is not None]
    best = min(found, default=None)
    counts = above(best) if best is not None else (0, 0)
    return _said(best, *counts, len(ordered), wrong_below[-1], alpha, delta)


def _sequence(start: float, rejected: Callable[[float], bool]) -> float | None:
    """The last threshold from ``start`` down before the first one that is not rejected."""
    last = None
    for threshold in GRID:
        if threshold > start:
            continue
        if not rejected(threshold):
            break
        last = threshold
    return last


def smallest_sample(alpha: float, delta: float) -> int:
    """How many items without a single error are enough to allow a share ``alpha`` of wrong ones."""
    return math.ceil(math.log(delta / len(STARTS)) / math.log1p(-alpha))


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """P(X <= successes) for X binomial with ``trials`` and ``probability``: exact, summed in logarithms.

    Terms are added from the largest down and left off when they no longer count.
    """
    if successes >= trials:
        return 1.0
    log_p, log_q = math.log(probability), math.log1p(-probability)
    whole = math.lgamma(trials + 1)
    mode = min(successes, math.floor((trials + 1) * probability))
    largest = _log_term(whole, mode, trials, log_p, log_q)
    total = 0.0
    for step, stop in ((-1, -1), (1, successes + 1)):
        for k in range(mode if step < 0 else mode + 1, stop, step):
            term = math.exp(_log_term(whole, k, trials, log_p, log_q) - largest)
            total += term
            if term < 1e-17 * total:
                break
    return min(1.0, math.exp(largest + math.log(total)))


def _log_term(whole: float, k: int, trials: int, log_p: float, log_q: float) -> float:
    return whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q


def _said(
    threshold: float | None, accepted: int, errors: int, n: int, wrong: int, alpha: float, delta: float
) -> Calibration:
    needed = smallest_sample(alpha, delta)
    if threshold is not None:
        reason = (
            f"At or above {threshold:.2f} at most {alpha:.1%} are wrong, with {1 - delta:.0%} confidence: "
            f"{errors} of {accepted} were, out of {n} decisions."
        )
    elif n < needed:
        reason = f"Too few: {n} decisions with a confidence, and at least {needed} without an error are needed."
    else:
        reason = f"No threshold keeps it to {alpha:.1%} wrong for certain enough: {wrong} of {n} decisions were wrong."
    return Calibration(threshold, alpha, delta, n, accepted, errors, needed, reason)
