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
CHANGE, LEAK, OPEN, NEEDED, DEPENDS = "T-0001", "T-0002", "T-0004", "T-0005", "T-0006"
"""A change that breaks a test and a leaked key, both in the inbox; work that needs nobody; one that needs another."""

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

    def not_merged(self, ticket_id: str) -> str:
        """Why the merger refuses the ticket; it must, and the ledger must say so."""
        (shift,) = self.sql("SELECT id FROM shifts ORDER BY id DESC LIMIT 1")[0]
        before = self.integration()
        result = merger.try_merge(self.project, ticket_id, shift)
        assert result["status"] == "not_admitted"
        with self.project.store.begin() as tx:
            merger.record_merge(tx, ticket_id, result)
        assert self.integration() == before
        assert self.ticket(ticket_id).state is not State.DONE
        assert self.logged("merge.refuse", ticket_id)
        return str(result["reason"])

    def integration(self) -> str:
        """The head of the branch that is merged into."""
        return crew.git(
            self.project.root, "rev-parse", "nightcrew/integration", env=crew.environment(self.project.root.parent)
        )

    def forge_entry(self, action: str, subject: str, data: dict[str, Any], *, seal: str = "0" * 64) -> int:
        """Append a ledger entry with a right hash and chain; the attacker has no key for its seal."""
        last = self.sql("SELECT seq, at, hash FROM ledger ORDER BY seq DESC LIMIT 1")[0]
        seq, text = last["seq"] + 1, canonical_json(data).decode()
        fields = (seq, last["at"], "crew", action, subject, text, last["hash"])
        self.sql("INSERT INTO ledger VALUES (?,?,?,?,?,?,?,?,?)", *fields, entry_hash(*fields), seal)
        return int(seq)


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
            think = backlog.add(project, title="Think hard")
            backlog.add(project, title="Say it twice", depends=[think.id], command="true")
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


def test_proper_approval_admits_and_the_ticket_is_worked(night: Night) -> None:
    assert night.decide(night.in_review(Event.APPROVE_WORK).id).state == "approved"
    (line,) = [line for line in planning.make_plan(night.project, "build").manifest.tickets if line.ticket == LEAK]
    assert line.approval == "R-0001"
    night.shift()
    with night.project.store.read() as tx:
        actions = [entry.action for entry in ledger.entries(tx, subject=f"ticket:{LEAK}")]
    assert "ticket.start" in actions
    assert night.ticket(OPEN).state is State.DONE
    assert night.audited() == []


# --- Rows of tickets


@pytest.mark.parametrize(
    "change",
    [
        "state='open'",
        "state='open', severity=NULL",
        "state='open', severity='low', breaks_build=0",
        "state='open', severity=NULL, findings='[]', kind='chore', origin='human', review=NULL",
    ],
)
def test_gated_row_made_to_look_open(night: Night, change: str) -> None:
    night.sql(f"UPDATE tickets SET {change} WHERE id=?", LEAK)
    assert "not what entry" in night.reason(LEAK)
    assert night.logged("plan.refuse", LEAK)
    night.shift()
    assert night.ticket(LEAK).state is State.OPEN
    assert any(LEAK in found for found in night.audited())


def test_gated_row_with_an_entry_of_its_own(night: Night) -> None:
    night.sql("UPDATE tickets SET state='open', severity=NULL WHERE id=?", LEAK)
    seq = night.forge_entry("ticket.approve_work", f"ticket:{LEAK}", {"digest": night.ticket(LEAK).digest})
    night.sql("UPDATE tickets SET entry=? WHERE id=?", seq, LEAK)
    assert "seal is not nightcrew's" in night.reason(LEAK)
    assert night.logged("plan.refuse", LEAK)
    assert any("seal" in found for found in night.audited())


def test_whole_ledger_rebuilt_without_the_key(night: Night) -> None:
    night.sql("UPDATE tickets SET state='open', severity=NULL WHERE id=?", LEAK)
    prev = "0" * 64
    for row in night.sql("SELECT * FROM ledger ORDER BY seq"):
        data = json.loads(row["data"])
        if row["subject"] == f"ticket:{LEAK}":
            data["digest"] = night.ticket(LEAK).digest
        fields = (*tuple(row)[:5], canonical_json(data).decode(), prev)
        prev = entry_hash(*fields)
        night.sql("UPDATE ledger SET data=?, prev=?, hash=? WHERE seq=?", *fields[5:], prev, row["seq"])
    assert "seal is not nightcrew's" in night.reason(LEAK)
    assert any("seal" in found for found in night.audited())
    with pytest.raises(IntegrityError, match="not the one that was seen before"):
        run_shift(night.project)


