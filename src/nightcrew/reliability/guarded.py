"""What a guarded call goes through: contract, breaker, timeout, retry, fallbacks, contract of results, gate."""

import asyncio
import inspect
import warnings
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Generic, NamedTuple, NoReturn, ParamSpec, TypeVar

from nightcrew.reliability.breaker import Breaker
from nightcrew.reliability.contract import Contract
from nightcrew.reliability.errors import (
    BreakerOpenError,
    CallTimeoutError,
    ContractError,
    RetriesExhaustedError,
    ReviewNeededError,
)
from nightcrew.reliability.failure import Failure, FailureClass, classify
from nightcrew.reliability.fallback import Fallback, truncate_to
from nightcrew.reliability.gate import Gate
from nightcrew.reliability.observe import Observation
from nightcrew.reliability.result import Partial, Prediction, Result
from nightcrew.reliability.retry import NO_RETRY, Retry, others_retry, retrying
from nightcrew.reliability.timeout import call_within

P = ParamSpec("P")
T = TypeVar("T")
Observer = Callable[[Observation], None]
Shrink = Callable[[Any], tuple[Any, str]]
"""Gives a shorter first argument and the notice of what was left out."""

_PLAIN = frozenset({int, float, str, bool, bytes, list, tuple, set, type(None)})


class _Level(NamedTuple):
    name: str
    function: Callable[..., Any]
    is_async: bool


class _Flow:
    """One guarded call that did not simply succeed: what has happened to it."""

    __slots__ = ("attempts", "began", "error", "failure", "level", "notice", "retry", "shrunk")

    def __init__(self, began: float, retry: Retry) -> None:
        self.began = began
        self.retry = retry
        self.attempts = 0
        self.level = 0
        self.failure: Failure | None = None
        self.error: BaseException | None = None
        self.notice = ""
        self.shrunk = False


