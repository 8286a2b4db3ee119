"""Whether windows of values are like the reference: the tests, and how their false alarms are kept few.

**What is promised.** At one look at a subject, all its features, tests and lengths of time together, the probability of
an alarm while nothing has changed is at most ``rate`` (default: one in a thousand). So among N looks at most
``rate * N`` false ones are expected, for any N, and this needs no independence: neither of features, nor of looks, nor
of looks that share a reference, since expectations add up (Bonferroni's inequality, over tests and over time).
``rate`` is split: evenly over features; half to the newest window and the rest evenly to longer ones (see
:mod:`~nightcrew.monitoring.drift.history`); by fixed shares to the tests of a feature (:data:`SHARES`). A feature has
moved if a test's p is within its part of ``rate`` and the effect is not negligible, which only lowers the number of
alarms. ``adjusted`` is p over its part: what to compare with ``rate``, and the same for all tests.

**Numbers** are counted in cells whose edges are quantiles of the reference; a value that came often has a cell of its
own. Then:

- ``shift``: normal scores of the cells (van der Waerden 1952), which are never less efficient than a t test, whatever
  the distribution (Chernoff and Savage 1958), and do not mind outliers;
- ``spread``: their squares (Klotz 1962);
- ``range``: the share of values in each cell, and in each four neighbouring ones, by Fisher's exact test, the smallest
  p times their number. It sees what the others do not: a new peak, a gap, values that never were.

Mean, variance and skewness of the scores are those of the permutation distribution of both samples together, so ties
and the finite size of the reference are accounted for. Where counts come from sketches, the error that these state is
added to the variances at its worst (Minkowski's inequality: errors of all ranks in step).

**Names**: ``share``: each name's share by Fisher's exact test, the smallest p times their number, those that are rare
in both samples together as one; ``mix``: chi-square over all with at least five expected, for many small changes at
once. Which names are rare is decided on both samples together, so that permuting them changes nothing.

**Missing** values: their share, by Fisher's exact test.

**What is assumed.** While nothing changes, the values of a feature are exchangeable: those in the window might as well
have come in the reference. Values that hang together (ten rows of one customer, hours of the day) vary more than the
tests allow for; take a reference that covers the hours and days, and windows that are long against what hangs together.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from nightcrew.monitoring.drift.profile import Profile, Sample
from nightcrew.monitoring.drift.tails import chi_square_tail, share_tail, two_sided

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Measure = Literal["shift", "spread", "range", "share", "mix", "missing"]

SHARES: dict[Measure, float] = {
    "shift": 0.75, "spread": 0.1, "range": 0.1, "share": 0.5, "mix": 0.45, "missing": 0.05,
}  # fmt: skip
"""How a feature's part of the rate is split over its tests: the first three are of numbers, the next two of names."""

MIN_CELLS = 5
"""Numbers of fewer distinct values are tested as names are: scores of two or three values say no more."""

MIN_EXPECTED = 5
_RARE = 5
_MAX_KEPT = 200


class Limits(NamedTuple):
    """How seldom to raise a false alarm, and what is too little to be one.

    ``rate``: false alarms a look, over all features together. ``min_shift``: in standard deviations.
    ``min_points``: in percentage points. ``min_values``: fewer are not tested.
    """

    rate: float = 0.001
    min_shift: float = 0.05
    min_points: float = 1.0
    min_values: int = 30


DEFAULT = Limits()


class Found(NamedTuple):
    """The most telling test of one feature: ``adjusted`` is below the rate if this is no chance.

    ``window`` is which of the compared samples it is of; ``place`` the cell, or the name, in question.
    """

    feature: str
    measure: Measure
    statistic: float
    p: float
    adjusted: float
    window: int
    place: tuple[int, int] | str | None


