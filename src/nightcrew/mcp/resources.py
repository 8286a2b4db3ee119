"""The report, handoffs and tickets as MCP resources, for clients in which a person picks what the model reads."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcp.types import Resource, ResourceTemplate
from pydantic import AnyUrl

from nightcrew.mcp.answering import document_of
from nightcrew.mcp.material import framed
from nightcrew.mcp.tools import Tool
from nightcrew.model.errors import NotFoundError

REPORT = "nightcrew://report"
MIME = "text/plain"
TEMPLATES = (
    ResourceTemplate(
        uriTemplate="nightcrew://handoff/{id}", name="handoff", title="A handoff, as H-000012", mimeType=MIME
    ),
    ResourceTemplate(uriTemplate="nightcrew://ticket/{id}", name="ticket", title="A ticket, as T-0012", mimeType=MIME),
)
_PLACE = re.compile(r"nightcrew://(handoff|ticket)/([A-Z]-[0-9]{1,12})")


def listed(root: Path, tools: Mapping[str, Tool], program: str) -> list[Resource]:
    """The latest report and the latest handoffs; raises NightcrewError."""
    found = document_of(root, tools, "list_handoffs", {}, program)
    report = Resource(uri=AnyUrl(REPORT), name="report", title="The morning report", mimeType=MIME)
    return [report, *(_handoff(one) for one in found["handoffs"][:20])]


def content(root: Path, tools: Mapping[str, Tool], uri: str, program: str) -> str:
    """The text of a resource; raises NightcrewError."""
    if uri == REPORT:
        return framed(document_of(root, tools, "read_report", {}, program), uri)
    place = _PLACE.fullmatch(uri)
    if place is None:
        raise NotFoundError("there is no such resource", hint=f"There are {REPORT}, and handoffs and tickets by id.")
    kind, name = place.groups()
    tool = {"handoff": "read_handoff", "ticket": "show_ticket"}[kind]
    return framed(document_of(root, tools, tool, {kind: name}, program), uri)


def _handoff(one: Mapping[str, Any]) -> Resource:
    return Resource(
        uri=AnyUrl(f"nightcrew://handoff/{one['id']}"),
        name=one["id"],
        title=f"Handoff of {one['ticket'] or one['session']} from {one['sender']} to {one['desk']}",
        mimeType=MIME,
    )
