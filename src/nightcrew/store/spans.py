"""What lies in a span of time: outcomes of records, deployments, alerts, drift, shifts, sessions and handoffs.

An outcome lies where its batch's entry in the ledger does. One that was changed since (worked again, released, decided)
is in the batch of that change, so each record is in one place only: where its outcome as it is now was written.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select

from nightcrew.model.clock import isoformat
from nightcrew.store.outcomes import Stored
from nightcrew.store.schema import (
    FAILED,
    alerts,
    batches,
    drifts,
    handoffs,
    ledger,
    outcomes,
    pipelines,
    runs,
    sessions,
    shifts,
    versions,
)
from nightcrew.store.store import Tx

MAX_COUNTED = 1000
"""Records that did not fail are counted, and can be paged, up to so many."""
MAX_LOOKED_UP = 20_000
_MAX_COMPARED = 50_000
_MAX_RANGES = 200
_NOT_FAILED = outcomes.c.kind.is_(None)


@dataclass(frozen=True)
class Batches:
    """The batches written in a span: ranges of their numbers, both ends included."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many they are, at most."""
        return sum(last - first + 1 for first, last in self.ranges)


class Placed(NamedTuple):
    """An outcome, when it was written, and why: ``made``, or the change (``retried``, ``released``, ...)."""

    stored: Stored
    at: str
    why: str


class Deployment(NamedTuple):
    """A version of a pipeline's code and model, at its first use; ``doc`` is JSON text."""

    digest: str
    pipeline: str
    doc: str
    created: str


class AlertRow(NamedTuple):
    """An alert that fired."""

    id: str
    rule: str
    subject: str
    severity: str
    state: str
    message: str
    runbook: str
    fired: str
    resolved: str | None


class DriftRow(NamedTuple):
    """One finding of drift: the feature that moved, by how much, and in words."""

    id: int
    subject: str
    feature: str
    measure: str
    at: str
    effect: float
    message: str


class ShiftRow(NamedTuple):
    """A shift as an interval."""

    id: str
    outcome: str | None
    started: str
    ended: str | None


class SessionRow(NamedTuple):
    """A session as an interval."""

    id: str
    shift: str | None
    agent: str
    state: str
    outcome: str | None
    started: str
    ended: str | None


class HandoffRow(NamedTuple):
    """A handoff that was written in the span; ``shift`` is its session's."""

    id: str
    sender: str
    desk: str
    ticket: str | None
    session: str
    kind: str
    verdict: str | None
    created: str
    shift: str | None


def batches_between(tx: Tx, start: datetime, end: datetime, pipeline: int | None) -> Batches:
    """The batches (of one pipeline, or of all) whose entries in the ledger are from ``start`` (inclusive) to ``end``.

    Each is looked up, so that clocks of several machines may differ. Only of a span with more entries than
    MAX_LOOKED_UP are the first and the last found, and all between them taken.
    """
    entries = _entries(tx, start, end)
    if entries is None:
        return Batches(())
    table = batches.c
    query = select(table.id).where(table.entry.between(*entries)).order_by(table.id)
    if pipeline is not None:
        query = query.where(table.run.in_(select(runs.c.id).where(runs.c.pipeline == pipeline)))
    if entries[1] - entries[0] < MAX_LOOKED_UP:
        query = query.join(ledger, ledger.c.seq == table.entry).where(*_between(ledger.c.at, start, end))
        return Batches(_ranges(tx.connection.execute(query).scalars()))
    first = query.order_by(None).order_by(table.entry).limit(1)
    last = query.order_by(None).order_by(table.entry.desc()).limit(1)
    low, high = tx.connection.execute(first).scalar(), tx.connection.execute(last).scalar()
    return Batches(() if low is None or high is None else ((low, high),))


