"""A review: one request to a human, and what it is about."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from nightcrew.model.document import Document
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Event


class Decision(StrEnum):
    """What a reviewer can decide."""

    APPROVE = "approve"
    REJECT = "reject"
    ESCALATE = "escalate"
    ASK = "ask"  # a question back; the review goes on waiting


class ReviewState(StrEnum):
    """Where a review stands. A review past its deadline is ``escalated``; none ever approves itself."""

    PENDING = "pending"
    ESCALATED = "escalated"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOID = "void"  # its subject changed


ENDING = frozenset({Decision.APPROVE, Decision.REJECT})
"""The decisions after which a review waits no longer."""

WAITING = frozenset({ReviewState.PENDING, ReviewState.ESCALATED})


class Review(Document):
    """One request in the inbox.

    ``subjects`` are in-toto subjects (name and digests) and ``subject_digest`` their SHA-256: an approval stands for
    exactly these. ``on_approve`` is the event that a verified approval causes.
    """

    id: str = Field(pattern=r"^R-\d{4,}$")
    ticket: str
    reason: str
    severity: Severity
    confidence: float | None = Field(default=None, ge=0, le=1)
    breaks_build: bool = False
    handoff: str | None = None
    subjects: tuple[dict[str, object], ...]
    subject_digest: str
    on_approve: Event
    state: ReviewState = ReviewState.PENDING
    assigned: str | None = None
    created: datetime
    deadline: datetime
    decided: datetime | None = None
    reviewer: str | None = None
    comment: str = ""
