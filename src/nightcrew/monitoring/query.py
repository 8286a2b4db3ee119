"""Asking for measures: any series over any time, from the points that are kept of it, whoever wrote them."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from nightcrew.monitoring.sketches import Distribution, Items
from nightcrew.store import series
from nightcrew.store.series import DAY, HOUR, MINUTE, Point, Series
from nightcrew.store.store import Tx

_LOG = logging.getLogger("nightcrew.monitoring")
_COARSER = {MINUTE: HOUR, HOUR: DAY}
_FINER = {HOUR: MINUTE, DAY: HOUR}
_FINEST_POINTS = 2000
"""Longer times than so many points of a span are read from coarser ones."""


@dataclass
class Window:
    """What was measured in a span of time. ``seconds`` is its length.

    ``total`` and ``rate`` are of counters and numbers; ``last`` is a gauge's latest reading; ``numbers`` and ``items``
    are there if the series has such. ``damaged`` points could not be read: their sketches are left out.
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
    damaged: int = 0
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
            # One damaged point must not hide all others, nor stop who looks each quarter of a minute.
            self.damaged += 1
            _LOG.warning("what was measured of series %s at %s is damaged: %s", point.series, point.at, error)

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


def window(tx: Tx, name: str, subject: str, start: datetime, end: datetime, /, **labels: str) -> Window:
    """What all series of that name and subject measured from ``start`` (inclusive) to ``end``, whole minutes.

    ``labels`` choose among them; those not named are added up. A subject may end in ``*``.
    """
    found = windows(tx, name, subject, start, end, step=None, where=labels)
    return found[0]


def windows(
    tx: Tx,
    name: str,
    subject: str,
    start: datetime,
    end: datetime,
    /,
    *,
    step: int | None,
    where: Mapping[str, str] | None = None,
    **labels: str,
) -> list[Window]:
    """The same in steps of ``step`` seconds (whole minutes; None: one), an empty window where nothing was measured.

    ``where`` are more labels, for those whose names are not known beforehand.
    """
    wanted = {**(where or {}), **labels}
    first, last = _floor(start, MINUTE), max(_ceil(end, MINUTE), _floor(start, MINUTE) + MINUTE)
    width = step or last - first
    made = [Window(datetime.fromtimestamp(at, UTC), min(width, last - at)) for at in range(first, last, width)]
    known = {
        number: one
        for number, one in series.find(tx, name=name, subject=subject).items()
        if all(dict(one.labels).get(label) == value for label, value in wanted.items())
    }
    for point in points_between(tx, known, first, last, width):
        made[(max(point.at, first) - first) // width].add(point, known[point.series].kind)
    return made


def points_between(tx: Tx, known: Iterable[int], first: int, last: int, width: int) -> Iterator[Point]:
    """Points of series from ``first`` to ``last`` (Unix seconds), none twice: as fine as ``width`` and memory allow."""
    numbers = list(known)
    for part in parts(tx, first, last, width):
        yield from series.points(tx, numbers, span=part.span, start=part.start, end=part.end)


class Part(NamedTuple):
    """Where to read: points of ``span`` that begin from ``start`` to ``end`` (Unix seconds)."""

    span: int
    start: int
    end: int


def parts(tx: Tx, first: int, last: int, width: int, *, most: int = _FINEST_POINTS) -> Iterator[Part]:
    """What to read to have everything from ``first`` to ``last`` once; of a series about ``most`` points of a span."""
    span = MINUTE
    for coarser in (HOUR, DAY):
        if width % coarser == 0 and (last - first) // span > most:
            span = coarser
    yield from _parts(tx, span, first, last)


def _parts(tx: Tx, span: int, first: int, last: int) -> Iterator[Part]:
    """Points of ``span``; of a coarser one where these were deleted, of a finer one where they are not made yet."""
    gone = series.forgotten(tx, span)
    if span in _COARSER and first < gone:
        yield from _parts(tx, _COARSER[span], first, min(gone, last))
        first = gone
    end = last if span == MINUTE else min(last, series.rolled_until(tx, span))
    if first < end:
        yield Part(span, first // span * span, end)
    if end < last and first < last:
        yield from _parts(tx, _FINER[span], max(first, end), last)


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
