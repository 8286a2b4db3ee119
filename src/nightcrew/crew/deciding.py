"""Deciding reviews: written down, signed by a person, verified, and then let happen, all or nothing.

The two halves, ``prepare`` and ``finish``, are apart because a passkey signs in the browser between them. Nothing is
remembered in between: ``finish`` makes the subjects anew and believes only the signature.
"""

from collections.abc import Callable, Mapping, Sequence

from nightcrew.approvals import (
    Approval,
    Reviewer,
    Signer,
    decision_statement,
    fresh_nonce,
    group_id,
    member,
    sign_statement,
    verify_approval,
)
from nightcrew.approvals.decide import GROUP
from nightcrew.approvals.signer import counter_of
from nightcrew.crew import admission, measuring, rules
from nightcrew.crew.asking import INBOX, ask_back
from nightcrew.crew.project import Project
from nightcrew.crew.published import publish_handoffs
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.clock import Clock
from nightcrew.model.errors import (
    ApprovalError,
    IntegrityError,
    NightcrewError,
    PolicyError,
    TransitionError,
    UsageError,
)
from nightcrew.model.review import ENDING, WAITING, Decision, Review
from nightcrew.model.statement import ApprovalStatement, Envelope, SignerKind, Subject, read_statement, subject_digest
from nightcrew.model.ticket import Event
from nightcrew.pipeline import parked
from nightcrew.store import findings, handoffs, reviews, tickets
from nightcrew.store.store import Tx

MAX_GROUP = 200
"""Reviews that one signature may decide."""


