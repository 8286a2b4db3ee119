"""Attempts to get a ticket worked or a change merged without a person, by writing the state database itself.

Each attack has the whole database, as an agent might that got out; it has not the user's configuration directory.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightcrew.approvals import ScryptParameters, create_key, fresh_nonce
from nightcrew.approvals import chain as rules
from nightcrew.approvals.signer import Signer, sign_statement
from nightcrew.crew import admission, audit, backlog, deciding, inbox, merger, planning, reviewers, setup
from nightcrew.crew.desk import Desk
from nightcrew.crew.night import run_shift, run_work
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.project import Project, open_project
from nightcrew.crew.settle import settle
from nightcrew.model.budget import Budget
from nightcrew.model.canonical import canonical_json, sha256_hex
from nightcrew.model.entry import entry_hash
from nightcrew.model.errors import ApprovalError, IntegrityError
from nightcrew.model.handoff import HandoffKind
from nightcrew.model.manifest import parse
from nightcrew.model.review import Decision, Review
from nightcrew.model.ticket import Event, State, Ticket
from nightcrew.store import findings, ledger, reviews, sessions, tickets
from tests.faults import crew_repository as crew
from tests.signing import sign_decision

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
        (decided,) = deciding.decide(
            self.project,
            [review],
            decision,
            reviewer=None,
            comment="seen",
            signer=lambda keys: reviewers.pick(self.project, keys, passphrase=lambda _: PASSPHRASE),
        )
        return decided

    def reason(self, ticket_id: str, agent: str = "build") -> str:
        """Why the planner leaves the ticket out; it must, and must not plan it."""
        manifest = parse(planning.make_plan(self.project, agent).data, source="the plan")
        assert ticket_id not in [line.ticket for line in manifest.tickets]
        return next(left["reason"] for left in manifest.left_out if left["ticket"] == ticket_id)

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

    def not_merged_reason(self, ticket_id: str) -> str:
        """As ``not_merged``, without the refusal being recorded."""
        with self.project.store.read() as tx:
            return "; ".join(admission.refusals(self.project, tx, tickets.get(tx, ticket_id)))

    def still_found(self, ticket_id: str) -> bool:
        """Whether a check that finds again what the ticket was filed for would say so."""
        with self.project.store.read() as tx:
            (known,) = findings.list(tx, ticket=ticket_id)
        desk = Desk(
            project=self.project,
            session="S-0001",
            agent="security",
            shift="N-0001",
            ticket=self.ticket(ticket_id),
            line=None,
            budget=Budget(soft=1, hard=1),
            place=self.project.work_dir / "none",
        )
        return desk.without_false_positives([known.finding]) == [known.finding]

    def decide_as(self, signer: Signer, ticket_id: str) -> None:
        """Approve with any key, and let nightcrew's own hand open the ticket as if the signature had been verified."""
        with self.project.store.begin() as tx:
            (review,) = reviews.list(tx, ticket=ticket_id)
            envelope = sign_decision(
                signer,
                reviewer="eve",
                repository=self.project.repository_id,
                review_id=review.id,
                subjects=admission.subjects_now(tx, tickets.get(tx, ticket_id), review.handoff, with_change=False),
                decision=Decision.APPROVE,
                nonce=(nonce := fresh_nonce()),
                clock=self.project.clock,
            )
            text = envelope.encode().decode()
            said: dict[str, Any] = {"decision": Decision.APPROVE, "reviewer": "eve", "comment": ""}
            reviews.sign(tx, [review.id], **said, envelope=text, nonce=nonce)
            reviews.settle(tx, review.id, **said)
            tickets.apply_approved(
                tx,
                ticket_id,
                Event.APPROVE_WORK,
                actor="eve",
                review=review.id,
                envelopes_sha256=[sha256_hex(text.encode())],
            )

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
    night.sql("UPDATE tickets SET state='open', severity=NULL WHERE id=?", LEAK)
    night.shift()  # a whole night does what the planner says, and its other work
    assert night.ticket(OPEN).state is State.OPEN
    assert night.ticket(LEAK).state is State.OPEN
    assert not canary.exists()


