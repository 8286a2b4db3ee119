"""The seam between ``run`` and what holds a command on this kind of machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nightcrew.sandbox.process import Policy


@dataclass(frozen=True)
class Launch:
    """How to start one command: what the launcher runs, and how it restricts itself before.

    ``isolation`` is None where ``argv`` itself starts a program that restricts (bubblewrap, sandbox-exec), or where the
    user turned the sandbox off; ``descriptors`` are handed to the launcher and closed by ``run``; ``not_enforced``
    names what of the policy does not hold on this machine.
    """

    argv: tuple[str, ...]
    name: str
    isolation: Mapping[str, Any] | None = None
    descriptors: tuple[int, ...] = ()
    not_enforced: tuple[str, ...] = ()
    retry: "Callable[[str], Launch] | None" = None
    """Called with the reason when the machine refuses these restrictions: the next best launch, or a SandboxError."""


class Sandbox(Protocol):
    """Something that can hold a command."""

    @property
    def name(self) -> str:
        """What people are told: ``landlock ABI 7``, ``bubblewrap``, ``seatbelt``."""
        ...

    def prepare(self, argv: Sequence[str], *, cwd: Path, policy: Policy, environment: Mapping[str, str]) -> Launch:
        """How to run ``argv`` under ``policy``; raises SandboxError when the policy cannot be put in place."""
        ...