@dataclass(slots=True)
class Tests:
    """One test of several features (rows) at several windows (columns)."""

    measure: Measure
    features: list[str]
    statistic: Array
    p: Array
    part: Array
    made: Flags
    places: NDArray[np.int64] | list[list[str]] | None = None
    width: int = 1

    @property
    def adjusted(self) -> Array:
        """What p is of its part of the rate."""
        return np.asarray(self.p / self.part)

    def at(self, row: int, column: int) -> Found:
        """One of them."""
        place: tuple[int, int] | str | None = None
        if isinstance(self.places, list):
            place = self.places[row][column]
        elif self.places is not None:
            first = int(self.places[row, column]) * self.width
            place = (first, first + self.width)
        return Found(
            self.features[row], self.measure, float(self.statistic[row, column]), float(self.p[row, column]),
            float(self.adjusted[row, column]), column, place,
        )  # fmt: skip


def compare(
    profile: Profile, samples: Sequence[Sample], limits: Limits = DEFAULT, *, weights: Sequence[float] | None = None
) -> dict[str, list[Found]]:
    """Test every feature of ``profile`` in each of ``samples``, which are windows that may contain one another.

    ``weights`` split the rate over the samples (default: evenly). Gives for each feature what could be tested, the most
    telling first; nothing if there were fewer than ``limits.min_values``.
    """
    if not samples or not profile.features:
        return {name: [] for name in profile.features}
    each = np.array(weights if weights is not None else [1 / len(samples)] * len(samples)) / len(profile.features)
    tested = [*_numbers(profile, samples, limits, each), *_names(profile, samples, limits, each)]
    missing = _missing(profile, samples, limits, each)
    found: dict[str, list[Found]] = {name: [] for name in profile.features}
    for one in [*tested, missing]:
        best = np.argmin(one.adjusted - 1e-9 * np.minimum(np.abs(one.statistic), 1e6), axis=1)
        for row, column in enumerate(best.tolist()):
            if one.made[row].any():
                found[one.features[row]].append(one.at(row, column))
    for name, several in found.items():
        found[name] = sorted(several, key=lambda one: (one.adjusted, -abs(one.statistic)))
    return found


def scores(cells: Array) -> Array:
    """The normal score of each cell: what lies in the middle of its part of the reference."""
    total = np.maximum(cells.sum(axis=-1, keepdims=True), 1)
    middle = (np.cumsum(cells, axis=-1) - cells / 2) / total
    least = 1 / (4 * total)
    return np.asarray(ndtri(np.clip(middle, least, 1 - least)))


def _numbers(profile: Profile, samples: Sequence[Sample], limits: Limits, each: Array) -> list[Tests]:
    features = list(profile.numbers)
    if not features:
        return []
    before = profile.cells
    now = np.stack([one.cells for one in samples], axis=1)
    of, before_of = now.sum(axis=2), before.sum(axis=1)[:, None]
    enough = (of >= limits.min_values) & (before_of >= limits.min_values)
    rough = np.stack([one.rough for one in samples], axis=1) / np.maximum(of, 1) ** 2
    rough = rough + np.array([one.rough for one in profile.numbers.values()])[:, None] / np.maximum(before_of, 1) ** 2
    filled = (before > 0).sum(axis=1)
    scored = (filled >= MIN_CELLS)[:, None]
    made = _scored(features, before, now, of, before_of, rough, enough & scored, each)
    spare = np.where(scored, SHARES["range"], SHARES["range"] + SHARES["shift"] + SHARES["spread"]) / 2
    made += [
        _scanned(features, before, now, of, before_of, rough, enough, spare * each, width, limits) for width in (1, 4)
    ]
    return made


