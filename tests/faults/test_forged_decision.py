"""Attempts to have a review approved with an agent's powers and the whole state database: none admits anything.

The sister of test_forged_admission.py: the attacks here are on keys, clocks and files around the decision itself.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nightcrew.approvals import PassphraseSigner, create_key, fresh_nonce, sign_statement
from nightcrew.approvals import chain as rules
from nightcrew.crew import admission, audit, deciding, inbox, planning
from nightcrew.model.errors import ApprovalError, IntegrityError, NightcrewError, PolicyError
from nightcrew.model.manifest import parse
from nightcrew.model.review import Decision, Review, ReviewState
from nightcrew.model.ticket import Event, State
from nightcrew.store import ledger, reviews, tickets
from tests.gate import FAST, Gate, prepare
from tests.signing import sign_decision

NIGHTCREW = str(Path(sys.executable).with_name("nightcrew"))


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


def not_admitted(gate: Gate, review: Review) -> str:
    """Why the planner leaves the review's ticket out; it must, and the ledger must say so."""
    manifest = parse(planning.make_plan(gate.project, "build").data, source="plan")
    assert review.ticket not in [line.ticket for line in manifest.tickets]
    with gate.project.store.read() as tx:
        assert tickets.get(tx, review.ticket).state in (State.IN_REVIEW, State.OPEN)
        said = list(ledger.entries(tx, subject=f"refusal:{review.ticket}"))
    return str(ledger.data(said[-1])["reason"]) if said else ""


def by_force(gate: Gate, review: Review, envelope: str, *, reviewer: str = "ada") -> None:
    """Put a decision in as if nightcrew itself had verified it: sealed, in every table."""
    with gate.project.store.begin() as tx:
        said: dict[str, Any] = {"decision": Decision.APPROVE, "reviewer": reviewer, "comment": ""}
        reviews.sign(tx, [review.id], **said, envelope=envelope, nonce=fresh_nonce())
        reviews.settle(tx, review.id, **said)
        tickets.apply(tx, review.ticket, Event.QUARANTINE, actor="x")
        tickets.apply(tx, review.ticket, Event.RELEASE, actor="x")


def signed(gate: Gate, review: Review, signer: PassphraseSigner, reviewer: str = "ada") -> str:
    statement = deciding.prepare(gate.project, [review.id], Decision.APPROVE, reviewer="ada")
    predicate = statement.predicate.model_copy(update={"reviewer": reviewer})
    return sign_statement(signer, statement.model_copy(update={"predicate": predicate})).encode().decode()


def signed_anyway(gate: Gate, review: Review, signer: PassphraseSigner, reviewer: str) -> str:
    """As ``signed``, where the anchor is damaged and nightcrew itself would prepare nothing."""
    with gate.project.store.read() as tx:
        subjects = deciding.subjects_of(tx, review)
    return (
        sign_decision(
            signer,
            reviewer=reviewer,
            repository=gate.project.repository_id,
            review_id=review.id,
            subjects=subjects,
            decision=Decision.APPROVE,
            nonce=fresh_nonce(),
            clock=gate.project.clock,
        )
        .encode()
        .decode()
    )


def test_stranger_who_names_an_enrolled_reviewer(gate: Gate) -> None:
    review = gate.review()
    _, stranger = create_key("a pass phrase", scrypt=FAST)
    envelope = signed(gate, review, stranger)
    with pytest.raises(ApprovalError, match="no enrolled reviewer has the key"):
        deciding.finish(gate.project, _read(envelope))
    by_force(gate, review, envelope)
    assert "no enrolled reviewer has the key" in not_admitted(gate, review)


def test_reviewer_who_names_another(gate: Gate) -> None:
    grace = gate.enrol("grace")
    review = gate.review(severity="critical")
    gate.decide(review.id, by="grace")
    envelope = signed(gate, review, grace, reviewer="ada")  # one person trying to be two
    with pytest.raises(ApprovalError, match="names ada, but is signed by grace"):
        deciding.finish(gate.project, _read(envelope))
    by_force(gate, review, envelope)
    assert "needs the approval of 2 people and has 1" in not_admitted(gate, review)


def test_one_approval_stored_twice_is_one_person(gate: Gate) -> None:
    gate.enrol("grace")
    review = gate.review(severity="critical")
    gate.decide(review.id, by="ada")
    with gate.project.store.read() as tx:
        (one,) = reviews.decisions(tx, review.id)
    by_force(gate, review, one.envelope, reviewer="grace")
    assert "needs the approval of 2 people and has 1" in not_admitted(gate, review)


def test_reviewer_enrolled_by_oneself(gate: Gate) -> None:
    """A second entry of the chain that is signed by the key it enrols, as the first one is."""
    review = gate.review()
    _, eve = create_key("a pass phrase", scrypt=FAST)
    repository = gate.project.repository_id
    chain = gate.project.anchor.statements(repository)
    statement = rules.enrolment(
        repository, chain[-1], name="eve", kind=eve.kind, public_key=eve.public_key, time=gate.now, nonce=fresh_nonce()
    )
    with pytest.raises(ApprovalError):
        gate.project.anchor.append(repository, statement, eve)
    planted = gate.project.anchor.directory / repository / "reviewers" / "0002.json"
    planted.write_bytes(sign_statement(eve, statement).encode())
    planted.chmod(0o600)
    gate.reopen()
    with pytest.raises(IntegrityError, match="0002"):
        gate.project.anchor.reviewers(repository)
    by_force(gate, review, signed_anyway(gate, review, eve, "eve"), reviewer="eve")
    assert "0002" in not_admitted(gate, review)


