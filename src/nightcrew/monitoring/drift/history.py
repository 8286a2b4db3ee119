"""The last windows of a subject, and looks at them over several lengths of time.

A change that is small takes many values to be seen; one that is large should be seen in the newest. So each look tests
the newest window, and the last 2, 4, 8 ... windows as one (window-limited detection over a geometric grid of lengths:
Lai, "Sequential changepoint detection in quality control and dynamical systems", JRSS B 1995). Half of the rate goes to
the newest window, the other half in equal parts to the longer ones.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nightcrew.monitoring.drift.compare import Found, Limits, compare
from nightcrew.monitoring.drift.effects import Effect, effect
from nightcrew.monitoring.drift.profile import Profile, Sample
from nightcrew.monitoring.drift.wording import shown_name

SCALES = 6
"""How many lengths: 1, 2, 4, 8, 16 and 32 windows."""

CALM = 0.01
"""A change is over when p is above this, in as many windows as it took to be seen."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A feature that is not as it was: the test that says so, how far, and since when.

    ``windows`` is how many of the newest windows are likely different, ``since`` when they began, ``length`` how many
    it took to be seen.
    """

    found: Found
    effect: Effect
    windows: int
    length: int
    since: datetime | None

    @property
    def feature(self) -> str:
        """The feature's name."""
        return self.found.feature

    @property
    def text(self) -> str:
        """What moved and how far, in a line."""
        return f"{shown_name(self.found.feature)}: {self.effect.text}"


class History:
    """Windows of one subject, newest last, compared with one profile."""

    def __init__(self, profile: Profile, limits: Limits, *, scales: int = SCALES) -> None:
        self.profile = profile
        self.limits = limits
        self.windows: deque[Sample] = deque(maxlen=2 ** (scales - 1))
        self._lengths = [2**scale for scale in range(scales)]

    def append(self, sample: Sample) -> None:
        """A further window; one with too few records to be tested is joined by the next."""
        if self.windows and self.windows[-1].size < self.limits.min_values:
            self.windows[-1].add(sample)
        elif sample.size:
            self.windows.append(sample)

    def look(self, newest: Sample | None = None) -> tuple[list[Moved], dict[str, list[Found]]]:
        """Test all features now, with ``newest`` as one more window that is not kept.

        Gives those that moved, furthest first, and the tests of each feature over the newest window or a longer time.
        """
        windows = self._with(newest)
        if not windows:
            return [], {}
        lengths = [length for length in self._lengths if length // 2 < len(windows)]
        suffixes = _suffixes(self.profile, windows, lengths)
        weights = [1.0] if len(self._lengths) == 1 else [0.5, *[0.5 / (len(self._lengths) - 1)] * (len(lengths) - 1)]
        tested = compare(self.profile, suffixes, self.limits, weights=weights)
        moved = [self._placed(one, windows, lengths) for one in self._significant(tested, suffixes)]
        return sorted(moved, key=lambda one: -one.effect.moved), tested

    def calm(self, measure: str, feature: str, length: int, newest: Sample | None = None) -> bool:
        """Whether the newest ``length`` windows are as the reference again, by the test that said they were not."""
        windows = self._with(newest)
        if not windows:
            return False
        profile, narrow = _only(self.profile, windows, feature)
        merged = _suffixes(profile, narrow, [length])
        several = [one for one in compare(profile, merged, self.limits)[feature] if one.measure == measure]
        if not several:
            return False  # Too little to say that it is over.
        return all(one.p > CALM or effect(one, profile, merged[0]).negligible(self.limits) for one in several)

    def forget(self, feature: str, *, keep: int) -> None:
        """Leave only the newest ``keep`` windows of a feature: what was before is over."""
        for sample in list(self.windows)[: max(len(self.windows) - keep, 0)]:
            sample.missing.pop(feature, None)
            if feature in self.profile.numbers:
                sample.cells[list(self.profile.numbers).index(feature)] = 0
            else:
                sample.names[feature] = Counter()
                sample.rest.pop(feature, None)
                sample.error.pop(feature, None)

    def _with(self, newest: Sample | None) -> list[Sample]:
        return [*self.windows, newest] if newest is not None and newest.size else list(self.windows)

    def _significant(self, tested: dict[str, list[Found]], suffixes: list[Sample]) -> Iterator[Found]:
        """Of each feature that moved, the test whose effect tells most of it."""
        for several in tested.values():
            beyond = [
                (effect(one, self.profile, suffixes[one.window]), one)
                for one in several
                if one.adjusted <= self.limits.rate
            ]
            # A mix names no culprit, so it speaks only where no single value does.
            told = [
                (one.measure != "mix", size.weight, place)
                for place, (size, one) in enumerate(beyond)
                if not size.negligible(self.limits)
            ]
            if told:
                yield beyond[max(told)[2]][1]

    def _placed(self, found: Found, windows: list[Sample], lengths: list[int]) -> Moved:
        """With the time since when it is likely so: the length at which its test says most (maximum likelihood)."""
        profile, narrow = _only(self.profile, windows, found.feature)
        suffixes = _suffixes(profile, narrow, list(range(1, len(windows) + 1)))
        several = compare(profile, suffixes, self.limits)[found.feature]
        best = next((one for one in several if one.measure == found.measure), found)
        count = best.window + 1 if best is not found else min(lengths[found.window], len(windows))
        return Moved(
            found, effect(best, profile, suffixes[count - 1]), count, min(lengths[found.window], len(windows)),
            windows[-count].start,
        )  # fmt: skip


def _suffixes(profile: Profile, windows: list[Sample], lengths: list[int]) -> list[Sample]:
    """The newest windows merged, for each of rising ``lengths``."""
    merged, found, used = profile.empty(), [], 0
    for length in lengths:
        for sample in windows[max(len(windows) - length, 0) : len(windows) - used]:
            merged.add(sample)
        used = min(length, len(windows))
        found.append(merged)
        if length != lengths[-1]:
            merged = merged.copy()
    return found


def _only(profile: Profile, windows: list[Sample], feature: str) -> tuple[Profile, list[Sample]]:
    """A profile and samples of one feature alone."""
    missing = [{feature: one.missing[feature]} if feature in one.missing else {} for one in windows]
    if feature in profile.names:
        narrow = Profile(names={feature: profile.names[feature]})
        empty = narrow.empty()
        return narrow, [
            Sample(
                empty.cells, empty.rough, empty.low, empty.high, lost,
                {feature: one.names.get(feature) or Counter()}, one.size, one.start, one.end,
                {feature: one.rest.get(feature, 0)}, {feature: one.error.get(feature, 0)},
            )
            for one, lost in zip(windows, missing, strict=True)
        ]  # fmt: skip
    row = list(profile.numbers).index(feature)
    narrow = Profile(numbers={feature: profile.numbers[feature]})
    width, part = narrow.cells.shape[1], slice(row, row + 1)
    return narrow, [
        Sample(
            one.cells[part, :width], one.rough[part], one.low[part], one.high[part], lost, {},
            one.size, one.start, one.end,
        )
        for one, lost in zip(windows, missing, strict=True)
    ]  # fmt: skip
