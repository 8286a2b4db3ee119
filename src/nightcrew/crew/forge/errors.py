"""What a forge's refusal, or its silence, is called here: each carries the library's classification of it.

Sources: https://docs.github.com/en/rest/using-the-rest-api, pages "Rate limits for the REST API" and "Troubleshooting
the REST API"; https://docs.gitlab.com/ee/administration/settings/rate_limit_on_issues_creation.html for 429.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

from nightcrew.model.errors import ConfigurationError, NightcrewError, TransientError
from nightcrew.reliability import Failure, FailureClass

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_LONGEST_WAIT = 24 * 3600.0
_MINUTE = 60.0


class ForgeRefused(ConfigurationError):
    """The forge refused a request, and would refuse it again."""

    code: ClassVar[str] = "NC-FORGE"
    hint = "Check the table [github] in nightcrew.toml and what its token may do; then run: nightcrew sync"

    def __init__(self, message: str, *, failure: Failure, status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure
        self.status = status


class ForgeAway(TransientError):
    """The forge gave no usable answer now; what was asked may have been done all the same."""

    hint = "It is tried again at the next shift, or now with: nightcrew sync"

    def __init__(self, message: str, *, failure: Failure, status: int = 0) -> None:
        super().__init__(message)
        self.failure = failure
        self.status = status


class Said(Exception):
    """The server answered with something else than what was asked for; the guard classifies it by ``failure``."""

    def __init__(self, status: int, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.failure = failure


def said(status: int, headers: Mapping[str, str], message: str, now: datetime) -> Said:
    """The answer ``status`` as an error: rate limits told from missing rights, with the wait that is asked for."""
    text = printable(message)
    told = f"answered {status} ({text})" if text else f"answered {status}"
    return Said(status, told, Failure(_kind(status, headers, text), f"HTTP {status}", told, _wait(headers, now)))


def error_of(what: str, failure: Failure, status: int, *, token_env: str) -> NightcrewError:
    """The error to raise for a request that failed for good: ``what`` says which request to which server."""
    message = f"{what}: {failure.message}"
    if failure.kind.transient:
        return ForgeAway(message, failure=failure, status=status)
    return ForgeRefused(message, failure=failure, status=status, hint=_hint(status, token_env))


def printable(text: str) -> str:
    """What a server said, in printable ASCII and at most 300 characters: it may go to a terminal."""
    return _UNPRINTABLE.sub(" ", text)[:300].strip()


def _kind(status: int, headers: Mapping[str, str], message: str) -> FailureClass:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return FailureClass.RATE_LIMIT
    if status == HTTPStatus.FORBIDDEN:
        # GitHub says 403 both for a token that asked too often and for one that may not ask at all.
        limited = (
            headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers or "rate limit" in message.lower()
        )
        return FailureClass.RATE_LIMIT if limited else FailureClass.AUTH
    if status == HTTPStatus.UNAUTHORIZED:
        return FailureClass.AUTH
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return FailureClass.NOT_FOUND
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT):
        return FailureClass.TIMEOUT
    return FailureClass.OVERLOADED if status >= HTTPStatus.INTERNAL_SERVER_ERROR else FailureClass.CONTRACT


def _wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the server asks to wait: ``retry-after``, else until the rate limit's reset if it is used up."""
    asked = headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,9}", asked):
        return min(float(asked), _LONGEST_WAIT)
    reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or ""
    remaining = headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining") or ""
    if remaining == "0" and re.fullmatch(r"[0-9]{1,12}", reset):
        return min(max(float(reset) - now.timestamp(), 1.0), _LONGEST_WAIT)
    return _MINUTE if asked else None  # a date, which neither GitHub nor GitLab documents


def _hint(status: int, token_env: str) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return (
            f"The token in {token_env} is wrong, expired or revoked: make a new one, then nightcrew key add {token_env}"
        )
    if status == HTTPStatus.FORBIDDEN:
        return f"The token in {token_env} may not do this: see which rights it needs with nightcrew runbook NC-FORGE"
    if status == HTTPStatus.NOT_FOUND:
        return f"Check the repository's name, and that the token in {token_env} may see it."
    return ForgeRefused.hint
