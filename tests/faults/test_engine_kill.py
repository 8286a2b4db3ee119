"""Kill the engine's process at any instant: each transaction is there once, each step at least once."""

import os
import random
import select
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from nightcrew.store.connection import create_database_engine

APP = Path(__file__).with_name("engine_app.py")
STEPS = 60
KILLS = 8
SHARE = STEPS // (KILLS + 2)


def new_database(postgres: Any) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    postgres.psql(f"create database {name};")
    return str(postgres.get_uri(database=name))


class Worker:
    """One process of the app, read line by line with a deadline."""

    def __init__(self, url: str, state: Path, executor_id: str, *options: str) -> None:
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(APP), url, str(state), executor_id, str(STEPS), *options],
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.unread = b""

    def line(self, beginning: str, seconds: float = 30.0) -> str:
        """The next line that begins so; fails when the process ends or the time is up before it."""
        deadline, stream = time.monotonic() + seconds, self.process.stdout
        assert stream is not None
        while time.monotonic() < deadline:
            # Lines are kept here, not in a buffer of Python's, of which select() knows nothing.
            line, end, rest = self.unread.partition(b"\n")
            if end:
                self.unread = rest
                if line.decode().startswith(beginning):
                    return line.decode().strip()
            elif select.select([stream], [], [], 0.1)[0]:
                data = stream.read(1 << 16)
                assert data, f"the worker ended ({self.process.wait()}) before saying {beginning}"
                self.unread += data
        raise AssertionError(f"no line {beginning!r} within {seconds} seconds")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


def prepare(url: str) -> None:
    execute(url, "create table done (number int, pid int)")


def test_transaction_is_exactly_once_and_step_at_least_once_however_often_killed(tmp_path: Path) -> None:
    url, moments = f"sqlite:///{tmp_path}/nightcrew.db", random.Random(20)
    prepare(url)
    for attempt in range(KILLS):
        # However late the kill comes, the worker is still at work: it holds at a step, and each time at a later one.
        hold = f"hold={(attempt + 2) * SHARE}"
        with Worker(url, tmp_path, "-", hold, *(["start"] if attempt == 0 else [])) as worker:
            worker.line(f"at {attempt * SHARE + moments.randrange(SHARE)}")
            pause(moments.uniform(0.0, 0.03))
            assert worker.process.poll() is None, "the worker ended before it was killed"
            worker.kill()
    with Worker(url, tmp_path, "-") as worker:
        assert worker.line("result", 60) == f"result {STEPS}"
    numbers = Counter(row[0] for row in rows(url, "select number from done"))
    effects = Counter(int(line) for line in (tmp_path / "effects").read_text().split())
    assert numbers == Counter(range(STEPS))
    assert set(effects) == set(range(STEPS))
    assert len({row[0] for row in rows(url, "select pid from done")}) > 1, "no kill fell into the work"


def test_work_goes_on_within_seconds_of_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nightcrew.db"
    prepare(url)
    with Worker(url, tmp_path, "-", "start") as worker:
        worker.line("running")
        worker.kill()
    with Worker(url, tmp_path, "-") as worker:
        worker.line("running")
        took = time.monotonic() - worker.begun
    # About 1 s on an idle machine, most of it imports; the target of 2 s is measured by bench/.
    assert took < 6


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nightcrew.db"
    prepare(url)
    with Worker(url, tmp_path, "-", "start") as first:
        first.line("launched")
        with Worker(url, tmp_path, "-") as second:
            assert second.line("error") == "error NC-BUSY"
            assert second.process.wait(10) == 75
        first.kill()
        with Worker(url, tmp_path, "-") as third:
            third.line("launched")


def test_dead_workers_workflow_moves_to_a_live_worker(tmp_path: Path, postgres: Any) -> None:
    url = new_database(postgres)
    prepare(url)
    with Worker(url, tmp_path, "worker-a", "start") as first:
        first.line("running")
        with Worker(url, tmp_path, "worker-b") as second:
            second.line("launched")
            first.kill()
            second.line("running", 30)
            assert second.line("result", 60) == f"result {STEPS}"
    assert Counter(row[0] for row in rows(url, "select number from done")) == Counter(range(STEPS))


def test_stalled_worker_that_lost_its_lease_stops_and_writes_nothing_twice(tmp_path: Path, postgres: Any) -> None:
    url = new_database(postgres)
    prepare(url)
    with Worker(url, tmp_path, "worker-a", "start") as first:
        first.line("running")
        first.process.send_signal(signal.SIGSTOP)
        with Worker(url, tmp_path, "worker-b") as second:
            second.line("running", 30)
            first.process.send_signal(signal.SIGCONT)
            assert first.line("error", 30) == "error NC-LEASE-LOST"
            assert first.process.wait(15) == 75
            assert second.line("result", 60) == f"result {STEPS}"
    assert Counter(row[0] for row in rows(url, "select number from done")) == Counter(range(STEPS))
    states = dict(rows(url, "select executor_id, state from workers"))
    assert states["worker-a"] == "lost"


def test_sigterm_default_leaves_work_to_the_next_launch(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nightcrew.db"
    prepare(url)
    with Worker(url, tmp_path, "-", "start") as worker:
        worker.line("running")
        os.kill(worker.process.pid, signal.SIGTERM)
        assert worker.process.wait(10) != 0
    with Worker(url, tmp_path, "-") as worker:
        assert worker.line("result", 60) == f"result {STEPS}"
    assert Counter(row[0] for row in rows(url, "select number from done")) == Counter(range(STEPS))


def execute(url: str, statement: str) -> None:
    database = create_database_engine(url)
    with database.begin() as connection:
        connection.exec_driver_sql(statement)
    database.dispose()


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    database = create_database_engine(url)
    with database.begin() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(statement)]
    database.dispose()
    return found


def pause(seconds: float) -> None:
    """The moment of a kill is random; it is not waited for anything."""
    select.select([], [], [], seconds)
