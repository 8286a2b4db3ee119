"""Handoffs: the bytes of each document with their SHA-256, immutable, and whether the router has seen it."""

import builtins
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update

from nightcrew.model.errors import DocumentError, IntegrityError, NotFoundError
from nightcrew.model.handoff import Handoff, content_digest, parse, render
from nightcrew.store import ids, ledger, rows
from nightcrew.store.schema import handoffs
from nightcrew.store.store import Tx

sha256 = content_digest
"""SHA-256 (hexadecimal) of a document's bytes: how approvals and the ledger name it."""


def put(tx: Tx, handoff: Handoff, *, actor: str | None = None) -> str:
    """Store a handoff and give the SHA-256 of its bytes; the same document again changes nothing.

    ``actor`` is the sender unless given. Raises IntegrityError if another document has this id.
    """
    body = render(handoff)
    digest = content_digest(body)
    if (row := _row(tx, handoff.id)) is not None:
        if row["body"] != body:
            raise IntegrityError(f"{handoff.id} exists and says something else: a correction supersedes it")
        return digest
    change = handoff.change
    tx.connection.execute(
        insert(handoffs).values(
            id=handoff.id, sender=handoff.sender, desk=handoff.to, ticket=handoff.ticket, session=handoff.session,
            kind=handoff.kind.value, verdict=handoff.verdict and handoff.verdict.value,
            severity=handoff.severity and handoff.severity.value, head=change and change.head,
            body=body, sha256=digest, created=rows.to_time(handoff.created), routed=False,
        )
    )  # fmt: skip
    ids.reserve(tx, handoff.id)
    _log(tx, handoff.id, "write", actor or handoff.sender, sha256=digest, desk=handoff.to, ticket=handoff.ticket)
    return digest


def get(tx: Tx, handoff_id: str) -> tuple[Handoff, bytes]:
    """The document and its bytes; raises NotFoundError, IntegrityError if the bytes do not fit their SHA-256."""
    row = _row(tx, handoff_id)
    if row is None:
        raise NotFoundError(f"there is no handoff {handoff_id}")
    return _read(row), row["body"]


def verify(tx: Tx, handoff_id: str) -> Handoff:
    """As ``get``, and its bytes are those that the sealed ledger says were written; raises IntegrityError."""
    handoff, body = get(tx, handoff_id)
    for entry in ledger.entries(tx, subject=f"handoff:{handoff_id}"):
        if entry.action == "handoff.write":
            ledger.check(tx, entry)
            if ledger.data(entry).get("sha256") == content_digest(body):
                return handoff
            break
    raise IntegrityError(f"{handoff_id} is not what the ledger says was written")


def list(
    tx: Tx,
    *,
    ticket: str | None = None,
    desk: str | None = None,
    session: str | None = None,
    unrouted: bool = False,
    before: str | None = None,
    limit: int | None = None,
    broken: builtins.list[str] | None = None,
) -> builtins.list[Handoff]:
    """Handoffs in the order of their numbers; with ``limit``, the last ones (``before`` one).

    Raises as ``get``, or tells it in ``broken`` if that is given.
    """
    query = select(handoffs).order_by(func.length(handoffs.c.id).desc(), handoffs.c.id.desc()).limit(limit)
    wanted = ((handoffs.c.ticket, ticket), (handoffs.c.desk, desk), (handoffs.c.session, session))
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    if unrouted:
        query = query.where(handoffs.c.routed.is_(False))
    if before is not None:
        size = func.length(handoffs.c.id)
        query = query.where(or_(size < len(before), and_(size == len(before), handoffs.c.id < before)))
    found = []
    for row in reversed(tx.connection.execute(query).mappings().all()):
        try:
            found.append(_read(row))
        except (DocumentError, IntegrityError) as error:
            if broken is None:
                raise
            broken.append(str(error))
    return found


def mark_routed(tx: Tx, handoff_id: str, *, desk: str | None = None, actor: str = "router") -> None:
    """Note that the router dealt with a handoff, and where it went; again, it does nothing. Raises NotFoundError."""
    row = _row(tx, handoff_id)
    if row is None:
        raise NotFoundError(f"there is no handoff {handoff_id}")
    if not row["routed"]:
        tx.connection.execute(update(handoffs).where(handoffs.c.id == handoff_id).values(routed=True))
        _log(tx, handoff_id, "route", actor, desk=desk or row["desk"])


def _log(tx: Tx, handoff_id: str, what: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"handoff.{what}", subject=f"handoff:{handoff_id}", data=data)


def _row(tx: Tx, handoff_id: str) -> Mapping[Any, Any] | None:
    return tx.connection.execute(select(handoffs).where(handoffs.c.id == handoff_id)).mappings().first()


def _read(row: Mapping[Any, Any]) -> Handoff:
    if not isinstance(row["body"], bytes):
        raise IntegrityError(f"the row of {row['id']} holds no bytes")
    if content_digest(row["body"]) != row["sha256"]:
        raise IntegrityError(f"the bytes of {row['id']} do not fit their SHA-256")
    handoff = _parsed(row["body"], row["id"])
    if handoff.id != row["id"]:
        raise IntegrityError(f"the document stored as {row['id']} is {handoff.id}")
    return handoff


@lru_cache(maxsize=2048)
def _parsed(body: bytes, handoff_id: str) -> Handoff:
    """The document of these very bytes, which never changes: reading YAML is most of what a list of them costs."""
    return parse(body, source=handoff_id)
