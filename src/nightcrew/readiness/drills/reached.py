"""In the child: which external calls a step comes to, through the functions of the application that it names."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from nightcrew.readiness.calls import ExternalCall, find_calls, own_files

_INNER = ("guard", "production", "tenacity", "backoff")
"""Guards that retry by themselves within a step."""


def calls_of(
    functions: Iterable[tuple[str, Callable[..., Any]]], entry: Path, root: Path
) -> dict[str, list[dict[str, Any]]]:
    """The calls that leave the process, or ask a model, by the name of the step that comes to them."""
    found = find_calls(root, own_files(entry), entry=entry).found
    by_function: dict[tuple[str, str], list[ExternalCall]] = {}
    for call in found:
        by_function.setdefault((call.path, call.function), []).append(call)
    calls = {}
    for name, function in functions:
        places = dict.fromkeys(_reached(function, root.resolve(), set()))
        calls[name] = [_told(call) for place in places for call in by_function.get(place, ())]
    return calls


def _told(call: ExternalCall) -> dict[str, Any]:
    inner = any(mark in call.guarded_by for mark in _INNER)
    return {
        "place": call.place, "what": call.what, "kind": call.kind, "external": call.external, "retried_inside": inner,
    }  # fmt: skip


def _reached(function: Any, root: Path, seen: set[CodeType]) -> Iterator[tuple[str, str]]:
    """File and qualified name of each function that is reached; of methods, by their names."""
    while isinstance(function, partial | MethodType):
        function = function.func if isinstance(function, partial) else function.__func__
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if not isinstance(function, FunctionType) or code is None or code in seen:
        return
    path = Path(code.co_filename)
    if not path.is_absolute():
        path = Path.cwd() / path
    path = path.resolve()
    if not path.is_relative_to(root):
        return
    seen.add(code)
    yield path.relative_to(root).as_posix(), code.co_qualname.replace(".<locals>", "")
    names = set(_names(code))
    for name in names:
        for value in _named(function.__globals__.get(name), names):
            yield from _reached(value, root, seen)
    for value in inspect.getclosurevars(function).nonlocals.values():
        for inner in _named(value, names):
            yield from _reached(inner, root, seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _named(value: Any, names: set[str]) -> Iterator[Any]:
    """A function; of a module, a class or an object, the functions whose names occur too."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, ModuleType):
        yield from (inner for name in names if isinstance(inner := value.__dict__.get(name), FunctionType))
    elif value is not None and not isinstance(value, str | int | float | bytes | bool | list | dict | tuple):
        kind = value if isinstance(value, type) else type(value)
        wanted = names | {"__init__", "__call__"}
        yield from (
            inner for name in wanted if isinstance(inner := inspect.getattr_static(kind, name, None), FunctionType)
        )
