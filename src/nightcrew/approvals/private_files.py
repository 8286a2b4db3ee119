"""Files that only the user can read or write: the checks and the atomic writes that the trust anchor stands on."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nightcrew.model.errors import ConfigurationError, IntegrityError

MAX_BYTES = 1 << 20
TEMPORARY_PREFIX = ".tmp-"
"""A crash can leave such a file; nothing reads it."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def ensure_directory(path: Path) -> None:
    """Make ``path`` with mode 0700, parents too; raises ConfigurationError if it exists and others can enter it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_directory(path)


def check_directory(path: Path) -> None:
    """Raises ConfigurationError unless ``path`` is a real directory of the user's that nobody else can enter."""
    state = path.lstat()
    if not stat.S_ISDIR(state.st_mode):
        raise ConfigurationError(f"{path} is not a directory", hint="Move away what is there; a link is not followed.")
    check_private(state, path)


def check_private(state: os.stat_result, path: Path) -> None:
    """Raises ConfigurationError if ``state`` (of ``path``) gives group or others access, or another user owns it."""
    if state.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(f"{path} belongs to another user", hint=f"Run: chown {os.geteuid()} '{path}'")
    if stat.S_IMODE(state.st_mode) & _OTHERS:
        mode = "700" if stat.S_ISDIR(state.st_mode) else "600"
        raise ConfigurationError(
            f"{path} is open to other users (mode {stat.S_IMODE(state.st_mode):04o})",
            hint=f"Make sure that nobody changed it, then run: chmod {mode} '{path}'",
        )


def read(path: Path) -> bytes:
    """The bytes of a private file.

    Raises FileNotFoundError, ConfigurationError if others have access, IntegrityError for a link, a device or a file
    of more than MAX_BYTES.
    """
    try:
        # O_NONBLOCK: a named pipe put in the file's place must not hang the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read as a plain file: {error.strerror}") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise IntegrityError(f"{path} is not a plain file")
        check_private(state, path)
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise IntegrityError(f"{path} is longer than {MAX_BYTES} bytes")
    return data


def replace(path: Path, data: bytes) -> None:
    """Write a private file so that a reader, or a crash at any instant, sees the old bytes or the new ones."""
    temporary = _write_temporary(path, data)
    temporary.replace(path)
    _sync_directory(path.parent)


def create(path: Path, data: bytes) -> bool:
    """Like ``replace``, but only if there is no such file yet; gives whether this call made it."""
    temporary = _write_temporary(path, data)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_directory(path.parent)
    return True


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the one lock for changes in ``directory``; waits for another process that holds it."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_temporary(path: Path, data: bytes) -> Path:
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
