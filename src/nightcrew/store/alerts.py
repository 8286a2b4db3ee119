"""Alerts: what a rule found, from the first sign of it to its end. At most one is open of a rule and subject."""

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import and_, delete, func, insert, select, update

from nightcrew.model.errors import NotFoundError, TransitionError
from nightcrew.model.severity import Severity
from nightcrew.store import ids, ledger, rows
from nightcrew.store.schema import UNRESOLVED, alerts
from nightcrew.store.store import Tx

AlertState = Literal["pending", "firing", "acknowledged", "resolved"]
ACTOR = "nightcrew"

_NUMBER = (func.length(alerts.c.id), alerts.c.id)


@dataclass(frozen=True)
class Alert:
    """One alert.

    ``since`` is when it was first seen, ``fired`` when it had lasted long enough, ``clear_since`` since when it seems
    to be over, ``told`` from when on people were told of it. ``query`` holds what was asked of the measures, with the
    time looked at, the value, and the path to the dashboard's timeline. ``escalated`` counts the steps taken.
    """

    id: str
    rule: str
    subject: str
    severity: Severity
    state: AlertState
    value: float | None
    message: str
    query: dict[str, Any]
    runbook: str
    since: datetime
    fired: datetime | None
    acknowledged: datetime | None
    acknowledged_by: str | None
    resolved: datetime | None
    clear_since: datetime | None
    escalated: int
    told: datetime | None

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        times = ("since", "fired", "acknowledged", "resolved", "clear_since", "told")
        return {
            **self.__dict__,
            "severity": str(self.severity),
            **{name: rows.to_time(getattr(self, name)) for name in times},
        }


def add(
    tx: Tx,
    *,
    rule: str,
    subject: str,
    severity: Severity,
    value: float | None,
    message: str,
    query: Mapping[str, Any],
    runbook: str,
) -> Alert:
    """Note the first sign of something (state ``pending``); the caller has seen that none is open."""
    name = ids.next_id(tx, "A")
    tx.connection.execute(
        insert(alerts).values(
            id=name, rule=rule, subject=subject, severity=str(severity), state="pending", value=value, message=message,
            query=rows.to_json(query), runbook=runbook, since=tx.stamp(), escalated=0,
        )
    )  # fmt: skip
    return get(tx, name)


def get(tx: Tx, alert: str) -> Alert:
    """The alert; raises NotFoundError."""
    row = tx.connection.execute(select(alerts).where(alerts.c.id == alert)).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no alert {alert}", hint="List alerts with: nightcrew alerts list")
    return _alert(row)


def open_ones(tx: Tx) -> builtins.list[Alert]:
    """Those that are not resolved, oldest first."""
    found = tx.connection.execute(select(alerts).where(UNRESOLVED).order_by(*_NUMBER)).mappings()
    return [_alert(row) for row in found]


