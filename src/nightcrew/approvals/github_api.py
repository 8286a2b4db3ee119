"""Asking GitHub's REST API: GET only, one origin only, bounded in time, size and pages.

Sources: https://docs.github.com/en/rest/using-the-rest-api, pages "Getting started" (headers), "Using pagination"
(``Link``), "Rate limits" (403 or 429, ``retry-after``, ``x-ratelimit-remaining``) and "Best practices" (redirects).
An answer that does not come is never taken for an answer: whatever fails raises ApprovalError, and what was asked for
is not admitted.
"""

import http.client
import ipaddress
import re
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import TypeAdapter, ValidationError

from nightcrew.approvals.github_failure import (
    HINT_NETWORK,
    HINT_STRANGE,
    Status,
    TooLong,
    explain,
    pause_before_another_try,
    printable,
    timed_out,
)
from nightcrew.credentials import secret
from nightcrew.model.errors import ConfigurationError, NotVerifiedError

TIMEOUT_SECONDS = 10.0
"""Longest wait for a connection, and for the next piece of an answer."""

ANSWER_SECONDS = 30.0
"""Longest wait for the whole body of an answer: a server that sends a byte at a time holds up no shift."""

SILENCE_SECONDS = 60.0
"""How long a server that gave no answer in time is not asked again: fifty approvals do not wait fifty times."""

MAX_ANSWER_BYTES = 5 << 20
MAX_PAGES = 10

_PAUSES = (0.25, 1.0)  # before the second and the third try
_NEXT_LINK = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next\b')
_HOST = re.compile(r"([a-z0-9-]{1,63}\.)*[a-z0-9-]{1,63}")
_TOKEN = re.compile(r"[!-~]+")
_MESSAGE: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])

_silent_until: dict[str, float] = {}  # API -> time.monotonic(); a hint of this process, nothing depends on it

T = TypeVar("T")


def api_url(text: str) -> str:
    """``text``, if it is an address that a token may be sent to: https, or http to this machine alone.

    Raises ValueError for anything else, and for user names, queries, fragments and a slash at the end.
    """
    parts = urlsplit(text)
    if parts.geturl() != text or parts.username is not None or parts.query or parts.fragment or text.endswith("/"):
        raise ValueError("expected an address such as https://api.github.com, without a slash at the end")
    scheme, host, _ = origin_of(parts)
    if not (_HOST.fullmatch(host) or _is_loopback(host)) or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("expected a host name")
    if not (scheme == "https" or (scheme == "http" and _is_loopback(host))):
        raise ValueError("expected https; http only to a loopback address")
    return text


