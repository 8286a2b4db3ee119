"""A handoff: the one way in which work passes from an agent to a desk."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from nightcrew.model.budget import Spent
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.document import Document
from nightcrew.model.errors import DocumentError
from nightcrew.model.finding import Finding
from nightcrew.model.frontmatter import decoded, join, split
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import TICKET_ID

SCHEMA: Literal["nightcrew/handoff/v1"] = "nightcrew/handoff/v1"
HUMAN: Literal["human"] = "human"
COMMIT = r"^[0-9a-f]{40}([0-9a-f]{24})?$"
HANDOFF_ID = r"^H-\d{6,}$"


class HandoffKind(StrEnum):
    """What a handoff brings."""

    WORK = "work"
    VERDICT = "verdict"
    FINDINGS = "findings"
    QUESTION = "question"
    DEFERRAL = "deferral"


class Verdict(StrEnum):
    """What QA or security says of one commit."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


class Change(Document):
    """A change: commits ``base`` (exclusive) to ``head`` on ``branch``, and the files it touches."""

    branch: str
    base: str = Field(pattern=COMMIT)
    head: str = Field(pattern=COMMIT)
    files: tuple[str, ...] = ()


class Check(Document):
    """One check that was run, or could not be: ``detail`` says what it found, or why it could not run."""

    name: str
    status: Literal["passed", "failed", "not_checked"]
    detail: str = ""


class Handoff(Document):
    """Front matter and three sections of one handoff. Immutable: a correction is a new one that ``supersedes`` it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["nightcrew/handoff/v1"] = Field(default=SCHEMA, alias="schema")
    id: str = Field(pattern=HANDOFF_ID)
    sender: str = Field(alias="from", min_length=1)
    to: str = Field(min_length=1)
    ticket: str | None = Field(default=None, pattern=TICKET_ID)
    session: str
    kind: HandoffKind
    verdict: Verdict | None = None
    severity: Severity | None = None
    breaks_build: bool = False
    brain: str | None = None
    change: Change | None = None
    checks: tuple[Check, ...] = ()
    findings: tuple[Finding, ...] = ()
    budget: Spent | None = None
    created: datetime
    supersedes: str | None = Field(default=None, pattern=HANDOFF_ID)
    done: str = Field(default="", exclude=True)
    questions: str = Field(default="", exclude=True)
    next: str = Field(default="", exclude=True)


_SECTIONS = ("What was done", "Open questions", "Next")
_HEADING = re.compile(r"^## (What was done|Open questions|Next)[ \t]*$", re.MULTILINE)

_LIKE_HEADING = re.compile(r"^(\\*#{1,2} )", re.MULTILINE)
_QUOTED_HEADING = re.compile(r"^\\(\\*#{1,2} )", re.MULTILINE)
_NONE = re.compile(r"\\*None\.")


def render(handoff: Handoff) -> bytes:
    """The document's bytes: UTF-8 Markdown with front matter."""
    front = {key: value for key, value in handoff.plain().items() if value not in (None, [], ())}
    texts = (handoff.done, handoff.questions, handoff.next)
    body = "\n\n".join(
        f"## {heading}\n\n{_quoted(text) or 'None.'}" for heading, text in zip(_SECTIONS, texts, strict=True)
    )
    return join(front, body).encode()


def parse(data: bytes, *, source: str) -> Handoff:
    """Read a handoff; raises DocumentError naming ``source`` and what does not fit."""
    front, body = split(decoded(data, source=source), source=source)
    parts = _HEADING.split(body)
    if tuple(parts[1::2]) != _SECTIONS or parts[0].strip():
        wanted = ", ".join(f"'## {heading}'" for heading in _SECTIONS)
        raise DocumentError(f"{source}: its body must be the three sections {wanted}, in this order")
    if misplaced := sorted({"done", "questions", "next"}.intersection(front)):
        raise DocumentError(f"{source}: {', '.join(misplaced)}: sections of the body, not fields of the front matter")
    done, questions, then = (_unquoted(part.strip()) for part in parts[2::2])
    return Handoff.read({**front, "done": done, "questions": questions, "next": then}, source=source)


def content_digest(data: bytes) -> str:
    """SHA-256 of a document's bytes: how it is named in the ledger and in approvals."""
    return sha256_hex(data)


_LINE_END = re.compile(r"\r+\n")
"""All of them, so that what is left is not taken for a line's end when it is read."""


def _quoted(text: str) -> str:
    """Text of an agent may hold our headings: a backslash before those, so that it cannot forge a section.

    What already begins with backslashes gets one more, so that taking one away always gives back the text.
    """
    plain = _LINE_END.sub("\n", text).strip()
    return "\\" + plain if _NONE.fullmatch(plain) else _LIKE_HEADING.sub(r"\\\1", plain)


def _unquoted(text: str) -> str:
    if text == "None.":
        return ""
    return text[1:] if _NONE.fullmatch(text) else _QUOTED_HEADING.sub(r"\1", text)
