"""``/metrics``, for Prometheus; ``scraper`` says who may read it."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from nightcrew.monitoring.prometheus import Exposition
from nightcrew.web.context import Server
from nightcrew.web.scraper import PATH

router = APIRouter()


@router.get(PATH, include_in_schema=False)
def metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """What the store holds, in the format that was asked for."""
    server: Server = request.app.state.server
    kept: Exposition | None = getattr(request.app.state, "exposition", None)
    if kept is None:
        kept = request.app.state.exposition = Exposition()
    data, content_type = kept.negotiated(server.opened.project().store, accept)
    return Response(data, headers={"content-type": content_type})
