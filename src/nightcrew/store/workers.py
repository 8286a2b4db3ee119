"""The workers of a shared database, each with a lease that it renews while it lives.

A lease carries a counter (``beat``) and no deadline: an observer calls a worker silent when it has seen the counter
unchanged for long enough on its *own* clock, so that the clocks of two machines are never compared.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column, Connection, Integer, Table, Text, delete, insert, select, update

from nightcrew.model.clock import isoformat
from nightcrew.store.metadata import metadata

workers = Table(
    "workers",
    metadata,
    Column("executor_id", Text, primary_key=True),
    # One value per process start: it tells a restarted worker from the one whose lease was taken away.
    Column("incarnation", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("beat", Integer, nullable=False),
    Column("hostname", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("application_version", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("heartbeat_at", Text, nullable=False),
)


class WorkerState(StrEnum):
    """Whether a worker holds its lease."""

    LIVE = "live"
    RELEASED = "released"
    LOST = "lost"


@dataclass(frozen=True)
class Worker:
    """One row of ``workers``; times are RFC 3339 in UTC, by the worker's own clock."""

    executor_id: str
    incarnation: str
    state: WorkerState
    beat: int
    hostname: str
    pid: int
    application_version: str
    started_at: str
    heartbeat_at: str


def create_workers_table(connection: Connection) -> None:
    """Create the table where no migration has yet."""
    workers.create(connection, checkfirst=True)


def get_worker(connection: Connection, executor_id: str) -> Worker | None:
    """The worker named ``executor_id``, or None."""
    row = connection.execute(select(workers).where(workers.c.executor_id == executor_id)).mappings().first()
    return None if row is None else Worker(**{**row, "state": WorkerState(row["state"])})


def list_workers(connection: Connection) -> list[Worker]:
    """Every worker that ever registered and was not forgotten, by executor id."""
    rows = connection.execute(select(workers).order_by(workers.c.executor_id)).mappings()
    return [Worker(**{**row, "state": WorkerState(row["state"])}) for row in rows]


def put_worker(connection: Connection, worker: Worker) -> None:
    """Store ``worker`` in place of any earlier one of its executor id."""
    connection.execute(delete(workers).where(workers.c.executor_id == worker.executor_id))
    connection.execute(insert(workers).values(**{**worker.__dict__, "state": worker.state.value}))


def renew_lease(connection: Connection, executor_id: str, incarnation: str, now: datetime) -> bool:
    """Count one more beat; False if this incarnation no longer holds the lease."""
    renewed = connection.execute(
        update(workers)
        .where(
            workers.c.executor_id == executor_id,
            workers.c.incarnation == incarnation,
            workers.c.state == WorkerState.LIVE.value,
        )
        .values(beat=workers.c.beat + 1, heartbeat_at=isoformat(now))
    )
    return renewed.rowcount == 1


def end_lease(connection: Connection, worker: Worker, state: WorkerState) -> bool:
    """Move ``worker`` from live to ``state``; False if it has beaten, restarted or ended since it was read."""
    ended = connection.execute(
        update(workers)
        .where(
            workers.c.executor_id == worker.executor_id,
            workers.c.incarnation == worker.incarnation,
            workers.c.beat == worker.beat,
            workers.c.state == WorkerState.LIVE.value,
        )
        .values(state=state.value)
    )
    return ended.rowcount == 1
