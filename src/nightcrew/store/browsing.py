"""What people browse, a page at a time: bounded reads of the crew's tables, newest first, none of them a whole table.

A row here is what a list shows, and proves nothing. A place in a list is named by the last id that was shown, so that a
page far back costs what the first one does.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from nightcrew.store.schema import alerts, findings, handoffs, ledger, reviews, sessions, tickets, turns
from nightcrew.store.store import Tx

PAGE = 50
T = TypeVar("T")


class TicketRow(NamedTuple):
    """A ticket as a list shows it; times are RFC 3339 text, as they are stored."""

    id: str
    title: str
    kind: str
    priority: str
    severity: str | None
    state: str
    note: str
    breaks_build: bool
    created: str


class ReviewRow(NamedTuple):
    """A review as a list sorts and filters it; ``title`` and ``desk`` are of what it is about, None if that is gone."""

    id: str
    ticket: str
    title: str | None
    desk: str
    reason: str
    severity: str
    state: str
    created: str
    deadline: str


def cut(page: Sequence[T], size: int = PAGE) -> tuple[list[T], T | None]:
    """What of a page with one row too many is shown, and the last row of that if there is more behind it."""
    shown = list(page[:size])
    return shown, shown[-1] if len(page) > size else None


def ticket_counts(tx: Tx, **wanted: str | None) -> dict[str, int]:
    """How many tickets that fit are in each state; see ``ticket_page``."""
    query = select(tickets.c.state, func.count()).where(*_tickets_that_fit(**wanted)).group_by(tickets.c.state)
    return {row[0]: row[1] for row in tx.connection.execute(query)}


def tickets_by_state(tx: Tx, limit: int, **wanted: str | None) -> dict[str, list[TicketRow]]:
    """The first ``limit`` tickets of each state: the most urgent, of those the latest."""
    urgent = (tickets.c.priority, func.length(tickets.c.id).desc(), tickets.c.id.desc())
    place = func.row_number().over(partition_by=tickets.c.state, order_by=urgent).label("place")
    ranked = select(tickets.c.id, place).where(*_tickets_that_fit(**wanted)).subquery()
    first = select(ranked.c.id).where(ranked.c.place <= limit)
    query = select(*_TICKET).where(tickets.c.id.in_(first)).order_by(*urgent)
    found: dict[str, list[TicketRow]] = {}
    for row in tx.connection.execute(query):
        found.setdefault(row.state, []).append(TicketRow(*row))
    return found


def ticket_page(tx: Tx, *, before: str | None = None, limit: int = PAGE, **wanted: str | None) -> list[TicketRow]:
    """Tickets, newest first, from the one before ``before`` on.

    ``wanted``: ``state``, ``kind``, ``priority``, ``severity``, and ``text`` to look for in ids and titles.
    """
    query = select(*_TICKET).where(*_tickets_that_fit(**wanted))
    return [TicketRow(*row) for row in tx.connection.execute(_newest(query, tickets.c.id, before, limit))]


def titles(tx: Tx, ids: Collection[str]) -> dict[str, str]:
    """The titles of those of the tickets that are there."""
    query = select(tickets.c.id, tickets.c.title).where(tickets.c.id.in_(list(ids)[:900]))
    return {row[0]: row[1] for row in tx.connection.execute(query)}


def session_ids(
    tx: Tx, *, before: str | None = None, limit: int = PAGE, text: str | None = None, **wanted: str | None
) -> list[str]:
    """Sessions, newest first. ``wanted``: ``agent``, ``shift``, ``outcome``, ``state``."""
    query = select(sessions.c.id).where(*_equal(sessions, wanted))
    if text:
        query = query.where(or_(_has(sessions.c.id, text), _has(sessions.c.note, text)))
    return list(tx.connection.execute(_newest(query, sessions.c.id, before, limit)).scalars())


def agents_of_sessions(tx: Tx) -> list[str]:
    """Every agent that had a session."""
    return sorted(tx.connection.execute(select(sessions.c.agent).distinct()).scalars())


def turns_used(tx: Tx, session_ids: Sequence[str]) -> dict[str, int]:
    """How many turns each of these sessions was charged."""
    table = turns.c
    query = select(table.session, func.max(table.number)).where(table.session.in_(session_ids)).group_by(table.session)
    return {row[0]: row[1] for row in tx.connection.execute(query)}


def finding_counts(tx: Tx) -> dict[str, int]:
    """How many findings are in each state."""
    query = select(findings.c.state, func.count()).group_by(findings.c.state)
    return {row[0]: row[1] for row in tx.connection.execute(query)}


def finding_page(
    tx: Tx,
    *,
    state: str | None = None,
    severity: str | None = None,
    text: str | None = None,
    before: tuple[str, str] | None = None,
    limit: int = PAGE,
) -> list[Mapping[Any, Any]]:
    """Rows of findings, seen last first; ``before`` is (last_seen, fingerprint) of the last one that was shown."""
    table = findings.c
    query = select(findings).order_by(table.last_seen.desc(), table.fingerprint.desc()).limit(limit)
    if state:
        query = query.where(table.state == state)
    if severity:  # The document is canonical JSON, in which a quote within text is escaped.
        query = query.where(table.doc.contains(f'"severity":"{severity}"', autoescape=True))
    if text:
        query = query.where(or_(_has(table.doc, text), _has(table.fingerprint, text), table.ticket == text))
    if before:
        seen, fingerprint = before
        query = query.where(or_(table.last_seen < seen, and_(table.last_seen == seen, table.fingerprint < fingerprint)))
    return [*tx.connection.execute(query).mappings()]


def review_rows(tx: Tx, states: Collection[str] | None = None) -> list[ReviewRow]:
    """Every review in ``states`` as a list filters it, without the cost of documents."""
    desk = case(
        (handoffs.c.sender.is_not(None), handoffs.c.sender),
        (tickets.c.id.is_(None), ""),
        (tickets.c.origin == "baseline", "security"),
        else_="build",
    )
    table = reviews.c
    query = (
        select(
            table.id, table.ticket, tickets.c.title, desk, table.reason, table.severity, table.state, table.created,
            table.deadline,
        )
        .select_from(
            reviews.outerjoin(tickets, tickets.c.id == table.ticket).outerjoin(
                handoffs, handoffs.c.id == table.handoff
            )
        )
        .order_by(table.created, table.id)
    )  # fmt: skip
    if states is not None:
        query = query.where(table.state.in_(list(states)))
    return [ReviewRow(*row) for row in tx.connection.execute(query)]


def waiting_reviews(tx: Tx, states: Collection[str]) -> tuple[int, str | None]:
    """How many reviews are in ``states``, and the first deadline of one."""
    query = select(func.count(), func.min(reviews.c.deadline)).where(reviews.c.state.in_(list(states)))
    count, first = tx.connection.execute(query).one()
    return int(count), first


def alerts_over(tx: Tx, *, before: str | None = None, limit: int = PAGE) -> list[str]:
    """Alerts that are over, newest first."""
    query = select(alerts.c.id).where(alerts.c.state == "resolved")
    return list(tx.connection.execute(_newest(query, alerts.c.id, before, limit)).scalars())


def entries_page(
    tx: Tx, *, before: int | None = None, subject: str | None = None, action: str | None = None, limit: int = PAGE
) -> list[Any]:
    """Rows of the ledger, last first, from the one before number ``before`` on."""
    query = select(ledger).order_by(ledger.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(ledger.c.seq < before)
    if subject:
        query = query.where(ledger.c.subject == subject)
    if action:
        query = query.where(ledger.c.action == action)
    return [*tx.connection.execute(query)]


def actions(tx: Tx) -> list[str]:
    """Every action that the ledger has an entry of: a step along the index for each, not a look at each entry."""
    found: list[str] = []
    while True:
        query = select(func.min(ledger.c.action))
        if found:
            query = query.where(ledger.c.action > found[-1])
        following = tx.connection.execute(query).scalar()
        if following is None or len(found) >= 500:
            return found
        found.append(following)


_TICKET = (
    tickets.c.id, tickets.c.title, tickets.c.kind, tickets.c.priority, tickets.c.severity, tickets.c.state,
    tickets.c.note, tickets.c.breaks_build, tickets.c.created,
)  # fmt: skip


def _tickets_that_fit(text: str | None = None, **wanted: str | None) -> list[ColumnElement[bool]]:
    found = _equal(tickets, wanted)
    if text:
        found.append(or_(_has(tickets.c.id, text), _has(tickets.c.title, text)))
    return found


def _equal(table: Any, wanted: Mapping[str, str | None]) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in wanted.items() if value]


def _has(column: Any, text: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = func.lower(column).contains(text.lower(), autoescape=True)
    return found


def _newest(query: Select[Any], identifier: Any, before: str | None, limit: int) -> Select[Any]:
    """By number, which is the length of an id and then its text: T-10000 is newer than T-9999."""
    if before is not None:
        size = func.length(identifier)
        query = query.where(or_(size < len(before), and_(size == len(before), identifier < before)))
    return query.order_by(func.length(identifier).desc(), identifier.desc()).limit(limit)
