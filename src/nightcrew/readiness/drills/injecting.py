"""In the child: faults in place of a step's own function, inside its guard, and what was seen of its calls."""

import asyncio
import contextvars
import functools
import hashlib
import re
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from typing import Any, NamedTuple

from pydantic_core import to_json

from nightcrew.pipeline.chain import Chain, Made, Step

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
REAL_WAIT = 0.05
"""Seconds that a wait of a retry takes in a drill at most; the rest is counted, not waited."""

_record: contextvars.ContextVar[str] = contextvars.ContextVar("nightcrew_drilled_record", default="")


class Call(NamedTuple):
    """One call of a step's function: which record (its digest), the how manieth for it, when, and the input's size."""

    record: str
    number: int
    at: float
    size: int


class Hang(NamedTuple):
    """What a fault answers so that the call hangs: until ``seconds`` are over, then it answers as it always does."""

    seconds: float


Decide = Callable[[Call], BaseException | Hang | None]


@dataclass
class Fault:
    """Decides for each call of a step whether it fails, and keeps what it saw. ``decide`` may be set anew."""

    decide: Decide
    calls: list[Call] = field(default_factory=list)
    first: float | None = None
    """When it first did something, on the clock of ``now``."""
    waits: list[float] = field(default_factory=list)
    """Seconds that retries of the step asked to wait, in order."""
    _answered: float | None = None
    _skipped: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def noticed(self, ended: float) -> float | None:
        """Seconds from the first fault to when a retry answered it, else to ``ended``, when it was in an outcome."""
        return None if self.first is None else (self._answered or ended) - self.first

    def took(self, until: float | None = None) -> float | None:
        """Seconds from the first fault until now, or ``until``."""
        return None if self.first is None else (until or self.now()) - self.first

    def now(self) -> float:
        """Seconds on a clock that waits of retries pass on as if they had been waited out."""
        return time.monotonic() + self._skipped

    def meet(self, argument: Any) -> BaseException | Hang | None:
        """One call with this first argument."""
        size = len(text_of(argument))
        with self._lock:
            record = _record.get()
            number = 1 + sum(1 for call in self.calls if call.record == record)
            call = Call(record, number, self.now(), size)
            self.calls.append(call)
            found = self.decide(call)
            if found is not None and self.first is None:
                self.first = call.at
        return found

    def sleep(self, seconds: float) -> None:
        """In place of a retry's own sleep."""
        time.sleep(self._wait(seconds))

    async def asleep(self, seconds: float) -> None:
        """The same, awaited."""
        await asyncio.sleep(self._wait(seconds))

    def _wait(self, seconds: float) -> float:
        with self._lock:
            self.waits.append(seconds)
            self._answered = self._answered or self.now()
            self._skipped += max(0.0, seconds - REAL_WAIT)
        return min(seconds, REAL_WAIT)


class OpenChain(Chain):
    """The steps without gates, so that what lies behind a gate is reached; it knows which record is worked."""

    def run(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """See Chain."""
        with _working(record):
            return super().run(record, stage, before)

    async def run_async(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """See Chain."""
        with _working(record):
            return await super().run_async(record, stage, before)


@contextmanager
def _working(record: Any) -> Iterator[None]:
    token = _record.set(digest(record))
    try:
        yield
    finally:
        _record.reset(token)


def digest(record: Any) -> str:
    """A name for a record by its content."""
    return hashlib.sha256(text_of(record)).hexdigest()[:16]


def text_of(value: Any) -> bytes:
    """A value as bytes, to be measured and told from others."""
    try:
        return to_json(value)
    except (TypeError, ValueError):
        return _ADDRESS.sub("", repr(value)).encode(errors="backslashreplace")


def guard_of(step: Step) -> Any:
    """The guard around a step's function."""
    return step.call.attempt.__self__  # type: ignore[attr-defined]


def put(step: Step, answer: Callable[..., Any], fault: Fault | None) -> None:
    """Have ``step`` call ``answer`` for its own function, with ``fault`` before it."""
    guard = guard_of(step)
    if fault is None:
        guard._function = answer
        return
    guard._function = _faulty_async(answer, fault) if step.is_async else _faulty(answer, fault)
    guard._retry = replace(guard._retry, sleep=fault.sleep, asleep=fault.asleep)
    if guard._breaker is not None and guard._breaker.tripped:
        guard._breaker._close()


def _faulty(answer: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        found = fault.meet(args[0])
        if isinstance(found, Hang):
            time.sleep(found.seconds)
        elif found is not None:
            raise found
        return answer(*args, **kwargs)

    return call


def _faulty_async(answer: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    @functools.wraps(answer)
    async def call(*args: Any, **kwargs: Any) -> Any:
        found = fault.meet(args[0])
        if isinstance(found, Hang):
            await asyncio.sleep(found.seconds)
        elif found is not None:
            raise found
        return await answer(*args, **kwargs)

    return call


# Errors as the libraries raise them that the application has imported ------------------------------------------------


def http_error(status: int, text: str, headers: Mapping[str, str] | None = None) -> BaseException:
    """An answer with this status, as the error of the first of the known clients that is imported here."""
    headers = dict(headers or {})
    for client in ("anthropic", "openai"):
        if (module := sys.modules.get(client)) is not None and (error := _of_sdk(module, status, text, headers)):
            return error
    if (httpx := sys.modules.get("httpx")) is not None:
        response = httpx.Response(status, headers=headers, request=httpx.Request("POST", "https://model.invalid/"))
        error = httpx.HTTPStatusError(text, request=response.request, response=response)
        assert isinstance(error, BaseException)  # noqa: S101 - for the type checker
        return error
    if (requests := sys.modules.get("requests")) is not None:
        answer = requests.Response()
        answer.status_code = status
        answer.headers.update(headers)
        found: BaseException = requests.exceptions.HTTPError(text, response=answer)
        return found
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return urllib.error.HTTPError("https://model.invalid/", status, text, message, None)


def _of_sdk(module: Any, status: int, text: str, headers: Mapping[str, str]) -> BaseException | None:
    httpx = sys.modules.get("httpx")
    names = {400: "BadRequestError", 401: "AuthenticationError", 429: "RateLimitError"}
    kind = getattr(module, names.get(status, "InternalServerError"), None)
    if httpx is None or kind is None:
        return None
    response = httpx.Response(status, headers=headers, request=httpx.Request("POST", "https://model.invalid/"))
    error: BaseException = kind(text, response=response, body=None)
    return error


def passing(number: int) -> BaseException:
    """One of the errors that pass by themselves, in turn."""
    kinds: Sequence[Callable[[], BaseException]] = (
        lambda: ConnectionResetError(104, "Connection reset by peer (injected by a drill)"),
        lambda: http_error(503, "Service Unavailable (injected by a drill)"),
        lambda: TimeoutError("timed out (injected by a drill)"),
    )
    return kinds[number % len(kinds)]()
