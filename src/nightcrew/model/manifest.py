"""A manifest: the immutable plan of one agent session, written by the planner."""

from typing import Literal

from pydantic import ConfigDict, Field

from nightcrew.model.budget import Budget
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.document import Document
from nightcrew.model.frontmatter import dump_yaml, load_yaml
from nightcrew.model.ticket import TICKET_ID, Kind, Priority
from nightcrew.model.severity import Severity

SCHEMA = "nightcrew/manifest/v1"


class Line(Document):
    """One ticket of a manifest. ``turns`` is its allotment, ``unblocks`` how many tickets wait for it (transitively)."""

    ticket: str = Field(pattern=TICKET_ID)
    title: str
    kind: Kind
    priority: Priority
    severity: Severity | None = None
    turns: int = Field(ge=0)
    unblocks: int = Field(default=0, ge=0)
    head: str | None = None
    approval: str | None = None
    work_digest: str


class LeftOut(Document):
    """A ticket that is not in the manifest, and why."""

    ticket: str = Field(pattern=TICKET_ID)
    reason: str


class Manifest(Document):
    """What one session of ``agent`` will work, in order; no time and no random id, so the same backlog gives the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["nightcrew/manifest/v1"] = Field(default=SCHEMA, alias="schema")
    agent: str
    playbook: str = Field(description="SHA-256 of the playbook in force")
    budget: Budget
    tickets: tuple[Line, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    cycles: tuple[tuple[str, ...], ...] = ()


def render(manifest: Manifest) -> bytes:
    """The document's bytes: YAML, UTF-8."""
    return dump_yaml(manifest.plain()).encode()


def parse(data: bytes, *, source: str) -> Manifest:
    """Read a manifest; raises DocumentError."""
    return Manifest.read(load_yaml(data.decode("utf-8", "replace"), source=source), source=source)


def manifest_id(data: bytes) -> str:
    """A manifest's id: ``M-`` and the first 16 digits of the SHA-256 of its bytes."""
    return f"M-{sha256_hex(data)[:16]}"
