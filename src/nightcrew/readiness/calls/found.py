"""What was found by reading code: calls that leave the program, and those that leave it without a guard."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["http", "model", "process", "database", "network", "cloud", "prediction"]
"""What is called: a prediction is made in this process by a model (or a solver); everything else leaves it."""


@dataclass(frozen=True, order=True)
class ExternalCall:
    """One call, at a place in the source, of something that can fail for reasons of its own."""

    path: str
    """The file, relative to the root that was searched, with ``/``."""
    line: int
    """From 1."""
    column: int
    """From 1."""
    what: str
    """What is called, by its full name: ``requests.get``, ``anthropic.Anthropic().messages.create``."""
    kind: Kind
    function: str
    """The function it stands in (``Client.fetch``); empty at the top of a module."""
    guarded_by: str = ""
    """The guard that every way to it goes through (``nightcrew.guard``, ``tenacity.retry``); empty if there is none."""
    way: str = ""
    """For a call without a guard: how it is reached without one, in words."""
    accepted: str = ""
    """The reason that a comment ``# nightcrew: unguarded REASON`` on its line gives."""
    timeout: bool = False
    """Whether a time limit is seen: in the call, in its client, or in the guard."""
    loop: bool = False
    """Whether it stands in a loop."""

    @property
    def external(self) -> bool:
        """Whether it leaves the process."""
        return self.kind != "prediction"

    @property
    def unguarded(self) -> bool:
        """Whether it leaves the process without a guard, and nobody has said why that is right."""
        return self.external and not self.guarded_by and not self.accepted

    @property
    def hangs(self) -> bool:
        """Whether it is a model's answer that a loop waits for without a time limit."""
        return self.kind == "model" and self.loop and not self.timeout

    @property
    def place(self) -> str:
        """``path:line:column``."""
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Unread:
    """A file that was not read, and why."""

    path: str
    why: str


@dataclass(frozen=True)
class Calls:
    """All external calls of some files, in the order of path and line."""

    found: tuple[ExternalCall, ...]
    files: int
    """How many files were read."""
    unread: tuple[Unread, ...] = field(default=())

    @property
    def unguarded(self) -> tuple[ExternalCall, ...]:
        """Those that leave the process without a guard."""
        return tuple(call for call in self.found if call.unguarded)
