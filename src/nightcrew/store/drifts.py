"""What drifted, from when to when; and the references that it is compared with."""

import builtins
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import NotFoundError
from nightcrew.store import ledger, rows
from nightcrew.store.schema import drift_references, drifts
from nightcrew.store.store import Tx

STATE = "@state"
"""The name, which no user can give, under which the latest windows of a subject lie."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A feature of a subject that is, or was, not like its reference.

    ``at`` is when it was seen, ``since`` when it likely began, ``until`` when it was over (None: it goes on).
    ``measure`` is what moved: shift, spread, range, share, mix, missing or schema. ``effect`` is its size in the unit
    that ``message`` names; ``p`` is compared with the rate of false alarms of a look.
    """

    id: int
    subject: str
    feature: str
    measure: str
    at: datetime
    since: datetime
    until: datetime | None
    effect: float
    p: float
    message: str

    def plain(self) -> dict[str, Any]:
        """As values that JSON has a form for."""
        return {
            "id": self.id, "subject": self.subject, "feature": self.feature, "measure": self.measure,
            "at": isoformat(self.at), "since": isoformat(self.since), "until": self.until and isoformat(self.until),
            "effect": self.effect, "p": self.p, "message": self.message,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference: of what, under which name, since when, and the SHA-256 of what it holds."""

    subject: str
    name: str
    created: datetime
    sha256: str


def begin(
    tx: Tx, *, subject: str, feature: str, measure: str, since: datetime, effect: float, p: float, message: str
) -> int:
    """Note that a feature drifts from now on; gives the number of this drift."""
    values = {
        "subject": subject, "feature": feature, "measure": measure, "at": tx.stamp(), "since": isoformat(since),
        "until": None, "effect": effect, "p": p, "message": message,
    }  # fmt: skip
    return int(tx.connection.execute(insert(drifts).values(values).returning(drifts.c.id)).scalar_one())


def go_on(tx: Tx, drift: int, *, effect: float, p: float, message: str) -> None:
    """Note how far it is by now."""
    tx.connection.execute(update(drifts).where(drifts.c.id == drift).values(effect=effect, p=p, message=message))


def end(tx: Tx, drift: int, *, until: datetime) -> None:
    """Note that it is over."""
    tx.connection.execute(update(drifts).where(drifts.c.id == drift).values(until=isoformat(until)))


def list(
    tx: Tx,
    *,
    subject: str | None = None,
    open_only: bool = False,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int | None = None,
) -> builtins.list[Drift]:
    """Drifts, newest first; ``subject`` may end in ``*``; ``start`` and ``end`` choose those that were in that time."""
    query = select(drifts).order_by(drifts.c.at.desc(), drifts.c.id.desc())
    if subject is not None and subject.endswith("*"):
        query = query.where(func.substr(drifts.c.subject, 1, len(subject) - 1) == subject[:-1])
    elif subject is not None:
        query = query.where(drifts.c.subject == subject)
    if open_only:
        query = query.where(drifts.c.until.is_(None))
    if start is not None:
        query = query.where(or_(drifts.c.until.is_(None), drifts.c.until >= isoformat(start)))
    if end is not None:
        query = query.where(drifts.c.since < isoformat(end))
    return [_drift(row) for row in tx.connection.execute(query.limit(limit))]


def save_reference(tx: Tx, subject: str, name: str, doc: bytes, *, actor: str) -> None:
    """Keep a reference, in the place of one of that name; that it changed stands in the ledger."""
    keep(tx, subject, name, doc)
    data = {"name": name, "sha256": sha256_hex(doc)}
    ledger.append(tx, actor=actor, action="drift.reference", subject=f"drift:{subject}", data=data)


def remove_reference(tx: Tx, subject: str, name: str, *, actor: str) -> None:
    """Forget a reference; raises NotFoundError if there is none of that name."""
    if not forget(tx, subject, name):
        raise NotFoundError(f"{subject} has no reference {name}", hint="List them with: nightcrew drift reference list")
    ledger.append(tx, actor=actor, action="drift.forget", subject=f"drift:{subject}", data={"name": name})


def reference(tx: Tx, subject: str, name: str) -> tuple[bytes, datetime] | None:
    """What a reference holds, and since when it is there; None if there is none of that name."""
    query = select(drift_references.c.doc, drift_references.c.created).where(
        drift_references.c.subject == subject, drift_references.c.name == name
    )
    row = tx.connection.execute(query).first()
    return None if row is None else (bytes(row.doc), rows.from_time(row.created))


def references(tx: Tx, subject: str | None = None) -> builtins.list[Reference]:
    """All references, by subject and name."""
    query = select(drift_references).where(drift_references.c.name != STATE)
    if subject is not None:
        query = query.where(drift_references.c.subject == subject)
    query = query.order_by(drift_references.c.subject, drift_references.c.name)
    return [
        Reference(row.subject, row.name, rows.from_time(row.created), sha256_hex(bytes(row.doc)))
        for row in tx.connection.execute(query)
    ]


def keep(tx: Tx, subject: str, name: str, doc: bytes) -> None:
    """Keep bytes under a name of a subject without a word in the ledger."""
    forget(tx, subject, name)
    values = {"subject": subject, "name": name, "doc": doc, "created": tx.stamp()}
    tx.connection.execute(insert(drift_references).values(values))


def forget(tx: Tx, subject: str, name: str) -> bool:
    """Delete what lies under a name; whether there was something."""
    where = (drift_references.c.subject == subject, drift_references.c.name == name)
    return bool(tx.connection.execute(delete(drift_references).where(*where)).rowcount)


def _drift(row: Row[tuple[object, ...]]) -> Drift:
    until = None if row.until is None else rows.from_time(row.until)
    return Drift(
        row.id, row.subject, row.feature, row.measure, rows.from_time(row.at), rows.from_time(row.since), until,
        row.effect, row.p, row.message,
    )  # fmt: skip
