"""Silences: for a time, nobody is told of alerts that match."""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import func, insert, select, update

from nightcrew.model.errors import NotFoundError, UsageError
from nightcrew.store import ids, ledger, rows
from nightcrew.store.schema import silences
from nightcrew.store.store import Tx

LONGEST = timedelta(days=90)
"""A silence that is forgotten must not last for ever."""

_NUMBER = (func.length(silences.c.id), silences.c.id)


@dataclass(frozen=True)
class Silence:
    """One silence; ``rule`` and ``subject`` are globs. It ends at ``until``, or at ``ended`` if somebody ended it."""

    id: str
    rule: str
    subject: str
    until: datetime
    actor: str
    comment: str
    created: datetime
    ended: datetime | None

    def covers(self, rule: str, subject: str) -> bool:
        """Whether an alert of this rule and subject is meant.

        Of a subject with a part (``pipeline:fraud feature=amount``) the whole may be named as well.
        """
        whole = subject.partition(" ")[0]
        named = fnmatchcase(subject, self.subject) or fnmatchcase(whole, self.subject)
        return named and fnmatchcase(rule, self.rule)

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        times = {name: rows.to_time(getattr(self, name)) for name in ("until", "created", "ended")}
        return {**self.__dict__, **times}


def add(tx: Tx, *, rule: str, subject: str, until: datetime, actor: str, comment: str) -> Silence:
    """Begin a silence. Raises UsageError unless it ends within 90 days, DocumentError for text that is none."""
    if until <= tx.now():
        raise UsageError("a silence ends in the future")
    if until > tx.now() + LONGEST:
        raise UsageError(
            f"a silence ends within {LONGEST.days} days",
            hint="A rule that nobody is to hear of again: put its name into alerts.disabled in nightcrew.toml.",
        )
    rows.storable(f"{rule}{subject}{comment}", where="a silence")
    name = ids.next_id(tx, "SL")
    tx.connection.execute(
        insert(silences).values(
            id=name, rule=rule, subject=subject, until=rows.to_time(until), actor=actor, comment=comment,
            created=tx.stamp(),
        )
    )  # fmt: skip
    _log(tx, name, "alert.silence", actor, rule=rule, subject=subject, until=rows.to_time(until), comment=comment)
    return get(tx, name)


def get(tx: Tx, silence: str) -> Silence:
    """The silence; raises NotFoundError."""
    row = tx.connection.execute(select(silences).where(silences.c.id == silence)).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no silence {silence}", hint="List them with: nightcrew alerts list")
    return _silence(row)


def list(tx: Tx, *, active: bool = True) -> builtins.list[Silence]:
    """Silences, oldest first; those that have not ended, unless told otherwise."""
    query = select(silences).order_by(*_NUMBER)
    if active:
        query = query.where(silences.c.ended.is_(None), silences.c.until > tx.stamp())
    return [_silence(row) for row in tx.connection.execute(query).mappings()]


def end(tx: Tx, silence: str, *, actor: str) -> Silence:
    """End it now; one that has ended stays as it is. Raises NotFoundError."""
    found = get(tx, silence)
    if found.ended is None and found.until > tx.now():
        tx.connection.execute(update(silences).where(silences.c.id == silence).values(ended=tx.stamp()))
        _log(tx, silence, "alert.unsilence", actor)
    return get(tx, silence)


def _log(tx: Tx, silence: str, action: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=action, subject=f"silence:{silence}", data=data)


def _silence(row: Mapping[Any, Any]) -> Silence:
    return Silence(
        id=row["id"],
        rule=row["rule"],
        subject=row["subject"],
        until=rows.from_time(row["until"]),
        actor=row["actor"],
        comment=row["comment"],
        created=rows.from_time(row["created"]),
        ended=rows.from_optional_time(row["ended"]),
    )
