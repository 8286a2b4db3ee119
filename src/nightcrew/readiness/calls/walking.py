"""Walks the code of one module: the external calls in it, and which function calls which, under which guard."""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from nightcrew.readiness.calls.found import Kind
from nightcrew.readiness.calls.known import (
    HARMLESS_DECORATORS,
    TAKE_A_FUNCTION,
    guard_of,
    kind_of,
    retries,
)
from nightcrew.readiness.calls.passing import passed_in
from nightcrew.readiness.calls.scopes import Binding, Function, Scope
from nightcrew.readiness.calls.values import Library, Own, Value, Values

MAIN = "main"


@dataclass(frozen=True)
class Guard:
    """What guards a call, and whether it has a time limit."""

    name: str
    timeout: bool = False


@dataclass(frozen=True)
class Unit:
    """Code that runs as one: a function's, a module's (with its classes'), or that under ``if __name__ == ...``."""

    scope: Scope
    part: str = ""


@dataclass(frozen=True)
class Site:
    """An external call where it stands."""

    node: ast.expr
    what: str
    kind: Kind
    unit: Unit
    guard: Guard | None
    timeout: bool
    loop: bool


@dataclass(frozen=True)
class Edge:
    """A call, or a mention, of a function of these files."""

    caller: Unit
    line: int
    guard: Guard | None
    name: str = ""
    """Set where all that is known is the name of the method that is called."""


@dataclass
class Seen:
    """What all modules together have."""

    sites: list[Site] = field(default_factory=list)
    edges: dict[Scope, list[Edge]] = field(default_factory=dict)
    """The ways to each function."""
    replaced: dict[Scope, Guard] = field(default_factory=dict)
    """Functions whose name stands for a guarded one."""
    steps: dict[Scope, Guard] = field(default_factory=dict)
    """Steps of pipelines: the pipeline calls them guarded, but whoever calls them by name does not."""
    registered: dict[Scope, str] = field(default_factory=dict)
    """Functions that a decorator hands to somebody."""
    passed: list[tuple[Binding, Value]] = field(default_factory=list)
    """What callers pass for parameters of which nothing was known."""
    called_by_name: dict[str, list[Edge]] = field(default_factory=dict)
    """Calls of methods of objects of which nothing is known."""


def walk(module: Scope, scopes: dict[ast.AST, Scope], values: Values, seen: Seen) -> None:
    """Add what one module has to what was seen."""
    _Walker(module, scopes, values, seen)


