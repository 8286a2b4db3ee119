"""What each agent did of late, as far as its health needs it: sums and short rows, never whole documents."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Column, ColumnElement, Integer, case, cast, func, or_, select

from nightcrew.model.handoff import HandoffKind, Verdict
from nightcrew.model.ticket import Event, State
from nightcrew.store import rows
from nightcrew.store.schema import (
    findings,
    handoffs,
    journal,
    ledger,
    reviews,
    session_tickets,
    sessions,
    shifts,
    tickets,
    turns,
)
from nightcrew.store.store import Tx

ALIVE = "alive"
"""Under which name a session's journal has when something last happened in it."""
STALLED = "stalled"
"""Under which it has that it was ended since nothing did."""

_UNTOUCHED = ("not_started", "refused")
_FAILED = ("failed", "quarantined")
_LATEST = 10
"""Of so many sessions it is looked up whether they stalled."""


class Ran(NamedTuple):
    """A session: when, how it ended, what it took, what became of its tickets.

    ``worked`` counts the tickets that it took up; of these, ``failed`` those that came to nothing (quarantined, or not
    checked), ``deferred`` those that were put off. ``stalled``: it was ended since nothing happened in it.
    """

    id: str
    shift: str | None
    state: str
    outcome: str | None
    hard: int
    created: datetime
    started: datetime | None
    ended: datetime | None
    turns: int
    tokens: int
    dollars: float
    worked: int
    failed: int
    deferred: int
    stalled: bool


class Changed(NamedTuple):
    """A change that was checked: when it was handed over, and how many findings were new in it."""

    at: datetime
    findings: int


class Decided(NamedTuple):
    """A review that a person decided: whose work it was about, when, and whether that was found wrong."""

    agent: str
    at: datetime
    against: bool


class Night(NamedTuple):
    """A shift, without its report."""

    id: str
    state: str
    outcome: str | None
    started: datetime
    ended: datetime | None
    agents: tuple[str, ...]


def ran(tx: Tx, agent: str, *, limit: int) -> list[Ran]:
    """The agent's last sessions, newest first."""
    columns = [sessions.c[name] for name in ("id", "shift", "state", "outcome", "hard", "created", "started", "ended")]
    query = select(*columns).where(sessions.c.agent == agent).order_by(sessions.c.created.desc(), sessions.c.id.desc())
    found = tx.connection.execute(query.limit(limit)).all()
    names = [row.id for row in found]
    taken, places, stalls = _taken(tx, names), _places(tx, names), _stalled(tx, names[:_LATEST])
    return [
        Ran(
            row.id, row.shift, row.state, row.outcome, row.hard, rows.from_time(row.created),
            rows.from_optional_time(row.started), rows.from_optional_time(row.ended),
            *taken.get(row.id, (0, 0, 0.0)), *places.get(row.id, (0, 0, 0)), row.id in stalls,
        )
        for row in found
    ]  # fmt: skip


def nights(tx: Tx, *, limit: int) -> list[Night]:
    """The last shifts, newest first."""
    columns = [shifts.c[name] for name in ("id", "state", "outcome", "started", "ended", "agents")]
    query = select(*columns).order_by(shifts.c.started.desc(), shifts.c.id.desc()).limit(limit)
    return [
        Night(
            row.id, row.state, row.outcome, rows.from_time(row.started), rows.from_optional_time(row.ended),
            tuple(rows.from_json(row.agents, where=f"the row of shift {row.id}")),
        )
        for row in tx.connection.execute(query)
    ]  # fmt: skip


def last_sign(tx: Tx, session: str) -> datetime | None:
    """When something last happened in a session: a turn, or another sign of life in its journal."""
    found: list[datetime] = []
    if at := tx.connection.execute(select(func.max(turns.c.at)).where(turns.c.session == session)).scalar():
        found.append(rows.from_time(at))
    query = select(journal.c.value).where(journal.c.session == session, journal.c.key == ALIVE)
    for value in tx.connection.execute(query).scalars():
        found.append(rows.from_time(rows.from_json(value, where=f"the journal of {session}")))
    return max(found, default=None)


def changed(tx: Tx, agent: str, *, limit: int) -> list[Changed]:
    """The last changes that the agent handed over and somebody checked, newest first, with what was new in each."""
    work = handoffs.alias()
    mine = select(sessions.c.id).where(sessions.c.agent == agent).order_by(sessions.c.created.desc()).limit(limit)
    last = mine.subquery()
    query = (
        select(work.c.ticket, work.c.created)
        .select_from(last)
        .join(session_tickets, session_tickets.c.session == last.c.id)
        .join(work, work.c.id == session_tickets.c.handoff)
        .where(work.c.kind == HandoffKind.WORK.value, work.c.ticket.is_not(None))
        .order_by(work.c.created.desc())
        .limit(limit)
    )
    made = [(row.ticket, row.created) for row in tx.connection.execute(query)]
    names = {ticket for ticket, _ in made}
    ends = _times(tx, names, handoffs.c.created, handoffs.c.ticket, handoffs.c.kind == HandoffKind.WORK.value)
    checks = _times(tx, names, handoffs.c.created, handoffs.c.ticket, handoffs.c.kind == HandoffKind.VERDICT.value)
    seen = _times(tx, names, findings.c.first_seen, findings.c.ticket)
    found = []
    for ticket, at in made:
        until = min((other for other in ends.get(ticket, ()) if other > at), default="~")
        if any(at <= check < until for check in checks.get(ticket, ())):
            new = sum(1 for moment in seen.get(ticket, ()) if at <= moment < until)
            found.append(Changed(rows.from_time(at), new))
    return sorted(found, reverse=True)