def failures(tx: Tx, where: Batches, pipeline: int | None) -> dict[str, int]:
    """How many records failed in each class, the most first; they are counted in the index alone."""
    query = select(outcomes.c.kind, func.count()).where(*_in(where, pipeline), FAILED).group_by(outcomes.c.kind)
    counted = {row[0]: int(row[1]) for row in tx.connection.execute(query)}
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def others(tx: Tx, where: Batches, pipeline: int | None) -> int:
    """How many records did not fail; no more than MAX_COUNTED + 1 are counted."""
    some = select(outcomes.c.id).where(*_in(where, pipeline), _NOT_FAILED).limit(MAX_COUNTED + 1)
    return int(tx.connection.execute(select(func.count()).select_from(some.subquery())).scalar_one())


def records(tx: Tx, where: Batches, pipeline: int | None, *, failed: bool, skip: int, limit: int) -> list[Placed]:
    """Records that ``failed``, or those that did not, in the order in which their outcomes were written."""
    numbers = list[int]()
    for one in where.ranges:  # One by one: over several at once a database would sort everything in them.
        mine = [*_in(Batches((one,)), pipeline), FAILED if failed else _NOT_FAILED]
        some = select(outcomes.c.id).where(*mine).order_by(outcomes.c.batch, outcomes.c.id)
        found = tx.connection.execute(some.offset(skip).limit(limit - len(numbers))).scalars().all()
        if not found and skip:
            skip -= int(tx.connection.execute(select(func.count()).select_from(outcomes).where(*mine)).scalar_one())
            continue
        numbers += found
        skip = 0
        if len(numbers) >= limit:
            break
    query = (
        select(outcomes, ledger.c.at, ledger.c.action)
        .join(batches, batches.c.id == outcomes.c.batch)
        .join(ledger, ledger.c.seq == batches.c.entry)
        .where(outcomes.c.id.in_(numbers))
        .order_by(outcomes.c.batch, outcomes.c.leaf)
    )
    return [
        Placed(Stored(*row[:-2]), row[-2], row[-1].removeprefix("outcomes.")) for row in tx.connection.execute(query)
    ]


def moved(tx: Tx, where: Batches, pipeline: int | None) -> int | None:
    """How many outcomes written in the span were changed since; None if there are too many to look at."""
    if where.count > MAX_COUNTED:
        return None
    table = batches.c
    mine = [_within(table.id, where)]
    if pipeline is not None:
        mine.append(table.run.in_(select(runs.c.id).where(runs.c.pipeline == pipeline)))
    length = func.sum(func.length(table.leaves))
    written = int(tx.connection.execute(select(length).where(*mine)).scalar() or 0) // 32
    if written > _MAX_COMPARED:
        return None
    still = select(func.count()).select_from(outcomes).where(outcomes.c.batch.in_(select(table.id).where(*mine)))
    return written - int(tx.connection.execute(still).scalar_one())


def deployments(tx: Tx, start: datetime, end: datetime, pipeline: int | None, *, limit: int) -> list[Deployment]:
    """Versions that came into use in the span, the latest first."""
    query = (
        select(versions.c.digest, pipelines.c.name, versions.c.doc, versions.c.created)
        .join(pipelines, pipelines.c.id == versions.c.pipeline)
        .where(*_between(versions.c.created, start, end))
    )
    if pipeline is not None:
        query = query.where(versions.c.pipeline == pipeline)
    return [Deployment(*row) for row in tx.connection.execute(query.order_by(versions.c.created.desc()).limit(limit))]


def fired(tx: Tx, start: datetime, end: datetime, subjects: Sequence[str], *, limit: int) -> list[AlertRow]:
    """Alerts of ``subjects`` (each may end in ``*``; none: all) that fired before ``end`` and not resolved before."""
    columns = [alerts.c[name] for name in AlertRow._fields]
    query = select(*columns).where(
        alerts.c.fired < isoformat(end),
        or_(alerts.c.resolved.is_(None), alerts.c.resolved >= isoformat(start)),
        _of(alerts.c.subject, subjects),
    )
    return [AlertRow(*row) for row in tx.connection.execute(query.order_by(alerts.c.fired.desc()).limit(limit))]


