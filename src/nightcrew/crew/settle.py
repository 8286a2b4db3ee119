"""From an outcome to a handoff at a desk: written, routed and applied in one transaction."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from nightcrew.approvals import sign_verdict
from nightcrew.crew import admission, rules
from nightcrew.crew.memory import DECISIONS
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.project import Project
from nightcrew.model.budget import Spent
from nightcrew.model.deciding import next_reviewer
from nightcrew.model.errors import IntegrityError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import HUMAN, Handoff, HandoffKind, Verdict
from nightcrew.model.review import WAITING, Review, ReviewState
from nightcrew.model.routing import Route, route
from nightcrew.model.severity import Severity
from nightcrew.model.statement import subject_digest
from nightcrew.model.ticket import Event, State, Ticket
from nightcrew.store import findings, handoffs, ids, journal, ledger, reviews, sessions, tickets, turns
from nightcrew.store.sessions import Session
from nightcrew.store.store import Tx

_CHECKERS = ("qa", "security")


def settle(project: Project, tx: Tx, session_id: str, ticket_id: str, outcome: Outcome) -> str:
    """File the outcome of a session's work on a ticket; gives the handoff's id.

    The handoff, its route, the ticket's new state, the verdict and the review are one transaction: after a kill all of
    it is there, once, or none of it. A ticket whose row is not what the ledger says is not moved: the handoff goes to a
    human, and the ledger says why.
    """
    session = sessions.get(tx, session_id)
    ticket = tickets.get(tx, ticket_id)
    try:
        tickets.verify_row(tx, ticket_id)
    except IntegrityError as error:
        return _set_aside(tx, session, ticket_id, _draft(tx, session, ticket, outcome), str(error))
    draft = _draft(tx, session, ticket, outcome)
    way = _way(project, draft, ticket, outcome)
    handoff = draft.model_copy(update={"to": way.desk, "severity": way.severity or draft.severity})
    handoffs.put(tx, handoff)
    for finding in handoff.findings:
        findings.record(tx, finding, ticket=ticket.id)
    if outcome.decisions:
        journal.put(tx, session_id, ticket_id, DECISIONS, outcome.decisions)
    ticket = _apply(tx, ticket, handoff, way)
    if handoff.kind is HandoffKind.VERDICT:
        _sign(project, tx, ticket, handoff, session.agent)
    if way.event is Event.GATE:
        open_review(project, tx, ticket, handoff, way)
    handoffs.mark_routed(tx, handoff.id)
    sessions.set_ticket_outcome(tx, session_id, ticket.id, outcome=_word(handoff, way), handoff=handoff.id)
    return handoff.id


def _set_aside(tx: Tx, session: Session, ticket_id: str, draft: Handoff, reason: str) -> str:
    handoff = draft.model_copy(update={"to": HUMAN})
    handoffs.put(tx, handoff)
    handoffs.mark_routed(tx, handoff.id)
    admission.log_refusal(tx, ticket_id, reason, actor="router", action="settle.refuse")
    sessions.set_ticket_outcome(tx, session.id, ticket_id, outcome="failed", handoff=handoff.id)
    return handoff.id


def open_review(project: Project, tx: Tx, ticket: Ticket, handoff: Handoff | None, way: Route) -> Review:
    """Ask a human: a review whose subject is exactly the ticket, the handoff and the commits as they are now."""
    with_change = way.on_approve not in (Event.APPROVE_WORK, None)
    subjects = admission.subjects_now(tx, ticket, handoff.id if handoff else None, with_change=with_change)
    now = tx.now()
    facts = rules.facts_of(tx, ticket, handoff, way.severity)
    needed = rules.needs_now(project, facts)
    review = Review(
        id=ids.next_id(tx, "R"),
        ticket=ticket.id,
        reason=way.reason,
        severity=way.severity or Severity.HIGH,
        confidence=_confidence(rules.findings_of(tx, ticket, handoff)),
        breaks_build=ticket.breaks_build,
        handoff=handoff.id if handoff else None,
        subjects=tuple(subject.plain() for subject in subjects),
        subject_digest=subject_digest(subjects),
        on_approve=way.on_approve or Event.APPROVE_WORK,
        assigned=next_reviewer(project.playbook.review, needed, people=rules.people(project), current=None, at=now),
        created=now,
        deadline=now + timedelta(hours=needed.deadline_hours),
    )
    reviews.add(tx, review, needs=rules.sealed(tx, ticket, handoff, facts, needed))
    tickets.edit(tx, ticket.id, actor="router", changes={"review": review.id})
    return review


def ask_again(project: Project, tx: Tx, ticket_id: str, reason: str) -> Review | None:
    """A gated ticket that is open without an approval that counts goes to the inbox: nothing else would bring it on.

    Its approval was revoked, say, or was for a commit that could not be merged. None if the ticket is not open.
    """
    ticket = tickets.get(tx, ticket_id)
    if ticket.state is not State.OPEN:
        return None
    for old in reviews.list(tx, ticket=ticket_id, broken=[]):
        if old.state in WAITING | {ReviewState.APPROVED}:
            reviews.void(tx, old.id, reason=reason, actor="planner")
    ticket = tickets.apply(tx, ticket_id, Event.GATE, actor="planner", reason=reason)
    return ask_for_work(project, tx, ticket, f"it needs an approval, and has none that counts: {reason}"[:500])


def ask_for_work(project: Project, tx: Tx, ticket: Ticket, reason: str) -> Review:
    """Ask a human whether a ticket that is in review may be worked, with nothing but the ticket to look at."""
    return open_review(project, tx, ticket, None, Route(HUMAN, Event.GATE, reason, ticket.severity, Event.APPROVE_WORK))


def _way(project: Project, draft: Handoff, ticket: Ticket, outcome: Outcome) -> Route:
    if outcome.failure is not None:
        return Route(HUMAN, Event.QUARANTINE, f"{outcome.failure}: {outcome.done}"[:500], None, None)
    return route(draft, ticket, project.playbook)


def _draft(tx: Tx, session: Session, ticket: Ticket, outcome: Outcome) -> Handoff:
    return Handoff.read(
        {
            "id": ids.next_id(tx, "H", width=6),
            "from": session.agent,
            "to": "router",
            "ticket": ticket.id,
            "session": session.id,
            "kind": outcome.kind,
            "verdict": outcome.verdict,
            "severity": outcome.severity,
            "breaks_build": outcome.breaks_build,
            "brain": outcome.brain,
            "change": outcome.change,
            "checks": outcome.checks,
            "findings": outcome.findings,
            "budget": Spent(used=turns.used(tx, session.id), soft=session.budget.soft, hard=session.budget.hard),
            "created": tx.now(),
            "done": outcome.done,
            "questions": outcome.questions,
            "next": outcome.next,
        },
        source=f"the handoff of {session.id} on {ticket.id}",
    )


def _apply(tx: Tx, ticket: Ticket, handoff: Handoff, way: Route) -> Ticket:
    """Move the ticket by the route's event; severity and 'breaks the build' only rise, and only at the gate."""
    changes: dict[str, Any] = {"note": _note(handoff, way)}
    # QA's verdict may be on a commit with tests of its own on top: that commit goes on, and is what was checked.
    added_tests = handoff.sender == "qa" and handoff.kind is HandoffKind.VERDICT
    if handoff.change is not None and (handoff.kind in (HandoffKind.WORK, HandoffKind.QUESTION) or added_tests):
        changes |= {"base": handoff.change.base, "head": handoff.change.head}
    if handoff.findings:
        known = (*ticket.findings, *(finding.fingerprint for finding in handoff.findings))
        changes["findings"] = tuple(dict.fromkeys(known))
    if way.event is Event.GATE:
        breaks = handoff.breaks_build or any(finding.breaks_build for finding in handoff.findings)
        severity = way.severity if ticket.severity is None else ticket.severity.raised_to(way.severity)
        changes |= {"severity": severity, "breaks_build": ticket.breaks_build or breaks}
    if way.event is Event.SEND_BACK or (way.event is Event.DEFER and handoff.sender not in _CHECKERS):
        changes |= {"base": None, "head": None}
    return tickets.apply(tx, ticket.id, way.event, actor="router", reason=way.reason, **changes)