def test_command_exchanged_after_it_was_planned(night: Night) -> None:
    """The manifest is honest, the row is not: it is verified again when it is taken up."""
    planned = planning.make_plan(night.project, "build")
    night.sql("UPDATE tickets SET command='touch ran.txt' WHERE id=?", OPEN)
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


def test_decision_cut_out_of_the_ledger(night: Night) -> None:
    """The row and the entry before the decision are genuine, and the pinned head is too; what lay between is gone."""
    night.decide("R-0001", Decision.REJECT)
    (entry,) = night.sql("SELECT max(seq) AS seq FROM ledger WHERE subject=?", f"ticket:{LEAK}")
    backlog.add(night.project, title="Later")
    night.project.pin_ledger()
    night.sql("DELETE FROM ledger WHERE seq=?", entry["seq"])
    assert any("is missing" in found for found in night.audited())
    with pytest.raises(IntegrityError):
        run_shift(night.project)


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
    assert night.ticket(LEAK).state is State.QUARANTINED


def test_ticket_exchanged_while_it_waits_for_a_person(night: Night) -> None:
    """What a person signs is what the review was asked for, not what its row was turned into."""
    night.sql("UPDATE tickets SET command='touch ran.txt' WHERE id=?", LEAK)
    with pytest.raises(IntegrityError, match="not what entry"):
        night.decide("R-0001")
    assert night.ticket(LEAK).state is State.IN_REVIEW


@pytest.mark.parametrize("change", ["reason='harmless'", "ticket='T-0004'", "handoff='H-000001'"])
def test_review_exchanged_while_it_waits_for_a_person(night: Night, change: str) -> None:
    night.sql(f"UPDATE reviews SET {change} WHERE id='R-0002'")
    with pytest.raises(IntegrityError, match="not what was asked for"):
        night.decide("R-0002")
    assert night.ticket(CHANGE).state is State.IN_REVIEW


def test_handoff_exchanged_while_its_review_waits(night: Night) -> None:
    (row,) = night.sql("SELECT body FROM handoffs WHERE id='H-000003'")
    body = row["body"].replace(b"test_double", b"test_dou8le")
    night.sql("UPDATE handoffs SET body=?, sha256=? WHERE id='H-000003'", body, sha256_hex(body))
    with pytest.raises(IntegrityError, match="H-000003"):
        night.decide("R-0002")


def test_row_lowered_while_its_ticket_is_worked(night: Night) -> None:
    """What settles a session starts from the verified row: it does not seal a lowered severity."""
    night.decide("R-0001")
    with night.project.store.begin() as tx:
        tickets.apply(tx, LEAK, Event.START, actor="build")
        session = sessions.create(
            tx, shift="N-0001", agent="build", manifest="M-0", budget=Budget(soft=4, hard=6), brain="mechanical",
            tickets=[LEAK],
        )  # fmt: skip
        sessions.start(tx, session)
    night.sql("UPDATE tickets SET severity=NULL WHERE id=?", LEAK)
    made = Outcome(kind=HandoffKind.DEFERRAL, done="Nothing.", next="Again.")
    with night.project.store.begin() as tx:
        settle(night.project, tx, session, LEAK, made)
    assert night.ticket(LEAK).state is State.BUILDING
    assert night.logged("settle.refuse", LEAK)
    with night.project.store.read() as tx, pytest.raises(IntegrityError):
        tickets.verify_row(tx, LEAK)


def test_false_positive_put_in_by_hand_hides_nothing(night: Night) -> None:
    """Only what a person rejected is left out of later checks."""
    night.sql("UPDATE findings SET state='false_positive'")
    assert night.still_found(LEAK)


def test_false_positive_that_a_person_rejected_is_left_out(night: Night) -> None:
    assert night.still_found(LEAK)
    night.decide("R-0001", Decision.REJECT)
    assert not night.still_found(LEAK)


