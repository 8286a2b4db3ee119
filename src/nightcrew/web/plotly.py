"""Plotly.js, from the installed ``plotly``: served with its hash in the address, so that browsers keep it for good."""

import gzip
import hashlib
from functools import lru_cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from nightcrew.web.context import Stop
from nightcrew.web.problems import Problem

router = APIRouter(include_in_schema=False)
_KEPT = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}


@lru_cache(maxsize=1)
def address() -> str | None:
    """Where it is served; None if it is not installed, and then pages do without a chart."""
    try:
        return f"/static/plotly-{hashlib.sha256(_content()).hexdigest()[:16]}.js"
    except (ModuleNotFoundError, OSError):
        return None


@router.get("/static/plotly-{digest}.js")
def plotly(request: Request, digest: str) -> Response:
    """The file under its hash; compressed for whoever takes that."""
    if address() != f"/static/plotly-{digest}.js":
        raise Stop(Problem(404, "NC-HTTP-404", "there is no such file", "Reload the page: plotly was changed."))
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(_compressed(), media_type="text/javascript", headers={**_KEPT, "content-encoding": "gzip"})
    return Response(_content(), media_type="text/javascript", headers=_KEPT)


@lru_cache(maxsize=1)
def _compressed() -> bytes:
    return gzip.compress(_content(), 6, mtime=0)


def _content() -> bytes:
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
