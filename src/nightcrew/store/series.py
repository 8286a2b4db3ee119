"""Measures over time: one row a series, span of time and writer, merged when they are read."""

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, func, insert, select, text
from sqlalchemy.dialects import sqlite

from nightcrew.store import schema
from nightcrew.store.rows import from_json, to_json
from nightcrew.store.store import Tx

MINUTE, HOUR, DAY = 60, 3600, 86400
"""The spans of time that points are kept by, in seconds."""

_SERIES, _POINTS = schema.series, schema.points
_KEY = ("series", "span", "at", "writer")
# "rows" is the writer of what is counted together with the rows that it counts. Once a turn: it is to cost little.
_COUNT = text(
    "INSERT INTO points (series, span, at, writer, count, missing, total)"
    " SELECT id, 60, :at, 'rows', 1, 0, :value FROM series"
    " WHERE name = :name AND subject = :subject AND labels = :labels AND kind = 'counter'"
    " ON CONFLICT (series, span, at, writer)"
    " DO UPDATE SET count = points.count + 1, total = points.total + excluded.total"
)


class Series(NamedTuple):
    """What is measured (``name``), of what (``subject``, such as ``pipeline:fraud``), told apart by ``labels``.

    ``kind`` is ``counter``, ``gauge``, ``distribution`` or ``items``.
    """

    name: str
    subject: str
    labels: tuple[tuple[str, str], ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Point:
    """What one writer has of a span of a series; ``at`` is its beginning in Unix seconds, ``missing`` had no value."""

    series: int
    span: int
    at: int
    writer: str
    count: int
    missing: int
    total: float
    low: float | None
    high: float | None
    last: float | None
    sketch: bytes | None


_NAMES = tuple(one.name for one in fields(Point))


def identify(tx: Tx, series: Series) -> int:
    """The number of a series, made if it is new. Of the same name but another kind, it is another series."""
    labels = to_json(dict(series.labels))
    table = _SERIES
    query = select(table.c.id).where(
        table.c.name == series.name,
        table.c.subject == series.subject,
        table.c.labels == labels,
        table.c.kind == series.kind,
    )
    found = tx.connection.execute(query).scalar()
    if found is not None:
        return int(found)
    values = {"name": series.name, "subject": series.subject, "labels": labels, "kind": series.kind}
    return int(tx.connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one())


def put(tx: Tx, points: Sequence[Point]) -> None:
    """Write points over what the same writers wrote of the same spans before."""
    if not points:
        return
    if tx.on_sqlite:
        statement: Any = sqlite.insert(_POINTS)
    else:
        from sqlalchemy.dialects import postgresql  # a tenth of every start, and most have no use for it

        statement = postgresql.insert(_POINTS)
    changed = {name: statement.excluded[name] for name in _NAMES if name not in _KEY}
    statement = statement.on_conflict_do_update(index_elements=list(_KEY), set_=changed)
    tx.connection.execute(statement, [{name: getattr(point, name) for name in _NAMES} for point in points])


def count(tx: Tx, name: str, subject: str, value: float = 1, **labels: str) -> None:
    """Add to a counter within ``tx``, so that it counts what is committed, exactly, whatever is killed when."""
    at = int(tx.now().timestamp()) // MINUTE * MINUTE
    values = {"name": name, "subject": subject, "labels": to_json(labels), "at": at, "value": float(value)}
    if tx.connection.execute(_COUNT, values).rowcount == 0:
        identify(tx, Series(name, subject, tuple(sorted(labels.items())), "counter"))
        tx.connection.execute(_COUNT, values)


def find(tx: Tx, *, name: str | None = None, subject: str | None = None) -> dict[int, Series]:
    """The series by their numbers; ``name`` and ``subject`` may end in ``*`` for all that begin so."""
    query = select(_SERIES)
    for column, wanted in ((_SERIES.c.name, name), (_SERIES.c.subject, subject)):
        if wanted is None:
            continue
        if wanted.endswith("*"):
            query = query.where(func.substr(column, 1, len(wanted) - 1) == wanted[:-1])
        else:
            query = query.where(column == wanted)
    return {row.id: _series(row) for row in tx.connection.execute(query.order_by(_SERIES.c.id))}


def points(tx: Tx, series: Iterable[int], *, span: int, start: int, end: int) -> Iterator[Point]:
    """The points of ``series`` that begin from ``start`` to before ``end`` (Unix seconds), by time, then by writer."""
    wanted = builtins.list(series)
    if not wanted:
        return
    query = (
        select(_POINTS)
        .where(_POINTS.c.series.in_(wanted), _POINTS.c.span == span, _POINTS.c.at >= start, _POINTS.c.at < end)
        .order_by(_POINTS.c.at, _POINTS.c.writer)
    )
    for row in tx.connection.execute(query):
        yield Point(*row)


def spanned(tx: Tx, *, span: int, start: int, end: int) -> Iterator[Point]:
    """The points of every series of that time, by series."""
    query = (
        select(_POINTS)
        .where(_POINTS.c.span == span, _POINTS.c.at >= start, _POINTS.c.at < end)
        .order_by(_POINTS.c.series, _POINTS.c.at, _POINTS.c.writer)
    )
    for row in tx.connection.execute(query):
        yield Point(*row)


def first_of(tx: Tx, span: int, *, after: int) -> int | None:
    """When the first point of ``span`` begins that begins at or after that time; None if there is none."""
    query = select(func.min(_POINTS.c.at)).where(_POINTS.c.span == span, _POINTS.c.at >= after)
    found = tx.connection.execute(query).scalar()
    return None if found is None else int(found)


def latest(tx: Tx, series: Iterable[int]) -> int | None:
    """Until when (Unix seconds, the end of a point's span) something was last measured of ``series``, or None."""
    query = select(func.max(_POINTS.c.at + _POINTS.c.span)).where(
        _POINTS.c.series.in_(builtins.list(series)), _POINTS.c.count > 0
    )
    found = tx.connection.execute(query.where(_POINTS.c.span == MINUTE)).scalar()
    if found is None:
        found = tx.connection.execute(query).scalar()
    return None if found is None else int(found)


def earliest(tx: Tx, series: Iterable[int]) -> int | None:
    """When (Unix seconds, the beginning of a point's span) something was first measured of ``series``, or None."""
    query = select(func.min(_POINTS.c.at)).where(_POINTS.c.series.in_(builtins.list(series)), _POINTS.c.count > 0)
    found = tx.connection.execute(query).scalar()
    return None if found is None else int(found)


def forget(tx: Tx, *, span: int, before: int) -> int:
    """Delete the points of ``span`` that begin before that time; gives how many. :func:`forgotten` knows of it."""
    deleted = tx.connection.execute(delete(_POINTS).where(_POINTS.c.span == span, _POINTS.c.at < before)).rowcount
    if deleted:
        _note(tx, f"metrics.forgotten.{span}", before)
    return deleted


def forgotten(tx: Tx, span: int) -> int:
    """Before which time (Unix seconds) the points of ``span`` were deleted; 0 for none."""
    return _noted(tx, f"metrics.forgotten.{span}")


def rolled_until(tx: Tx, span: int) -> int:
    """Until when (Unix seconds) the points of ``span`` have been made from finer ones; 0 for never."""
    return _noted(tx, f"metrics.rolled.{span}")


def note_rolled(tx: Tx, span: int, until: int) -> None:
    """Remember that they have been made until then."""
    _note(tx, f"metrics.rolled.{span}", until)


def labels_of(text: str) -> tuple[tuple[str, str], ...]:
    """Labels from what is stored of them."""
    found: Mapping[str, str] = from_json(text, where="the labels of a series")
    return tuple(sorted((str(name), str(value)) for name, value in found.items()))


def _noted(tx: Tx, key: str) -> int:
    found = tx.connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == key)).scalar()
    return 0 if found is None else int(found)


def _note(tx: Tx, key: str, moment: int) -> None:
    tx.connection.execute(delete(schema.meta).where(schema.meta.c.key == key))
    tx.connection.execute(insert(schema.meta).values(key=key, value=str(moment)))


def _series(row: Row[tuple[object, ...]]) -> Series:
    return Series(row.name, row.subject, labels_of(row.labels), row.kind)
