"""A ticket and its state machine: one table, from which everything else about states derives."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field, field_validator

from nightcrew.model.canonical import digest
from nightcrew.model.document import Document
from nightcrew.model.errors import TransitionError
from nightcrew.model.severity import Severity

TICKET_ID = r"^T-\d{4,}$"


class Kind(StrEnum):
    """What sort of work a ticket asks for."""

    FEATURE = "feature"
    BUG = "bug"
    SECURITY = "security"
    CHORE = "chore"


class Priority(StrEnum):
    """How urgent a ticket is: P0 first."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class State(StrEnum):
    """Where a ticket stands."""

    OPEN = "open"
    BUILDING = "building"
    IN_QA = "in_qa"
    IN_SECURITY = "in_security"
    READY = "ready"
    DONE = "done"
    IN_REVIEW = "in_review"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


class Event(StrEnum):
    """What can happen to a ticket."""

    START = "start"  # a build session takes it up
    DEFER = "defer"  # unfinished work goes back, with a note
    SUBMIT = "submit"  # a change is handed to QA
    PASS_QA = "pass_qa"  # noqa: S105 - the name of an event
    PASS_SECURITY = "pass_security"  # noqa: S105
    SEND_BACK = "send_back"  # findings below the gate, or a merge conflict
    GATE = "gate"  # a human must decide
    APPROVE_WORK = "approve_work"  # signed: the ticket may be worked
    APPROVE_TO_SECURITY = "approve_to_security"  # signed: the change may go on from QA
    APPROVE_CHANGE = "approve_change"  # signed: the change may be merged
    REJECT = "reject"
    MERGE = "merge"
    QUARANTINE = "quarantine"
    RELEASE = "release"  # a person puts it back


APPROVING = frozenset({Event.APPROVE_WORK, Event.APPROVE_TO_SECURITY, Event.APPROVE_CHANGE})
"""The events that only a verified human signature may cause."""

ENDED = frozenset({State.DONE, State.REJECTED})

_LIVE = [state for state in State if state not in ENDED | {State.QUARANTINED}]

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.OPEN, Event.START): State.BUILDING,
        (State.BUILDING, Event.DEFER): State.OPEN,
        (State.IN_QA, Event.DEFER): State.IN_QA,
        (State.IN_SECURITY, Event.DEFER): State.IN_SECURITY,
        (State.BUILDING, Event.SUBMIT): State.IN_QA,
        (State.IN_QA, Event.PASS_QA): State.IN_SECURITY,
        (State.IN_SECURITY, Event.PASS_SECURITY): State.READY,
        (State.IN_QA, Event.SEND_BACK): State.OPEN,
        (State.IN_SECURITY, Event.SEND_BACK): State.OPEN,
        (State.READY, Event.SEND_BACK): State.OPEN,
        (State.OPEN, Event.GATE): State.IN_REVIEW,
        (State.BUILDING, Event.GATE): State.IN_REVIEW,
        (State.IN_QA, Event.GATE): State.IN_REVIEW,
        (State.IN_SECURITY, Event.GATE): State.IN_REVIEW,
        (State.READY, Event.GATE): State.IN_REVIEW,
        (State.IN_REVIEW, Event.APPROVE_WORK): State.OPEN,
        (State.IN_REVIEW, Event.APPROVE_TO_SECURITY): State.IN_SECURITY,
        (State.IN_REVIEW, Event.APPROVE_CHANGE): State.READY,
        (State.IN_REVIEW, Event.REJECT): State.REJECTED,
        (State.READY, Event.MERGE): State.DONE,
        (State.QUARANTINED, Event.RELEASE): State.OPEN,
        (State.REJECTED, Event.RELEASE): State.OPEN,
        **{(state, Event.QUARANTINE): State.QUARANTINED for state in _LIVE},
    }
)


class Ticket(Document):
    """One unit of work.

    ``base`` and ``head`` name the change under work as full commit ids; ``branch`` names the branch to take finished
    work from, if it is not the ticket's own. ``findings`` are fingerprints. ``origin`` is ``human``, ``mcp``,
    ``baseline`` or the id of the handoff that filed it. No field means "approved": that is a signature, verified each
    time.
    """

    id: str = Field(pattern=TICKET_ID)
    title: str = Field(min_length=1, max_length=300)
    body: str = Field(default="", max_length=200_000)
    kind: Kind = Kind.FEATURE
    priority: Priority = Priority.P2
    severity: Severity | None = None
    breaks_build: bool = False
    state: State = State.OPEN
    depends_on: tuple[str, ...] = ()
    command: str | None = None
    branch: str | None = None
    origin: str = "human"
    note: str = ""
    findings: tuple[str, ...] = ()
    base: str | None = None
    head: str | None = None
    review: str | None = None
    created: datetime

    @field_validator("title")
    @classmethod
    def _one_line(cls, title: str) -> str:
        if "\n" in title or not title.strip():
            raise ValueError("a title is one line of text")
        return title.strip()

    @property
    def digest(self) -> str:
        """SHA-256 of everything the ticket says, as the ledger records it."""
        return digest(self.plain())

    @property
    def work_digest(self) -> str:
        """SHA-256 of what the ticket asks for: what an approval of the work stands for.

        State, notes and findings of later checks are not in it; the findings a ticket was filed for are in its body.
        """
        asked = ("id", "title", "body", "kind", "severity", "breaks_build", "command", "branch", "origin")
        return digest({name: value for name, value in self.plain().items() if name in asked})


def next_state(state: State, event: Event, *, ticket: str = "the ticket") -> State:
    """The state that ``event`` leads to; raises TransitionError if it cannot happen in ``state``."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise TransitionError(f"{ticket} is {state}: {event} cannot happen to it") from None
