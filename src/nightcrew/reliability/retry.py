"""Retries: of transient failures only, with full-jitter exponential backoff, within attempts and a total deadline."""

import asyncio
import random
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from nightcrew.reliability.failure import Failure

_waits = True
_AIRFLOW = "airflow.sdk.definitions.context"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that failed: its number from 1, why, and the seconds until the next."""

    number: int
    failure: Failure
    delay: float


@dataclass(frozen=True)
class Retry:
    """At most ``attempts`` tries in all, within ``deadline`` seconds in all (waiting included).

    Before try n + 1 it waits a random time up to ``base * 2**(n - 1)`` seconds, at most ``cap`` (full jitter:
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), and never less than the service's
    Retry-After; if that would pass the deadline, it gives up at once. ``on_retry`` is called before each wait.

    Retries do not multiply: within a guard that retries, or within a task of Prefect or Airflow that has retries of its
    own, a guard tries once and leaves it to the outer one, unless ``nested``.
    """

    attempts: int = 3
    base: float = 0.2
    cap: float = 20.0
    deadline: float = 60.0
    on_retry: Callable[[Attempt], None] | None = None
    nested: bool = False
    rng: random.Random = field(default_factory=random.Random, compare=False, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False, repr=False)
    asleep: Callable[[float], Awaitable[Any]] = field(default=asyncio.sleep, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base < 0 or self.cap < 0 or self.deadline <= 0:
            raise ValueError("a Retry has attempts of at least 1, base and cap of at least 0 and a deadline above 0")

    def delay(self, number: int, retry_after: float | None = None) -> float:
        """Seconds to wait after try ``number`` (from 1) failed."""
        ceiling = min(self.cap, self.base * 2.0 ** min(number - 1, 60))
        return max(self.rng.uniform(0, ceiling), retry_after or 0.0)

    def next_delay(self, number: int, failure: Failure, elapsed: float) -> float | None:
        """Seconds to wait before the next try, None if there is to be none."""
        if not failure.kind.transient or number >= self.attempts:
            return None
        wait = self.delay(number, failure.retry_after)
        if elapsed + wait > self.deadline:
            return None
        if self.on_retry is not None:
            try:
                self.on_retry(Attempt(number, failure, wait))
            except Exception as error:  # Who is told of a retry cannot stop it.
                warnings.warn(f"on_retry failed: {type(error).__name__}: {error}", stacklevel=2)
        return wait if _waits else 0.0


NO_RETRY = Retry(attempts=1)

retrying: ContextVar[bool] = ContextVar("nightcrew_retrying", default=False)
"""Whether a guard around this call retries."""


def others_retry() -> bool:
    """Whether something around this call retries already: an outer guard, a task of Prefect or Airflow."""
    if retrying.get():
        return True
    return ("prefect" in sys.modules and _prefect_retries()) or (_AIRFLOW in sys.modules and _airflow_retries())


def _prefect_retries() -> bool:
    context = sys.modules.get("prefect.context")
    found = context.TaskRunContext.get() if context is not None else None
    return bool(found is not None and getattr(found.task, "retries", 0))


def _airflow_retries() -> bool:
    try:
        context = sys.modules[_AIRFLOW].get_current_context()
    except RuntimeError:  # No task is running.
        return False
    return bool(getattr(context.get("ti"), "max_tries", 0))


@contextmanager
def no_waits() -> Iterator[None]:
    """Retries do not wait within it: for tests of code that is guarded."""
    global _waits
    before, _waits = _waits, False
    try:
        yield
    finally:
        _waits = before
