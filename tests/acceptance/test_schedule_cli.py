"""nightcrew schedule as a user runs it, and as a machine's scheduler does: with next to no environment."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from tests.acceptance.conftest import Cli

from nightcrew.schedule.captured import clean_path

pytestmark = pytest.mark.timeout(200)
BARE = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "nobody", "LANG": "C", "VIRTUAL_ENV": "/not/by/hand"}
"""What cron gives, and what a service manager may."""

WRITE = (
    'env | grep -E "^(PATH|LANG|VIRTUAL_ENV|USER|LOGNAME|SHELL|TZ)=" | sort > it.txt && locale -k LC_CTYPE >> it.txt'
)


def called(project: Cli, *arguments: str) -> "subprocess.Popen[str]":
    """Begin a command as a scheduler does: by its interpreter, in an environment of its own, in another folder."""
    argv = [sys.executable, "-P", "-m", "nightcrew", *arguments, "--repo", str(project.folder)]
    environment = {**BARE, "HOME": str(project.home)}
    return subprocess.Popen(
        argv, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def until(seen: Callable[[], bool], child: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 60
    while not seen():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def has_begun(project: Cli, shift: str) -> bool:
    with closing(sqlite3.connect(project.folder / ".nightcrew" / "nightcrew.db")) as database:
        return database.execute("SELECT 1 FROM shifts WHERE id = ?", (shift,)).fetchone() is not None


def newest(project: Cli) -> dict[str, object]:
    found = project("schedule", "history", "--json").json()
    return dict(found[0]) if found else {}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, cli_type: type[Cli]) -> Cli:
    """A prepared repository for tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("shared")
    made = cli_type(folder / "home", folder / "repo")
    made.home.mkdir()
    made.folder.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit({"a.py": "A = 1\n"})
    assert made("init", "--yes").status == 0
    return made


def test_a_run_at_night_sees_what_one_by_hand_does_and_goes_on_after_a_kill(project: Cli) -> None:
    project.more |= {"USER": "ada", "TZ": "Asia/Kathmandu", "PATH": clean_path(os.environ["PATH"])[0]}
    installed = project("schedule", "install", "--at", "02:00", "--agent", "build", "--backend", "in-process")
    assert installed.status == 1, "nothing calls it yet"
    project("ticket", "add", "By hand", "--command", WRITE)
    assert project("shift", "--agent", "build").status == 0
    project("ticket", "add", "At night", "--command", WRITE)
    killed = called(project, "schedule", "run-now")
    until(lambda: has_begun(project, "N-0002"), killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert newest(project)["state"] == "running"

    serving = called(project, "schedule", "serve")
    until(lambda: newest(project)["state"] != "running", serving)
    serving.send_signal(signal.SIGTERM)
    serving.communicate(timeout=60)
    assert serving.returncode == 0
    log = project.folder / ".nightcrew" / "logs" / "schedule-nightly.log"
    assert "# Shift N-0002: quiet" in log.read_text()
    done = newest(project)
    assert (done["state"], done["shift"], done["cause"], done["exit_status"]) == ("done", "N-0002", "hand", 0)
    assert called(project, "schedule", "fire").communicate(timeout=60) == ("", "")

    shown = [project.git("show", f"nightcrew/{ticket}:it.txt") for ticket in ("T-0001", "T-0002")]
    assert shown[0] == shown[1]
    assert "/not/by/hand" not in shown[1]
    assert f"PATH={project.more['PATH']}" in shown[1]
    assert project("audit", "verify").status == 0


def test_a_schedule_is_shown_with_what_comes_next_and_removed_without_a_trace(shared: Cli) -> None:
    before = shared.git("status", "--porcelain")
    arguments = ("--at", "02:00,14:30", "--days", "mon-fri", "--zone", "Europe/Berlin", "--until", "06:00")
    done = shared("schedule", "install", *arguments, "--agent", "build", "--backend", "in-process", "--json")
    assert done.status == 1, "nothing calls it yet"
    [shown] = shared("schedule", "show", "--json").json()
    assert {**shown, "written": [], "left_out": []} == done.json()
    assert shown["at"] == ["02:00", "14:30"]
    assert shown["status"]["enabled"] is False
    assert len(shown["next"]) == 3
    assert shown["next"][0].keys() == {"due", "local", "note"}
    assert shown["log"] == str(shared.folder / ".nightcrew" / "logs" / "schedule-nightly.log")
    text = shared("schedule", "show").out
    assert "mon,tue,wed,thu,fri at 02:00, 14:30 (Europe/Berlin)" in text
    assert "only build, until 06:00" in text
    assert f"PATH={shown['environment']['PATH']}" in text
    assert "WARNING" in text
    assert shared("schedule", "history").out == "No schedule has run yet.\n"
    assert shared("schedule", "remove").out == "Schedule nightly is removed.\n"
    assert shared("schedule", "show").out.startswith("No schedule.")
    assert shared.git("status", "--porcelain") == before


def test_a_dry_run_shows_the_files_and_changes_nothing(shared: Cli) -> None:
    done = shared("schedule", "install", "--at", "02:00", "--backend", "systemd", "--dry-run")
    assert done.status == 0, done.err
    assert "OnCalendar=" in done.out
    assert shared("schedule", "show", "--json").json() == []
    assert not (shared.home / ".config" / "systemd").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("install", "--at", "25:00"), "'25:00' is not a time"),
        (("install", "--at", "02:00", "--agent", "nobody"), "no agent nobody"),
        (("fire",), "no schedule nightly"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(shared: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = shared("schedule", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_the_scheduler_in_a_process_is_seen_and_ends_when_it_is_told(shared: Cli) -> None:
    shared("schedule", "install", "--at", "02:00", "--backend", "in-process")
    serving = shared.start("schedule", "serve")
    assert serving.stdout is not None
    assert serving.stdout.readline().startswith("Calling the schedules of ")
    until(lambda: shared("schedule", "show").status == 0, serving)
    again = shared("schedule", "serve")
    assert (again.status, "holds scheduler" in again.err) == (75, True)
    serving.send_signal(signal.SIGTERM)
    _, err = serving.communicate(timeout=30)
    assert (serving.returncode, err) == (0, "")
    assert shared("schedule", "show").status == 1
    shared("schedule", "remove")
