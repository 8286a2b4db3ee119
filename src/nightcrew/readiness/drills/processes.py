"""The processes of a drill: nightcrew's own CLI, and children in the sandbox; whole, or started to be killed."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from nightcrew.readiness.drills.protocol import Done
from nightcrew.sandbox.interactive import Live, live
from nightcrew.sandbox.process import Policy
from nightcrew.sandbox.runner import run

_OUTPUT = 20_000_000


class Plain:
    """A process of its own session, without a sandbox: the crew's CLI, which holds its agents itself."""

    def __init__(
        self, argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str], left: Callable[[], float]
    ) -> None:
        self._argv = tuple(argv)
        self._left = left
        self._began = time.monotonic()
        self._files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            list(argv), cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=self._files[0],
            stderr=self._files[1], start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """See ``Started``."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """See ``Started``."""
        return self._process.poll() is None

    def kill(self) -> None:
        """See ``Started``."""
        if self.running:
            _kill_session(self._process.pid)
        self._process.wait()

    def wait(self, timeout: float | None = None) -> Done:
        """See ``Started``."""
        over = False
        try:
            self._process.wait(min(self._left(), timeout or self._left()))
        except subprocess.TimeoutExpired:
            over = True
            self.kill()
        status = None if over else self._process.returncode
        output, errors = (self._read(file) for file in self._files)
        return Done(self._argv, status, output, errors, time.monotonic() - self._began)

    def close(self) -> None:
        """End it, and let go of what it printed."""
        self.kill()
        for file in self._files:
            file.close()

    @staticmethod
    def _read(file: IO[bytes]) -> str:
        file.seek(0)
        return file.read(_OUTPUT).decode("utf-8", "replace")


class Held:
    """A process in the sandbox that is started, to be killed or waited for."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        policy: Policy,
        environment: Mapping[str, str],
        left: Callable[[], float],
        stdin: bytes = b"",
    ) -> None:
        self._argv = tuple(argv)
        self._left = left
        self._began = time.monotonic()
        self._stack = ExitStack()
        self._live: Live = self._stack.enter_context(
            live(argv, cwd=cwd, policy=policy, environment=environment, timeout=left(), should_stop=lambda: None)
        )
        if stdin:
            self._live.send(stdin)
        self._live.hang_up()
        self._output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._killed = False

    @property
    def pid(self) -> int:
        """See ``Started``."""
        return self._live.pid

    @property
    def running(self) -> bool:
        """See ``Started``."""
        return self._live.running

    def kill(self) -> None:
        """See ``Started``."""
        self._killed = self._killed or self.running
        self._live.kill()

    def wait(self, timeout: float | None = None) -> Done:
        """See ``Started``; its status is 0 or None: only that it printed its answer tells one end from another."""
        self._reader.join(min(self._left(), timeout or self._left()))
        over = self._reader.is_alive() or bool(self._live.why_stopped)
        self._live.kill()
        self._reader.join()
        status = None if over else -signal.SIGKILL if self._killed else 0
        output = self._output.decode("utf-8", "replace")
        return Done(self._argv, status, output, self._live.errors(20_000), time.monotonic() - self._began)

    def close(self) -> None:
        """End it."""
        self._stack.close()

    def _read(self) -> None:
        self._output = b"".join(self._live.lines())


def whole(
    argv: Sequence[str], *, cwd: Path, policy: Policy, environment: Mapping[str, str], timeout: float, stdin: bytes
) -> Done:
    """Run a command in the sandbox to its end."""
    ended = run(
        argv, cwd=cwd, policy=policy, environment=environment, timeout=timeout, output_limit=_OUTPUT, stdin=stdin
    )
    output, errors = ended.stdout.decode("utf-8", "replace"), ended.stderr.decode("utf-8", "replace")
    return Done(tuple(argv), ended.returncode, output, errors, ended.seconds)


def plain(argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str], timeout: float, stdin: str | None) -> Done:
    """Run a command without a sandbox to its end; it is killed, with its session, when its time is over."""
    began = time.monotonic()
    with subprocess.Popen(
        list(argv), cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        status: int | None
        try:
            output, errors = process.communicate(stdin, timeout=timeout)
            status = process.returncode
        except subprocess.TimeoutExpired:
            _kill_session(process.pid)
            output, errors = process.communicate()
            status = None
        except BaseException:
            _kill_session(process.pid)
            raise
    return Done(tuple(argv), status, output, errors, time.monotonic() - began)


def _kill_session(leader: int) -> None:
    with suppress(ProcessLookupError):  # It may have ended by now, and an interruption is to stay one.
        os.killpg(leader, signal.SIGKILL)
