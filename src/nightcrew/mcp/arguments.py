"""What each tool may be asked: the models behind the input schemas. A name that is not here is refused."""

from typing import Annotated

from pydantic import Field

from nightcrew.model.document import Document
from nightcrew.model.handoff import HANDOFF_ID
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import TICKET_ID, Kind, Priority, State

_NEXT = "next_cursor of the last result, for what follows it"
_NO_NUL = r"^[^\x00]*$"
"""Postgres takes no NUL, not even in a question."""

Cursor = Annotated[str | None, Field(description=_NEXT, max_length=64)]
TicketId = Annotated[str, Field(pattern=TICKET_ID, description="a ticket's id, as T-0012")]


class Nothing(Document):
    """No arguments."""


class Backlog(Document):
    """Which tickets."""

    state: State | None = Field(default=None, description="only tickets in this state")
    kind: Kind | None = Field(default=None, description="only this kind")
    priority: Priority | None = Field(default=None, description="only this priority; P0 is the most urgent")
    severity: Severity | None = Field(default=None, description="only this severity")
    text: str = Field(
        default="", max_length=200, pattern=_NO_NUL, description="only tickets with this in their title or id"
    )
    cursor: str | None = Field(default=None, max_length=64, pattern=TICKET_ID, description=_NEXT)


class OneTicket(Document):
    """Which ticket, and from where in its text on."""

    ticket: TicketId
    cursor: Cursor = None


class NewTicket(Document):
    """What is wanted. There is no field for a command: those come from a person's terminal only."""

    title: str = Field(min_length=1, max_length=300, description="one line that says what is wanted")
    body: str = Field(
        default="", max_length=50_000, description="what is wanted, how to see that it is done, files and lines"
    )
    kind: Kind = Field(default=Kind.FEATURE, description="what sort of work it is")
    priority: Priority = Field(default=Priority.P2, description="P0 is the most urgent")
    depends_on: tuple[TicketId, ...] = Field(
        default=(), max_length=50, description="tickets that must be done before this one"
    )


class Handoffs(Document):
    """Which handoffs."""

    ticket: TicketId | None = Field(default=None, description="only handoffs of this ticket")
    desk: str | None = Field(
        default=None, max_length=100, pattern=_NO_NUL, description="only to this desk: qa, security, human, ..."
    )
    cursor: str | None = Field(default=None, max_length=64, pattern=HANDOFF_ID, description=_NEXT)


class OneHandoff(Document):
    """Which handoff, and from where in its text on."""

    handoff: str = Field(pattern=HANDOFF_ID, description="a handoff's id, as H-000012")
    cursor: Cursor = None


class Recall(Document):
    """What to look for."""

    query: str = Field(default="", max_length=1_000, description="plain words; without any, the latest records")
    limit: int = Field(default=5, ge=1, le=20, description="records at most")
    older: bool = Field(default=False, description="also records that are too old to be given to the crew's agents")


class OneReport(Document):
    """Which night, and from where in the report on."""

    shift: str | None = Field(
        default=None, pattern=r"^N-\d{4,}$", description="a shift's id, as N-0012; without one, the latest"
    )
    cursor: Cursor = None


class Inbox(Document):
    """Which reviews."""

    ended: bool = Field(default=False, description="also reviews that wait no longer")
    cursor: Cursor = None


class OneReview(Document):
    """Which review, and from where in its diff on."""

    review: str = Field(pattern=r"^R-\d{4,}$", description="a review's id, as R-0012")
    cursor: Cursor = None
