"""Reading what a sandboxed command left behind: the file may be anything, so it is opened with care."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightcrew.checks.errors import ReportError


@contextmanager
def report_folder(temp: Path) -> Iterator[Path]:
    """A fresh folder in ``temp`` for the reports of one command, with a name that no earlier command could prepare."""
    with tempfile.TemporaryDirectory(prefix="report-", dir=temp, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def read_report(path: Path, *, limit: int) -> bytes:
    """The bytes of the regular file ``path``, at most ``limit``.

    A link is not followed (it could lead out of the sandbox) and a pipe is not waited for. Raises ReportError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ReportError(f"{path.name}: was not written") from None
    except OSError as error:
        raise ReportError(f"{path.name}: cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ReportError(f"{path.name}: is not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ReportError(f"{path.name}: larger than {limit // 1024**2} MiB")
    return data
