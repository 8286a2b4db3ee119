"""The real LoreConvo that the tests talk to, and programs between it and nightcrew that break it off where a test says.

It is installed from the package index into an environment of its own by the test set-up; see Makefile.
"""

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from nightcrew.crew.loreconvo_server import environment

BIN = Path(os.environ.get("NIGHTCREW_TEST_LORECONVO", Path(__file__).parents[1] / ".venv" / "loreconvo")) / "bin"
MISSING = "LoreConvo could not be installed when the tests were set up: it was NOT talked to (run: make loreconvo)"

Fault = Literal["dies", "hangs", "we die"]

BREAKER = '''
import os, signal, subprocess, sys, threading

fault, number, program, left = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
server = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
with open(left, "a") as file:
    print(os.getpid(), server.pid, file=file)
calls, answers = 0, 0

def answer():
    """Bring the answers over; ours is killed when LoreConvo has answered a call and we have not heard of it."""
    global answers
    for line in server.stdout:
        answers += b'"isError"' in line
        if fault == "we die" and answers == number:
            os.kill(os.getppid(), signal.SIGKILL)
            server.kill()
            os._exit(1)
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

threading.Thread(target=answer, daemon=True).start()
for line in sys.stdin.buffer:
    calls += b"tools/call" in line
    if calls == number and fault == "dies":
        server.kill()
        os._exit(1)
    if calls == number and fault == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.kill(server.pid, signal.SIGSTOP)
    server.stdin.write(line)
    server.stdin.flush()
server.stdin.close()
sys.exit(server.wait())
'''


RELAY = """
import socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))

def answers():
    for line in there.makefile("rb"):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

threading.Thread(target=answers, daemon=True).start()
for line in sys.stdin.buffer:
    if any(word.encode() in line for word in sys.argv[2:]):
        sys.exit(1)
    there.sendall(line)
"""


@dataclass
class Kept:
    """A LoreConvo that runs on between conversations, since to start it costs most; and how many there were."""

    port: int
    database: Path
    conversations: int = 0

    def forget(self) -> None:
        """Empty its database for the next test."""
        with sqlite3.connect(self.database) as connection:
            connection.execute("DELETE FROM sessions")
        connection.close()
        self.conversations = 0

    def argv(self, *chokes_on: str) -> list[str]:
        """What talks to it as to one that was just started, and dies of a message with one of these words in it."""
        return [sys.executable, "-IS", "-c", RELAY, str(self.port), *chokes_on]


@contextmanager
def kept_running(home: Path) -> Iterator[Kept]:
    """The real LoreConvo in the environment that nightcrew gives it, talked to by ``Kept.argv``."""
    database = home / "sessions.db"
    with (
        socket.create_server(("127.0.0.1", 0)) as door,
        subprocess.Popen(
            [program()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment(), "HOME": str(home), "LORECONVO_DB": str(database)},
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        kept, callers = Kept(door.getsockname()[1], database), list[socket.socket]()

        def answer() -> None:
            for line in server.stdout or ():
                try:
                    callers[-1].sendall(line)
                except OSError:
                    continue  # It was for one that has gone.

        def listen() -> None:
            while True:
                try:
                    caller, _ = door.accept()
                except OSError:
                    return
                callers.append(caller)
                kept.conversations += 1
                with caller:
                    for line in caller.makefile("rb"):
                        server.stdin.write(line)  # type: ignore[union-attr]
                        server.stdin.flush()  # type: ignore[union-attr]

        for work in (answer, listen):
            threading.Thread(target=work, daemon=True).start()
        try:
            yield kept
        finally:
            door.shutdown(socket.SHUT_RDWR)
            server.kill()


def program() -> str:
    """The path of LoreConvo's server. Without it the test is skipped, loudly; where it must be there, it fails."""
    found = BIN / "loreconvo"
    if not found.exists():
        if os.environ.get("NIGHTCREW_REQUIRE_LORECONVO"):
            pytest.fail("LoreConvo is not installed, and NIGHTCREW_REQUIRE_LORECONVO is set")
        pytest.skip(MISSING)
    return str(found)


def breaking(folder: Path, fault: Fault, number: int) -> list[str]:
    """The argv of a real LoreConvo that, at the ``number``-th call of a tool, is killed, or stopped, or sees us killed.

    The processes that were started are in ``folder / "processes"``, two a line.
    """
    script = folder / "breaker.py"
    script.write_text(BREAKER)
    return [sys.executable, str(script), fault, str(number), program(), str(folder / "processes")]