def list(
    tx: Tx,
    *,
    states: Iterable[AlertState] | None = None,
    rule: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> builtins.list[Alert]:
    """Alerts, newest first; those that were not over before ``since``."""
    query = select(alerts).order_by(*(column.desc() for column in _NUMBER)).limit(limit)
    if states is not None:
        query = query.where(alerts.c.state.in_([*states]))
    if rule is not None:
        query = query.where(alerts.c.rule == rule)
    if since is not None:
        query = query.where(alerts.c.resolved.is_(None) | (alerts.c.resolved >= rows.to_time(since)))
    return [_alert(row) for row in tx.connection.execute(query).mappings()]


def between(tx: Tx, start: datetime, end: datetime, *, limit: int = 1000) -> builtins.list[Alert]:
    """Those that were firing at some time from ``start`` to ``end``, oldest first."""
    overlaps = and_(
        alerts.c.fired.is_not(None),
        alerts.c.fired < rows.to_time(end),
        alerts.c.resolved.is_(None) | (alerts.c.resolved >= rows.to_time(start)),
    )
    query = select(alerts).where(overlaps).order_by(*_NUMBER).limit(limit)
    return [_alert(row) for row in tx.connection.execute(query).mappings()]


def last_resolved(tx: Tx, rule: str, subject: str) -> datetime | None:
    """When the last alert of this rule and subject was over, None if there was none."""
    same = (alerts.c.rule == rule) & (alerts.c.subject == subject)
    found = tx.connection.execute(select(func.max(alerts.c.resolved)).where(same)).scalar()
    return rows.from_optional_time(found)


def drop(tx: Tx, alert: str) -> None:
    """Forget one that never fired: it was over before it had lasted long enough."""
    tx.connection.execute(delete(alerts).where((alerts.c.id == alert) & (alerts.c.state == "pending")))


def fire(tx: Tx, alert: str) -> Alert:
    """It has lasted long enough."""
    _set(tx, alert, state="firing", fired=tx.stamp())
    fired = get(tx, alert)
    _log(
        tx, fired, "fire", ACTOR,
        rule=fired.rule, subject=fired.subject, severity=str(fired.severity), value=fired.value, message=fired.message,
    )  # fmt: skip
    return fired


def measured(tx: Tx, alert: str, *, value: float | None, message: str, query: Mapping[str, Any]) -> None:
    """Keep what was seen of it last; it leaves no entry in the ledger."""
    _set(tx, alert, value=value, message=message, query=rows.to_json(query))


def worsen(tx: Tx, alert: str, severity: Severity) -> None:
    """Raise the severity; people are to be told again, and who acknowledged less has not acknowledged this."""
    _set(
        tx, alert, severity=str(severity), state="firing", told=None, escalated=0,
        acknowledged=None, acknowledged_by=None,
    )  # fmt: skip
    _log(tx, get(tx, alert), "worsen", ACTOR, severity=str(severity))


def seems_over(tx: Tx, alert: str, over: bool) -> None:
    """Note since when it seems to be over, or that it does not any more; it leaves no entry in the ledger."""
    _set(tx, alert, clear_since=tx.stamp() if over else None)


def resolve(tx: Tx, alert: str, *, reason: str, actor: str = ACTOR) -> Alert:
    """It is over. Raises TransitionError if it never fired, or was over before."""
    found = get(tx, alert)
    if found.state not in ("firing", "acknowledged"):
        raise TransitionError(f"{alert} is {found.state}: only an alert that fires can be resolved")
    _set(tx, alert, state="resolved", resolved=tx.stamp(), clear_since=None)
    done = get(tx, alert)
    _log(tx, done, "resolve", actor, reason=reason, value=done.value)
    return done


def acknowledge(tx: Tx, alert: str, *, actor: str, comment: str = "") -> Alert:
    """Somebody looks after it: it is not escalated any more. Raises TransitionError unless it is firing."""
    found = get(tx, alert)
    if found.state == "acknowledged":
        return found
    if found.state != "firing":
        raise TransitionError(f"{alert} is {found.state}: only an alert that fires can be acknowledged")
    _set(tx, alert, state="acknowledged", acknowledged=tx.stamp(), acknowledged_by=actor)
    done = get(tx, alert)
    _log(tx, done, "ack", actor, comment=comment)
    return done


def escalate(tx: Tx, alert: str, *, channel: str) -> None:
    """Nobody acknowledged it in time: the next channel is told."""
    found = get(tx, alert)
    _set(tx, alert, escalated=found.escalated + 1)
    _log(tx, found, "escalate", ACTOR, step=found.escalated + 1, channel=channel)


def note_told(tx: Tx, names: Iterable[str], at: datetime) -> None:
    """People are told of these from ``at`` on."""
    tx.connection.execute(update(alerts).where(alerts.c.id.in_([*names])).values(told=rows.to_time(at)))


def note_untold(tx: Tx, alert: str) -> None:
    """Nobody was told of it after all; one that does not fire any more stays as it is."""
    firing = (alerts.c.id == alert) & (alerts.c.state == "firing")
    tx.connection.execute(update(alerts).where(firing).values(told=None))


def _set(tx: Tx, alert: str, **values: Any) -> None:
    tx.connection.execute(update(alerts).where(alerts.c.id == alert).values(values))


def _log(tx: Tx, alert: Alert, what: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"alert.{what}", subject=f"alert:{alert.id}", data=data)


def _alert(row: Mapping[Any, Any]) -> Alert:
    where = f"the row of alert {row['id']}"
    return Alert(
        id=row["id"],
        rule=row["rule"],
        subject=row["subject"],
        severity=Severity(row["severity"]),
        state=row["state"],
        value=row["value"],
        message=row["message"],
        query=rows.from_json(row["query"], where=where),
        runbook=row["runbook"],
        since=rows.from_time(row["since"]),
        fired=rows.from_optional_time(row["fired"]),
        acknowledged=rows.from_optional_time(row["acknowledged"]),
        acknowledged_by=row["acknowledged_by"],
        resolved=rows.from_optional_time(row["resolved"]),
        clear_since=rows.from_optional_time(row["clear_since"]),
        escalated=row["escalated"],
        told=rows.from_optional_time(row["told"]),
    )
