"""What the JSON API takes and gives; ``/openapi.json`` is made from these."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from nightcrew.model.finding import Finding
from nightcrew.model.review import Decision, ReviewState
from nightcrew.model.severity import Severity
from nightcrew.model.statement import ReviewerName

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ReviewId = Annotated[str, StringConstraints(pattern=r"^R-[0-9]{4,12}$")]
RecordName = Annotated[str, StringConstraints(pattern=r"^[^/]+/.+$", max_length=2000)]
Payload = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=200_000)]
JsonObject = dict[str, Any]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorBody(_Body):
    """What was refused and what to do: a stable code, one line each."""

    code: str
    message: str
    hint: str


class ErrorAnswer(_Body):
    """The body of every answer that is not what was asked for."""

    error: ErrorBody


class ReviewRow(_Body):
    """A review as a list shows it; ``digest`` is the SHA-256 of the subjects that a decision is signed over."""

    id: str
    ticket: str
    title: str
    desk: str
    reason: str
    severity: Severity
    confidence: float | None
    breaks_build: bool
    state: ReviewState
    assigned: str | None
    created: datetime
    deadline: datetime
    digest: str


class RecordRow(_Body):
    """A record of a pipeline that a gate holds."""

    name: str
    pipeline: str
    reason: str
    confidence: float | None
    state: str
    digest: str


class ReviewList(_Body):
    """What the filters leave, and how many there are of each severity."""

    reviews: list[ReviewRow]
    records: list[RecordRow]
    counts: dict[str, int]
    total: int
    pages: int


class HandoffOut(_Body):
    """One handoff: its front matter, and its sections as Markdown that nothing has made safe."""

    document: JsonObject
    done: str
    questions: str
    next: str


class DecisionOut(_Body):
    """A decision that was signed in this review."""

    decision: Decision
    reviewer: str
    at: datetime
    comment: str


class EarlierOut(_Body):
    """A decision of before, about the same finding or the same rule."""

    review: str
    ticket: str
    decision: str
    reviewer: str
    at: datetime
    comment: str
    rule: str
    same_finding: bool


class ReviewOut(_Body):
    """Everything about one review; ``stamp`` changes whenever anything of it does, ``digest`` is None with ``problem``.

    ``may`` names who may decide, empty for every reviewer.
    """

    review: ReviewRow
    digest: str | None
    problem: str | None
    stamp: str
    subjects: list[JsonObject]
    ticket: JsonObject
    findings: list[Finding]
    handoffs: list[HandoffOut]
    diff: str
    effects: dict[str, str]
    approvals_needed: int
    may: list[str]
    decisions: list[DecisionOut]
    earlier: list[EarlierOut]
    group: list[str]


class Seen(_Body):
    """A review, and the digest of the subjects that were on the page when it was decided."""

    id: ReviewId
    digest: Digest


class SeenRecord(_Body):
    """A held record, and the digest of the outcome that was on the page."""

    name: RecordName
    digest: Digest


class Prepare(_Body):
    """A decision about reviews, or about records of one pipeline, to be signed. Several at once: approve or reject."""

    reviews: list[Seen] = Field(default_factory=list, max_length=200)
    records: list[SeenRecord] = Field(default_factory=list, max_length=200)
    decision: Decision
    reviewer: ReviewerName
    comment: str = Field(default="", max_length=20_000)
    escalate_to: ReviewerName | None = None


class ToSign(_Body):
    """The statement (base64 of its bytes), and what ``navigator.credentials.get`` is to be asked for it."""

    payload: str
    publicKey: JsonObject


class Decide(_Body):
    """The statement as it was prepared, and the passkey's assertion over it; ``records`` as in the preparation."""

    payload: Payload
    credential: JsonObject
    records: list[RecordName] = Field(default_factory=list, max_length=200)


class Decided(_Body):
    """What became of it."""

    reviews: list[ReviewRow]
    records: int


class AskPasskey(_Body):
    """Whose passkey is to be registered."""

    reviewer: ReviewerName


class PasskeyOptions(_Body):
    """What ``navigator.credentials.create`` is to be asked; ``standing`` says what the new key will need.

    ``first``: it enrols itself; ``own``: another passkey of the same reviewer signs it; ``other``: it waits for an
    enrolled reviewer.
    """

    standing: Literal["first", "own", "other"]
    publicKey: JsonObject


class Register(_Body):
    """What the browser gave for the new passkey."""

    reviewer: ReviewerName
    credential: JsonObject


class Registered(_Body):
    """The enrolment to be signed now, or nothing if it waits for another reviewer."""

    state: Literal["sign", "waits"]
    key_id: str
    to_sign: ToSign | None = None


class Admit(_Body):
    """A key that waits, and who is going to sign its enrolment here."""

    key_id: Digest
    by: ReviewerName


class Enrol(_Body):
    """An enrolment as it was prepared, and the passkey's assertion over it."""

    payload: Payload
    credential: JsonObject


class Enrolled(_Body):
    """The key that may decide from now on."""

    reviewer: str
    key_id: str


class Leave(_Body):
    """Records to be released from quarantine or discarded, by name (``PIPELINE/KEY``); the reason goes with these."""

    records: list[RecordName] = Field(min_length=1, max_length=1000)
    reason: str = Field(default="", max_length=2000)


class Left(_Body):
    """How many records left quarantine."""

    count: int


class Acknowledge(_Body):
    """Alerts that somebody looks after, and why."""

    alerts: list[Annotated[str, StringConstraints(pattern=r"^A-[0-9]{4,12}$")]] = Field(min_length=1, max_length=200)
    comment: str = Field(default="", max_length=2000)


class SilenceIn(_Body):
    """Nobody is told of alerts whose rule and subject match these globs, for so many minutes."""

    rule: str = Field(min_length=1, max_length=200)
    subject: str = Field(default="*", min_length=1, max_length=300)
    minutes: int = Field(ge=1, le=60 * 24 * 90)
    comment: str = Field(default="", max_length=2000)


class SilenceEnd(_Body):
    """A silence that ends now."""

    silence: Annotated[str, StringConstraints(pattern=r"^SL-[0-9]{4,12}$")]


class Done(_Body):
    """How many it was done to."""

    count: int
