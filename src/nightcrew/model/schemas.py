"""The published JSON Schemas of the documents."""

from typing import Any

from nightcrew.model.document import Document
from nightcrew.model.errors import NotFoundError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Handoff
from nightcrew.model.manifest import Manifest
from nightcrew.model.playbook import Playbook
from nightcrew.model.record import SessionRecord
from nightcrew.model.review import Review
from nightcrew.model.settings import Settings
from nightcrew.model.ticket import Ticket

SCHEMAS: dict[str, type[Document]] = {
    "finding": Finding,
    "handoff": Handoff,
    "manifest": Manifest,
    "playbook": Playbook,
    "record": SessionRecord,
    "review": Review,
    "settings": Settings,
    "ticket": Ticket,
}


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document; raises NotFoundError for a name that is none."""
    if name not in SCHEMAS:
        raise NotFoundError(f"there is no document {name!r}", hint=f"Documents: {', '.join(SCHEMAS)}")
    schema = SCHEMAS[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
