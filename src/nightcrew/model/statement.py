"""Signed statements: in-toto Statement v1 in a DSSE v1 envelope, as strict documents.

Sources: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and
https://github.com/secure-systems-lab/dsse (protocol and envelope 1.0.2). We write what they define and read less than
they allow: unknown fields, URL-safe base64 and a payload that is not canonical JSON are refused, so that one statement
has one encoding. Names of our own predicates are URNs: they claim no domain.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from nightcrew.model.canonical import canonical_json, digest, sha256_hex
from nightcrew.model.clock import isoformat
from nightcrew.model.document import Document, explain
from nightcrew.model.errors import DocumentError
from nightcrew.model.handoff import Check, Verdict
from nightcrew.model.review import Decision

STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

MAX_JSON_BYTES = 1 << 20
"""What is longer is refused before it is parsed; an envelope of ours is a few kilobytes."""

MAX_SIGNATURES = 16

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def _read_moment(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return datetime.fromisoformat(value)
    raise ValueError("expected a time in UTC such as 2026-01-31T02:00:00.000000Z")


Moment = Annotated[datetime, BeforeValidator(_read_moment), PlainSerializer(isoformat, when_used="json")]
"""A time in UTC; written as RFC 3339 with six digits of a second and a Z."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
GitCommit = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32,64}$")]
ReviewerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$")]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Remark = Annotated[str, StringConstraints(max_length=20_000)]


class SignerKind(StrEnum):
    """What holds a private key."""

    PASSPHRASE = "passphrase"  # noqa: S105 - the name of a kind
    SSH = "ssh"
    PASSKEY = "passkey"
    GITHUB = "github"  # a review of a pull request, by a person's account there
    SERVICE = "service"  # nightcrew itself


HUMAN_KINDS = frozenset({SignerKind.PASSPHRASE, SignerKind.SSH, SignerKind.PASSKEY, SignerKind.GITHUB})
"""The kinds whose signature needs a person. Only these decide, and all but GitHub's enrol and revoke."""


class _Signed(Document):
    """A document whose absent fields are left out, so that adding an optional field changes no old encoding."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    def plain(self) -> dict[str, Any]:
        """The document as JSON values, without the fields that are absent."""
        return self.model_dump(mode="json", exclude_none=True)


class DigestSet(_Signed):
    """Digests of one subject, in lower-case hexadecimal; at least one (in-toto ``DigestSet``)."""

    sha256: Sha256 | None = None
    gitCommit: GitCommit | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if self.sha256 is None and self.gitCommit is None:
            raise ValueError("a subject needs a digest")
        return self


class Subject(_Signed):
    """One thing that a statement speaks of: its name within the statement, and its digest."""

    name: Identifier
    digest: DigestSet


def subject_of(
    *,
    ticket_id: str | None = None,
    ticket_digest: str | None = None,
    handoff_id: str | None = None,
    handoff_sha256: str | None = None,
    base_commit: str | None = None,
    head_commit: str | None = None,
    evidence: Mapping[str, str] | None = None,
) -> tuple[Subject, ...]:
    """What a review or a verdict is about, as subjects sorted by name.

    Digests are SHA-256 in lower-case hexadecimal, commits full object names; ``evidence`` maps a name to a SHA-256.
    Anything may be absent (the review of a finding has no commit yet), but an id goes with its digest.
    Raises ValueError for an id without its digest or the reverse, DocumentError for a digest that is not one.
    """
    digests: dict[str, dict[str, str]] = {}
    for kind, name, value in (("ticket", ticket_id, ticket_digest), ("handoff", handoff_id, handoff_sha256)):
        if (name is None) != (value is None):
            raise ValueError(f"a {kind} is named by its id and its digest together")
        if name is not None and value is not None:
            digests[f"{kind}/{name}"] = {"sha256": value}
    digests |= {f"commit/{end}": {"gitCommit": c} for end, c in (("base", base_commit), ("head", head_commit)) if c}
    digests |= {f"evidence/{name}": {"sha256": value} for name, value in (evidence or {}).items()}
    return tuple(Subject.read({"name": n, "digest": d}, source=f"subject {n}") for n, d in sorted(digests.items()))


def subject_digest(subjects: Iterable[Subject]) -> str:
    """SHA-256 (hexadecimal) over the canonical JSON of ``subjects`` sorted by name: the order given does not matter."""
    return digest([subject.plain() for subject in sorted(subjects, key=lambda subject: subject.name)])


class ApprovalPredicate(_Signed):
    """One decision of one human in one review of one repository."""

    repository: Identifier
    review_id: Identifier
    decision: Decision
    reviewer: ReviewerName
    time: Moment
    nonce: Nonce
    comment: Remark = ""
    escalate_to: ReviewerName | None = None
    policy_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _only_an_escalation_names_the_next(self) -> Self:
        if self.escalate_to is not None and self.decision is not Decision.ESCALATE:
            raise ValueError("only an escalation names the next reviewer")
        return self


class VerdictPredicate(_Signed):
    """What a desk concluded in a session. Signed by nightcrew's own key, it admits nothing that needs a human."""

    repository: Identifier
    desk: Identifier
    session: Identifier
    verdict: Verdict
    time: Moment
    checks: tuple[Check, ...] = ()