def prepare(
    project: Project,
    review_ids: Sequence[str],
    decision: Decision,
    *,
    reviewer: str,
    comment: str = "",
    escalate_to: str | None = None,
    seen: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> ApprovalStatement:
    """What ``reviewer`` has to sign to decide these reviews; several at once are approved or rejected only.

    ``seen`` maps a review to the digest of the subjects that the reviewer looked at; ``clock`` gives the time of the
    decision if it was taken before now. Raises NotFoundError, UsageError (not one group), TransitionError (decided
    already), PolicyError (the rules do not let this reviewer decide it), ApprovalError (it changed since it was looked
    at).
    """
    ids = tuple(dict.fromkeys(review_ids))
    if not 0 < len(ids) <= MAX_GROUP:
        raise UsageError(f"one signature decides 1 to {MAX_GROUP} reviews")
    if len(ids) > 1 and decision not in ENDING:
        raise UsageError("several reviews at once are approved or rejected; escalate or ask one by one")
    project.anchor.reviewer(project.repository_id, reviewer)
    if decision is Decision.ASK and not comment.strip():
        raise UsageError("a question needs its text", hint="Write it as the comment.")
    with project.store.read() as tx:
        if escalate_to is not None:
            _check_next(project, tx, ids[0], escalate_to)
        subjects = {one: _open_subjects(project, tx, one, decision, reviewer, (seen or {}).get(one)) for one in ids}
    single = len(ids) == 1
    return decision_statement(
        reviewer=reviewer,
        repository=project.repository_id,
        review_id=ids[0] if single else group_id(ids),
        subjects=subjects[ids[0]]
        if single
        else [member(one, subject_digest(found)) for one, found in subjects.items()],
        decision=decision,
        nonce=fresh_nonce(),
        clock=clock or project.clock,
        comment=comment,
        escalate_to=escalate_to,
        policy_sha256=project.playbook_sha256,
    )


def finish(project: Project, envelope: Envelope) -> list[Review]:
    """Verify a signed decision over what lies here now, and let it happen; gives the reviews as they are then.

    Raises ApprovalError, TransitionError, PolicyError; what was refused is in the ledger.
    """
    try:
        with project.store.begin() as tx:
            decided = record(project, tx, envelope)
    except TransitionError:  # to click twice is no attack
        raise
    except (PolicyError, IntegrityError) as error:
        _log_refusal(project, envelope, str(error))
        raise
    project.pin_ledger()
    if asked := [one.ticket for one in decided if _read(envelope).predicate.decision is Decision.ASK]:
        with project.store.read() as tx:
            written = [one.id for name in asked for one in handoffs.list(tx, ticket=name, session=INBOX)]
        publish_handoffs(project, written)
    return decided


def decide(
    project: Project,
    review_ids: Sequence[str],
    decision: Decision,
    *,
    reviewer: str | None,
    signer: Callable[[Sequence[Reviewer]], Signer],
    comment: str = "",
    escalate_to: str | None = None,
) -> list[Review]:
    """``prepare``, sign, ``finish``. ``reviewer`` may be None if only one is enrolled.

    ``signer`` is called once, with the reviewer's keys, after everything else is known to fit. Raises as they do.
    """
    from nightcrew.crew.reviewers import name_of

    with project.store.read() as tx:
        for one in review_ids:  # What does not exist is said before who may decide it.
            reviews.get(tx, one)
    name = name_of(project, reviewer)
    statement = prepare(project, review_ids, decision, reviewer=name, comment=comment, escalate_to=escalate_to)
    return finish(project, sign_statement(signer(project.anchor.keys(project.repository_id, name)), statement))


def prepare_records(
    project: Project,
    names: Sequence[str],
    decision: Decision,
    *,
    reviewer: str,
    comment: str = "",
    seen: Mapping[str, str] | None = None,
) -> ApprovalStatement:
    """As ``prepare``, for records (``PIPELINE/KEY``) that a gate holds, all of one pipeline."""
    project.anchor.reviewer(project.repository_id, reviewer)
    return parked.prepare(
        project.store,
        names,
        decision,
        repository=project.repository_id,
        reviewer=reviewer,
        clock=project.clock,
        comment=comment,
        policy_sha256=project.playbook_sha256,
        seen=seen,
    )


def finish_records(project: Project, names: Sequence[str], envelope: Envelope) -> int:
    """As ``finish``, for records; gives how many were decided."""
    count = parked.finish(
        project.store,
        names,
        envelope,
        anchor=project.anchor,
        repository=project.repository_id,
        clock=project.clock,
        verified_by=lambda verified: _advance_counters(project, verified),
    )
    project.pin_ledger()
    return count


def decide_records(
    project: Project,
    names: Sequence[str],
    decision: Decision,
    *,
    reviewer: str | None,
    signer: Callable[[Sequence[Reviewer]], Signer],
    comment: str = "",
) -> int:
    """As ``decide``, for records; gives how many were decided."""
    from nightcrew.crew.reviewers import name_of

    name = name_of(project, reviewer)
    statement = prepare_records(project, names, decision, reviewer=name, comment=comment)
    keys = project.anchor.keys(project.repository_id, name)
    return finish_records(project, names, sign_statement(signer(keys), statement))


def record(project: Project, tx: Tx, envelope: Envelope) -> list[Review]:
    """Verify a signed decision and let it happen in a transaction of the caller's; the ledger is not pinned."""
    said = _read(envelope)
    predicate = said.predicate
    ids = _named(said)
    verified = [
        verify_approval(
            envelope,
            anchor=project.anchor,
            repository=project.repository_id,
            review_id=one,
            subjects=_open_subjects(project, tx, one, predicate.decision, predicate.reviewer, None),
            clock=project.clock,
            decision=predicate.decision,
            used_nonces=lambda nonce: reviews.nonce_user(tx, nonce),
        )
        for one in ids
    ]
    reviews.sign(
        tx,
        ids,
        decision=predicate.decision,
        reviewer=verified[0].reviewer,
        comment=verified[0].comment,
        envelope=envelope.encode().decode(),
        nonce=verified[0].nonce,
        scope=predicate.review_id,
    )
    for one, approval in zip(ids, verified, strict=True):
        _let_happen(project, tx, reviews.get(tx, one), approval)
    # Last of what can refuse: from here on the same touch of a key counts nowhere else.
    _advance_counters(project, envelope)
    return [reviews.get(tx, one) for one in ids]


def subjects_of(tx: Tx, review: Review) -> tuple[Subject, ...]:
    """What a decision is about, as it lies here now: exactly what the review was asked for. Raises IntegrityError."""
    ticket = tickets.verify_row(tx, review.ticket)
    with_change = review.on_approve is not Event.APPROVE_WORK
    subjects = admission.subjects_now(tx, ticket, review.handoff, with_change=with_change)
    reviews.verify_row(tx, review.id)
    if rules.asked(tx, review.id)["subject_digest"] != subject_digest(subjects):
        raise IntegrityError(f"{review.id} is not what was asked for: its ticket, handoff or commit changed")
    return subjects


def _open_subjects(
    project: Project, tx: Tx, review_id: str, decision: Decision, reviewer: str, seen: str | None
) -> tuple[Subject, ...]:
    review = reviews.get(tx, review_id)
    if review.state not in WAITING:
        raise TransitionError(f"{review_id} was decided already: {review.state}", hint="See: nightcrew inbox")
    subjects = subjects_of(tx, review)
    if seen is not None and seen != subject_digest(subjects):
        raise ApprovalError(f"{review_id} changed since it was opened", hint="Read it again, then decide.")
    if decision in ENDING:
        if not rules.needs_of(project, tx, review).allows(reviewer):
            raise PolicyError(
                f"the playbook does not let {reviewer} decide {review.id}",
                hint=f"See who may: nightcrew inbox show {review.id}",
            )
        if decision is Decision.APPROVE and reviewer in _approved_by(tx, review_id):
            raise PolicyError(
                f"{reviewer} approved {review_id} already, and it needs another person",
                hint="Ask the next reviewer, or escalate it.",
            )
    return subjects


def _check_next(project: Project, tx: Tx, review_id: str, name: str) -> None:
    project.anchor.reviewer(project.repository_id, name)
    if not rules.needs_of(project, tx, reviews.get(tx, review_id)).allows(name):
        raise PolicyError(
            f"the playbook does not let {name} decide {review_id}", hint=f"nightcrew inbox show {review_id}"
        )


def _approved_by(tx: Tx, review_id: str) -> set[str]:
    return {one.reviewer for one in reviews.vouched(tx, review_id) if one.decision is Decision.APPROVE}


def _read(envelope: Envelope) -> ApprovalStatement:
    """What the envelope says it is about; nothing of it is believed before its signature was verified."""
    statement = read_statement(envelope.body())
    if not isinstance(statement, ApprovalStatement):
        raise ApprovalError(f"a statement of type {statement.predicateType} decides nothing")
    return statement


def _named(statement: ApprovalStatement) -> list[str]:
    if not statement.predicate.review_id.startswith(GROUP):
        return [statement.predicate.review_id]
    ids = [subject.name.removeprefix("review/") for subject in statement.subject]
    if len(ids) > MAX_GROUP or group_id(ids) != statement.predicate.review_id:
        raise ApprovalError("the signature names another group of reviews than its subjects")
    if statement.predicate.decision not in ENDING:
        raise ApprovalError("several reviews at once are approved or rejected only")
    return ids


def _advance_counters(project: Project, envelope: Envelope) -> None:
    """A passkey or a security key counts its signatures: one that counts no further than before is a copy of it."""
    kinds = {one.key_id: one.kind for one in project.anchor.reviewers(project.repository_id)}
    for signature in envelope.signatures:
        kind = kinds[signature.keyid]
        if kind in (SignerKind.PASSKEY, SignerKind.SSH):
            count = counter_of(kind, signature.value())
            project.anchor.advance_counter(project.repository_id, signature.keyid, count)


def _let_happen(project: Project, tx: Tx, review: Review, approval: Approval) -> None:
    actor = f"reviewer:{approval.reviewer}"
    if approval.decision is Decision.APPROVE:
        _approve(project, tx, review, approval, actor)
    elif approval.decision is Decision.REJECT:
        _reject(project, tx, review, approval, actor)
    elif approval.decision is Decision.ASK:
        ask_back(tx, review, question=approval.comment, reviewer=approval.reviewer)
    else:
        rules.hand_on(project, tx, review, to=approval.escalate_to, reason=approval.comment, actor=actor)


def _approve(project: Project, tx: Tx, review: Review, approval: Approval, actor: str) -> None:
    ticket = tickets.get(tx, review.ticket)
    counted, _ = admission.counted(project, tx, ticket, review)
    if len({one.reviewer for one in counted}) < rules.needs_of(project, tx, review).approvals:
        rules.hand_on(project, tx, review, reason=f"{approval.reviewer} approved it", actor=actor)
        return
    settled = reviews.settle(tx, review.id, Decision.APPROVE, reviewer=approval.reviewer, comment=approval.comment)
    measuring.review_decided(tx, settled)
    tickets.apply_approved(
        tx,
        review.ticket,
        review.on_approve,
        actor=actor,
        review=review.id,
        envelopes_sha256=[one.envelope_sha256 for one in counted],
        reason=approval.comment,
        note=f"approved by {' and '.join(sorted({one.reviewer for one in counted}))} in {review.id}",
    )


def _reject(project: Project, tx: Tx, review: Review, approval: Approval, actor: str) -> None:
    settled = reviews.settle(tx, review.id, Decision.REJECT, reviewer=approval.reviewer, comment=approval.comment)
    measuring.review_decided(tx, settled)
    note = f"rejected by {approval.reviewer} in {review.id}: {approval.comment}"[:500]
    tickets.apply(tx, review.ticket, Event.REJECT, actor=actor, reason=approval.comment, note=note)
    if review.on_approve is not Event.APPROVE_WORK:
        return  # It is the change that was rejected; what was found in it was true.
    if rules.needs_of(project, tx, review).approvals > 1:
        return  # One person ends the ticket; that nobody hears of such a finding again takes more than one.
    for finding in rules.findings_asked(tx, review):
        if findings.find(tx, finding.fingerprint) is not None:
            findings.set_state(tx, finding.fingerprint, "false_positive", actor=actor)


def _log_refusal(project: Project, envelope: Envelope, reason: str) -> None:
    """Keep what was refused: who looks later sees that somebody tried."""
    said = f"{reason} (envelope {sha256_hex(envelope.encode())[:16]})"
    try:
        named = _named(_read(envelope))
    except NightcrewError:
        named = ["unreadable"]
    with project.store.begin() as tx:
        for one in named:
            admission.log_refusal(tx, one[:100], said, actor="inbox", action="decision.refuse")
