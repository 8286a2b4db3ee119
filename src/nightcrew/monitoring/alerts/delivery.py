"""Bringing messages to people: the first channel of a route that takes one gets it, and no other.

One process sends at a time. Before a message is given to a channel the outbox says so, and after it that it was taken.
So nothing is lost, and each message goes out once, with one exception: a process that is killed between the two leaves
it open whether the channel has it. It is sent again then, and says that it may have come before. (A process that is
suspended while it sends, for longer than the lock's minute, is taken for dead in the same way; and a channel that takes
a message only after the time it had for it gets it twice.)
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from nightcrew.model.errors import BusyError
from nightcrew.model.settings import Settings
from nightcrew.monitoring.alerts.filing import file_tickets
from nightcrew.monitoring.alerts.routing import Addresses, addresses, files_tickets
from nightcrew.monitoring.notify import TIMEOUT_SECONDS, notify
from nightcrew.reliability.retry import Retry
from nightcrew.store import alert_messages, alerts, ledger, locks
from nightcrew.store.alert_messages import Message
from nightcrew.store.store import Store, Tx

LOCK = "alerts.delivery"
SUBJECT = "alert"
"""What the ledger calls messages about alerts."""

PASS_SECONDS = 60.0
"""After this no further message is begun: others may send, and the rest waits for the next look."""

_PATIENCE_SECONDS = 5.0
_DEAD = 3
"""Failures in a row after which a channel is left alone for a while."""

_AGAIN = Retry(base=30.0, cap=600.0)
_LEAST_SECONDS = 5.0
_DAY = timedelta(days=1)

_Became = Literal["taken", "refused", "put off"]
_REFUSED: _Became = "refused"
_PUT_OFF: _Became = "put off"
"""Not every channel was asked: one is left alone for now, or the time of the pass was over."""

_REPEAT = "This may have come before: nightcrew was stopped while it sent it.\n\n"


@dataclass(frozen=True)
class Delivered:
    """What became of the messages that were due: numbers of those sent, and the problems there were."""

    sent: Sequence[int] = ()
    problems: Sequence[str] = ()


def deliver(
    store: Store,
    settings: Settings,
    *,
    root: Path | None = None,
    retry: Retry = _AGAIN,
    within: float = PASS_SECONDS,
) -> Delivered:
    """Send what is due. Never raises for a channel; a process that finds another one sending leaves it to that.

    Nothing is begun later than ``within`` seconds, nor does one channel have longer than that: so it is done in twice
    the time at most, whatever channels do, and what is left stays in the outbox.
    """
    sender = _Sender(store, settings, root, retry, within)
    if not sender.has_work():
        return Delivered()
    try:
        with locks.held(store, LOCK, hint="Another process sends them.", patience_seconds=_PATIENCE_SECONDS):
            sender.work()
    except BusyError:
        pass
    return Delivered(sender.sent, sender.problems)


class _Sender:
    """One pass over the outbox, oldest first: each message is tried at most once, in a bounded time."""

    def __init__(self, store: Store, settings: Settings, root: Path | None, retry: Retry, within: float) -> None:
        self._store, self._settings, self._root, self._retry = store, settings, root, retry
        self._until = time.monotonic() + within
        self._each = min(TIMEOUT_SECONDS, within)
        self._addresses: dict[str, Addresses] = {}
        self.sent: list[int] = []
        self.problems: list[str] = []

    def has_work(self) -> bool:
        """Whether there is a message that this process can do something about now."""
        with self._store.read() as tx:
            return any(self._is_due(one, tx.now()) for one in _unsent(tx))

    def work(self) -> None:
        """Deal with every message that is due, and of which no earlier one to the same people still waits."""
        before: set[tuple[str, str]] = set()
        after = 0
        while time.monotonic() < self._until:
            with self._store.read() as tx:
                message = next((one for one in _unsent(tx, after) if self._is_next(one, before, tx.now())), None)
            if message is None:
                return
            after = message.id
            if not self._deal_with(message):
                before |= _places(message)

    def _is_next(self, message: Message, before: set[tuple[str, str]], now: datetime) -> bool:
        """Whether it is its turn; if not, what comes later about its alerts by its channels waits for it."""
        if self._is_due(message, now) and not before & _places(message):
            return True
        before |= _places(message)
        return False

    def _is_due(self, message: Message, now: datetime) -> bool:
        if message.state != "sending" and message.next_at is not None:
            # What lies further in the future than any wait was written while a clock was wrong.
            longest = _DAY if message.state == "held" else timedelta(seconds=2 * self._retry.cap)
            if now < message.next_at <= now + longest:
                return False
        return self._is_late(message, now) or any(self._leads_anywhere(name) for name in message.route)

    def _is_late(self, message: Message, now: datetime) -> bool:
        begun = message.next_at or message.created if message.state == "held" else message.created
        return now - begun > timedelta(hours=self._settings.alerts.give_up_hours)

    def _leads_anywhere(self, channel: str) -> bool:
        """Whether there is something to do for this channel here: without its address, another process sends it."""
        found = self._found(channel)
        return bool(found.urls) or found.problem is not None or files_tickets(self._settings, channel)

    def _found(self, channel: str) -> Addresses:
        if channel not in self._addresses:
            self._addresses[channel] = (
                Addresses() if files_tickets(self._settings, channel)
                else addresses(self._settings, channel, root=self._root)
            )  # fmt: skip
        return self._addresses[channel]

    def _deal_with(self, message: Message) -> bool:
        """Try it; whether it is out of the way. However old it is, it is given up only when every channel was asked."""
        with self._store.read() as tx:
            message = alert_messages.get(tx, message.id)
            if message.state not in alert_messages.UNSENT:
                return True  # It was over meanwhile.
            route = self._ordered(tx, message)
            late = self._is_late(message, tx.now())
        became = self._try(message, route)
        if became == "refused" and late:
            self._give_up(message)
            return True
        return became == "taken"

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
        return abs(now - health.tried) < timedelta(seconds=pause)

    def _try(self, message: Message, route: Sequence[tuple[str, bool]]) -> _Became:
        """Give it to the first channel that takes it."""
        problems: list[str] = []
        asked, became = False, _REFUSED
        for channel, rests in route:
            if asked and time.monotonic() >= self._until:
                became = _PUT_OFF
                break
            if files_tickets(self._settings, channel):
                self._file(message, channel, problems)
                return "taken"
            found = self._found(channel)
            if found.problem is not None:
                problems.append(f"{channel}: {found.problem}")
                asked = True
            elif rests and found.urls:
                problems.append(f"{channel}: it took none of the last messages, and is tried again later")
                asked, became = True, _PUT_OFF
            elif found.urls:
                asked = True
                if self._send(message, channel, found.urls, problems):
                    return "taken"
            elif message.state == "sending" and not asked:
                return became  # Another process was sending it; this one has no address to go on with.
        if asked:
            self._later(message, problems)
        return became

    def _send(self, message: Message, channel: str, urls: Sequence[str], problems: list[str]) -> bool:
        position = message.route.index(channel)
        with self._store.begin() as tx:
            alert_messages.sending(tx, message.id, position)
        body = _body(message, problems, repeated=message.state == "sending" and position == message.position)
        answers = notify(urls, message.title, body, within=self._each)
        found = [f"{channel}: {problem}" for problem in answers]
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
            file_tickets(tx, self._settings, message)
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
        with self._store.begin() as tx:
            problem = alert_messages.get(tx, message.id).problem or "no channel has an address"
            alert_messages.give_up(tx, message.id, "failed", problem)
            _log(tx, message, channel=None, sent_to=0, problems=[f"given up: {problem}"])
            if message.event == "fire":
                _tell_again(tx, message)
        self.problems.append(f"message {message.id} is given up: {problem}")


def _tell_again(tx: Tx, message: Message) -> None:
    """Nobody was told of these alerts: those that still fire are told anew, unless it came by another route."""
    for name in message.alerts:
        others = [one for one in alert_messages.about(tx, name) if one.id != message.id and one.event == "fire"]
        if not any(one.created >= message.created and one.state not in ("failed", "dropped") for one in others):
            alerts.note_untold(tx, name)


def _places(message: Message) -> set[tuple[str, str]]:
    """What it tells of, and where it may go."""
    return {(alert, channel) for alert in message.alerts for channel in message.route}


def _unsent(tx: Tx, after: int = 0) -> Iterator[Message]:
    """Every message that is not sent, oldest first, from the one after ``after`` on."""
    while page := alert_messages.unsent(tx, after=after):
        yield from page
        after = page[-1].id


def _body(message: Message, problems: Sequence[str], *, repeated: bool) -> str:
    fell = "".join(f"Sent here because of {problem}\n" for problem in problems)
    return (_REPEAT if repeated else "") + (fell + "\n" if fell else "") + f"{message.body}\n\nmessage {message.id}"


def _log(tx: Tx, message: Message, *, channel: str | None, sent_to: int, problems: Sequence[str]) -> None:
    data = {
        "message": message.id, "event": message.event, "alerts": [*message.alerts], "title": message.title,
        "channel": channel, "sent_to": sent_to, "problems": [*problems],
    }  # fmt: skip
    ledger.append(tx, actor="nightcrew", action="alert.send", subject=SUBJECT, data=data)
