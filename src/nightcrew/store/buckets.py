"""Measures added up by the database, a row a series and bucket of time: for charts, which read many points at once."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Label, func, select

from nightcrew.store.schema import points
from nightcrew.store.store import Tx


class Axis(NamedTuple):
    """Buckets of ``width`` seconds; the first begins at ``origin`` (Unix seconds)."""

    origin: int
    width: int


class Value(NamedTuple):
    """What a series has in one bucket: a counter's sum, or a gauge's latest reading."""

    series: int
    bucket: int
    value: float


def sums(tx: Tx, series: Collection[int], axis: Axis, *, span: int, start: int, end: int) -> Iterator[Value]:
    """The totals of the points of ``span`` that begin from ``start`` to ``end``."""
    query = select(points.c.series, _bucket(axis), func.sum(points.c.total)).where(*_these(series, span, start, end))
    for row in tx.connection.execute(query.group_by(points.c.series, "bucket")):
        yield Value(int(row[0]), max(0, int(row[1])), float(row[2]))


def latest(tx: Tx, series: Collection[int], axis: Axis, *, span: int, start: int, end: int) -> Iterator[Value]:
    """The last reading of each gauge in each bucket."""
    bucket = _bucket(axis)
    place = (
        func.row_number()
        .over(partition_by=(points.c.series, bucket.element), order_by=points.c.at.desc())
        .label("place")
    )
    mine = select(points.c.series, bucket, points.c.last, place)
    found = mine.where(*_these(series, span, start, end), points.c.last.is_not(None)).subquery()
    query = select(found.c.series, found.c.bucket, found.c.last).where(found.c.place == 1)
    for row in tx.connection.execute(query):
        yield Value(int(row[0]), max(0, int(row[1])), float(row[2]))


def _bucket(axis: Axis) -> Label[int]:
    return ((points.c.at - axis.origin) // axis.width).label("bucket")


def _these(series: Collection[int], span: int, start: int, end: int) -> tuple[Any, ...]:
    table = points.c
    return table.series.in_(list(series)), table.span == span, table.at >= start, table.at < end