def _scored(
    features: list[str], before: Array, now: Array, of: Array, before_of: Array, rough: Array, valid: Flags, each: Array
) -> list[Tests]:
    """The tests of shift and spread: both compare the mean of a score of the cells."""
    first = scores(before)
    powers = np.stack([first**power for power in range(7)], axis=2)
    sums_now, sums_before = now @ powers, (before[:, None, :] @ powers)
    everything = np.maximum(of + before_of, 2)
    moments = (sums_now + sums_before) / everything[..., None]
    means_now, means_before = sums_now / np.maximum(of, 1)[..., None], sums_before / np.maximum(before_of, 1)[..., None]
    made = []
    tests: list[tuple[Measure, int]] = [("shift", 1), ("spread", 2)]
    for measure, power in tests:
        mean, square, cube = (moments[..., power * times] for times in (1, 2, 3))
        variance = np.maximum(square - mean**2, 0)
        third = cube - 3 * mean * square + 2 * mean**3
        slope = np.abs(np.diff(first**power, axis=1)).sum(axis=1)[:, None]
        scale = variance * everything**2 / (everything - 1) / np.maximum(of * before_of, 1)
        noise = scale + rough * slope**2
        difference = means_now[..., power] - means_before[..., power]
        z = np.where(valid & (noise > 0), difference / np.sqrt(np.where(noise > 0, noise, 1)), 0.0)
        lean = np.where(variance > 0, third / np.where(variance > 0, variance, 1) ** 1.5, 0.0)
        lean = lean * (everything - 2 * of) / np.maximum(everything - 2, 1)
        lean = lean * np.sqrt((everything - 1) / np.maximum(of * before_of, 1))
        p = np.where(valid & (noise > 0), two_sided(z, lean), 1.0)
        made.append(Tests(measure, features, z, p, SHARES[measure] * each + 0 * z, valid & (noise > 0)))
    return made


def _scanned(
    features: list[str], before: Array, now: Array, of: Array, before_of: Array, rough: Array, valid: Flags,
    part: Array, width: int, limits: Limits,
) -> Tests:  # fmt: skip
    """The test of ranges: the share of each cell, or of each four; only the most telling one is tested exactly."""
    if width > 1:
        before = before.reshape(len(before), -1, width).sum(axis=2)
        now = now.reshape(*now.shape[:2], -1, width).sum(axis=3)
    many = np.maximum((before > 0).sum(axis=1) + 1, 1)[:, None]
    total, everything = now + before[:, None, :], np.maximum(of + before_of, 1)[..., None]
    expected = total * (of[..., None] / everything)
    common = total / everything
    spread = np.sqrt(np.maximum((1 - common) * before_of[..., None] / everything, 1e-12))
    rooted = 2 * (np.sqrt(now + 0.375) - np.sqrt(expected + 0.375)) / spread
    place = np.argmax(np.abs(rooted), axis=2)
    take = place[..., None]
    x, t, z = (np.take_along_axis(one, take, axis=2)[..., 0] for one in (now, total, rooted))
    share = t / everything[..., 0]
    chance = share * (1 - share) * (1 / np.maximum(of, 1) + 1 / np.maximum(before_of, 1))
    smaller = np.where(chance > 0, chance / (chance + 4 * rough + 1e-300), 1.0)
    p = np.ones_like(z)
    z = np.where(valid, z * np.sqrt(smaller), 0.0)
    # Far from any limit the exact p is not worth its time.
    worth = np.abs(z) > np.maximum(-ndtri(np.minimum(limits.rate * part / many / 2, 0.5)) - 1, 2.0)
    if worth.any():
        sizes = smaller[worth]
        exact = share_tail(
            x[worth] * sizes,
            of[worth] * sizes,
            (t - x)[worth] * sizes,
            np.broadcast_to(before_of, of.shape)[worth] * sizes,
        )
        p[worth] = np.minimum(exact * np.broadcast_to(many, z.shape)[worth], 1.0)
    rest = ~worth & valid
    p[rest] = np.minimum(2 * ndtr(-np.abs(z[rest])) * np.broadcast_to(many, z.shape)[rest], 1.0)
    return Tests("range", features, z, p, part + 0 * z, valid, place, width)


