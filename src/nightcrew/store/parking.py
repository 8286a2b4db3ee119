"""Records that are not settled, a page at a time, along the index over just those; and sums from the tallies."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, func, or_, select

from nightcrew.store.outcomes import Stored
from nightcrew.store.runs import Run
from nightcrew.store.schema import OPEN, chunks, outcomes, runs, tallies, versions
from nightcrew.store.store import Tx

MAX_COUNTED = 20_000


class Place(NamedTuple):
    """Where in a list of records a page ended: the time of the next try (empty if there is none), and the id."""

    next_at: str
    id: int


class Version(NamedTuple):
    """A version of a pipeline's code and model; ``doc`` is JSON text."""

    digest: str
    doc: str
    created: str


def page(
    tx: Tx, pipelines: Sequence[int], state: str, *, kind: str | None = None, after: Place | None = None, limit: int
) -> list[Stored]:
    """Records in ``state``, those that are due first and then oldest first, from the one behind ``after`` on."""
    found: list[Stored] = []
    for pipeline in pipelines:
        found += _walk(tx, pipeline, state, kind, after, limit)
    return sorted(found, key=lambda one: (one.next_at or "", one.id))[:limit]


def _walk(tx: Tx, pipeline: int, state: str, kind: str | None, after: Place | None, limit: int) -> list[Stored]:
    table = outcomes.c
    query = select(outcomes).where(table.pipeline == pipeline, table.state == state, OPEN).limit(limit)
    if state == "waiting_retry":
        query = query.order_by(table.next_at, table.id)
        if after is not None:
            later = and_(table.next_at == after.next_at, table.id > after.id)
            query = query.where(or_(table.next_at > after.next_at, later))
    else:  # None of these has a next time: naming that lets the index give them by id, without sorting them.
        query = query.order_by(table.id)
        query = query.where(table.kind == kind) if kind else query.where(table.next_at.is_(None))
        if after is not None:
            query = query.where(table.id > after.id)
    if kind:
        query = query.where(table.kind == kind)
    return [Stored(*row) for row in tx.connection.execute(query)]


def kinds(tx: Tx, pipelines: Sequence[int], state: str) -> dict[str, int]:
    """How many records in ``state`` are of each failure class, among the first MAX_COUNTED of each pipeline."""
    counted: dict[str, int] = {}
    table = outcomes.c
    for pipeline in pipelines:
        some = select(table.kind).where(table.pipeline == pipeline, table.state == state, OPEN).limit(MAX_COUNTED)
        few = some.subquery()
        for kind, count in tx.connection.execute(select(few.c.kind, func.count()).group_by(few.c.kind)):
            if kind is not None:
                counted[kind] = counted.get(kind, 0) + count
    return dict(sorted(counted.items(), key=lambda pair: -pair[1]))


def sums(tx: Tx) -> dict[int, dict[str, int]]:
    """How many records of each pipeline are in each state, by the tallies that are kept with each batch."""
    query = (
        select(runs.c.pipeline, tallies.c.state, func.sum(tallies.c.count))
        .join(runs, runs.c.id == tallies.c.run)
        .group_by(runs.c.pipeline, tallies.c.state)
    )
    found: dict[int, dict[str, int]] = {}
    for pipeline, state, count in tx.connection.execute(query):
        if count:
            found.setdefault(pipeline, {})[state] = int(count)
    return found


def next_due(tx: Tx, pipeline: int) -> str | None:
    """When the first record of a pipeline that waits for its next try is due; None if none waits."""
    table = outcomes.c
    query = select(func.min(table.next_at)).where(table.pipeline == pipeline, table.state == "waiting_retry", OPEN)
    return tx.connection.execute(query).scalar()


def in_state(tx: Tx, state: str) -> int:
    """How many records of all pipelines are in ``state``."""
    return int(tx.connection.execute(select(func.sum(tallies.c.count)).where(tallies.c.state == state)).scalar() or 0)


def run_page(tx: Tx, pipeline: int | None, *, before: int | None = None, limit: int = 20) -> list[int]:
    """Numbers of runs, newest first."""
    query = select(runs.c.id).order_by(runs.c.id.desc()).limit(limit)
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    if before is not None:
        query = query.where(runs.c.id < before)
    return list(tx.connection.execute(query).scalars())


def some_runs(tx: Tx, numbers: Sequence[int]) -> list[Run]:
    """These runs, newest first."""
    query = select(runs).where(runs.c.id.in_(numbers)).order_by(runs.c.id.desc())
    return [Run(*row) for row in tx.connection.execute(query)]


def read_by(tx: Tx, numbers: Sequence[int]) -> dict[int, tuple[int, int]]:
    """How many records each of these runs has seen, and how many of them had an outcome before."""
    columns = (chunks.c.run, func.sum(chunks.c.seen), func.sum(chunks.c.repeated))
    query = select(*columns).where(chunks.c.run.in_(numbers)).group_by(chunks.c.run)
    return {row[0]: (int(row[1]), int(row[2])) for row in tx.connection.execute(query)}


def states_of(tx: Tx, numbers: Sequence[int]) -> dict[int, dict[str, int]]:
    """How many outcomes of each of these runs are in each state."""
    found: dict[int, dict[str, int]] = {}
    for run, state, count in tx.connection.execute(
        select(tallies.c.run, tallies.c.state, tallies.c.count).where(tallies.c.run.in_(numbers))
    ):
        if count:
            found.setdefault(run, {})[state] = count
    return found


def latest_runs(tx: Tx) -> dict[int, tuple[int, str, str, str | None]]:
    """The last run of each pipeline: its number, state, start and end."""
    last = select(func.max(runs.c.id)).group_by(runs.c.pipeline)
    query = select(runs.c.pipeline, runs.c.id, runs.c.state, runs.c.started, runs.c.ended).where(runs.c.id.in_(last))
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in tx.connection.execute(query)}


def versions_of(tx: Tx, pipeline: int, *, limit: int = 20) -> list[Version]:
    """The versions of a pipeline, the one that came last first."""
    table = versions.c
    query = select(table.digest, table.doc, table.created).where(table.pipeline == pipeline)
    return [Version(*row) for row in tx.connection.execute(query.order_by(table.created.desc()).limit(limit))]
