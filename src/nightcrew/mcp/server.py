"""The binding to the MCP library: which requests are answered, and by what."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import McpError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequest,
    ErrorData,
    ListResourcesRequest,
    ListResourcesResult,
    ListResourceTemplatesRequest,
    ListResourceTemplatesResult,
    ListToolsRequest,
    ListToolsResult,
    ReadResourceRequest,
    ReadResourceResult,
    ServerResult,
    TextResourceContents,
    ToolAnnotations,
)
from mcp.types import Tool as Described

from nightcrew import __version__
from nightcrew.mcp import resources
from nightcrew.mcp.answering import answer
from nightcrew.mcp.material import line
from nightcrew.mcp.tools import INSTRUCTIONS, Tool, offered
from nightcrew.model.errors import NightcrewError

T = TypeVar("T")
AT_ONCE = 4
"""Calls that are worked at once; each has the repository open for itself."""
_NAMED = re.compile(r"[^A-Za-z0-9 ._/@-]")


def make_server(root: Path, *, read_only: bool) -> "Server[object, object]":
    """The server for the repository around ``root``; with ``read_only`` it files no tickets."""
    server: Server[object, object] = Server("nightcrew", version=__version__, instructions=INSTRUCTIONS)
    tools = offered(read_only=read_only)
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def worked(function: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(function, limiter=limiter)

    async def list_tools(_: ListToolsRequest) -> ServerResult:
        return ServerResult(ListToolsResult(tools=[described(tool) for tool in tools.values()]))

    async def call_tool(asked: CallToolRequest) -> ServerResult:
        name, arguments = asked.params.name, asked.params.arguments or {}
        return ServerResult(await worked(partial(answer, root, tools, name, arguments, _program(server))))

    async def list_resources(_: ListResourcesRequest) -> ServerResult:
        found = await worked(partial(_explained, partial(resources.listed, root, tools, _program(server))))
        return ServerResult(ListResourcesResult(resources=found))

    async def list_templates(_: ListResourceTemplatesRequest) -> ServerResult:
        return ServerResult(ListResourceTemplatesResult(resourceTemplates=[*resources.TEMPLATES]))

    async def read_resource(asked: ReadResourceRequest) -> ServerResult:
        uri = asked.params.uri
        text = await worked(partial(_explained, partial(resources.content, root, tools, str(uri), _program(server))))
        content = TextResourceContents(uri=uri, mimeType=resources.MIME, text=text)
        return ServerResult(ReadResourceResult(contents=[content]))

    handlers: dict[type, Callable[..., Awaitable[ServerResult]]] = {
        ListToolsRequest: list_tools,
        CallToolRequest: call_tool,
        ListResourcesRequest: list_resources,
        ListResourceTemplatesRequest: list_templates,
        ReadResourceRequest: read_resource,
    }
    server.request_handlers.update(handlers)
    return server


def described(tool: Tool) -> Described:
    """A tool as clients are told of it."""
    return Described(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        inputSchema=tool.arguments.model_json_schema(),
        outputSchema=tool.result.model_json_schema(mode="serialization"),
        annotations=ToolAnnotations(
            title=tool.title,
            readOnlyHint=not tool.writes,
            destructiveHint=False,
            idempotentHint=True,
            openWorldHint=False,
        ),
    )


def _explained(function: Callable[[], T]) -> T:
    try:
        return function()
    except NightcrewError as error:
        more = {"code": error.code, "hint": error.hint}
        said = line(f"{error} {error.hint}", 1_000)
        raise McpError(ErrorData(code=INVALID_PARAMS, message=said, data=more)) from None


def _program(server: "Server[object, object]") -> str:
    """What the client calls itself, which nobody checks."""
    known = server.request_context.session.client_params
    said = f"{known.clientInfo.name} {known.clientInfo.version}" if known else ""
    return _NAMED.sub("", said)[:80].strip() or "an unnamed program"
