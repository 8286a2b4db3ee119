"""The pages of the ledger: its entries, one of them, and whether all of it fits."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from nightcrew.crew import trail
from nightcrew.model.errors import NotFoundError
from nightcrew.web.context import Context, context_of
from nightcrew.web.templating import link, number, page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)


@router.get("/ledger")
def ledger_page(context: Found, request: Request) -> Response:
    """Entries, last first."""
    query = request.query_params
    plain = {"subject": query.get("subject", "")[:300].strip(), "action": query.get("action", "")[:100].strip()}
    before = number(query.get("before"))
    found = trail.page(context.project, before=before, **plain)
    return page(
        context,
        "ledger.html",
        trail=found,
        wanted=plain,
        before=before,
        filtered=any(plain.values()),
        verified=context.server.watch.state(context.project),
        link=lambda **changed: link("/ledger", **{**plain, **changed}),
    )


@router.get("/ledger/{seq}")
def entry_page(context: Found, seq: str) -> Response:
    """One entry."""
    wanted = number(seq)
    if wanted is None:
        raise NotFoundError("an entry of the ledger is named by its number", hint="See the last ones: /ledger")
    found, problem = trail.entry(context.project, wanted)
    return page(
        context, "entry.html", entry=found, problem=problem, data=_read(found.data), last=trail.last(context.project)
    )


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text[:20_000]
