"""The real LoreConvo that the tests talk to, and programs between it and nightcrew that break it off where a test says.

It is installed from the package index into an environment of its own by the test set-up; see Makefile.
"""

import os
import sys
from pathlib import Path
from typing import Literal

import pytest

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
