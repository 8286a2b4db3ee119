"""Verdicts of the desks: signed by nightcrew's own key, bound to the exact commit, admitting nothing by themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

from nightcrew.approvals.service import ServiceSigner, service_public_key
from nightcrew.approvals.signer import key_id_of, sign_statement, verify_signature
from nightcrew.approvals.subjects import differences
from nightcrew.approvals.trust import TrustAnchor
from nightcrew.model.clock import Clock
from nightcrew.model.errors import DocumentError, IntegrityError
from nightcrew.model.handoff import Check, Verdict
from nightcrew.model.statement import (
    PAYLOAD_TYPE,
    Envelope,
    SignerKind,
    Subject,
    VerdictPredicate,
    VerdictStatement,
    read_envelope,
    read_statement,
)


def sign_verdict(
    signer: ServiceSigner,
    *,
    repository: str,
    desk: str,
    session: str,
    verdict: Verdict,
    checks: Sequence[Check],
    subjects: Sequence[Subject],
    clock: Clock,
) -> Envelope:
    """Sign what ``desk`` concluded in ``session`` over exactly ``subjects``; raises DocumentError for a bad value."""
    predicate = VerdictPredicate.read(
        {
            "repository": repository,
            "desk": desk,
            "session": session,
            "verdict": verdict,
            "time": clock(),
            "checks": tuple(checks),
        },
        source=f"verdict of {desk}",
    )
    statement = VerdictStatement.read({"subject": tuple(subjects), "predicate": predicate}, source=f"verdict of {desk}")
    return sign_statement(signer, statement)


def verify_verdict(
    envelope: bytes | Mapping[str, Any] | Envelope,
    *,
    anchor: TrustAnchor,
    repository: str,
    desk: str,
    subjects: Sequence[Subject],
) -> VerdictPredicate:
    """Verify that nightcrew itself signed a verdict of ``desk`` over exactly ``subjects``; gives it, passed or not.

    Raises IntegrityError with the reason.
    """
    try:
        statement = _authentic(envelope if isinstance(envelope, Envelope) else read_envelope(envelope), anchor)
    except DocumentError as error:
        raise IntegrityError(f"the verdict of {desk} cannot be read: {error}") from None
    predicate = statement.predicate
    if (predicate.repository, predicate.desk) != (repository, desk):
        raise IntegrityError(f"the verdict is one of {predicate.desk} in repository {predicate.repository[:16]}")
    if differing := differences(statement.subject, subjects):
        raise IntegrityError(f"the verdict of {desk} was signed for something else: {'; '.join(differing)}")
    return predicate


def _authentic(envelope: Envelope, anchor: TrustAnchor) -> VerdictStatement:
    public_key = service_public_key(anchor.directory)
    if public_key is None:
        raise IntegrityError("nightcrew has no key of its own here, so it signed no verdict")
    if envelope.payloadType != PAYLOAD_TYPE:
        raise IntegrityError(f"the verdict's payload type is {envelope.payloadType}, not {PAYLOAD_TYPE}")
    if [signature.keyid for signature in envelope.signatures] != [key_id_of(public_key)]:
        raise IntegrityError("the verdict is not signed by nightcrew's own key, and by it alone")
    if not verify_signature(SignerKind.SERVICE, public_key, envelope.signed_bytes(), envelope.signatures[0].value()):
        raise IntegrityError("nightcrew's signature on the verdict does not verify")
    statement = read_statement(envelope.body())
    if not isinstance(statement, VerdictStatement):
        raise IntegrityError(f"the statement is of type {statement.predicateType}, not a verdict")
    return statement
