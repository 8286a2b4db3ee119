"""What a request has at hand: the project, its session, and the server's parts."""

from dataclasses import dataclass

from starlette.requests import Request

from nightcrew.crew.project import Project
from nightcrew.crew.trail import Watch
from nightcrew.web.kept import Kept
from nightcrew.web.limits import Limit
from nightcrew.web.live import Live
from nightcrew.web.opened import Opened
from nightcrew.web.problems import Problem
from nightcrew.web.sessions import Session, Sessions


class Stop(Exception):
    """The request ends with this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True)
class Server:
    """The parts of one running server."""

    origin: str
    opened: Opened
    sessions: Sessions
    attempts: Limit
    live: Live
    watch: Watch
    kept: Kept


@dataclass(frozen=True)
class Context:
    """One request's view of them; Security has let it in, so that it has a session."""

    server: Server
    session: Session

    @property
    def project(self) -> Project:
        """The project, opened."""
        return self.server.opened.project()

    @property
    def origin(self) -> str:
        """Scheme, host and port of the pages."""
        return self.server.origin

    @property
    def attempts(self) -> Limit:
        """How often signatures may be tried."""
        return self.server.attempts

    @property
    def live(self) -> Live:
        """Who is told of changes."""
        return self.server.live

    def still_open(self) -> bool:
        """Whether the session has not ended meanwhile."""
        return self.server.sessions.find(self.session.id) is not None


def context_of(request: Request) -> Context:
    """For FastAPI: the context of a request."""
    return Context(request.app.state.server, request.state.session)
