"""Guards for calls that have none: on the function that makes the call, where that is safe to propose."""

import ast
from collections.abc import Callable
from pathlib import Path

from nightcrew.readiness.calls import ExternalCall
from nightcrew.readiness.calls.scopes import decorator_names
from nightcrew.readiness.propose.editing import Source

_REPEATABLE = frozenset(("get", "head", "options", "urlopen", "getaddrinfo", "gethostbyname", "create_connection"))
_RETRYING = "@{nc}.guard\n"
_ONCE = "@{nc}.guard(retry=None)  # nobody knows whether it may be done twice: if so, retry={nc}.Retry()\n"

Opened = Callable[[Path], Source | None]


def propose_guards(calls: list[ExternalCall], root: Path, opened: Opened) -> list[str]:
    """Put guards into the sources that ``opened`` gives; says of each call that gets none, why.

    Tried again is a function whose only external call reads, or asks a model; others get a guard without retries.
    """
    notes: list[str] = []
    by_function: dict[tuple[str, str], list[ExternalCall]] = {}
    for call in calls:
        by_function.setdefault((call.path, call.function), []).append(call)
    for (path, name), theirs in by_function.items():
        source = opened(root / path)
        node = _function(source.tree, name, theirs[0].line) if source is not None else None
        reason = "its file cannot be changed" if source is None else _reason_not_to(node, name)
        if source is None or node is None or reason:
            notes += [f"{call.place}: {call.what}: no guard proposed: {reason}" for call in theirs]
            continue
        once = len(theirs) > 1 or not _repeatable(theirs[0])
        text = (_ONCE if once else _RETRYING).format(nc=source.nightcrew())
        source.insert_before_line(node.lineno, " " * node.col_offset + text)
    return notes


def _repeatable(call: ExternalCall) -> bool:
    last = call.what.rpartition(".")[2]
    return call.kind == "model" or (call.kind in ("http", "network") and last in _REPEATABLE)


def _function(tree: ast.Module, name: str, line: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The function with this qualified name around a line."""
    inside: ast.AST = tree
    for part in name.split(".") if name else ():
        found = [
            node
            for node in ast.walk(inside)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == part
            and node.lineno <= line <= (node.end_lineno or 0)
        ]
        if not found:
            return None
        inside = found[0]
    return inside if isinstance(inside, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _reason_not_to(node: ast.FunctionDef | ast.AsyncFunctionDef | None, name: str) -> str:
    if node is None:
        return "it stands in no function; put it into one"
    if node.name.startswith("__") and node.name.endswith("__"):
        return f"Python itself calls {name}; move the call into a method of its own"
    names = set(decorator_names(node))
    if names & {"property", "cached_property", "contextmanager", "asynccontextmanager", "classmethod", "staticmethod"}:
        return f"{name} is a {sorted(names)[0]}; move the call into a function of its own"
    if "step" in names:
        return f"{name} is a step, which its pipeline guards; what calls it by its name goes around that"
    if "gate" in names:
        return f"{name} is a gate, which may not depend on others; do it in a step before"
    if _yields(node):
        return f"{name} gives its values one by one; move the call into a function of its own"
    return ""


def _yields(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(one))
    return False
