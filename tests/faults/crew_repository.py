"""A small real repository with a backlog that exercises every desk, for tests that run whole shifts."""

import os
import subprocess
import sys
from pathlib import Path

NIGHTCREW = [sys.executable, "-m", "nightcrew"]
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.invalid",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}
SOURCE = "import os\n\n\ndef double(number):\n    return 2 * number\n"
TESTS = "from thing import double\n\n\ndef test_double():\n    assert double(2) == 4\n"


def environment(home: Path) -> dict[str, str]:
    """An environment with a home of its own, so that trust anchor and workspaces are the test's."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**keep, **IDENTITY, "HOME": str(home), "TMPDIR": str(home)}


def git(repo: Path, *arguments: str, env: dict[str, str]) -> str:
    done = subprocess.run(["git", *arguments], cwd=repo, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def nightcrew(
    repo: Path, *arguments: str, env: dict[str, str], check: bool = False
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([*NIGHTCREW, *arguments], cwd=repo, env=env, capture_output=True, text=True, check=False)
    if check and done.returncode not in (0, 1):
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def make(repo: Path, env: dict[str, str]) -> None:
    """Commit the code, and on a branch a change that breaks its test."""
    repo.mkdir(parents=True)
    (repo / "thing.py").write_text(SOURCE)
    (repo / "test_thing.py").write_text(TESTS)
    # What is installed for nightcrew's own tests would be imported in each of the many runs of these.
    (repo / "pytest.ini").write_text("[pytest]\naddopts = --disable-plugin-autoload\n")
    git(repo, "init", "-q", "-b", "main", env=env)
    git(repo, "add", ".", env=env)
    git(repo, "commit", "-qm", "Begin", env=env)
    git(repo, "switch", "-qc", "broken", env=env)
    (repo / "thing.py").write_text(SOURCE.replace("2 * number", "3 * number"))
    git(repo, "commit", "-qam", "Triple", env=env)
    git(repo, "switch", "-q", "main", env=env)


def fill(repo: Path, env: dict[str, str]) -> None:
    """Prepare the crew and file the backlog."""

    def run(*arguments: str) -> None:
        nightcrew(repo, *arguments, env=env, check=True)

    run("init", "--yes")
    run("ticket", "add", "Say what it is", "--command", "printf 'A thing.\\n' > ABOUT.md")
    run("ticket", "add", "Say it twice", "--depends", "T-0001", "--command", "printf 'A thing.\\n' >> ABOUT.md")
    run("ticket", "add", "Think hard")
    run("ticket", "add", "Triple it", "--branch", "broken")
