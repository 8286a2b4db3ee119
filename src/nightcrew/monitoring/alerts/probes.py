"""What is read where it stands and not measured over time: free space, how long something waits, a dead channel."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nightcrew.model.alerting import DEFAULT_CHANNEL
from nightcrew.model.settings import Settings
from nightcrew.monitoring.alerts.words import named
from nightcrew.store import alert_messages, drifts, standing
from nightcrew.store.store import Tx


@dataclass(frozen=True)
class Reading:
    """A value of a subject; ``part`` tells several of one subject apart, ``detail`` is for people."""

    subject: str
    value: float
    part: str = ""
    detail: str = ""
    since: datetime | None = None


Probe = Callable[[Tx, Settings], Iterable[Reading]]
"""Reads everything that there is, as far as the settings have it."""

_GIB = 1 << 30


def retry_overdue(tx: Tx, _: Settings) -> Iterable[Reading]:
    """Seconds since the first record was due for a retry that still waits."""
    now = tx.now()
    return [Reading(f"pipeline:{name}", (now - due).total_seconds()) for name, due in standing.retries_due(tx).items()]


def review_waiting(tx: Tx, _: Settings) -> Iterable[Reading]:
    """Seconds that the oldest review has waited."""
    oldest = standing.oldest_review(tx)
    return [] if oldest is None else [Reading("desk:human", (tx.now() - oldest).total_seconds())]


def shift_overrun(tx: Tx, _: Settings) -> Iterable[Reading]:
    """Seconds since the deadline of the shift that runs."""
    deadline = standing.shift_deadline(tx)
    return [] if deadline is None else [Reading("crew", (tx.now() - deadline).total_seconds())]


def budget_used(tx: Tx, _: Settings) -> Iterable[Reading]:
    """The part (0..1) of its hard cap that a running session has used."""
    return [Reading(f"agent:{agent}", used / hard) for agent, used, hard in standing.running_sessions(tx)]


def channel_failures(tx: Tx, settings: Settings) -> Iterable[Reading]:
    """How often in a row each channel that there still is did not take a message."""
    known = {DEFAULT_CHANNEL, *(one.name for one in settings.channel)}
    found = [one for one in alert_messages.health(tx) if one.name in known]
    return [Reading(f"channel:{one.name}", float(one.failures)) for one in found]


def drift_open(tx: Tx, _: Settings) -> Iterable[Reading]:
    """1 for each feature that drifts now. What a field is called comes from the records."""
    found = drifts.list(tx, open_only=True)
    return [Reading(one.subject, 1.0, f"feature={one.feature}", _said(one), one.since) for one in found]


def _said(drift: drifts.Drift) -> str:
    name = drift.feature.removeprefix("feature.")
    rest = drift.message.removeprefix(name)
    return drift.message if rest == drift.message else named(name) + rest


def disk_free(folder: Path) -> Probe:
    """GiB that are free on the disk of ``folder``, which keeps its name when the machine or the container does not."""

    def free(_tx: Tx, _settings: Settings) -> Iterable[Reading]:
        try:
            return [Reading(f"disk:{folder.resolve()}", shutil.disk_usage(folder).free / _GIB)]
        except OSError:
            return []

    return free


def probes_of(state_dir: Path | None) -> Mapping[str, Probe]:
    """Every probe, by the name that rules know as ``metric``."""
    found: dict[str, Probe] = {
        "retry.overdue": retry_overdue,
        "review.waiting": review_waiting,
        "shift.overrun": shift_overrun,
        "budget.used": budget_used,
        "drift.open": drift_open,
        "channel.failures": channel_failures,
    }
    if state_dir is not None:
        found["disk.free"] = disk_free(state_dir)
    return found
