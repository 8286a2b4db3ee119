"""Alerts whose first channel is dead: the next one takes them, or they wait; none is lost, and the channel is named."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nightcrew import credentials
from nightcrew.model.alerting import DEFAULT_CHANNEL
from nightcrew.model.settings import Settings
from nightcrew.model.severity import Severity
from nightcrew.monitoring.alerts.configured import read_settings
from nightcrew.monitoring.alerts.routing import routes_of
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import settings
from nightcrew.readiness.drills.in_crew import project
from nightcrew.readiness.drills.listening import Listener, dead_port
from nightcrew.readiness.drills.protocol import Done, NotApplicable, NotDone, Observed, On, Place
from nightcrew.readiness.target import CrewTarget, Target
from nightcrew.store import alert_messages, alerts

_TURN = 2
"""A channel counts as dead after so many messages in a row that it did not take."""


@dataclass(frozen=True)
class DeadAlertChannel:
    """See ``Drill``."""

    name: str = "dead-alert-channel"
    title: str = "an alert whose channel is dead reaches a person all the same, and the dead channel is told of"
    boxes: tuple[Box, ...] = (Box.MONITORING,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "critical alerts fire while nothing answers at the address of the first channel"
    expects: str = (
        "the next channel gets each alert once, and is told why it came there; without a next one they wait, and come"
        " once the channel answers again; an alert says which channel is dead"
    )

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        if not isinstance(target, CrewTarget):
            return ""
        found = target.project.settings
        if not found.channel and not credentials.has(found.notify.urls_env):
            return (
                "no channel is set up, so nobody would be told of anything: add a [[channel]] to nightcrew.toml, or set"
                f" {found.notify.urls_env}"
            )
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        channels = _Channels(place)
        first, rest = channels.first_two()
        with Listener() as answering:
            dead = dead_port()
            channels.point({first: dead, **dict.fromkeys(rest, answering.port)})
            place.say(f"an alert fires, and {first} is dead")
            injected = place.elapsed()
            seen = _Seen(place, answering, channels.tickets())
            ids = [seen.fired(channels.fire(), channels) for _ in range(_TURN)]
            detected = place.elapsed() - injected
            wrong = list(seen.judged(ids, first, rest))
            seen.look(channels)
            wrong += _is_named(place, first)
            if rest:
                recovered = detected
                said = f"{first} did not answer; {rest[0]} got each of {_TURN} alerts once, told why; {first} is named"
            else:
                place.say(f"{first} answers again")
                wrong += channels.comes_back(first, dead, ids)
                recovered = place.elapsed() - injected
                said = (
                    f"{first} did not answer, and there is no second channel: {_TURN} alerts waited in the outbox, and"
                    " came once when it answered again; add a second channel, so that they need not wait"
                )
        evidence = {"dead": first, "next": rest, "alerts": ids, "received": len(answering.received)}
        happened = "; ".join(dict.fromkeys(wrong)) or said
        stood_in = "addresses on this machine stood in for those of the channels"
        if not rest:
            stood_in += ", and the pause before a second try was skipped"
        return Observed(not wrong, happened, detected, None if wrong else recovered, evidence, stood_in)


class _Channels:
    """The channels of the copy, at addresses of the drill."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.environment: dict[str, str] = {}

    def first_two(self) -> tuple[str, list[str]]:
        """The channel that gets critical alerts first, and those that follow. Raises NotApplicable."""
        found = self._settings()
        kinds = {one.name: one.kind for one in found.channel}
        route = next(iter(routes_of(found, Severity.CRITICAL)), ())
        if not any(kinds.get(name, "message") == "message" for name in route):
            raise NotApplicable("critical alerts are filed as tickets, and sent nowhere")
        live = _live(self._place).settings
        if DEFAULT_CHANNEL in route and live.channel and not credentials.has(live.notify.urls_env):
            route = tuple(name for name in route if name != DEFAULT_CHANNEL)
        if kinds.get(route[0]) == "ticket":
            raise NotApplicable("critical alerts are filed as tickets first, which cannot be dead")
        return route[0], list(route[1:])

    def tickets(self) -> frozenset[str]:
        """The channels that file tickets."""
        return frozenset(one.name for one in self._settings().channel if one.kind == "ticket")

    def point(self, ports: dict[str, int]) -> None:
        """Give channels addresses on this machine; of those that file tickets, nothing changes."""
        now = settings.load(self._place.root)
        for number, one in enumerate(now.get("channel", [])):
            if one.get("kind", "message") == "message":
                one.pop("urls_file", None)
                one["urls_env"] = f"NIGHTCREW_DRILL_CHANNEL_{number}"
                if one["name"] in ports:
                    self.environment[one["urls_env"]] = _address(ports[one["name"]])
        if isinstance(told := now.get("alerts"), dict):  # An escalation on a slow machine is no second message.
            now["alerts"] = {name: value for name, value in told.items() if not name.startswith("escalate_")}
        settings.save(self._place.root, now)
        if DEFAULT_CHANNEL in ports:
            self.environment[self._settings().notify.urls_env] = _address(ports[DEFAULT_CHANNEL])

    def fire(self) -> str:
        """Have an alert of a rule of the drill's own fire at the next look; gives the rule."""
        rule = f"drill-{secrets.token_hex(4)}"
        now = settings.load(self._place.root)
        made = {
            "name": rule, "metric": "disk.free", "subject": "disk:*", "below": 1e12, "severity": "critical",
            "message": "the drill's own alert: nothing is wrong",
        }  # fmt: skip
        now["alert"] = [*now.get("alert", []), made]
        settings.save(self._place.root, now)
        return rule

    def comes_back(self, first: str, port: int, ids: list[str]) -> Iterator[str]:
        """What is wrong when the channel answers again."""
        with Listener(port) as back:
            with project(self._place).store.begin() as tx:
                for one in alert_messages.list(tx, states=alert_messages.UNSENT):
                    alert_messages.again(tx, one.id, at=tx.now(), attempts=one.attempts, problem=one.problem)
                for health in alert_messages.health(tx, first):
                    alert_messages.tried(tx, health.name, None)
            self.look()
            for alert in ids:
                came = sum(alert in text for text in back.received)
                if came != 1:
                    yield f"{alert} came {came} times when {first} answered again, not once"

    def look(self) -> Done:
        """Look at the alerts and send what is due."""
        done = self._place.nightcrew("alerts", "check", "--json", env=self.environment)
        if done.status not in (0, 1):
            raise NotDone(f"nightcrew alerts check: {done.tail()}")
        return done

    def _settings(self) -> Settings:
        return read_settings(self._place.root / "nightcrew.toml")


