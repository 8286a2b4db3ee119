"""The seam to brains: what one is given, what it answers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from nightcrew.model.errors import NightcrewError, TransientError
from nightcrew.model.finding import Finding
from nightcrew.model.ticket import Ticket
from nightcrew.reliability import Failure, FailureClass
from nightcrew.sandbox import Completed, Live


class MustStop(NightcrewError):
    """The session must stop before its next turn."""

    code = "NC-STOP"
    exit_status = 1
    hint = "What was done is kept on the ticket's branch; the next shift goes on from there."


class BrainUnavailable(TransientError):
    """The brain cannot do the work now; the next in the chain may. ``failure`` says why."""

    code = "NC-BRAIN"
    hint = "See what it says, and what nightcrew doctor says of the brain; the ticket stays open."

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Piece(NamedTuple):
    """A text that somebody else wrote, and where it is from: data, not orders."""

    source: str
    text: str


@dataclass(frozen=True)
class Context:
    """What an agent reads beside its ticket: its duties, handoffs to its desk, records recalled from earlier sessions.

    ``extra`` is what a reviewing agent looks at (the diff, what the tools said).
    """

    duties: tuple[str, ...] = ()
    handoffs: tuple[Piece, ...] = ()
    records: tuple[Piece, ...] = ()
    extra: tuple[Piece, ...] = ()


class Left(NamedTuple):
    """Turns that are left: until the work should be wrapped up (0: now), and until it is stopped."""

    soft: int
    hard: int


class Spent(NamedTuple):
    """What one turn took; ``dollars`` by list prices, None if they are not known."""

    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = None


class Turns(Protocol):
    """The session's budget. Each request to a model is charged here before it is sent."""

    def charge(self, key: str) -> None:
        """Charge one turn under a name that is new in the session.

        Raises BudgetError at a cap, MustStop when the session has been told to stop.
        """

    def spent(self, key: str, spent: Spent) -> None:
        """Say what the turn charged under ``key`` took."""

    def left(self) -> Left:
        """How many turns this ticket has left."""

    def stop_reason(self) -> str | None:
        """Why the session must stop now, or None."""

    def alive(self) -> None:
        """Something happened: the session is not stalled."""

    def park(self, seconds: float, why: str) -> bool:
        """Wait until a service takes requests again, if the night is long enough; False, at once, if it is not.

        Raises MustStop when the session is told to stop meanwhile.
        """


class Journal(Protocol):
    """What the brain keeps of its work on this ticket, where the death of the process does not lose it."""

    def get(self, key: str) -> Any | None:
        """The JSON value kept under ``key``, or None."""

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON value; it is safe when this returns."""

    def put_soon(self, key: str, value: Any) -> None:
        """Keep a JSON value together with the next thing that is kept or charged: for what can be made again."""

    def forget(self, prefix: str) -> None:
        """Drop what is kept under keys that begin so."""


class Watch(Protocol):
    """Is told how requests to models go, for measures. It is given no text of anybody's."""

    def request(self, brain: str, seconds: float, failure: FailureClass | None) -> None:
        """A request of ``brain`` ended after ``seconds``: with an answer, or with a failure."""

    def fell_back(self, brain: str, level: int) -> None:
        """``brain`` did the work, as the ``level``-th to be asked after the first."""


class Unwatched:
    """Measures nothing."""

    def request(self, brain: str, seconds: float, failure: FailureClass | None) -> None:
        """See Watch."""

    def fell_back(self, brain: str, level: int) -> None:
        """See Watch."""


class Run(Protocol):
    """Runs a command in the workspace's sandbox."""

    def __call__(self, argv: Sequence[str], *, timeout: float | None = None) -> Completed:
        """How it ended; ``timeout`` in seconds, at most the settings' own limit."""


class Open(Protocol):
    """Starts a coding agent in the workspace's sandbox."""

    def __call__(
        self, argv: Sequence[str], *, environment: Mapping[str, str], readable: Sequence[Path], port: int
    ) -> AbstractContextManager[Live]:
        """The running command; ``port`` is the one way out that it has."""


@dataclass(frozen=True)
class Task:
    """One ticket as a brain meets it.

    ``workspace`` is the checkout to work in, ``place`` the private folder around it (home, temporary files).
    ``kind``: to build, to look at a change and report, or to answer a person's question.
    ``findings`` are those the ticket is about. ``turns`` is
    charged before each request, ``journal`` outlives the process, ``run`` and ``open`` start commands in the sandbox.
    ``resumed``: the workspace is as an interrupted run of this same work left it. ``watch`` is told of each request.
    """

    ticket: Ticket
    workspace: Path
    findings: Sequence[Finding]
    context: Context
    run: Run
    turns: Turns
    agent: str = "build"
    session: str = ""
    kind: Literal["build", "review", "answer"] = "build"
    place: Path = Path()
    open: Open | None = None
    journal: "Journal" = field(default_factory=lambda: Notes())
    recall: Callable[[str], str] = lambda _query: "Nothing is known."
    instructions: str = ""
    resumed: bool = False
    watch: Watch = field(default_factory=Unwatched)


@dataclass(frozen=True)
class Answer:
    """What a brain did. ``finished``: the ticket's work is done; otherwise ``next`` says what is missing.

    ``findings`` is what a reviewing agent reports. ``brain`` is who did it, and ``why`` says why it was not another.
    """

    finished: bool
    done: str
    next: str = ""
    questions: str = ""
    decisions: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    brain: str = ""
    why: str = ""


class Brain(Protocol):
    """Works one ticket in a workspace. Leaves changes in the working tree; committing them is not its business."""

    @property
    def name(self) -> str:
        """The brain's name in configuration and handoffs."""

    def work(self, task: Task) -> Answer:
        """Work the ticket.

        Raises BudgetError or MustStop from ``task.turns``, and BrainUnavailable if another brain should do it.
        """


class Notes:
    """A journal in memory, for work that nobody resumes."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, key: str) -> Any | None:
        """See Journal."""
        return self._kept.get(key)

    def put(self, key: str, value: Any) -> None:
        """See Journal."""
        self._kept[key] = value

    put_soon = put

    def forget(self, prefix: str) -> None:
        """See Journal."""
        for key in [key for key in self._kept if key.startswith(prefix)]:
            del self._kept[key]
