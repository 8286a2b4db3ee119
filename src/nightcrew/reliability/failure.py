"""Failures told apart: what passes by itself, what never will, and what is a bug.

``classify`` works by the names of error types along their bases, so that no library is imported to know its errors.
"""

import email.utils
import errno
import http.client
import json
import pickle
import signal
import subprocess
import urllib.error
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import DocumentError, NotFoundError, TransientError

MAX_MESSAGE = 500


class FailureClass(StrEnum):
    """What kind of failure it is; the part before the dot says what is done about it."""

    NETWORK = "transient.network"
    TIMEOUT = "transient.timeout"
    RATE_LIMIT = "transient.rate_limit"
    OVERLOADED = "transient.overloaded"
    CONTRACT = "permanent.contract"
    CORRUPT = "permanent.corrupt"
    AUTH = "permanent.auth"
    MODEL_LOAD = "permanent.model_load"
    NOT_FOUND = "permanent.not_found"
    CONTEXT_LENGTH = "permanent.context_length"
    POISON = "permanent.poison"
    BUG = "bug"

    @property
    def transient(self) -> bool:
        """Whether trying again later may do."""
        return self.value.startswith("transient.")


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified error: its class, the error type's name, one line of what it said, and Retry-After in seconds."""

    kind: FailureClass
    error: str
    message: str
    retry_after: float | None = None


Rule = FailureClass | Callable[[BaseException], FailureClass | None]

F = FailureClass
_NETWORK_ERRNOS = {
    errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.EPIPE, errno.ENETUNREACH, errno.EHOSTUNREACH,
    errno.ENETDOWN, errno.EHOSTDOWN, errno.ENETRESET, errno.ENOTCONN,
}  # fmt: skip
_BUSY_ERRNOS = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY, errno.EDQUOT}
_STATUS = {
    400: F.CONTRACT, 401: F.AUTH, 402: F.AUTH, 403: F.AUTH, 404: F.NOT_FOUND, 405: F.CONTRACT, 408: F.TIMEOUT,
    409: F.OVERLOADED, 410: F.NOT_FOUND, 413: F.CONTEXT_LENGTH, 415: F.CONTRACT, 422: F.CONTRACT, 425: F.RATE_LIMIT,
    429: F.RATE_LIMIT, 504: F.TIMEOUT, 529: F.OVERLOADED,
}  # fmt: skip
_TOO_LONG = (
    "context length", "context_length", "context window", "maximum context", "prompt is too long", "too many tokens",
    "input is too long", "reduce the length",
)  # fmt: skip


def _by_errno(error: BaseException) -> FailureClass | None:
    number = getattr(error, "errno", None)
    if number in _NETWORK_ERRNOS:
        return F.NETWORK
    if number == errno.ETIMEDOUT:
        return F.TIMEOUT
    return F.OVERLOADED if number in _BUSY_ERRNOS else None


def _by_status(error: BaseException) -> FailureClass | None:
    status = status_of(error)
    return None if status is None else _of_status(status, str(error))


def _of_status(status: int, text: str) -> FailureClass | None:
    if status in (400, 413, 422) and any(sign in text.lower() for sign in _TOO_LONG):
        return F.CONTEXT_LENGTH
    if status in _STATUS:
        return _STATUS[status]
    if 500 <= status < 600:
        return F.OVERLOADED
    return F.CONTRACT if 400 <= status < 500 else None


def _ended_child(error: BaseException) -> FailureClass | None:
    code = getattr(error, "returncode", 0)
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM):
        return F.OVERLOADED  # Ended from outside: the out-of-memory killer, an operator.
    return F.TIMEOUT if code in (124,) else F.BUG


def _of_sqlalchemy(error: BaseException) -> FailureClass | None:
    if getattr(error, "connection_invalidated", False):
        return F.NETWORK
    return _of_database(error)


def _of_database(error: BaseException) -> FailureClass | None:
    text = str(error).lower()
    if "locked" in text or "busy" in text or "too many connections" in text or "deadlock" in text:
        return F.OVERLOADED
    if "malformed" in text or "not a database" in text:
        return F.CORRUPT
    if "no such table" in text or "syntax error" in text or "no such column" in text:
        return F.BUG
    return F.OVERLOADED if "full" in text else F.NETWORK


