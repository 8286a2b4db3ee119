"""Sending one message to people, by any channel that apprise knows (https://appriseit.com): mail, Slack, PagerDuty...

An address is a secret: most hold a token. So nothing here shows one, neither in what is given back nor in a log: of an
address, only the scheme and the host are told, and these as apprise masks them, and what libraries log while a message
is sent is dropped. A channel that fails is told, and is never a reason for the night to stop; nor is one that does not
end: each address is sent to in a thread of its own, which is left to itself when its time is over.
"""

import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import urlsplit

MAX_TITLE = 200
"""In characters; longer titles are cut."""

MAX_BODY = 4000
"""In characters; longer bodies are cut, and say so. Most channels take no more."""

TIMEOUT_SECONDS = 30.0
"""Longest wait for all addresses of one message, their own retries included."""

_CUT = "\n[...] The rest is cut; see the report."
_STATUS = re.compile(r"\berror=([0-9]{3})\b")
_LOGGERS = ("apprise", "urllib3", "urllib3.connection", "urllib3.connectionpool", "requests")


def notify(urls: Sequence[str], title: str, body: str, *, within: float = TIMEOUT_SECONDS) -> list[str]:
    """Send one message in plain text to each of ``urls`` (apprise's addresses), at the same time.

    Gives the problems, one phrase an address, none of which shows its secrets; empty if each took the message. What
    takes longer than ``within`` seconds is a problem, though it may still arrive. Never raises for a channel: a problem
    is for the caller to record. No addresses, nothing to do.
    """
    if not urls:
        return []
    try:
        import apprise  # noqa: F401 - takes half a second, and most shifts send nothing
    except ImportError:
        return [f"no message was sent to {len(urls)} addresses: apprise is not installed (pip install apprise)"]
    title, body = _cut(title, MAX_TITLE, "..."), _cut(body, MAX_BODY, _CUT)
    until = time.monotonic() + within
    sendings = [_Sending.begin(url, number, title, body) for number, url in enumerate(urls, start=1)]
    problems = [one.problem(until) for one in sendings]
    return [problem for problem in problems if problem is not None]


_on_their_way: dict[str, threading.Thread] = {}
"""By address, what has not come to an end: no second message is sent after one that hangs."""


class _Sending:
    """One message on its way to one address."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._result: str | None = f"address {number} is still busy with a message before this one"
        self._thread: threading.Thread | None = None

    @classmethod
    def begin(cls, url: str, number: int, title: str, body: str) -> "_Sending":
        """Send it in a thread that nobody has to wait for."""
        made = cls(number)
        known = _on_their_way.get(url)
        if known is None or not known.is_alive():
            thread = threading.Thread(target=made._run, args=(url, title, body), name=f"notify {number}", daemon=True)
            _on_their_way[url] = made._thread = thread
            thread.start()
        return made

    def problem(self, until: float) -> str | None:
        """What was wrong, or that it is not done by ``until`` (of the monotonic clock)."""
        if self._thread is None:
            return self._result
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            return f"address {self._number} did not come to an end in time"
        return self._result

    def _run(self, url: str, title: str, body: str) -> None:
        with _logs_withheld() as statuses:
            problem = _send(url, self._number, title, body)
        self._result = f"{problem} (status {statuses[-1]})" if problem is not None and statuses else problem
        _on_their_way.pop(url, None)


def _send(url: str, number: int, title: str, body: str) -> str | None:
    """Send to one address; the problem, or None."""
    from apprise import Apprise, AppriseAsset, NotifyFormat

    name = f"address {number}"
    try:
        # In this thread, or in one that has its context: see _logs_withheld.
        asset = AppriseAsset(async_mode=False)
        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            return f"{name} is not one that apprise can read; nothing was sent to it"
        channel = Apprise(asset=asset)
        channel.add(service)
        name = f"{name}, {service.service_name} at {_public_part(channel.urls(privacy=True)[0])}"
        # Without a time limit of its own: with one it gives up and leaves its sending running, which we could not know.
        result = channel.notify(body=body, title=title, body_format=NotifyFormat.TEXT)
        return None if result else f"{name}, did not take the message"
    except Exception as error:
        # Some hundred plug-ins by as many people: whatever one of them raises, the others get the message. Its text is
        # not told, for it may hold the address.
        return f"{name}, failed with {type(error).__name__}"


def _public_part(url: str) -> str:
    """Scheme and host of what apprise gives as fit to show; a webhook's path, query and user name are legible in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _cut(text: str, length: int, mark: str) -> str:
    return text if len(text) <= length else text[: length - len(mark)] + mark


_withheld: ContextVar[list[str] | None] = ContextVar("nightcrew_withheld_logs", default=None)


def _withhold(record: logging.LogRecord) -> bool:
    """A filter of loggers: while we send, lets nothing through, and keeps the HTTP status that apprise reports."""
    statuses = _withheld.get()
    if statuses is None:
        return True
    if found := _STATUS.search(record.getMessage()):
        statuses.append(found[1])
    return False


@contextmanager
def _logs_withheld() -> Iterator[list[str]]:
    """Drop what apprise and its HTTP client log about this message; gives the statuses reported so far.

    Only in this context: a program that uses apprise for itself, in another thread, keeps its logs.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_withhold)  # the same one again is added once
    statuses: list[str] = []
    token = _withheld.set(statuses)
    try:
        yield statuses
    finally:
        _withheld.reset(token)
