"""Shifts: one night each, running until somebody ends it."""

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, func, insert, select, update

from nightcrew.model.errors import BusyError, NotFoundError, TransitionError
from nightcrew.store import ids, ledger, rows
from nightcrew.store.schema import shifts
from nightcrew.store.store import Tx

_NEWEST = (func.length(shifts.c.id).desc(), shifts.c.id.desc())


@dataclass(frozen=True)
class Shift:
    """One shift. ``report`` is whatever JSON it was ended with; ``deadline`` is when it must stop, in UTC."""

    id: str
    state: Literal["running", "ended"]
    outcome: str | None
    started: datetime
    ended: datetime | None
    agents: tuple[str, ...]
    brain: str | None
    deadline: datetime | None
    stop_requested: bool
    report: dict[str, Any] | None


def start(
    tx: Tx,
    *,
    agents: Iterable[str],
    brain: str | None = None,
    deadline: datetime | None = None,
    sandbox: str = "auto",
    actor: str = "nightcrew",
) -> Shift:
    """Begin a shift and give it; the ledger says whether there is a ``sandbox``. Raises BusyError if one is running."""
    if (running := current(tx)) is not None:
        raise BusyError(f"shift {running.id} is running since {running.started:%Y-%m-%d %H:%M} UTC")
    name, names = ids.next_id(tx, "N"), [*agents]
    tx.connection.execute(
        insert(shifts).values(
            id=name, state="running", started=tx.stamp(), agents=rows.to_json(names), brain=brain,
            deadline=rows.to_time(deadline), stop_requested=False,
        )
    )  # fmt: skip
    _log(tx, name, "start", actor, agents=names, brain=brain, deadline=rows.to_time(deadline), sandbox=sandbox)
    return get(tx, name)


def get(tx: Tx, shift: str) -> Shift:
    """The shift; raises NotFoundError."""
    found = _first(tx, select(shifts).where(shifts.c.id == shift))
    if found is None:
        raise NotFoundError(f"there is no shift {shift}")
    return found


def current(tx: Tx) -> Shift | None:
    """The shift that is running, None if none is."""
    return _first(tx, select(shifts).where(shifts.c.state == "running"))


def latest(tx: Tx) -> Shift | None:
    """The shift that was started last, None if there never was one."""
    return _first(tx, select(shifts).order_by(*_NEWEST).limit(1))


def list(tx: Tx, *, limit: int | None = None) -> builtins.list[Shift]:
    """Shifts, newest first."""
    return [_shift(row) for row in tx.connection.execute(select(shifts).order_by(*_NEWEST).limit(limit)).mappings()]


def end(
    tx: Tx, shift: str, *, outcome: str, report: Mapping[str, Any] | None = None, actor: str = "nightcrew"
) -> Shift:
    """End a running shift; raises TransitionError if it has ended."""
    _running(tx, shift)
    text = None if report is None else rows.to_json(report)
    _set(tx, shift, state="ended", outcome=outcome, ended=tx.stamp(), report=text)
    _log(tx, shift, "end", actor, outcome=outcome)
    return get(tx, shift)


def set_report(tx: Tx, shift: str, report: Mapping[str, Any], *, actor: str = "nightcrew") -> None:
    """Store the morning report of a shift, in place of an earlier one; raises NotFoundError."""
    get(tx, shift)
    _set(tx, shift, report=rows.to_json(report))
    _log(tx, shift, "report", actor)


def request_stop(tx: Tx, shift: str, *, actor: str = "human", reason: str = "") -> bool:
    """Ask a running shift to stop before its next turn; False if somebody did before. Raises TransitionError."""
    if _running(tx, shift).stop_requested:
        return False
    _set(tx, shift, stop_requested=True)
    _log(tx, shift, "stop", actor, reason=reason)
    return True


def stop_requested(tx: Tx, shift: str) -> bool:
    """Whether somebody asked the shift to stop; raises NotFoundError."""
    return get(tx, shift).stop_requested


def _running(tx: Tx, shift: str) -> Shift:
    found = get(tx, shift)
    if found.state != "running":
        raise TransitionError(f"shift {shift} has ended")
    return found


def _set(tx: Tx, shift: str, **values: Any) -> None:
    tx.connection.execute(update(shifts).where(shifts.c.id == shift).values(values))


def _log(tx: Tx, shift: str, what: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"shift.{what}", subject=f"shift:{shift}", data=data)


def _first(tx: Tx, query: Select[Any]) -> Shift | None:
    row = tx.connection.execute(query).mappings().first()
    return None if row is None else _shift(row)


def _shift(row: Mapping[Any, Any]) -> Shift:
    where = f"the row of shift {row['id']}"
    return Shift(
        id=row["id"],
        state="running" if row["state"] == "running" else "ended",
        outcome=row["outcome"],
        started=rows.from_time(row["started"]),
        ended=rows.from_optional_time(row["ended"]),
        agents=tuple(rows.from_json(row["agents"], where=where)),
        brain=row["brain"],
        deadline=rows.from_optional_time(row["deadline"]),
        stop_requested=row["stop_requested"],
        report=None if row["report"] is None else rows.from_json(row["report"], where=where),
    )
