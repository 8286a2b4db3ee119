"""Tail probabilities that hold far out, where a false-alarm budget split over many tests has its limits.

All are vectorised. Scores and their squares are compared by their permutation distribution, with its exact mean,
variance and skewness, as a Pearson type III (Mielke and Berry, "Permutation Methods", 2007). Shares are compared by
Fisher's exact test, whose tail is bounded from above by a geometric series: never too small.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln, ndtr

Array = NDArray[np.float64]

_SKEWED = 0.02
"""Below this skewness the normal distribution is as good."""


def two_sided(z: Array, skewness: Array) -> Array:
    """The probability of a statistic as far out as ``z`` standard deviations, on that side, times two."""
    far, lean = np.abs(z), np.where(z < 0, -skewness, skewness)
    tail = ndtr(-far)
    leaning = np.abs(lean) > _SKEWED
    if leaning.any():
        tail = np.array(tail)
        tail[leaning] = _pearson_upper(far[leaning], lean[leaning])
    return np.asarray(np.minimum(2 * tail, 1.0))


def _pearson_upper(z: Array, skewness: Array) -> Array:
    """P(X >= z) of a standardised gamma with that skewness, mirrored if it leans to the left."""
    shape = 4 / skewness**2
    point = np.maximum(shape + np.sign(skewness) * z * np.sqrt(shape), 0.0)
    upper = gammaincc(shape, point)
    # A tail towards which the distribution does not lean is shorter than a normal one; taking that is on the safe side.
    return np.asarray(np.where(skewness > 0, upper, ndtr(-z)))


def share_tail(found: Array, of: Array, before: Array, before_of: Array) -> Array:
    """Two-sided p of Fisher's exact test: ``found`` of ``of`` now against ``before`` of ``before_of`` then.

    It is an upper bound, and near for what is far out. Counts may be fractions, for samples whose size was cut down to
    allow for the error of a sketch.
    """
    total, everything = found + before, of + before_of
    expected = total * of / everything
    up = found >= expected
    # Seen from the other side, few of these are many of the rest.
    many = np.where(up, found, of - found)
    drawn = np.where(up, total, everything - total)
    rest = everything - drawn
    log_p = _log_choose(drawn, many) + _log_choose(rest, of - many) - _log_choose(everything, of)
    # The ratio of one term to the term before falls from here on, so the tail is below a geometric series.
    ratio = (drawn - many) * (of - many) / ((many + 1) * (rest - of + many + 1))
    with np.errstate(divide="ignore"):
        tail = np.where(ratio < 1, np.exp(log_p) / np.maximum(1 - ratio, 1e-12), 1.0)
    return np.where((of <= 0) | (before_of <= 0), 1.0, np.minimum(2 * tail, 1.0))


def chi_square_tail(statistic: Array, degrees: Array) -> Array:
    """P(a chi-square with so many degrees of freedom is at least ``statistic``)."""
    return np.where(degrees > 0, gammaincc(np.maximum(degrees, 1) / 2, np.maximum(statistic, 0) / 2), 1.0)


def _log_choose(many: Array, few: Array) -> Array:
    few = np.clip(few, 0, np.maximum(many, 0))
    return np.asarray(gammaln(many + 1) - gammaln(few + 1) - gammaln(many - few + 1))