class EnrolmentPredicate(_Signed):
    """A reviewer's public key; ``public_key`` is base64, ``key_id`` the SHA-256 of its bytes."""

    reviewer: ReviewerName
    key_id: Sha256
    public_key: str = Field(max_length=4096)
    kind: SignerKind
    time: Moment
    nonce: Nonce


class RevocationPredicate(_Signed):
    """A key whose signatures count no longer."""

    key_id: Sha256
    reason: Remark = ""
    time: Moment
    nonce: Nonce


class _StatementBase(_Signed):
    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1, max_length=10_000)

    @field_validator("subject")
    @classmethod
    def _names_are_unique(cls, subjects: tuple[Subject, ...]) -> tuple[Subject, ...]:
        if len({subject.name for subject in subjects}) != len(subjects):
            raise ValueError("two subjects have one name")
        return subjects

    def payload(self) -> bytes:
        """The one encoding of this statement: what is signed."""
        return canonical_json(self.plain())


class ApprovalStatement(_StatementBase):
    """A human's decision."""

    predicateType: Literal["urn:nightcrew:approval:v1"] = "urn:nightcrew:approval:v1"
    predicate: ApprovalPredicate


class VerdictStatement(_StatementBase):
    """A desk's verdict."""

    predicateType: Literal["urn:nightcrew:verdict:v1"] = "urn:nightcrew:verdict:v1"
    predicate: VerdictPredicate


class EnrolmentStatement(_StatementBase):
    """A reviewer is enrolled."""

    predicateType: Literal["urn:nightcrew:enrolment:v1"] = "urn:nightcrew:enrolment:v1"
    predicate: EnrolmentPredicate


class RevocationStatement(_StatementBase):
    """A reviewer's key is revoked."""

    predicateType: Literal["urn:nightcrew:revocation:v1"] = "urn:nightcrew:revocation:v1"
    predicate: RevocationPredicate


Statement = ApprovalStatement | VerdictStatement | EnrolmentStatement | RevocationStatement
_STATEMENT: TypeAdapter[Statement] = TypeAdapter(Annotated[Statement, Field(discriminator="predicateType")])


class Signature(_Signed):
    """One signature over the pre-authentication encoding: the key's id and, in base64, what the key's kind produces."""

    keyid: Sha256
    sig: str = Field(min_length=4, max_length=65536)

    def value(self) -> bytes:
        """The signature's bytes; raises DocumentError unless ``sig`` is canonical base64."""
        return from_base64(self.sig, source="signature")


class Envelope(_Signed):
    """A DSSE envelope. Its signatures are by different keys; it says nothing until they are verified."""

    payload: str = Field(max_length=MAX_JSON_BYTES)
    payloadType: str = Field(max_length=200)
    signatures: tuple[Signature, ...] = Field(min_length=1, max_length=MAX_SIGNATURES)

    @field_validator("signatures")
    @classmethod
    def _keys_are_unique(cls, signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
        if len({signature.keyid for signature in signatures}) != len(signatures):
            raise ValueError("two signatures are by one key")
        return signatures

    def body(self) -> bytes:
        """The payload's bytes; raises DocumentError unless ``payload`` is canonical base64."""
        return from_base64(self.payload, source="payload")

    def signed_bytes(self) -> bytes:
        """What each signature is made over."""
        return pae(self.payloadType, self.body())

    def encode(self) -> bytes:
        """The envelope as canonical JSON."""
        return canonical_json(self.plain())

    def sha256(self) -> str:
        """SHA-256 (hexadecimal) of ``encode()``: the envelope's name in ledgers and chains."""
        return sha256_hex(self.encode())


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding; lengths are in bytes (DSSE protocol 1.0.2, "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def envelope_of(payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> Envelope:
    """An envelope around ``payload`` with (key id, signature bytes) pairs."""
    return Envelope(
        payload=to_base64(payload),
        payloadType=PAYLOAD_TYPE,
        signatures=tuple(Signature(keyid=key_id, sig=to_base64(value)) for key_id, value in signatures),
    )


def read_envelope(value: bytes | Mapping[str, Any], *, source: str = "envelope") -> Envelope:
    """Validate an envelope given as JSON bytes or as the parsed object; raises DocumentError. Verifies no signature."""
    return Envelope.read(read_json(value, source=source) if isinstance(value, bytes) else value, source=source)


def read_statement(payload: bytes, *, source: str = "statement") -> Statement:
    """Read an envelope's payload; raises DocumentError unless it is the canonical encoding of a statement we know."""
    value = read_json(payload, source=source)
    try:
        statement = _STATEMENT.validate_python(value)
    except ValidationError as error:
        raise DocumentError(f"{source}: {explain(error)}") from None
    # Catches what pydantic would read leniently: defaults filled in, nulls, other spellings, white space.
    if statement.payload() != payload:
        raise DocumentError(f"{source}: not in its canonical encoding")
    return statement


def read_json(data: bytes, *, source: str) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no NaN, at most MAX_JSON_BYTES; raises DocumentError."""
    if len(data) > MAX_JSON_BYTES:
        raise DocumentError(f"{source}: longer than {MAX_JSON_BYTES} bytes")
    try:
        return json.loads(data.decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{source}: not strict JSON: {error}") from None


def to_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, *, source: str) -> bytes:
    """Decode what ``to_base64`` gives; raises DocumentError for any other spelling of the same bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DocumentError(f"{source}: not base64") from None
    if to_base64(data) != text:
        raise DocumentError(f"{source}: not canonical base64")
    return data


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key in an object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