class _Guard(Generic[P, T]):
    """What sync and async guards have in common."""

    is_async = False

    def __init__(
        self,
        function: Callable[P, T],
        *,
        contract: Any,
        returns: Any,
        retry: Retry | None,
        breaker: Breaker | str | None,
        timeout: float | None,
        fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None,
        gate: Callable[..., str | None] | Gate | None,
        truncate: int | Shrink | None,
        observe: Observer | None,
        name: str | None,
    ) -> None:
        if timeout is not None and timeout <= 0:
            raise ValueError("a timeout is above 0 seconds")
        self._function = function
        self._made_by = name_of(function)
        self.name: str = name or str(getattr(function, "__qualname__", self._made_by))
        self._contract = None if contract is None else Contract.of(contract).validate
        self._returns = None if returns is None else Contract.of(returns).validate
        self._first = None if contract is None else _first_parameter(function)
        self._retry = retry or NO_RETRY
        self._breaker = Breaker.named(breaker) if isinstance(breaker, str) else breaker
        self._timeout = timeout
        self._levels = [_Level(name_of(level), level, is_async(level)) for level in Fallback.of(fallback)]
        if not self.is_async and (wrong := [level.name for level in self._levels if level.is_async]):
            raise ValueError(f"{wrong[0]} is async: it cannot be the fallback of a function that is not")
        self._gate = gate if isinstance(gate, Gate) or gate is None else Gate(gate)
        self._shrink: Shrink | None = _by_limit(truncate) if isinstance(truncate, int) else truncate
        self._observe = observe
        self._announces = self._retry.attempts > 1

    # From a value to a result ---------------------------------------------------------------------------------------

    def _finish(
        self, value: Any, arguments: tuple[Any, ...], began: float, flow: _Flow | None, made_by: str
    ) -> Result[Any]:
        """The result of a value; raises ContractError if the contract of results refuses it."""
        kind = type(value)
        confidence = None
        status: Any = "accepted"
        reason = notice = ""
        level, attempts, failure = 0, 1, None
        if kind is Partial:
            status, notice, value = "partial", value.notice, value.value
            kind = type(value)
        if kind not in _PLAIN:
            confidence = _confidence(value)
        if self._returns is not None:
            if kind is Prediction:
                value.value = self._returns(value.value)
            else:
                value = self._returns(value)
        if flow is not None:
            level, attempts, failure = flow.level, flow.attempts, flow.failure if flow.level else None
            if level:
                status = "fallback"
                reason = f"{self._made_by}: {failure.message}" if failure is not None else ""
            if flow.notice:
                notice = f"{flow.notice}; {notice}" if notice else flow.notice
                status = "fallback" if level else "partial"
        if self._gate is not None:
            held = self._gate.check(arguments[0] if arguments else None, value, confidence)
            if held is not None:
                status, reason = "review", held
        seconds = perf_counter() - began
        if self._observe is not None:
            seen = None if failure is None else failure.kind.value
            self._tell(Observation(self.name, seconds, status, level, attempts, seen, confidence))
        return Result(value, status, level, made_by, reason, attempts, confidence, failure, notice, seconds)

    def _tell(self, seen: Observation) -> None:
        """Who observes a call cannot change what it came to."""
        assert self._observe is not None  # noqa: S101 - the caller looked
        try:
            self._observe(seen)
        except Exception as error:
            warnings.warn(f"the observer of {self.name} failed: {type(error).__name__}: {error}", stacklevel=2)

    def _failed(self, flow: _Flow) -> Result[Any]:
        failure = flow.failure or Failure(FailureClass.BUG, "unknown", "no level was tried")
        seconds = perf_counter() - flow.began
        if self._observe is not None:
            self._tell(Observation(self.name, seconds, "failed", flow.level, flow.attempts, failure.kind.value, None))
        result: Result[Any] = Result(
            None, "failed", flow.level, self._made_by, failure.message, flow.attempts, None, failure, "", seconds
        )
        result.error = self._to_raise(flow, failure)
        return result

    def _to_raise(self, flow: _Flow, failure: Failure) -> BaseException | None:
        if failure.kind.transient and flow.retry.attempts > 1 and flow.error is not None:
            error = RetriesExhaustedError(
                f"{self.name} failed {flow.attempts} times; at last: {failure.message}", failure=failure
            )
            error.__cause__ = flow.error
            return error
        return flow.error

    # What to do about an error --------------------------------------------------------------------------------------

    def _begin(self, began: float, error: Exception) -> _Flow:
        flow = _Flow(began, self._own_retry())
        flow.attempts = 1
        self._note(flow, error)
        return flow

    def _own_retry(self) -> Retry:
        own = self._retry
        return NO_RETRY if own.attempts > 1 and not own.nested and others_retry() else own

    def _note(self, flow: _Flow, error: Exception) -> None:
        flow.error = error
        failure = classify(error)
        if flow.level == 0 or flow.failure is None:
            flow.failure = failure  # What a result says is why the first level failed.
        breaker = self._breaker
        if breaker is not None and flow.level == 0 and not isinstance(error, BreakerOpenError):
            if failure.kind.transient:
                breaker.failed()
            else:
                breaker.succeeded()  # It answered.

    def _again_after(self, flow: _Flow) -> float | None:
        failure = flow.failure
        if failure is None or isinstance(flow.error, BreakerOpenError):
            return None
        return flow.retry.next_delay(flow.attempts, failure, perf_counter() - flow.began)

    def _shorter(self, flow: _Flow, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Arguments that fit, once, where the input was too long for the model."""
        failure = flow.failure
        if self._shrink is None or flow.shrunk or failure is None or failure.kind is not FailureClass.CONTEXT_LENGTH:
            return None
        flow.shrunk = True
        try:
            first, notice = self._shrink(arguments[0])
        except Exception as error:
            flow.error = error
            return None
        flow.notice = notice
        return (first, *arguments[1:])

    def _let_through(self) -> None:
        breaker = self._breaker
        if breaker is not None and breaker.tripped and not breaker.allow():
            wait = breaker.retry_after()
            raise BreakerOpenError(
                f"the breaker {breaker.name or self.name} is open for {wait:.0f} more seconds", retry_after=wait
            )

    def _refused(self, error: ContractError, began: float) -> Result[Any]:
        """The result for an input that breaks its contract: no level is asked."""
        flow = _Flow(began, NO_RETRY)
        flow.error, flow.failure = error, classify(error)
        return self._failed(flow)


class Guarded(_Guard[P, T]):
    """A guarded function. Called like the function itself it gives the value or raises.

    What :func:`guard` gives is a true function with these methods.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The value. Raises what the function raised last if that is permanent, RetriesExhaustedError, ContractError,
        ReviewNeededError if a gate holds it."""  # noqa: D205, D209
        result = self.result(*args, **kwargs)
        return value_of(result)  # type: ignore[no-any-return]

    def result(self, *args: P.args, **kwargs: P.kwargs) -> Result[T]:
        """What the call came to, whatever happened."""
        if self._contract is not None and args:
            began = perf_counter()
            try:
                first = self._contract(args[0])
            except ContractError as error:
                return self._refused(error, began)
            args = (first, *args[1:])  # type: ignore[assignment]
        elif self._contract is not None and self._first in kwargs:
            began = perf_counter()
            try:
                kwargs[self._first] = self._contract(kwargs[self._first])  # type: ignore[index]
            except ContractError as error:
                return self._refused(error, began)
        return self.attempt(*args, **kwargs)

    def attempt(self, *args: Any, **kwargs: Any) -> Result[Any]:
        """As ``result``, for a first argument that satisfies its contract already."""
        began = perf_counter()
        try:
            value = self._call(args, kwargs)
            return self._finish(value, args, began, None, self._made_by)
        except Exception as error:
            return self._recover(self._begin(began, error), args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        breaker = self._breaker
        if breaker is not None and breaker.tripped:
            self._let_through()
        token = retrying.set(True) if self._announces and not retrying.get() else None
        try:
            if self._timeout is None:
                value = self._function(*args, **kwargs)
            else:
                value = call_within(self._timeout, self._function, args, kwargs)
        finally:
            if token is not None:
                retrying.reset(token)
        if breaker is not None and breaker.tripped:
            breaker.succeeded()
        return value

    def _recover(self, flow: _Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result[Any]:
        while (wait := self._again_after(flow)) is not None:
            flow.retry.sleep(wait)
            if (result := self._try(flow, args, kwargs)) is not None:
                return result
        shorter = self._shorter(flow, args)
        if shorter is not None and (result := self._try(flow, shorter, kwargs)) is not None:
            return result
        flow.notice = ""
        for number, level in enumerate(self._levels, 1):
            flow.level = number
            flow.attempts += 1
            try:
                return self._finish(level.function(*args, **kwargs), args, flow.began, flow, level.name)
            except Exception as error:
                self._note(flow, error)
        return self._failed(flow)

    def _try(self, flow: _Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result[Any] | None:
        flow.attempts += 1
        try:
            return self._finish(self._call(args, kwargs), args, flow.began, flow, self._made_by)
        except Exception as error:
            self._note(flow, error)
            return None


class AsyncGuarded(_Guard[P, Awaitable[T]], Generic[P, T]):
    """A guarded async function: the same, to be awaited."""

    is_async = True

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The value. Raises what the function raised last if that is permanent, RetriesExhaustedError, ContractError,
        ReviewNeededError if a gate holds it."""  # noqa: D205, D209
        return value_of(await self.result(*args, **kwargs))  # type: ignore[no-any-return]

    async def result(self, *args: P.args, **kwargs: P.kwargs) -> Result[T]:
        """What the call came to, whatever happened; only a cancellation passes."""
        if self._contract is not None and args:
            began = perf_counter()
            try:
                first = self._contract(args[0])
            except ContractError as error:
                return self._refused(error, began)
            args = (first, *args[1:])  # type: ignore[assignment]
        elif self._contract is not None and self._first in kwargs:
            began = perf_counter()
            try:
                kwargs[self._first] = self._contract(kwargs[self._first])  # type: ignore[index]
            except ContractError as error:
                return self._refused(error, began)
        return await self.attempt(*args, **kwargs)

    async def attempt(self, *args: Any, **kwargs: Any) -> Result[Any]:
        """As ``result``, for a first argument that satisfies its contract already."""
        began = perf_counter()
        try:
            value = await self._call(args, kwargs)
            return self._finish(value, args, began, None, self._made_by)
        except Exception as error:
            return await self._recover(self._begin(began, error), args, kwargs)

    async def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        breaker = self._breaker
        if breaker is not None and breaker.tripped:
            self._let_through()
        token = retrying.set(True) if self._announces and not retrying.get() else None
        try:
            if self._timeout is None:
                value = await self._function(*args, **kwargs)
            else:
                value = await self._within(args, kwargs)
        finally:
            if token is not None:
                retrying.reset(token)
        if breaker is not None and breaker.tripped:
            breaker.succeeded()
        return value

    async def _within(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return await self._function(*args, **kwargs)
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallTimeoutError(f"{self._made_by} did not end within {self._timeout:g} seconds") from None

    async def _recover(self, flow: _Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result[Any]:
        while (wait := self._again_after(flow)) is not None:
            await flow.retry.asleep(wait)
            if (result := await self._try(flow, args, kwargs)) is not None:
                return result
        shorter = self._shorter(flow, args)
        if shorter is not None and (result := await self._try(flow, shorter, kwargs)) is not None:
            return result
        flow.notice = ""
        for number, level in enumerate(self._levels, 1):
            flow.level = number
            flow.attempts += 1
            try:
                value = level.function(*args, **kwargs)
                if level.is_async:
                    value = await value
                return self._finish(value, args, flow.began, flow, level.name)
            except Exception as error:
                self._note(flow, error)
        return self._failed(flow)

    async def _try(self, flow: _Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result[Any] | None:
        flow.attempts += 1
        try:
            return self._finish(await self._call(args, kwargs), args, flow.began, flow, self._made_by)
        except Exception as error:
            self._note(flow, error)
            return None


def _first_parameter(function: Callable[..., Any]) -> str | None:
    """The name of the first parameter, which a caller may give by name."""
    try:
        return next(iter(inspect.signature(function).parameters), None)
    except (TypeError, ValueError):
        return None


def value_of(result: Result[Any]) -> Any:
    """The value of a result, or what a plain call raises in its place."""
    if result.status == "failed":
        _raise(result)
    if result.status == "review":
        raise ReviewNeededError(f"{result.made_by}: a person must look first: {result.reason}", result=result)
    return result.value


def _raise(result: Result[Any]) -> NoReturn:
    if result.error is None:
        raise RetriesExhaustedError(result.reason, failure=result.failure)
    raise result.error


def _confidence(value: Any) -> float | None:
    """The confidence that a value carries. Raises ContractError if it is no number in 0..1."""
    found = value.get("confidence") if isinstance(value, dict) else getattr(value, "confidence", None)
    if found is None:
        return None
    try:
        number = float(found)
    except (TypeError, ValueError):
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise ContractError(f"the confidence is {found!r:.40}, not a number from 0 to 1", problems=("confidence",))
    return number


def _by_limit(limit: int) -> Shrink:
    def shrink(first: Any) -> tuple[Any, str]:
        if not isinstance(first, str):
            raise TypeError("truncate=LIMIT needs a text as the first argument; give a function for anything else")
        cut = truncate_to(first, limit)
        return cut.text, cut.notice or ""

    return shrink


def name_of(function: Callable[..., Any]) -> str:
    """The name of a callable."""
    return str(getattr(function, "__name__", type(function).__name__))


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
