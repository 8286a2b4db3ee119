"""One engine process per SQLite database.

DBOS does not hold queue limits across processes on SQLite, and two processes would recover each other's work. The lock
is the kernel's (flock), so that a process that dies, however it dies, lets go of it.
"""

import errno
import fcntl
import os
from pathlib import Path

from nightcrew.model.errors import BusyError


class LockFile:
    """An exclusive lock on ``path``, held from :meth:`acquire` until :meth:`release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises BusyError naming the process that holds it, and OSError if the file cannot be made."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise BusyError(
                f"process {holder or 'unknown'} already runs this state (lock {self.path})",
                hint=f"Wait for it to end, or stop it with: nightcrew stop (or kill {holder or 'its process'})",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the lock; harmless when it is not held. The file stays: removing it would race with a taker."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
