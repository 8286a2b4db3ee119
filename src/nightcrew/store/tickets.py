"""Tickets: every change goes through the state machine and the ledger; each row can be checked against its entry."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, update

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.entry import Entry
from nightcrew.model.errors import ApprovalError, DocumentError, IntegrityError, NotFoundError, PolicyError
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import APPROVING, Event, Kind, Priority, State, Ticket, next_state
from nightcrew.store import ids, ledger, reviews, rows
from nightcrew.store.schema import tickets
from nightcrew.store.store import Tx

_LISTS = ("depends_on", "findings")
_FIXED = frozenset({"id", "state", "created"})
_NUMBER = (func.length(tickets.c.id), tickets.c.id)  # T-10000 comes after T-9999


class Candidate(NamedTuple):
    """What the planner looks at; ``created`` is RFC 3339 text in UTC, which sorts as it is."""

    id: str
    kind: Kind
    priority: Priority
    severity: Severity | None
    state: State
    depends_on: tuple[str, ...]
    created: str
    breaks_build: bool


def add(
    tx: Tx,
    *,
    actor: str,
    title: str,
    body: str = "",
    kind: Kind = Kind.FEATURE,
    priority: Priority = Priority.P2,
    severity: Severity | None = None,
    breaks_build: bool = False,
    state: State = State.OPEN,
    depends_on: Iterable[str] = (),
    command: str | None = None,
    branch: str | None = None,
    origin: str = "human",
    note: str = "",
    findings: Iterable[str] = (),
    base: str | None = None,
    head: str | None = None,
    review: str | None = None,
    created: datetime | None = None,
    id: str | None = None,
) -> Ticket:
    """File a ticket, with the next id unless ``id`` is given.

    A new ticket is ``open``, or ``in_review`` if a human must decide first; PolicyError otherwise. Raises DocumentError
    for values that do not fit, PolicyError for an id that exists.
    """
    if state not in (State.OPEN, State.IN_REVIEW):
        raise PolicyError(f"a new ticket is open or in_review, not {state}")
    fields = {
        "id": id or ids.next_id(tx, "T"), "title": title, "body": body, "kind": kind, "priority": priority,
        "severity": severity, "breaks_build": breaks_build, "state": state, "depends_on": tuple(depends_on),
        "command": command, "branch": branch, "origin": origin, "note": note, "findings": tuple(findings),
        "base": base, "head": head, "review": review, "created": (created or tx.now()).astimezone(UTC),
    }  # fmt: skip
    ticket = Ticket.read(fields, source=f"ticket {fields['id']}")
    if id is not None:
        if _row(tx, id) is not None:
            raise PolicyError(f"{id} exists already")
        ids.reserve(tx, id)
    _storable(ticket)
    entry = _log(tx, ticket, actor=actor, action="ticket.add", data={"to": ticket.state.value})
    tx.connection.execute(insert(tickets).values(**_columns(ticket), entry=entry.seq))
    return ticket


def get(tx: Tx, ticket_id: str) -> Ticket:
    """The ticket; raises NotFoundError, or IntegrityError if its row cannot be one."""
    return _ticket(_existing(tx, ticket_id))


def all(
    tx: Tx,
    *,
    states: Iterable[State] | None = None,
    limit: int | None = None,
    offset: int = 0,
    broken: list[str] | None = None,
) -> list[Ticket]:
    """Tickets in the order of their numbers, those in ``states`` only if given.

    A row that is none raises IntegrityError, or is told in ``broken`` if that is given.
    """
    query = select(tickets).order_by(*_NUMBER).limit(limit).offset(offset or None)
    if states is not None:
        query = query.where(tickets.c.state.in_([state.value for state in states]))
    found = []
    for row in tx.connection.execute(query).mappings():
        try:
            found.append(_ticket(row))
        except IntegrityError as error:
            if broken is None:
                raise
            broken.append(str(error))
    return found


def some(tx: Tx, names: Iterable[str]) -> list[Ticket]:
    """Those of the tickets that are there, in the order of ``names``; raises IntegrityError for a row that is none."""
    wanted = [*dict.fromkeys(names)]
    found: dict[str, Ticket] = {}
    for start in range(0, len(wanted), 500):
        query = select(tickets).where(tickets.c.id.in_(wanted[start : start + 500]))
        found.update((row["id"], _ticket(row)) for row in tx.connection.execute(query).mappings())
    return [found[name] for name in wanted if name in found]


def count(tx: Tx) -> dict[State, int]:
    """How many tickets are in each state that has any."""
    query = select(tickets.c.state, func.count()).group_by(tickets.c.state)
    return {State(row[0]): row[1] for row in tx.connection.execute(query)}


def candidates(tx: Tx) -> Iterator[Candidate]:
    """All tickets as the planner needs them, in no order; raises IntegrityError for a row that cannot be a ticket."""
    kinds, priorities, states = {str(x): x for x in Kind}, {str(x): x for x in Priority}, {str(x): x for x in State}
    severities: dict[str | None, Severity | None] = {None: None, **{str(x): x for x in Severity}}
    found = tx.connection.exec_driver_sql(
        "SELECT id, kind, priority, severity, state, depends_on, created, breaks_build FROM tickets"
    )
    cursor = found.cursor
    while cursor is not None and (page := cursor.fetchmany(5000)):
        for name, kind, priority, severity, state, depends_on, created, breaks in page:
            try:
                yield Candidate(
                    name, kinds[kind], priorities[priority], severities[severity], states[state],
                    _names(depends_on), created, bool(breaks),
                )  # fmt: skip
            except (KeyError, ValueError, TypeError):
                raise IntegrityError(f"the row of {name} does not hold a ticket") from None


def open_with_title(tx: Tx, prefix: str) -> list[str]:
    """The open tickets whose title begins with ``prefix``, whatever the case."""
    query = select(tickets.c.id).where(tickets.c.state == str(State.OPEN))
    if prefix:
        query = query.where(func.lower(tickets.c.title).startswith(prefix.lower(), autoescape=True))
    return [*tx.connection.execute(query).scalars()]


def open_from(tx: Tx, origin: str) -> list[str]:
    """The tickets of this origin that are neither done nor rejected."""
    ended = (str(State.DONE), str(State.REJECTED))
    query = select(tickets.c.id).where(tickets.c.origin == origin, tickets.c.state.not_in(ended))
    return [*tx.connection.execute(query).scalars()]


def apply(tx: Tx, ticket_id: str, event: Event, *, actor: str, reason: str = "", **changes: Any) -> Ticket:
    """Let ``event`` happen to the ticket and set the fields in ``changes``; gives the ticket as it is then.

    Raises TransitionError if it cannot happen now, PolicyError for an approving event (see ``apply_approved``).
    """
    if event in APPROVING:
        raise PolicyError(f"{event} needs a verified signature")
    return _apply(tx, ticket_id, event, actor, {"reason": reason}, changes)


def apply_approved(
    tx: Tx,
    ticket_id: str,
    event: Event,
    *,
    actor: str,
    review: str,
    envelopes_sha256: Collection[str],
    reason: str = "",
    **changes: Any,
) -> Ticket:
    """Let an approving event happen: the caller has verified the signature, and the review is decided.

    Raises ApprovalError if the review does not stand for this, PolicyError if the event approves nothing.
    """
    if event not in APPROVING:
        raise PolicyError(f"{event} is not an approval")
    approved = {found.id: (found, envelopes) for found, envelopes in reviews.approved(tx, ticket_id)}
    if review not in approved or approved[review][0].on_approve is not event:
        raise ApprovalError(f"{review} does not approve {event} of {ticket_id}")
    stored = {sha256_hex(envelope.encode()) for envelope in approved[review][1]}
    if not envelopes_sha256 or not stored.issuperset(envelopes_sha256):
        raise ApprovalError(f"{review} holds other signatures than those that were verified")
    proof = {"reason": reason, "review": review, "envelopes_sha256": sorted(envelopes_sha256)}
    return _apply(tx, ticket_id, event, actor, proof, changes)


def edit(tx: Tx, ticket_id: str, *, actor: str, changes: Mapping[str, Any]) -> Ticket:
    """Set fields other than id, state and created; gives the ticket then. Raises DocumentError, NotFoundError."""
    ticket = get(tx, ticket_id)
    changed = _changed(ticket, changes)
    names = sorted(changes)
    _write(tx, changed, _log(tx, changed, actor=actor, action="ticket.edit", data={"fields": names}))
    return changed


def verify_row(tx: Tx, ticket_id: str) -> Ticket:
    """The ticket, if its row is exactly what the last ledger entry about it says.

    Raises IntegrityError if the row or that entry was changed by anybody but nightcrew, NotFoundError.
    """
    row = _existing(tx, ticket_id)
    entry = ledger.latest_for(tx, f"ticket:{ticket_id}")
    if entry is None:
        raise IntegrityError(f"{ticket_id} is not in the ledger")
    ledger.check(tx, entry)
    ticket = _ticket(row)
    if row["entry"] != entry.seq or ledger.data(entry).get("digest") != ticket.digest:
        raise IntegrityError(f"the row of {ticket_id} is not what entry {entry.seq} of the ledger says")
    return ticket


def _apply(
    tx: Tx, ticket_id: str, event: Event, actor: str, said: Mapping[str, Any], changes: Mapping[str, Any]
) -> Ticket:
    ticket = get(tx, ticket_id)
    to = next_state(ticket.state, event, ticket=ticket.id)
    changed = _changed(ticket, changes, state=to)
    data = {**said, "from": ticket.state.value, "to": to.value}
    _write(tx, changed, _log(tx, changed, actor=actor, action=f"ticket.{event}", data=data))
    return changed


def _changed(ticket: Ticket, changes: Mapping[str, Any], *, state: State | None = None) -> Ticket:
    if fixed := _FIXED.intersection(changes):
        raise DocumentError(f"{ticket.id}: {', '.join(sorted(fixed))} cannot be set")
    values = {**ticket.model_dump(), **changes, "state": state or ticket.state}
    return _storable(Ticket.read(values, source=f"ticket {ticket.id}"))


def _log(tx: Tx, ticket: Ticket, *, actor: str, action: str, data: Mapping[str, Any]) -> Entry:
    """Every entry about a ticket carries its digest: ``verify_row`` goes by it."""
    return ledger.append(
        tx, actor=actor, action=action, subject=f"ticket:{ticket.id}", data={**data, "digest": ticket.digest}
    )


def _write(tx: Tx, ticket: Ticket, entry: Entry) -> None:
    values = {**_columns(ticket), "entry": entry.seq}
    tx.connection.execute(update(tickets).where(tickets.c.id == ticket.id).values(values))


def _columns(ticket: Ticket) -> dict[str, Any]:
    lists = {name: rows.to_json(getattr(ticket, name)) for name in _LISTS}
    return {**ticket.plain(), **lists, "created": rows.to_time(ticket.created)}


def _storable(ticket: Ticket) -> Ticket:
    for name, value in ticket.plain().items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                rows.storable(text, where=f"ticket {ticket.id}: {name}")
    return ticket


def _row(tx: Tx, ticket_id: str) -> Mapping[Any, Any] | None:
    return tx.connection.execute(select(tickets).where(tickets.c.id == ticket_id)).mappings().first()


def _existing(tx: Tx, ticket_id: str) -> Mapping[Any, Any]:
    row = _row(tx, ticket_id)
    if row is None:
        raise NotFoundError(f"there is no ticket {ticket_id}", hint="List tickets with: nightcrew ticket list")
    return row


def _ticket(row: Mapping[Any, Any]) -> Ticket:
    where = f"the row of {row['id']}"
    lists = {name: rows.from_json(row[name], where=where) for name in _LISTS}
    try:
        return Ticket.read({**{k: v for k, v in row.items() if k != "entry"}, **lists}, source=where)
    except DocumentError as error:
        raise IntegrityError(str(error)) from None


def _names(text: str) -> tuple[str, ...]:
    """A list of names; without a backslash in it no name holds a quote, and splitting is enough."""
    if text == "[]":
        return ()
    if "\\" not in text and text[:2] == '["' and text[-2:] == '"]':
        return tuple(text[2:-2].split('","'))
    return tuple(json.loads(text))
