"""Alerts as people look at them, and what they do about them: acknowledge, silence for a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from nightcrew.crew.project import Project
from nightcrew.store import alert_messages, alerts, browsing, silences
from nightcrew.store.alert_messages import Message
from nightcrew.store.alerts import Alert
from nightcrew.store.silences import Silence

MAX_OPEN = 200
ACTOR = "human"


@dataclass(frozen=True)
class Alarms:
    """What fires or is about to, the most severe first; the silences; a page of those that are over, newest first."""

    open: Sequence[Alert]
    more: int
    silences: Sequence[Silence]
    over: Sequence[Alert]
    following: str | None
    unsent: int

    def silenced(self, alert: Alert) -> bool:
        """Whether nobody is told of it now."""
        return any(one.covers(alert.rule, alert.subject) for one in self.silences)


def firing(project: Project) -> list[Alert]:
    """The alerts that fire, the most severe first, acknowledged ones last."""
    with project.store.read() as tx:
        return _ordered([one for one in alerts.open_ones(tx) if one.state != "pending"])


def alarms(project: Project, *, before: str | None = None) -> Alarms:
    """The alerts, with a page of those that are over from the one before ``before`` on."""
    with project.store.read() as tx:
        found = _ordered(alerts.open_ones(tx))
        over, following = browsing.cut(browsing.alerts_over(tx, before=before, limit=browsing.PAGE + 1))
        return Alarms(
            open=found[:MAX_OPEN],
            more=max(0, len(found) - MAX_OPEN),
            silences=silences.list(tx),
            over=[alerts.get(tx, name) for name in over],
            following=following,
            unsent=alert_messages.count_unsent(tx),
        )


def alarm(project: Project, alert_id: str) -> tuple[Alert, list[Message], list[Silence]]:
    """One alert, who was told of it, and the silences that cover it. Raises NotFoundError."""
    with project.store.read() as tx:
        found = alerts.get(tx, alert_id)
        quiet = [one for one in silences.list(tx) if one.covers(found.rule, found.subject)]
        return found, [*alert_messages.about(tx, found.id)], quiet


def acknowledge(project: Project, names: Sequence[str], *, comment: str) -> int:
    """Say that somebody looks after these; gives how many. Raises NotFoundError, TransitionError if one is over."""
    with project.store.begin() as tx:
        done = [alerts.acknowledge(tx, name, actor=ACTOR, comment=comment) for name in names]
    project.pin_ledger()
    return len(done)


def silence(project: Project, *, rule: str, subject: str, minutes: int, comment: str) -> Silence:
    """Tell nobody of alerts that match, for so long. They fire all the same."""
    with project.store.begin() as tx:
        until = tx.now() + timedelta(minutes=minutes)
        made = silences.add(tx, rule=rule, subject=subject, until=until, actor=ACTOR, comment=comment)
    project.pin_ledger()
    return made


def unsilence(project: Project, name: str) -> Silence:
    """End a silence now. Raises NotFoundError."""
    with project.store.begin() as tx:
        done = silences.end(tx, name, actor=ACTOR)
    project.pin_ledger()
    return done


def _ordered(found: Sequence[Alert]) -> list[Alert]:
    return sorted(found, key=lambda one: (one.state != "firing", -one.severity.rank, one.since, one.id))