def decided(tx: Tx, *, limit: int) -> list[Decided]:
    """The last reviews that people ended, newest first, as the agent's whose work they were about.

    A finding that is rejected was wrong, and so was a finding in spite of which a change is let through: both count
    against who reported it, as in ``crew.agreement``. A change that is rejected counts against who made it.
    """
    state, approve_work = reviews.c.state, reviews.c.on_approve == Event.APPROVE_WORK.value
    made = handoffs.alias()
    builder = (
        select(made.c.sender)
        .where(
            made.c.ticket == reviews.c.ticket,
            made.c.kind == HandoffKind.WORK.value,
            made.c.created <= reviews.c.created,
        )
        .order_by(made.c.created.desc())
        .limit(1)
        .scalar_subquery()
    )
    last = (
        select(reviews.c.id).where(reviews.c.decided.is_not(None)).order_by(reviews.c.decided.desc()).limit(limit)
    ).subquery()
    query = (
        select(
            handoffs.c.sender.label("asked_by"), builder.label("builder"), tickets.c.origin, reviews.c.decided,
            cast(state == "rejected", Integer).label("rejected"), cast(approve_work, Integer).label("of_finding"),
        )
        .join(last, last.c.id == reviews.c.id)
        .outerjoin(handoffs, handoffs.c.id == reviews.c.handoff)
        .outerjoin(tickets, tickets.c.id == reviews.c.ticket)
        .order_by(reviews.c.decided.desc())
    )  # fmt: skip
    found = []
    for row in tx.connection.execute(query):
        at = rows.from_time(row.decided)
        asked_by = row.asked_by or ("security" if row.origin == "baseline" else "build")
        if row.of_finding:
            found.append(Decided(asked_by, at, bool(row.rejected)))
            continue
        if row.builder is not None:
            found.append(Decided(row.builder, at, bool(row.rejected)))
        if asked_by != row.builder:
            found.append(Decided(asked_by, at, not row.rejected))
    return found


def at_desk(tx: Tx, state: State) -> int:
    """How many tickets are in a state."""
    query = select(func.count()).select_from(tickets).where(tickets.c.state == state.value)
    return int(tx.connection.execute(query).scalar_one())


def waiting(tx: Tx) -> dict[State, tuple[int, datetime]]:
    """How many tickets are in each state that has any, and since when the one that is in it longest was not moved."""
    query = (
        select(tickets.c.state, func.count(), func.min(ledger.c.at))
        .join(ledger, ledger.c.seq == tickets.c.entry)
        .where(tickets.c.state.in_([state.value for state in (State.OPEN, State.IN_QA, State.IN_SECURITY)]))
        .group_by(tickets.c.state)
    )
    return {State(state): (count, rows.from_time(at)) for state, count, at in tx.connection.execute(query)}


def asked(tx: Tx) -> tuple[int, datetime | None]:
    """How many reviews wait for a person, and since when the oldest does."""
    query = select(func.count(), func.min(reviews.c.created)).where(reviews.c.state.in_(["pending", "escalated"]))
    count, oldest = tx.connection.execute(query).one()
    return count, rows.from_optional_time(oldest)


def _taken(tx: Tx, names: Sequence[str]) -> dict[str, tuple[int, int, float]]:
    """Turns, tokens and dollars of each session."""
    tokens = func.coalesce(func.sum(turns.c.input_tokens), 0) + func.coalesce(func.sum(turns.c.output_tokens), 0)
    query = (
        select(turns.c.session, func.max(turns.c.number), tokens, func.coalesce(func.sum(turns.c.microdollars), 0))
        .where(turns.c.session.in_(names))
        .group_by(turns.c.session)
    )
    found = tx.connection.execute(query)
    return {name: (number, int(tokens), float(micro) / 1e6) for name, number, tokens, micro in found}


def _places(tx: Tx, names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Of each session how many tickets it took up, and how many of these failed and were put off."""
    outcome = session_tickets.c.outcome
    failed = or_(outcome.in_(_FAILED), handoffs.c.verdict == Verdict.NOT_CHECKED.value)
    query = (
        select(
            session_tickets.c.session, func.count(), func.sum(case((failed, 1), else_=0)),
            func.sum(case((outcome == "deferred", 1), else_=0)),
        )
        .outerjoin(handoffs, handoffs.c.id == session_tickets.c.handoff)
        .where(session_tickets.c.session.in_(names), outcome.is_not(None), outcome.not_in(_UNTOUCHED))
        .group_by(session_tickets.c.session)
    )  # fmt: skip
    return {name: (worked, int(bad), int(off)) for name, worked, bad, off in tx.connection.execute(query)}


def _stalled(tx: Tx, names: Sequence[str]) -> set[str]:
    query = select(journal.c.session).where(journal.c.session.in_(names), journal.c.key == STALLED)
    return {*tx.connection.execute(query).scalars()}


def _times(
    tx: Tx, names: Iterable[str], at: Column[str], ticket: Column[str], *only: ColumnElement[bool]
) -> dict[str, list[str]]:
    """The times ``at`` of rows of these tickets."""
    found: dict[str, list[str]] = {}
    for name, moment in tx.connection.execute(select(ticket, at).where(ticket.in_([*names]), *only)):
        found.setdefault(name, []).append(moment)
    return found
