"""Copies whose drill was killed (``kill -9``, a machine that went down): the next drill removes them.

A drill holds a lock on a file in its copy, which the kernel gives back when it dies.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from nightcrew.readiness.drills.copying import PREFIX, remove

_FILE = "held"


def hold(base: Path) -> int:
    """Hold a copy for as long as the descriptor that is given is open. Raises OSError if nothing can be written."""
    new = base / f"{_FILE}.new"
    held = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(base / _FILE)  # Nobody sees it before it is held.
    except BaseException:
        os.close(held)
        raise
    return held


def keep(base: Path) -> None:
    """Leave a copy for good: it is no drill's any more."""
    (base / _FILE).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the user's copies in ``folder`` that no drill holds, and none has kept."""
    for base in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if base.is_symlink() or base.stat().st_uid != os.getuid():
                continue
            held = os.open(base / _FILE, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(base)
            finally:
                os.close(held)
