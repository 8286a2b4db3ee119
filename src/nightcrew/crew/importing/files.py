"""Reading a file that a person named: a path, or ``-`` for standard input; bounded, and told in their words."""

import sys
from pathlib import Path
from typing import BinaryIO

from nightcrew.checks.errors import ReportError
from nightcrew.model.errors import UsageError

STANDARD_INPUT = Path("-")


def standard_input() -> BinaryIO:
    """The bytes that are piped in; raises UsageError if standard input is closed."""
    if sys.stdin is None:
        raise UsageError("standard input is closed", hint="Pipe a file into it, or name the file.")
    return sys.stdin.buffer


def read(path: Path, *, limit: int) -> bytes:
    """The bytes of ``path``, at most ``limit``. Raises UsageError if it cannot be read, ReportError if it is larger."""
    if path == STANDARD_INPUT:
        data = standard_input().read(limit + 1)
    else:
        try:
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}", hint="Check the path.") from None
    if len(data) > limit:
        raise ReportError(f"{path.name}: larger than {limit // 1024**2} MiB", hint="Split it, and import the parts.")
    return data