def test_command_of_an_open_ticket_exchanged(night: Night) -> None:
    canary = night.project.root.parent / "canary"
    night.sql("UPDATE tickets SET command=? WHERE id=?", f"touch {canary} ran.txt", OPEN)
    assert "not what entry" in night.reason(OPEN)
    assert night.logged("plan.refuse", OPEN)
    night.shift()
    assert night.ticket(OPEN).state is State.OPEN
    assert not canary.exists()


def test_command_exchanged_after_it_was_planned(night: Night) -> None:
    """The manifest is honest, the row is not: it is verified again when it is taken up."""
    planned = planning.make_plan(night.project, "build")
    night.sql("UPDATE tickets SET command='touch ran.txt' WHERE id=?", OPEN)
    from nightcrew.crew.night import run_work

    run_work(night.project, "build", manifest=planned.data)
    assert night.ticket(OPEN).state is State.OPEN


def test_dependency_made_to_look_done(night: Night) -> None:
    night.sql("UPDATE tickets SET state='done' WHERE id=?", NEEDED)
    assert NEEDED in night.reason(DEPENDS)
    assert night.logged("plan.refuse", DEPENDS)


def test_dependency_taken_out(night: Night) -> None:
    night.sql("UPDATE tickets SET depends_on='[]' WHERE id=?", DEPENDS)
    assert "not what entry" in night.reason(DEPENDS)


def test_ticket_filed_by_hand(night: Night) -> None:
    night.sql("CREATE TEMP TABLE copy AS SELECT 1")
    names = [row["name"] for row in night.sql("PRAGMA table_info(tickets)") if row["name"] not in ("id", "command")]
    night.sql(
        f"INSERT INTO tickets (id, command, {', '.join(names)}) "
        f"SELECT 'T-0900', 'touch ran.txt', {', '.join(names)} FROM tickets WHERE id=?",
        OPEN,
    )
    assert "not in the ledger" in night.reason("T-0900")


def test_rejected_ticket_made_open_again_with_its_old_rows(night: Night) -> None:
    """The row and the entry before the decision are genuine; what came after was cut out."""
    (before,) = night.sql("SELECT * FROM tickets WHERE id=?", OPEN)
    with night.project.store.begin() as tx:
        tickets.apply(tx, OPEN, Event.QUARANTINE, actor="human", reason="dangerous")
    night.project.pin_ledger()
    (entry,) = night.sql("SELECT seq FROM ledger WHERE subject=? ORDER BY seq DESC LIMIT 1", f"ticket:{OPEN}")
    backlog.add(night.project, title="Later")
    night.sql("DELETE FROM ledger WHERE seq=?", entry["seq"])
    night.sql("UPDATE tickets SET state='open', note=?, entry=? WHERE id=?", before["note"], before["entry"], OPEN)
    with pytest.raises(IntegrityError):
        run_shift(night.project)
    assert night.audited()


def test_refused_row_is_not_sealed_by_putting_it_aside(night: Night) -> None:
    """Quarantine, release and the inbox start from verified rows: none of them makes a forged row a genuine one."""
    night.sql("UPDATE tickets SET state='ready', severity=NULL, head=?, base=? WHERE id=?", "a" * 40, "b" * 40, LEAK)
    night.not_merged(LEAK)
    with night.project.store.read() as tx, pytest.raises(IntegrityError):
        tickets.verify_row(tx, LEAK)


def test_forged_row_in_quarantine_cannot_be_released(night: Night) -> None:
    night.sql("UPDATE tickets SET state='quarantined', severity=NULL WHERE id=?", LEAK)
    with pytest.raises(IntegrityError):
        backlog.release(night.project, LEAK, "human")
    assert "not what entry" in (night.reason(LEAK) if night.ticket(LEAK).state is State.OPEN else "not what entry")


def test_ticket_exchanged_while_it_waits_for_a_person(night: Night) -> None:
    """What a person signs is what the review was asked for, not what its row was turned into."""
    review = night.in_review(Event.APPROVE_WORK)
    night.sql("UPDATE tickets SET command='touch ran.txt' WHERE id=?", LEAK)
    with pytest.raises(NightcrewError):
        night.decide(review.id)
    assert night.ticket(LEAK).state is State.IN_REVIEW
