"""The guard: contract in, breaker, timeout, retry, fallbacks, contract out, gate and one observation around a call."""

import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, overload

from nightcrew.reliability.breaker import Breaker
from nightcrew.reliability.fallback import Fallback
from nightcrew.reliability.gate import Gate
from nightcrew.reliability.guarded import AsyncGuarded, Guarded, Observer, P, Shrink, T, is_async, name_of, value_of
from nightcrew.reliability.retry import Retry


@overload
def guard(function: Callable[P, T], /) -> Guarded[P, T]: ...
@overload
def guard(
    function: Callable[P, T],
    /,
    *,
    contract: Any = None,
    returns: Any = None,
    retry: Retry | None = ...,
    breaker: Breaker | str | None = None,
    timeout: float | None = None,
    fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None = None,
    gate: Callable[..., str | None] | Gate | None = None,
    truncate: int | Shrink | None = None,
    observe: Observer | None = None,
    name: str | None = None,
) -> Guarded[P, T]: ...
@overload
def guard(
    *,
    contract: Any = None,
    returns: Any = None,
    retry: Retry | None = ...,
    breaker: Breaker | str | None = None,
    timeout: float | None = None,
    fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None = None,
    gate: Callable[..., str | None] | Gate | None = None,
    truncate: int | Shrink | None = None,
    observe: Observer | None = None,
    name: str | None = None,
) -> Callable[[Callable[P, T]], Guarded[P, T]]: ...
def guard(
    function: Callable[..., Any] | None = None,
    /,
    *,
    contract: Any = None,
    returns: Any = None,
    retry: Retry | None = Retry(),  # noqa: B008 - frozen
    breaker: Breaker | str | None = None,
    timeout: float | None = None,
    fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None = None,
    gate: Callable[..., str | None] | Gate | None = None,
    truncate: int | Shrink | None = None,
    observe: Observer | None = None,
    name: str | None = None,
) -> Any:
    """Guard a function, sync or async; as a decorator with or without options.

    ``contract`` is the schema of the first positional argument, which is then given as the schema has it (a model's
    instance); ``returns`` that of the value. ``retry`` is for transient failures (None: none); ``breaker`` a Breaker or
    the name of a shared one; ``timeout`` seconds for each try. ``fallback`` are later levels, tried when the function
    has failed for good. ``gate`` holds a value until a person has looked. ``truncate`` is a limit in tokens (or a
    function that gives a shorter first argument and a notice) for one more try where the input was too long.
    ``observe`` is called once with an Observation.
    """
    options: dict[str, Any] = {
        "contract": contract,
        "returns": returns,
        "retry": retry,
        "breaker": breaker,
        "timeout": timeout,
        "fallback": fallback,
        "gate": gate,
        "truncate": truncate,
        "observe": observe,
        "name": name,
    }

    def wrap(plain: Callable[..., Any]) -> Any:
        return _as_function(AsyncGuarded(plain, **options) if is_async(plain) else Guarded(plain, **options), plain)

    return wrap if function is None else wrap(function)


def _as_function(guarded: "Guarded[..., Any] | AsyncGuarded[..., Any]", plain: Callable[..., Any]) -> Any:
    """A true function, which orchestrators and web frameworks look for, with the guard's methods on it."""
    function: Any
    if isinstance(guarded, AsyncGuarded):
        result_async = guarded.result

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return value_of(await result_async(*args, **kwargs))

        function = call_async
    else:
        result = guarded.result

        def call(*args: Any, **kwargs: Any) -> Any:
            return value_of(result(*args, **kwargs))

        function = call
    functools.update_wrapper(function, plain)
    function.result, function.attempt, function.name = guarded.result, guarded.attempt, guarded.name
    return function


@overload
def production(function: Callable[P, T], /) -> Guarded[P, T]: ...
@overload
def production(
    *,
    contract: Any = None,
    returns: Any = None,
    retry: Retry | None = ...,
    timeout: float | None = None,
    fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None = None,
    gate: Callable[..., str | None] | Gate | None = None,
    truncate: int | Shrink | None = None,
    observe: Observer | None = None,
) -> Callable[[Callable[P, T]], Guarded[P, T]]: ...
def production(
    function: Callable[..., Any] | None = None,
    /,
    *,
    contract: Any = None,
    returns: Any = None,
    retry: Retry | None = Retry(),  # noqa: B008 - frozen
    timeout: float | None = None,
    fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None = None,
    gate: Callable[..., str | None] | Gate | None = None,
    truncate: int | Shrink | None = None,
    observe: Observer | None = None,
) -> Any:
    """One function made fit for a service, or for a cell that others run: a guard with everything on.

    As :func:`guard`, with a breaker of the function's own name, and, where the first parameter is annotated with a
    pydantic model, a dataclass or a TypedDict, that as the contract.
    """

    def wrap(plain: Callable[..., Any]) -> Any:
        return guard(
            plain,
            contract=_annotated(plain) if contract is None else contract,
            returns=returns,
            retry=retry,
            breaker=f"{plain.__module__}.{name_of(plain)}",
            timeout=timeout,
            fallback=fallback,
            gate=gate,
            truncate=truncate,
            observe=observe,
        )

    return wrap if function is None else wrap(function)


def _annotated(function: Callable[..., Any]) -> Any:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # An annotation that cannot be resolved is no contract.
        return None
    first = next(iter(inspect.signature(function).parameters), None)
    kind = hints.get(first) if first is not None else None
    is_schema = any(hasattr(kind, mark) for mark in ("model_fields", "__dataclass_fields__", "__required_keys__"))
    return kind if is_schema else None
