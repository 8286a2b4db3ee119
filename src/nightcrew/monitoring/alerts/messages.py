"""Messages of alerts: what belongs together goes as one, is written with the change that it tells of, and once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from nightcrew.model.alerting import AlertRule
from nightcrew.model.settings import Settings
from nightcrew.model.severity import Severity, highest
from nightcrew.monitoring.alerts.routing import Route, escalation_of, files_tickets, held_until, routes_of
from nightcrew.monitoring.alerts.words import duration, subject
from nightcrew.store import alert_messages, alerts, silences
from nightcrew.store.alert_messages import Message, MessageEvent
from nightcrew.store.alerts import Alert
from nightcrew.store.store import Tx

_LISTED = 8
"""Alerts that one message shows in full; of more it gives the number."""

_LONGEST_HELD = timedelta(hours=25)
"""Nobody is told later than at the end of the quiet hours; a time beyond that is of a clock that was wrong."""

_HEADINGS = {"fire": "", "resolve": "over: ", "escalate": "not acknowledged: "}


def tell(tx: Tx, settings: Settings, rules: Mapping[str, AlertRule], resolved: Sequence[Alert]) -> list[Message]:
    """Write the messages that are owed now: of what fires and was not told, of what is over, of what nobody took up."""
    quiet = silences.list(tx)
    wrong = [one.id for one in alerts.open_ones(tx) if _told_in_the_future(one, tx.now())]
    if wrong:
        alerts.note_told(tx, wrong, tx.now())
    firing = [
        one
        for one in alerts.open_ones(tx)
        if one.state == "firing" and not any(silence.covers(one.rule, one.subject) for silence in quiet)
    ]
    made = tell_over(tx, settings, resolved)
    made += _fired(tx, settings, rules, [one for one in firing if one.told is None])
    return made + _escalated(tx, settings, rules, [one for one in firing if one.told is not None])


def owed(tx: Tx, settings: Settings, rules: Mapping[str, AlertRule], open_: Iterable[Alert]) -> bool:
    """Whether :func:`tell` would write anything for alerts that have not changed."""
    firing = [one for one in open_ if one.state == "firing"]
    quiet = silences.list(tx) if firing else []
    return any(
        (
            one.told is None
            or _told_in_the_future(one, tx.now())
            or _step(settings, rules.get(one.rule), one, tx.now()) is not None
        )
        and not any(silence.covers(one.rule, one.subject) for silence in quiet)
        for one in firing
    )


def _told_in_the_future(alert: Alert, now: datetime) -> bool:
    return alert.told is not None and alert.told > now + _LONGEST_HELD


def _fired(tx: Tx, settings: Settings, rules: Mapping[str, AlertRule], untold: Sequence[Alert]) -> list[Message]:
    grouped: dict[tuple[Route, datetime | None], list[Alert]] = defaultdict(list)
    for one in untold:
        held = held_until(settings, one.severity, tx.now())
        alerts.note_told(tx, [one.id], held or tx.now())
        without = one.subject.partition(":")[2] if one.rule == "channel-dead" else ""
        for route in routes_of(settings, one.severity, rules.get(one.rule), without):
            grouped[route, held].append(one)
    return [_add(tx, settings, "fire", found, route, held) for (route, held), found in grouped.items()]


def _escalated(tx: Tx, settings: Settings, rules: Mapping[str, AlertRule], told: Sequence[Alert]) -> list[Message]:
    grouped: dict[tuple[Route, datetime | None], list[Alert]] = defaultdict(list)
    for one in told:
        route = _step(settings, rules.get(one.rule), one, tx.now())
        if route is not None:
            alerts.escalate(tx, one.id, channel=route[0])
            grouped[route, held_until(settings, one.severity, tx.now())].append(one)
    return [_add(tx, settings, "escalate", found, route, held) for (route, held), found in grouped.items()]


def _step(settings: Settings, rule: AlertRule | None, alert: Alert, now: datetime) -> Route | None:
    """Who is told next because nobody acknowledged it, None if it is not time or nobody is left."""
    plan = escalation_of(settings, rule)
    if plan is None or alert.told is None:
        return None
    minutes, channels = plan
    due = alert.told + timedelta(minutes=minutes * (alert.escalated + 1))
    return channels[alert.escalated :] or None if due <= now else None


def tell_over(tx: Tx, settings: Settings, resolved: Sequence[Alert]) -> list[Message]:
    """Who got the message of an alert gets that it is over; one that was only held back is not sent at all."""
    grouped: dict[tuple[Route, datetime | None], list[Alert]] = defaultdict(list)
    for one in resolved:
        for message in alert_messages.about(tx, one.id):
            if message.event not in ("fire", "escalate") or message.state in ("dropped", "failed"):
                continue
            if message.state == "held":
                _without(tx, settings, message, one)
                continue
            route = tuple(name for name in message.route if not files_tickets(settings, name))
            if route and (message.taken_by is None or message.taken_by in route):
                # Who has it first; one that nobody has yet is followed to who takes it (see ``delivery``).
                route = (*(name for name in route if name == message.taken_by),
                         *(name for name in route if name != message.taken_by))  # fmt: skip
                group = grouped[route, held_until(settings, one.severity, tx.now())]
                group.extend([one] if one not in group else [])
    return [_add(tx, settings, "resolve", found, route, held) for (route, held), found in grouped.items()]


def _without(tx: Tx, settings: Settings, message: Message, over: Alert) -> None:
    left = [name for name in message.alerts if name != over.id]
    if not left:
        alert_messages.give_up(tx, message.id, "dropped", "it was over before the end of quiet hours")
        return
    title, body = written(message.event, [alerts.get(tx, name) for name in left], settings.alerts.url, tx.now())
    alert_messages.rewrite(tx, message.id, alerts=left, title=title, body=body)


def _add(
    tx: Tx, settings: Settings, event: MessageEvent, found: Sequence[Alert], route: Route, held: datetime | None
) -> Message:
    title, body = written(event, found, settings.alerts.url, tx.now())
    names = [one.id for one in found]
    return alert_messages.add(
        tx, alerts=names, event=event, title=title, body=body, route=route, held_until=held
    )  # fmt: skip


def written(event: MessageEvent, found: Sequence[Alert], url: str, now: datetime) -> tuple[str, str]:
    """Title and body of a message about alerts."""
    ordered = sorted(found, key=lambda one: -one.severity.rank)
    heading = _HEADINGS.get(event, "")
    worst = highest(one.severity for one in ordered) or Severity.INFO
    if len(ordered) == 1:
        title = f"[nightcrew] {heading}{worst}: {ordered[0].message}"
    else:
        rules = ", ".join(dict.fromkeys(one.rule for one in ordered))
        title = f"[nightcrew] {heading}{len(ordered)} alerts, {worst}: {rules}"
    parts = ["\n".join(_lines(event, one, url, now)) for one in ordered[:_LISTED]]
    if len(ordered) > _LISTED:
        parts.append(f"And {len(ordered) - _LISTED} more: nightcrew alerts list")
    return title, "\n\n".join(parts)


def _lines(event: MessageEvent, alert: Alert, url: str, now: datetime) -> list[str]:
    since = alert.fired or alert.since
    lines = [
        f"{alert.id} {alert.rule}, {subject(alert.subject)} ({alert.severity})",
        alert.message,
        f"since {since:%Y-%m-%d %H:%M:%S} UTC"
        + (f", over after {duration((now - since).total_seconds())}" if event == "resolve" else ""),
    ]
    if event != "resolve":
        page = alert.runbook
        lines.append(f"what to do: {page if '://' in page else f'nightcrew runbook {page}'}")
        lines.append(f"acknowledge: nightcrew alerts ack {alert.id}")
    if path := alert.query.get("path"):
        lines.append(f"look: {url}{path}" if url else f"look: nightcrew serve, then {path}")
    return lines
