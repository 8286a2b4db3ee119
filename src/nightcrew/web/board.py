"""The pages of the crew's work: tickets, sessions, findings, handoffs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from nightcrew.crew import board, replay
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority, State
from nightcrew.store.findings import FindingState
from nightcrew.web.context import Context, context_of
from nightcrew.web.inbox import one_of
from nightcrew.web.templating import link, number, page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)
_CHOICES = {
    "kinds": list(Kind), "priorities": list(Priority), "severities": list(reversed(Severity)),
}  # fmt: skip


@router.get("/tickets")
def tickets_page(context: Found, request: Request) -> Response:
    """The board; with a state, or as a list, a page of tickets."""
    query = request.query_params
    wanted = board.Wanted(
        state=one_of(State, query.get("state"), None),
        kind=one_of(Kind, query.get("kind"), None),
        priority=one_of(Priority, query.get("priority"), None),
        severity=one_of(Severity, query.get("severity"), None),
        text=query.get("q", "")[:200].strip(),
        before=query.get("before", "")[:20] or None,
    )
    plain = {"kind": wanted.kind, "priority": wanted.priority, "severity": wanted.severity, "q": wanted.text}
    shared = {
        "wanted": wanted,
        "states": board.COLUMNS,
        "filtered": any(plain.values()),
        "link": lambda **changed: link("/tickets", **{**plain, **changed}),
        **_CHOICES,
    }
    if wanted.state is None and query.get("view") != "list":
        return page(context, "board.html", columns=board.columns(context.project, wanted), **shared)
    count, found, following = board.listed(context.project, wanted)
    here = {"state": wanted.state, "view": None if wanted.state else "list"}
    return page(context, "tickets.html", count=count, tickets=found, following=following, here_too=here, **shared)


@router.get("/tickets/{ticket_id}")
def ticket_page(context: Found, ticket_id: str) -> Response:
    """One ticket and everything that happened to it."""
    return page(context, "ticket.html", story=board.story(context.project, ticket_id[:40]))


@router.get("/sessions")
def sessions_page(context: Found, request: Request) -> Response:
    """Sessions with their turns against the caps."""
    query = request.query_params
    text, before = query.get("q", "")[:200].strip(), query.get("before", "")[:20] or None
    plain = {name: query.get(name, "")[:60] for name in ("agent", "shift", "outcome", "state")}
    wanted = {name: value or None for name, value in plain.items()}
    found, following, agents = replay.listed(context.project, before=before, text=text or None, **wanted)
    return page(
        context,
        "sessions.html",
        lines=found,
        following=following,
        agents=agents,
        wanted={**plain, "q": text},
        before=before,
        filtered=bool(text or any(plain.values())),
        link=lambda **changed: link("/sessions", **{**plain, "q": text, **changed}),
    )


@router.get("/sessions/{session_id}")
def session_page(context: Found, session_id: str, first: str = "") -> Response:
    """What an agent did in one session."""
    found = replay.replay(context.project, session_id[:40], first=number(first) or 0)
    return page(context, "session.html", replay=found, size=replay.MOMENTS)


@router.get("/findings")
def findings_page(context: Found, request: Request) -> Response:
    """What checks and reviewers found."""
    query = request.query_params
    state = one_of(FindingState, query.get("state"), None)
    severity = one_of(Severity, query.get("severity"), None)
    text, before = query.get("q", "")[:200].strip(), query.get("before", "")[:80] or None
    counts, found, following = board.found(
        context.project, state=state, severity=severity, text=text or None, before=before
    )
    plain = {"state": state, "severity": severity, "q": text}
    return page(
        context,
        "findings.html",
        counts=counts,
        findings=found,
        following=following,
        wanted=plain,
        before=before,
        states=list(FindingState),
        severities=_CHOICES["severities"],
        filtered=any(plain.values()),
        link=lambda **changed: link("/findings", **{**plain, **changed}),
    )


@router.get("/handoffs/{handoff_id}")
def handoff_page(context: Found, handoff_id: str) -> Response:
    """One handoff as it was written."""
    found, body, problem = board.handoff(context.project, handoff_id[:40])
    return page(context, "handoff.html", handoff=found, problem=problem, size=len(body))
