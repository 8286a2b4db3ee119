"""Who may enter: the signatures that a gated ticket or change needs, verified anew at every use.

The planner and the merger both ask here. Nothing in the database means "approved": a row can be edited, a signature
over exactly this subject cannot be made without a reviewer's key.
"""

from collections.abc import Iterator
from datetime import datetime

from nightcrew.approvals import Approval, verify_approval, verify_verdict
from nightcrew.approvals.verify import CLOCK_TOLERANCE
from nightcrew.crew import rules
from nightcrew.crew.project import Project
from nightcrew.model.errors import (
    ApprovalError,
    ConfigurationError,
    IntegrityError,
    NightcrewError,
    NotFoundError,
    NotVerifiedError,
)
from nightcrew.model.handoff import Verdict, content_digest
from nightcrew.model.review import Review
from nightcrew.model.statement import Subject, subject_of
from nightcrew.model.ticket import Event, Ticket
from nightcrew.store import handoffs, ledger, reviews, tickets
from nightcrew.store.store import Tx

VERDICT_ACTION = "verdict.sign"
_ASKED_BY = {Event.APPROVE_TO_SECURITY: "qa", Event.APPROVE_CHANGE: "security"}


def subjects_now(tx: Tx, ticket: Ticket, handoff: str | None, *, with_change: bool) -> tuple[Subject, ...]:
    """What an approval would have to name, made anew from what is stored now.

    Raises IntegrityError for a handoff that is not the one that was written.
    """
    return subject_of(
        ticket_id=ticket.id,
        ticket_digest=ticket.work_digest,
        handoff_id=handoff,
        handoff_sha256=_written_digest(tx, handoff) if handoff else None,
        base_commit=ticket.base if with_change else None,
        head_commit=ticket.head if with_change else None,
    )


def verdict_subjects(tx: Tx, ticket: Ticket, handoff: str) -> tuple[Subject, ...]:
    """What a verdict is about: the handoff that says it, and exactly the commits. The ticket may change under it."""
    return subject_of(
        handoff_id=handoff,
        handoff_sha256=_written_digest(tx, handoff),
        base_commit=ticket.base,
        head_commit=ticket.head,
    )


def _written_digest(tx: Tx, handoff: str) -> str:
    handoffs.verify(tx, handoff)
    return content_digest(handoffs.get(tx, handoff)[1])


def is_gated(project: Project, ticket: Ticket) -> bool:
    """Whether a human must have signed before this ticket is worked or merged."""
    gate = project.playbook.gates.severity
    return ticket.breaks_build or (ticket.severity is not None and ticket.severity.at_least(gate))


def approval_of(project: Project, tx: Tx, ticket: Ticket) -> str | None:
    """The review whose signature stands, now, for this ticket as it is; None if nobody signed anything for it.

    Raises ApprovalError with the reason if there are approvals and none of them counts.
    """
    return _first_valid(project, tx, ticket, None)


def change_approval_of(project: Project, tx: Tx, ticket: Ticket, event: Event) -> str | None:
    """As ``approval_of``, for an approval of exactly this change (base and head) that causes ``event``."""
    return _first_valid(project, tx, ticket, event)


def _first_valid(project: Project, tx: Tx, ticket: Ticket, event: Event | None) -> str | None:
    refused: list[str] = []
    other: NightcrewError | None = None
    for review, _ in reviews.approved(tx, ticket.id):
        if event is not None and review.on_approve is not event:
            continue
        try:
            _check_asked_by(tx, review)
            enough(project, tx, ticket, review)
        except (NotVerifiedError, IntegrityError) as error:
            other = error
        except NightcrewError as error:
            refused.append(str(error))
        else:
            return review.id
    if other is not None:
        raise other
    if refused:
        raise ApprovalError("; ".join(refused))
    return None


def enough(project: Project, tx: Tx, ticket: Ticket, review: Review) -> None:
    """Raises ApprovalError unless as many people as the rules ask for have signed, and each signature counts now."""
    needed = rules.needs_of(project, tx, review).approvals
    valid, errors = counted(project, tx, ticket, review)
    people = {approval.reviewer for approval in valid}
    if len(people) < needed:
        if open_ones := [error for error in errors if isinstance(error, NotVerifiedError | ConfigurationError)]:
            raise NotVerifiedError("; ".join(map(str, open_ones)), hint=open_ones[0].hint)
        if damaged := [str(error) for error in errors if isinstance(error, IntegrityError)]:
            raise IntegrityError("; ".join(damaged))
        refused = [str(error) for error in errors]
        have = (
            f"{review.id} needs the approval of {needed} {'people' if needed > 1 else 'person'} and has {len(people)}"
        )
        raise ApprovalError("; ".join([*refused, have] if needed > 1 or not refused else refused))


