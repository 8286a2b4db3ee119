"""Bringing messages to people: the first channel of a route that takes one gets it, and no other.

One process sends at a time. Before a message is given to a channel the outbox says so, and after it that it was taken.
So nothing is lost, and each message goes out once, with one exception: a process that is killed between the two leaves
it open whether the channel has it. It is sent again then, and says that it may have come before. (A process that is
suspended while it sends, for longer than the lock's minute, is taken for dead in the same way.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nightcrew.model.errors import BusyError
from nightcrew.model.settings import Settings
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority
from nightcrew.monitoring.alerts.routing import addresses, files_tickets
from nightcrew.monitoring.notify import notify
from nightcrew.reliability.retry import Retry
from nightcrew.store import alert_messages, alerts, ledger, locks, tickets
from nightcrew.store.alert_messages import UNSENT, Message
from nightcrew.store.store import Store, Tx

LOCK = "alerts.delivery"
SUBJECT = "alert"
"""What the ledger calls messages about alerts."""

_PATIENCE_SECONDS = 5.0
_DEAD = 3
"""Failures in a row after which a channel is left alone for a while."""

_AGAIN = Retry(base=30.0, cap=600.0)
_LEAST_SECONDS = 5.0
_REPEAT = "This may have come before: nightcrew was stopped while it sent it.\n\n"
_PRIORITY = {Severity.CRITICAL: Priority.P0, Severity.HIGH: Priority.P1, Severity.MEDIUM: Priority.P2}


@dataclass(frozen=True)
class Delivered:
    """What became of the messages that were due: numbers of those sent, and the problems there were."""

    sent: Sequence[int] = ()
    problems: Sequence[str] = ()


def deliver(store: Store, settings: Settings, *, root: Path | None = None, retry: Retry = _AGAIN) -> Delivered:
    """Send what is due. Never raises for a channel; a process that finds another one sending leaves it to that."""
    with store.read() as tx:
        if not alert_messages.due(tx, limit=1):
            return Delivered()
    sender = _Sender(store, settings, root, retry)
    try:
        with locks.held(store, LOCK, hint="Another process sends them.", patience_seconds=_PATIENCE_SECONDS):
            while sender.one():
                pass
    except BusyError:
        pass
    return Delivered(sender.sent, sender.problems)


class _Sender:
    """One pass over the outbox: each message is tried at most once."""

    def __init__(self, store: Store, settings: Settings, root: Path | None, retry: Retry) -> None:
        self._store, self._settings, self._root, self._retry = store, settings, root, retry
        self._seen: set[int] = set()
        self.sent: list[int] = []
        self.problems: list[str] = []

    def one(self) -> bool:
        """Deal with the next message; False if none is left."""
        with self._store.read() as tx:
            message = self._next(tx)
            if message is None:
                return False
            self._seen.add(message.id)
            route = self._ordered(tx, message)
            late = tx.now() - (message.next_at or message.created if message.state == "held" else message.created)
        if late > timedelta(hours=self._settings.alerts.give_up_hours):
            self._give_up(message)
            return True
        self._try(message, route)
        return True

    def _next(self, tx: Tx) -> Message | None:
        """The oldest that is due, and of which no earlier message about the same alerts still waits."""
        due = {message.id for message in alert_messages.due(tx)}
        before: set[str] = set()
        for message in reversed(alert_messages.list(tx, states=UNSENT)):
            if message.id in due and message.id not in self._seen and not before & set(message.alerts):
                return message
            before |= set(message.alerts)
        return None

    def _ordered(self, tx: Tx, message: Message) -> list[tuple[str, bool]]:
        """The channels in the order to be tried, and whether each is to be left alone for now."""
        route = list(message.route)
        if message.state == "sending":
            first: str | None = route[message.position]
        else:
            first = self._told_by(tx, message) if message.event == "resolve" else None
        if first in route:
            route.remove(first)
            route.insert(0, first)
        health = {one.name: one for one in alert_messages.health(tx)}
        return [
            (name, name in health and health[name].failures >= _DEAD and self._rests(health[name], tx.now()))
            for name in route
        ]

    @staticmethod
    def _told_by(tx: Tx, message: Message) -> str | None:
        """The channel that took what this message is the end of."""
        told = [
            one.taken_by
            for name in message.alerts
            for one in alert_messages.about(tx, name)
            if one.id < message.id and one.taken_by in message.route and {*message.route} <= {*one.route}
        ]
        return message.route[0] if message.route[0] in told or not told else told[-1]

    def _rests(self, health: alert_messages.Health, now: datetime) -> bool:
        pause = min(self._retry.cap, self._retry.base * 2.0 ** min(health.failures - _DEAD, 20))
        return now < health.tried + timedelta(seconds=pause)

    def _try(self, message: Message, route: Sequence[tuple[str, bool]]) -> None:
        problems: list[str] = []
        asked = False
        for channel, rests in route:
            if files_tickets(self._settings, channel):
                self._file(message, channel, problems)
                return
            found = addresses(self._settings, channel, root=self._root)
            if found.problem is not None:
                problems.append(f"{channel}: {found.problem}")
                asked = True
            elif rests and found.urls:
                problems.append(f"{channel}: it took none of the last messages, and is tried again later")
                asked = True
            elif found.urls:
                asked = True
                if self._send(message, channel, found.urls, problems):
                    return
            elif message.state == "sending" and not asked:
                return  # Another process was sending it; this one has no address to go on with.
        if asked:
            self._later(message, problems)

    def _send(self, message: Message, channel: str, urls: Sequence[str], problems: list[str]) -> bool:
        position = message.route.index(channel)
        with self._store.begin() as tx:
            alert_messages.sending(tx, message.id, position)
        body = _body(message, problems, repeated=message.state == "sending" and position == message.position)
        found = [f"{channel}: {problem}" for problem in notify(urls, message.title, body)]
        problems += found
        with self._store.begin() as tx:
            taken = len(found) < len(urls)
            alert_messages.tried(tx, channel, None if taken else found[-1])
            if taken:
                self._note_sent(tx, message, channel, len(urls) - len(found), problems)
        return taken

    def _file(self, message: Message, channel: str, problems: Sequence[str]) -> None:
        """File a ticket, in the transaction that marks the message as sent: exactly one, whatever happens."""
        with self._store.begin() as tx:
            for name in message.alerts or ("",):
                _ticket(tx, message, name)
            self._note_sent(tx, message, channel, 1, problems)

    def _note_sent(self, tx: Tx, message: Message, channel: str, count: int, problems: Sequence[str]) -> None:
        alert_messages.sent(tx, message.id, channel, "; ".join(problems))
        _log(tx, message, channel=channel, sent_to=count, problems=problems)
        self.sent.append(message.id)
        self.problems += problems

    def _later(self, message: Message, problems: Sequence[str]) -> None:
        attempts = message.attempts + 1
        with self._store.begin() as tx:
            wait = timedelta(seconds=max(_LEAST_SECONDS, self._retry.delay(attempts)))
            at = tx.now() + wait
            alert_messages.again(tx, message.id, at=at, attempts=attempts, problem="; ".join(problems))
            if message.attempts == 0:
                _log(tx, message, channel=None, sent_to=0, problems=problems)
        self.problems += problems

    def _give_up(self, message: Message) -> None:
        problem = message.problem or "no channel has an address"
        with self._store.begin() as tx:
            alert_messages.give_up(tx, message.id, "failed", problem)
            _log(tx, message, channel=None, sent_to=0, problems=[f"given up: {problem}"])
        self.problems.append(f"message {message.id} is given up: {problem}")


def _body(message: Message, problems: Sequence[str], *, repeated: bool) -> str:
    fell = "".join(f"Sent here because of {problem}\n" for problem in problems)
    return (_REPEAT if repeated else "") + (fell + "\n" if fell else "") + f"{message.body}\n\nmessage {message.id}"


def _log(tx: Tx, message: Message, *, channel: str | None, sent_to: int, problems: Sequence[str]) -> None:
    data = {
        "message": message.id, "event": message.event, "alerts": [*message.alerts], "title": message.title,
        "channel": channel, "sent_to": sent_to, "problems": [*problems],
    }  # fmt: skip
    ledger.append(tx, actor="nightcrew", action="alert.send", subject=SUBJECT, data=data)


def _ticket(tx: Tx, message: Message, name: str) -> None:
    """A ticket for one alert, unless one for the same rule and subject is open."""
    found = alerts.get(tx, name) if name else None
    severity = found.severity if found else Severity.MEDIUM
    title = (f"Alert {found.rule}: {found.message}" if found else message.title)[:200]
    origin = f"alert:{found.rule}:{found.subject}" if found else f"alert:message-{message.id}"
    if found and tickets.open_from(tx, origin):
        return
    tickets.add(
        tx, actor="nightcrew", title=title, body=message.body, kind=Kind.BUG,
        priority=_PRIORITY.get(severity, Priority.P3), origin=origin,
    )  # fmt: skip
