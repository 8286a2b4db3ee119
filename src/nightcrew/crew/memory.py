"""Session records: written when a session ends, found again by text, given to the next session as context."""

from collections.abc import Iterable

from nightcrew.crew.project import Project
from nightcrew.model.record import Recalled, SessionRecord
from nightcrew.model.ticket import Ticket
from nightcrew.store import handoffs, records
from nightcrew.store.sessions import Session
from nightcrew.store.store import Tx

CONTEXT_CHARACTERS = 12_000


def recall(project: Project, query: str, limit: int = 10) -> list[Recalled]:
    """The session records that fit ``query`` best; the latest for an empty query."""
    with project.store.read() as tx:
        return records.search(tx, query, limit)


def context_for(project: Project, tx: Tx, agent: str, ticket: Ticket) -> str:
    """What an agent reads beside the ticket: duties, handoffs to its desk, recalled records; each names its source."""
    parts = [f"Playbook, duties of {agent}:\n" + "\n".join(f"- {duty}" for duty in duties(project, agent))]
    for handoff in handoffs.list(tx, ticket=ticket.id, desk=agent):
        parts.append(f"Handoff {handoff.id} from {handoff.sender}:\n{handoff.done}\n{handoff.next}")
    for found in records.search(tx, f"{ticket.id} {ticket.title}", 3):
        parts.append(f"Record of session {found.record.session}:\n{found.record.summary}")
    return "\n\n".join(parts)[:CONTEXT_CHARACTERS]


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
            decisions=tuple(f"{handoff.ticket}: {_first(handoff.done)}" for handoff in written if handoff.brain),
            files=tuple(files[:200]),
            questions=tuple(handoff.questions for handoff in written if handoff.questions),
            created=tx.now(),
        ),
    )


def _first(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")[:300]