def _names(profile: Profile, samples: Sequence[Sample], limits: Limits, each: Array) -> list[Tests]:
    if not profile.names:
        return []
    shape = (len(profile.names), len(samples))
    share = Tests(
        "share", list(profile.names), np.zeros(shape), np.ones(shape), np.full(shape, SHARES["share"]) * each,
        np.zeros(shape, dtype=bool), [["" for _ in samples] for _ in profile.names],
    )  # fmt: skip
    mix = Tests(
        "mix", list(profile.names), np.zeros(shape), np.ones(shape), np.full(shape, SHARES["mix"]) * each,
        np.zeros(shape, dtype=bool),
    )  # fmt: skip
    assert isinstance(share.places, list)  # noqa: S101 - made so above
    for row, (name, one) in enumerate(profile.names.items()):
        counted: list[Counter[str]] = [sample.names.get(name) or Counter() for sample in samples]
        sizes = [sample.named(name) for sample in samples]
        longest = counted[max(range(len(sizes)), key=sizes.__getitem__)]
        pooled = dict(longest)
        for value, times in one.counts.items():
            pooled[value] = pooled.get(value, 0) + times
        kept = [value for value, times in pooled.items() if times >= _RARE]
        if len(kept) > _MAX_KEPT:
            kept = sorted(kept, key=lambda value: (-pooled[value], value))[:_MAX_KEPT]
        first = np.array([*(one.counts.get(value, 0) for value in kept), 0], dtype=float)
        first[-1] = sum(one.counts.values()) - first.sum()
        found = np.array([[*(several.get(value, 0) for value in kept), 0] for several in counted], dtype=float)
        found[:, -1] = np.array([sum(several.values()) for several in counted]) - found.sum(axis=1)
        of, before_of = np.array(sizes, dtype=float), one.total
        valid = (of >= limits.min_values) & (before_of >= limits.min_values)
        if not valid.any():
            continue
        error = np.repeat([[float(sample.error.get(name, 0))] for sample in samples], len(kept) + 1, axis=1)
        before_error = np.full(len(kept) + 1, float(one.error))
        # What is not listed is not the same in both.
        error[error[:, -1] > 0, -1] = np.inf
        before_error[-1] = 0.0 if one.complete else np.inf
        now, before = _nearest(found, error, of, first, before_error, before_of)
        whole = np.isclose(now.sum(axis=1), of) & np.isclose(before.sum(axis=1), before_of)
        _shares(share, row, kept, before, now, of, before_of, valid)
        _mixed(mix, row, before, now, of, before_of, valid, whole)
    return [share, mix]


def _nearest(
    found: Array, error: Array, of: Array, first: Array, before_error: Array, before_of: int
) -> tuple[Array, Array]:
    """Of what the counts of both may be (each up to its error more), those at which the shares differ least."""
    sizes, before_size = np.maximum(of, 1)[:, None], max(before_of, 1)
    first = np.broadcast_to(first, found.shape)
    most, before_most = np.minimum(found + error, of[:, None]), np.minimum(first + before_error, before_of)
    above, below = found / sizes > before_most / before_size, most / sizes < first / before_size
    # Within the errors there is no difference: the share is that of the reference, or the nearest that can be.
    share = np.maximum(found / sizes, first / before_size)
    now = np.where(above, found, np.where(below, most, share * of[:, None]))
    before = np.where(above, before_most, np.where(below, first, share * before_of))
    return now, before


