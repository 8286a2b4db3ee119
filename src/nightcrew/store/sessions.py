"""Sessions: one run of one agent over one manifest, and what became of each of its tickets."""

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, insert, select, update

from nightcrew.model.budget import Budget
from nightcrew.model.errors import NotFoundError, TransitionError
from nightcrew.store import ids, ledger, rows
from nightcrew.store.schema import session_tickets, sessions
from nightcrew.store.store import Tx

SessionState = Literal["queued", "running", "ended"]
_ORDER = (func.length(sessions.c.id), sessions.c.id)


@dataclass(frozen=True)
class SessionTicket:
    """One ticket of a session, in its place of the order, and what became of it."""

    ticket: str
    position: int
    outcome: str | None
    handoff: str | None


@dataclass(frozen=True)
class Session:
    """One session. ``ticket_now`` is the ticket it works on, for people to see."""

    id: str
    shift: str | None
    agent: str
    manifest: str
    state: SessionState
    outcome: str | None
    brain: str | None
    budget: Budget
    created: datetime
    started: datetime | None
    ended: datetime | None
    note: str
    ticket_now: str | None
    tickets: tuple[SessionTicket, ...]


def create(
    tx: Tx,
    *,
    shift: str | None,
    agent: str,
    manifest: str,
    budget: Budget,
    brain: str | None,
    tickets: Iterable[str],
    actor: str = "nightcrew",
) -> str:
    """Queue a session over ``tickets``, in this order; gives its id."""
    name, ordered = ids.next_id(tx, "S"), [*tickets]
    tx.connection.execute(
        insert(sessions).values(
            id=name, shift=shift, agent=agent, manifest=manifest, state="queued", brain=brain, soft=budget.soft,
            hard=budget.hard, created=tx.stamp(), note="",
        )
    )  # fmt: skip
    if ordered:
        places = [{"session": name, "ticket": ticket, "position": place} for place, ticket in enumerate(ordered)]
        tx.connection.execute(insert(session_tickets), places)
    _log(tx, name, "create", actor, shift=shift, agent=agent, manifest=manifest, tickets=ordered, **budget.plain())
    return name


def get(tx: Tx, session: str) -> Session:
    """The session with its tickets; raises NotFoundError."""
    row = tx.connection.execute(select(sessions).where(sessions.c.id == session)).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no session {session}")
    return _session(row, _tickets(tx, [session]).get(session, []))


def some(tx: Tx, names: builtins.list[str]) -> builtins.list[Session]:
    """Those of the sessions that are there, in this order."""
    query = select(sessions).where(sessions.c.id.in_(names[:900]))
    found = {row["id"]: row for row in tx.connection.execute(query).mappings()}
    places = _tickets(tx, names)
    return [_session(found[name], places.get(name, [])) for name in names if name in found]


def with_ticket(tx: Tx, ticket: str, *, limit: int) -> builtins.list[str]:
    """The last sessions that had this ticket, oldest first."""
    column = session_tickets.c.session
    query = select(column).where(session_tickets.c.ticket == ticket)
    found = tx.connection.execute(query.order_by(func.length(column).desc(), column.desc()).limit(limit)).scalars()
    return [*reversed(found.all())]


def list(
    tx: Tx,
    *,
    shift: str | None = None,
    agent: str | None = None,
    state: SessionState | None = None,
    limit: int | None = None,
) -> builtins.list[Session]:
    """Sessions in the order they were made; with ``limit``, the last ones."""
    query = select(sessions).order_by(*(column.desc() for column in _ORDER)).limit(limit)
    for column, wanted in ((sessions.c.shift, shift), (sessions.c.agent, agent), (sessions.c.state, state)):
        if wanted is not None:
            query = query.where(column == wanted)
    found = [*reversed(tx.connection.execute(query).mappings().all())]
    places = _tickets(tx, [row["id"] for row in found])
    return [_session(row, places.get(row["id"], [])) for row in found]


def start(tx: Tx, session: str, *, actor: str = "nightcrew") -> Session:
    """Let a queued session run; one that runs already (it is resumed) stays so. Raises TransitionError if ended."""
    found = _not_ended(tx, session)
    if found.state == "queued":
        _set(tx, session, state="running", started=tx.stamp())
        _log(tx, session, "start", actor)
    return get(tx, session)


def end(tx: Tx, session: str, *, outcome: str, note: str = "", actor: str = "nightcrew") -> Session:
    """End a session; again with the same outcome it does nothing. Raises TransitionError for another outcome."""
    found = get(tx, session)
    if found.state == "ended":
        if found.outcome != outcome:
            raise TransitionError(f"session {session} has ended: {found.outcome}")
        return found
    rows.storable(note, where=f"session {session}")
    _set(tx, session, state="ended", outcome=outcome, ended=tx.stamp(), note=note, ticket_now=None)
    _log(tx, session, "end", actor, outcome=outcome, note=note)
    return get(tx, session)


def set_ticket_outcome(
    tx: Tx, session: str, ticket: str, outcome: str, *, handoff: str | None = None, actor: str = "nightcrew"
) -> None:
    """Record what became of a ticket in a session, and the handoff that says so; raises NotFoundError."""
    place = (session_tickets.c.session == session) & (session_tickets.c.ticket == ticket)
    changed = tx.connection.execute(update(session_tickets).where(place).values(outcome=outcome, handoff=handoff))
    if changed.rowcount == 0:
        raise NotFoundError(f"{ticket} is not in session {session}")
    _log(tx, session, "ticket", actor, ticket=ticket, outcome=outcome, handoff=handoff)


def set_ticket_now(tx: Tx, session: str, ticket: str | None) -> None:
    """Show which ticket is being worked; it is for display and leaves no entry in the ledger."""
    _set(tx, session, ticket_now=ticket)


def _not_ended(tx: Tx, session: str) -> Session:
    found = get(tx, session)
    if found.state == "ended":
        raise TransitionError(f"session {session} has ended: {found.outcome}")
    return found


def _set(tx: Tx, session: str, **values: Any) -> None:
    tx.connection.execute(update(sessions).where(sessions.c.id == session).values(values))


def _log(tx: Tx, session: str, what: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"session.{what}", subject=f"session:{session}", data=data)


def _tickets(tx: Tx, names: builtins.list[str]) -> dict[str, builtins.list[SessionTicket]]:
    table = session_tickets
    found: dict[str, builtins.list[SessionTicket]] = {}
    for start in range(0, len(names), 500):
        query = select(table).where(table.c.session.in_(names[start : start + 500])).order_by(table.c.position)
        for row in tx.connection.execute(query):
            place = SessionTicket(row.ticket, row.position, row.outcome, row.handoff)
            found.setdefault(row.session, []).append(place)
    return found


def _session(row: Mapping[Any, Any], tickets: Iterable[SessionTicket]) -> Session:
    return Session(
        id=row["id"],
        shift=row["shift"],
        agent=row["agent"],
        manifest=row["manifest"],
        state=row["state"],
        outcome=row["outcome"],
        brain=row["brain"],
        budget=Budget(soft=row["soft"], hard=row["hard"]),
        created=rows.from_time(row["created"]),
        started=rows.from_optional_time(row["started"]),
        ended=rows.from_optional_time(row["ended"]),
        note=row["note"],
        ticket_now=row["ticket_now"],
        tickets=tuple(tickets),
    )