# The first type along the bases that has a rule decides; a rule that gives None passes on.
_TYPES: dict[type[BaseException], Rule] = {
    DocumentError: F.CONTRACT,
    NotFoundError: F.NOT_FOUND,
    TransientError: F.OVERLOADED,
    TimeoutError: F.TIMEOUT,
    ConnectionError: F.NETWORK,
    FileNotFoundError: F.NOT_FOUND,
    PermissionError: F.AUTH,
    urllib.error.HTTPError: _by_status,
    urllib.error.URLError: lambda error: _inner(error) or F.NETWORK,
    http.client.HTTPException: F.NETWORK,
    OSError: _by_errno,
    json.JSONDecodeError: F.CORRUPT,
    UnicodeDecodeError: F.CORRUPT,
    pickle.UnpicklingError: F.MODEL_LOAD,
    EOFError: F.CORRUPT,
    MemoryError: F.OVERLOADED,
    subprocess.TimeoutExpired: F.TIMEOUT,
    subprocess.CalledProcessError: _ended_child,
}
_HTTPX: dict[str, Rule] = {
    "TimeoutException": F.TIMEOUT,
    "TransportError": F.NETWORK,
    "HTTPStatusError": _by_status,
    "DecodingError": F.CORRUPT,
}
_PYDANTIC_AI: dict[str, Rule] = {
    "ModelRateLimitError": F.RATE_LIMIT,
    "ModelQuotaExceededError": F.AUTH,  # Out of money: waiting does not help.
    "ModelUnavailableError": F.OVERLOADED,
    "ModelTimeoutError": F.TIMEOUT,
    "ModelConnectionError": F.NETWORK,
    "ModelAuthenticationError": F.AUTH,
    "ModelNotFoundError": F.NOT_FOUND,
    "ModelContextWindowExceededError": F.CONTEXT_LENGTH,
    "ModelServerError": F.OVERLOADED,
    "ModelHTTPError": _by_status,
    "UnexpectedModelBehavior": F.CORRUPT,
}
_NAMES: dict[str, Rule] = {
    "socket:gaierror": F.NETWORK,
    "socket:herror": F.NETWORK,
    "ssl:SSLCertVerificationError": F.AUTH,
    "ssl:SSLError": F.NETWORK,
    "pydantic_core._pydantic_core:ValidationError": F.CONTRACT,
    "sqlite3:OperationalError": _of_database,
    "sqlite3:IntegrityError": F.CONTRACT,
    "sqlite3:DatabaseError": _of_database,
    "sqlalchemy.exc:IntegrityError": F.CONTRACT,
    "sqlalchemy.exc:DataError": F.CONTRACT,
    "sqlalchemy.exc:ProgrammingError": F.BUG,
    "sqlalchemy.exc:TimeoutError": F.OVERLOADED,
    "sqlalchemy.exc:DBAPIError": _of_sqlalchemy,
    "psycopg:OperationalError": F.NETWORK,
    # httpx2 is what newer model clients are built on; its errors have the names of httpx's.
    **{f"{package}:{name}": rule for package in ("httpx", "httpx2") for name, rule in _HTTPX.items()},
    "requests.exceptions:JSONDecodeError": F.CORRUPT,
    "requests.exceptions:Timeout": F.TIMEOUT,
    "requests.exceptions:ConnectionError": F.NETWORK,
    "requests.exceptions:HTTPError": _by_status,
    "requests.exceptions:ChunkedEncodingError": F.NETWORK,
    "urllib3.exceptions:TimeoutError": F.TIMEOUT,
    "urllib3.exceptions:HTTPError": F.NETWORK,
    "aiohttp.client_exceptions:ServerTimeoutError": F.TIMEOUT,
    "aiohttp.client_exceptions:ClientResponseError": _by_status,
    "aiohttp.client_exceptions:ClientConnectionError": F.NETWORK,
    "anthropic:APITimeoutError": F.TIMEOUT,
    "anthropic:APIConnectionError": F.NETWORK,
    "openai:APITimeoutError": F.TIMEOUT,
    "openai:APIConnectionError": F.NETWORK,
    "openai:LengthFinishReasonError": F.CONTEXT_LENGTH,
    **{f"pydantic_ai.exceptions:{name}": rule for name, rule in _PYDANTIC_AI.items()},
    "botocore.exceptions:ConnectTimeoutError": F.TIMEOUT,
    "botocore.exceptions:ReadTimeoutError": F.TIMEOUT,
    "botocore.exceptions:EndpointConnectionError": F.NETWORK,
    "botocore.exceptions:NoCredentialsError": F.AUTH,
    "pyarrow.lib:ArrowInvalid": F.CORRUPT,
}
_registered: list[tuple[type[BaseException] | str, Rule]] = []


