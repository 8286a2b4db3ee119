"""kill -9 of a process that watches alerts, at every transaction and between: nothing is lost, nothing comes twice.

One moment cannot be told from outside: after a channel took a message and before that is marked. Then, and only then,
the message comes again, and says that it may have come before.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.alerting import Bench, Webhook, webhook

SETTINGS = """
[alerts]
disabled = ["disk-full", "quarantine-growing", "channel-dead"]
channels = ["first", "second"]
[[channel]]
name = "first"
urls_env = "FIRST_URLS"
[[channel]]
name = "second"
urls_env = "SECOND_URLS"
"""
ROOT = Path(__file__).parents[2]
WRITES = 8
"""Transactions of a look that fires one alert and tells one channel in vain and then a second: what follows, the lock,
the first channel before and after, the second before and after, the lock again; and one of the look after that."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store in which a pipeline fails."""
    bench = Bench(tmp_path, now=datetime.now(UTC))
    bench.settings(SETTINGS)
    bench.records(accepted=80, failed=20)
    bench.close()
    return tmp_path


@pytest.fixture
def channels() -> Iterator[tuple[Webhook, Webhook]]:
    with webhook() as first, webhook() as second:
        first.status = 500
        yield first, second


def run(home: Path, channels: tuple[Webhook, Webhook], point: str) -> int:
    """Watch in a process that dies at ``point``; gives its status."""
    env = {**os.environ, "FIRST_URLS": channels[0].url, "SECOND_URLS": channels[1].url, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "tests.faults.alert_process", str(home), point]
    return subprocess.run(argv, env=env, cwd=ROOT, timeout=120, check=False).returncode


def check(home: Path, channels: tuple[Webhook, Webhook], *, times: int = 1) -> Bench:
    """After another look all is as if nothing had been killed."""
    assert run(home, channels, "never") == 0
    bench = Bench(home, now=datetime.now(UTC))
    (message,) = bench.outbox
    assert (message.state, message.taken_by) == ("sent", "second")
    assert bench.firing == ["pipeline-errors"]
    assert bench.actions().count("alert.fire") == 1
    assert bench.actions().count("alert.send") == 1
    assert len(channels[1].got) == times
    return bench


def test_undisturbed_it_comes_once(home: Path, channels: tuple[Webhook, Webhook]) -> None:
    assert run(home, channels, f"write:{WRITES + 1}") == 0, "there are no more transactions than these tests know"
    check(home, channels).close()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, WRITES))
@pytest.mark.parametrize("when", ["write", "wrote"])
def test_killed_at_a_transaction_it_still_comes(
    when: str, number: int, home: Path, channels: tuple[Webhook, Webhook]
) -> None:
    assert run(home, channels, f"{when}:{number}") == -signal.SIGKILL
    # Between what the second channel took and its mark: the one moment after which it comes again.
    taken = len(channels[1].got)
    repeated = taken == 1 and (when, number) == ("write", 6)
    check(home, channels, times=2 if repeated else 1).close()
    if repeated:
        assert channels[1].got[1]["message"].startswith("This may have come before")


@pytest.mark.parametrize(("point", "times"), [("send:1", 1), ("send:2", 2)])
def test_killed_after_a_channel_was_given_it(
    point: str, times: int, home: Path, channels: tuple[Webhook, Webhook]
) -> None:
    assert run(home, channels, point) == -signal.SIGKILL
    check(home, channels, times=times).close()
    marks = [message["message"].startswith("This may have come before") for message in channels[1].got]
    assert marks == [False, True][:times], "what comes again says so, what does not does not"
    first = [message["message"].startswith("This may have come before") for message in channels[0].begun]
    assert first == ([False, True] if point == "send:1" else [False])
