"""The journal of a brain at work: what was answered and done already, so that a killed session goes on from there.

It is the brain's own memory of one ticket in one session, and proves nothing: no gate and no budget reads it.
"""

import json
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, select, text

from nightcrew.store import rows
from nightcrew.store.schema import journal
from nightcrew.store.store import Tx

_PUT = text(
    "INSERT INTO journal (session, ticket, key, value, at) VALUES (:session, :ticket, :key, :value, :at)"
    " ON CONFLICT (session, ticket, key) DO UPDATE SET value = excluded.value"
)


class Kept(NamedTuple):
    """One thing that is kept; ``at`` is when it was kept first."""

    ticket: str
    key: str
    value: Any
    at: datetime


def of(tx: Tx, session: str) -> list[Kept]:
    """Everything that is kept of a session, in the order of time; what is no JSON is given as its text."""
    query = select(journal).where(journal.c.session == session).order_by(journal.c.at, journal.c.key)
    found = []
    for row in tx.connection.execute(query):
        try:
            value = json.loads(row.value)
        except (ValueError, RecursionError):
            value = row.value
        found.append(Kept(row.ticket, row.key, value, rows.from_time(row.at)))
    return found


def get(tx: Tx, session: str, ticket: str, key: str) -> Any | None:
    """What was kept under ``key``, a JSON value; None if nothing was."""
    query = select(journal.c.value).where(_of(session, ticket), journal.c.key == key)
    found = tx.connection.execute(query).scalar()
    return None if found is None else rows.from_json(found, where=f"the journal of {session} on {ticket}")


def all_of(tx: Tx, session: str, ticket: str) -> dict[str, Any]:
    """Everything that is kept of a ticket in a session."""
    query = select(journal.c.key, journal.c.value).where(_of(session, ticket))
    where = f"the journal of {session} on {ticket}"
    return {row.key: rows.from_json(row.value, where=where) for row in tx.connection.execute(query)}


def put(tx: Tx, session: str, ticket: str, key: str, value: Any) -> None:
    """Keep a JSON value under ``key``, in place of what was there. Any text will do: it is escaped to ASCII."""
    values = {"session": session, "ticket": ticket, "key": key, "value": json.dumps(value), "at": tx.stamp()}
    tx.connection.execute(_PUT, values)


def forget(tx: Tx, session: str, ticket: str, prefix: str) -> int:
    """Delete what is kept under keys that begin with ``prefix``; gives how many."""
    mine = _of(session, ticket) & journal.c.key.startswith(prefix, autoescape=True)
    return tx.connection.execute(delete(journal).where(mine)).rowcount


def _of(session: str, ticket: str) -> Any:
    return (journal.c.session == session) & (journal.c.ticket == ticket)
