"""The journal of a brain at work: what was answered and done already, so that a killed session goes on from there.

It is the brain's own memory of one ticket in one session, and proves nothing: no gate and no budget reads it.
"""

from typing import Any

from sqlalchemy import delete, insert, select, update

from nightcrew.store import rows
from nightcrew.store.schema import journal
from nightcrew.store.store import Tx


def get(tx: Tx, session: str, ticket: str, key: str) -> Any | None:
    """What was kept under ``key``, a JSON value; None if nothing was."""
    query = select(journal.c.value).where(_of(session, ticket), journal.c.key == key)
    found = tx.connection.execute(query).scalar()
    return None if found is None else rows.from_json(found, where=f"the journal of {session} on {ticket}")


def put(tx: Tx, session: str, ticket: str, key: str, value: Any) -> None:
    """Keep a JSON value under ``key``, in place of what was there."""
    text = rows.to_json(value)
    mine = _of(session, ticket) & (journal.c.key == key)
    if tx.connection.execute(update(journal).where(mine).values(value=text)).rowcount == 0:
        values = {"session": session, "ticket": ticket, "key": key, "value": text, "at": tx.stamp()}
        tx.connection.execute(insert(journal).values(values))


def forget(tx: Tx, session: str, ticket: str, prefix: str) -> int:
    """Delete what is kept under keys that begin with ``prefix``; gives how many."""
    mine = _of(session, ticket) & journal.c.key.startswith(prefix, autoescape=True)
    return tx.connection.execute(delete(journal).where(mine)).rowcount


def _of(session: str, ticket: str) -> Any:
    return (journal.c.session == session) & (journal.c.ticket == ticket)
