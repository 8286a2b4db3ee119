"""The chain of enrolments and revocations: pure rules, applied when it is written and each time it is read.

The first enrolment is signed by the key that it enrols. Each later statement is signed by reviewers who are enrolled
and not revoked at that point, and names the repository and the statement before it, so that none can be left out,
moved, or taken from another repository. The order of the chain, not the times in it, decides who could sign.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from nightcrew.approvals.reviewer import Refused, Reviewer, signers_of
from nightcrew.approvals.signer import key_id_of
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import DocumentError
from nightcrew.model.statement import (
    HUMAN_KINDS,
    PAYLOAD_TYPE,
    DigestSet,
    EnrolmentPredicate,
    EnrolmentStatement,
    Envelope,
    RevocationPredicate,
    RevocationStatement,
    SignerKind,
    Subject,
    from_base64,
    read_envelope,
    read_statement,
    subject_digest,
    to_base64,
)


def enrolment(
    repository: str,
    previous: bytes | None,
    *,
    name: str,
    kind: SignerKind,
    public_key: bytes,
    time: datetime,
    nonce: str,
) -> EnrolmentStatement:
    """The statement that enrols a key; ``previous`` is the last entry of the chain, None for the first."""
    key_id = key_id_of(public_key)
    predicate = EnrolmentPredicate.read(
        {
            "reviewer": name,
            "key_id": key_id,
            "public_key": to_base64(public_key),
            "kind": kind,
            "time": time,
            "nonce": nonce,
        },
        source=f"enrolment of {name}",
    )
    return EnrolmentStatement(subject=link(repository, previous, key_id), predicate=predicate)


def revocation(
    repository: str, previous: bytes, *, key_id: str, reason: str, time: datetime, nonce: str
) -> RevocationStatement:
    """The statement that revokes a key."""
    predicate = RevocationPredicate(key_id=key_id, reason=reason, time=time, nonce=nonce)
    return RevocationStatement(subject=link(repository, previous, key_id), predicate=predicate)


def link(repository: str, previous: bytes | None, key_id: str) -> tuple[Subject, ...]:
    """The subjects of an entry: its repository, the entry before it (None for the first), and the key it speaks of."""
    digests = {"key": key_id, "repository": sha256_hex(repository.encode())}
    if previous is not None:
        digests["previous"] = sha256_hex(previous)
    return tuple(Subject(name=name, digest=DigestSet(sha256=value)) for name, value in sorted(digests.items()))


def extend(
    reviewers: tuple[Reviewer, ...],
    entry: bytes,
    *,
    repository: str,
    previous: bytes | None,
    service_key_id: str | None,
) -> tuple[Reviewer, ...]:
    """The reviewers after ``entry`` (an envelope's bytes); raises Refused with the reason if it may not follow."""
    try:
        envelope = read_envelope(entry)
        if envelope.payloadType != PAYLOAD_TYPE:
            raise Refused(f"payload type {envelope.payloadType}, not {PAYLOAD_TYPE}")
        statement = read_statement(envelope.body())
        if not isinstance(statement, EnrolmentStatement | RevocationStatement):
            raise Refused(f"a statement of type {statement.predicateType} enrols and revokes nobody")
        if subject_digest(statement.subject) != subject_digest(link(repository, previous, statement.predicate.key_id)):
            raise Refused("it does not follow the entry before it in this repository's chain")
        if isinstance(statement, RevocationStatement):
            signers_of(envelope, reviewers, service_key_id)
            return _revoked(reviewers, statement.predicate)
        return (*reviewers, _enrolled(reviewers, envelope, statement.predicate, previous, service_key_id))
    except DocumentError as error:
        raise Refused(str(error)) from None


def replay(entries: Iterable[bytes], *, repository: str, service_key_id: str | None) -> tuple[Reviewer, ...]:
    """Verify a whole chain from its first entry; gives every reviewer ever enrolled, revoked ones too.

    Raises Refused naming the number of the entry (from 1) and the reason.
    """
    reviewers: tuple[Reviewer, ...] = ()
    previous: bytes | None = None
    for number, entry in enumerate(entries, start=1):
        try:
            reviewers = extend(
                reviewers, entry, repository=repository, previous=previous, service_key_id=service_key_id
            )
        except Refused as refused:
            raise Refused(f"entry {number:04d}: {refused}") from None
        previous = entry
    return reviewers


def _enrolled(
    reviewers: tuple[Reviewer, ...],
    envelope: Envelope,
    predicate: EnrolmentPredicate,
    previous: bytes | None,
    service_key_id: str | None,
) -> Reviewer:
    public_key = from_base64(predicate.public_key, source="public key")
    if key_id_of(public_key) != predicate.key_id:
        raise Refused("the key id is not that of the public key")
    if predicate.kind not in HUMAN_KINDS or predicate.key_id == service_key_id:
        raise Refused("a key that no person holds cannot be a reviewer's")
    if any(other.key_id == predicate.key_id for other in reviewers):
        raise Refused(f"the key {predicate.key_id[:16]} has been enrolled before")
    # Case is folded: two names that a person cannot tell apart at a glance are one name.
    if any(other.active and other.name.casefold() == predicate.reviewer.casefold() for other in reviewers):
        raise Refused(f"there is already a reviewer named {predicate.reviewer}")
    candidate = Reviewer(
        name=predicate.reviewer,
        key_id=predicate.key_id,
        kind=predicate.kind,
        public_key=public_key,
        enrolled=predicate.time,
        enrolled_by=(),
    )
    signers = signers_of(envelope, reviewers if previous is not None else (candidate,), service_key_id)
    return replace(candidate, enrolled_by=tuple(signer.name for signer in signers))


def _revoked(reviewers: tuple[Reviewer, ...], predicate: RevocationPredicate) -> tuple[Reviewer, ...]:
    if not any(reviewer.active and reviewer.key_id == predicate.key_id for reviewer in reviewers):
        raise Refused(f"there is no reviewer with the key {predicate.key_id[:16]} to revoke")
    return tuple(
        replace(reviewer, revoked=predicate.time) if reviewer.key_id == predicate.key_id else reviewer
        for reviewer in reviewers
    )
