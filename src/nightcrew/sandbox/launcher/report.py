"""What the launcher tells nightcrew: lines on a pipe that closes with the last of the launcher's processes."""

import os


class Report:
    """Writes one line per fact to ``descriptor``; the command never holds it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _line(self, text: str) -> None:
        os.write(self._descriptor, text.replace("\n", " ").encode("utf-8", "replace") + b"\n")

    def refused(self, error: Exception) -> None:
        """The restrictions could not be put in place; nothing was run."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        self._line(f"refused {reason}")

    def failed(self, status: int, reason: str) -> None:
        """The command could not be started; ``status`` is what a shell would return (126 or 127)."""
        self._line(f"failed {status} {reason}")

    def enforced(self, limit_on_processes: bool) -> None:
        """Whether the limit on processes is enforced by the kernel."""
        self._line(f"processes {int(limit_on_processes)}")

    def status(self, wait_status: int) -> None:
        """The command ended with this status, as wait(2) gives it."""
        self._line(f"status {wait_status}")