def origin_of(parts: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port, with the scheme's own port filled in (RFC 6454); raises ValueError for a bad port."""
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", default if parts.port is None else parts.port


@dataclass(frozen=True)
class GithubApi:
    """One API, asked with the token named ``token_env``; the token is read at each request."""

    api: str
    token_env: str

    def one(self, path: str, shape: TypeAdapter[T], *, absent: Collection[int] = ()) -> T | None:
        """What ``path`` gives, or None if it answers with one of the statuses ``absent``; raises ApprovalError."""
        answer = self._fetch(self.api + path, absent)
        return None if answer is None else self._read(path, shape, answer.body)

    def every(self, path: str, shape: TypeAdapter[list[T]], *, absent: Collection[int] = ()) -> list[T]:
        """The items of all pages of a list (none if it answers with one of ``absent``); raises ApprovalError.

        Also for more than MAX_PAGES pages: what is decided by the last item is not decided by the first thousand.
        """
        items: list[T] = []
        url = f"{self.api}{path}?per_page=100"
        for _ in range(MAX_PAGES):
            answer = self._fetch(url, absent)
            if answer is None:
                return items
            page: list[T] = self._read(path, shape, answer.body)
            items += page
            following = self._next(path, answer.headers)
            if following is None:
                return items
            url = following
        raise self._error(path, f"answered more than {MAX_PAGES} pages", "Review on a pull request with less history.")

    def _next(self, path: str, headers: Message) -> str | None:
        found = _NEXT_LINK.search(headers.get("Link", ""))
        if found is None:
            return None
        if not _same_origin(found[1], self.api):
            raise self._error(path, "names a next page on another server", HINT_STRANGE)
        return found[1]

    def _read(self, path: str, shape: TypeAdapter[T], body: bytes) -> T:
        try:
            return shape.validate_json(body, strict=True)
        except ValidationError as error:
            # The place and the kind alone: the input may hold anything.
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "answer"
            raise self._error(
                path, f"answered something else than GitHub documents ({where}: {first['type']})", HINT_STRANGE
            ) from None

    def _fetch(self, url: str, absent: Collection[int]) -> "_Answer | None":
        token = self._token()
        path = urlsplit(url).path.removeprefix(urlsplit(self.api).path)
        if time.monotonic() < _silent_until.get(self.api, 0.0):
            raise self._error(path, "gave no answer a moment ago", HINT_NETWORK)
        for pause in (*_PAUSES, None):
            try:
                return _ask(url, token, self.api)
            except _Elsewhere:
                raise self._error(path, "redirects to another server", HINT_STRANGE) from None
            except Status as error:
                if error.status in absent:
                    return None
                failure: Status | OSError | http.client.HTTPException = error
            except (OSError, http.client.HTTPException) as error:
                failure = error
            wait = None if pause is None else pause_before_another_try(failure, pause)
            if wait is None:
                if timed_out(failure):
                    _silent_until[self.api] = time.monotonic() + SILENCE_SECONDS
                what, hint = explain(failure, self.token_env)
                # The message of a refusal is the server's: it could repeat what it was sent.
                raise self._error(path, what.replace(token, "***"), hint)
            time.sleep(wait)
        raise AssertionError("the last try either answers or raises")

    def _token(self) -> str:
        try:
            token = secret(self.token_env)
        except ConfigurationError as error:
            raise NotVerifiedError(f"GitHub was not asked: {error}; nothing was admitted", hint=error.hint) from None
        if not _TOKEN.fullmatch(token):
            problem = "is not set" if not token else "holds something else than a token"
            raise NotVerifiedError(
                f"GitHub was not asked: the environment variable {self.token_env} {problem}; nothing was admitted",
                hint=f"Set {self.token_env} to a token that may read the repository's pull requests.",
            )
        return token

    def _error(self, path: str, what: str, hint: str) -> NotVerifiedError:
        return NotVerifiedError(f"{self.api} was asked for {path} and {what}; nothing was admitted", hint=hint)


@dataclass(frozen=True)
class _Answer:
    headers: Message
    body: bytes


class _Elsewhere(Exception):
    """A redirect to another origin."""


class _SameOriginRedirects(urllib.request.HTTPRedirectHandler):
    """Follows the redirects of a renamed repository; never carries the token to another server."""

    def __init__(self, api: str) -> None:
        self._api = api

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()  # or urllib reads its body to the end, however long
        if not _same_origin(newurl, self._api):
            raise _Elsewhere
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _ask(url: str, token: str, api: str) -> _Answer:
    """One GET. Raises Status, _Elsewhere, OSError or HTTPException."""
    request = urllib.request.Request(  # noqa: S310 - api_url and _same_origin let http and https through, nothing else
        url,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "User-Agent": "nightcrew",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    handlers: list[urllib.request.BaseHandler] = [_SameOriginRedirects(api)]
    if urlsplit(api).scheme == "http":
        handlers.append(urllib.request.ProxyHandler({}))  # a token in the clear stays on this machine
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_SECONDS) as response:
            return _Answer(response.headers, _body(response))
    except urllib.error.HTTPError as error:
        try:
            raise Status(error.code, error.headers, _message(error)) from None
        finally:
            error.close()


def _body(response: http.client.HTTPResponse | urllib.error.HTTPError) -> bytes:
    end = time.monotonic() + ANSWER_SECONDS
    body = bytearray()
    while piece := response.read1(1 << 16):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise TooLong
        if time.monotonic() > end:
            raise TimeoutError
    announced = response.headers.get("Content-Length")
    # read1 takes the end of a connection for the end of the body.
    if announced is not None and announced.isdecimal() and len(body) < int(announced):
        raise http.client.IncompleteRead(bytes(body[:0]), int(announced) - len(body))
    return bytes(body)


def _message(error: urllib.error.HTTPError) -> str:
    """What GitHub says in ``message``, in printable ASCII and short; empty if it says nothing."""
    try:
        text = _MESSAGE.validate_json(_body(error)).get("message")
    except (ValidationError, OSError, http.client.HTTPException):
        return ""
    return printable(text) if isinstance(text, str) else ""


def _same_origin(url: str, api: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.username is None and origin_of(parts) == origin_of(urlsplit(api))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
