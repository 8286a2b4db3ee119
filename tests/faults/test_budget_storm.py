"""A budget holds whatever happens: models that loop for ever, faults, retries, and kill -9 at any moment.

What was sent is counted by the server, what was charged by the store; a session never sends more than its hard cap.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.coding_agents import program
from tests.faults.crew_repository import environment, git, nightcrew
from tests.model_server import BROKEN, OVERLOADED, Asked, Call, Reply, model_server, rate_limited, say

SESSIONS = int(os.environ.get("NIGHTCREW_STORM_SESSIONS", "8"))
SOFT, HARD = 3, 5


class Looper:
    """A model that never ends its work, behind a service with one fault in four; and kill -9 around some requests."""

    def __init__(self, rng: random.Random, *, kills: float) -> None:
        self._rng = rng
        self._kills = kills
        self.running: subprocess.Popen[bytes] | None = None
        self.killed = 0

    def __call__(self, asked: Asked) -> Reply:
        if self._rng.random() < self._kills:
            threading.Timer(self._rng.choice([0.0, 0.0, self._rng.uniform(0, 1.0)]), self.kill).start()
        if self._rng.random() < 0.25:
            cut = Reply(fault="cut", blocks=say("half an answer").blocks)
            return self._rng.choice([OVERLOADED, BROKEN, rate_limited(0.05), cut])
        return again(asked)

    def kill(self) -> None:
        if self.running is not None and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.killed += 1


def again(asked: Asked) -> Reply:
    if "Bash" in asked.tools:
        return say(Call("Bash", {"command": "echo again >> log", "description": "again"}))
    return say(Call("run", {"command": "echo again >> log"}), Call("read", {"path": "log"}))


def prepare(folder: Path, url: str, brain: str, count: int) -> dict[str, str]:
    home = folder / "home"
    home.mkdir()
    env = {**environment(home), "ANTHROPIC_API_KEY": "sk-test"}
    repo = folder / "repo"
    repo.mkdir()
    (repo / "a.txt").write_text("a\n")
    git(repo, "init", "-q", "-b", "main", env=env)
    git(repo, "add", ".", env=env)
    git(repo, "commit", "-qm", "Begin", env=env)
    nightcrew(repo, "init", "--yes", env=env, check=True)
    (repo / "nightcrew.toml").write_text(
        f"[budget]\nsoft = {SOFT}\nhard = {HARD}\n[limits]\nmax_tickets = 1\n[checks]\nlint = false\nscanners = []\n"
        f'[agents.build]\nbrains = ["it"]\n[brains.it]\n{brain}\nbase_url = "{url}"\ntimeout_seconds = 5\n'
    )
    for number in range(count):
        nightcrew(repo, "ticket", "add", f"Loop {number}", env=env, check=True)
    return env


def storm(repo: Path, env: dict[str, str], started: Callable[["subprocess.Popen[bytes]"], None]) -> None:
    """Run the shift to its end, however often it is killed."""
    while True:
        running = subprocess.Popen(
            [sys.executable, "-m", "nightcrew", "shift", "--agent", "build"],
            cwd=repo,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started(running)
        _, errors = running.communicate(timeout=1800)
        if running.returncode != -signal.SIGKILL:
            assert running.returncode in (0, 1), errors.decode()
            return


def check(repo: Path, asked: list[Asked], sessions: int) -> None:
    sent = Counter(one.session for one in asked)
    with sqlite3.connect(repo / ".nightcrew" / "nightcrew.db") as database:
        charged = dict(database.execute("SELECT session, count(*) FROM turns GROUP BY session"))
        ended = database.execute("SELECT count(*) FROM sessions WHERE state = 'ended'").fetchone()[0]
        states = dict(database.execute("SELECT state, count(*) FROM tickets GROUP BY state"))
    assert ended >= sessions
    for session, count in sent.items():
        assert session is not None
        assert count <= HARD, f"{session} sent {count} requests"
        assert count <= charged[session], f"{session} sent {count} requests, and {charged[session]} were charged"
    assert max(charged.values()) <= HARD
    assert sum(sent.values()) > sessions, "the storm was a storm"
    # Nothing is lost by it: each ticket is open still, or was set aside as one that kills its process.
    assert set(states) <= {"open", "quarantined"}
    assert sum(states.values()) == sessions


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_session_sends_more_than_its_cap_and_all_is_charged(tmp_path: Path) -> None:
    looper = Looper(random.Random(4), kills=0.06)
    with model_server(script=looper) as server:
        env = prepare(tmp_path, server.url, 'kind = "model"\nmodel = "anthropic:claude-sonnet-5-5"', SESSIONS)
        storm(tmp_path / "repo", env, lambda running: setattr(looper, "running", running))
        check(tmp_path / "repo", server.asked, SESSIONS)
        print(f"\n{SESSIONS} sessions, {len(server.asked)} requests, killed {looper.killed} times")
    assert looper.killed >= 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_coding_agent_cannot_pass_the_cap_either(tmp_path: Path) -> None:
    """Its own retries included: they come by the meter."""
    claude, looper = program("claude"), Looper(random.Random(5), kills=0.06)
    count = max(2, SESSIONS // 8)
    with model_server(script=looper) as server:
        env = prepare(tmp_path, server.url, f'kind = "claude-code"\ncommand = ["{claude}"]', count)
        storm(tmp_path / "repo", env, lambda running: setattr(looper, "running", running))
        check(tmp_path / "repo", server.asked, count)
        print(f"\n{count} sessions, {len(server.asked)} requests, killed {looper.killed} times")


def wait_for_conversation(folder: Path, *, answers: int) -> None:
    """Until Claude Code has written its conversation down, which it does when it finds the time: what a kill takes."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = [path.read_text(errors="replace") for path in folder.rglob("projects/*/*.jsonl")]
        if any(text.count('"assistant"') >= answers for text in found):
            return
        time.sleep(0.05)
    raise AssertionError("Claude Code wrote no conversation down")


@pytest.mark.parametrize("kind", ["model", "claude-code"])
def test_answer_that_was_paid_for_is_not_asked_for_again(kind: str, tmp_path: Path) -> None:
    """Killed in one session while a request is in flight, twice: only that one is sent again."""
    looper = Looper(random.Random(6), kills=0)
    to_kill = {1, 3}

    def script(asked: Asked) -> Reply:
        if asked.turn in to_kill:
            to_kill.remove(asked.turn)
            if kind != "model":
                wait_for_conversation(tmp_path, answers=1)
            looper.kill()
        return again(asked)

    tables = {"model": 'kind = "model"\nmodel = "anthropic:claude-sonnet-5-5"'}
    table = tables.get(kind) or f'kind = "claude-code"\ncommand = ["{program("claude")}"]'
    with model_server(script=script) as server:
        env = prepare(tmp_path, server.url, table, 1)
        (tmp_path / "repo" / "nightcrew.toml").write_text(
            (tmp_path / "repo" / "nightcrew.toml").read_text().replace(f"hard = {HARD}", "hard = 8")
        )
        storm(tmp_path / "repo", env, lambda running: setattr(looper, "running", running))
        turns = [one.turn for one in server.asked]
    assert looper.killed == 2
    assert len(turns) == 8
    # Claude Code writes its conversation down itself: what it had not yet written at a kill, the last answer, is lost.
    assert 0 not in turns[1:], "the conversation goes on, it is not begun anew"
    assert all(later >= before - 1 for before, later in pairwise(turns))
    if kind == "model":
        assert turns == [0, 1, 1, 2, 3, 3, 4, 5]
