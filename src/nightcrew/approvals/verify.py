"""The one check that admits: a person's signature stands, now, for exactly this.

The planner and the merger call it each time; it has no way to be told "approved". What it asks each time are the
chain's files, the subjects, the clock and the nonces; only that certain bytes are a good signature is remembered within
the process, see ``signer.verify_signature`` and ``ChainFiles.verified``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nightcrew.approvals.decide import GROUP, member
from nightcrew.approvals.reviewer import Refused, signers_of
from nightcrew.approvals.subjects import differences
from nightcrew.approvals.trust import TrustAnchor
from nightcrew.model.clock import Clock, isoformat
from nightcrew.model.errors import ApprovalError, DocumentError
from nightcrew.model.review import Decision
from nightcrew.model.statement import (
    PAYLOAD_TYPE,
    ApprovalPredicate,
    ApprovalStatement,
    Envelope,
    Subject,
    read_envelope,
    read_statement,
    subject_digest,
)

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far ahead of this machine's clock a signature's time may be."""


@dataclass(frozen=True)
class Approval:
    """A decision whose signatures were verified; ``signers`` are reviewers' names, ``reviewer`` is one of them."""

    repository: str
    review_id: str
    decision: Decision
    reviewer: str
    signers: tuple[str, ...]
    time: datetime
    nonce: str
    comment: str
    escalate_to: str | None
    policy_sha256: str | None
    subjects: tuple[Subject, ...]
    envelope_sha256: str


def verify_approval(
    envelope: bytes | Mapping[str, Any] | Envelope,
    *,
    anchor: TrustAnchor,
    repository: str,
    review_id: str,
    subjects: Sequence[Subject],
    clock: Clock,
    decision: Decision = Decision.APPROVE,
    used_nonces: Callable[[str], str | None] | None = None,
) -> Approval:
    """Verify that enrolled reviewers signed ``decision`` in this review over exactly ``subjects``.

    ``subjects`` is what lies here now, made anew by the caller from the repository and the store, never taken from the
    envelope. A decision about a group of reviews counts for each review that it names with the digest of exactly these
    subjects. ``used_nonces(nonce)`` gives the id of the review that used a nonce, or None; a nonce used in another
    review is a replay. Every signature in the envelope has to be good, one bad one spoils it.

    Raises ApprovalError with the reason, IntegrityError if the anchor itself was tampered with.
    """
    try:
        read = envelope if isinstance(envelope, Envelope) else read_envelope(envelope)
        predicate, signed, signers = _authentic(read, anchor, repository)
        _check_predicate(predicate, repository, decision, signers)
        _check_subjects(predicate.review_id, signed, review_id, subjects)
        _check_fresh(predicate, clock(), used_nonces)
    except (Refused, DocumentError) as error:
        raise ApprovalError(
            f"the signature for review {review_id} does not count: {error}",
            hint=f"Look at it again, and decide anew, with: nightcrew inbox show {review_id}",
        ) from None
    return Approval(
        repository=predicate.repository,
        review_id=predicate.review_id,
        decision=predicate.decision,
        reviewer=predicate.reviewer,
        signers=signers,
        time=predicate.time,
        nonce=predicate.nonce,
        comment=predicate.comment,
        escalate_to=predicate.escalate_to,
        policy_sha256=predicate.policy_sha256,
        subjects=signed,
        envelope_sha256=read.sha256(),
    )


def _authentic(
    envelope: Envelope, anchor: TrustAnchor, repository: str
) -> tuple[ApprovalPredicate, tuple[Subject, ...], tuple[str, ...]]:
    """What enrolled reviewers signed, and their names. Nothing of the payload is parsed before its signatures hold."""
    if envelope.payloadType != PAYLOAD_TYPE:
        raise Refused(f"its payload type is {envelope.payloadType}, not {PAYLOAD_TYPE}")
    signers = signers_of(envelope, anchor.reviewers(repository), anchor.service_key_id())
    statement = read_statement(envelope.body())
    if not isinstance(statement, ApprovalStatement):
        raise Refused(f"it is a statement of type {statement.predicateType}, not a decision")
    return statement.predicate, statement.subject, tuple(signer.name for signer in signers)


def _check_predicate(
    predicate: ApprovalPredicate, repository: str, decision: Decision, signers: tuple[str, ...]
) -> None:
    if predicate.repository != repository:
        raise Refused("it was signed for another repository")
    if predicate.reviewer not in signers:
        raise Refused(f"it names {predicate.reviewer}, but is signed by {', '.join(signers)}")
    if predicate.decision is not decision:
        raise Refused(f"the decision signed is {predicate.decision.value}, not {decision.value}")


def _check_subjects(signed_for: str, signed: tuple[Subject, ...], review_id: str, subjects: Sequence[Subject]) -> None:
    if signed_for.startswith(GROUP):
        wanted = member(review_id, subject_digest(subjects))
        signed = tuple(subject for subject in signed if subject.name == wanted.name)
        subjects = (wanted,)
    elif signed_for != review_id:
        raise Refused(f"it was signed for review {signed_for}")
    if differing := differences(signed, subjects):
        raise Refused(f"it was signed for something else: {'; '.join(differing)}")


def _check_fresh(predicate: ApprovalPredicate, now: datetime, used_nonces: Callable[[str], str | None] | None) -> None:
    if predicate.time > now + CLOCK_TOLERANCE:
        raise Refused(f"its time lies in the future: {isoformat(predicate.time)}, and now is {isoformat(now)}")
    used_by = used_nonces(predicate.nonce) if used_nonces is not None else None
    if used_by is not None and used_by != predicate.review_id:
        raise Refused(f"its nonce was used in review {used_by}")
