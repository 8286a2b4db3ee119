"""A session record: what a session leaves for the next one."""

from datetime import datetime

from pydantic import Field

from nightcrew.model.document import Document


class SessionRecord(Document):
    """Decisions, files touched and open questions of one session, as text that the next session can find."""

    session: str
    agent: str
    shift: str | None = None
    tickets: tuple[str, ...] = ()
    title: str
    summary: str
    decisions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    created: datetime


class Why(Document):
    """Why a search found a record: what fits, each in [0, 1], whether it has open questions, and its age."""

    text: float = 0.0
    tickets: float = 0.0
    files: float = 0.0
    questions: bool = False
    days: int = Field(default=0, ge=0)


class Recalled(Document):
    """A record that a search found, best first; ``score`` is larger for a better match."""

    record: SessionRecord
    score: float
    why: Why = Why()
