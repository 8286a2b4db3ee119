"""How far something moved, in units a person understands: standard deviations, the feature's own units, points."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr

from nightcrew.monitoring.drift.compare import Found, Limits, scores
from nightcrew.monitoring.drift.profile import Numbers, Profile, Sample, quantile
from nightcrew.monitoring.drift.wording import shown_name

_WORTH_A_WORD = 0.005
"""Share (0..1) from which on a new value is named beside one that moved more."""

Unit = Literal["sd", "times", "points"]


@dataclass(frozen=True, slots=True)
class Effect:
    """How far one feature moved.

    ``size`` is in ``unit``: standard deviations of the reference (of normal scores, so that a few outliers do not
    count), how many times as wide, or percentage points. ``moved`` is the share (0..1) of values that are elsewhere, at
    least: the same unit for every feature, to say which moved most. ``text`` says it in words.
    """

    size: float
    unit: Unit
    moved: float
    text: str

    @property
    def weight(self) -> float:
        """What this alone would move, as a share (0..1): to choose the one that tells most of what happened."""
        if self.unit == "sd":
            return float(2 * ndtr(abs(self.size) / 2) - 1)
        if self.unit == "times":
            return min(0.48 * abs(float(np.log(max(self.size, 1e-9)))), 1.0)  # of a normal distribution, near 1
        return abs(self.size) / 100

    def negligible(self, limits: Limits) -> bool:
        """Whether it is too small to be told."""
        if self.unit == "sd":
            return abs(self.size) < limits.min_shift
        if self.unit == "times":
            return abs(float(np.log(max(self.size, 1e-9)))) < limits.min_shift
        return abs(self.size) < limits.min_points


def effect(found: Found, profile: Profile, sample: Sample) -> Effect:
    """The effect behind a test, measured in ``sample``."""
    if found.measure == "missing":
        return _missing(found, profile, sample)
    if found.feature in profile.numbers:
        row = list(profile.numbers).index(found.feature)
        return _numeric(found, profile, profile.numbers[found.feature], row, sample)
    return _named(found, profile, sample)


def _missing(found: Found, profile: Profile, sample: Sample) -> Effect:
    numbers, names = profile.numbers.get(found.feature), profile.names.get(found.feature)
    if numbers is not None:
        before, before_of = numbers.missing, numbers.missing + sum(numbers.counts)
        there = float(sample.cells[list(profile.numbers).index(found.feature)].sum())
    else:
        assert names is not None  # noqa: S101 - a feature is one or the other
        before, before_of = names.missing, names.missing + names.total
        there = sample.named(found.feature)
    gone = sample.missing.get(found.feature, 0)
    was, now = before / max(before_of, 1), gone / max(gone + there, 1)
    return Effect(100 * (now - was), "points", abs(now - was), f"missing: {percent(was)} -> {percent(now)}")


def _numeric(found: Found, profile: Profile, one: Numbers, row: int, sample: Sample) -> Effect:
    before, now = profile.cells[row], sample.cells[row]
    moved = _moved(before, now)
    if found.measure == "range" and isinstance(found.place, tuple):
        first, end = found.place
        was, share = before[first:end].sum() / max(before.sum(), 1), now[first:end].sum() / max(now.sum(), 1)
        text = f"{_interval(one, first, end)}: {percent(was)} -> {percent(share)}"
        return Effect(100 * float(share - was), "points", moved, text)
    score = scores(before[None, :])[0]
    if found.measure == "spread":
        wide = [_width(one, counts, low, high) for counts, low, high in _both(one, before, sample, row)]
        if wide[0]:
            times = wide[1] / wide[0]
        else:
            times = float(np.sqrt(_variance(score, now) / max(_variance(score, before), 1e-9)))
        text = f"spread (10 % to 90 %): {number(wide[0])} -> {number(wide[1])} (x{times:.2f})"
        return Effect(times, "times", moved, text)
    medians = [quantile(one, counts, low, high, 0.5) for counts, low, high in _both(one, before, sample, row)]
    size = float(now @ score / max(now.sum(), 1) - before @ score / max(before.sum(), 1))
    size /= float(np.sqrt(max(_variance(score, before), 1e-9)))
    plain = (medians[1] - medians[0]) / one.sd if one.sd else 0.0
    if abs(size) > 1.5 and plain * size > 0 and abs(plain) > abs(size):
        size = plain  # Beyond the ends of the reference scores go no further.
    text = f"median {number(medians[0])} -> {number(medians[1])} ({size:+.2g} sd)"
    return Effect(float(size), "sd", moved, text)


def _named(found: Found, profile: Profile, sample: Sample) -> Effect:
    one, counted = profile.names[found.feature], sample.names.get(found.feature) or Counter()
    before_of, of = max(one.total, 1), max(sample.named(found.feature), 1)
    known = set(one.counts) | set(counted)
    changes = {value: counted.get(value, 0) / of - one.counts.get(value, 0) / before_of for value in known}
    if not changes:
        return Effect(0.0, "points", 0.0, "nothing")
    place = found.place if isinstance(found.place, str) and found.place in changes else None
    moved = max((abs(change) for change in changes.values()), default=0.0)
    if found.measure == "share" and place is None:
        rare = {value for value in known if one.counts.get(value, 0) + counted.get(value, 0) < 5}
        was = (sum(one.counts.get(value, 0) for value in rare) + one.rest) / before_of
        now = sum(counted.get(value, 0) for value in rare) / of
        text = f"rare values: {percent(was)} -> {percent(now)}"
        return Effect(100 * (now - was), "points", max(moved, abs(now - was)), text)
    if found.measure == "mix":
        # The one that moved most names the change; together they moved half of the sum.
        together = sum(map(abs, changes.values())) / 2
        most = sorted(changes, key=lambda value: -abs(changes[value]))[:3]
        said = [_change(value, one.counts.get(value, 0) / before_of, counted.get(value, 0) / of) for value in most]
        return Effect(100 * together, "points", moved, f"the mix: {', '.join(said)}")
    assert place is not None  # noqa: S101 - the measure is share
    was, now = one.counts.get(place, 0) / before_of, counted.get(place, 0) / of
    new = one.complete and place not in one.counts
    text = f"{shown_name(place)} is new: {percent(now)}" if new else _change(place, was, now)
    also = max((value for value in counted if value not in one.counts), key=lambda value: counted[value], default=None)
    if one.complete and not new and also is not None and counted[also] / of >= _WORTH_A_WORD:
        text += f"; {shown_name(also)} is new: {percent(counted[also] / of)}"
    return Effect(100 * (now - was), "points", moved, text)


def _change(value: str, was: float, now: float) -> str:
    return f"{shown_name(value)}: {percent(was)} -> {percent(now)}"


def _both(one: Numbers, before: np.ndarray, sample: Sample, row: int) -> list[tuple[np.ndarray, float, float]]:
    low, high = float(sample.low[row]), float(sample.high[row])
    return [(before, one.low, one.high), (sample.cells[row], low, high)]


def _width(one: Numbers, counts: np.ndarray, low: float, high: float) -> float:
    return quantile(one, counts, low, high, 0.9) - quantile(one, counts, low, high, 0.1)


def _variance(score: np.ndarray, counts: np.ndarray) -> float:
    total = max(float(counts.sum()), 1.0)
    mean = float(counts @ score) / total
    return float(counts @ (score - mean) ** 2) / total


def _moved(before: np.ndarray, now: np.ndarray) -> float:
    """The greatest change of the share of an interval (Kuiper's statistic)."""
    gap = np.cumsum(now) / max(now.sum(), 1) - np.cumsum(before) / max(before.sum(), 1)
    return float(max(gap.max(), 0) - min(gap.min(), 0))


def _interval(one: Numbers, first: int, end: int) -> str:
    last = len(one.edges)
    if first == 0 and end <= last:
        return f"at most {number(one.edges[end - 1])}"
    lower = one.edges[first - 1] if first else one.low
    if end > last:
        return f"above {number(one.edges[min(first, last) - 1])}" if one.edges else "all"
    upper = one.edges[end - 1]
    if np.nextafter(np.float32(lower), np.float32(np.inf)) >= np.float32(upper):
        return f"exactly {number(upper)}"
    return f"above {number(lower)} to {number(upper)}"


def number(value: float) -> str:
    """A number with as many digits as matter."""
    if not np.isfinite(value):
        return "none"
    if abs(value) >= 1000 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share (0..1) in percent."""
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.2g} %"
