"""What an expression is, as far as the source says: something of a library, or a function or class of these files."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nightcrew.readiness.calls.files import package_root
from nightcrew.readiness.calls.known import BUILDERS, OTHER_CONSTRUCTOR, tells_what_to_retry
from nightcrew.readiness.calls.scopes import Binding, Scope, decorator_names, returned

_MAX_DEPTH = 40
_SAME = frozenset(("functools.partial", "contextlib.closing", "contextlib.aclosing", "copy.copy", "copy.deepcopy"))
_ENTERING = frozenset(("enter_context", "enter_async_context"))
_WAITS_BY_DEFAULT = ("httpx.", "httpx2.", "aiohttp.")
"""Clients that have a time limit unless they are told to have none."""


@dataclass(frozen=True)
class Library:
    """Something of a library, by its full name; ``()`` stands for an instance or a result."""

    name: str
    timeout: bool = False
    told: bool = False
    """Of a library's retries: whether they were told which errors are worth another try."""


@dataclass(frozen=True)
class Own:
    """A module, class or function of the files that are read, or an instance of such a class."""

    scope: Scope
    instance: bool = False


Value = Library | Own


class Values:
    """Understands expressions over a set of modules, without running anything."""

    def __init__(self, modules: Mapping[Path, Scope], roots: tuple[Path, ...]) -> None:
        self._modules = modules
        self._roots = roots
        self.passed: dict[Binding, Value] = {}
        """What callers pass for parameters that have no type."""
        self._known: dict[Binding, Value | None] = {}
        self._returns: dict[Scope, Value | None] = {}
        self._homes: dict[Path, Path] = {}
        self._depth = 0

    def forget(self) -> None:
        """Understand everything anew: more is known of what is passed."""
        self._known.clear()
        self._returns.clear()

    def of(self, node: ast.expr | None, scope: Scope) -> Value | None:
        """What ``node`` is, where it stands in ``scope``; None if the source does not say."""
        if node is None or self._depth > _MAX_DEPTH:
            return None
        self._depth += 1
        try:
            return self._of(node, scope)
        finally:
            self._depth -= 1

    def _of(self, node: ast.expr, scope: Scope) -> Value | None:
        match node:
            case ast.Name():
                return self._named(node.id, scope, node.lineno)
            case ast.Attribute():
                return self._attribute(self.of(node.value, scope), node.attr)
            case ast.Call():
                return self._called(node, scope)
            case ast.Await() | ast.NamedExpr():
                return self.of(node.value, scope)
            case ast.IfExp():
                return self.of(node.body, scope) or self.of(node.orelse, scope)
            case ast.BoolOp():
                return next((found for one in node.values if (found := self.of(one, scope)) is not None), None)
            case ast.Constant() if node.value is not None:
                return Library(f"builtins.{type(node.value).__name__}()")
            case ast.Dict() | ast.List() | ast.Set() | ast.Tuple() | ast.JoinedStr():
                return Library(f"builtins.{type(node).__name__.lower()}()")
        return None

    # Names ----------------------------------------------------------------------------------------------------------

    def _named(self, name: str, scope: Scope, line: int) -> Value | None:
        if name == "super":
            return Library("builtins.super")
        inner: Scope | None = scope
        while inner is not None:
            if inner is scope or inner.kind != "class":
                found = inner.bindings.get(name)
                if found:
                    return self._first(self._in_order(found, line) if inner is scope else found)
            inner = inner.parent
        return self._starred(name, scope.module)

    @staticmethod
    def _in_order(found: list[Binding], line: int) -> list[Binding]:
        """The bindings of a name, as they matter at a line: the last before it first."""
        before = [one for one in found if one.line <= line]
        return before[::-1] + [one for one in found if one.line > line]

    def _first(self, bindings: list[Binding]) -> Value | None:
        return next((value for one in bindings if (value := self._bound(one)) is not None), None)

    def _bound(self, binding: Binding) -> Value | None:
        if binding not in self._known:
            self._known[binding] = None  # A name that is made of itself.
            self._known[binding] = self._understood(binding)
        return self._known[binding]

    def _understood(self, binding: Binding) -> Value | None:
        match binding.how:
            case "value":
                return self.of(binding.expression, binding.scope)
            case "instance":
                return self.instance_of(binding.expression, binding.scope)
            case "import":
                local = self._module(binding.module, binding.scope.path)
                return Own(local) if local is not None else Library(binding.module)
            case "from":
                return self._imported(binding)
            case "scope":
                return Own(binding.target) if binding.target is not None else None
            case "self":
                if binding.target is None:
                    return None
                made_by_class = "classmethod" in set(decorator_names(binding.scope.node))  # type: ignore[arg-type]
                return Own(binding.target, instance=not made_by_class)
        return self.passed.get(binding)

    def _imported(self, binding: Binding) -> Value | None:
        if binding.level:
            folder = binding.scope.path.parents[min(binding.level, len(binding.scope.path.parents)) - 1]
            local = self._at(folder.joinpath(*binding.module.split("."))) if binding.module else self._at(folder)
            below = folder.joinpath(*binding.module.split("."), binding.name)
            return (self._in_module(local, binding.name) if local is not None else None) or self._own(self._at(below))
        local = self._module(binding.module, binding.scope.path)
        if local is not None:
            found = self._in_module(local, binding.name)
            return found or self._own(self._module(f"{binding.module}.{binding.name}", binding.scope.path))
        below_it = self._module(f"{binding.module}.{binding.name}", binding.scope.path)
        return Own(below_it) if below_it is not None else Library(f"{binding.module}.{binding.name}")

    @staticmethod
    def _own(scope: Scope | None) -> Value | None:
        return None if scope is None else Own(scope)

    def _in_module(self, module: Scope, name: str) -> Value | None:
        found = module.bindings.get(name)
        return self._first(found[::-1]) if found else self._starred(name, module)

    def _starred(self, name: str, module: Scope) -> Value | None:
        for node in module.stars:
            binding = Binding(module, node.lineno, "from", module=node.module or "", name=name, level=node.level)
            local = (
                self._at(module.path.parents[node.level - 1].joinpath(*(node.module or "").split(".")))
                if node.level
                else self._module(node.module or "", module.path)
            )
            if local is not None and local is not module and name in local.bindings:
                return self._imported(binding)
        return None

    def _module(self, name: str, near: Path) -> Scope | None:
        if near.parent not in self._homes:
            self._homes[near.parent] = package_root(near)
        for place in (self._homes[near.parent], *self._roots):
            found = self._at(place.joinpath(*name.split(".")))
            if found is not None:
                return found
        return None

    def _at(self, path: Path) -> Scope | None:
        return self._modules.get(path.with_name(path.name + ".py")) or self._modules.get(path / "__init__.py")

    # Members --------------------------------------------------------------------------------------------------------

    def _attribute(self, owner: Value | None, name: str) -> Value | None:
        if owner is None:
            return None
        if isinstance(owner, Library):
            return replace(owner, name=f"{owner.name}.{name}")
        if owner.scope.kind == "module":
            below = self._at(owner.scope.path.parent / name) if owner.scope.path.name == "__init__.py" else None
            return self._in_module(owner.scope, name) or self._own(below)
        if owner.scope.kind == "function":
            return owner if name in ("result", "attempt") else None
        return self._member(owner, name)

    def _member(self, owner: Own, name: str) -> Value | None:
        for one in self.ancestry(owner.scope):
            if isinstance(one, Library):
                return Library(f"{one.name}(){'.' + name}" if owner.instance else f"{one.name}.{name}")
            bindings = [*one.bindings.get(name, ()), *one.attributes.get(name, ())]
            if bindings:
                value = self._first(bindings)
                if isinstance(value, Own) and value.scope.kind == "function" and is_property(value.scope):
                    return self.returns(value.scope)
                return value
        return None

    def ancestry(self, scope: Scope) -> Iterator[Scope | Library]:
        """A class, its bases of these files, and then those of libraries."""
        waiting, seen, outside = [scope], {scope}, []
        while waiting:
            one = waiting.pop(0)
            yield one
            for base in one.node.bases if isinstance(one.node, ast.ClassDef) else ():
                plain = base.value if isinstance(base, ast.Subscript) else base
                value = self.of(plain, one.parent or one)
                if isinstance(value, Library):
                    outside.append(value)
                elif value is not None and value.scope.kind == "class" and value.scope not in seen:
                    seen.add(value.scope)
                    waiting.append(value.scope)
        yield from outside

    def function(self, node: ast.expr, scope: Scope) -> Scope | None:
        """The function of these files that a name or attribute stands for, properties included."""
        if isinstance(node, ast.Attribute):
            owner = self.of(node.value, scope)
            if isinstance(owner, Own) and owner.scope.kind == "class":
                return self.method(owner.scope, node.attr)
        value = self.of(node, scope)
        return value.scope if isinstance(value, Own) and value.scope.kind == "function" else None

    def method(self, scope: Scope, name: str) -> Scope | None:
        """The method of a class, or of its bases of these files."""
        for one in self.ancestry(scope):
            if isinstance(one, Library):
                return None
            for binding in one.bindings.get(name, ()):
                if binding.target is not None and binding.target.kind == "function":
                    return binding.target
        return None

    # Results --------------------------------------------------------------------------------------------------------

    def _called(self, node: ast.Call, scope: Scope) -> Value | None:
        called = self.of(node.func, scope)
        if isinstance(called, Library):
            return self._result(called, node, scope)
        if called is None:
            if isinstance(node.func, ast.Attribute) and node.func.attr in _ENTERING and node.args:
                return self.of(node.args[0], scope)
            return None
        if called.scope.kind == "class":
            if not called.instance:
                return Own(called.scope, instance=True)
            call = self.method(called.scope, "__call__")
            return self.returns(call) if call is not None else None
        return self.returns(called.scope) if called.scope.kind == "function" else None

    def _result(self, called: Library, node: ast.Call, scope: Scope) -> Value | None:
        name, last = called.name, called.name.rpartition(".")[2]
        if (name in _SAME or last in _ENTERING) and node.args:
            return self.of(node.args[0], scope)
        if name == "typing.cast" and node.args:
            return self.instance_of(node.args[0], scope)
        if name == "builtins.super":
            return self._base(scope)
        timeout = self.limited(called, node)
        if last in BUILDERS and "()" in name:
            return Library(name.rpartition(".")[0], timeout)
        maker = name.removesuffix(f".{last}")
        if OTHER_CONSTRUCTOR.fullmatch(last) and maker.rpartition(".")[2][:1].isupper():
            return Library(f"{maker}()", timeout)
        return Library(f"{name}()", timeout, called.told or tells_what_to_retry(name, node))

    @staticmethod
    def limited(called: Library, node: ast.Call) -> bool:
        """Whether a call has a time limit: in its arguments, or from what it is called on."""
        for given in node.keywords:
            if given.arg in ("timeout", "timeout_seconds", "request_timeout"):
                return not (isinstance(given.value, ast.Constant) and given.value.value is None)
        return called.timeout or ("()" not in called.name and called.name.startswith(_WAITS_BY_DEFAULT))

    def _base(self, scope: Scope) -> Value | None:
        """What ``super()`` is."""
        inner: Scope | None = scope
        while inner is not None and inner.kind != "class":
            inner = inner.parent
        if inner is None:
            return None
        for one in list(self.ancestry(inner))[1:]:
            return Library(f"{one.name}()") if isinstance(one, Library) else Own(one, instance=True)
        return None

    def returns(self, scope: Scope) -> Value | None:
        """What a function of these files gives back."""
        if scope not in self._returns:
            self._returns[scope] = None
            node = scope.node
            assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)  # noqa: S101 - callers look
            said = self.instance_of(node.returns, scope.parent or scope) if node.returns is not None else None
            given = [value for one in returned(node) if (value := self.of(one, scope)) is not None]
            if isinstance(said, Library):  # What is returned may tell more of the same: its options.
                given = [one for one in given if isinstance(one, Library) and one.name == said.name] or [said]
            elif said is not None:
                given = [said]
            self._returns[scope] = given[0] if given else None
        return self._returns[scope]

    def instance_of(self, annotation: ast.expr | None, scope: Scope) -> Value | None:
        """What a name with this annotation is."""
        match annotation:
            case ast.Constant(value=str() as text):
                try:
                    return self.instance_of(ast.parse(text, mode="eval").body, scope)
                except SyntaxError:
                    return None
            case ast.BinOp(op=ast.BitOr()):
                return self.instance_of(annotation.left, scope) or self.instance_of(annotation.right, scope)
            case ast.Subscript():
                outer = self.of(annotation.value, scope)
                last = outer.name.rpartition(".")[2] if isinstance(outer, Library) else ""
                inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
                if last in ("Optional", "Annotated", "Final", "ClassVar"):
                    return self.instance_of(inner[0], scope)
                if last in ("Union", "Iterator", "AsyncIterator", "Generator", "AsyncGenerator"):
                    return next((one for part in inner if (one := self.instance_of(part, scope)) is not None), None)
                return None
            case ast.Name() | ast.Attribute():
                value = self.of(annotation, scope)
                if isinstance(value, Library):
                    known = value.name.startswith(("typing.", "collections.", "builtins."))
                    return None if known else Library(f"{value.name}()")
                if value is not None and value.scope.kind == "class":
                    return Own(value.scope, instance=True)
        return None


def is_property(scope: Scope) -> bool:
    """Whether a function is read as an attribute."""
    node = scope.node
    return not isinstance(node, ast.Module) and not {"property", "cached_property"}.isdisjoint(decorator_names(node))
