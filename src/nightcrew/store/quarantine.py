"""What could not be processed, with its reason and its bytes, waiting for a person."""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, insert, select, update

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import NotFoundError, TransitionError
from nightcrew.store import ids, ledger, rows
from nightcrew.store.schema import quarantine
from nightcrew.store.store import Tx

QuarantineState = Literal["waiting", "released", "discarded"]


@dataclass(frozen=True)
class Quarantined:
    """One thing in quarantine; ``what`` is ``noun:id`` or a file's name."""

    id: str
    what: str
    reason: str
    body: bytes
    at: datetime
    state: QuarantineState


def add(tx: Tx, *, what: str, reason: str, body: bytes = b"", actor: str = "nightcrew") -> str:
    """Put something in quarantine and give its id (``Q-0001``)."""
    name = ids.next_id(tx, "Q")
    reason = reason.replace("\0", "\ufffd")
    row = {"id": name, "what": what, "reason": reason, "body": body, "at": tx.stamp(), "state": "waiting"}
    tx.connection.execute(insert(quarantine).values(row))
    _log(tx, name, "add", actor, what=what, reason=reason, sha256=sha256_hex(body))
    return name


def get(tx: Tx, item: str) -> Quarantined:
    """One thing in quarantine; raises NotFoundError."""
    row = tx.connection.execute(select(quarantine).where(quarantine.c.id == item)).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no {item} in quarantine")
    return _item(row)


def list(tx: Tx, *, state: QuarantineState | None = "waiting") -> builtins.list[Quarantined]:
    """What is in quarantine, oldest first; ``state`` None gives also what was dealt with."""
    query = select(quarantine).order_by(func.length(quarantine.c.id), quarantine.c.id)
    if state is not None:
        query = query.where(quarantine.c.state == state)
    return [_item(row) for row in tx.connection.execute(query).mappings()]


def release(tx: Tx, item: str, *, actor: str) -> Quarantined:
    """Give it back to be processed; the caller does so. Raises TransitionError if it does not wait."""
    return _leave(tx, item, "released", actor)


def discard(tx: Tx, item: str, *, actor: str) -> Quarantined:
    """Decide that it is not to be processed; its bytes are kept. Raises TransitionError if it does not wait."""
    return _leave(tx, item, "discarded", actor)


def _leave(tx: Tx, item: str, state: QuarantineState, actor: str) -> Quarantined:
    found = get(tx, item)
    if found.state != "waiting":
        raise TransitionError(f"{item} was {found.state} already")
    tx.connection.execute(update(quarantine).where(quarantine.c.id == item).values(state=state))
    _log(tx, item, state, actor)
    return get(tx, item)


def _log(tx: Tx, item: str, event: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"quarantine.{event}", subject=f"quarantine:{item}", data=data)


def _item(row: Mapping[Any, Any]) -> Quarantined:
    return Quarantined(**{**row, "at": rows.from_time(row["at"])})
