"""Drills of a prepared repository, unattended, one after the other: all pass, and what is live is as it was.

A few run always on a small project; with ``NIGHTCREW_ALL_PROJECTS=1``, as in ``make storms``, all of them run on
itsdangerous, which has ten minutes for it (the time limit of the test).
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.test_real_projects import Night, Real

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.listening import Listener

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

pytestmark = pytest.mark.slow

_SOME = ("expired-review", "gate-bypass", "missed-schedule", "restore-from-backup")
_KEPT = ("nightcrew.db", "nightcrew.db-wal", "nightcrew.db-shm", "genesis.json")
"""Where results are kept: rows of the state, looked at one by one, and the head of the ledger that was last seen."""
_NEW = {"drill_runs", "ledger drill.run"}


def _files(*folders: Path) -> dict[str, tuple[int, str]]:
    """Each file and link with its mode and its content, each folder with its mode."""
    found = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_dir() or path.name in _KEPT:
            content = ""
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        if not path.name.startswith("nightcrew.db-"):  # There while the database is open.
            found[str(path)] = (path.lstat().st_mode, content)
    return found


def _rows(repository: Path) -> Counter[tuple[str, str]]:
    """Every row of the state, with its table; of the ledger with the entry's action too."""
    found: Counter[tuple[str, str]] = Counter()
    with closing(sqlite3.connect(repository / ".nightcrew" / "nightcrew.db")) as database:
        database.row_factory = sqlite3.Row
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                found[f"{table} {row['action']}" if table == "ledger" else table, repr(tuple(row))] += 1
    return found


def _crontab(environment: dict[str, str]) -> str:
    if shutil.which("crontab") is None:
        return ""
    return subprocess.run(["crontab", "-l"], env=environment, capture_output=True, text=True).stdout


class Live:
    """What is live, as it is now: the repository with its state, the home with its configuration, the crontab."""

    def __init__(self, repository: Path, home: Path, temporary: Path, environment: dict[str, str]) -> None:
        self._of = (repository, home, temporary, environment)
        self.files, self.rows, self.crontab = _files(repository, home), _rows(repository), _crontab(environment)

    def is_as_it_was(self, results: list[dict[str, Any]]) -> None:
        """Nothing changed but what came of the drills; no copy is left behind, and none of their processes."""
        temporary = self._of[2]
        now = Live(*self._of)
        assert now.files == self.files
        assert now.crontab == self.crontab
        assert self.rows - now.rows == Counter(), "rows were changed or are gone"
        new = Counter(table for table, _ in (now.rows - self.rows).elements())
        kept = sum(one["outcome"] != "not_applicable" for one in results)
        assert new == dict.fromkeys(_NEW, kept)
        assert list(temporary.iterdir()) == []
        assert str(temporary) not in _command_lines()


def _command_lines() -> str:
    found = subprocess.run(["ps", "-e", "-ww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in found.splitlines() if "pytest" not in line)


def _passphrase(home: Path) -> str:
    path = home / "passphrase"
    path.write_text("a passphrase of this test\n")
    path.chmod(0o600)
    return str(path)


def _went(results: list[dict[str, Any]]) -> dict[str, str]:
    return {one["drill"]: f"{one['outcome']}: {one['happened']}" for one in results if one["outcome"] != "passed"}


@pytest.mark.timeout(300)
def test_drills_of_a_prepared_repository_touch_nothing_that_is_live(project: "Cli", tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    project.more |= {"NIGHTCREW_PASSPHRASE_FILE": _passphrase(project.home), "TMPDIR": str(temporary)}
    assert project("reviewer", "add", "Ada", "--passphrase").status == 0
    assert project("ticket", "add", "Say hello", "--command", "printf hi > HELLO.md").status == 0
    assert project("shift", "--agent", "build").status in (0, 1)
    project("ready")
    live = Live(project.folder, project.home, temporary, project.environment)

    done = project("drill", *_SOME, "--json")
    results = done.json()
    assert _went(results) == {}
    assert (done.status, [one["drill"] for one in results]) == (0, [*_SOME])
    live.is_as_it_was(results)

    boxes = {one["box"]: one for one in project("ready", "--json").json()["boxes"]}
    assert (boxes["reviews"]["status"], boxes["state"]["status"]) == ("proven", "proven")
    assert not any("no tests were found" in gap["what"] for gap in boxes["tests"]["gaps"])
    assert project("audit", "verify").status == 0


@pytest.mark.network
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.environ.get("NIGHTCREW_ALL_PROJECTS") != "1", reason="the storms run it: every drill of a crew")
def test_every_drill_of_a_real_project_passes_and_touches_nothing_that_is_live(tmp_path: Path) -> None:
    night = Night(Real("itsdangerous", "2.2.0", ()), tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with Listener() as channel:
        night.env |= {
            "NIGHTCREW_PASSPHRASE_FILE": _passphrase(night.home), "TMPDIR": str(temporary),
            "NIGHTCREW_NOTIFY": f"json://127.0.0.1:{channel.port}/",
        }  # fmt: skip
        night.crew("init", "--yes", "--ci", "github")
        night.crew("reviewer", "add", "Ada", "--passphrase")
        night.crew("ticket", "add", "Say hello", "--command", "printf hi > HELLO.md")
        night.shift()
        live, told = Live(night.repo, night.home, temporary, night.env), len(channel.received)

        night.crew("ready")
        results = json.loads(night.crew("drill", "--all", "--json"))
        assert _went(results) == {}
        night.crew("ready")
        live.is_as_it_was(results)
        assert len(channel.received) == told
        boxes = json.loads(night.crew("ready", "--json", codes=(0,)))["boxes"]
    assert {one["box"]: one["status"] for one in boxes} == dict.fromkeys(map(str, Box), "proven")
