"""Session records: written when a session ends, found again by text, given to the next session as context."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from nightcrew.brains import Context, Piece
from nightcrew.crew import recalling
from nightcrew.crew.project import Project
from nightcrew.crew.recollection import fitted, piece_of, size
from nightcrew.model.errors import IntegrityError
from nightcrew.model.handoff import Handoff
from nightcrew.model.outside import Memory
from nightcrew.model.recalling import Clues
from nightcrew.model.record import Recalled, SessionRecord
from nightcrew.model.review import Decision
from nightcrew.model.ticket import Ticket
from nightcrew.store import handoffs, journal, records, reviews, tickets
from nightcrew.store.sessions import Session
from nightcrew.store.store import Tx

DECISIONS = "decisions"
"""Where the journal of a session has what was decided about a ticket."""
HANDOFFS = 10
"""How many handoffs to its desk an agent is given at most."""
WEAKEST = 0.08
"""A record that fits a ticket less than this is noise in its context."""

_QUERY = 2_000
"""Characters of a ticket's body that are looked for."""
_TITLE = 300
_OWN_RECORD = re.compile(r"record of session (S-\d{4,})\b")


def recall(
    project: Project, query: str, limit: int = 10, *, clues: Clues | None = None, stale: bool = False
) -> list[Recalled]:
    """The session records that fit ``query`` best; the latest for an empty query.

    Those older than ``memory.max_age_days`` only with ``stale``.
    """
    with project.store.read() as tx:
        return recalling.find(tx, query, limit, clues=clues, since=None if stale else oldest(project, tx))


def stale_fits(project: Project, query: str, limit: int = 10, *, clues: Clues | None = None) -> int:
    """How many of the records that fit ``query`` best, of any age, are stale."""
    with project.store.read() as tx:
        since = oldest(project, tx)
        found = recalling.find(tx, query, limit, clues=clues)
    return sum(one.record.created < since for one in found)


def recalled_text(project: Project, query: str, limit: int = 5) -> str:
    """What an agent that asks is told: the records that fit, as many as its context may have of them."""
    found = recall(project, query, limit)
    pieces = fitted([piece_of(one.record) for one in found], project.settings.memory.characters)
    return "\n\n".join(f"[{piece.source}]\n{piece.text}" for piece in pieces) or "Nothing fits."


def oldest(project: Project, tx: Tx) -> datetime:
    """Records from before are stale: they stay in the store, and out of what agents are given."""
    return tx.now() - timedelta(days=project.settings.memory.max_age_days)


def context_for(project: Project, tx: Tx, agent: str, ticket: Ticket) -> Context:
    """What an agent reads beside the ticket: duties, handoffs to its desk, recalled records; each names its source."""
    desks = {agent, "build"} if agent in project.settings.builders else {agent}
    written = [one for one in handoffs.list(tx, ticket=ticket.id) if one.to in desks and is_genuine(tx, one)]
    return Context(
        duties=tuple(duties(project, agent)),
        handoffs=(
            *(
                Piece(f"handoff {one.id} from {one.sender}", f"{one.done}\n\n{one.questions}\n\n{one.next}")
                for one in written[-HANDOFFS:]
            ),
            *said_of(tx, ticket.id),
        ),
        records=tuple(recalled_for(project, tx, ticket)),
    )


def recalled_for(project: Project, tx: Tx, ticket: Ticket) -> list[Piece]:
    """The records that fit a ticket, within the budget of ``[memory]``; what was left out for size is said."""
    allowed = project.settings.memory
    query = f"{ticket.title}\n{ticket.body[:_QUERY]}"
    clues = recalling.clues_of(tx, ticket)
    found = recalling.find(tx, query, allowed.records, clues=clues, since=oldest(project, tx))
    return fitted([piece_of(one.record) for one in found if one.score >= WEAKEST], _share(allowed))


def with_elsewhere(project: Project, ticket: Ticket, context: Context) -> Context:
    """The context with what LoreConvo remembers, in what is left of the budget; takes seconds: in no transaction."""
    allowed = project.settings.memory
    if not allowed.loreconvo or not allowed.records:
        return context
    from nightcrew.crew import loreconvo

    had = {own[1] for piece in context.records if (own := _OWN_RECORD.match(piece.source))}
    left = allowed.characters - sum(size(piece) for piece in context.records)
    found = loreconvo.context(project, f"{ticket.id} {ticket.title}", allowed.records, without=had)
    return replace(context, records=(*context.records, *fitted(found, left)))


def _share(allowed: Memory) -> int:
    """How much the own records may take: LoreConvo, if it is used, has a quarter for itself."""
    return allowed.characters * 3 // 4 if allowed.loreconvo else allowed.characters


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


def duties(project: Project, agent: str) -> Iterable[str]:
    """What the playbook says an agent must do."""
    rules = project.playbook.agents.get(agent)
    return rules.must if rules else ()


def leave_record(tx: Tx, session: Session) -> None:
    """Write the record of a session from the handoffs that it leaves."""
    written = handoffs.list(tx, session=session.id)
    outcomes = {row.ticket: row.outcome for row in session.tickets}
    files = sorted({path for handoff in written if handoff.change for path in handoff.change.files})
    titles = {ticket.id: ticket.title for ticket in tickets.some(tx, outcomes)}
    named = [f"{name} {titles[name]}" if name in titles else name for name in outcomes]
    lines = [f"{handoff.ticket}: {outcomes.get(handoff.ticket or '')}: {_first(handoff.done)}" for handoff in written]
    records.put(
        tx,
        SessionRecord(
            session=session.id,
            agent=session.agent,
            shift=session.shift,
            tickets=tuple(outcomes),
            title=_shortened(f"{session.agent}: {'; '.join(named) or 'nothing to do'}"),
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


def _shortened(title: str) -> str:
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 4]} ..."
