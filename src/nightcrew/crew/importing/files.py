"""Reading a file that a person named: a path, or ``-`` for standard input; bounded, and told in their words."""

import sys
from pathlib import Path

from nightcrew.checks.errors import ReportError
from nightcrew.model.errors import UsageError

STANDARD_INPUT = Path("-")


def read(path: Path, *, limit: int) -> bytes:
    """The bytes of ``path``, at most ``limit``. Raises UsageError if it cannot be read, ReportError if it is larger."""
    if path == STANDARD_INPUT:
        data = sys.stdin.buffer.read(limit + 1)
    else:
        try:
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}", hint="Check the path.") from None
    if len(data) > limit:
        raise ReportError(f"{path.name}: larger than {limit // 1024**2} MiB", hint="Split it, and import the parts.")
    return data
