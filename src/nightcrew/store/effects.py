"""The outbox of effects: what is to be brought about at a forge, written down first, done once, tried until it is.

A row is one effect: it says how something shall be at the forge (a branch, a pull request, a check). To want what was
wanted last is no new row; a newer wish of the same kind and subject replaces one that was not done yet.
"""

import builtins
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from sqlalchemy import func, insert, select, update

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import IntegrityError
from nightcrew.store import ledger, rows
from nightcrew.store.schema_outside import effects
from nightcrew.store.store import Tx

EffectState = Literal["due", "done", "failed", "replaced"]
"""``failed``: refused, and would be refused again until a person changes something."""

UNDONE: tuple[EffectState, ...] = ("due", "failed")


@dataclass(frozen=True)
class Effect:
    """One effect on ``subject`` (a ticket); ``doc`` is what to do, ``result`` what it came to. Done, it has no doc."""

    id: int
    key: str
    kind: str
    subject: str
    doc: dict[str, Any]
    state: EffectState
    attempts: int
    next_at: datetime | None
    created: datetime
    done: datetime | None
    result: dict[str, Any]
    problem: str

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for, without what it would send."""
        times = {name: rows.to_time(getattr(self, name)) for name in ("next_at", "created", "done")}
        return {**{name: value for name, value in self.__dict__.items() if name != "doc"}, **times}


def plan(tx: Tx, *, kind: str, subject: str, doc: Mapping[str, Any], actor: str = "forge") -> bool:
    """Write down that ``doc`` is to be brought about; whether that is new.

    It is not if the last effect of this kind on this subject is the same one. One that was not done yet is replaced.
    Raises DocumentError for text that is none.
    """
    mine = (effects.c.kind == kind) & (effects.c.subject == subject)
    text = rows.storable(rows.to_json(dict(doc)), where="an effect") or "{}"
    digest = _digest(text)
    before = tx.connection.execute(
        select(effects.c.key).where(mine, effects.c.state != "replaced").order_by(effects.c.id.desc()).limit(1)
    ).scalar()
    if before is not None and before.rpartition(":")[2] == digest:
        return False
    undone = mine & effects.c.state.in_(UNDONE)
    tx.connection.execute(update(effects).where(undone).values(state="replaced", doc="{}", next_at=None))
    number = tx.connection.execute(select(func.count()).where(mine)).scalar_one() + 1
    key = f"{subject}:{kind}:{number}:{digest}"
    now = tx.stamp()
    tx.connection.execute(
        insert(effects).values(
            key=key, kind=kind, subject=subject, doc=text, state="due", attempts=0, next_at=now, created=now,
            result="{}", problem="",
        )
    )  # fmt: skip
    _log(tx, subject, "plan", actor, kind=kind, key=key)
    return True


def verify(tx: Tx, effect: Effect) -> None:
    """Raises IntegrityError unless the effect is what the sealed ledger says was planned; a row proves nothing."""
    if effect.key.rpartition(":")[2] == _digest(rows.to_json(effect.doc)):
        for entry in ledger.entries(tx, subject=f"forge:{effect.subject}"):
            said = ledger.data(entry)
            if entry.action == "effect.plan" and (said.get("key"), said.get("kind")) == (effect.key, effect.kind):
                ledger.check(tx, entry)
                return
    raise IntegrityError(f"effect {effect.id} is not what the ledger says was planned")


def due(tx: Tx, *, limit: int = 500) -> builtins.list[Effect]:
    """Those whose time has come, in the order in which they were planned."""
    query = select(effects).where(effects.c.state == "due", effects.c.next_at <= tx.stamp())
    return [_effect(row) for row in tx.connection.execute(query.order_by(effects.c.id).limit(limit)).mappings()]


def waiting(tx: Tx) -> builtins.list[Effect]:
    """All that are not done: due now or later, or refused; oldest first."""
    query = select(effects).where(effects.c.state.in_(UNDONE)).order_by(effects.c.id)
    return [_effect(row) for row in tx.connection.execute(query).mappings()]


def of_subjects(tx: Tx, subjects: Iterable[str] | None = None) -> builtins.list[Effect]:
    """The effects on these subjects (None: on all), oldest first, without those that were replaced."""
    query = select(effects).where(effects.c.state != "replaced").order_by(effects.c.id)
    if subjects is not None:
        query = query.where(effects.c.subject.in_([*subjects]))
    return [_effect(row) for row in tx.connection.execute(query).mappings()]


def latest_done(tx: Tx, kind: str, subject: str) -> Effect | None:
    """The effect of this kind that was done last on the subject, None if none was."""
    query = select(effects).where(effects.c.kind == kind, effects.c.subject == subject, effects.c.state == "done")
    row = tx.connection.execute(query.order_by(effects.c.done.desc(), effects.c.id.desc()).limit(1)).mappings().first()
    return None if row is None else _effect(row)


def finish(tx: Tx, effect: Effect, result: Mapping[str, Any], *, actor: str = "forge") -> None:
    """It is done, and this came of it; what was sent is not kept."""
    values = {
        "state": "done", "attempts": effect.attempts + 1, "next_at": None, "done": tx.stamp(), "doc": "{}",
        "result": rows.to_json(dict(result)), "problem": "",
    }  # fmt: skip
    _set(tx, effect.id, values)
    _log(tx, effect.subject, "done", actor, kind=effect.kind, key=effect.key, result=dict(result))


def fail(tx: Tx, effect: Effect, problem: str, *, next_at: datetime | None, actor: str = "forge") -> None:
    """It was not done: it is due again at ``next_at``, or refused (None)."""
    state = "failed" if next_at is None else "due"
    values = {
        "state": state, "attempts": effect.attempts + 1, "next_at": rows.to_time(next_at),
        "problem": rows.storable(problem[:500], where="an effect's problem"),
    }  # fmt: skip
    _set(tx, effect.id, values)
    _log(tx, effect.subject, "fail", actor, kind=effect.kind, key=effect.key, problem=problem[:500], state=state)


def try_again(tx: Tx, *, actor: str = "forge") -> int:
    """Make those that were refused due again: somebody may have changed what they were refused for; gives how many."""
    count = tx.connection.execute(select(func.count()).where(effects.c.state == "failed")).scalar_one()
    if count:
        values = {"state": "due", "next_at": tx.stamp()}
        tx.connection.execute(update(effects).where(effects.c.state == "failed").values(values))
        ledger.append(tx, actor=actor, action="effect.again", subject="forge", data={"count": count})
    return int(count)


def withdraw(
    tx: Tx, *, subject: str, kinds: Iterable[str], but: Collection[str] = (), actor: str = "forge"
) -> builtins.list[str]:
    """Take back what is not done on ``subject`` of these kinds (``check *``: all that begin so); gives the keys."""
    undone = select(effects.c.id, effects.c.key, effects.c.kind).where(
        effects.c.subject == subject, effects.c.state.in_(UNDONE)
    )
    patterns = [*kinds]
    rows_ = [
        row
        for row in tx.connection.execute(undone.order_by(effects.c.id))
        if row.kind not in but and any(fnmatchcase(row.kind, pattern) for pattern in patterns)
    ]
    for row in rows_:
        _set(tx, row.id, {"state": "replaced", "doc": "{}", "next_at": None})
        _log(tx, subject, "withdraw", actor, kind=row.kind, key=row.key)
    return [str(row.key) for row in rows_]


def _digest(text: str) -> str:
    return sha256_hex(text.encode())[:32]


def _set(tx: Tx, number: int, values: Mapping[str, Any]) -> None:
    tx.connection.execute(update(effects).where(effects.c.id == number).values(dict(values)))


def _log(tx: Tx, subject: str, what: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"effect.{what}", subject=f"forge:{subject}", data=data)


def _effect(row: Mapping[Any, Any]) -> Effect:
    where = f"effect {row['key']}"
    doc, result = rows.from_json(row["doc"], where=where), rows.from_json(row["result"], where=where)
    return Effect(
        id=row["id"],
        key=row["key"],
        kind=row["kind"],
        subject=row["subject"],
        doc=doc if isinstance(doc, dict) else {},
        state=row["state"],
        attempts=row["attempts"],
        next_at=rows.from_optional_time(row["next_at"]),
        created=rows.from_time(row["created"]),
        done=rows.from_optional_time(row["done"]),
        result=result if isinstance(result, dict) else {},
        problem=row["problem"],
    )
