"""The installed command line as a user runs it: a process of its own, with its own home."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NIGHTCREW = str(Path(sys.executable).with_name("nightcrew"))
PERSON = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.invalid"), ("DATE", "2026-01-05T09:00:00Z"))
}


@dataclass
class Done:
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    def error(self) -> dict[str, str]:
        """The error that was told as JSON."""
        return dict(json.loads(self.err)["error"])


@dataclass
class Cli:
    """A machine for one test: a home, and a folder that commands run in."""

    home: Path
    folder: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """A user's environment, without what this test run has in its own."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "200", **PERSON, **self.more}

    def __call__(self, *arguments: str, stdin: bytes = b"", timeout: float = 240) -> Done:
        """Run ``nightcrew`` with ``arguments``."""
        done = subprocess.run(
            [NIGHTCREW, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            timeout=timeout,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command that is dealt with while it runs."""
        return subprocess.Popen(
            [NIGHTCREW, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # pytest-xdist and make may have let their children ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def git(self, *arguments: str) -> str:
        """Run git in the folder."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes], subject: str = "Change") -> str:
        """Write files and commit them; gives the commit."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--", *files)
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def copied(self, place: Path) -> "Cli":
        """The same machine in ``place``, for a test that changes it: what took seconds to make is made once."""
        made = Cli(place / "home", place / "repo", dict(self.more))
        shutil.copytree(self.home, made.home, symlinks=True)
        shutil.copytree(self.folder, made.folder, symlinks=True)
        # The one file that says where the repository is: which ledger belongs to it.
        roots = made.home / ".config" / "nightcrew" / "trust" / "roots.json"
        roots.write_text(roots.read_text().replace(str(self.folder), str(made.folder)))
        return made


# A night runs pytest many times, and what is installed for nightcrew's own tests takes a second to import each time.
NO_PLUGINS = 'addopts = "--disable-plugin-autoload"\n'
PROJECT: dict[str, str | bytes] = {
    "pyproject.toml": f'[project]\nname = "sums"\nversion = "1"\n[tool.pytest.ini_options]\n{NO_PLUGINS}',
    "src/sums/__init__.py": '"""Sums."""\n\n\ndef add(a, b):\n    """The sum."""\n    return a + b\n',
    "tests/test_sums.py": "from sums import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A machine with an empty folder that is no repository."""
    (tmp_path / "home").mkdir()
    (tmp_path / "repo").mkdir()
    return Cli(tmp_path / "home", tmp_path / "repo")


def begin(cli: Cli) -> Cli:
    """The small Python project in git, not yet prepared for the crew."""
    cli.git("init", "--quiet", "--initial-branch=main")
    cli.commit(PROJECT, "Begin")
    return cli


@pytest.fixture
def bare_project(cli: Cli) -> Cli:
    """A small Python project in git, not yet prepared for the crew."""
    return begin(cli)


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    place = tmp_path_factory.mktemp("project")
    for name in ("home", "repo"):
        (place / name).mkdir()
    cli = begin(Cli(place / "home", place / "repo"))
    done = cli("init", "--yes")
    assert done.status == 0, done.err
    return cli


@pytest.fixture
def project(_prepared: Cli, tmp_path: Path) -> Cli:
    """A small Python project, prepared."""
    return _prepared.copied(tmp_path)


@pytest.fixture(scope="session")
def cli_type() -> type[Cli]:
    """The class, for fixtures that last longer than one test."""
    return Cli