def counted(project: Project, tx: Tx, ticket: Ticket, review: Review) -> tuple[list[Approval], list[NightcrewError]]:
    """The approvals of a review that count, verified now over what lies here now; and why the others do not."""
    valid: list[Approval] = []
    refused: list[NightcrewError] = []
    needed = rules.needs_of(project, tx, review)
    since = datetime.fromisoformat(rules.asked(tx, review.id)["at"])
    for signed in reviews.approvals(tx, review.id):
        try:
            approval = _verify(project, tx, ticket, review, signed.envelope)
            if not needed.allows(approval.reviewer):
                raise ApprovalError(f"the playbook does not let {approval.reviewer} decide {review.id}")
            if approval.time < since - CLOCK_TOLERANCE:
                raise ApprovalError(f"{approval.reviewer} signed before {review.id} was asked for")
            valid.append(approval)
        except NightcrewError as error:
            refused.append(error)
    return valid, refused


def _check_asked_by(tx: Tx, review: Review) -> None:
    """What an approval of a change causes follows from the desk whose handoff was signed, not from the review's row."""
    desk = _ASKED_BY.get(review.on_approve)
    if desk is None:
        return
    sender = handoffs.verify(tx, review.handoff).sender if review.handoff else "nobody"
    if sender != desk:
        raise ApprovalError(f"{review.id} was asked for by {sender}, which {review.on_approve} does not answer")


def _verify(project: Project, tx: Tx, ticket: Ticket, review: Review, envelope: str) -> Approval:
    with_change = review.on_approve is not Event.APPROVE_WORK
    return verify_approval(
        envelope.encode(),
        anchor=project.anchor,
        repository=project.repository_id,
        review_id=review.id,
        subjects=subjects_now(tx, ticket, review.handoff, with_change=with_change),
        clock=project.clock,
        used_nonces=lambda nonce: reviews.nonce_user(tx, nonce),
    )


def admits(project: Project, tx: Tx, ticket_id: str) -> tuple[Ticket, str | None]:
    """The ticket as it truly is, and the review that admits it if it is gated.

    Raises IntegrityError if its row is not what the ledger says, ApprovalError if it is gated and no signature counts.
    """
    ticket = tickets.verify_row(tx, ticket_id)
    review = approval_of(project, tx, ticket) if is_gated(project, ticket) else None
    if is_gated(project, ticket) and review is None:
        raise ApprovalError(f"{ticket.id} needs a signed approval before it is worked")
    return ticket, review


def refusals(project: Project, tx: Tx, ticket: Ticket) -> Iterator[str]:
    """Why this change must not be merged; empty if it may. Raises NotVerifiedError if that cannot be told now.

    The exact commit passed QA and security by verdicts that nightcrew signed, or a human signed for exactly this
    commit; and a gated ticket has its approval.
    """
    try:
        tickets.verify_row(tx, ticket.id)
    except IntegrityError as error:
        yield str(error)
        return
    if ticket.head is None or ticket.base is None:
        yield f"{ticket.id} names no commit"
        return
    for desk, event in (("qa", Event.APPROVE_TO_SECURITY), ("security", Event.APPROVE_CHANGE)):
        if not passed(project, tx, ticket, desk):
            yield from _unapproved(project, tx, ticket, desk, event)
    if is_gated(project, ticket):
        try:
            if approval_of(project, tx, ticket) is None:
                yield f"{ticket.id} is gated and nobody signed an approval of it"
        except NotVerifiedError:
            raise
        except NightcrewError as error:
            yield str(error)


def _unapproved(project: Project, tx: Tx, ticket: Ticket, desk: str, event: Event) -> Iterator[str]:
    try:
        if change_approval_of(project, tx, ticket, event) is None:
            yield f"{desk} did not pass commit {(ticket.head or '')[:12]}, and nobody signed for it"
    except NotVerifiedError:
        raise
    except NightcrewError as error:
        yield str(error)


def passed(project: Project, tx: Tx, ticket: Ticket, desk: str) -> bool:
    """Whether the last verdict on exactly this base and head that nightcrew signed for ``desk`` is that it passed.

    Whatever else lies there under a verdict's name is no verdict.
    """
    last = None
    for entry in ledger.entries(tx, subject=f"verdict:{ticket.id}"):
        if entry.action != VERDICT_ACTION:
            continue
        try:
            ledger.check(tx, entry)
            data = ledger.data(entry)
            if data["desk"] != desk or data["head"] != ticket.head:
                continue
            subjects = verdict_subjects(tx, ticket, data["handoff"])
            last = verify_verdict(
                data["envelope"], anchor=project.anchor, repository=project.repository_id, desk=desk, subjects=subjects
            )
        except (IntegrityError, NotFoundError):
            last = None  # A verdict that cannot be read may have been any: an earlier one does not stand in for it.
    return last is not None and last.verdict is Verdict.PASSED


def log_refusal(tx: Tx, ticket_id: str, reason: str, *, actor: str, action: str) -> None:
    """Say in the ledger that a ticket was refused, once for as long as action and reason are the same."""
    subject = f"refusal:{ticket_id}"
    before = ledger.latest_for(tx, subject)
    if before is None or before.action != action or ledger.data(before).get("reason") != reason:
        ledger.append(tx, actor=actor, action=action, subject=subject, data={"reason": reason})