# --- Signatures and reviewers


def test_envelope_of_another_approved_review_copied(night: Night) -> None:
    night.decide(night.in_review(Event.APPROVE_TO_SECURITY).id)
    night.sql("UPDATE reviews SET state='approved', reviewer='ada', decided=created WHERE id='R-0001'")
    night.sql(
        "INSERT INTO review_decisions SELECT 'R-0001', nonce, decision, reviewer, comment, at, envelope "
        "FROM review_decisions WHERE review='R-0002'"
    )
    with night.project.store.begin() as tx:  # nightcrew itself, deceived by everything but the signature
        proof = tx.connection.exec_driver_sql(
            "SELECT envelope FROM review_decisions WHERE review='R-0001'"
        ).scalar_one()
        tickets.apply_approved(
            tx, LEAK, Event.APPROVE_WORK, actor="x", review="R-0001", envelopes_sha256=[sha256_hex(proof.encode())]
        )
    assert "it was signed for review R-0002" in night.reason(LEAK)
    assert night.logged("plan.refuse", LEAK)


def test_approval_with_the_tickets_text_changed_afterwards(night: Night) -> None:
    night.decide("R-0001")
    with night.project.store.begin() as tx:  # an edit by nightcrew's own hand: the row fits its entry
        tickets.edit(tx, LEAK, actor="x", changes={"command": "touch ran.txt"})
    assert "it was signed for something else" in night.reason(LEAK)


def test_approval_of_an_earlier_commit(night: Night) -> None:
    """Neither a moved row nor a new commit on the branch is merged with the signature for the commit before."""
    night.decide("R-0002")
    with night.project.store.begin() as tx:
        tickets.apply(tx, CHANGE, Event.PASS_SECURITY, actor="x")  # as if security had passed it
    assert "security did not pass commit" in night.not_merged_reason(CHANGE)
    env = crew.environment(night.project.root.parent)
    crew.git(night.project.root, "branch", "-f", "nightcrew/T-0001", "main", env=env)
    other = crew.git(night.project.root, "rev-parse", "main", env=env)
    with night.project.store.begin() as tx:
        tickets.edit(tx, CHANGE, actor="x", changes={"head": other})
    assert "it was signed for something else: commit/head" in night.not_merged(CHANGE)


def test_row_of_an_approved_change_moved_to_another_commit(night: Night) -> None:
    night.decide("R-0002")
    other = crew.git(night.project.root, "rev-parse", "main", env=crew.environment(night.project.root.parent))
    night.sql("UPDATE tickets SET head=?, state='ready' WHERE id=?", other, CHANGE)
    assert "not what entry" in night.not_merged(CHANGE)


def test_approval_to_go_on_passed_off_as_one_to_merge(night: Night) -> None:
    """A signature given at QA's gate does not stand for security's, whatever the review's row says it is for."""
    night.decide("R-0002")
    night.sql("UPDATE reviews SET on_approve='approve_change' WHERE id='R-0002'")
    with night.project.store.begin() as tx:
        ticket = tickets.apply(tx, CHANGE, Event.PASS_SECURITY, actor="x")
        with pytest.raises(ApprovalError, match="qa"):
            admission.change_approval_of(night.project, tx, ticket, Event.APPROVE_CHANGE)


@pytest.mark.parametrize("planted", ["0002.json", "eve.json"])
def test_reviewer_planted_by_hand(night: Night, planted: str) -> None:
    """More than an agent could: a statement in the trust directory, signed by the key that it enrols."""
    anchor, repository = night.project.anchor, night.project.repository_id
    _, eve = create_key("eve's own passphrase", scrypt=FAST)
    statement = rules.enrolment(
        repository,
        anchor.statements(repository)[-1],
        name="eve",
        kind=eve.kind,
        public_key=eve.public_key,
        time=night.project.clock(),
        nonce=fresh_nonce(),
    )
    file = anchor.directory / repository / "reviewers" / planted
    file.write_bytes(sign_statement(eve, statement).encode())
    file.chmod(0o600)
    night.decide_as(eve, LEAK)
    reason = night.reason(LEAK)
    assert "no enrolled reviewer" in reason or "does not belong to the chain" in reason
    assert night.logged("plan.refuse", LEAK)
    assert any(found.startswith("reviewers") for found in night.audited())


