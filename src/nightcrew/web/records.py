"""The pages of pipelines and their records: sums, versions, runs, the retry queue and quarantine."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from nightcrew.pipeline import parked, queues
from nightcrew.web import showing
from nightcrew.web.context import Context, context_of
from nightcrew.web.templating import link, number, page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)


@router.get("/pipelines")
def pipelines_page(context: Found) -> Response:
    """Every pipeline with its sums by state."""
    return page(context, "pipelines.html", pipelines=queues.lines(context.project.store), states=queues.STATES)


@router.get("/pipelines/{name}")
def pipeline_page(context: Found, name: str, before: str = "") -> Response:
    """One pipeline."""
    view = queues.view(context.project.store, name[:300], before=number(before))
    return page(context, "pipeline.html", view=view, states=queues.STATES, before=number(before))


@router.get("/records")
def records_page(context: Found, request: Request) -> Response:
    """The records in one state."""
    query = request.query_params
    state = query.get("state", "")
    state = state if state in queues.OPEN_STATES else "quarantined"
    pipeline, kind = query.get("pipeline", "")[:300], query.get("kind", "")[:60]
    after = query.get("after", "")[:60]
    found = queues.queue(context.project.store, state, pipeline=pipeline, kind=kind, after=after)
    plain = {"state": state, "pipeline": pipeline, "kind": kind}
    return page(
        context,
        "records.html",
        queue=found,
        wanted=plain,
        after=after,
        states=queues.OPEN_STATES,
        link=lambda **changed: link("/records", **{**plain, **changed}),
    )


@router.get("/records/{name:path}")
def record_page(context: Found, name: str) -> Response:
    """One record, whatever its state."""
    record = parked.shown(context.project.store, name)
    people = showing.people(context.project, None, context.origin)
    return page(context, "record.html", record=record, people=people, waits=record.state == "in_review")
