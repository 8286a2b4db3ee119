"""Writing an export: to standard output as it comes, or to a file that is there whole or not at all."""

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nightcrew.model.errors import ConfigurationError

STANDARD_OUTPUT = Path("-")


def write_out(chunks: Iterable[bytes], path: Path) -> int:
    """Write the chunks to ``path`` (``-``: standard output), at once over what was there; gives how many bytes.

    Raises ConfigurationError if it cannot be written; an older file is untouched then.
    """
    if path == STANDARD_OUTPUT:
        count = sum(sys.stdout.buffer.write(chunk) for chunk in chunks)
        sys.stdout.buffer.flush()
        return count
    try:
        if path.exists() and not path.is_file():  # a pipe or a device: nothing to rename over
            with path.open("wb") as stream:
                return sum(stream.write(chunk) for chunk in chunks)
        return _replaced(chunks, path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", hint="Check the path, its permissions and the free space."
        ) from None


def _replaced(chunks: Iterable[bytes], path: Path) -> int:
    target = Path(os.path.realpath(path))  # as resolve(), but a link to itself is no error of ours
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as stream:
            count = sum(stream.write(chunk) for chunk in chunks)
            os.fchmod(stream.fileno(), target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return count


def _umask() -> int:
    """The process's; it can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
