"""The readiness report as a signed statement: dated, bound to what it speaks of, and void once that has changed.

An in-toto Statement in a DSSE envelope, as verdicts are, signed by nightcrew's own key. Its subjects are the target's
fingerprint and the text of the report around it, so that neither can be exchanged. It admits nothing: no gate reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

import nightcrew
from nightcrew.approvals import TrustAnchor, service_signer
from nightcrew.approvals.signer import key_id_of, verify_signature
from nightcrew.model.canonical import canonical_json, sha256_hex
from nightcrew.model.clock import isoformat
from nightcrew.model.document import Document
from nightcrew.model.errors import DocumentError, IntegrityError
from nightcrew.model.statement import (
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    DigestSet,
    Envelope,
    SignerKind,
    Subject,
    envelope_of,
    pae,
    read_envelope,
    read_json,
)
from nightcrew.readiness.boxes import BoxState
from nightcrew.readiness.checklist import Checklist
from nightcrew.readiness.fingerprint import Fingerprint

PREDICATE = "urn:nightcrew:readiness:v1"
VOID = "It proves nothing. Have it written again: nightcrew ready TARGET --report FILE"
_Time = Annotated[datetime, PlainSerializer(isoformat, when_used="json")]


class ReadinessPredicate(Document):
    """What is said: of which target, when, by which nightcrew; its parts, its boxes.

    ``repository`` is the hash of the first entry of the ledger whose entries are named; empty: there is none.
    """

    target: str
    repository: str
    time: _Time
    nightcrew: str
    ready: bool
    parts: dict[str, str]
    boxes: tuple[BoxState, ...]


class ReadinessStatement(Document):
    """The statement around it."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...]
    predicateType: Literal["urn:nightcrew:readiness:v1"] = "urn:nightcrew:readiness:v1"
    predicate: ReadinessPredicate

    def payload(self) -> bytes:
        """Its one encoding."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_none=True))


@dataclass(frozen=True)
class Page:
    """A report in two parts: the envelope lies between them."""

    before: str
    after: str

    def whole(self, envelope: Envelope) -> str:
        """The report with its envelope."""
        return f"{self.before}{envelope.encode().decode()}{self.after}"

    @property
    def sha256(self) -> str:
        """The digest of everything but the envelope."""
        return sha256_hex((self.before + self.after).encode())


def predicate_of(found: Checklist, repository: str) -> ReadinessPredicate:
    """What a report of this checklist says."""
    return ReadinessPredicate(
        target=found.target,
        repository=repository,
        time=found.at,
        nightcrew=nightcrew.__version__,
        ready=found.ready,
        parts=dict(found.fingerprint.parts),
        boxes=found.boxes,
    )


def sign(predicate: ReadinessPredicate, page: Page, anchor: TrustAnchor) -> Envelope:
    """Sign a report with nightcrew's own key, which is made on first use."""
    signer = service_signer(anchor.directory)
    statement = ReadinessStatement(subject=_subjects(predicate, page.sha256), predicate=predicate)
    payload = statement.payload()
    return envelope_of(payload, [(signer.key_id, signer.sign(pae(PAYLOAD_TYPE, payload)))])


def verify(envelope: bytes, page: Page, public_key: bytes) -> ReadinessPredicate:
    """What the report says, if exactly this text was signed by this key. Raises IntegrityError that says why not."""
    try:
        read = read_envelope(envelope, source="the report's envelope")
    except DocumentError as error:
        raise IntegrityError(str(error), hint=VOID) from None
    if read.encode() != envelope:
        raise IntegrityError("the envelope is not in its own encoding", hint=VOID)
    if [signature.keyid for signature in read.signatures] != [key_id_of(public_key)]:
        signer = ", ".join(signature.keyid for signature in read.signatures)
        raise IntegrityError(f"the report is signed by {signer}, not by {key_id_of(public_key)}", hint=VOID)
    if not verify_signature(SignerKind.SERVICE, public_key, read.signed_bytes(), read.signatures[0].value()):
        raise IntegrityError("the signature of the report does not verify", hint=VOID)
    try:
        statement = ReadinessStatement.read(read_json(read.body(), source="the report"), source="the report")
    except DocumentError as error:
        raise IntegrityError(f"what was signed is no readiness report: {error}", hint=VOID) from None
    if read.payloadType != PAYLOAD_TYPE or statement.payload() != read.body():
        raise IntegrityError("what was signed is no readiness report in its own encoding", hint=VOID)
    if statement.subject != _subjects(statement.predicate, page.sha256):
        raise IntegrityError("the text of the report is not the one that was signed", hint=VOID)
    return statement.predicate


def changed(predicate: ReadinessPredicate, now: Fingerprint) -> Sequence[str]:
    """What is not as it was when the report was made, in words; empty: it still holds."""
    return now.changed(Fingerprint(predicate.parts))


def _subjects(predicate: ReadinessPredicate, text: str) -> tuple[Subject, ...]:
    fingerprint = Fingerprint(predicate.parts).digest
    return (
        Subject(name="report", digest=DigestSet(sha256=text)),
        Subject(name=f"target/{predicate.target}", digest=DigestSet(sha256=fingerprint)),
    )
