"""The JSON API: lists and reviews to read, decisions and enrolments in two steps (prepare, then signed)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse

from nightcrew.crew import backlog
from nightcrew.model.severity import Severity
from nightcrew.web import passkeys, showing
from nightcrew.web.context import Context, Stop, context_of
from nightcrew.web.documents import (
    Admit,
    AskPasskey,
    Decide,
    Decided,
    Enrol,
    Enrolled,
    ErrorAnswer,
    PasskeyOptions,
    Prepare,
    Register,
    Registered,
    ReviewList,
    ReviewOut,
    ToSign,
)
from nightcrew.web.listing import Filter, Kind, Sort, State, listed, row
from nightcrew.web.problems import Problem

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request could not be read."},
    401: {"description": "The browser has no session."},
    403: {"description": "Refused: another origin, no proof of the session, a rule or a signature."},
    404: {"description": "There is no such thing."},
    405: {"description": "Not answered under that method."},
    409: {"description": "It changed, was decided already, or is not what was asked for."},
    413: {"description": "The request is too long."},
    421: {"description": "Another host name."},
    422: {"description": "The request does not fit its schema, or what it asks makes no sense."},
    429: {"description": "Too many attempts; Retry-After says when to come back."},
    503: {"description": "The configuration or the environment does not allow it, or the database is busy."},
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {**said, "model": ErrorAnswer} for status, said in _REFUSALS.items()
}
Found = Annotated[Context, Depends(context_of)]


def _count_attempt(context: Found) -> None:
    """Refuse who tries to sign too often."""
    wait = context.attempts.attempt(context.session.id)
    if wait:
        raise Stop(
            Problem(429, "NC-TOO-MANY", "too many signatures were tried", f"Wait {wait} seconds.",
                    headers={"retry-after": str(wait)})
        )  # fmt: skip


router = APIRouter(prefix="/api", responses=REFUSALS, tags=["inbox"])
_SIGNED = [Depends(_count_attempt)]


@router.get("/reviews")
def list_reviews(
    context: Found,
    state: Annotated[State, Query(description="which reviews")] = State.WAITING,
    severity: Annotated[Severity | None, Query(description="only this severity")] = None,
    desk: Annotated[str, Query(max_length=100, description="only those that this desk asked for")] = "",
    kind: Annotated[Kind, Query(description="reviews, held records, or both")] = Kind.ALL,
    q: Annotated[str, Query(max_length=200, description="text in titles, reasons and ids")] = "",
    sort: Annotated[Sort, Query(description="what comes first")] = Sort.SEVERITY,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> ReviewList:
    """What waits for a person, the most severe first."""
    wanted = Filter(state=state, severity=severity, desk=desk, kind=kind, text=q, sort=sort, page=page)
    return listed(context.project, wanted).found


@router.get("/reviews/{review_id}")
def get_review(
    context: Found, review_id: Annotated[str, Path(pattern=r"^R-[0-9]{4,12}$", description="such as R-0001")]
) -> ReviewOut:
    """Everything needed to decide one review."""
    return showing.document(context.project, review_id)


@router.post("/decisions/prepare")
def prepare_decision(context: Found, wanted: Prepare) -> ToSign:
    """Write a decision down, for a passkey to sign."""
    return passkeys.prepare(context.project, wanted, context.origin)


@router.post("/decisions", dependencies=_SIGNED)
def decide(context: Found, signed: Decide) -> Decided:
    """Verify a signed decision and let it happen."""
    project = context.project
    found, records = passkeys.decide(project, signed)
    of = backlog.readable(project, {review.ticket for review in found})
    return Decided(
        reviews=[row(project, review, of.get(review.ticket)) for review in found],
        records=records,
    )


@router.post("/passkeys/options")
def ask_passkey(context: Found, wanted: AskPasskey) -> PasskeyOptions:
    """What the browser needs to make a new passkey."""
    return passkeys.offer(context.project, context.session, wanted.reviewer, context.origin)


@router.post("/passkeys", dependencies=_SIGNED)
def register_passkey(context: Found, made: Register) -> Registered:
    """Take a new passkey; its enrolment is signed next, or waits for an enrolled reviewer."""
    return passkeys.register(context.project, context.session, made.reviewer, made.credential, context.origin)


@router.post("/enrolments/prepare")
def prepare_enrolment(context: Found, wanted: Admit) -> ToSign:
    """The enrolment of a key that waits, for an enrolled reviewer's passkey to sign."""
    return passkeys.admit(context.project, wanted.key_id, wanted.by, context.origin)


@router.post("/enrolments", dependencies=_SIGNED)
def enrol(context: Found, signed: Enrol) -> Enrolled:
    """Verify a signed enrolment and put it into the chain of reviewers."""
    enrolled = passkeys.enrol(context.project, context.session, signed)
    return Enrolled(reviewer=enrolled.name, key_id=enrolled.key_id)


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events: `changed`, with a version.", "content": {"text/event-stream": {}}}
    },
)
async def events(context: Found) -> StreamingResponse:
    """Tell when anything changed, until the session ends."""
    if context.live.full:
        raise Stop(Problem(503, "NC-BUSY", "too many pages listen", "Close some of them."))
    still = context.still_open
    return StreamingResponse(context.live.events(still), media_type="text/event-stream")
