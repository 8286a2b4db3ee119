"""The seam to whoever runs commands: every outside tool of this package goes through it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nightcrew.checks.errors import CheckError
from nightcrew.sandbox import Completed

__all__ = ["OWN_MODULES", "CheckError", "Run"]

OWN_MODULES = ("-P", "-m")
"""How Python runs a module of its own in a checkout: without -P, a ``bandit.py`` lying there would run instead."""


class Run(Protocol):
    """Runs a command at a workspace, in its sandbox; ``writable`` and ``readable`` are added to its policy."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        network: bool = False,
    ) -> Completed:
        """How the command ended; ``timeout`` in seconds."""
        ...
