"""The chain of enrolments and revocations: pure rules, applied when it is written and each time it is read.

The first enrolment is signed by the key that it enrols. Each later statement is signed by reviewers who are enrolled
and not revoked at that point, and names the repository and the statement before it, so that none can be left out,
moved, or taken from another repository. The order of the chain, not the times in it, decides who could sign.

A person has one name and may have several keys: any reviewer admits a new name, but only a key of that name admits
another key under it, so that nobody can decide as somebody else. A review on GitHub signs no statement of the chain.
Nor does a person have two names, as far as keys tell: one key in two forms, or one account, is never two people.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from nightcrew.approvals import ed25519
from nightcrew.approvals.holder import holder_of
from nightcrew.approvals.reviewer import Refused, Reviewer, signers_of
from nightcrew.approvals.signer import key_id_of, raw_material
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

CHAIN_KINDS = HUMAN_KINDS - {SignerKind.GITHUB}
"""The kinds whose signature enrols and revokes."""


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
    repository: str, previous: bytes, *, key_ids: Sequence[str], reason: str, time: datetime, nonce: str
) -> RevocationStatement:
    """The statement that revokes keys of one person: the first is named in the predicate, all of them are subjects."""
    predicate = RevocationPredicate(key_id=key_ids[0], reason=reason, time=time, nonce=nonce)
    return RevocationStatement(subject=link(repository, previous, *key_ids), predicate=predicate)


def link(repository: str, previous: bytes | None, *key_ids: str) -> tuple[Subject, ...]:
    """The subjects of an entry: its repository, the entry before it (None for the first), and the keys it speaks of."""
    digests = {"repository": sha256_hex(repository.encode())}
    digests |= {"key" if number == 1 else f"key/{number}": key_id for number, key_id in enumerate(key_ids, start=1)}
    if previous is not None:
        digests["previous"] = sha256_hex(previous)
    return tuple(Subject(name=name, digest=DigestSet(sha256=value)) for name, value in sorted(digests.items()))


def follows(statement: EnrolmentStatement | RevocationStatement, repository: str, previous: bytes | None) -> bool:
    """Whether the statement was made to come right after ``previous`` in the chain of this repository."""
    expected = link(repository, previous, *_keys_of(statement))
    return subject_digest(statement.subject) == subject_digest(expected)


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
        if not follows(statement, repository, previous):
            raise Refused("it does not follow the entry before it in this repository's chain")
        if isinstance(statement, RevocationStatement):
            _signers(envelope, reviewers, service_key_id)
            return _revoked(reviewers, statement)
        return (*reviewers, _enrolled(reviewers, envelope, statement.predicate, previous, service_key_id))
    except DocumentError as error:
        raise Refused(str(error)) from None


def check_new(reviewers: tuple[Reviewer, ...], name: str, kind: SignerKind, public_key: bytes) -> None:
    """Whether ``reviewers`` may be joined by a key that is none of theirs yet; raises Refused with the reason.

    One rule holds only for what is written anew, since chains of before it may break it: a name whose keys were all
    revoked is taken for good. Whoever came after would be the one that the rules in the playbook, and everything that
    was signed under the name, are read to mean.
    """
    _check_key(name, kind, public_key, reviewers)
    namesakes = [other for other in reviewers if other.name.casefold() == name.casefold()]
    if namesakes and not any(other.active for other in namesakes):
        raise Refused(f"the name {namesakes[0].name} is that of a reviewer who was revoked: take another name")


def can_sign(reviewers: Iterable[Reviewer]) -> bool:
    """Whether one of ``reviewers`` could sign an entry of the chain."""
    return any(reviewer.active and reviewer.kind in CHAIN_KINDS for reviewer in reviewers)


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


def _keys_of(statement: EnrolmentStatement | RevocationStatement) -> tuple[str, ...]:
    """The keys it speaks of: one, or for a revocation several, as ``key``, ``key/2``, ``key/3`` and so on."""
    digests = {subject.name: subject.digest.sha256 for subject in statement.subject}
    more: list[str] = []
    while isinstance(statement, RevocationStatement) and (key_id := digests.get(f"key/{len(more) + 2}")):
        more.append(key_id)
    return (statement.predicate.key_id, *more)


def _signers(envelope: Envelope, reviewers: tuple[Reviewer, ...], service_key_id: str | None) -> tuple[Reviewer, ...]:
    """Who signed an entry; raises Refused, before anything is verified, for a kind that signs none."""
    signed_by = {signature.keyid for signature in envelope.signatures}
    for reviewer in reviewers:
        if reviewer.key_id in signed_by and reviewer.kind not in CHAIN_KINDS:
            raise Refused(f"a key of kind {reviewer.kind.value} enrols and revokes nobody")
    return signers_of(envelope, reviewers, service_key_id)


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
    if predicate.kind not in HUMAN_KINDS or _holds(public_key, predicate.kind, service_key_id):
        raise Refused("a key that no person holds cannot be a reviewer's")
    _check_key(predicate.reviewer, predicate.kind, public_key, reviewers)
    candidate = Reviewer(
        name=predicate.reviewer,
        key_id=predicate.key_id,
        kind=predicate.kind,
        public_key=public_key,
        enrolled=predicate.time,
        enrolled_by=(),
    )
    signers = _signers(envelope, reviewers if previous is not None else (candidate,), service_key_id)
    _check_name(predicate.reviewer, reviewers, signers)
    return replace(candidate, enrolled_by=tuple(dict.fromkeys(signer.name for signer in signers)))


def _check_key(name: str, kind: SignerKind, public_key: bytes, reviewers: tuple[Reviewer, ...]) -> None:
    """Raises Refused for a key or an account that is somebody's already, in whatever form."""
    key_id, holder = key_id_of(public_key), holder_of(kind, public_key)
    for other in reviewers:
        own = other.name.casefold() == name.casefold()
        if other.key_id == key_id:
            raise Refused(f"the key {key_id[:16]} has been enrolled before")
        if holder is None or holder_of(other.kind, other.public_key) != holder:
            continue
        if kind is SignerKind.GITHUB:
            # An account is no secret that could have been stolen: once revoked, it may be another name's.
            if other.active and not own:
                raise Refused(f"this {holder} is {other.name}'s already: one person has one name")
        elif not (own and other.active):
            raise Refused(f"the key {key_id[:16]} has been enrolled before, in another form: it is {other.name}'s")


