"""A reviewer, and who of them signed an envelope: the one place where signatures are checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nightcrew.approvals.signer import key_id_of, verify_signature
from nightcrew.model.clock import isoformat
from nightcrew.model.statement import HUMAN_KINDS, Envelope, SignerKind


class Refused(Exception):
    """A statement cannot be accepted, for the reason in the message; callers turn it into an error of the model's."""


@dataclass(frozen=True)
class Reviewer:
    """A person who may decide: a name bound to a public key by an enrolment that was verified."""

    name: str
    key_id: str
    kind: SignerKind
    public_key: bytes
    enrolled: datetime
    enrolled_by: tuple[str, ...]
    revoked: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether the key has not been revoked."""
        return self.revoked is None


def signers_of(envelope: Envelope, reviewers: Iterable[Reviewer], service_key_id: str | None) -> tuple[Reviewer, ...]:
    """The reviewers who signed ``envelope``; every signature in it must be good, one bad one spoils it.

    Raises Refused, with the reason, for a key that is unknown, revoked, nightcrew's own or not a person's, and for a
    signature that does not verify; DocumentError for base64 that is not canonical.
    """
    by_key = {reviewer.key_id: reviewer for reviewer in reviewers}
    message = envelope.signed_bytes()
    signers = []
    for signature in envelope.signatures:
        key_id = signature.keyid
        if key_id == service_key_id:
            raise Refused("it is signed by nightcrew's own key, which decides nothing: only a reviewer's does")
        reviewer = by_key.get(key_id)
        if reviewer is None:
            raise Refused(f"no enrolled reviewer has the key {key_id[:16]}")
        _check_holder(reviewer)
        if not verify_signature(reviewer.kind, reviewer.public_key, message, signature.value()):
            raise Refused(f"the signature of {reviewer.name} does not verify")
        signers.append(reviewer)
    return tuple(signers)


def _check_holder(reviewer: Reviewer) -> None:
    if reviewer.kind not in HUMAN_KINDS:
        raise Refused(f"the key of {reviewer.name} is of kind {reviewer.kind.value}, which no person holds")
    if key_id_of(reviewer.public_key) != reviewer.key_id:
        raise Refused(f"the public key of {reviewer.name} is not the one that was enrolled")
    if reviewer.revoked is not None:
        raise Refused(f"the key of {reviewer.name} was revoked on {isoformat(reviewer.revoked)}")
