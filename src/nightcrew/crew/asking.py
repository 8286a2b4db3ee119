"""Questions back: a reviewer asks, the question goes to the desk as a handoff, the review goes on waiting."""

from nightcrew.model.errors import NightcrewError
from nightcrew.model.handoff import HUMAN, Handoff, HandoffKind
from nightcrew.model.review import Review
from nightcrew.model.ticket import State, Ticket
from nightcrew.store import handoffs, ids, tickets
from nightcrew.store.store import Tx

INBOX = "inbox"
"""The session that a person's handoffs name."""


def open_questions(tx: Tx) -> list[Handoff]:
    """Questions that wait for an answer, oldest first: those of reviews that still wait for a decision."""
    asked = handoffs.list(tx, session=INBOX)
    found = []
    for one in asked:
        if one.ticket is None or not _waits(tx, one.ticket):
            continue
        answers = {other.supersedes for other in handoffs.list(tx, ticket=one.ticket) if other.to == HUMAN}
        if one.id not in answers:
            found.append(one)
    return found


def _waits(tx: Tx, ticket_id: str) -> bool:
    try:
        return tickets.get(tx, ticket_id).state is State.IN_REVIEW
    except NightcrewError:  # Its row is gone or damaged; the audit says so.
        return False


def desk_of(ticket: Ticket, asked_by: Handoff | None) -> str:
    """The desk that can say more about a review: the one that asked for it."""
    if asked_by is not None:
        return asked_by.sender
    return "security" if ticket.origin == "baseline" else "build"


def ask_back(tx: Tx, review: Review, *, question: str, reviewer: str) -> str:
    """Write the question as a handoff to the desk that asked for the review; gives the handoff's id."""
    ticket = tickets.get(tx, review.ticket)
    desk = desk_of(ticket, handoffs.get(tx, review.handoff)[0] if review.handoff else None)
    handoff = Handoff.read(
        {
            "id": ids.next_id(tx, "H", width=6),
            "from": HUMAN,
            "to": desk,
            "ticket": ticket.id,
            "session": INBOX,
            "kind": HandoffKind.QUESTION,
            "created": tx.now(),
            "done": f"{reviewer} looked at {review.id}: {review.reason}",
            "questions": question,
            "next": f"Answer {reviewer}. The review goes on waiting; nothing else changes.",
        },
        source=f"the question in {review.id}",
    )
    handoffs.put(tx, handoff, actor=f"reviewer:{reviewer}")
    handoffs.mark_routed(tx, handoff.id)
    return handoff.id
