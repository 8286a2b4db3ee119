"""GitHub on loopback and a repository after a night: for tests of what is brought from one to the other.

PYTEST_DONT_REWRITE: nothing is asserted here.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightcrew.crew.forge import sync as syncing
from nightcrew.crew.forge.sync import Synced
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import Check
from nightcrew.model.severity import Severity
from nightcrew.reliability import no_waits
from nightcrew.store import links, tickets
from tests.faults import crew_repository as crew
from tests.forge_server import Forge, ForgePull, Issue, forge_server
from tests.gate import Gate, prepare
from tests.night import Night

DONE, GATED = "T-0001", "T-0002"
BROKEN = Finding(
    fingerprint="b" * 32,
    tool="pytest",
    rule="regression",
    category=Category.REGRESSION,
    severity=Severity.HIGH,
    message="test_double fails; closes #1 @octocat",
    path="thing.py",
    line=5,
    evidence="assert 6 == 4",
)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """What one night left: a change that is done, and one that breaks a test and waits for a person."""
    with pytest.MonkeyPatch.context() as patch:
        gate = prepare(tmp_path_factory.mktemp("night") / "home", patch)
        made = Night(gate)
        made.begin()
        made.ticket("Say @what it is", {"ABOUT.md": "A thing.\n"})
        made.passed(DONE, "qa", Check(name="tests", status="passed", detail="head: 1 passed | base: 1 passed"))
        made.passed(DONE, "security", Check(name="bandit", status="passed"))
        made.merged(DONE)
        made.ticket("Triple it", {"thing.py": crew.SOURCE.replace("2 * number", "3 * number")})
        made.failed(GATED, BROKEN)
        made.end()
        gate.reopen()
    return made


@pytest.fixture
def gate(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A copy of it, for one test."""
    shutil.copytree(night.gate.home, tmp_path / "home", symlinks=True)
    made = Gate(tmp_path / "home", night.gate.now, dict(night.gate.signers))
    for name, value in crew.environment(made.home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(made.home / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(made.home / "state"))
    yield made
    made.reopen()


@pytest.fixture
def forge(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    """GitHub with the repository as it was before the night."""
    with forge_server(tmp_path / "github") as running, no_waits():
        monkeypatch.setenv("GITHUB_TOKEN", running.token)
        crew.git(gate.home / "repo", "push", "-q", str(running.git_dir), "main", env=crew.environment(gate.home))
        crew.git(gate.home / "repo", "remote", "add", "origin", running.remote, env=crew.environment(gate.home))
        settings(gate, running)
        yield running


def settings(gate: Gate, forge: Forge, more: str = "") -> None:
    text = f'[github]\nrepository = "{forge.repository}"\napi = "{forge.url}"\n{more}'
    (gate.home / "repo" / "nightcrew.toml").write_text(text)
    gate.reopen()


def bring(gate: Gate, minutes: float = 0) -> Synced:
    gate.later(minutes=minutes)
    return syncing.sync(gate.project)


def head_of(gate: Gate, ticket: str) -> str:
    with gate.project.store.read() as tx:
        return str(tickets.get(tx, ticket).head)


def pull_of(forge: Forge, ticket: str) -> ForgePull:
    [found] = [one for one in forge.pulls if isinstance(one, ForgePull) and one.branch == f"nightcrew/{ticket}"]
    return found


def imported(gate: Gate, forge: Forge) -> Issue:
    """An issue that was imported as the ticket that is done now."""
    issue = forge.issue("Say what it is", "nightcrew", number=17)
    with gate.project.store.begin() as tx:
        links.put(tx, source=f"github:{forge.repository}", ref="17", ticket=DONE, url="", doc={})
    return issue
