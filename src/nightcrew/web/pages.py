"""The pages: what the crew's functions give, in templates. They read without JavaScript; a signature needs it."""

import json
import shlex
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from nightcrew.crew import deciding, inbox, report, reviewers
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import NotFoundError
from nightcrew.model.severity import Severity
from nightcrew.pipeline import parked
from nightcrew.web import listing, showing
from nightcrew.web.context import Context, Server, Stop, context_of
from nightcrew.web.listing import Filter, Kind, Sort, State
from nightcrew.web.markup import finalize, markdown
from nightcrew.web.passkeys import origin_of
from nightcrew.web.problems import Problem
from nightcrew.web.security import session_cookie

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates whose every printed text is escaped and has nothing invisible in it."""
    made = Environment(
        loader=PackageLoader("nightcrew.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(md=markdown, iso=isoformat, pretty=_pretty, quote=shlex.quote)
    made.globals.update(relative=showing.in_words, lasted=showing.lasted)
    return made


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
        answer = _html("entered.html", {"target": target})
    answer.headers["set-cookie"] = session_cookie(server.origin, session)
    return answer


@router.get("/")
def inbox_page(context: Found, request: Request) -> Response:
    """The list."""
    wanted = _filter(request.query_params)
    found = listing.listed(context.project, wanted)
    return _page(
        context,
        "inbox.html",
        wanted=wanted,
        found=found.found,
        desks=found.desks,
        states=list(State),
        severities=list(reversed(Severity)),
        kinds=list(Kind),
        sorts=list(Sort),
        link=lambda **changed: _link(wanted, changed),
        filtered=wanted != Filter(sort=wanted.sort),
    )


@router.get("/reviews/{review_id}")
def review_page(context: Found, review_id: str) -> Response:
    """One review, with everything needed to decide it."""
    shown = showing.page(context.project, review_id[:40], context.origin)
    before, after = listing.neighbours(context.project, shown.row.id)
    return _page(context, "review.html", page=shown, before=before, after=after, group_limit=deciding.MAX_GROUP)


@router.get("/records/{name:path}")
def record_page(context: Found, name: str) -> Response:
    """One record that a gate holds."""
    record = parked.shown(context.project.store, name)
    people = showing.people(context.project, None, context.origin)
    return _page(context, "record.html", record=record, people=people, waits=record.state == "in_review")


@router.get("/reviewers")
def reviewers_page(context: Found) -> Response:
    """Who may decide, and how to become one of them."""
    project = context.project
    found = reviewers.list_reviewers(project)
    return _page(
        context,
        "reviewers.html",
        keys=[(one, origin_of(one)) for one in found],
        waiting=reviewers.waiting(project),
        people=showing.people(project, None, context.origin),
        first=not found,
    )


@router.get("/report")
def report_page(context: Found) -> Response:
    """The last morning's report."""
    try:
        found = report.latest(context.project)
    except NotFoundError:
        found = None
    return _page(context, "report.html", report=found)


def problem_page(problem: Problem) -> Response:
    """A problem, told to a person. It holds nothing of the project, so that it can be told to anybody."""
    return _html("problem.html", {"problem": problem}, problem.status, problem.headers)


def _page(context: Context, template: str, **values: Any) -> Response:
    project = context.project
    shared = {
        "now": project.clock(),
        "repository": project.root.name,
        "in_inbox": len(inbox.pending(project)) + len(inbox.waiting_records(project, limit=listing.MAX_RECORDS)),
        "origin": context.origin,
    }
    return _html(template, {**shared, **values})


def _html(
    template: str, values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return HTMLResponse(environment().get_template(template).render(values), status, dict(headers or {}))


def _filter(query: Mapping[str, str]) -> Filter:
    """What the address asks for; a value that is none is as if it were not there."""
    page = query.get("page", "1")
    return Filter(
        state=_one_of(State, query.get("state"), State.WAITING),
        severity=_one_of(Severity, query.get("severity"), None),
        desk=query.get("desk", "")[:100],
        kind=_one_of(Kind, query.get("kind"), Kind.ALL),
        text=query.get("q", "")[:200],
        sort=_one_of(Sort, query.get("sort"), Sort.SEVERITY),
        page=int(page) if page.isascii() and page.isdigit() and 0 < len(page) < 6 else 1,
    )


def _one_of(kind: Any, text: str | None, otherwise: Any) -> Any:
    return kind(text) if text in set(kind) else otherwise


def _link(wanted: Filter, changed: Mapping[str, Any]) -> str:
    """The address of the list with the filter changed in some of its parts."""
    now = {
        "state": wanted.state, "severity": wanted.severity, "desk": wanted.desk, "kind": wanted.kind,
        "q": wanted.text, "sort": wanted.sort, "page": 1,
    } | dict(changed)  # fmt: skip
    usual = Filter()
    plain = {
        "state": usual.state, "severity": None, "desk": "", "kind": usual.kind, "q": "", "sort": usual.sort, "page": 1,
    }  # fmt: skip
    kept = {name: str(value) for name, value in now.items() if value != plain[name]}
    return "/?" + urlencode(kept) if kept else "/"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
