"""Sums of series since they began, which never fall: what counters are to those who read them from outside."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import and_, func, insert, select, update

from nightcrew.store import series
from nightcrew.store.schema import points
from nightcrew.store.series import DAY, HOUR, MINUTE
from nightcrew.store.store import Tx

EVER = 0
"""The span of the one point a series in which days that were deleted are kept as sums."""


class Total(NamedTuple):
    """How many values, or increments, a series has had, their sum, and how many had none."""

    number: int = 0
    total: float = 0.0
    missing: int = 0

    def plus(self, other: "Total") -> "Total":
        """Both together."""
        return Total(self.number + other.number, self.total + other.total, self.missing + other.missing)


def merged(tx: Tx) -> dict[int, Total]:
    """The totals of every series up to the end of what is merged by hours; changes only when :func:`mark` does."""
    days, hours = series.rolled_until(tx, DAY), series.rolled_until(tx, HOUR)
    found = _sums(tx, EVER, 0, 1)
    for span, start, end in ((DAY, series.forgotten(tx, DAY), days), (HOUR, days, hours)):
        found = added(found, _sums(tx, span, start, end))
    return found


def mark(tx: Tx) -> tuple[int, ...]:
    """What :func:`merged` depends on."""
    return series.rolled_until(tx, HOUR), series.rolled_until(tx, DAY), series.forgotten(tx, DAY)


def since_merged(tx: Tx) -> dict[int, Total]:
    """What came after that, by minutes."""
    return _sums(tx, MINUTE, series.rolled_until(tx, HOUR), None)


def added(left: dict[int, Total], right: dict[int, Total]) -> dict[int, Total]:
    """The totals of both."""
    return {number: left.get(number, Total()).plus(right.get(number, Total())) for number in left.keys() | right.keys()}


def keep(tx: Tx, before: int) -> None:
    """Add the days that begin before that time (Unix seconds), which are about to be deleted, to the sums that stay."""
    for number, one in _sums(tx, DAY, 0, before).items():
        where = and_(points.c.series == number, points.c.span == EVER)
        values = {
            "count": points.c.count + one.number,
            "total": points.c.total + one.total,
            "missing": points.c.missing + one.missing,
        }
        if not tx.connection.execute(update(points).where(where).values(values)).rowcount:
            made = {"series": number, "span": EVER, "at": 0, "writer": "", "count": one.number}
            tx.connection.execute(insert(points).values(**made, total=one.total, missing=one.missing))


def latest(tx: Tx, gauges: Collection[int], since: int) -> dict[int, float]:
    """The last reading of each of these series, if it was taken since then (Unix seconds)."""
    if not gauges:
        return {}
    wanted = (points.c.series.in_(list(gauges)), points.c.span == MINUTE, points.c.at >= since)
    newest = (
        select(points.c.series, func.max(points.c.at).label("at")).where(*wanted).group_by(points.c.series).subquery()
    )
    query = (
        select(points.c.series, points.c.last)
        .join(newest, and_(newest.c.series == points.c.series, newest.c.at == points.c.at))
        .where(points.c.span == MINUTE, points.c.last.is_not(None))
        .order_by(points.c.writer)
    )
    return {row.series: float(row.last) for row in tx.connection.execute(query)}


def _sums(tx: Tx, span: int, start: int, end: int | None) -> dict[int, Total]:
    where = [points.c.span == span, points.c.at >= start, *([points.c.at < end] if end is not None else [])]
    columns = (points.c.series, func.sum(points.c.count), func.sum(points.c.total), func.sum(points.c.missing))
    query = select(*columns).where(*where).group_by(points.c.series)
    return {row[0]: Total(int(row[1]), float(row[2]), int(row[3])) for row in tx.connection.execute(query)}