def _check_name(name: str, reviewers: tuple[Reviewer, ...], signers: tuple[Reviewer, ...]) -> None:
    # Case is folded: two names that a person cannot tell apart at a glance are one name.
    namesakes = {other.name for other in reviewers if other.active and other.name.casefold() == name.casefold()}
    if namesakes - {name}:
        raise Refused(f"there is already a reviewer named {name}, written {', '.join(namesakes)}")
    if namesakes and all(signer.name != name for signer in signers):
        raise Refused(
            f"there is already a reviewer named {name}: only a key of {name} can sign the enrolment of another one"
        )


def _holds(public_key: bytes, kind: SignerKind, service_key_id: str | None) -> bool:
    """Whether the key is nightcrew's own: as it is, or wrapped up as one of another kind."""
    if service_key_id is None:
        return False
    if key_id_of(public_key) == service_key_id:
        return True
    material = raw_material(kind, public_key)
    size = ed25519.PUBLIC_KEY_BYTES
    return any(
        sha256(material[start : start + size]).hexdigest() == service_key_id
        for start in range(len(material) - size + 1)
    )


def _revoked(reviewers: tuple[Reviewer, ...], statement: RevocationStatement) -> tuple[Reviewer, ...]:
    active = {reviewer.key_id: reviewer for reviewer in reviewers if reviewer.active}
    key_ids = _keys_of(statement)
    for key_id in key_ids:
        if key_id not in active:
            raise Refused(f"there is no reviewer with the key {key_id[:16]} to revoke")
    if len({active[key_id].name for key_id in key_ids}) > 1:
        raise Refused("it revokes keys of more than one reviewer")
    if not can_sign(reviewer for key_id, reviewer in active.items() if key_id not in key_ids):
        raise Refused("it leaves nobody who could enrol a reviewer")
    return tuple(
        replace(reviewer, revoked=statement.predicate.time) if reviewer.key_id in key_ids else reviewer
        for reviewer in reviewers
    )
