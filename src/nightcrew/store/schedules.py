"""Schedules: when shifts of this repository are to run by themselves."""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from nightcrew.model.errors import NotFoundError
from nightcrew.model.scheduling import Schedule
from nightcrew.store import ledger, rows
from nightcrew.store.schema_outside import schedules
from nightcrew.store.store import Tx


@dataclass(frozen=True)
class Kept:
    """A schedule as it is kept; ``since`` is from when on its times count."""

    schedule: Schedule
    created: datetime
    updated: datetime
    since: datetime


def save(tx: Tx, schedule: Schedule, *, actor: str = "human") -> bool:
    """Keep a schedule in place of the one of its name; gives whether it is another one than before.

    New times count from now on: what they would have meant for yesterday was not missed.
    """
    before, doc, now = find(tx, schedule.name), schedule.plain(), tx.stamp()
    if before is None:
        values = {"doc": rows.to_json(doc), "created": now, "updated": now, "since": now}
        tx.connection.execute(insert(schedules).values(name=schedule.name, **values))
        _log(tx, schedule.name, "install", actor, doc)
        return True
    if before.schedule == schedule:
        return False
    since = rows.to_time(before.since) if _times(before.schedule) == _times(schedule) else now
    mine = schedules.c.name == schedule.name
    tx.connection.execute(update(schedules).where(mine).values(doc=rows.to_json(doc), updated=now, since=since))
    _log(tx, schedule.name, "change", actor, doc)
    return True


def find(tx: Tx, name: str) -> Kept | None:
    """The schedule of a name, None if there is none."""
    row = tx.connection.execute(select(schedules).where(schedules.c.name == name)).mappings().first()
    return None if row is None else _kept(row)


def get(tx: Tx, name: str) -> Kept:
    """The schedule of a name; raises NotFoundError."""
    found = find(tx, name)
    if found is None:
        raise NotFoundError(f"there is no schedule {name}", hint="List them with: nightcrew schedule show")
    return found


def list(tx: Tx) -> builtins.list[Kept]:
    """All schedules, by name."""
    return [_kept(row) for row in tx.connection.execute(select(schedules).order_by(schedules.c.name)).mappings()]


def remove(tx: Tx, name: str, *, actor: str = "human") -> None:
    """Forget a schedule, not what it did; raises NotFoundError."""
    get(tx, name)
    tx.connection.execute(delete(schedules).where(schedules.c.name == name))
    _log(tx, name, "remove", actor, {})


def _times(schedule: Schedule) -> tuple[Any, ...]:
    return schedule.at, schedule.days, schedule.zone


def _log(tx: Tx, name: str, what: str, actor: str, doc: dict[str, Any]) -> None:
    ledger.append(tx, actor=actor, action=f"schedule.{what}", subject=f"schedule:{name}", data=doc)


def _kept(row: Mapping[Any, Any]) -> Kept:
    where = f"the row of schedule {row['name']}"
    return Kept(
        schedule=Schedule.read(rows.from_json(row["doc"], where=where), source=where),
        created=rows.from_time(row["created"]),
        updated=rows.from_time(row["updated"]),
        since=rows.from_time(row["since"]),
    )
