"""The inbox: what waits for a person, what each choice does, and decisions that are signed and verified."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nightcrew.approvals import fresh_nonce, open_key, sign_decision, verify_approval
from nightcrew.crew import admission
from nightcrew.crew.project import Project
from nightcrew.crew.workspace import diff_text
from nightcrew.model.errors import ConfigurationError, IntegrityError, UsageError
from nightcrew.model.handoff import Handoff
from nightcrew.model.review import WAITING, Decision, Review, ReviewState
from nightcrew.model.statement import Subject, subject_digest
from nightcrew.model.ticket import Event, Ticket, next_state
from nightcrew.pipeline import parked
from nightcrew.store import findings, handoffs, ledger, reviews, tickets
from nightcrew.store.store import Tx


@dataclass(frozen=True)
class ReviewView:
    """Everything needed to decide one review; ``effects`` says what each decision does."""

    review: Review
    ticket: Ticket
    handoffs: list[Handoff]
    diff: str
    effects: dict[str, str]


def pending(project: Project) -> list[Review]:
    """Reviews that wait for a person; those past their deadline are escalated first."""
    with project.store.begin() as tx:
        escalate_overdue(project, tx)
        return reviews.list(tx, states=WAITING)


def all_reviews(project: Project) -> list[Review]:
    """Every review ever asked for, oldest first."""
    with project.store.read() as tx:
        return reviews.list(tx)


def row(review: Review) -> dict[str, Any]:
    """A review as ``inbox --json`` gives it."""
    plain = review.plain()
    names = ("id", "ticket", "reason", "severity", "confidence", "deadline", "state", "subject_digest")
    return {name: plain[name] for name in names}


def view(project: Project, review_id: str) -> ReviewView:
    """One review with its ticket, handoffs and diff; raises NotFoundError."""
    with project.store.read() as tx:
        review = reviews.get(tx, review_id)
        ticket = tickets.get(tx, review.ticket)
        chain = handoffs.list(tx, ticket=ticket.id)
    diff = ""
    if ticket.base and ticket.head and review.on_approve is not Event.APPROVE_WORK:
        diff = diff_text(project.root, ticket.base, ticket.head)
    return ReviewView(review, ticket, chain, diff, effects(ticket, review))


def effects(ticket: Ticket, review: Review) -> dict[str, str]:
    """What each decision does to the ticket, in a few words."""
    to = next_state(ticket.state, review.on_approve) if review.state in WAITING else None
    means = {
        Event.APPROVE_WORK: "the ticket may be worked",
        Event.APPROVE_TO_SECURITY: "this commit goes on to the security desk",
        Event.APPROVE_CHANGE: "this commit may be merged",
    }[review.on_approve]
    not_again = ", and its findings are not raised again while the code under them stays as it is"
    return {
        "approve": f"{means}: {ticket.id} becomes {to}" if to else means,
        "reject": f"{ticket.id} becomes rejected" + (not_again if review.on_approve is Event.APPROVE_WORK else ""),
        "escalate": "the next reviewer is asked; nothing else changes",
    }


def decide(
    project: Project,
    review_id: str,
    decision: Decision,
    *,
    reviewer: str | None,
    comment: str,
    passphrase: Callable[[], str],
    escalate_to: str | None = None,
) -> Review:
    """Sign a decision with the reviewer's key, verify it, and let what it says happen.

    ``reviewer`` may be None if only one is enrolled. ``passphrase`` is called once, after everything else is known to
    fit. Raises NotFoundError, UsageError (decided already), ApprovalError, ConfigurationError (no reviewer yet).
    """
    with project.store.read() as tx:
        review = reviews.get(tx, review_id)
        subjects = _subjects(tx, review)
    if review.state not in WAITING:
        raise UsageError(f"{review_id} was decided already: {review.state}", hint="See: nightcrew inbox")
    name = _reviewer_name(project, reviewer)
    key = project.anchor.sealed_key(project.anchor.reviewer(project.repository_id, name).key_id)
    signer = open_key(key, passphrase())
    envelope = sign_decision(
        signer,
        reviewer=name,
        repository=project.repository_id,
        review_id=review_id,
        subjects=subjects,
        decision=decision,
        nonce=fresh_nonce(),
        clock=project.clock,
        comment=comment,
        escalate_to=escalate_to,
        policy_sha256=project.playbook_sha256,
    )
    with project.store.begin() as tx:
        decided = record_decision(project, tx, review_id, decision, envelope.encode().decode())
    project.pin_ledger()
    return decided


def record_decision(project: Project, tx: Tx, review_id: str, decision: Decision, envelope: str) -> Review:
    """Verify a signed decision over the review's subject as it is now, and let it happen. Raises ApprovalError."""
    review = reviews.get(tx, review_id)
    subjects = _subjects(tx, review)
    verified = verify_approval(
        envelope.encode(),
        anchor=project.anchor,
        repository=project.repository_id,
        review_id=review_id,
        subjects=subjects,
        clock=project.clock,
        decision=decision,
        used_nonces=lambda nonce: reviews.nonce_user(tx, nonce),
    )
    decided = reviews.decide(
        tx,
        review_id,
        decision=decision,
        reviewer=verified.reviewer,
        comment=verified.comment,
        envelope=envelope,
        nonce=verified.nonce,
    )
    actor = f"reviewer:{verified.reviewer}"
    if decision is Decision.APPROVE:
        _approve(tx, review, verified, actor)
    elif decision is Decision.REJECT:
        _reject(tx, review, verified, actor)
    else:
        _escalate(project, tx, review, verified.escalate_to, actor)
    return reviews.get(tx, decided.id)