def _shares(
    tests: Tests, row: int, kept: list[str], before: Array, now: Array, of: Array, before_of: int, valid: Flags
) -> None:
    sizes = np.broadcast_to(of[:, None], now.shape)
    p = share_tail(now, sizes, before, np.full(now.shape, float(before_of)))
    place = np.argmin(p, axis=1)
    at = np.arange(len(place))
    total, everything = now[at, place] + before[at, place], of + before_of
    common = total / everything
    spread = np.sqrt(np.maximum(common * (1 - common) * (1 / np.maximum(of, 1) + 1 / max(before_of, 1)), 1e-300))
    difference = now[at, place] / np.maximum(of, 1) - before[at, place] / max(before_of, 1)
    tests.statistic[row] = np.where(valid, difference / spread, 0.0)
    tests.made[row] = valid
    many = int(((before + now).max(axis=0) > 0).sum())
    many = 1 if many == 2 else many  # Of two names the one's share is the other's.
    tests.p[row] = np.where(valid, np.minimum(p[at, place] * many, 1.0), 1.0)
    assert isinstance(tests.places, list)  # noqa: S101 - names have names
    tests.places[row] = [kept[one] if one < len(kept) else "" for one in place.tolist()]


def _mixed(
    tests: Tests, row: int, before: Array, now: Array, of: Array, before_of: int, valid: Flags, whole: Flags
) -> None:
    total = now + before
    everything = np.maximum(of + before_of, 1)[:, None]
    often = total * of[:, None] / everything >= MIN_EXPECTED
    often &= total * before_of / everything >= MIN_EXPECTED
    difference = now / np.maximum(of, 1)[:, None] - before / max(before_of, 1)
    weight = of[:, None] * before_of / everything
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(often, weight * difference**2 * everything / total, 0.0)
    rest_difference = np.where(often, 0.0, difference).sum(axis=1)
    rest = np.where(often, 0.0, total).sum(axis=1)
    counts_rest = rest * of / everything[:, 0] >= MIN_EXPECTED
    with np.errstate(divide="ignore", invalid="ignore"):
        last = np.where(counts_rest, weight[:, 0] * rest_difference**2 * everything[:, 0] / rest, 0.0)
    statistic = parts.sum(axis=1) + last
    # Of shares that do not add up, since some are not known, the last does not follow from the others.
    degrees = often.sum(axis=1) + counts_rest - np.where(whole, 1.0, 0.0)
    tested = valid & (degrees > 0)
    tests.made[row] = tested
    tests.statistic[row] = np.where(tested, statistic, 0.0)
    tests.p[row] = np.where(tested, chi_square_tail(statistic, degrees), 1.0)


def _missing(profile: Profile, samples: Sequence[Sample], limits: Limits, each: Array) -> Tests:
    features = profile.features
    gone = np.array([[one.missing.get(name, 0) for one in samples] for name in features], dtype=float)
    there = np.empty_like(gone)
    there[: len(profile.numbers)] = np.stack([one.cells.sum(axis=1) for one in samples], axis=1)
    for row, name in enumerate(profile.names, start=len(profile.numbers)):
        there[row] = [one.named(name) for one in samples]
    before = [
        *((one.missing, sum(one.counts)) for one in profile.numbers.values()),
        *((one.missing, one.total) for one in profile.names.values()),
    ]
    before_gone = np.array([missing for missing, _ in before], dtype=float)[:, None]
    before_there = np.array([count for _, count in before], dtype=float)[:, None]
    of, before_of = gone + there, before_gone + before_there
    p, z = np.ones_like(gone), np.zeros_like(gone)
    tested = (of >= limits.min_values) & (before_of >= limits.min_values) & (gone + before_gone > 0)
    if tested.any():
        wide = np.broadcast_to(before_gone, gone.shape), np.broadcast_to(before_of, gone.shape)
        p[tested] = share_tail(gone[tested], of[tested], wide[0][tested], wide[1][tested])
        common = (gone + before_gone) / np.maximum(of + before_of, 1)
        spread = np.sqrt(common * (1 - common) * (1 / np.maximum(of, 1) + 1 / np.maximum(before_of, 1)))
        difference = gone / np.maximum(of, 1) - before_gone / np.maximum(before_of, 1)
        z[tested] = (difference / np.maximum(spread, 1e-150))[tested]
    return Tests("missing", features, z, p, SHARES["missing"] * each + 0 * z, tested)
