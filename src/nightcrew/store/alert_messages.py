"""The outbox of alerts: messages written with the change that they tell of, and sent until a channel takes them.

A route is a list of channels' names, never of their addresses: these are secrets.
"""

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from nightcrew.store import rows
from nightcrew.store.schema import alert_channels, alert_messages
from nightcrew.store.store import Tx

MessageState = Literal["waiting", "held", "sending", "sent", "dropped", "failed"]
"""``held``: for the end of quiet hours; ``sending``: given to a channel, which may or may not have it."""

MessageEvent = Literal["fire", "resolve", "escalate", "notice", "report", "test"]
UNSENT: tuple[MessageState, ...] = ("waiting", "held", "sending")

_TABLE = alert_messages


@dataclass(frozen=True)
class Message:
    """One message: of which alerts, by which channels (the first that takes it), how often tried, when next."""

    id: int
    alerts: tuple[str, ...]
    event: MessageEvent
    title: str
    body: str
    route: tuple[str, ...]
    position: int
    state: MessageState
    attempts: int
    next_at: datetime | None
    created: datetime
    sent: datetime | None
    taken_by: str | None
    problem: str

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        times = {name: rows.to_time(getattr(self, name)) for name in ("next_at", "created", "sent")}
        return {**self.__dict__, "alerts": [*self.alerts], "route": [*self.route], **times}


@dataclass(frozen=True)
class Health:
    """How a channel does: failures in a row, the last try and what was wrong with it."""

    name: str
    failures: int
    tried: datetime
    problem: str


def add(
    tx: Tx,
    *,
    alerts: Iterable[str],
    event: MessageEvent,
    title: str,
    body: str,
    route: Sequence[str],
    held_until: datetime | None = None,
) -> Message:
    """Put a message in the outbox."""
    values = {
        "alerts": rows.to_json([*alerts]), "event": event, "title": title, "body": body,
        "route": rows.to_json([*route]), "position": 0, "state": "waiting" if held_until is None else "held",
        "attempts": 0, "next_at": rows.to_time(held_until) or tx.stamp(), "created": tx.stamp(), "problem": "",
    }  # fmt: skip
    number = tx.connection.execute(insert(_TABLE).values(values).returning(_TABLE.c.id)).scalar_one()
    return get(tx, int(number))


def get(tx: Tx, number: int) -> Message:
    """The message."""
    return _message(tx.connection.execute(select(_TABLE).where(_TABLE.c.id == number)).mappings().one())


def unsent(tx: Tx, *, after: int = 0, limit: int = 200) -> builtins.list[Message]:
    """A page of those that are not sent yet, oldest first, from the one after ``after`` on."""
    query = select(_TABLE).where(_TABLE.c.state.in_([*UNSENT]), _TABLE.c.id > after).order_by(_TABLE.c.id).limit(limit)
    return [_message(row) for row in tx.connection.execute(query).mappings()]


def about(tx: Tx, alert: str) -> builtins.list[Message]:
    """The messages of one alert, oldest first."""
    query = select(_TABLE).where(_TABLE.c.alerts.contains(rows.to_json(alert), autoescape=True)).order_by(_TABLE.c.id)
    return [_message(row) for row in tx.connection.execute(query).mappings()]


def list(tx: Tx, *, states: Iterable[MessageState] | None = None, limit: int | None = None) -> builtins.list[Message]:
    """Messages, newest first."""
    query = select(_TABLE).order_by(_TABLE.c.id.desc()).limit(limit)
    if states is not None:
        query = query.where(_TABLE.c.state.in_([*states]))
    return [_message(row) for row in tx.connection.execute(query).mappings()]


def since(tx: Tx, start: datetime, *, limit: int = 100) -> builtins.list[Message]:
    """The messages that were written since ``start``, newest first."""
    query = select(_TABLE).where(_TABLE.c.created >= rows.to_time(start)).order_by(_TABLE.c.id.desc()).limit(limit)
    return [_message(row) for row in tx.connection.execute(query).mappings()]


def sending(tx: Tx, number: int, position: int) -> None:
    """It is given to the channel at ``position`` of its route now."""
    _set(tx, number, state="sending", position=position)


def sent(tx: Tx, number: int, channel: str, problem: str) -> None:
    """``channel`` took it; ``problem`` is what others before it had."""
    _set(tx, number, state="sent", sent=tx.stamp(), taken_by=channel, problem=problem, next_at=None)


def again(tx: Tx, number: int, *, at: datetime, attempts: int, problem: str) -> None:
    """No channel took it: the next try is at ``at``."""
    _set(tx, number, state="waiting", position=0, attempts=attempts, next_at=rows.to_time(at), problem=problem)


def give_up(tx: Tx, number: int, state: Literal["dropped", "failed"], problem: str) -> None:
    """It is not sent any more."""
    _set(tx, number, state=state, next_at=None, problem=problem)


def rewrite(tx: Tx, number: int, *, alerts: Iterable[str], title: str, body: str) -> None:
    """Tell of fewer alerts, before it is sent."""
    _set(tx, number, alerts=rows.to_json([*alerts]), title=title, body=body)


def health(tx: Tx, name: str | None = None) -> builtins.list[Health]:
    """How the channels do that were tried, or that one."""
    query = select(alert_channels).order_by(alert_channels.c.name)
    if name is not None:
        query = query.where(alert_channels.c.name == name)
    return [
        Health(row.name, row.failures, rows.from_time(row.tried), row.problem) for row in tx.connection.execute(query)
    ]


def tried(tx: Tx, name: str, problem: str | None) -> None:
    """A channel took a message, or had ``problem``."""
    before = health(tx, name)
    failures = (before[0].failures if before else 0) + 1 if problem is not None else 0
    tx.connection.execute(delete(alert_channels).where(alert_channels.c.name == name))
    values = {"name": name, "failures": failures, "tried": tx.stamp(), "problem": problem or ""}
    tx.connection.execute(insert(alert_channels).values(values))


def count_unsent(tx: Tx) -> int:
    """How many messages are not sent yet."""
    unsent: ColumnElement[bool] = _TABLE.c.state.in_([*UNSENT])
    return int(tx.connection.execute(select(func.count()).select_from(_TABLE).where(unsent)).scalar_one())


def _set(tx: Tx, number: int, **values: Any) -> None:
    tx.connection.execute(update(_TABLE).where(_TABLE.c.id == number).values(values))


def _message(row: Mapping[Any, Any]) -> Message:
    where = f"the row of message {row['id']}"
    return Message(
        id=row["id"],
        alerts=tuple(rows.from_json(row["alerts"], where=where)),
        event=row["event"],
        title=row["title"],
        body=row["body"],
        route=tuple(rows.from_json(row["route"], where=where)),
        position=row["position"],
        state=row["state"],
        attempts=row["attempts"],
        next_at=rows.from_optional_time(row["next_at"]),
        created=rows.from_time(row["created"]),
        sent=rows.from_optional_time(row["sent"]),
        taken_by=row["taken_by"],
        problem=row["problem"],
    )
