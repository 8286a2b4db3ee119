"""A command that is talked to while it runs, in the sandbox: for agents that speak a protocol over their streams."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from nightcrew.model.errors import NightcrewError, SandboxError
from nightcrew.sandbox.attend import GRACE_SECONDS, end_now
from nightcrew.sandbox.capture import Capture
from nightcrew.sandbox.process import Policy
from nightcrew.sandbox.protocol import Sandbox
from nightcrew.sandbox.runner import prepare, run, start_launcher

_WATCH_SECONDS = 0.1
_ERRORS_KEPT = 200_000


class Live:
    """A running command. ``stdin`` and ``stdout`` are its streams, unbuffered bytes.

    ``why_stopped`` says why it was ended from here: what ``should_stop`` said, or ``time is over``; empty otherwise.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None  # noqa: S101 - all three are pipes
        assert process.stdout is not None  # noqa: S101
        self.stdin: IO[bytes] = process.stdin
        self.stdout: IO[bytes] = process.stdout
        self.why_stopped = ""
        self._process = process
        self._errors = Capture(_ERRORS_KEPT)
        self._lock = threading.Lock()

    def send(self, line: bytes) -> bool:
        """Write a line to the command; False if it no longer reads."""
        try:
            self.stdin.write(line)
            self.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def lines(self, longest: int = 16 << 20) -> Iterator[bytes]:
        """The lines that it prints, to the end; one of more than ``longest`` bytes is left out."""
        too_long = False
        while line := self.stdout.readline(longest):
            ended = line.endswith(b"\n") or len(line) < longest
            if ended and not too_long:
                yield line
            too_long = not ended

    def hang_up(self) -> None:
        """Close its standard input."""
        try:
            self.stdin.close()
        except OSError:
            return

    def stop(self, why: str) -> None:
        """Ask it to end; after two seconds end its whole tree."""
        with self._lock:
            if self._process.poll() is not None:
                return
            self.why_stopped = self.why_stopped or why
            self._process.terminate()
            try:
                self._process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                end_now(self._process)

    @property
    def pid(self) -> int:
        """The process id of the launcher, which holds the command."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it and all that it started at once, unasked; returns when they are gone."""
        with self._lock:
            end_now(self._process)

    def errors(self, characters: int = 2000) -> str:
        """The end of what it wrote to standard error."""
        return self._errors.value().decode("utf-8", "replace").strip()[-characters:]

    def _drain(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        while data := os.read(self._process.stderr.fileno(), 1 << 16):
            self._errors.add(data)

    def _watch(self, deadline: float, should_stop: Callable[[], str | None], ended: threading.Event) -> None:
        while not ended.wait(_WATCH_SECONDS):
            why: str | None = "time is over" if time.monotonic() >= deadline else None
            with suppress(NightcrewError):  # A store that is busy for a moment is asked again.
                why = why or should_stop()
            if why:
                self.stop(why)
                return


@contextmanager
def live(
    argv: Sequence[str],
    *,
    cwd: Path,
    policy: Policy,
    environment: Mapping[str, str],
    timeout: float,
    should_stop: Callable[[], str | None],
    sandbox: Sandbox | None = None,
) -> Iterator[Live]:
    """Start ``argv`` as ``run`` would and give it; nothing that it started is alive at the end of the block.

    ``should_stop`` is asked every 100 ms for a reason to end it; ``timeout`` in seconds. A command that cannot be
    started is seen as one that ends at once, with the reason in ``errors``. Raises SandboxError when no sandbox can
    hold it.
    """
    # A first command finds out which restrictions this machine puts in place, and the choice is remembered.
    probe = run(["true"], cwd=cwd, policy=policy, environment=environment, timeout=60, sandbox=sandbox)
    if not probe.ok:
        raise SandboxError(f"the sandbox cannot be put in place: {probe.tail(300)}")
    launch = prepare(argv, cwd, policy, environment, sandbox)
    read_end, write_end = os.pipe()
    try:
        process = start_launcher(launch, cwd, policy, environment, write_end, piped=True)
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
        for descriptor in launch.descriptors:
            os.close(descriptor)
    ended = threading.Event()
    with process:
        running = Live(process)
        threads = [
            threading.Thread(target=running._drain, daemon=True),
            threading.Thread(target=running._watch, args=(time.monotonic() + timeout, should_stop, ended), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield running
        finally:
            ended.set()
            end_now(process)
            for thread in threads:
                thread.join()
            reports = _all_of(read_end)
            if b"failed " in reports or b"refused " in reports:
                running._errors.add(reports)


def _all_of(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        os.set_blocking(descriptor, False)
        return stream.read() or b""