@dataclass(frozen=True)
class _Seen:
    """What came of the alerts."""

    place: Place
    answering: Listener
    tickets: frozenset[str]
    """The channels that file tickets: what they took is in the backlog."""

    def fired(self, rule: str, channels: _Channels) -> str:
        """Look, and give the id of the alert of a rule; raises NotDone if none fires."""
        self.look(channels)
        with project(self.place).store.read() as tx:
            found = next((one for one in alerts.open_ones(tx) if one.rule == rule), None)
        if found is None:
            raise NotDone(f"the alert of the drill's rule {rule} did not fire")
        return found.id

    def look(self, channels: _Channels) -> None:
        """Look at the alerts and send what is due."""
        channels.look()

    def judged(self, ids: list[str], first: str, rest: list[str]) -> Iterator[str]:
        """What is wrong with how the alerts were told."""
        with project(self.place).store.read() as tx:
            messages = {name: alert_messages.about(tx, name) for name in ids}
        for name in ids:
            came = [text for text in self.answering.received if name in text]
            main = [one for one in messages[name] if one.route and one.route[0] == first]
            if not main:
                yield f"no message was written for {name}: the alert was swallowed"
            elif rest and any(one.state == "sent" and one.taken_by in self.tickets for one in main):
                continue
            elif rest and not came:
                yield f"{name} reached nobody: {first} is dead and {rest[0]} did not get it{_claimed(main)}"
            elif rest and len(came) > 1:
                yield f"{name} came {len(came)} times"
            elif rest and f"Sent here because of {first}" not in came[0]:
                yield f"{rest[0]} got {name}, and does not say that {first} is dead"
            elif not rest and any(one.state == "sent" for one in main):
                yield f"{name} counts as sent, and nobody got it: {first} is dead"
            elif not rest and any(one.state not in alert_messages.UNSENT for one in main):
                yield f"{name} was given up at once, without a second try"


def _is_named(place: Place, first: str) -> Iterator[str]:
    with project(place).store.read() as tx:
        found = [
            one for one in alerts.open_ones(tx) if one.rule == "channel-dead" and one.subject == f"channel:{first}"
        ]
    if not any(one.state in ("firing", "acknowledged") for one in found):
        yield f"no alert says that {first} is dead, although it took none of {_TURN} messages"


def _claimed(messages: list[Any]) -> str:
    sent = next((one for one in messages if one.state == "sent"), None)
    return f", but the outbox says that {sent.taken_by} took it" if sent else ""


def _live(place: Place) -> Any:
    """The live crew: only its settings are read."""
    assert isinstance(place.live, CrewTarget)  # noqa: S101 - see ``on``
    return place.live.project


def _address(port: int) -> str:
    return f"json://127.0.0.1:{port}/"


DRILL = DeadAlertChannel()
