"""What was measured of a subject, in lanes over one axis of time: the same buckets for every one of them."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nightcrew.monitoring.query import Part, Window, parts
from nightcrew.store.buckets import Axis, latest, sums
from nightcrew.store.series import DAY, HOUR, MINUTE, Series, find, points
from nightcrew.store.store import Tx

MAX_BUCKETS = 300
_STEPS = (MINUTE, 2 * MINUTE, 5 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY)
"""Between five minutes and an hour nothing is kept that would be fast to read."""
_FINEST = 200
"""Hours are read instead of minutes where a series has more of these than so many, if buckets are of hours."""
_MANY_POINTS = 60_000
"""Minutes of all series together that are read within a tenth of a second."""
RANKS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_MANY = 12
"""Lines of one lane, at most: the largest; those of counters beyond them are added up, others are left out."""


@dataclass(frozen=True)
class Buckets:
    """The axis: ``count`` buckets of ``step`` seconds from ``first`` (Unix seconds, a whole step)."""

    first: int
    step: int
    count: int
    now: float

    @property
    def axis(self) -> Axis:
        """As the database is told of it."""
        return Axis(self.first, self.step)

    @property
    def last(self) -> int:
        """Where the axis ends."""
        return self.first + self.step * self.count

    def starts(self) -> list[datetime]:
        """When each begins."""
        return [datetime.fromtimestamp(self.first + self.step * index, UTC) for index in range(self.count)]

    def seconds(self, index: int) -> float:
        """How long a bucket has lasted: the one that is not over yet, until now."""
        begin = self.first + self.step * index
        return max(1.0, min(float(self.step), self.now - begin))


@dataclass(frozen=True)
class Line:
    """One series of a lane: a value a bucket, None where nothing was measured."""

    name: str
    values: list[float | None]


@dataclass(frozen=True)
class Lane:
    """Lines in one unit; ``stacked`` ones add up."""

    key: str
    title: str
    unit: str
    stacked: bool
    lines: list[Line]


@dataclass(frozen=True)
class Asked:
    """One lane to be read: the measure, whose, and how its series become lines.

    ``label`` tells the lines apart. ``as_a``: ``rate`` (a second) and ``count`` of counters, ``last`` and ``worst`` of
    gauges (of those in one line the sum or the greatest), ``ranks`` of numbers.
    """

    key: str
    title: str
    unit: str
    name: str
    subjects: tuple[str, ...]
    label: str
    as_a: str


def axis(start: datetime, end: datetime, now: datetime, *, buckets: int = MAX_BUCKETS, series: int = 1) -> Buckets:
    """Buckets over a span: as fine as measures are kept, as ``buckets`` allows, and as many ``series`` can be read."""
    seconds = (end - start).total_seconds()
    fast = seconds / MINUTE * series <= _MANY_POINTS
    fits = (step for step in _STEPS if seconds <= step * (buckets - 1) and (fast or step >= HOUR))
    step = next(fits, None) or DAY * -int(-seconds // (DAY * (buckets - 1)))
    first = int(start.timestamp() // step) * step
    last = max(-int(-end.timestamp() // step) * step, first + step)
    return Buckets(first, step, (last - first) // step, now.timestamp())


def measured(tx: Tx, asked: Sequence[Asked]) -> list[dict[int, Series]]:
    """The series of each lane by their numbers."""
    return [
        {number: one for subject in lane.subjects for number, one in find(tx, name=lane.name, subject=subject).items()}
        for lane in asked
    ]


def lanes(tx: Tx, asked: Sequence[Asked], known: Sequence[dict[int, Series]], over: Buckets) -> list[Lane]:
    """Each lane over the axis, from the series that were :func:`measured`; one without any has no lines."""
    read = list(parts(tx, over.first, over.last, over.step, most=_FINEST))
    return [_lane(tx, lane, series, read, over) for lane, series in zip(asked, known, strict=True)]


def _lane(tx: Tx, asked: Asked, known: dict[int, Series], read: Sequence[Part], over: Buckets) -> Lane:
    named = {number: dict(one.labels).get(asked.label) or "all" for number, one in known.items()}
    if not known:
        lines = []
    elif asked.as_a == "ranks":
        lines = _ranks(tx, known, read, over)
    elif asked.as_a in ("last", "worst"):
        lines = _gauges(tx, named, read, over, together=max if asked.as_a == "worst" else operator.add)
    else:
        lines = _sums(tx, named, read, over, rate=asked.as_a == "rate")
    return Lane(asked.key, asked.title, asked.unit, asked.as_a in ("rate", "count"), lines)


def _ranks(tx: Tx, known: dict[int, Series], read: Sequence[Part], over: Buckets) -> list[Line]:
    windows: dict[int, Window] = {}
    for part in read:
        for point in points(tx, known, span=part.span, start=part.start, end=part.end):
            at = max(0, (point.at - over.first) // over.step)
            window = windows.get(at)
            if window is None:
                window = windows[at] = Window(datetime.fromtimestamp(point.at, UTC), over.seconds(at))
            window.add(point, known[point.series].kind)
    if not windows:
        return []
    return [
        Line(name, [_rounded(windows[at].quantile(rank)) if at in windows else None for at in range(over.count)])
        for name, rank in RANKS
    ]


def _sums(tx: Tx, named: dict[int, str], read: Sequence[Part], over: Buckets, *, rate: bool) -> list[Line]:
    totals: dict[str, list[float]] = {}
    measured: set[int] = set()
    for part in read:
        for number, at, total in sums(tx, named, over.axis, span=part.span, start=part.start, end=part.end):
            measured.add(at)
            totals.setdefault(named[number], [0.0] * over.count)[at] += total
    lines: dict[str, list[float]] = {}
    for place, name in enumerate(sorted(totals, key=lambda name: (-sum(totals[name]), name))):
        line = lines.setdefault(name if place < _MANY else "others", [0.0] * over.count)
        for at, total in enumerate(totals[name]):
            line[at] += total / over.seconds(at) if rate else total
    return [
        Line(name, [_rounded(value) if at in measured else None for at, value in enumerate(line)])
        for name, line in lines.items()
    ]


def _gauges(
    tx: Tx, named: dict[int, str], read: Sequence[Part], over: Buckets, *, together: Callable[[float, float], float]
) -> list[Line]:
    last: dict[tuple[int, int], float] = {}
    for part in read:
        for number, at, value in latest(tx, named, over.axis, span=part.span, start=part.start, end=part.end):
            last[number, at] = value  # Parts follow each other in time.
    lines: dict[str, list[float | None]] = {}
    for (number, at), value in last.items():
        values = lines.setdefault(named[number], [None] * over.count)
        before = values[at]
        values[at] = value if before is None else together(before, value)
    largest = sorted(lines, key=lambda name: (-max(value or 0.0 for value in lines[name]), name))
    return [Line(name, [_rounded(value) for value in lines[name]]) for name in largest[:_MANY]]


def _rounded(value: float | None) -> float | None:
    """To six digits, so that an answer is no longer than it says something."""
    return None if value is None else float(f"{value:.6g}")
