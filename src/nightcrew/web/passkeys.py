"""Passkeys between the browser and the crew: what is to be signed goes out, what was signed comes back as an envelope.

Nothing that comes back is believed here: the crew verifies each signature over what lies in its store.
"""

import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import urlsplit

from nightcrew.approvals import Pending, Reviewer, fresh_nonce
from nightcrew.approvals.passkey import (
    PasskeyAssertion,
    PasskeyKey,
    assertion_options,
    read_registration,
    registration_options,
    signature_of,
    signing_key,
)
from nightcrew.approvals.signer import key_id_of
from nightcrew.crew import deciding, reviewers
from nightcrew.crew.project import Project
from nightcrew.model.errors import ApprovalError, DocumentError, NotFoundError, UsageError
from nightcrew.model.review import Review
from nightcrew.model.statement import (
    PAYLOAD_TYPE,
    ApprovalStatement,
    EnrolmentStatement,
    Envelope,
    SignerKind,
    Statement,
    envelope_of,
    from_base64,
    pae,
    read_statement,
    to_base64,
)
from nightcrew.web.documents import Decide, Enrol, PasskeyOptions, Prepare, Registered, ToSign
from nightcrew.web.sessions import Session

_MAX_OFFERED = 16


def origin_of(reviewer: Reviewer) -> str | None:
    """The page that a passkey was registered on; None for a key of another kind."""
    if reviewer.kind is not SignerKind.PASSKEY:
        return None
    try:
        return PasskeyKey.decode(reviewer.public_key).origin
    except DocumentError:
        return None


def prepare(project: Project, wanted: Prepare, origin: str) -> ToSign:
    """The decision as a statement, and the question to the reviewer's passkeys. Raises as ``deciding.prepare``."""
    if bool(wanted.reviews) == bool(wanted.records):
        raise UsageError("a decision is about reviews, or about records of one pipeline")
    if wanted.reviews:
        statement = deciding.prepare(
            project,
            [one.id for one in wanted.reviews],
            wanted.decision,
            reviewer=wanted.reviewer,
            comment=wanted.comment,
            escalate_to=wanted.escalate_to,
            seen={one.id: one.digest for one in wanted.reviews},
        )
    else:
        statement = deciding.prepare_records(
            project,
            [one.name for one in wanted.records],
            wanted.decision,
            reviewer=wanted.reviewer,
            comment=wanted.comment,
            seen={one.name: one.digest for one in wanted.records},
        )
    return _to_sign(statement, project.anchor.keys(project.repository_id, wanted.reviewer), origin)


def decide(project: Project, signed: Decide) -> tuple[list[Review], int]:
    """Let a signed decision happen; gives the reviews, or how many records. Raises as ``deciding.finish``."""
    payload, statement = _read(signed.payload)
    if not isinstance(statement, ApprovalStatement):
        raise ApprovalError("what was signed is no decision")
    keys = project.anchor.keys(project.repository_id, statement.predicate.reviewer)
    envelope = _envelope(payload, signing_key(keys, signed.credential), signed.credential)
    if signed.records:
        return [], deciding.finish_records(project, signed.records, envelope)
    return deciding.finish(project, envelope), 0


def offer(project: Project, session: Session, name: str, origin: str) -> PasskeyOptions:
    """What the browser needs to make a passkey for ``name``; the challenge is kept in the session until it is used."""
    known = [one for one in reviewers.list_reviewers(project) if one.name == name and one.active]
    challenge = secrets.token_bytes(32)
    while len(session.offered) >= _MAX_OFFERED:
        session.offered.pop(next(iter(session.offered)))
    session.offered[name] = challenge
    options = registration_options(
        rp_id(origin),
        "nightcrew",
        name,
        sha256(f"{project.repository_id}/{name}".encode()).digest(),
        challenge,
        [PasskeyKey.decode(one.public_key).credential_id for one in known if origin_of(one) == origin],
    )
    return PasskeyOptions(standing=_standing(project, name, origin), publicKey=options)


