"""The application: security around it, pages and API in it."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from nightcrew.crew import audit
from nightcrew.crew.trail import Watch
from nightcrew.model.errors import NightcrewError
from nightcrew.web import (
    about,
    alerts,
    api,
    board,
    inbox,
    ledger,
    metrics,
    pages,
    parked,
    readiness,
    records,
    templating,
    timeline,
)
from nightcrew.web.context import Server, Stop
from nightcrew.web.kept import Kept
from nightcrew.web.limits import Limit
from nightcrew.web.live import Live
from nightcrew.web.opened import Open, Opened
from nightcrew.web.problems import Problem
from nightcrew.web.security import PROOF_HEADER, Security, cookie_name
from nightcrew.web.sessions import Sessions
from nightcrew.web.watching import watching


class Static(StaticFiles):
    """Our own files: a browser may keep them, and asks each time whether they are still the same."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        """As Starlette's, which says 304 for what did not change."""
        answer = super().file_response(*arguments, **named)
        answer.headers["cache-control"] = "no-cache"
        return answer


def create_app(project_root: Path, *, origin: str, token: str, open_project: Open | None = None) -> FastAPI:
    """The server of one project for pages at ``origin`` (``http://localhost:8377``, no path).

    ``token`` (at least 256 bits) opens the first session at ``/enter?token=...``, once; ``app.state.server.sessions``
    makes more of them. ``open_project`` opens a project by its path.
    """
    opened = Opened(project_root, open_project)
    sessions = Sessions(time.monotonic)
    sessions.add_link(token)
    server = Server(
        origin=origin,
        opened=opened,
        sessions=sessions,
        attempts=Limit(each=20, all_=60, seconds=60.0, clock=time.monotonic),
        live=Live(lambda: _version(opened)),
        watch=Watch(),
        kept=Kept(),
    )

    @asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        with watching(opened):
            yield
        opened.close()

    app = FastAPI(
        title="nightcrew inbox",
        version="1",
        description="What waits for a person, and decisions signed by passkeys.",
        docs_url=None,  # its pages load their scripts from elsewhere
        redoc_url=None,
        lifespan=closing,
        # Nothing leaves this machine: newer releases could be told otherwise by an environment variable.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.server = server
    for area in (pages, inbox, board, records, ledger, alerts, readiness, about):
        app.include_router(area.router)
    app.include_router(api.router)
    app.include_router(parked.router)
    app.include_router(alerts.api)
    app.include_router(metrics.router)
    app.include_router(timeline.router)
    app.mount("/static", Static(directory=str(files("nightcrew.web") / "static")), name="static")
    app.add_middleware(Security, origin=origin, sessions=sessions, answer=answer)
    _handle_errors(app)
    _say_who_may(app, origin)
    return app


def answer(problem: Problem, scope: Mapping[str, Any]) -> Response:
    """The response that tells a problem: JSON under ``/api``, else a page."""
    path = scope["path"]
    if path.startswith("/api/") or path == "/openapi.json":
        return JSONResponse(problem.plain(), problem.status, dict(problem.headers))
    return templating.problem_page(problem)


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(NightcrewError)
    def ours(request: Request, error: NightcrewError) -> Response:
        return answer(Problem.of(error), request.scope)

    @app.exception_handler(Stop)
    def stopped(request: Request, stop: Stop) -> Response:
        return answer(stop.problem, request.scope)

    @app.exception_handler(RequestValidationError)
    def unfit(request: Request, error: RequestValidationError) -> Response:
        told = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in list(error.errors())[:3]
        )
        return answer(Problem(422, "NC-DOCUMENT", told[:1000], "See /openapi.json."), request.scope)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        told = {404: "there is no such page", 405: "that method is not answered here"}
        problem = Problem(
            error.status_code, f"NC-HTTP-{error.status_code}", told.get(error.status_code, str(error.detail)),
            "Go back to the overview: /", headers=dict(error.headers or {}),
        )  # fmt: skip
        return answer(problem, request.scope)


def _say_who_may(app: FastAPI, origin: str) -> None:
    """Write into the OpenAPI document what a request needs: the session's cookie and, to change anything, its proof."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        document["servers"] = [{"url": origin}]
        document["components"]["securitySchemes"] = {
            "session": {"type": "apiKey", "in": "cookie", "name": cookie_name(origin)},
            "proof": {"type": "apiKey", "in": "header", "name": PROOF_HEADER},
        }
        for methods in document["paths"].values():
            for method, operation in methods.items():
                operation["security"] = [{"session": []} if method == "get" else {"session": [], "proof": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _version(opened: Opened) -> str:
    last = audit.show(opened.project(), limit=1)
    return f"{last[-1].seq}-{last[-1].hash[:12]}" if last else "0"
