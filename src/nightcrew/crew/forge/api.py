"""A forge's REST API: one origin, one token, every request through the library's guard, all of it bounded.

Transient failures are tried again within seconds, and no longer: what stays undone waits in the store for another
day. A request that creates something is sent again only if it cannot have arrived; otherwise the caller has to look
first whether it was done. An answer is taken only in the shape that the forge documents.

Sources: https://docs.github.com/en/rest/using-the-rest-api (headers, ``Link`` pagination, rate limits, redirects) and
https://docs.gitlab.com/ee/api/rest/ (``PRIVATE-TOKEN``, ``Link`` pagination).
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import urljoin, urlsplit

from pydantic import TypeAdapter, ValidationError

from nightcrew.approvals.github_api import api_url, origin_of
from nightcrew.credentials import secret
from nightcrew.crew.forge.errors import ForgeAway, ForgeRefused, Said, error_of, printable, said
from nightcrew.model.clock import Clock, system_clock
from nightcrew.reliability import Breaker, Failure, FailureClass, Retry, classify, guard

if TYPE_CHECKING:
    import httpx

__all__ = ["Api", "ForgeAway", "ForgeRefused", "token_of"]

TIMEOUT_SECONDS = 10.0
"""Longest wait for a connection, and for the next piece of an answer."""

ANSWER_SECONDS = 30.0
"""Longest wait for the whole of an answer: a server that sends a byte at a time holds up no shift."""

LIST_SECONDS = 120.0
"""Longest time for all pages of a list."""

MAX_ANSWER_BYTES = 20 << 20
MAX_PAGES = 200
MAX_REDIRECTS = 3

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
Scheme = Literal["Bearer", "PRIVATE-TOKEN"]
T = TypeVar("T")

_NEXT_LINK = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next\b')
_TOKEN = re.compile(r"[!-~]+")
_RETRY = Retry(attempts=3, base=0.5, cap=5.0, deadline=20.0)
_MESSAGE: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


def token_of(name: str) -> Callable[[], str]:
    """A function that reads the token ``name`` when it is called: environment, keychain or file (see credentials)."""
    return lambda: secret(name)


@dataclass
class Api:
    """One API at address ``base`` (no slash at the end), asked with the token that ``token`` gives, kept nowhere.

    ``token_env`` is the token's name, for messages. Use it as a context manager, or call ``close``. All methods raise
    ForgeAway (may pass; may have been done) and ForgeRefused (will not pass); both carry ``failure`` and ``status``.
    """

    base: str
    token: Callable[[], str]
    scheme: Scheme = "Bearer"
    token_env: str = "the token"  # noqa: S105 - a name for messages
    retry: Retry = _RETRY
    clock: Clock = system_clock
    _client: "httpx.Client | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            api_url(self.base)
        except ValueError as error:
            failure = Failure(FailureClass.CONTRACT, "ValueError", str(error))
            raise ForgeRefused(f"{printable(self.base)}: {error}", failure=failure) from None
        # A service that is down is asked a few times in a night, not once for each ticket.
        self._breaker = Breaker(f"forge {self.base}", failures=6, reset=60.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(
        self,
        path: str,
        shape: TypeAdapter[T],
        *,
        query: Mapping[str, str] | None = None,
        absent: Collection[int] = (),
    ) -> T | None:
        """What ``path`` gives, None if it answers with one of the statuses ``absent``."""
        answer = self._ask("GET", path, query=query, absent=absent)
        return None if answer is None else self._read("GET", path, shape, answer.body)

    def every(
        self,
        path: str,
        shape: TypeAdapter[list[T]],
        *,
        query: Mapping[str, str] | None = None,
        absent: Collection[int] = (),
    ) -> Iterator[T]:
        """The items of a list, page by page as they are taken; none if it answers with one of ``absent``.

        Raises ForgeRefused after MAX_PAGES pages of a hundred, ForgeAway after LIST_SECONDS.
        """
        end = time.monotonic() + LIST_SECONDS
        answer = self._ask("GET", path, query={"per_page": "100", **(query or {})}, absent=absent)
        for _ in range(MAX_PAGES):
            if answer is None:
                return
            yield from self._read("GET", path, shape, answer.body)
            following = _NEXT_LINK.search(answer.headers.get("link", ""))
            if following is None:
                return
            if not self._is_own(following[1]):
                raise self._refused("GET", path, "names a next page on another server")
            if time.monotonic() > end:
                failure = Failure(FailureClass.TIMEOUT, "List", f"no end of the list after {LIST_SECONDS:.0f} s")
                raise error_of(f"GET {self._name(path)}", failure, 0, token_env=self.token_env)
            answer = self._ask("GET", following[1], absent=absent)
        raise self._refused("GET", path, f"has more than {MAX_PAGES} pages")

    def every_in(
        self, path: str, name: str, shape: TypeAdapter[list[T]], *, query: Mapping[str, str] | None = None
    ) -> list[T]:
        """The items under ``name`` of an answer that is an object (check runs): the first hundred of them."""
        found = self.get(path, _MESSAGE, query={"per_page": "100", **(query or {})})
        try:
            return shape.validate_python((found or {}).get(name))
        except ValidationError as error:
            raise self._strange("GET", path, error) from None

    def post(
        self,
        path: str,
        body: Any,
        shape: TypeAdapter[T],
        *,
        absent: Collection[int] = (),
        repeatable: bool = False,
    ) -> T | None:
        """Create something; None if it answers with one of ``absent``.

        It is sent again only where it cannot have arrived, unless it is ``repeatable`` without harm: after ForgeAway,
        look whether it was done before you ask again.
        """
        answer = self._ask("POST", path, body=body, absent=absent, once=not repeatable)
        return None if answer is None else self._read("POST", path, shape, answer.body)

    def patch(self, path: str, body: Any, shape: TypeAdapter[T], *, absent: Collection[int] = ()) -> T | None:
        """Change something to what ``body`` says; repeating it is harmless, so that it is tried again."""
        answer = self._ask("PATCH", path, body=body, absent=absent)
        return None if answer is None else self._read("PATCH", path, shape, answer.body)

    def put(self, path: str, body: Any, shape: TypeAdapter[T], *, absent: Collection[int] = ()) -> T | None:
        """Set something to ``body``; repeating it is harmless, so that it is tried again."""
        answer = self._ask("PUT", path, body=body, absent=absent)
        return None if answer is None else self._read("PUT", path, shape, answer.body)

    def delete(self, path: str, *, absent: Collection[int] = (404,)) -> None:
        """Take something away; that it is not there is no error."""
        self._ask("DELETE", path, absent=absent)

    # One request ----------------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        absent: Collection[int] = (),
        once: bool = False,
    ) -> "_Answer | None":
        token = self._token()
        url = path if path.startswith(("http://", "https://")) else self.base + path

        def send() -> "_Answer | _Unsure":
            try:
                return self._send(method, url, token, query, body)
            except Exception as error:
                if once and _may_have_been_done(error):
                    return _Unsure(error)
                raise

        result = guard(send, retry=self.retry, breaker=self._breaker, name=f"{method} {self.base}").result()
        answer, error = result.value, result.error
        if isinstance(answer, _Unsure):
            error = answer.error
        elif answer is not None:
            return answer
        cause = error.__cause__ if error is not None and error.__cause__ is not None else error
        status = cause.status if isinstance(cause, Said) else 0
        failure = classify(error) if error is not None else Failure(FailureClass.BUG, "unknown", "no answer")
        if status in absent and not failure.kind.transient:
            return None
        if failure.kind is FailureClass.BUG and error is not None:
            raise error
        # What a server says, or an error of the network, could repeat what was sent.
        told = Failure(
            failure.kind, failure.error, printable(failure.message.replace(token, "***")), failure.retry_after
        )
        raise error_of(f"{method} {self._name(path)}", told, status, token_env=self.token_env)

    def _send(self, method: Method, url: str, token: str, query: Mapping[str, str] | None, body: Any) -> "_Answer":
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(method, url, token, query, body)
            if answer.status < 300:
                return answer
            target = answer.headers.get("location", "") if answer.status < 400 else ""
            if not target or answer.status == 303 or (method != "GET" and answer.status not in (307, 308)):
                raise said(answer.status, answer.headers, _message(answer.body), self.clock())
            url, query = urljoin(url, target), None
            if not self._is_own(url):
                break
        message = "redirects in a circle" if self._is_own(url) else "redirects to another server"
        raise Said(answer.status, message, Failure(FailureClass.CONTRACT, "Redirect", message))

    def _exchange(self, method: Method, url: str, token: str, query: Mapping[str, str] | None, body: Any) -> "_Answer":
        headers = {"Accept": "application/json", "User-Agent": "nightcrew"}
        if self.scheme == "Bearer":
            headers["Accept"] = "application/vnd.github+json"
            headers["X-GitHub-Api-Version"] = "2022-11-28"
            headers["Authorization"] = f"Bearer {token}"
        else:
            headers["PRIVATE-TOKEN"] = token
        end = time.monotonic() + ANSWER_SECONDS
        content = bytearray()
        with self._open().stream(method, url, params=query, json=body, headers=headers) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    message = "the answer was too long to be one"
                    raise Said(0, message, Failure(FailureClass.CONTRACT, "TooLong", message))
                if time.monotonic() > end:
                    raise TimeoutError("no whole answer came in time")
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return _Answer(response.status_code, lowered, bytes(content))

    def _open(self) -> "httpx.Client":
        if self._client is None:
            import httpx

            # A token in the clear stays on this machine: api_url allows plain http to loopback only, so no proxy.
            proxied = urlsplit(self.base).scheme == "https"
            self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=proxied)
        return self._client

    def _token(self) -> str:
        token = self.token()
        if not _TOKEN.fullmatch(token):
            problem = "is not set" if not token else "holds something else than a token"
            failure = Failure(FailureClass.AUTH, "NoToken", f"{self.token_env} {problem}")
            raise ForgeRefused(
                f"{self._name('')} was not asked: {self.token_env} {problem}",
                failure=failure,
                hint=f"Run: nightcrew key add {self.token_env}",
            )
        return token

    def _read(self, method: Method, path: str, shape: TypeAdapter[T], body: bytes) -> T:
        try:
            return shape.validate_json(body or b"null", strict=True)
        except ValidationError as error:
            raise self._strange(method, path, error) from None

    def _strange(self, method: Method, path: str, error: ValidationError) -> ForgeRefused:
        # The place and the kind alone: the input may hold anything.
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "answer"
        return self._refused(method, path, f"answered something else than is documented ({where}: {first['type']})")

    def _refused(self, method: Method, path: str, what: str) -> ForgeRefused:
        failure = Failure(FailureClass.CONTRACT, "Answer", what)
        return ForgeRefused(f"{method} {self._name(path)}: {what}", failure=failure)

    def _name(self, path: str) -> str:
        """The address for messages, without what may be private in a query."""
        return printable(self.base + urlsplit(path.removeprefix(self.base)).path)

    def _is_own(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            return parts.username is None and origin_of(parts) == origin_of(urlsplit(self.base))
        except ValueError:
            return False


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Unsure:
    """A request that creates something ended without an answer, or with a server's error: it may have been done."""

    error: Exception


def _may_have_been_done(error: Exception) -> bool:
    if isinstance(error, Said):
        return error.status >= 500
    import httpx

    before_sending = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
    return not isinstance(error, before_sending)


def _message(body: bytes) -> str:
    """What the server says in ``message`` (GitLab: ``error`` too) and in the first of ``errors``."""
    try:
        found = _MESSAGE.validate_json(body)
    except ValidationError:
        return ""
    text = found.get("message") or found.get("error") or ""
    more = found.get("errors")
    first = more[0] if isinstance(more, list) and more else None
    detail = first.get("message") if isinstance(first, dict) else first
    words = [str(part) for part in (text, detail) if isinstance(part, str | dict | list) and part]
    return ": ".join(words)