def register(project: Project, session: Session, name: str, credential: dict[str, Any], origin: str) -> Registered:
    """Take a new passkey: give its enrolment to be signed by itself or another one of ``name``, or let it wait.

    Raises ApprovalError if it was not made for this session's challenge.
    """
    challenge = session.offered.pop(name, None)
    if challenge is None:
        raise ApprovalError("this passkey was not asked for here", hint="Register it again.")
    public_key = read_registration(credential, challenge=challenge, origin=origin, rp_id=rp_id(origin))
    key_id = key_id_of(public_key)
    standing = _standing(project, name, origin)
    if standing == "first":
        while len(session.registered) >= _MAX_OFFERED:
            session.registered.pop(next(iter(session.registered)))
        session.registered[key_id] = public_key
        itself = [_itself(project, name, public_key)]
        return Registered(state="sign", key_id=key_id, to_sign=_enrolment(project, name, public_key, itself, origin))
    project.anchor.keep_pending(project.repository_id, Pending.of(name, SignerKind.PASSKEY, public_key, project.clock))
    if standing == "other":
        return Registered(state="waits", key_id=key_id)
    keys = project.anchor.keys(project.repository_id, name)
    return Registered(state="sign", key_id=key_id, to_sign=_enrolment(project, name, public_key, keys, origin))


def admit(project: Project, key_id: str, by: str, origin: str) -> ToSign:
    """The enrolment of a key that waits, to be signed by a passkey of ``by``; raises NotFoundError."""
    waiting = next((one for one in reviewers.waiting(project) if one.key_id == key_id), None)
    if waiting is None or waiting.kind is not SignerKind.PASSKEY:
        raise NotFoundError("no such key waits", hint="Load the page again.")
    keys = project.anchor.keys(project.repository_id, by)
    return _enrolment(project, waiting.name, waiting.key(), keys, origin)


def enrol(project: Project, session: Session, signed: Enrol) -> Reviewer:
    """Put a signed enrolment into the chain of reviewers. Raises ApprovalError as ``TrustAnchor.append``."""
    _, statement = _read(signed.payload)
    if not isinstance(statement, EnrolmentStatement):
        raise ApprovalError("what was signed is no enrolment")
    key_id = statement.predicate.key_id
    signature = signature_of(signed.credential)
    if project.anchor.begun(project.repository_id):
        if key_id not in {one.key_id for one in reviewers.waiting(project)}:
            raise ApprovalError("that key does not wait to be enrolled", hint="Load the page again.")
        known = [one for one in reviewers.list_reviewers(project) if one.active]
        signer = PasskeyAssertion(signing_key(known, signed.credential).public_key, signature)
    else:
        own = session.registered.pop(key_id, None)
        if own is None:
            raise ApprovalError("that passkey was not registered by this browser", hint="Register it again.")
        signer = PasskeyAssertion(own, signature)
    return reviewers.append_signed(project, statement, signer)


def rp_id(origin: str) -> str:
    """The relying party's id of an origin: its host (WebAuthn, "Relying Party Identifier")."""
    return urlsplit(origin).hostname or ""


def _standing(project: Project, name: str, origin: str) -> Literal["first", "own", "other"]:
    if not project.anchor.begun(project.repository_id):
        return "first"
    own = [one for one in reviewers.list_reviewers(project) if one.active and one.name == name]
    return "own" if any(origin_of(one) == origin for one in own) else "other"


def _itself(project: Project, name: str, public_key: bytes) -> Reviewer:
    """The first reviewer's key as the one that signs its own enrolment; it is nobody's yet."""
    return Reviewer(name, key_id_of(public_key), SignerKind.PASSKEY, public_key, project.clock(), ())


def _enrolment(project: Project, name: str, public_key: bytes, by: Sequence[Reviewer], origin: str) -> ToSign:
    statement = project.anchor.prepare_enrolment(
        project.repository_id,
        name,
        kind=SignerKind.PASSKEY,
        public_key=public_key,
        nonce=fresh_nonce(),
        clock=project.clock,
    )
    return _to_sign(statement, by, origin)


def _to_sign(statement: Statement, keys: Sequence[Reviewer], origin: str) -> ToSign:
    payload = statement.payload()
    options = assertion_options(keys, pae(PAYLOAD_TYPE, payload), origin=origin)
    return ToSign(payload=to_base64(payload), publicKey=options)


def _read(payload: str) -> tuple[bytes, Statement]:
    data = from_base64(payload, source="payload")
    return data, read_statement(data)


def _envelope(payload: bytes, key: Reviewer, credential: dict[str, Any]) -> Envelope:
    """Not verified here: who finishes the decision does, and says in the ledger what was refused."""
    return envelope_of(payload, [(key.key_id, signature_of(credential))])
