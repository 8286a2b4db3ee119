"""A manifest: the immutable plan of one agent session, written by the planner."""

import json
import re
from typing import Any, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from nightcrew.model.budget import Budget
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.document import Document
from nightcrew.model.frontmatter import decoded, dump_yaml, load_yaml
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import TICKET_ID, Kind, Priority

SCHEMA: Literal["nightcrew/manifest/v1"] = "nightcrew/manifest/v1"


class Line(Document):
    """One ticket of a manifest. ``turns`` is its allotment, ``unblocks`` how many tickets wait for it in the end."""

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


class LeftOut(TypedDict):
    """A ticket that is not in the manifest, and why. There may be a hundred thousand: a plain mapping."""

    ticket: str
    reason: str


class Manifest(Document):
    """What one session of ``agent`` will work, in order; no time, no random id: the same backlog, the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["nightcrew/manifest/v1"] = Field(default=SCHEMA, alias="schema")
    agent: str
    playbook: str = Field(description="SHA-256 of the playbook in force")
    budget: Budget
    tickets: tuple[Line, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    cycles: tuple[tuple[str, ...], ...] = ()


def render(manifest: Manifest) -> bytes:
    """The document's bytes: YAML, UTF-8. What was left out may be the whole backlog: it is one flow mapping a line."""
    plain = manifest.model_dump(mode="json", exclude={"left_out"})
    lines = [f"  - {_flow(out)}" for out in manifest.left_out]
    end = "left_out: []\n" if not lines else "left_out:\n" + "\n".join(lines) + "\n"
    return (dump_yaml(plain) + end).encode()


def parse(data: bytes, *, source: str) -> Manifest:
    """Read a manifest; raises DocumentError."""
    text = decoded(data, source=source)
    head, marker, tail = text.rpartition("\nleft_out:\n")
    left_out = _read_flow(tail) if marker else None
    if left_out is None:
        return Manifest.read(load_yaml(text, source=source), source=source)
    value = load_yaml(head, source=source)
    return Manifest.read({**value, "left_out": left_out} if isinstance(value, dict) else value, source=source)


def _flow(out: LeftOut) -> str:
    return f'{{"ticket":{_quoted(out["ticket"])},"reason":{_quoted(out["reason"])}}}'


def _quoted(text: str) -> str:
    """``text`` as JSON that is YAML too: characters beyond U+FFFF as themselves, since YAML has no pairs of escapes."""
    quoted = json.dumps(text)
    return quoted if text.isascii() else _PAIR.sub(lambda pair: str(json.loads(f'"{pair[0]}"')), quoted)


_PAIR = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")


def _read_flow(tail: str) -> list[Any] | None:
    """What ``render`` wrote one mapping a line, read as JSON: a hundred times faster. None if a person edited it."""
    lines = tail.removesuffix("\n").split("\n")
    if not all(line.startswith('  - {"ticket":') for line in lines):
        return None
    try:
        return [json.loads(line[4:]) for line in lines]
    except (ValueError, RecursionError):
        return None


def manifest_id(data: bytes) -> str:
    """A manifest's id: ``M-`` and the first 16 digits of the SHA-256 of its bytes."""
    return f"M-{sha256_hex(data)[:16]}"