def register(error_type: type[BaseException] | str, rule: Rule) -> None:
    """Classify errors of a type (or of ``"package.module:Name"``, which is not imported) by ``rule``.

    ``rule`` is a class, or a function of the error that gives one or None to pass on. The last registered wins, and all
    win over what is built in; subclasses are included.
    """
    _registered.insert(0, (error_type, rule))


@contextmanager
def registered(error_type: type[BaseException] | str, rule: Rule) -> Iterator[None]:
    """``register`` for a while: for tests."""
    entry = (error_type, rule)
    _registered.insert(0, entry)
    try:
        yield
    finally:
        _registered.remove(entry)


def classify(error: BaseException, *, clock: Clock = system_clock) -> Failure:
    """The class of ``error``, what it says, and how long the service asks to wait. What nobody knows is a bug."""
    known = getattr(error, "failure", None)
    if isinstance(known, Failure):
        return known
    kind = _kind(error)
    return Failure(kind, type(error).__name__, one_line(error), retry_after(error, clock=clock))


def one_line(error: BaseException) -> str:
    """What the error says in one line of at most 500 characters."""
    try:
        text = " ".join(str(error).split()) or type(error).__name__
    except Exception:  # An error that cannot be put into words is still told by its type.
        text = type(error).__name__
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _kind(error: BaseException) -> FailureClass:
    for own, rule in _registered:
        if _is(error, own) and (kind := _apply(rule, error)) is not None:
            return kind
    for base in type(error).__mro__:
        for name in _names_of(base):
            rule_by_name = _NAMES.get(name)
            if rule_by_name is not None and (kind := _apply(rule_by_name, error)) is not None:
                return kind
        rule_by_type = _TYPES.get(base)
        if rule_by_type is not None and (kind := _apply(rule_by_type, error)) is not None:
            return kind
    # By status last: an exception may carry one for reasons of its own.
    return _apply(_by_status, error) or _inner(error) or F.BUG


def _inner(error: BaseException) -> FailureClass | None:
    """The class of what a wrapper that says nothing itself was raised from."""
    cause = getattr(error, "reason", None) if isinstance(error, urllib.error.URLError) else error.__cause__
    if not isinstance(cause, BaseException) or _is_circular(error):
        return None
    return _kind(cause)


def _is_circular(error: BaseException) -> bool:
    """Whether its chain of causes comes back to itself."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        one = one.__cause__
    return one is not None


def _names_of(base: type) -> tuple[str, ...]:
    """``module:Name``, and with the top package alone, since libraries move their errors between modules."""
    module = base.__module__
    return (f"{module}:{base.__qualname__}", f"{module.partition('.')[0]}:{base.__qualname__}")


def _is(error: BaseException, own: type[BaseException] | str) -> bool:
    if isinstance(own, type):
        return isinstance(error, own)
    return any(own in _names_of(base) for base in type(error).__mro__)


def _apply(rule: Rule, error: BaseException) -> FailureClass | None:
    if isinstance(rule, FailureClass):
        return rule
    try:
        return rule(error)
    except Exception as broken:
        warnings.warn(f"the rule for {type(error).__name__} failed: {one_line(broken)}", stacklevel=2)
        return None


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error carries, None if it carries none."""
    response = getattr(error, "response", None)
    for holder, names in ((error, ("status_code", "status", "code")), (response, ("status_code", "status"))):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
                return value
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, Mapping) else {}
    value = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
    return value if isinstance(value, int) else None


def retry_after(error: BaseException, *, clock: Clock = system_clock) -> float | None:
    """Seconds that the service asks to wait: ``retry-after-ms``, or Retry-After (RFC 9110 section 10.2.3)."""
    own = getattr(error, "retry_after", None)
    if isinstance(own, int | float) and not isinstance(own, bool):
        return _number(max(0.0, own))
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if headers is None or not hasattr(headers, "get"):
        return None
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after") or headers.get("Retry-After")
    seconds = _number(text)
    return seconds if seconds is not None else _until(text, clock)


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if 0 <= value < 1e9 else None  # Beyond 31 years, or no number: nothing that can be waited for.


def _until(text: Any, clock: Clock) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(str(text))
    except (TypeError, ValueError):
        return None
    return max(0.0, (moment - clock()).total_seconds()) if moment.tzinfo is not None else None
