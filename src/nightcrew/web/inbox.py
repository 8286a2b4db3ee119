"""The pages of what waits for a person: the list, one review."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from nightcrew.crew import deciding
from nightcrew.model.severity import Severity
from nightcrew.web import listing, showing
from nightcrew.web.context import Context, context_of
from nightcrew.web.listing import Filter, Kind, Sort, State
from nightcrew.web.templating import link, page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)


@router.get("/inbox")
def inbox_page(context: Found, request: Request) -> Response:
    """The list."""
    wanted = _filter(request.query_params)
    found = listing.listed(context.project, wanted)
    return page(
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
    return page(context, "review.html", page=shown, before=before, after=after, group_limit=deciding.MAX_GROUP)


def _filter(query: Mapping[str, str]) -> Filter:
    """What the address asks for; a value that is none is as if it were not there."""
    wanted = query.get("page", "1")
    return Filter(
        state=one_of(State, query.get("state"), State.WAITING),
        severity=one_of(Severity, query.get("severity"), None),
        desk=query.get("desk", "")[:100],
        kind=one_of(Kind, query.get("kind"), Kind.ALL),
        text=query.get("q", "")[:200],
        sort=one_of(Sort, query.get("sort"), Sort.SEVERITY),
        page=int(wanted) if wanted.isascii() and wanted.isdigit() and 0 < len(wanted) < 6 else 1,
    )


def one_of(kind: Any, text: str | None, otherwise: Any) -> Any:
    """The member of ``kind`` that ``text`` names."""
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
    return link("/inbox", **{name: value for name, value in now.items() if value != plain[name]})