def test_decision_signed_with_a_key_of_nobody(night: Night) -> None:
    _, eve = create_key("eve's own passphrase", scrypt=FAST)
    night.decide_as(eve, LEAK)
    assert "not count" in night.reason(LEAK)
    assert night.logged("plan.refuse", LEAK)


def test_decision_signed_with_nightcrews_own_key(night: Night) -> None:
    night.decide_as(night.project.service, LEAK)
    assert "not count" in night.reason(LEAK)


def test_verdicts_without_nightcrews_key(night: Night) -> None:
    with night.project.store.begin() as tx:  # a genuine row in ``ready``, so that only the verdicts are in question
        tickets.edit(tx, OPEN, actor="x", changes={"base": "b" * 40, "head": night.integration()})
        for event in (Event.START, Event.SUBMIT, Event.PASS_QA, Event.PASS_SECURITY):
            tickets.apply(tx, OPEN, event, actor="x")
    (genuine,) = night.sql("SELECT data FROM ledger WHERE action='verdict.sign' AND subject='verdict:T-0003' LIMIT 1")
    data = {**json.loads(genuine["data"]), "head": night.integration(), "verdict": "passed"}
    for desk in ("qa", "security"):
        night.forge_entry("verdict.sign", f"verdict:{OPEN}", {**data, "desk": desk})
    reason = night.not_merged(OPEN)
    assert "qa did not pass" in reason
    assert "security did not pass" in reason


@pytest.mark.parametrize(
    "data", [{}, {"desk": "qa"}, {"desk": "qa", "head": "HEAD", "handoff": "H-999999", "envelope": {}}]
)
def test_malformed_verdict_is_a_refusal_and_not_a_crash(night: Night, data: dict[str, Any]) -> None:
    with night.project.store.begin() as tx:
        tickets.edit(tx, OPEN, actor="x", changes={"base": "b" * 40, "head": night.integration()})
        for event in (Event.START, Event.SUBMIT, Event.PASS_QA, Event.PASS_SECURITY):
            tickets.apply(tx, OPEN, event, actor="x")
    said = {name: night.integration() if value == "HEAD" else value for name, value in data.items()}
    night.forge_entry("verdict.sign", f"verdict:{OPEN}", said)
    assert "qa did not pass" in night.not_merged(OPEN)


# --- The whole file


def test_database_put_back_to_before_a_rejection(night: Night, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    files = [file for file in night.project.state_dir.glob("nightcrew.db*") if file.is_file()]
    night.project.close()
    for file in files:
        if file.exists():
            shutil.copy(file, kept)
    reopened = Night(open_project(night.project.root))
    try:
        reopened.decide("R-0001", Decision.REJECT)
        assert reopened.ticket(LEAK).state is State.REJECTED
    finally:
        reopened.project.close()
    for file in night.project.state_dir.glob("nightcrew.db*"):
        file.unlink()
    for file in kept.iterdir():
        shutil.copy(file, night.project.state_dir)
    again = Night(open_project(night.project.root))
    try:
        assert again.ticket(LEAK).state is State.IN_REVIEW
        with pytest.raises(IntegrityError, match="put back"):
            again.project.check_ledger()
        with pytest.raises(IntegrityError, match="put back"):
            run_shift(again.project)
        assert any(found.startswith("anchor") for found in again.audited())
    finally:
        again.project.close()


def test_baseline_marked_as_taken_by_hand_is_refused(night: Night) -> None:
    """A marker in the ledger says that the first night was; who plants one hides what lies in the repository."""
    night.forge_entry("baseline.take", "baseline:1", {})
    with pytest.raises(IntegrityError, match="seal"):
        run_shift(night.project)
