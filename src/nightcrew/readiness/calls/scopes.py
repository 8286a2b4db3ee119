"""A file as scopes: which names are bound in its module, classes and functions, and to what."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Function = ast.FunctionDef | ast.AsyncFunctionDef
How = Literal["value", "instance", "import", "from", "scope", "self", "opaque"]


@dataclass(eq=False)
class Scope:
    """A module, a class or a function, and the names bound in it."""

    kind: Literal["module", "class", "function"]
    name: str
    """Its qualified name in the module; empty for the module."""
    node: ast.Module | ast.ClassDef | Function
    parent: "Scope | None"
    path: Path
    bindings: "dict[str, list[Binding]]" = field(default_factory=dict)
    attributes: "dict[str, list[Binding]]" = field(default_factory=dict)
    """Of a class: what its methods give to attributes of ``self``."""
    stars: "list[ast.ImportFrom]" = field(default_factory=list)
    """Imports of everything that another module has."""

    @property
    def module(self) -> "Scope":
        """The module it stands in."""
        return self if self.parent is None else self.parent.module

    def bind(self, name: str, binding: "Binding") -> None:
        """Note one more binding of a name."""
        self.bindings.setdefault(name, []).append(binding)


@dataclass(eq=False)
class Binding:
    """One place where a name gets a value."""

    scope: Scope
    """Where the expression is to be understood."""
    line: int
    how: How
    expression: ast.expr | None = None
    module: str = ""
    """Of an import: the module's full name; that of a relative one is made with ``level``."""
    name: str = ""
    level: int = 0
    target: Scope | None = None


def scopes_of(path: Path, tree: ast.Module) -> dict[ast.AST, Scope]:
    """The scope of a module, and that of each definition in it, by their nodes."""
    return _Scopes(path, tree).of


class _Scopes(ast.NodeVisitor):
    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.top = Scope("module", "", tree, None, path)
        self.of: dict[ast.AST, Scope] = {tree: self.top}
        self._scope = self.top
        self._globals: dict[Scope, set[str]] = {}
        for statement in tree.body:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            self._bind(alias.asname or whole, Binding(self._scope, node.lineno, "import", module=whole))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self._scope.stars.append(node)
                continue
            made = Binding(self._scope, node.lineno, "from", module=node.module or "", name=alias.name)
            made.level = node.level
            self._bind(alias.asname or alias.name, made)

    def visit_Global(self, node: ast.Global) -> None:
        self._globals.setdefault(self._scope, set()).update(node.names)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._define(node, "class")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._define(node, "function")

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._define(node, "function")

    def _define(self, node: ast.ClassDef | Function, kind: Literal["class", "function"]) -> None:
        outer = self._scope
        name = f"{outer.name}.{node.name}" if outer.name else node.name
        made = Scope(kind, name, node, outer, outer.path)
        self.of[node] = made
        self._bind(node.name, Binding(outer, node.lineno, "scope", target=made))
        self._scope = made
        if not isinstance(node, ast.ClassDef):
            self._parameters(node, made)
        for statement in node.body:
            self.visit(statement)
        self._scope = outer

    def _parameters(self, node: Function, scope: Scope) -> None:
        plain = [*node.args.posonlyargs, *node.args.args]
        method = scope.parent is not None and scope.parent.kind == "class" and "staticmethod" not in _decorators(node)
        defaults = dict(zip((one.arg for one in plain[::-1]), node.args.defaults[::-1], strict=False))
        defaults.update(
            {one.arg: value for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value}
        )
        for place, one in enumerate([*plain, *node.args.kwonlyargs]):
            if method and place == 0:
                scope.bind(one.arg, Binding(scope, node.lineno, "self", target=scope.parent))
            elif one.annotation is not None:
                scope.bind(one.arg, Binding(scope, node.lineno, "instance", one.annotation))
            else:
                given = defaults.get(one.arg)
                told = given is not None and not (isinstance(given, ast.Constant) and given.value is None)
                scope.bind(one.arg, Binding(scope, node.lineno, "value" if told else "opaque", given))
        for more in (node.args.vararg, node.args.kwarg):
            if more is not None:
                scope.bind(more.arg, Binding(scope, node.lineno, "opaque"))

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value, node.lineno)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node.target, node.value, node.lineno)
        self._assign(node.target, node.annotation, node.lineno, how="instance")
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assign(node.target, node.value, node.lineno)
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._assign(node.optional_vars, node.context_expr, node.context_expr.lineno)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._opaque(node.target)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._opaque(node.target)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, Binding(self._scope, node.lineno, "opaque"))
        self.generic_visit(node)

    def _assign(self, target: ast.expr, value: ast.expr, line: int, how: How = "value") -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, Binding(self._scope, line, how, value))
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            owner = self._owner(target.value.id)
            if owner is not None:
                owner.attributes.setdefault(target.attr, []).append(Binding(self._scope, line, how, value))
        elif isinstance(target, ast.Tuple | ast.List):
            given = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            if len(given) == len(target.elts):
                for one, its in zip(target.elts, given, strict=True):
                    self._assign(one, its, line, how)
            else:
                self._opaque(target)

    def _owner(self, name: str) -> Scope | None:
        """The class whose instance a name is, if it is the first parameter of a method."""
        scope: Scope | None = self._scope
        while scope is not None and scope.kind == "function":
            for binding in scope.bindings.get(name, ()):
                if binding.how == "self":
                    return binding.target
            scope = scope.parent
        return None

    def _opaque(self, target: ast.expr) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                self._bind(node.id, Binding(self._scope, node.lineno, "opaque"))

    def _bind(self, name: str, binding: Binding) -> None:
        of_module = name in self._globals.get(self._scope, ())
        (self.top if of_module else self._scope).bind(name, binding)


def _decorators(node: Function) -> set[str]:
    return set(decorator_names(node))


def decorator_names(node: Function | ast.ClassDef) -> Iterator[str]:
    """The last name of each decorator."""
    for one in node.decorator_list:
        inner = one.func if isinstance(one, ast.Call) else one
        yield inner.attr if isinstance(inner, ast.Attribute) else inner.id if isinstance(inner, ast.Name) else "?"


def returned(node: Function) -> Iterator[ast.expr]:
    """What a function gives back; for one with ``yield``, what it yields. Functions inside it are not looked at."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(one, ast.Return | ast.Yield) and one.value is not None:
            yield one.value
        waiting.extend(ast.iter_child_nodes(one))
