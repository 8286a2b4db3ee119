"""What of a coding agent's request is passed on to the service: questions to the model, and nothing that reaches out.

A service can search the web, fetch an address or call a server of somebody's on the model's behalf. To an agent in a
sandbox without a network that would be one.
"""

import json
import re
from typing import Any

from nightcrew.model.errors import UsageError

_LOCAL = re.compile(
    r"custom|function|namespace|local_shell|apply_patch|tool_search\w*|(bash|text_editor|memory)_\d+", re.ASCII
)
_PATH = re.compile(r"(/v1(beta)?)?/(messages|chat/completions|responses)", re.ASCII)
_COUNTING = re.compile(r"(/v1(beta)?)?/messages/count_tokens", re.ASCII)
_MODELS = re.compile(r"(/v1(beta)?)?/models(/\w[\w.:-]*)?", re.ASCII)
_REACHING = ("mcp_servers", "web_search_options", "search_parameters", "plugins", "container")
"""Fields by which a service is told to search, or to call somebody."""
_ADDRESSES = ("image_url", "file_url", "url")


def is_request(path: str) -> bool:
    """Whether a path, without the service's own prefix, is a request to a model, which is charged."""
    return _PATH.fullmatch(path) is not None


def is_counting(path: str) -> bool:
    """Whether it has tokens counted, which costs nothing."""
    return _COUNTING.fullmatch(path) is not None


def is_question(path: str) -> bool:
    """Whether it asks which models there are."""
    return _MODELS.fullmatch(path) is not None


def without_reach(body: bytes) -> bytes:
    """The request without tools that its service would run out there.

    It is written anew, so that the service reads exactly what was read here. Raises UsageError for a body that is not a
    JSON object, or has the service fetch an address.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError("a request to a model is a JSON object")
    for name in _REACHING:
        value.pop(name, None)
    if "search" in str(value.get("model", "")):
        raise UsageError("a model that searches the web is not for an agent without a network")
    tools = value.get("tools")
    if isinstance(tools, list):
        value["tools"] = [tool for tool in tools if not isinstance(tool, dict) or _is_local(tool)]
    for name in ("messages", "input", "system", "instructions"):
        if _fetches(value.get(name)):
            raise UsageError("the model's service is not to fetch addresses: give it the content itself")
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _is_local(tool: dict[str, Any]) -> bool:
    kind = tool.get("type")
    return kind is None or (isinstance(kind, str) and _LOCAL.fullmatch(kind) is not None)


def _fetches(value: Any) -> bool:
    """Whether an address stands where a service takes one; what a tool call or its result says is not looked at."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            if item.get("type") == "url" or any(_is_address(item.get(name)) for name in _ADDRESSES):
                return True
            waiting += [
                inner for name, inner in item.items() if not (name == "input" and item.get("type") == "tool_use")
            ]
    return False


def _is_address(value: Any) -> bool:
    found = value.get("url") if isinstance(value, dict) else value
    return isinstance(found, str) and not found.startswith("data:") and "://" in found[:20]
