"""The real cron in a mount namespace of its own, with an empty spool: the machine's own is not touched.

It needs root; where that cannot be had the test is skipped, loudly, or fails if NIGHTCREW_REQUIRE_CRON is set. There is
no such thing for systemd's user manager: it takes over the control groups of all processes that it can see.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

_CRON = """\
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1730,gid="$(getent group crontab | cut -d: -f3)" tmpfs /var/spool/cron/crontabs
mount -t tmpfs tmpfs /etc/cron.d
: >/run/nothing
mount --bind /run/nothing /etc/crontab
exec cron -f -L 15
"""
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"


def need(program: str, variable: str) -> str:
    """The path of a program; without it the test is skipped, or fails where ``variable`` is set."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        _missing(f"{program} is not installed", variable)
    return str(found)


@contextmanager
def cron() -> Iterator[tuple[str, ...]]:
    """Debian's cron, running; gives what a command begins with to run beside it."""
    need("cron", "NIGHTCREW_REQUIRE_CRON")
    need("crontab", "NIGHTCREW_REQUIRE_CRON")
    with _namespace(_CRON, {"PATH": _PATH}, "NIGHTCREW_REQUIRE_CRON", lambda pid: _named(pid, "cron")) as inside:
        # It tells by whole seconds whether a crontab was changed since it read them, and it has just read them.
        time.sleep(1.1)
        yield inside


@contextmanager
def _namespace(
    script: str, environment: Mapping[str, str], variable: str, ready: Callable[[int], bool]
) -> Iterator[tuple[str, ...]]:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        _missing("a mount namespace needs root and unshare", variable)
    with tempfile.TemporaryFile() as said:
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        process = subprocess.Popen(argv, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            until = time.monotonic() + 20
            while not ready(process.pid):
                if process.poll() is not None or time.monotonic() > until:
                    said.seek(0)
                    _missing(f"it did not start: {said.read().decode(errors='replace')[-500:]}", variable)
                time.sleep(0.05)
            yield ("nsenter", "--mount", f"--target={process.pid}", f"--wd={Path.cwd()}", "--")
        finally:
            process.terminate()
            process.wait(timeout=30)


def _named(pid: int, name: str) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == name


def _missing(why: str, variable: str) -> None:
    if os.environ.get(variable):
        pytest.fail(f"{why}, and {variable} is set")
    pytest.skip(f"{why}: the real scheduler was NOT driven")
