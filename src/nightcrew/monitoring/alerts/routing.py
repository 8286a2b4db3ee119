"""Who is told: the channels of an alert, where their addresses are, and what has to wait for the morning."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nightcrew.credentials import secret
from nightcrew.model.alerting import DEFAULT_CHANNEL, AlertRule
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.settings import Settings
from nightcrew.model.severity import Severity
from nightcrew.monitoring.alerts.local_time import quiet_until

Route = tuple[str, ...]
"""Names of channels: the first one that takes a message is the only one to get it."""


@dataclass(frozen=True)
class Addresses:
    """The addresses of a channel, as apprise reads them, and what is wrong with getting at them."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    problem: str | None = None


def routes_of(settings: Settings, severity: Severity, rule: AlertRule | None = None, without: str = "") -> list[Route]:
    """The routes of a message, each of which gets it; ``without`` is a channel that is of no use for it."""
    alerts = settings.alerts
    chosen = rule.channels if rule is not None else ()
    if not chosen and severity is Severity.CRITICAL:
        chosen = alerts.critical_channels
    chosen = chosen or alerts.channels
    if not chosen:
        chosen = (*(one.name for one in settings.channel if one.kind == "message"), DEFAULT_CHANNEL)
    also = (rule.also if rule is not None else ()) or alerts.also
    found = [tuple(name for name in chosen if name != without), *((name,) for name in also if name not in chosen)]
    return [route for route in found if route and route != (without,)]


def escalation_of(settings: Settings, rule: AlertRule | None) -> tuple[float, Route] | None:
    """After how many minutes who is told, one after the other; None if nobody is."""
    for one in (rule, settings.alerts):
        if one is not None and one.escalate_after is not None:
            return one.escalate_after, one.escalate_to
    return None


def held_until(settings: Settings, severity: Severity, now: datetime) -> datetime | None:
    """When a message of this severity may go out, None for at once."""
    alerts = settings.alerts
    if severity.at_least(alerts.quiet_below):
        return None
    return quiet_until(now, alerts.quiet_from, alerts.quiet_until, alerts.timezone)


def files_tickets(settings: Settings, channel: str) -> bool:
    """Whether what this channel takes becomes a ticket."""
    return any(one.name == channel and one.kind == "ticket" for one in settings.channel)


def addresses(settings: Settings, channel: str, *, root: Path | None) -> Addresses:
    """The addresses of a channel; a file of them must lie outside ``root``, where no agent reads."""
    if channel == DEFAULT_CHANNEL:
        return _named(settings.notify.urls_env)
    found = next((one for one in settings.channel if one.name == channel), None)
    if found is None:
        return Addresses(problem="it is not in nightcrew.toml any more")
    if found.urls_env:
        return _named(found.urls_env)
    path = Path(found.urls_file).expanduser()
    if root is not None and path.resolve().is_relative_to(root.resolve()):
        return Addresses(problem="its urls_file lies in the repository; move it out of it")
    try:
        return Addresses(tuple(path.read_text(encoding="utf-8").split()))
    except (OSError, UnicodeDecodeError) as error:
        return Addresses(problem=f"its urls_file cannot be read: {type(error).__name__}")


def _named(variable: str) -> Addresses:
    """The addresses under the name of a variable, or of a key that the user keeps elsewhere."""
    try:
        return Addresses(tuple(secret(variable).split()))
    except ConfigurationError as error:
        return Addresses(problem=str(error))
