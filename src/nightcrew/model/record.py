"""A session record: what a session leaves for the next one."""

from datetime import datetime

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


class Recalled(Document):
    """A record that a search found, best first; ``score`` is larger for a better match."""

    record: SessionRecord
    score: float
