"""The way in, the first page, the report, and who may decide. Pages read without JavaScript; a signature needs it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from nightcrew.crew import alarms, board, glance, health, report, reviewers
from nightcrew.crew.report import Report
from nightcrew.model.errors import NotFoundError
from nightcrew.pipeline.summary import STATES
from nightcrew.web import listing, showing
from nightcrew.web.context import Context, Server, Stop, context_of
from nightcrew.web.passkeys import origin_of
from nightcrew.web.problems import Problem
from nightcrew.web.readiness import checklist
from nightcrew.web.security import session_cookie
from nightcrew.web.templating import html, page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)


@router.get("/enter")
def enter(request: Request, token: str = "") -> Response:
    """Open a session by a one-time link; what changes things is proved by the fragment, which no server gets to see."""
    server: Server = request.app.state.server
    ahead = "prefetch" in request.headers.get("sec-purpose", "")
    session = None if ahead else server.sessions.enter(token)
    if session is None:
        raise Stop(
            Problem(
                403,
                "NC-LINK",
                "this link was used already, is too old, or never was one",
                "Press Enter in the terminal where nightcrew serve runs: it prints a fresh link.",
            )
        )
    target = f"/#proof={server.sessions.proof(session)}"
    if request.headers.get("sec-fetch-site", "none") == "none":
        answer: Response = RedirectResponse(target, status_code=303)
    else:
        # Led here by a page elsewhere, a browser sends the new cookie not along a redirect, but from a page of ours.
        answer = html("entered.html", {"target": target})
    answer.headers["set-cookie"] = session_cookie(server.origin, session)
    return answer


@router.get("/")
def overview_page(context: Found) -> Response:
    """Last night at a glance."""
    project, kept = context.project, context.server.kept
    return page(
        context,
        "overview.html",
        glance=glance.glance(project, lambda: kept.get(project, "report", lambda: report.latest(project))),
        waiting=listing.first(project, 5),
        alerts=alarms.firing(project),
        health=kept.get(project, "health", lambda: health.health(project, project.clock())),
        ready=checklist(context),
        states=STATES,
        columns=board.COLUMNS,
    )


@router.get("/reviewers")
def reviewers_page(context: Found) -> Response:
    """Who may decide, and how to become one of them."""
    project = context.project
    found = reviewers.list_reviewers(project)
    return page(
        context,
        "reviewers.html",
        keys=[(one, origin_of(one)) for one in found],
        waiting=reviewers.waiting(project),
        people=showing.people(project, None, context.origin),
        first=not found,
    )


@router.get("/report")
def report_page(context: Found, shift: str = "") -> Response:
    """A morning's report, by default the last one."""
    project, kept = context.project, context.server.kept
    try:
        if shift:
            found: Report | None = report.latest(project, shift[:20])
        else:
            found = kept.get(project, "report", lambda: report.latest(project))
    except NotFoundError:
        if shift:
            raise
        found = None
    return page(context, "report.html", report=found, earlier=report.shifts_before(project))
