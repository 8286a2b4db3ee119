"""kill -9 of a shift at many moments: the same command again always ends where an undisturbed run ends."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults import crew_repository as crew

ROUNDS = int(os.environ.get("NIGHTCREW_STORM_ROUNDS", "2"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a repository and its backlog, before the first shift."""
    home = tmp_path_factory.mktemp("prepared")
    env = crew.environment(home)
    crew.make(home / "repo", env)
    crew.fill(home / "repo", env)
    return home


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    home = _copy(prepared, tmp_path_factory.mktemp("undisturbed"))
    began = time.monotonic()
    assert _shift(home).wait(timeout=120) in (0, 1)
    return _state(home), time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_killed_shift_ends_like_an_undisturbed_one(
    round_: int, prepared: Path, undisturbed: tuple[dict[str, Any], float], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    home = _copy(prepared, tmp_path)
    # The moments are spread over the whole run; each round also kills the resumed run once, a little later.
    for moment in (seconds * (round_ + 0.5) / ROUNDS, seconds * (round_ + 1) / (2 * ROUNDS)):
        running = _shift(home)
        try:
            running.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        if _ended(home):
            break
    if not _ended(home):
        again = _shift(home)
        _, errors = again.communicate(timeout=180)
        assert again.returncode in (0, 1), errors.decode()
    assert _state(home) == expected


def _ended(home: Path) -> bool:
    with sqlite3.connect(f"file:{home}/repo/.nightcrew/nightcrew.db?mode=ro", uri=True) as database:
        return bool(database.execute("SELECT count(*) FROM shifts WHERE state = 'ended'").fetchone() == (1,))


def _copy(prepared: Path, target: Path) -> Path:
    """The same home at another place; the database and the anchor do not name paths."""
    home = target / "home"
    shutil.copytree(prepared, home, symlinks=True)
    return home


def _shift(home: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*crew.NIGHTCREW, "shift"],
        cwd=home / "repo",
        env=crew.environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _state(home: Path) -> dict[str, Any]:
    repo, env = home / "repo", crew.environment(home)
    audit = json.loads(crew.nightcrew(repo, "audit", "verify", "--json", env=env).stdout)
    assert audit["ok"], audit["broken"]
    tickets = json.loads(crew.nightcrew(repo, "ticket", "list", "--json", env=env).stdout)
    with sqlite3.connect(f"file:{repo}/.nightcrew/nightcrew.db?mode=ro", uri=True) as database:
        query = database.execute
        return {
            "tickets": [(t["id"], t["title"], t["state"], t["severity"], t["origin"]) for t in tickets],
            "handoffs": query("SELECT id, sender, desk, ticket, kind, verdict FROM handoffs ORDER BY id").fetchall(),
            "files": sorted(path.name for path in (repo / ".nightcrew" / "handoffs").iterdir()),
            "turns": query("SELECT session, number, key, ticket FROM turns ORDER BY session, number").fetchall(),
            "reviews": query("SELECT id, ticket, state, severity, reason FROM reviews ORDER BY id").fetchall(),
            "records": query("SELECT count(*) FROM records").fetchone(),
            "integration": crew.git(repo, "log", "--format=%s", "nightcrew/integration", env=env),
            "tree": crew.git(repo, "rev-parse", "nightcrew/integration^{tree}", env=env),
            "main": crew.git(repo, "status", "--porcelain", "--branch", env=env),
        }
