"""Attending to one launched command from the outside: its streams, its time, its end."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nightcrew.sandbox.capture import Capture

POLL_SECONDS = 0.1
"""How often a request to stop is looked for."""
GRACE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL."""
_DRAIN_SECONDS = 1.0
_CHUNK = 1 << 16


@dataclass
class Attendance:
    """What was seen of a command until its whole tree was gone."""

    stdout: Capture
    stderr: Capture
    reports: bytearray = field(default_factory=bytearray)
    timed_out: bool = False
    stopped: bool = False


def attend(
    process: "subprocess.Popen[bytes]",
    reports: int,
    *,
    timeout: float,
    output_limit: int,
    should_stop: Callable[[], bool] | None,
    stdin: bytes | None,
) -> Attendance:
    """Feed, read and time ``process`` (the launcher's guard) until it ended; always leaves it dead.

    ``reports`` is the read end of the launcher's report pipe. Whatever interrupts this (KeyboardInterrupt, an error in
    ``should_stop``) ends the tree before it goes on.
    """
    seen = Attendance(Capture(output_limit), Capture(output_limit))
    try:
        _Loop(process, reports, seen, stdin).run(timeout, should_stop)
    finally:
        end_now(process)
    return seen


def end_now(process: "subprocess.Popen[bytes]") -> None:
    """Have the guard kill its tree, and wait for it; the guard itself is killed if it does not answer."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGUSR1)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Loop:
    """The state of ``attend`` while it goes on."""

    def __init__(self, process: "subprocess.Popen[bytes]", reports: int, seen: Attendance, stdin: bytes | None) -> None:
        self._process = process
        self._seen = seen
        self._reports = reports
        self._unwritten = memoryview(stdin or b"")
        self._selector = selectors.DefaultSelector()
        self._kill_at: float | None = None
        sinks: list[tuple[int, Callable[[bytes], None]]] = [(reports, seen.reports.extend)]
        if process.stdout is not None:
            sinks.append((process.stdout.fileno(), seen.stdout.add))
        if process.stderr is not None:
            sinks.append((process.stderr.fileno(), seen.stderr.add))
        for descriptor, sink in sinks:
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, sink)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)

    def run(self, timeout: float, should_stop: Callable[[], bool] | None) -> None:
        deadline = time.monotonic() + timeout
        drain_until: float | None = None
        with self._selector:
            while self._open_readers():
                now = time.monotonic()
                if self._reports_closed():
                    # The tree is gone. Only what escaped it (no namespaces, macOS) can still hold a stream open.
                    drain_until = drain_until or now + _DRAIN_SECONDS
                    if now >= drain_until:
                        return
                elif self._kill_at is None:
                    self._look_for_an_end(now, deadline, should_stop)
                elif now >= self._kill_at:
                    end_now(self._process)
                self._pump(self._pause(now, deadline, polling=should_stop is not None))

    def _look_for_an_end(self, now: float, deadline: float, should_stop: Callable[[], bool] | None) -> None:
        if now >= deadline:
            self._seen.timed_out = True
        elif should_stop is not None and should_stop():
            self._seen.stopped = True
        else:
            return
        self._process.send_signal(signal.SIGTERM)
        self._kill_at = now + GRACE_SECONDS

    def _pause(self, now: float, deadline: float, *, polling: bool) -> float:
        until = self._kill_at if self._kill_at is not None else deadline
        remaining = max(until - now, 0.0)
        return min(remaining, POLL_SECONDS) if polling or remaining == 0 or self._reports_closed() else remaining

    def _pump(self, pause: float) -> None:
        for key, _ in self._selector.select(pause):
            if key.data is None:
                self._write(key.fd)
            else:
                self._read(key.fd, key.data)

    def _read(self, descriptor: int, sink: Callable[[bytes], None]) -> None:
        data = os.read(descriptor, _CHUNK)
        if data:
            sink(data)
        else:
            self._selector.unregister(descriptor)

    def _write(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, self._unwritten[:_CHUNK]) if self._unwritten else 0
        except BrokenPipeError:
            written = len(self._unwritten)
        self._unwritten = self._unwritten[written:]
        if not self._unwritten and self._process.stdin is not None:
            self._selector.unregister(descriptor)
            self._process.stdin.close()

    def _open_readers(self) -> bool:
        return any(key.data is not None for key in self._selector.get_map().values())

    def _reports_closed(self) -> bool:
        return self._reports not in self._selector.get_map()