def drifted(tx: Tx, start: datetime, end: datetime, subjects: Sequence[str], *, limit: int) -> list[DriftRow]:
    """Findings of drift in the span, the latest first."""
    columns = [drifts.c[name] for name in DriftRow._fields]
    query = select(*columns).where(*_between(drifts.c.at, start, end), _of(drifts.c.subject, subjects))
    return [DriftRow(*row) for row in tx.connection.execute(query.order_by(drifts.c.at.desc()).limit(limit))]


def shifts_between(tx: Tx, start: datetime, end: datetime, *, limit: int) -> list[ShiftRow]:
    """Shifts that ran in the span, the latest first."""
    columns = [shifts.c[name] for name in ShiftRow._fields]
    return [ShiftRow(*row) for row in tx.connection.execute(_overlapping(shifts, columns, start, end, limit))]


def sessions_between(tx: Tx, start: datetime, end: datetime, *, limit: int) -> list[SessionRow]:
    """Sessions that ran in the span, the latest first."""
    columns = [sessions.c[name] for name in SessionRow._fields]
    return [SessionRow(*row) for row in tx.connection.execute(_overlapping(sessions, columns, start, end, limit))]


def handoffs_between(tx: Tx, start: datetime, end: datetime, *, limit: int) -> list[HandoffRow]:
    """Handoffs that were written in the span, the latest first; they are found through the ledger."""
    entries = _entries(tx, start, end)
    if entries is None:
        return []
    written = (
        select(ledger.c.subject)
        .where(ledger.c.action == "handoff.write", ledger.c.seq.between(*entries))
        .order_by(ledger.c.seq.desc())
        .limit(limit)
    )
    names = [subject.removeprefix("handoff:") for subject in tx.connection.execute(written).scalars()]
    columns = [*(handoffs.c[name] for name in HandoffRow._fields[:-1]), sessions.c.shift]
    query = select(*columns).outerjoin(sessions, sessions.c.id == handoffs.c.session).where(handoffs.c.id.in_(names))
    known = {row.id: HandoffRow(*row) for row in tx.connection.execute(query)}
    return [known[name] for name in names if name in known]


def _entries(tx: Tx, start: datetime, end: datetime) -> tuple[int, int] | None:
    """Numbers of entries of the ledger between which the span lies, None if it has none."""
    table = ledger.c
    mine = _between(table.at, start, end)
    first = select(table.seq).where(*mine).order_by(table.at, table.seq).limit(1)
    last = select(table.seq).where(*mine).order_by(table.at.desc(), table.seq.desc()).limit(1)
    low, high = tx.connection.execute(first).scalar(), tx.connection.execute(last).scalar()
    return None if low is None or high is None else (min(low, high), max(low, high))


def _ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Rising numbers as ranges: one, as a rule. Beyond so many that a query could not take them, gaps are closed."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and (number == found[-1][1] + 1 or len(found) >= _MAX_RANGES):
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def _within(column: Any, where: Batches) -> ColumnElement[bool]:
    return or_(false(), *(column.between(first, last) for first, last in where.ranges))


def _in(where: Batches, pipeline: int | None) -> list[ColumnElement[bool]]:
    found = [_within(outcomes.c.batch, where)]
    if pipeline is not None:
        # As a sum, so that no database looks the pipeline up in an index: the batches are the few.
        found.append(outcomes.c.pipeline + 0 == pipeline)
    return found


def _between(column: Any, start: datetime, end: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column >= isoformat(start), column < isoformat(end)


def _overlapping(table: Any, columns: Sequence[Any], start: datetime, end: datetime, limit: int) -> Select[Any]:
    still = or_(table.c.ended.is_(None), table.c.ended >= isoformat(start))
    query = select(*columns).where(and_(table.c.started < isoformat(end), still))
    return query.order_by(table.c.started.desc()).limit(limit)


def _of(column: Any, subjects: Sequence[str]) -> ColumnElement[bool]:
    """Whether it is one of the subjects; a name that ends in ``*`` stands for all that begin so."""
    if not subjects:
        return column.is_not(None)  # type: ignore[no-any-return]
    return or_(
        *(func.substr(column, 1, len(one) - 1) == one[:-1] if one.endswith("*") else column == one for one in subjects)
    )
