"""The playbook's rules applied to a review: what its decision needs, sealed when it is asked for and read back then."""

from datetime import timedelta
from typing import Any

from nightcrew.crew.project import Project
from nightcrew.model.deciding import Needs, ReviewFacts, needs, next_reviewer, stricter
from nightcrew.model.errors import IntegrityError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Handoff
from nightcrew.model.review import Decision, Review
from nightcrew.model.severity import Severity, highest
from nightcrew.model.ticket import Ticket
from nightcrew.store import findings, handoffs, ledger, reviews, tickets
from nightcrew.store.store import Tx

CLOCK = "clock"
"""Who escalates what waited too long."""
MAX_SEALED = 200
"""Findings that the ledger keeps with a review, at most."""


def findings_of(tx: Tx, ticket: Ticket, handoff: Handoff | None) -> list[Finding]:
    """The findings that a review is about: those of its handoff, else those that its ticket was filed for."""
    if handoff is not None and handoff.findings:
        return list(handoff.findings)
    known = (findings.find(tx, fingerprint) for fingerprint in ticket.findings)
    return [one.finding for one in known if one is not None]


def facts_of(tx: Tx, ticket: Ticket, handoff: Handoff | None, severity: Severity | None) -> ReviewFacts:
    """What the rules look at."""
    found = findings_of(tx, ticket, handoff)
    files = handoff.change.files if handoff is not None and handoff.change is not None else ()
    severities = (severity, ticket.severity, handoff and handoff.severity, *(one.severity for one in found))
    return ReviewFacts(
        severity=highest([one for one in severities if one]) or Severity.HIGH,
        paths=tuple(sorted({*files, *(one.path for one in found if one.path)})),
        sender=handoff.sender if handoff is not None else ("security" if ticket.origin == "baseline" else None),
        categories=tuple(sorted({one.category for one in found})),
    )


def needs_now(project: Project, facts: ReviewFacts) -> Needs:
    """What a review asked for now would need."""
    return needs(project.playbook.review, facts, people=len(people(project)))


def people(project: Project) -> list[str]:
    """The names of those who may decide, each once, in the order of their enrolment."""
    found = project.anchor.reviewers(project.repository_id)
    return list(dict.fromkeys(reviewer.name for reviewer in found if reviewer.active))


def sealed(tx: Tx, ticket: Ticket, handoff: Handoff | None, facts: ReviewFacts, needed: Needs) -> dict[str, Any]:
    """What the ledger keeps of a review beside its row: the rules' facts, its needs, and findings no handoff has."""
    here = [] if handoff is not None and handoff.findings else findings_of(tx, ticket, handoff)
    return {
        "facts": facts.plain(),
        "needs": needed.plain(),
        "findings": [finding.plain() for finding in here[:MAX_SEALED]],
    }


def asked(tx: Tx, review_id: str) -> dict[str, Any]:
    """What the sealed ledger says the review was asked for; raises IntegrityError."""
    entry = next((one for one in ledger.entries(tx, subject=f"review:{review_id}") if one.action == "review.add"), None)
    if entry is None:
        raise IntegrityError(f"{review_id} is not in the ledger")
    ledger.check(tx, entry)
    return {**ledger.data(entry), "at": entry.at}


def findings_asked(tx: Tx, review: Review) -> list[Finding]:
    """The findings that the review was asked for, as they were sealed then, whatever their rows say now."""
    if review.handoff is not None and (found := handoffs.verify(tx, review.handoff).findings):
        return list(found)
    said = asked(tx, review.id).get("needs")
    if said is None:
        return findings_of(tx, tickets.get(tx, review.ticket), None)
    return [Finding.read(one, source=f"a finding of {review.id}") for one in said.get("findings", ())]


def needs_of(project: Project, tx: Tx, review: Review) -> Needs:
    """What the review's decision needs: by today's playbook, on the facts that were sealed when it was asked for.

    Never fewer approvals than were asked for then. Raises IntegrityError if the ledger does not know the review.
    """
    said = asked(tx, review.id).get("needs")
    if said is None:  # asked for by a release that sealed no rules: one person was enough, whoever it was
        return Needs(approvals=1, deadline_hours=project.playbook.review.deadline_hours)
    facts = ReviewFacts.read(said["facts"], source=f"the facts of {review.id}")
    then = Needs.read(said["needs"], source=f"the needs of {review.id}")
    return stricter(then, needs(project.playbook.review, facts, people=1))


def obstacle(project: Project, needed: Needs) -> str | None:
    """Why nobody can decide a review that needs this, in words; None if enough people can."""
    here = [name for name in people(project) if needed.allows(name)]
    if len(here) >= needed.approvals:
        return None
    who = f"of {', '.join(needed.may)}" if needed.may else "of those enrolled"
    return (
        f"it needs the approval of {needed.approvals} {who}, and {len(here)} of these "
        f"{'is' if len(here) == 1 else 'are'} enrolled now ({', '.join(here) or 'nobody'}): enrol another reviewer, or "
        "change the rules in .nightcrew/playbook.md and have the ticket released anew"
    )


def hand_on(
    project: Project, tx: Tx, review: Review, *, to: str | None = None, reason: str = "", actor: str
) -> str | None:
    """Escalate a review to ``to``, by default to whom the rules name next; gives the name.

    Whoever is asked anew gets a new deadline; who was asked already gets none, so that nobody puts it off alone.
    """
    needed = needs_of(project, tx, review)
    done = {one.reviewer for one in reviews.vouched(tx, review.id) if one.decision is Decision.APPROVE}
    assigned = to or next_reviewer(
        project.playbook.review, needed, people=people(project), current=review.assigned, at=tx.now(), done=done
    )
    again = assigned in (None, review.assigned) and actor != CLOCK
    deadline = None if again else tx.now() + timedelta(hours=needed.deadline_hours)
    reviews.escalate(tx, review.id, assigned=assigned, deadline=deadline, reason=reason, actor=actor)
    return assigned
