"""The seam between a drill and what runs it: what a drill is, the copy that it works in, what it has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from nightcrew.model.clock import isoformat
from nightcrew.model.errors import NightcrewError
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.target import Target

Outcome = Literal["passed", "failed", "not_applicable", "error"]
"""What had to happen did; did not; the drill means nothing here; the drill itself broke, and says nothing."""

On = Literal["crew", "pipeline"]


class NotApplicable(Exception):
    """Raised in ``run``: the drill cannot be done here; the message says why, as ``applies`` would have."""


class NotDone(NightcrewError):
    """What a drill needed was not done: a command in the copy failed that had to work before anything was injected."""

    code = "NC-DRILL"
    exit_status = 4
    hint = "Run the drill with --keep and look at the copy."


@dataclass(frozen=True)
class Observed:
    """What a drill saw. ``happened`` says it in a sentence or two that a user understands, most of all on a failure.

    ``detected_seconds``: from the injection until the fault was known to nightcrew (classified, recorded, alerted);
    ``recovered_seconds``: from the injection until work was going on as it should; None where there is no such thing.
    ``evidence`` are the facts, as JSON has a form for. ``stood_in`` says what was not the real thing: a step that needs
    the network and was answered by its fallback, say.
    """

    passed: bool
    happened: str
    detected_seconds: float | None = None
    recovered_seconds: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    stood_in: str = ""


@dataclass(frozen=True)
class Done:
    """How a command of nightcrew in the copy ended. ``status``: None if killed for time; negative: by a signal."""

    argv: tuple[str, ...]
    status: int | None
    output: str
    errors: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.status == 0

    def json(self) -> Any:
        """What it printed, read as JSON; raises NotDone with what it said instead."""
        import json

        try:
            return json.loads(self.output)
        except ValueError:
            raise NotDone(
                f"{' '.join(self.argv)} ended with {self.status} and printed no JSON: {self.tail()}"
            ) from None

    def tail(self, characters: int = 600) -> str:
        """The end of what it said, errors last; and that its time was over, if it was."""
        said = f"{self.output}\n{self.errors}".strip()[-characters:]
        if self.status is not None:
            return said
        return f"its time was over after {self.seconds:.0f} s, and it was ended{f': {said}' if said else ''}"


class Started(Protocol):
    """A process in the copy that a drill may kill. It, and all it started, is ended with the drill."""

    @property
    def pid(self) -> int:
        """The id of the process, or of the launcher that holds it in the sandbox."""
        ...

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        ...

    def kill(self) -> None:
        """``kill -9``: it, and all it started; returns when it is gone."""
        ...

    def wait(self, timeout: float | None = None) -> Done:
        """Wait for its end; it is killed after ``timeout`` seconds, or when the drill's time is over."""
        ...


class Place(Protocol):
    """The isolated copy that a drill works in."""

    @property
    def root(self) -> Path:
        """The clone of the repository, or the copied folder of the application."""
        ...

    @property
    def target(self) -> Target:
        """The target, in the copy."""
        ...

    @property
    def live(self) -> Target:
        """The target itself: to be read, never changed. Its store is not opened (see ``restore-from-backup``)."""
        ...

    @property
    def scratch(self) -> Path:
        """A folder of the copy for the drill's own files, outside ``root``."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The whole environment of what runs here: HOME, NIGHTCREW_CONFIG_DIR, XDG_* inside the copy; no keys."""
        ...

    @property
    def seconds(self) -> float:
        """How long the drill may take."""
        ...

    @property
    def input(self) -> Path | None:
        """The sample of records that the user gave with --input, in the copy; None if there is none."""
        ...

    def left(self) -> float:
        """How many of its seconds are left; at least 0.1."""
        ...

    def elapsed(self) -> float:
        """Seconds since the drill began: what detection and recovery are measured by."""
        ...

    def say(self, text: str) -> None:
        """Tell the user what goes on."""
        ...

    def nightcrew(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: str | None = None,
    ) -> Done:
        """Run the real CLI as a process in the copy (in ``root``; in the sandbox if the target is a pipeline).

        ``env`` is added to the environment; ``timeout`` in seconds, never more than what is left.
        """
        ...

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> Started:
        """Start the real CLI in the copy, to be killed or waited for."""
        ...

    def child(
        self,
        function: str,
        spec: Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        loads: bool = True,
    ) -> Any:
        """Call ``package.module:function`` of nightcrew in a sandboxed child process in the copy; gives its answer.

        Writes are confined to the copy, and there is no network but the processes of the child itself. The function
        takes ``(pipeline, spec)``, the target being loaded there with its state in the copy; for a crew, or without
        ``loads``, ``(None, spec)``. Spec and answer are JSON. Each child has process numbers of its own, so that a
        process that dies and one that takes over belong into one child (see ``supervising``).

        Raises ChildError if the child raised, ended early or took too long.
        """
        ...

    def start_child(self, function: str, spec: Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Started:
        """As ``child``, to be killed or waited for; ``Done.output`` of its ``wait`` is the answer as JSON."""
        ...


class ChildError(NightcrewError):
    """The code under drill ended with an error in its child process."""

    code = "NC-DRILL"
    exit_status = 4

    def __init__(self, message: str, *, kind: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        """The class of the exception that the child raised (``ConfigurationError``), or ``killed``, ``timeout``."""


class Drill(Protocol):
    """An injected fault that proves a safeguard works. One that cannot fail proves nothing."""

    @property
    def name(self) -> str:
        """As on the command line: ``kill-mid-step``."""
        ...

    @property
    def title(self) -> str:
        """What is proven, in a few words."""
        ...

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes that it is evidence for when it passes."""
        ...

    @property
    def on(self) -> frozenset[On]:
        """What it can be done on."""
        ...

    @property
    def injects(self) -> str:
        """What it does to the copy, in a sentence."""
        ...

    @property
    def expects(self) -> str:
        """What must happen, in a sentence."""
        ...

    def applies(self, target: Target) -> str:
        """Empty if it can be done on this target, else why not. Imports and runs nothing of the target's."""
        ...

    def run(self, place: Place) -> Observed:
        """Inject the fault in ``place``, look, and say. Raises NotApplicable; any other error means the drill broke."""
        ...


@dataclass(frozen=True)
class Result:
    """One drill of one target, as it is stored. ``target`` is its label, ``seconds`` how long it took in all."""

    drill: str
    target: str
    outcome: Outcome
    boxes: tuple[Box, ...]
    injected: str
    expected: str
    happened: str
    detected_seconds: float | None
    recovered_seconds: float | None
    stood_in: str
    started: datetime
    seconds: float
    evidence: Mapping[str, Any]
    fingerprint: str
    parts: Mapping[str, str]
    id: int | None = None
    entry: int | None = None
    """The number of the ledger's entry that holds it."""

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return {
            **self.__dict__,
            "boxes": [str(box) for box in self.boxes],
            "started": isoformat(self.started),
            "evidence": dict(self.evidence),
            "parts": dict(self.parts),
        }


Drills = Sequence[Drill]