def _sign(project: Project, tx: Tx, ticket: Ticket, handoff: Handoff, desk: str) -> None:
    subjects = admission.verdict_subjects(tx, ticket, handoff.id)
    envelope = sign_verdict(
        project.service,
        repository=project.repository_id,
        desk=desk,
        session=handoff.session,
        verdict=handoff.verdict or Verdict.NOT_CHECKED,
        checks=handoff.checks,
        subjects=subjects,
        clock=project.clock,
    )
    ledger.append(
        tx,
        actor=desk,
        action=admission.VERDICT_ACTION,
        subject=f"verdict:{ticket.id}",
        data={
            "desk": desk,
            "handoff": handoff.id,
            "head": ticket.head,
            "verdict": handoff.verdict,
            "envelope": envelope.plain(),
        },
    )


def _note(handoff: Handoff, way: Route) -> str:
    first = next((line for line in handoff.done.splitlines() if line.strip()), "")
    said = first if way.event is Event.DEFER else way.reason or first
    return f"{handoff.id} from {handoff.sender}: {said}"[:500]


def _confidence(found: Iterable[Finding]) -> float | None:
    known = [finding.confidence for finding in found if finding.confidence is not None]
    return max(known, default=None)


def _word(handoff: Handoff, way: Route) -> str:
    words = {
        Event.DEFER: "deferred",
        Event.SEND_BACK: "sent_back",
        Event.GATE: "in_review",
        Event.SUBMIT: "submitted",
        Event.PASS_QA: "passed",
        Event.PASS_SECURITY: "passed",
        Event.QUARANTINE: "quarantined",
    }
    return words.get(way.event, str(handoff.kind))