def waiting_records(project: Project, *, limit: int | None) -> list[parked.Parked]:
    """Records of pipelines that a gate holds, oldest first, at most ``limit`` of them."""
    return parked.listed(project.store, states=["in_review"], limit=limit)


def record_row(record: parked.Parked) -> dict[str, Any]:
    """A held record with the same names as a review has in ``inbox --json``."""
    return {
        "id": record.name,
        "ticket": None,
        "reason": record.reason,
        "severity": None,
        "confidence": record.confidence,
        "deadline": None,
        "state": record.state,
        "subject_digest": record.digest,
    }


def decide_records(
    project: Project,
    names: list[str],
    decision: Decision,
    *,
    reviewer: str | None,
    comment: str,
    passphrase: Callable[[], str],
) -> int:
    """Decide records of one pipeline by one signature; gives how many. Raises as ``decide``, and TransitionError."""
    name = _reviewer_name(project, reviewer)
    key = project.anchor.sealed_key(project.anchor.reviewer(project.repository_id, name).key_id)
    count = parked.decide(
        project.store,
        names,
        decision,
        anchor=project.anchor,
        repository=project.repository_id,
        reviewer=name,
        open_signer=lambda: open_key(key, passphrase()),
        clock=project.clock,
        comment=comment,
        policy_sha256=project.playbook_sha256,
    )
    project.pin_ledger()
    return count


def _approve(tx: Tx, review: Review, verified: Any, actor: str) -> None:
    tickets.apply_approved(
        tx,
        review.ticket,
        review.on_approve,
        actor=actor,
        review=review.id,
        envelope_sha256=verified.envelope_sha256,
        reason=verified.comment,
        note=f"approved by {verified.reviewer} in {review.id}",
    )


def _reject(tx: Tx, review: Review, verified: Any, actor: str) -> None:
    note = f"rejected by {verified.reviewer} in {review.id}: {verified.comment}"[:500]
    ticket = tickets.apply(tx, review.ticket, Event.REJECT, actor=actor, reason=verified.comment, note=note)
    if review.on_approve is not Event.APPROVE_WORK:
        return  # It is the change that was rejected; what was found in it was true.
    for fingerprint in ticket.findings:
        findings.set_state(tx, fingerprint, "false_positive", actor=actor)


def _escalate(project: Project, tx: Tx, review: Review, to: str | None, actor: str) -> None:
    """Name the next reviewer; the decision row holds the signature, the review goes on waiting."""
    reviews.escalate(tx, review.id, assigned=to or _next_reviewer(project, review.assigned), reason="", actor=actor)


def escalate_overdue(project: Project, tx: Tx) -> list[str]:
    """Escalate reviews past their deadline to the next reviewer. None approves itself, and none blocks the night."""
    overdue = [review for review in reviews.list(tx, states=[ReviewState.PENDING]) if review.deadline <= tx.now()]
    for review in overdue:
        reviews.escalate(
            tx,
            review.id,
            assigned=_next_reviewer(project, review.assigned),
            reason="its deadline passed",
            actor="clock",
        )
    return [review.id for review in overdue]


def _next_reviewer(project: Project, current: str | None) -> str | None:
    order = project.playbook.review.reviewers
    if not order:
        return None
    return order[(order.index(current) + 1) % len(order)] if current in order else order[0]


def _subjects(tx: Tx, review: Review) -> tuple[Subject, ...]:
    """What a decision is about, as it lies here now: exactly what the review was asked for. Raises IntegrityError."""
    ticket = tickets.verify_row(tx, review.ticket)
    with_change = review.on_approve is not Event.APPROVE_WORK
    subjects = admission.subjects_now(tx, ticket, review.handoff, with_change=with_change)
    asked = next((entry for entry in ledger.entries(tx, subject=f"review:{review.id}", limit=1)), None)
    if asked is None:
        raise IntegrityError(f"{review.id} is not in the ledger")
    ledger.check(tx, asked)
    said = ledger.data(asked)
    now = {"ticket": review.ticket, "subject_digest": subject_digest(subjects), "reason": review.reason}
    if differing := [name for name, value in now.items() if said.get(name) != value]:
        raise IntegrityError(f"{review.id} is not what was asked for: {', '.join(differing)} changed")
    return subjects


def _reviewer_name(project: Project, given: str | None) -> str:
    active = [found.name for found in project.anchor.reviewers(project.repository_id) if found.active]
    if not active:
        raise ConfigurationError("nobody is enrolled as a reviewer yet", hint="Run: nightcrew reviewer add NAME")
    if given is not None:
        return given
    if len(active) > 1:
        raise UsageError(f"say who decides, with --reviewer: {', '.join(active)}")
    return active[0]
