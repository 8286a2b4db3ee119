"""Sessions and handoffs as people look at them."""

from typing import Any

from nightcrew.crew.project import Project
from nightcrew.model.handoff import Handoff
from nightcrew.store import handoffs, sessions, turns
from nightcrew.store.sessions import Session


def list_sessions(project: Project, shift: str | None = None) -> list[tuple[Session, int]]:
    """Sessions with the turns each was charged, oldest first."""
    with project.store.read() as tx:
        return [(session, turns.used(tx, session.id)) for session in sessions.list(tx, shift=shift)]


def show_session(project: Project, session_id: str) -> tuple[Session, int]:
    """One session with its turns; raises NotFoundError."""
    with project.store.read() as tx:
        return sessions.get(tx, session_id), turns.used(tx, session_id)


def list_handoffs(project: Project, ticket: str | None = None, desk: str | None = None) -> list[Handoff]:
    """Handoffs, oldest first."""
    with project.store.read() as tx:
        return handoffs.list(tx, ticket=ticket, desk=desk)


def show_handoff(project: Project, handoff_id: str) -> tuple[Handoff, bytes]:
    """One handoff and its bytes; raises NotFoundError, IntegrityError if they do not fit their hash."""
    with project.store.read() as tx:
        return handoffs.get(tx, handoff_id)


def session_row(session: Session, used: int) -> dict[str, Any]:
    """A session as ``session list --json`` gives it."""
    return {
        "id": session.id,
        "shift": session.shift,
        "agent": session.agent,
        "brain": session.brain,
        "manifest": session.manifest,
        "turns": used,
        "soft": session.budget.soft,
        "hard": session.budget.hard,
        "state": session.state,
        "outcome": session.outcome,
        "note": session.note,
        "tickets": [{"ticket": t.ticket, "outcome": t.outcome, "handoff": t.handoff} for t in session.tickets],
    }
