"""Asking for measures: any series over any time, from the points that are kept of it, whoever wrote them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nightcrew.model.errors import IntegrityError
from nightcrew.monitoring.sketches import Distribution, Items
from nightcrew.store import series
from nightcrew.store.series import DAY, HOUR, MINUTE, Point, Series
from nightcrew.store.store import Tx

_COARSER = {MINUTE: HOUR, HOUR: DAY}
_FINER = {HOUR: MINUTE, DAY: HOUR}
_FINEST_POINTS = 2000
"""Longer times than so many points of a span are read from coarser ones."""


@dataclass
class Window:
    """What was measured in a span of time. ``seconds`` is its length.

    ``total`` and ``rate`` are of counters and numbers; ``last`` is a gauge's latest reading; ``numbers`` and ``items``
    are there if the series has such.
    """

    start: datetime
    seconds: float
    count: int = 0
    missing: int = 0
    total: float = 0.0
    low: float | None = None
    high: float | None = None
    last: float | None = None
    numbers: Distribution | None = None
    items: Items | None = None
    _last_at: int = field(default=-1, repr=False)

    @property
    def rate(self) -> float:
        """Of a counter, per second."""
        return self.total / self.seconds if self.seconds else 0.0

    @property
    def mean(self) -> float | None:
        """The mean of the values; None if there are none."""
        return self.total / self.count if self.count else None

    def quantile(self, rank: float) -> float | None:
        """The number below which ``rank`` (0..1) of them lie, within the sketch's error; None if there are none."""
        return None if self.numbers is None else self.numbers.quantile(rank)

    def add(self, point: Point, kind: str) -> None:
        """Take one point in."""
        self.count += point.count
        self.missing += point.missing
        self.total += point.total
        for value in (point.low, point.high):
            if value is not None:
                self.low = value if self.low is None else min(self.low, value)
                self.high = value if self.high is None else max(self.high, value)
        if point.last is not None and point.at >= self._last_at:
            self.last, self._last_at = point.last, point.at
        if point.sketch is None:
            return
        try:
            self._merge(point, point.sketch, kind)
        except ValueError as error:
            raise IntegrityError(
                f"what was measured of series {point.series} at {point.at} is damaged: {error}"
            ) from None

    def _merge(self, point: Point, sketch: bytes, kind: str) -> None:
        if kind == Items.kind:
            items = Items.load(sketch, count=point.count, missing=point.missing)
            self.items = items if self.items is None else _merged_items(self.items, items)
        else:
            numbers = Distribution.load(
                sketch, count=point.count, missing=point.missing,
                total=point.total, low=point.low, high=point.high,
            )  # fmt: skip
            self.numbers = numbers if self.numbers is None else _merged(self.numbers, numbers)


def catalogue(tx: Tx, *, name: str | None = None, subject: str | None = None) -> list[Series]:
    """Every series; ``name`` and ``subject`` may end in ``*``."""
    return list(series.find(tx, name=name, subject=subject).values())


def window(tx: Tx, name: str, subject: str, start: datetime, end: datetime, **labels: str) -> Window:
    """What all series of that name and subject measured from ``start`` (inclusive) to ``end``, whole minutes.

    ``labels`` choose among them; those not named are added up. A subject may end in ``*``.
    """
    found = windows(tx, name, subject, start, end, step=None, **labels)
    return found[0]


def windows(
    tx: Tx, name: str, subject: str, start: datetime, end: datetime, *, step: int | None, **labels: str
) -> list[Window]:
    """The same in steps of ``step`` seconds (whole minutes; None: one), an empty window where nothing was measured."""
    first, last = _floor(start, MINUTE), max(_ceil(end, MINUTE), _floor(start, MINUTE) + MINUTE)
    width = step or last - first
    made = [Window(datetime.fromtimestamp(at, UTC), min(width, last - at)) for at in range(first, last, width)]
    known = {
        number: one
        for number, one in series.find(tx, name=name, subject=subject).items()
        if all(dict(one.labels).get(label) == value for label, value in labels.items())
    }
    for point in points_between(tx, known, first, last, width):
        made[(max(point.at, first) - first) // width].add(point, known[point.series].kind)
    return made


def points_between(tx: Tx, known: Iterable[int], first: int, last: int, width: int) -> Iterator[Point]:
    """Points of series from ``first`` to ``last`` (Unix seconds), none twice: as fine as ``width`` and memory allow."""
    span = MINUTE
    for coarser in (HOUR, DAY):
        if width % coarser == 0 and (last - first) // span > _FINEST_POINTS:
            span = coarser
    yield from _points(tx, list(known), span, first, last)


def _points(tx: Tx, numbers: list[int], span: int, first: int, last: int) -> Iterator[Point]:
    """Points of ``span``; of a coarser one where these were deleted, of a finer one where they are not made yet."""
    gone = series.forgotten(tx, span)
    if span in _COARSER and first < gone:
        yield from _points(tx, numbers, _COARSER[span], first, min(gone, last))
        first = gone
    end = last if span == MINUTE else min(last, series.rolled_until(tx, span))
    if first < end:
        yield from series.points(tx, numbers, span=span, start=first // span * span, end=end)
    if end < last and first < last:
        yield from _points(tx, numbers, _FINER[span], max(first, end), last)


def _floor(moment: datetime, span: int) -> int:
    return int(moment.timestamp()) // span * span


def _ceil(moment: datetime, span: int) -> int:
    return -int(-moment.timestamp() // span) * span


def _merged(into: Distribution, other: Distribution) -> Distribution:
    into.merge(other)
    return into


def _merged_items(into: Items, other: Items) -> Items:
    into.merge(other)
    return into
