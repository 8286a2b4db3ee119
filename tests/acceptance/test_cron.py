"""The real cron daemon runs a scheduled shift on a real repository, at the minute that was asked for."""

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import schedulers
from tests.acceptance.conftest import NIGHTCREW, Cli

OTHERS = b'# mine\nMAILTO=""\n5 5 29 2 * echo 100\\%\n# \xff\xfe\n'
PATIENCE = 60


def told(log: Path) -> str:
    """What the call wrote, if there was one."""
    return log.read_text() if log.exists() else "cron has not called it"


@pytest.mark.slow
def test_cron_runs_the_shift_at_its_minute_and_the_history_says_so(project: Cli) -> None:
    assert project("ticket", "add", "Note it", "--kind", "chore", "--command", "touch noted").status == 0
    with schedulers.cron() as inside:

        def crontab(*arguments: str) -> bytes:
            return subprocess.run([*inside, "crontab", *arguments], check=True, capture_output=True).stdout

        def nightcrew(*arguments: str) -> Any:
            argv = [*inside[:-2], f"--wd={project.folder}", "--", NIGHTCREW, "schedule", *arguments, "--json"]
            done = subprocess.run(argv, env=project.environment, capture_output=True, timeout=120)
            assert done.returncode in (0, 1), done.stderr.decode()
            return json.loads(done.stdout)

        others = project.home / "others"
        others.write_bytes(OTHERS)
        crontab(str(others))
        due = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)

        installed = nightcrew("install", "--at", f"{due:%H:%M}", "--zone", "UTC")
        assert datetime.now(UTC) < due - timedelta(seconds=2), "the machine was too slow to install in time"

        assert (installed["backend"], installed["status"]["enabled"], installed["status"]["warnings"]) == (
            "cron",
            True,
            [],
        )
        assert installed["next"][0]["due"] == f"{due:%Y-%m-%dT%H:%M:%SZ}"
        assert crontab("-l").startswith(OTHERS)
        time.sleep((due - datetime.now(UTC)).total_seconds())
        until = time.monotonic() + PATIENCE
        while not (history := [one for one in nightcrew("history") if one["state"] != "running"]):
            assert time.monotonic() < until, told(Path(installed["log"]))
            time.sleep(3)

        (firing,) = history
        assert firing["cause"] == "time"
        assert datetime.fromisoformat(firing["due"]) == due
        assert due <= datetime.fromisoformat(firing["started"]) < due + timedelta(minutes=1)
        assert (firing["state"], firing["outcome"], firing["shift"]) == ("done", "quiet", "N-0001")
        nightcrew("remove")
        assert crontab("-l") == OTHERS

    # What it ran is a night like any other.
    (ticket,) = project("ticket", "list", "--json").json()
    assert ticket["state"] == "done"
    assert not list(project.home.rglob("*.sh"))
