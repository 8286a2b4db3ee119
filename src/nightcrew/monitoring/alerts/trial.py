"""Trying the channels: a message through each of them, to see that it arrives before it has to."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nightcrew.model.alerting import DEFAULT_CHANNEL
from nightcrew.model.errors import UsageError
from nightcrew.model.settings import Settings
from nightcrew.monitoring.alerts.delivery import SUBJECT
from nightcrew.monitoring.alerts.routing import addresses, files_tickets
from nightcrew.monitoring.notify import notify
from nightcrew.store import alert_messages, ledger
from nightcrew.store.store import Store

_TITLE = "[nightcrew] a test"
_BODY = "This is a test of the channel {channel}. Nothing is wrong, and there is nothing to do."


@dataclass(frozen=True)
class Tried:
    """What became of the test of one channel; a ticket is not filed for it."""

    channel: str
    result: Literal["taken", "failed", "no address", "ticket"]
    detail: str

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return dict(self.__dict__)


def try_channels(store: Store, settings: Settings, *, root: Path | None, only: Collection[str] = ()) -> list[Tried]:
    """Send a test through each channel, or those named in ``only``; raises UsageError for a name that is none."""
    names = [*(one.name for one in settings.channel), DEFAULT_CHANNEL]
    if unknown := sorted(set(only) - set(names)):
        raise UsageError(f"there is no channel {', '.join(unknown)}", hint=f"There are: {', '.join(names)}")
    return [_try(store, settings, root, name) for name in names if not only or name in only]


def _try(store: Store, settings: Settings, root: Path | None, channel: str) -> Tried:
    if files_tickets(settings, channel):
        return Tried(channel, "ticket", "an alert is filed as a ticket; a test is not")
    found = addresses(settings, channel, root=root)
    if not found.urls and found.problem is None:
        return Tried(channel, "no address", "its environment variable is not set here")
    problems = [found.problem] if found.problem else notify(found.urls, _TITLE, _BODY.format(channel=channel))
    taken = len(found.urls) - len(problems) if found.problem is None else 0
    detail = "; ".join(problems)
    with store.begin() as tx:
        alert_messages.tried(tx, channel, None if taken else detail)
        data = {"channel": channel, "sent_to": taken, "problems": problems}
        ledger.append(tx, actor="human", action="alert.test", subject=f"{SUBJECT}:test", data=data)
    return Tried(channel, "taken" if taken else "failed", detail)
