"""What went wrong when GitHub was asked: whether another try is worth it, and what to tell the user.

Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api, "Exceeding the rate limit", and
"Troubleshooting the REST API".
"""

import http.client
import re
import urllib.error
from email.message import Message
from http import HTTPStatus

MAX_RETRY_AFTER_SECONDS = 5.0
"""A server that asks for a longer wait gets none: the shift has other work."""

HINT_STRANGE = "Check the API's address in the reviewer's enrolment, and any proxy between here and there."
HINT_NETWORK = "Check the network; the review is asked for again at the next shift."

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_RATE_LIMITED = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


class Status(Exception):
    """The server answered, but not with what was asked for."""

    def __init__(self, status: int, headers: Message, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.message = message

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None if it says nothing, or a date, which GitHub does not send."""
        value = self.headers.get("Retry-After", "")
        return float(value) if re.fullmatch(r"[0-9]{1,9}", value) else None

    @property
    def rate_limited(self) -> bool:
        """Whether the token has asked too often; a plain 403 is a token that may not ask at all."""
        if self.status not in _RATE_LIMITED:
            return False
        return (
            self.status == HTTPStatus.TOO_MANY_REQUESTS
            or self.headers.get("X-RateLimit-Remaining") == "0"
            or self.retry_after is not None
            or "rate limit" in self.message.lower()
        )


class TooLong(http.client.HTTPException):
    """A body beyond the size that is read."""


def printable(text: str) -> str:
    """What a server said, in printable ASCII and at most 200 characters: it may go to a terminal."""
    return _UNPRINTABLE.sub(" ", text)[:200]


def pause_before_another_try(failure: Exception, pause: float) -> float | None:
    """Seconds to wait before the same request is worth another try; None if it is not."""
    if isinstance(failure, Status):
        if not (failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR or failure.rate_limited):
            return None
        after = failure.retry_after
        if after is None:
            # GitHub asks for a minute at least after a rate limit that names no time.
            return None if failure.rate_limited else pause
        return after if after <= MAX_RETRY_AFTER_SECONDS else None
    cause = _cause(failure)
    passing = isinstance(cause, ConnectionError | http.client.IncompleteRead | http.client.BadStatusLine)
    return pause if passing else None


def explain(failure: Exception, token_env: str) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    if isinstance(failure, Status):
        said = f" ({failure.message})" if failure.message else ""
        return f"the answer was {failure.status}{said}", _hint(failure, token_env)
    if isinstance(failure, TooLong):
        return "the answer was too long to be one", HINT_STRANGE
    cause = _cause(failure)
    if timed_out(failure):
        return "no answer came in time", HINT_NETWORK
    if isinstance(cause, http.client.IncompleteRead | http.client.RemoteDisconnected):
        return "the connection ended before the answer did", HINT_NETWORK
    return f"no answer came ({printable(str(cause)) or type(cause).__name__})", HINT_NETWORK


def timed_out(failure: Exception) -> bool:
    """Whether no answer came in time; then the next request would wait as long."""
    return isinstance(_cause(failure), TimeoutError)


def _cause(failure: Exception) -> BaseException | str:
    return failure.reason if isinstance(failure, urllib.error.URLError) else failure


def _hint(failure: Status, token_env: str) -> str:
    if failure.rate_limited:
        after = failure.retry_after
        when = "later" if after is None else f"in {after:.0f} seconds"
        return f"The token in {token_env} is over GitHub's rate limit: run the same command again {when}."
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "GitHub is in trouble: run the same command again later."
    if failure.status == HTTPStatus.UNAUTHORIZED:
        return f"The token in {token_env} is wrong, expired or revoked: make a new one."
    if failure.status < HTTPStatus.BAD_REQUEST:
        return HINT_STRANGE  # redirects in a circle, or to what is no web address
    return f"Check the repository's name, and that the token in {token_env} may read its pull requests."
