"""How long things have stood waiting, asked of the tables themselves, so that no process need run for an alert."""

from datetime import datetime

from sqlalchemy import func, select

from nightcrew.model.review import WAITING
from nightcrew.store import rows
from nightcrew.store.schema import OPEN, outcomes, pipelines, reviews, sessions, shifts, turns
from nightcrew.store.store import Tx


def retries_due(tx: Tx) -> dict[str, datetime]:
    """Of each pipeline with records that wait for a retry: when the first of them was, or is, due."""
    found = {}
    for number, name in tx.connection.execute(select(pipelines.c.id, pipelines.c.name)).all():
        waits = (outcomes.c.pipeline == number) & (outcomes.c.state == "waiting_retry")
        first = tx.connection.execute(select(func.min(outcomes.c.next_at)).where(OPEN, waits)).scalar()
        if first is not None:
            found[name] = rows.from_time(first)
    return found


def oldest_review(tx: Tx) -> datetime | None:
    """Since when the review has waited that waits longest, None if none waits."""
    waits = reviews.c.state.in_([state.value for state in WAITING])
    return rows.from_optional_time(tx.connection.execute(select(func.min(reviews.c.created)).where(waits)).scalar())


def shift_deadline(tx: Tx) -> datetime | None:
    """The deadline of the shift that runs, None if none runs or it has none."""
    query = select(shifts.c.deadline).where(shifts.c.state == "running")
    return rows.from_optional_time(tx.connection.execute(query).scalar())


def running_sessions(tx: Tx) -> list[tuple[str, int, int]]:
    """Of each session that runs: its agent, the turns that it used, its hard cap."""
    query = (
        select(sessions.c.agent, sessions.c.hard, func.count(turns.c.number).label("used"))
        .select_from(sessions.outerjoin(turns, turns.c.session == sessions.c.id))
        .where(sessions.c.state == "running")
        .group_by(sessions.c.id, sessions.c.agent, sessions.c.hard)
    )
    return [(row.agent, int(row.used), int(row.hard)) for row in tx.connection.execute(query)]
