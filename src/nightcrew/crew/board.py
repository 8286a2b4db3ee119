"""The backlog as a board: what stands at which desk, one ticket with its story, findings, handoffs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightcrew.crew.memory import is_genuine
from nightcrew.crew.project import Project
from nightcrew.model.errors import IntegrityError, NightcrewError
from nightcrew.model.handoff import Handoff
from nightcrew.model.review import Review
from nightcrew.model.ticket import Kind, Priority, State, Ticket
from nightcrew.store import browsing, findings, handoffs, ledger, reviews, sessions, tickets
from nightcrew.store.browsing import TicketRow, cut
from nightcrew.store.findings import KnownFinding
from nightcrew.store.ledger import Entry
from nightcrew.store.sessions import Session

COLUMNS: tuple[tuple[State, str], ...] = (
    (State.OPEN, "Backlog"),
    (State.BUILDING, "Build desk"),
    (State.IN_QA, "QA desk"),
    (State.IN_SECURITY, "Security desk"),
    (State.IN_REVIEW, "Waits for you"),
    (State.READY, "Ready to merge"),
    (State.DONE, "Done"),
    (State.REJECTED, "Rejected"),
    (State.QUARANTINED, "Quarantined"),
)
"""The states in the order of the work, each with the desk that holds tickets in it."""
ON_BOARD = 8
MAX_HISTORY = 500


@dataclass(frozen=True)
class Wanted:
    """What tickets to show; ``text`` is looked for in ids and titles, ``before`` is where the page begins."""

    state: State | None = None
    kind: Kind | None = None
    priority: Priority | None = None
    severity: str | None = None
    text: str = ""
    before: str | None = None

    @property
    def fits(self) -> dict[str, str | None]:
        """The columns that are asked for, apart from the state."""
        return {
            "kind": self.kind and self.kind.value,
            "priority": self.priority and self.priority.value,
            "severity": self.severity,
            "text": self.text or None,
        }


@dataclass(frozen=True)
class Column:
    """One column of the board: how many tickets stand in it, and the first of them."""

    state: State
    title: str
    count: int
    first: Sequence[TicketRow]


@dataclass(frozen=True)
class Story:
    """One ticket and everything that happened to it; ``strange`` are handoffs the ledger does not vouch for."""

    ticket: Ticket
    handoffs: Sequence[Handoff]
    strange: Sequence[str]
    reviews: Sequence[Review]
    findings: Sequence[KnownFinding]
    sessions: Sequence[Session]
    turns: Mapping[str, int]
    history: Sequence[Entry]


def columns(project: Project, wanted: Wanted) -> list[Column]:
    """The board."""
    with project.store.read() as tx:
        counts = browsing.ticket_counts(tx, **wanted.fits)
        first = browsing.tickets_by_state(tx, ON_BOARD, **wanted.fits)
    return [Column(state, title, counts.get(state, 0), first.get(state, [])) for state, title in COLUMNS]


def listed(project: Project, wanted: Wanted) -> tuple[int, list[TicketRow], str | None]:
    """How many tickets fit, a page of them, newest first, and where the next page begins (None at the end)."""
    state = wanted.state and wanted.state.value
    with project.store.read() as tx:
        counts = browsing.ticket_counts(tx, state=state, **wanted.fits)
        found = browsing.ticket_page(tx, before=wanted.before, limit=browsing.PAGE + 1, state=state, **wanted.fits)
    rows, following = cut(found)
    return sum(counts.values()), rows, following.id if following else None


def story(project: Project, ticket_id: str) -> Story:
    """One ticket; raises NotFoundError."""
    with project.store.read() as tx:
        ticket = tickets.get(tx, ticket_id)
        written: list[Handoff] = []
        strange: list[Handoff] = []
        for one in handoffs.list(tx, ticket=ticket_id):
            (written if is_genuine(tx, one) else strange).append(one)
        names = sessions.with_ticket(tx, ticket_id, limit=100)
        return Story(
            ticket=ticket,
            handoffs=written,
            strange=[one.id for one in strange],
            reviews=reviews.list(tx, ticket=ticket_id, broken=[]),
            findings=findings.list(tx, ticket=ticket_id),
            sessions=sessions.some(tx, names),
            turns=browsing.turns_used(tx, names),
            history=[*ledger.entries(tx, subject=f"ticket:{ticket_id}", limit=MAX_HISTORY)],
        )


def found(
    project: Project, *, state: str | None, severity: str | None, text: str | None, before: str | None
) -> tuple[dict[str, int], list[KnownFinding], str | None]:
    """How many findings are in each state, a page of those that fit, and where the next page begins."""
    place = None
    if before and "~" in before:
        seen, _, mark = before.partition("~")
        place = (seen, mark)
    with project.store.read() as tx:
        counts = browsing.finding_counts(tx)
        page = browsing.finding_page(
            tx, state=state, severity=severity, text=text, before=place, limit=browsing.PAGE + 1
        )
    rows, following = cut(page)
    known = []
    for row in rows:
        try:
            known.append(findings.known_from(row))
        except IntegrityError:  # The audit says so; the others are shown.
            continue
    return counts, known, f"{following['last_seen']}~{following['fingerprint']}" if following else None


def finding(project: Project, fingerprint: str) -> KnownFinding | None:
    """One finding, None if there is none or its row is damaged."""
    with project.store.read() as tx:
        try:
            return findings.find(tx, fingerprint)
        except NightcrewError:
            return None


def handoff(project: Project, handoff_id: str) -> tuple[Handoff, bytes, str | None]:
    """One handoff, its bytes, and why it is not what the ledger has, None if it is. Raises NotFoundError."""
    with project.store.read() as tx:
        document, body = handoffs.get(tx, handoff_id)
        try:
            handoffs.verify(tx, handoff_id)
        except IntegrityError as error:
            return document, body, str(error)
        return document, body, None
