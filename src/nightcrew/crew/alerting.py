"""Telling people at once what cannot wait for the morning report, through the outbox of all alerts."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from nightcrew.crew.project import Project
from nightcrew.crew.sampling import sample
from nightcrew.model.severity import Severity
from nightcrew.monitoring.alerts.delivery import SUBJECT, deliver
from nightcrew.monitoring.alerts.routing import held_until, routes_of
from nightcrew.store import alert_messages, ledger

if TYPE_CHECKING:
    from nightcrew.monitoring.alerts.watch import Watcher

_WITHIN_SECONDS = 15.0
"""As long as one channel may take here, and no further one is begun after it: a shift has other work."""

__all__ = ["SUBJECT", "alert", "watched", "watcher"]


def alert(
    project: Project,
    title: str,
    lines: Sequence[str],
    *,
    runbook: str | None = None,
    severity: Severity = Severity.HIGH,
) -> list[str]:
    """Send one message to the channels of alerts; what none takes now is tried again by whoever watches.

    Gives the problems, one line each, and never raises for a service that fails; one that does not answer does not hold
    it up for longer than half a minute. Without addresses nothing is sent;
    the ledger has the alert in any case.
    """
    body = "\n".join([*lines, *([f"what to do: nightcrew runbook {runbook}"] if runbook else [])])
    with project.store.begin() as tx:
        held = held_until(project.settings, severity, tx.now())
        for route in routes_of(project.settings, severity):
            alert_messages.add(
                tx, alerts=(), event="notice", title=title, body=body, route=route, held_until=held
            )  # fmt: skip
        data = {"title": title, "lines": [*lines], "severity": str(severity)}
        ledger.append(tx, actor="nightcrew", action="alert.notice", subject="alert:notice", data=data)
    return [*deliver(project.store, project.settings, root=project.root, within=_WITHIN_SECONDS).problems]


def watched(project: Project) -> AbstractContextManager[None]:
    """Alerts are watched meanwhile, in a thread."""
    return watcher(project).running()


def watcher(project: Project) -> "Watcher":
    """What watches the alerts of a repository, and takes a reading of the crew before each look."""
    from nightcrew.monitoring.alerts.watch import Watcher

    return Watcher(project.store, project.state_dir, before=lambda: sample(project))