def test_key_added_under_the_name_of_another(gate: Gate) -> None:
    grace = gate.enrol("grace")
    _, second = create_key("a pass phrase", scrypt=FAST)
    with pytest.raises(ApprovalError):
        gate.project.anchor.enrol(
            gate.project.repository_id, "ada", kind=second.kind, public_key=second.public_key, by=grace,
            nonce=fresh_nonce(), clock=gate.project.clock,
        )  # fmt: skip


def test_public_key_exchanged_in_the_chain(gate: Gate) -> None:
    review = gate.review()
    _, eve = create_key("a pass phrase", scrypt=FAST)
    repository = gate.project.repository_id
    first = gate.project.anchor.directory / repository / "reviewers" / "0001.json"
    statement = rules.enrolment(
        repository, None, name="ada", kind=eve.kind, public_key=eve.public_key, time=gate.now, nonce=fresh_nonce()
    )
    first.write_bytes(sign_statement(eve, statement).encode())
    gate.reopen()
    with pytest.raises(IntegrityError, match="not the chain that was enrolled here"):
        gate.project.anchor.reviewers(repository)
    by_force(gate, review, signed_anyway(gate, review, eve, "ada"))
    assert "not the chain that was enrolled here" in not_admitted(gate, review)


def test_clock_moved_forth_makes_nothing_of_age(gate: Gate) -> None:
    review = gate.review()
    for _ in range(5):
        gate.later(days=400)
        gate.reopen()
        (waiting,) = inbox.pending(gate.project)
        assert waiting.state is ReviewState.ESCALATED
    not_admitted(gate, review)


def test_approval_from_the_future_of_a_clock_set_back(gate: Gate) -> None:
    review = gate.review()
    gate.later(days=2)
    gate.decide(review.id)
    gate.now -= timedelta(days=2)
    gate.reopen()
    assert "its time lies in the future" in not_admitted(gate, review)


def test_revoked_reviewer_signs_with_a_time_before(gate: Gate) -> None:
    gate.enrol("grace")
    review = gate.review()
    envelope = signed(gate, review, gate.signers["grace"][0], reviewer="grace")
    gate.later(hours=1)
    gate.project.anchor.revoke(
        gate.project.repository_id, "grace", by=gate.signers["ada"][0], nonce=fresh_nonce(), clock=gate.project.clock
    )
    with pytest.raises((ApprovalError, PolicyError), match="revoked"):
        deciding.finish(gate.project, _read(envelope))
    by_force(gate, review, envelope, reviewer="grace")
    assert "revoked" in not_admitted(gate, review)


def test_number_of_people_lowered_in_the_rows(gate: Gate) -> None:
    gate.enrol("grace")
    review = gate.review(severity="critical")
    gate.decide(review.id, by="ada")
    database = sqlite3.connect(gate.project.state_dir / "nightcrew.db", isolation_level=None)
    database.execute("UPDATE reviews SET severity='low', state='approved', decided=created WHERE id=?", (review.id,))
    database.execute("UPDATE tickets SET state='open' WHERE id=?", (review.ticket,))
    assert "is not what entry" in not_admitted(gate, review)
    database.execute(
        """UPDATE ledger SET data=replace(data, '"approvals":2', '"approvals":1') WHERE subject=?""",
        (f"review:{review.id}",),
    )
    database.close()
    with gate.project.store.read() as tx, pytest.raises(NightcrewError):
        admission.enough(gate.project, tx, tickets.get(tx, review.ticket), reviews.get(tx, review.id))
    assert not audit.verify(gate.project).ok


def test_database_rolled_back_to_before_a_rejection(gate: Gate, tmp_path: Path) -> None:
    review = gate.review()
    database = gate.project.state_dir / "nightcrew.db"
    gate.reopen()
    sqlite3.connect(database).execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    shutil.copy(database, tmp_path / "old.db")
    gate.decide(review.id, decision=Decision.REJECT)
    gate.reopen()
    for left in gate.home.glob("repo/.nightcrew/nightcrew.db*"):
        left.unlink()
    shutil.copy(tmp_path / "old.db", database)
    with pytest.raises(IntegrityError, match="was put back"):
        gate.project.check_ledger()


def test_agent_that_calls_the_command_line_itself(gate: Gate) -> None:
    """As an agent's command would: in a process without the person's home, and without an answer for the passphrase."""
    review = gate.review()
    repo = gate.home / "repo"
    gate.reopen()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(gate.home / "elsewhere"),
        "NIGHTCREW_CONFIG_DIR": str(gate.home / "x"),
    }
    (gate.home / "elsewhere").mkdir()
    own = [
        ["reviewer", "add", "eve"],
        ["inbox", "approve", review.id, "--reviewer", "ada"],
        ["inbox", "approve", review.id],
    ]
    for words in own:
        done = subprocess.run([NIGHTCREW, *words], cwd=repo, env=env, input=b"guess\n", capture_output=True, timeout=60)
        assert done.returncode in (2, 3, 4), (words, done.stdout, done.stderr)
    env["NIGHTCREW_CONFIG_DIR"] = str(gate.home / "config")  # even with the person's own directory before it
    (gate.home / "guess").write_text("guess guess guess")
    (gate.home / "guess").chmod(0o600)
    done = subprocess.run(
        [NIGHTCREW, "inbox", "approve", review.id],
        cwd=repo,
        env={**env, "NIGHTCREW_PASSPHRASE_FILE": str(gate.home / "guess")},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode in (3, 4), done.stderr
    not_admitted(gate, review)


def _read(envelope: str) -> Any:
    from nightcrew.model.statement import read_envelope

    return read_envelope(envelope.encode())
