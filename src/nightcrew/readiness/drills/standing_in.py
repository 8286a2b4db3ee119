"""In the child: what answers for a step's function in the copy: itself, else its fallback, else a value of its type."""

import asyncio
import copy
import typing
from collections.abc import Callable, Sequence
from typing import Any

from nightcrew.pipeline.chain import Step
from nightcrew.pipeline.loops import run_to_end
from nightcrew.readiness.drills.injecting import guard_of
from nightcrew.readiness.drills.samples import value_for
from nightcrew.reliability.guarded import is_async, name_of
from nightcrew.reliability.result import Partial, Prediction
from nightcrew.reliability.timeout import call_within

_PATIENCE = 5.0
_SAID = 90
_PLAIN: dict[Any, Any] = {str: "a stand-in of the drill", int: 1, float: 1.0, bool: True, dict: {}, list: []}


class NoAnswer(Exception):
    """A step can be made to answer by nothing; the message says why."""


class Answering(typing.NamedTuple):
    """What answers for a step: the function, who it is in words (empty: the step itself), and what it gave."""

    function: Callable[..., Any]
    stood_in: str
    values: list[Any]
    fits: list[bool]
    """Which of the records it could answer for."""


def answering(step: Step, arguments: Sequence[tuple[Any, ...]]) -> Answering:
    """Find what answers for ``step``, called with each of ``arguments``. Raises NoAnswer."""
    guard = guard_of(step)
    original = guard._function
    tries = [_tried(original, given) for given in arguments]
    if any(fits for fits, _ in tries):
        return Answering(original, "", [value for _, value in tries], [fits for fits, _ in tries])
    problem = tries[0][1] if tries else "no record"
    for level in guard._levels:
        others = [_tried(level.function, given) for given in arguments]
        if any(fits for fits, _ in others):
            function = level.function
            if step.is_async and not level.is_async:
                function = _as_async(function)
            said = f"{step.name} was answered by its fallback {name_of(level.function)} ({problem})"
            return Answering(function, said, [value for _, value in others], [fits for fits, _ in others])
    value = _of_its_type(guard, original, step.name, problem)
    said = f"{step.name} was answered by a made-up {type(value).__name__} ({problem})"
    return Answering(_constant(value, step.is_async), said, [value] * len(arguments), [True] * len(arguments))


def _tried(function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether it answers, and what; else the problem in a few words. It is given copies: it may change them."""
    given = tuple(_copied(one) for one in given)
    try:
        if is_async(function):
            value = run_to_end(asyncio.wait_for(function(*given), _PATIENCE))
        else:
            value = call_within(_PATIENCE, function, given, {})
    except Exception as error:
        said = " ".join(str(error).split())
        said = said if len(said) <= _SAID else said[: _SAID - 1] + "…"
        return False, f"{type(error).__name__}: {said}" if said else type(error).__name__
    return True, value.value if isinstance(value, Partial) else value


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # It holds what cannot be copied: a connection, a lock.
        return value


def _of_its_type(guard: Any, original: Callable[..., Any], name: str, problem: str) -> Any:
    if guard._returns is not None:
        try:
            return value_for(guard._returns.__self__)
        except Exception as error:
            raise NoAnswer(f"{name} cannot answer here ({problem}), and no value fits its contract: {error}") from None
    try:
        kind = typing.get_type_hints(original).get("return")
    except Exception:  # An annotation that cannot be resolved says nothing.
        kind = None
    if kind is Prediction:
        return Prediction(_PLAIN[str], 1.0)
    plain = typing.get_origin(kind) or kind
    if plain in _PLAIN:
        return copy.copy(_PLAIN[plain])
    try:
        if kind is not None and kind is not Any:
            return value_for(kind)
    except Exception:  # noqa: S110 - it is the last thing to try, and the reason is told below
        pass
    raise NoAnswer(f"{name} cannot answer here ({problem}), has no fallback, and does not say what it returns")


def _constant(value: Any, as_async: bool) -> Callable[..., Any]:
    def stand_in(*_args: Any) -> Any:
        return copy.deepcopy(value)

    return _as_async(stand_in) if as_async else stand_in


def _as_async(function: Callable[..., Any]) -> Callable[..., Any]:
    async def stand_in(*args: Any) -> Any:
        return function(*args)

    return stand_in
