"""Attempts to get a ticket worked or a change merged without a person, by writing the state database itself.

Each attack has the whole database, as an agent might that got out; it has not the user's configuration directory.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nightcrew.approvals import ScryptParameters, create_key, fresh_nonce, sign_decision
from nightcrew.approvals import chain as rules
from nightcrew.approvals.signer import sign_statement
from nightcrew.crew import admission, audit, backlog, inbox, merger, planning, reviewers, setup
from nightcrew.crew.night import run_shift
from nightcrew.crew.project import Project, open_project
from nightcrew.model.canonical import canonical_json
from nightcrew.model.entry import entry_hash
from nightcrew.model.errors import ApprovalError, IntegrityError, NightcrewError
from nightcrew.model.review import Decision, Review
from nightcrew.model.ticket import Event, State, Ticket
from nightcrew.store import ledger, reviews, tickets
from tests.faults import crew_repository as crew

PASSPHRASE = "correct horse battery staple"
FAST = ScryptParameters(n=2**10)
SECRET = "AKIA" + "QJZ5XW7LPK3DVNTE"  # put together here, so that nobody's scanner takes this file for a leak
BOUND = ("state", "severity", "breaks_build", "command", "head", "base")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Night:
    """A repository after its first night, with a person enrolled; the attacker's hand is ``sql``."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.database = project.state_dir / "nightcrew.db"

    def sql(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """What the attacker writes into the database, or reads from it."""
        connection = sqlite3.connect(self.database, isolation_level=None, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def ticket(self, ticket_id: str) -> Ticket:
        with self.project.store.read() as tx:
            return tickets.get(tx, ticket_id)

    def in_review(self, on_approve: Event) -> Review:
        """The first review that waits and whose approval would cause ``on_approve``."""
        return next(review for review in inbox.pending(self.project) if review.on_approve is on_approve)

    def decide(self, review: str, decision: Decision = Decision.APPROVE) -> Review:
        return inbox.decide(
            self.project, review, decision, reviewer=None, comment="seen", passphrase=lambda: PASSPHRASE
        )

    def reason(self, ticket_id: str, agent: str = "build") -> str:
        """Why the planner leaves the ticket out; it must, and must not plan it."""
        manifest = planning.make_plan(self.project, agent).manifest
        assert ticket_id not in [line.ticket for line in manifest.tickets]
        return next(line.reason for line in manifest.left_out if line.ticket == ticket_id)

    def logged(self, action: str, ticket_id: str) -> bool:
        """Whether the ledger says that ``ticket_id`` was refused."""
        with self.project.store.read() as tx:
            return any(entry.action == action for entry in ledger.entries(tx, subject=f"refusal:{ticket_id}"))

    def shift(self, outcome: str = "quiet") -> None:
        assert run_shift(self.project).outcome == outcome

    def audited(self) -> list[str]:
        return [f"{found.where}: {found.problem}" for found in audit.verify(self.project).broken]

    def merged(self) -> str:
        """The commits of the integration branch, newest first."""
        env = crew.environment(self.project.root.parent)
        return crew.git(self.project.root, "log", "--format=%H %s", "nightcrew/integration", "--", env=env)


def _settle_in(home: Path, patch: pytest.MonkeyPatch) -> None:
    for name, value in crew.environment(home).items():
        patch.setenv(name, value)
    patch.setenv("NIGHTCREW_CONFIG_DIR", str(home / "config"))
    patch.setenv("XDG_STATE_HOME", str(home / "state"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after one night: a secret in the inbox, a broken change in the inbox, and one open ticket."""
    home = tmp_path_factory.mktemp("prepared")
    env = crew.environment(home)
    crew.make(home / "repo", env)
    (home / "repo" / "settings.py").write_text(f'AWS_KEY = "{SECRET}"\n')
    crew.git(home / "repo", "add", ".", env=env)
    crew.git(home / "repo", "commit", "-qm", "Settings", env=env)
    with pytest.MonkeyPatch.context() as patch:
        _settle_in(home, patch)
        setup.initialise(home / "repo")
        project = open_project(home / "repo")
        try:
            reviewers.add(project, "ada", passphrase=lambda _: PASSPHRASE)
            backlog.add(project, title="Triple it", branch="broken")
            run_shift(project)
            backlog.add(project, title="Say what it is", command="printf 'A thing.\\n' > ABOUT.md")
            backlog.add(project, title="Think hard")
            backlog.add(project, title="Say it twice", depends=["T-0100"], command="true")
            project.pin_ledger()
        finally:
            project.close()
    return home


@pytest.fixture
def night(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    home = tmp_path / "home"
    shutil.copytree(prepared, home, symlinks=True)
    _settle_in(home, monkeypatch)
    project = open_project(home / "repo")
    yield Night(project)
    project.close()


def test_first(night: Night) -> None:
    for t in backlog.list_tickets(night.project):
        print(t.id, t.title[:60], t.state, t.severity, t.review, t.head)
    for r in inbox.pending(night.project):
        print(r)
    print(night.audited())
    assert 0
