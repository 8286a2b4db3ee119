"""One call of a tool, from its arguments to its result; what goes wrong is a result too, with its code and hint."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcp.types import CallToolResult, TextContent

from nightcrew.crew.project import open_project
from nightcrew.mcp.material import bounded, framed, line, safe
from nightcrew.mcp.request import Request
from nightcrew.mcp.tools import Tool
from nightcrew.model.errors import DocumentError, NightcrewError, NotFoundError, UsageError

log = logging.getLogger("nightcrew.mcp")


def answer(
    root: Path, tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any], program: str
) -> CallToolResult:
    """Run a tool of ``tools`` on the repository around ``root``. Nothing is raised.

    The repository is opened for each call: settings, playbook and database are those of now, and nothing is held in
    between.
    """
    try:
        document = document_of(root, tools, name, arguments, program)
    except NightcrewError as error:
        return failure(error.code, str(error), error.hint)
    except OSError as error:
        return failure("NC-CONFIG", f"{error.filename or root}: {error.strerror or error}", "Check path and space.")
    except Exception as error:
        log.exception("the tool %s failed", name)
        return failure("NC-BUG", f"{type(error).__name__}: {error}", "Report it; the traceback is in the server's log.")
    text = TextContent(type="text", text=framed(document, f"nightcrew {name}"))
    return CallToolResult(content=[text], structuredContent=document)


def document_of(
    root: Path, tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any], program: str
) -> dict[str, Any]:
    """What a tool gives, safe to be read and not too long; raises NightcrewError."""
    if name not in tools:
        raise NotFoundError(f"there is no tool {line(name, 60)}", hint=f"There are: {', '.join(tools)}.")
    tool = tools[name]
    asked = _read(tool, arguments)
    project = open_project(root)
    try:
        found = tool.run(Request(project, program), asked)
    finally:
        project.close()
    given: dict[str, Any] = bounded(safe(found.plain()))
    return given


def failure(code: str, message: str, hint: str) -> CallToolResult:
    """An error as the tool's result, so that the model reads what to do about it."""
    said = {"code": code, "message": line(message, 1_000), "hint": line(hint)}
    text = TextContent(type="text", text=f"{code}: {said['message']}\n{said['hint']}")
    return CallToolResult(content=[text], structuredContent={"error": said}, isError=True)


def _read(tool: Tool, arguments: Mapping[str, Any]) -> Any:
    if tool.writes and "command" in arguments:
        raise UsageError(
            "a ticket filed through MCP holds no command",
            hint="Say in the body what is wanted. A person may file one with: nightcrew ticket add --command",
        )
    try:
        return tool.arguments.read(arguments, source=tool.name)
    except DocumentError as error:
        takes = ", ".join(tool.arguments.model_fields) or "nothing"
        raise UsageError(str(error), hint=f"{tool.name} takes: {takes}.") from None
