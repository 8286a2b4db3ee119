"""Records that are to be in LoreConvo as well: what waits, what it took, when it is asked again."""

import builtins
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, insert, select, update

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import NotFoundError
from nightcrew.store import ledger, rows
from nightcrew.store.schema import records
from nightcrew.store.schema_outside import memory_sync
from nightcrew.store.store import Tx

State = Literal["waiting", "down", "full", "refused", "sent"]
"""Waiting for its turn; for a server that did not answer; for room; not wanted there; there."""

UNSENT: tuple[State, ...] = ("waiting", "down", "full", "refused")
SUBJECT = "loreconvo"
"""What the ledger calls the other memory."""


@dataclass(frozen=True)
class Entry:
    """One record in the queue; ``next_at`` is when it is tried again, ``sent`` when it was taken last.

    Of its ``attempts`` those count twice at which the server broke off while it had this very record.
    """

    session: str
    remote: str
    sha256: str
    state: State
    attempts: int
    next_at: datetime | None
    sent: datetime | None
    problem: str

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return {**self.__dict__, "next_at": rows.to_time(self.next_at), "sent": rows.to_time(self.sent)}


def queue(tx: Tx, session: str, *, remote: str, project: str) -> bool:
    """Have the record of ``session`` sent under the id ``remote``; gives whether it was not queued or sent already.

    A record that was sent and is another one now, or belongs to a ``project`` of another name now, is sent again.
    Raises NotFoundError if the session left none.
    """
    doc = tx.connection.execute(select(records.c.doc).where(records.c.session == session)).scalar()
    if doc is None:
        raise NotFoundError(f"session {session} left no record", hint="List the sessions with: nightcrew session list")
    digest = sha256_hex(f"{project}\n{doc}".encode())
    known = tx.connection.execute(select(memory_sync.c.sha256).where(memory_sync.c.session == session)).scalar()
    if known == digest:
        return False
    fresh = {"sha256": digest, "state": "waiting", "attempts": 0, "next_at": None, "problem": ""}
    if known is None:
        tx.connection.execute(insert(memory_sync).values(session=session, remote=remote, sent=None, **fresh))
    else:
        _set(tx, [session], **fresh)
    _log(tx, "queue", f"session:{session}", {"remote": remote, "sha256": digest})
    return True


def recorded(tx: Tx) -> builtins.list[str]:
    """The sessions that left records, queued or not, oldest first."""
    query = select(records.c.session).order_by(records.c.created, records.c.session)
    return builtins.list(tx.connection.execute(query).scalars())


def list(tx: Tx, *, states: Collection[State] = UNSENT, limit: int | None = None) -> builtins.list[Entry]:
    """The queue by the records' age."""
    query = select(memory_sync).join(records, records.c.session == memory_sync.c.session)
    query = query.where(memory_sync.c.state.in_([*states])).order_by(records.c.created, records.c.session).limit(limit)
    return [_entry(row) for row in tx.connection.execute(query).mappings()]


def counts(tx: Tx) -> dict[State, int]:
    """How many records are in each state; every state is there."""
    query = select(memory_sync.c.state, func.count().label("number")).group_by(memory_sync.c.state)
    found: dict[str, int] = {row.state: row.number for row in tx.connection.execute(query)}
    states: tuple[State, ...] = (*UNSENT, "sent")
    return {state: found.get(state, 0) for state in states}


def count_own(tx: Tx) -> int:
    """How many records there are in the own store."""
    return int(tx.connection.execute(select(func.count()).select_from(records)).scalar() or 0)


def paused(tx: Tx) -> bool:
    """Whether the server, which did not answer, is left alone for now."""
    held = memory_sync.c.state == "down", memory_sync.c.next_at > tx.stamp()
    return tx.connection.execute(select(memory_sync.c.session).where(*held).limit(1)).scalar() is not None


def due(tx: Tx, *, limit: int) -> builtins.list[Entry]:
    """What may be sent now, in that order: what was tried least first, so that no record holds up all others.

    While the server is left alone that is nothing; while it is full, what it has already.
    """
    if paused(tx):
        return []
    now, waiting = tx.now(), sorted(list(tx), key=lambda one: one.attempts)
    full = any(one.state == "full" and one.next_at is not None and one.next_at > now for one in waiting)
    found = [one for one in waiting if _is_time(one, now) and (one.sent is not None or not full)]
    return found[:limit]


def _is_time(entry: Entry, now: datetime) -> bool:
    """Whether it may be tried; what was refused for good has no time until somebody asks for it."""
    return entry.state == "waiting" if entry.next_at is None else entry.next_at <= now


def took(tx: Tx, sessions: Mapping[str, str]) -> None:
    """These records are there now: sessions, and the digests of what was sent."""
    for session, digest in sessions.items():
        # What was written anew meanwhile is still to be sent.
        statement = update(memory_sync).where(memory_sync.c.session == session, memory_sync.c.sha256 == digest)
        tx.connection.execute(statement.values(state="sent", next_at=None, sent=tx.stamp(), problem=""))
        _log(tx, "send", f"session:{session}", {"sha256": digest})


def refused(tx: Tx, session: str, *, problem: str, again: datetime | None) -> None:
    """The server does not want this record; it is tried ``again`` or, for None, when somebody asks for it."""
    _set(tx, [session], state="refused", attempts=memory_sync.c.attempts + 1, next_at=rows.to_time(again),
         problem=problem)  # fmt: skip
    _log(tx, "refuse", f"session:{session}", {"problem": problem, "again": rows.to_time(again)})


def postpone(
    tx: Tx, sessions: builtins.list[str], state: State, *, problem: str, again: datetime, broke_at: str = ""
) -> None:
    """These records wait until ``again``, because the server is ``down`` or ``full``; it broke off at one of them."""
    if not sessions:
        return
    _set(tx, sessions, state=state, attempts=memory_sync.c.attempts + 1, next_at=rows.to_time(again), problem=problem)
    _set(tx, [broke_at], attempts=memory_sync.c.attempts + 1)
    data = {"sessions": len(sessions), "why": state, "problem": problem, "again": rows.to_time(again)}
    _log(tx, "wait", SUBJECT, data)


def at_once(tx: Tx) -> None:
    """Try everything that waits when it is asked for next, whatever was decided about it before."""
    held = memory_sync.c.state.in_([state for state in UNSENT if state != "waiting"])
    if tx.connection.execute(update(memory_sync).where(held).values(state="waiting", next_at=None)).rowcount:
        _log(tx, "hurry", SUBJECT, {})


def _set(tx: Tx, sessions: builtins.list[str], **values: Any) -> None:
    for start in range(0, len(sessions), 500):
        chosen = memory_sync.c.session.in_(sessions[start : start + 500])
        tx.connection.execute(update(memory_sync).where(chosen).values(**values))


def _log(tx: Tx, what: str, subject: str, data: Mapping[str, Any]) -> None:
    ledger.append(tx, actor="nightcrew", action=f"memory.{what}", subject=subject, data=data)


def _entry(row: Mapping[Any, Any]) -> Entry:
    return Entry(
        session=row["session"],
        remote=row["remote"],
        sha256=row["sha256"],
        state=row["state"],
        attempts=row["attempts"],
        next_at=rows.from_optional_time(row["next_at"]),
        sent=rows.from_optional_time(row["sent"]),
        problem=row["problem"],
    )
