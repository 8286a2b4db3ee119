"""What functions are given by their callers: a parameter without a type is what is passed for it."""

import ast
from collections.abc import Callable, Iterator

from nightcrew.readiness.calls.scopes import Binding, Scope, decorator_names
from nightcrew.readiness.calls.values import Library, Value

ROUNDS = 3
"""How many functions deep a client is followed as an argument."""


def passed_in(call: ast.Call, target: Scope, of: Callable[[ast.expr], Value | None]) -> Iterator[tuple[Binding, Value]]:
    """The parameters of ``target`` of which nothing is known but what this call passes: a client, say."""
    node = target.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    plain = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    method = target.parent is not None and target.parent.kind == "class"
    if method and "staticmethod" not in set(decorator_names(node)):
        plain = plain[1:]
    if any(isinstance(one, ast.Starred) for one in call.args):
        return
    given = [*zip(plain, call.args, strict=False), *((one.arg, one.value) for one in call.keywords if one.arg)]
    for name, expression in given:
        binding = target.bindings.get(name, [None])[0]
        if binding is None or binding.how != "opaque" or isinstance(expression, ast.Constant):
            continue
        value = of(expression)
        plainly = isinstance(value, Library) and ("()" not in value.name or value.name.startswith("builtins."))
        if value is not None and not plainly:
            yield binding, value
