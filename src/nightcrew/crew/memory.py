"""Session records: written when a session ends, found again by text, given to the next session as context."""

from collections.abc import Iterable, Iterator

from nightcrew.brains import Context, Piece
from nightcrew.crew.project import Project
from nightcrew.model.errors import IntegrityError
from nightcrew.model.handoff import Handoff
from nightcrew.model.record import Recalled, SessionRecord
from nightcrew.model.review import Decision
from nightcrew.model.ticket import Ticket
from nightcrew.store import handoffs, journal, records, reviews
from nightcrew.store.sessions import Session
from nightcrew.store.store import Tx

DECISIONS = "decisions"
"""Where the journal of a session has what was decided about a ticket."""
HANDOFFS = 10
RECORDS = 3
"""How many handoffs to its desk, and how many records, an agent is given at most."""


def recall(project: Project, query: str, limit: int = 10) -> list[Recalled]:
    """The session records that fit ``query`` best; the latest for an empty query."""
    with project.store.read() as tx:
        return records.search(tx, query, limit)


def context_for(project: Project, tx: Tx, agent: str, ticket: Ticket) -> Context:
    """What an agent reads beside the ticket: duties, handoffs to its desk, recalled records; each names its source."""
    desks = {agent, "build"} if agent in project.settings.builders else {agent}
    written = [one for one in handoffs.list(tx, ticket=ticket.id) if one.to in desks and is_genuine(tx, one)]
    found = records.search(tx, f"{ticket.id} {ticket.title}", RECORDS)
    return Context(
        duties=tuple(duties(project, agent)),
        handoffs=(
            *(
                Piece(f"handoff {one.id} from {one.sender}", f"{one.done}\n\n{one.questions}\n\n{one.next}")
                for one in written[-HANDOFFS:]
            ),
            *said_of(tx, ticket.id),
        ),
        records=tuple(Piece(f"record of session {one.record.session}", as_text(one.record)) for one in found),
    )


def said_of(tx: Tx, ticket: str) -> list[Piece]:
    """What reviewers said about a ticket, for the agent that works it next."""
    found = []
    for review in reviews.list(tx, ticket=ticket, broken=[]):
        for one in reviews.vouched(tx, review.id):
            if one.comment and one.decision is not Decision.ASK:  # a question is a handoff of its own
                text = f"{one.decision.value} ({review.reason}): {one.comment}"
                found.append(Piece(f"decision of {one.reviewer} in {review.id}", text))
    return found


def is_genuine(tx: Tx, handoff: Handoff) -> bool:
    """Whether the ledger vouches for the handoff's bytes: what somebody put there by hand reaches no agent."""
    try:
        handoffs.verify(tx, handoff.id)
    except IntegrityError:
        return False
    return True


def as_text(record: SessionRecord) -> str:
    """A record as an agent reads it."""
    lists = (("Decisions", record.decisions), ("Open questions", record.questions), ("Files", record.files[:30]))
    parts = [record.title, record.summary]
    parts += [f"{name}:\n" + "\n".join(f"- {one}" for one in given) for name, given in lists if given]
    return "\n".join(parts)


def duties(project: Project, agent: str) -> Iterable[str]:
    """What the playbook says an agent must do."""
    rules = project.playbook.agents.get(agent)
    return rules.must if rules else ()


def leave_record(tx: Tx, session: Session) -> None:
    """Write the record of a session from the handoffs that it leaves."""
    written = handoffs.list(tx, session=session.id)
    outcomes = {row.ticket: row.outcome for row in session.tickets}
    files = sorted({path for handoff in written if handoff.change for path in handoff.change.files})
    lines = [f"{handoff.ticket}: {outcomes.get(handoff.ticket or '')}: {_first(handoff.done)}" for handoff in written]
    records.put(
        tx,
        SessionRecord(
            session=session.id,
            agent=session.agent,
            shift=session.shift,
            tickets=tuple(outcomes),
            title=f"{session.agent}: {', '.join(outcomes) or 'nothing to do'}",
            summary="\n".join(lines) or "No ticket was worked.",
            decisions=tuple(_decisions(tx, session)),
            files=tuple(files[:200]),
            questions=tuple(handoff.questions for handoff in written if handoff.questions),
            created=tx.now(),
        ),
    )


def _decisions(tx: Tx, session: Session) -> Iterator[str]:
    for row in session.tickets:
        for decision in journal.get(tx, session.id, row.ticket, DECISIONS) or ():
            yield f"{row.ticket}: {decision}"


def _first(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")[:300]
