"""What each tool gives: the models behind the output schemas. What is long comes in parts, see ``next_cursor``."""

from pydantic import Field

from nightcrew.mcp.material import NOTICE
from nightcrew.model.document import Document


class Result(Document):
    """What every result has."""

    notice: str = NOTICE
    left_out: dict[str, int] = Field(default_factory=dict, description="how many items of a list are not here")
    next_cursor: str | None = Field(default=None, description="ask again with this as cursor for what follows")


class TicketLine(Document):
    """A ticket in a list."""

    id: str
    title: str
    kind: str
    priority: str
    severity: str | None
    state: str
    note: str
    created: str


class HandoffLine(Document):
    """A handoff in a list; ``done`` is how it begins."""

    id: str
    sender: str
    desk: str
    ticket: str | None
    session: str
    kind: str
    verdict: str | None
    severity: str | None
    created: str
    done: str


class FindingLine(Document):
    """A finding in a list."""

    severity: str
    tool: str
    rule: str
    message: str
    path: str | None
    line: int | None
    state: str


class ReviewLine(Document):
    """A review in a list; ``overdue`` if its deadline has passed."""

    id: str
    ticket: str
    title: str
    reason: str
    severity: str
    state: str
    desk: str
    created: str
    deadline: str
    overdue: bool


class Event(Document):
    """Something that happened to a ticket."""

    at: str
    who: str
    what: str


class Check(Document):
    """One check of a commit."""

    name: str
    status: str
    detail: str


class BacklogResult(Result):
    """A page of tickets, newest first, and how many of those that fit are in each state."""

    counts: dict[str, int]
    tickets: tuple[TicketLine, ...]


class TicketResult(Result):
    """One ticket with its story."""

    ticket: TicketLine
    body: str
    depends_on: tuple[str, ...]
    origin: str
    branch: str | None
    head: str | None
    handoffs: tuple[HandoffLine, ...]
    findings: tuple[FindingLine, ...]
    reviews: tuple[str, ...]
    history: tuple[Event, ...]
    not_vouched_for: tuple[str, ...] = Field(description="handoffs that are not what the ledger says was written")


class FiledResult(Result):
    """The ticket that was filed; ``new`` is false if the same one waits already."""

    ticket: TicketLine
    new: bool


class HandoffsResult(Result):
    """A page of handoffs, newest first."""

    handoffs: tuple[HandoffLine, ...]
    not_vouched_for: tuple[str, ...] = Field(description="handoffs that are not what the ledger says was written")


class HandoffResult(Result):
    """One handoff: its text is Markdown as it was written, with the front matter."""

    handoff: HandoffLine
    checks: tuple[Check, ...]
    text: str


class RecordLine(Document):
    """What a session left for the next."""

    session: str
    agent: str
    created: str
    title: str
    summary: str
    decisions: tuple[str, ...]
    questions: tuple[str, ...]
    files: tuple[str, ...]
    tickets: tuple[str, ...]
    score: float
    left_out: dict[str, int] = Field(default_factory=dict, description="how many items of a list are not here")


class RecallResult(Result):
    """Records, best first."""

    records: tuple[RecordLine, ...]


class ReportResult(Result):
    """One night as people read it in the morning, in Markdown."""

    shift: str
    outcome: str
    started: str
    ended: str | None
    waiting_reviews: tuple[str, ...]
    text: str


class InboxResult(Result):
    """Reviews, oldest first; ``held_records`` are records of pipelines that a gate holds."""

    reviews: tuple[ReviewLine, ...]
    held_records: int


class ReviewResult(Result):
    """Everything needed to prepare a decision; only a person's signature makes it."""

    review: ReviewLine
    ticket: TicketLine
    body: str
    findings: tuple[FindingLine, ...]
    handoffs: tuple[HandoffLine, ...]
    problem: str | None
    effects: dict[str, str]
    how_to_decide: str
    diff: str


class AgentLine(Document):
    """How an agent is."""

    agent: str
    well: bool
    session: str | None
    problems: tuple[str, ...]


class HealthResult(Result):
    """Every agent of the crew."""

    agents: tuple[AgentLine, ...]


class AlertLine(Document):
    """An alert that fires."""

    id: str
    rule: str
    subject: str
    severity: str
    state: str
    since: str
    message: str
    runbook: str


class AlertsResult(Result):
    """What fires now, the most severe first."""

    alerts: tuple[AlertLine, ...]
