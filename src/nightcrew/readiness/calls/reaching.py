"""Which functions are reached through guards only, and how the others are reached without one.

A function is taken to be guarded only if a guard reaches it and nothing that can be seen reaches it without: not the
top of a module, a decorator that hands it to somebody, a caller of which nothing is known, or one that is not guarded.
"""

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from nightcrew.readiness.calls.scopes import Scope
from nightcrew.readiness.calls.values import Library, Values
from nightcrew.readiness.calls.walking import MAIN, Edge, Guard, Seen, Unit

_OF_BUILTINS = frozenset(
    name for kind in (dict, list, set, str, bytes, tuple, int) for name in dir(kind) if not name.startswith("_")
) | {"read", "write", "close", "open", "flush", "seek", "readline", "readlines", "result", "cancel", "done", "group"}
"""A call of such a method of who knows what says nothing about a class of these files."""

_HOPS = 2
"""How many callers a reason names before it leaves out those in the middle."""


class Reached:
    """Answers for a function whether it is guarded, and for one that is not, why."""

    def __init__(
        self, seen: Seen, functions: Iterable[Scope], values: Values, entry: Path | None, shown: Callable[[Path], str]
    ) -> None:
        self._seen = seen
        self._entry = entry
        self._shown = shown
        functions = list(functions)
        self._ways = self._all_ways(functions, values)
        self._why: dict[Scope, str] = {}
        self._from: dict[Scope, tuple[Scope, Edge]] = {}
        self._guards: dict[Scope, Guard] = dict(seen.replaced)
        self._reach_without(functions)
        self._reach_guarded()

    def guard(self, unit: Unit) -> Guard | None:
        """The guard of the code of a unit; None if it has none."""
        scope = unit.scope
        if scope.kind == "module" or (scope not in self._seen.replaced and scope in self._why):
            return None
        return self._guards.get(scope)

    def why(self, unit: Unit) -> str:
        """How the code of a unit is reached without a guard."""
        if unit.scope.kind == "module":
            return "runs when the file is run" if unit.part == MAIN else "runs when the module is imported"
        hops, scope = [], unit.scope
        while scope in self._from:
            caller, edge = self._from[scope]
            hops.append(self._said(edge, f"called by {caller.name}"))
            scope = caller
        left_out = [f"{len(hops) - _HOPS} more between"] if len(hops) > _HOPS else []
        return "; ".join(
            [*hops[:_HOPS], *left_out, self._why.get(scope, "only functions that nothing calls lead to it")]
        )

    def _all_ways(self, functions: list[Scope], values: Values) -> dict[Scope, list[Edge]]:
        ways = {scope: list(edges) for scope, edges in self._seen.edges.items()}
        for scope in functions:
            if scope.parent is None or scope.parent.kind != "class":
                continue
            name = scope.name.rpartition(".")[2]
            if name not in _OF_BUILTINS and not name.startswith("__"):
                ways.setdefault(scope, []).extend(self._seen.called_by_name.get(name, ()))
            for base in values.ancestry(scope.parent):  # A call of a base's method may be one of this.
                if isinstance(base, Library) or base is scope.parent:
                    continue
                for binding in base.bindings.get(name, ()):
                    if binding.target is not None:
                        ways.setdefault(scope, []).extend(self._seen.edges.get(binding.target, ()))
        return {
            scope: [edge for edge in edges if self._counts(edge)] for scope, edges in ways.items()
        }  # sure ones first

    def _counts(self, edge: Edge) -> bool:
        """Whether a way can be taken: what stands under ``if __name__`` in a module that is imported is not run."""
        return edge.caller.part != MAIN or self._entry is None or edge.caller.scope.path == self._entry

    def _reach_without(self, functions: list[Scope]) -> None:
        calls: dict[Scope, list[tuple[Scope, Edge]]] = {}
        waiting: deque[Scope] = deque()
        for scope in functions:
            if scope in self._seen.replaced:
                continue
            ways = [edge for edge in self._ways.get(scope, ()) if edge.caller.scope is not scope]
            self._why_root(scope, ways)
            if scope in self._why:
                waiting.append(scope)
            for edge in ways:
                if edge.guard is None and edge.caller.scope.kind == "function":
                    calls.setdefault(edge.caller.scope, []).append((scope, edge))
        while waiting:
            caller = waiting.popleft()
            for scope, edge in calls.get(caller, ()):
                if scope not in self._why:
                    self._from[scope] = (caller, edge)
                    self._why[scope] = ""
                    waiting.append(scope)

    def _why_root(self, scope: Scope, ways: list[Edge]) -> None:
        if scope in self._seen.registered:
            self._why[scope] = f"{scope.name} is handed to @{self._seen.registered[scope]}"
        elif not ways and scope not in self._seen.steps:
            self._why[scope] = f"nothing in these files calls {scope.name}"
        for edge in ways:
            if edge.guard is None and edge.caller.scope.kind == "module" and scope not in self._why:
                self._why[scope] = self._said(edge, f"{scope.name} is called")

    def _reach_guarded(self) -> None:
        inner: dict[Scope, list[Scope]] = {}
        self._guards.update(self._seen.steps)
        for scope, ways in self._ways.items():
            for edge in ways:
                if edge.guard is not None:
                    self._guards.setdefault(scope, edge.guard)
                elif edge.caller.scope.kind == "function":
                    inner.setdefault(edge.caller.scope, []).append(scope)
        waiting = deque(self._guards)
        while waiting:
            caller = waiting.popleft()
            for scope in inner.get(caller, ()):
                if scope not in self._guards:
                    self._guards[scope] = self._guards[caller]
                    waiting.append(scope)

    def _said(self, edge: Edge, what: str) -> str:
        place = f"{self._shown(edge.caller.scope.path)}:{edge.line}"
        return (
            f"perhaps called at {place}, as the {edge.name} of something unknown" if edge.name else f"{what} at {place}"
        )
