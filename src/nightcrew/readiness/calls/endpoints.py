"""Which requests over HTTP ask a language model: told by what is written where the request is made."""

import ast
import re
from collections.abc import Iterator

from nightcrew.readiness.calls.scopes import Scope

_ENDPOINT = re.compile(
    r"/chat/completions\b|/v\d\w*/completions\b|:(stream)?generateContent\b|:11434\b|\bOLLAMA_HOST\b"
    r"|\bapi\.((openai|anthropic|mistral|groq|cohere|deepseek|perplexity|together)\.\w+|x\.ai)\b"
    r"|\bgenerativelanguage\.googleapis\.com\b|\bopenrouter\.ai\b|\b(api-inference|router)\.huggingface\.co\b",
    re.IGNORECASE,
)
_MESSAGE = {"role", "content"}


def asks_a_model(scope: Scope) -> bool:
    """Whether the code around a request has the address of a model's API, or makes a message as such an API takes it.

    Around it are the function or the class at the top of the module, and the module's names that are used there.
    """
    module = scope.module
    while scope.parent is not None and scope.parent is not module:
        scope = scope.parent
    if _speaks(scope.node):
        return True
    used = {node.id for node in ast.walk(scope.node) if isinstance(node, ast.Name)}
    bound = (binding.expression for name in used for binding in module.bindings.get(name, ()))
    return any(value is not None and _speaks(value) for value in bound)


def _speaks(node: ast.AST) -> bool:
    if any(isinstance(inner, ast.Dict) and set(_strings(inner.keys)) >= _MESSAGE for inner in ast.walk(node)):
        return True
    return any(_ENDPOINT.search(text) for text in _strings(ast.walk(node)))


def _strings(nodes: "Iterator[ast.AST] | list[ast.expr | None]") -> Iterator[str]:
    return (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