class _Walker(ast.NodeVisitor):
    def __init__(self, module: Scope, scopes: dict[ast.AST, Scope], values: Values, seen: Seen) -> None:
        self._scopes = scopes
        self._values = values
        self._seen = seen
        self._scope = module
        self._unit = Unit(module)
        self._guard: Guard | None = None
        self._loop = 0
        for statement in module.node.body:
            if _is_main(statement):
                with self._within(Unit(module, MAIN)):
                    self.visit(statement)
            else:
                self.visit(statement)

    # Definitions ----------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: Function) -> None:
        scope = self._scopes[node]
        for decorator in node.decorator_list:
            self._decorated(decorator, scope)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        outer = (self._scope, self._guard, self._loop)
        self._scope, self._guard, self._loop = scope, None, 0
        with self._within(Unit(scope)):
            for statement in node.body:
                self.visit(statement)
        self._scope, self._guard, self._loop = outer

    def _decorated(self, decorator: ast.expr, scope: Scope) -> None:
        value = self._values.of(decorator, self._scope)
        guard = _guarding(value)
        if guard is None and isinstance(value, Own) and value.scope.kind == "function":
            guard = _guarding(self._values.returns(value.scope))  # A decorator that makes a guard.
        if guard is not None and guard.name == "Pipeline.step":
            self._seen.steps[scope] = guard
        elif guard is not None:
            self._seen.replaced[scope] = guard
        else:
            plain = decorator.func if isinstance(decorator, ast.Call) else decorator
            last = plain.attr if isinstance(plain, ast.Attribute) else getattr(plain, "id", "?")
            if last not in HARMLESS_DECORATORS:
                self._seen.registered.setdefault(scope, ast.unparse(plain))
        if isinstance(decorator, ast.Call):
            self._arguments(decorator, guard)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        outer, self._scope = self._scope, self._scopes[node]
        for statement in node.body:
            self.visit(statement)
        self._scope = outer

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    # Loops ----------------------------------------------------------------------------------------------------------

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        guard = _guarding(self._values.of(node.iter, self._scope))
        with self._inside(guard or self._guard, loop=True):
            for statement in (*node.body, *node.orelse):
                self.visit(statement)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_While(self, node: ast.While) -> None:
        with self._inside(self._guard, loop=True):
            self.generic_visit(node)

    def _comprehended(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self.visit(node.generators[0].iter)
        with self._inside(self._guard, loop=True):
            for place, part in enumerate(node.generators):
                for inner in ([part.iter] if place else []) + part.ifs:
                    self.visit(inner)
            for inner in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
                self.visit(inner)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehended

    # Calls ----------------------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        value = self._values.of(node.func, self._scope)
        guard = self._applied(node, value)
        if guard is not None:
            self._arguments(node, guard)
            if isinstance(node.func, ast.Call):
                self.visit(node.func)
            return
        last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if isinstance(value, Library):
            self._external(node.func, value, self._values.limited(value, node), node)
        elif value is not None:
            self._own(node, value)
        elif isinstance(node.func, ast.Attribute):
            target = self._values.function(node.func, self._scope)
            if target is not None:
                self._edge(target, node.lineno)
                self._pass(node, target)
            else:
                self._seen.called_by_name.setdefault(last, []).append(self._way(node.lineno, last))
        if last in TAKE_A_FUNCTION:
            limited = isinstance(value, Library) and self._values.limited(value, node)
            for given in (*node.args, *(keyword.value for keyword in node.keywords)):
                function = self._values.of(given, self._scope)
                if isinstance(function, Library):
                    self._external(given, function, limited, node)
        if isinstance(node.func, ast.Attribute):
            self.visit(node.func.value)
        elif not isinstance(node.func, ast.Name):
            self.visit(node.func)
        self._arguments(node, self._guard)

    def _own(self, node: ast.Call, value: Own) -> None:
        if value.scope.kind == "function":
            self._edge(value.scope, node.lineno)
            self._pass(node, value.scope)
        elif value.scope.kind == "class" and value.instance:
            call = self._values.function(node.func, self._scope) or self._values.method(value.scope, "__call__")
            if call is not None:
                self._edge(call, node.lineno)
        elif value.scope.kind == "class":
            made_by = self._values.method(value.scope, "__init__")
            if made_by is not None:
                self._pass(node, made_by)
            for one in self._values.ancestry(value.scope):
                for name, bindings in one.bindings.items() if isinstance(one, Scope) else ():
                    if name.startswith("__"):  # Whoever makes an object is taken to use it.
                        for binding in bindings:
                            if binding.target is not None and binding.target.kind == "function":
                                self._edge(binding.target, node.lineno)

    def _pass(self, node: ast.Call, target: Scope) -> None:
        for binding, value in passed_in(node, target, lambda one: self._values.of(one, self._scope)):
            if binding not in self._values.passed:
                self._seen.passed.append((binding, value))

    def _arguments(self, node: ast.Call, guard: Guard | None) -> None:
        with self._inside(guard, loop=bool(self._loop)):
            for given in (*node.args, *(keyword.value for keyword in node.keywords)):
                self.visit(given)

    def visit_Name(self, node: ast.Name) -> None:
        self._mentioned(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._mentioned(node)
        self.visit(node.value)

    def _mentioned(self, node: ast.Name | ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            target = self._values.function(node, self._scope)
            if target is not None:
                self._edge(target, node.lineno)

    def _external(self, named: ast.expr, value: Library, timeout: bool, call: ast.Call) -> None:
        kind = kind_of(value.name)
        if kind is None or _in_memory(value.name, call):
            return
        # A client's time limit is not that of everything: only where it stands for the call.
        self._seen.sites.append(
            Site(named, value.name, kind, self._unit, self._guard, timeout, self._loop > 0)
        )  # fmt: skip

    def _edge(self, target: Scope, line: int) -> None:
        self._seen.edges.setdefault(target, []).append(self._way(line))

    def _way(self, line: int, name: str = "") -> Edge:
        return Edge(self._unit, line, self._guard, name)

    # Guards ---------------------------------------------------------------------------------------------------------

    def _applied(self, node: ast.Call, value: Value | None) -> Guard | None:
        """The guard that a call puts around the functions it is given: ``guard(f)``, ``guard(...)(f)``."""
        return _guarding(value) if node.args else None

    @contextmanager
    def _within(self, unit: Unit) -> Iterator[None]:
        outer, self._unit = self._unit, unit
        yield
        self._unit = outer

    @contextmanager
    def _inside(self, guard: Guard | None, *, loop: bool) -> Iterator[None]:
        outer = (self._guard, self._loop)
        self._guard, self._loop = guard, self._loop + loop
        yield
        self._guard, self._loop = outer


def _is_main(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = [node.test.left, *node.test.comparators]
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in sides)


def _guarding(value: Value | None) -> Guard | None:
    """The guard that a value is, or makes. Retries of others count if they were told what to retry."""
    if not isinstance(value, Library):
        return None
    name = value.name.removesuffix("()")
    ours = guard_of(name)
    if ours:
        return Guard(ours, value.timeout)
    return Guard(name) if value.told and retries(name) else None


def _in_memory(name: str, call: ast.Call) -> bool:
    """Whether a database is opened that is no file."""
    if name.endswith("Database"):
        return any(one.arg == "memory" for one in call.keywords)
    return name in ("sqlite3.connect", "aiosqlite.connect") and any(
        isinstance(one, ast.Constant) and one.value == ":memory:" for one in call.args
    )
