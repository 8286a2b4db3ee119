"""The seam to whoever runs commands: every outside tool of this package goes through it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nightcrew.checks.errors import CheckError
from nightcrew.sandbox import Completed

__all__ = ["CheckError", "Run"]


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
