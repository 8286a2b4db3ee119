"""Alerts as tickets: agents read these, so nothing stands in them that comes from data.

A name of a field, a category or a value of a label may hold any text, also one that is written for an agent. A ticket
has the sentence of the rule with numbers alone filled in, names of things that are plain names, and ids.
"""

import hashlib
import re

from nightcrew.model.settings import Settings
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority
from nightcrew.monitoring.alerts.defaults import BROKEN, rules_of
from nightcrew.monitoring.alerts.words import told
from nightcrew.store import alerts, tickets
from nightcrew.store.alert_messages import Message
from nightcrew.store.alerts import Alert
from nightcrew.store.store import Tx

_PRIORITY = {Severity.CRITICAL: Priority.P0, Severity.HIGH: Priority.P1, Severity.MEDIUM: Priority.P2}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}:[A-Za-z0-9_./*-]{1,60}|crew", re.ASCII)
_LEFT = re.compile(r"\{[^{}]+\}")


def file_tickets(tx: Tx, settings: Settings, message: Message) -> None:
    """A ticket for each alert of the message, unless one for the same rule and subject is open."""
    for name in message.alerts:
        _file_alert(tx, settings, alerts.get(tx, name), message)
    if not message.alerts:
        _add(
            tx, "A message of nightcrew to people", f"It is message {message.id}: nightcrew audit show --subject alert",
            Severity.MEDIUM, f"alert:message-{message.id}",
        )  # fmt: skip


def subject_of(alert: Alert) -> str:
    """What an alert is about, without what is told apart within it; empty unless that is a plain name."""
    whole = alert.subject.partition(" ")[0]
    return whole if _PLAIN.fullmatch(whole) else ""


def _file_alert(tx: Tx, settings: Settings, alert: Alert, message: Message) -> None:
    origin = f"alert:{alert.rule}:{_identity(alert)}"
    if tickets.open_from(tx, origin):
        return
    about = subject_of(alert)
    rule = BROKEN if alert.rule == BROKEN.name else next(
        (one for one in rules_of(settings) if one.name == alert.rule), None
    )  # fmt: skip
    said = "" if rule is None else _LEFT.sub("...", told(rule, about or "something", alert.value, {}))
    lines = [
        f"{alert.id} {alert.rule}{f', {about}' if about else ''} ({alert.severity})",
        said,
        f"since {alert.fired or alert.since:%Y-%m-%d %H:%M:%S} UTC, message {message.id}",
        f"what to do: {alert.runbook if '://' in alert.runbook else f'nightcrew runbook {alert.runbook}'}",
        f"all of it, for people: nightcrew alerts show {alert.id}",
    ]
    body = "\n".join(line for line in lines if line)
    _add(tx, f"Alert {alert.rule}: {said or about}"[:200], body, alert.severity, origin)


def _identity(alert: Alert) -> str:
    """The subject as it tells tickets apart: what is no plain name is told by its hash."""
    if _PLAIN.fullmatch(alert.subject):
        return alert.subject
    return f"{subject_of(alert)}#{hashlib.sha256(alert.subject.encode()).hexdigest()[:12]}"


def _add(tx: Tx, title: str, body: str, severity: Severity, origin: str) -> None:
    tickets.add(
        tx, actor="nightcrew", title=title, body=body, kind=Kind.BUG,
        priority=_PRIORITY.get(severity, Priority.P3), origin=origin,
    )  # fmt: skip
