"""Firings: each time that a schedule was due, once, and what became of it."""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, insert, select, update

from nightcrew.model.errors import TransitionError
from nightcrew.store import ledger, rows
from nightcrew.store.schema_outside import firings
from nightcrew.store.store import Tx

State = Literal["running", "done", "failed", "overlapped", "missed"]
"""It runs, or was killed; it ran to an end; it broke; another shift ran; nothing called it in time."""

Cause = Literal["time", "hand"]
"""It was due, or a person wanted it now."""


@dataclass(frozen=True)
class Firing:
    """One time that a schedule was due. ``outcome`` is its shift's, or the code of the error that it broke of."""

    id: int
    schedule: str
    due: datetime
    cause: Cause
    state: State
    started: datetime
    ended: datetime | None
    outcome: str | None
    exit_status: int | None
    shift: str | None
    detail: str

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return {**self.__dict__, **{name: rows.to_time(getattr(self, name)) for name in ("due", "started", "ended")}}


def claim(tx: Tx, schedule: str, due: datetime, *, cause: Cause = "time", detail: str = "") -> Firing | None:
    """Begin a firing; None if somebody has begun, or noted, this one before."""
    if _find(tx, schedule, due) is not None:
        return None
    _add(tx, schedule, due, cause=cause, state="running", detail=detail)
    _log(tx, schedule, "fire", due, {"cause": cause})
    return _find(tx, schedule, due)


def miss(
    tx: Tx, schedule: str, due: datetime, *, detail: str, state: Literal["missed", "overlapped"] = "missed"
) -> None:
    """Note that nothing ran then, and will not any more; one that is there already stays as it is."""
    if _find(tx, schedule, due) is None:
        _add(tx, schedule, due, cause="time", state=state, detail=detail, ended=tx.stamp(), outcome=state)
        _log(tx, schedule, "miss", due, {"state": state, "detail": detail})


def set_shift(tx: Tx, firing: int, shift: str) -> None:
    """Note which shift it runs."""
    tx.connection.execute(update(firings).where(firings.c.id == firing).values(shift=shift))


def end(
    tx: Tx,
    firing: int,
    state: State,
    *,
    outcome: str,
    exit_status: int | None = None,
    shift: str | None = None,
    detail: str | None = None,
) -> Firing:
    """End a running one; what is None stays as it is. Raises TransitionError if it does not run."""
    found = get(tx, firing)
    if found.state != "running":
        raise TransitionError(f"the firing of {found.schedule} at {rows.to_time(found.due)} has ended")
    values = {
        "state": state, "ended": tx.stamp(), "outcome": outcome, "exit_status": exit_status,
        "shift": found.shift if shift is None else shift, "detail": found.detail if detail is None else detail,
    }  # fmt: skip
    tx.connection.execute(update(firings).where(firings.c.id == firing).values(values))
    data = {name: values[name] for name in ("state", "outcome", "exit_status", "shift")}
    _log(tx, found.schedule, "end", found.due, data)
    return get(tx, firing)


def get(tx: Tx, firing: int) -> Firing:
    """The firing of a number; raises TransitionError if there is none."""
    row = tx.connection.execute(select(firings).where(firings.c.id == firing)).mappings().first()
    if row is None:
        raise TransitionError(f"there is no firing {firing}")
    return _firing(row)


def last_due(tx: Tx, schedule: str) -> datetime | None:
    """The latest time up to now that it was due at and that is dealt with, or being dealt with.

    A later one was noted while the clock was wrong. It counts when its time comes, and keeps nothing from running now.
    """
    mine = (firings.c.schedule == schedule) & (firings.c.cause == "time") & (firings.c.due <= tx.stamp())
    return rows.from_optional_time(tx.connection.execute(select(func.max(firings.c.due)).where(mine)).scalar())


def running(tx: Tx, schedule: str) -> builtins.list[Firing]:
    """Those that have not ended, oldest first."""
    mine = (firings.c.schedule == schedule) & (firings.c.state == "running")
    return [
        _firing(row) for row in tx.connection.execute(select(firings).where(mine).order_by(firings.c.id)).mappings()
    ]


def list(tx: Tx, *, schedule: str | None = None, limit: int | None = None) -> builtins.list[Firing]:
    """Firings, newest first."""
    query = select(firings).order_by(firings.c.due.desc(), firings.c.id.desc()).limit(limit)
    if schedule is not None:
        query = query.where(firings.c.schedule == schedule)
    return [_firing(row) for row in tx.connection.execute(query).mappings()]


def _add(tx: Tx, schedule: str, due: datetime, **values: Any) -> None:
    tx.connection.execute(
        insert(firings).values(schedule=schedule, due=rows.to_time(due), started=tx.stamp(), **values)
    )


def _find(tx: Tx, schedule: str, due: datetime) -> Firing | None:
    mine = (firings.c.schedule == schedule) & (firings.c.due == rows.to_time(due))
    row = tx.connection.execute(select(firings).where(mine)).mappings().first()
    return None if row is None else _firing(row)


def _log(tx: Tx, schedule: str, what: str, due: datetime, data: Mapping[str, Any]) -> None:
    said = {"due": rows.to_time(due), **data}
    ledger.append(tx, actor="nightcrew", action=f"schedule.{what}", subject=f"schedule:{schedule}", data=said)


def _firing(row: Mapping[Any, Any]) -> Firing:
    return Firing(
        id=row["id"],
        schedule=row["schedule"],
        due=rows.from_time(row["due"]),
        cause=row["cause"],
        state=row["state"],
        started=rows.from_time(row["started"]),
        ended=rows.from_optional_time(row["ended"]),
        outcome=row["outcome"],
        exit_status=row["exit_status"],
        shift=row["shift"],
        detail=row["detail"],
    )
