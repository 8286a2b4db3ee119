"""The few statements over DBOS's own status table that its interface has no call for.

The table is handed in by ``engine/``, the only package that knows DBOS. Status values are those that DBOS stores.
"""

from sqlalchemy import Connection, Table, func, select, update

ACTIVE = ("ENQUEUED", "DELAYED", "PENDING")
"""Not finished: waiting in a queue, waiting for a time, or running."""

FINISHED = ("SUCCESS", "ERROR", "CANCELLED")
"""Finished for good. One that used up its attempts is not among them: it waits for a person."""


def executors_with_work(connection: Connection, status: Table, version: str) -> set[str]:
    """The executors that running workflows of ``version`` are assigned to."""
    query = select(status.c.executor_id).where(status.c.status == "PENDING", status.c.application_version == version)
    return {row[0] for row in connection.execute(query.distinct()) if row[0]}


def assigned_to(connection: Connection, status: Table, executor_id: str, names: set[str]) -> set[str]:
    """The ids of the running workflows with one of ``names`` that are assigned to ``executor_id``."""
    query = select(status.c.workflow_uuid).where(
        status.c.status == "PENDING", status.c.executor_id == executor_id, status.c.name.in_(names)
    )
    return set(connection.execute(query).scalars())


def stranded(connection: Connection, status: Table, version: str) -> dict[str, int]:
    """How many unfinished workflows wait for each application version other than ``version``."""
    query = (
        select(status.c.application_version, func.count())
        .where(status.c.status.in_(ACTIVE), status.c.application_version != version)
        .group_by(status.c.application_version)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def adopt(connection: Connection, status: Table, old: str, new: str) -> tuple[int, list[tuple[str, str]]]:
    """Move unfinished workflows from version ``old`` to ``new``.

    Gives how many were moved, and (workflow id, executor id) of those that were running.
    """
    running = select(status.c.workflow_uuid, status.c.executor_id).where(
        status.c.status == "PENDING", status.c.application_version == old
    )
    interrupted = [(row[0], row[1] or "") for row in connection.execute(running)]
    moved = connection.execute(
        update(status)
        .where(status.c.status.in_(ACTIVE), status.c.application_version == old)
        .values(application_version=new)
    )
    return moved.rowcount, interrupted


def refund_attempts(connection: Connection, status: Table, executor_id: str) -> int:
    """Take back the attempt counted for each workflow that ``executor_id`` was running; gives how many."""
    refunded = connection.execute(
        update(status)
        .where(status.c.status == "PENDING", status.c.executor_id == executor_id, status.c.recovery_attempts > 0)
        .values(recovery_attempts=status.c.recovery_attempts - 1)
    )
    return refunded.rowcount


def finished_before(connection: Connection, status: Table, moment_ms: int, limit: int) -> list[str]:
    """Up to ``limit`` ids of workflows finished before ``moment_ms`` (Unix time, milliseconds), oldest first.

    A child whose parent still runs is left out: the parent may yet ask for its result.
    """
    parent = status.alias("parent")
    parent_runs = (
        select(parent.c.workflow_uuid)
        .where(parent.c.workflow_uuid == status.c.parent_workflow_id, parent.c.status.in_(ACTIVE))
        .exists()
    )
    query = (
        select(status.c.workflow_uuid)
        .where(status.c.status.in_(FINISHED), status.c.completed_at < moment_ms, ~parent_runs)
        .order_by(status.c.completed_at)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def in_another_format(connection: Connection, status: Table, ours: str) -> list[str]:
    """The ids of workflows whose stored values are not marked with the format named ``ours``."""
    query = select(status.c.workflow_uuid).where(status.c.serialization.is_distinct_from(ours))
    return sorted(connection.execute(query).scalars())
