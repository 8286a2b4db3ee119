"""Records held by a gate go on by a person's signature and by nothing else; what is changed in the store is noticed."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import nightcrew as nc
from nightcrew.approvals import PassphraseSigner, ScryptParameters, TrustAnchor, create_key, fresh_nonce
from nightcrew.model.errors import ApprovalError, IntegrityError, TransitionError, UsageError
from nightcrew.model.review import Decision
from nightcrew.pipeline.overview import problems, prove
from nightcrew.pipeline.parked import listed, release, shown
from tests.signing import decide_records

NOW = datetime(2026, 11, 27, 7, 0, tzinfo=UTC)


class Draft(BaseModel):
    id: str
    text: str


class Desk:
    """A pipeline that drafts, is held by a gate, and then publishes; and the reviewer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.published: list[str] = []
        self.down = False
        self.now = NOW
        self.anchor = TrustAnchor.of_user()
        self.made = nc.Pipeline("p", record=Draft, key="id", state=folder, clock=lambda: self.now)
        once = nc.Retry(attempts=1)

        @self.made.step(retry=once)
        def draft(record: Draft) -> str:
            return record.text.upper()

        @self.made.gate
        def human(record: Draft, _text: str) -> str | None:
            return None if record.id.startswith("free") else "a person reads it first"

        @self.made.step(retry=once)
        def publish(record: Draft, text: str) -> str:
            if self.down:
                raise ConnectionResetError("the site is down")
            self.published.append(f"{record.id}:{text}")
            return text

        self.signer = create_key("correct horse", scrypt=ScryptParameters(n=2**10), clock=lambda: NOW)[1]
        _ = self.made.state.store
        self.anchor.enrol_first(self.repository, "ada", self.signer, nonce=fresh_nonce(), clock=lambda: NOW)

    @property
    def repository(self) -> str:
        return self.made.state.repository_id

    def decide(self, *names: str, decision: Decision = Decision.APPROVE, signer: PassphraseSigner | None = None) -> int:
        return decide_records(
            self.made.state.store,
            names,
            decision,
            anchor=self.anchor,
            repository=self.repository,
            reviewer="ada",
            open_signer=lambda: signer or self.signer,
            clock=lambda: self.now,
            comment="read",
        )

    def write(self, statement: str, *values: Any) -> None:
        """Write the database as an agent with a shell could."""
        with sqlite3.connect(self.folder / ".nightcrew" / "nightcrew.db") as database:
            assert database.execute(statement, values).rowcount > 0

    def doc(self, key: str) -> dict[str, Any]:
        with sqlite3.connect(self.folder / ".nightcrew" / "nightcrew.db") as database:
            found = database.execute("SELECT doc FROM outcomes WHERE key = ?", (key,)).fetchone()
        return dict(json.loads(found[0]))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    made = Desk(tmp_path / "work")
    made.made.run([{"id": name, "text": f"text of {name}"} for name in ("free", "a", "b", "c")])
    made.published.clear()
    yield made
    made.made.close()


def test_held_records_wait_and_go_on_when_approved(desk: Desk) -> None:
    assert [one.name for one in listed(desk.made.state.store, states=["in_review"])] == ["p/a", "p/b", "p/c"]
    assert desk.decide("p/a", "p/b") == 2
    assert desk.published == [], "a decision does not run code; the next retry or run does"
    summary = desk.made.retry()
    assert desk.published == ["a:TEXT OF A", "b:TEXT OF B"]
    assert summary.states == {"accepted": 3, "in_review": 1}
    assert shown(desk.made.state.store, "p/a").document["review"]["by"] == "ada"
    with desk.made.state.store.read() as tx:
        assert list(problems(tx)) == []


def test_rejected_record_gets_no_result(desk: Desk) -> None:
    desk.decide("p/a", decision=Decision.REJECT)
    assert desk.made.retry().states == {"accepted": 1, "in_review": 2, "rejected": 1}
    assert desk.published == []
    with pytest.raises(TransitionError, match="p/a is rejected"):
        desk.decide("p/a")
    with pytest.raises(TransitionError, match="not quarantined"):
        release(desk.made.state.store, ["p/a"], actor="agent")


def test_signature_of_a_stranger_decides_nothing(desk: Desk) -> None:
    stranger = create_key("another one", scrypt=ScryptParameters(n=2**10), clock=lambda: NOW)[1]
    with pytest.raises(ApprovalError):
        desk.decide("p/a", signer=stranger)
    assert desk.made.retry().states == {"accepted": 1, "in_review": 3}


def test_file_for_results_that_a_row_names_is_not_written(desk: Desk) -> None:
    victim = desk.folder / "victim.jsonl"
    victim.write_text("mine\n")
    desk.write("UPDATE runs SET sink = ?", str(victim))
    desk.decide("p/a")
    with pytest.raises(IntegrityError, match="the sink of run 1"):
        desk.made.retry()
    assert victim.read_text() == "mine\n"


def test_outcome_without_its_fields_is_named(desk: Desk) -> None:
    desk.write(
        'UPDATE outcomes SET state = \'waiting_retry\', doc = \'{"state":"waiting_retry","key":"a"}\' WHERE key = \'a\''
    )
    with pytest.raises(IntegrityError, match="the outcome of a has no at, attempts"):
        desk.made.retry(everything=True)


@pytest.mark.parametrize("stage", [2, 3])
def test_row_set_to_go_on_is_held_again(desk: Desk, stage: int) -> None:
    doc = {**desk.doc("a"), "stage": stage}
    desk.write(
        "UPDATE outcomes SET state = 'waiting_retry', kind = NULL, next_at = '2026-01-01T00:00:00.000000Z', doc = ?"
        " WHERE key = 'a'",
        json.dumps(doc),
    )
    desk.made.retry()
    assert desk.published == []
    assert shown(desk.made.state.store, "p/a").state == "in_review"


def test_approval_of_another_record_does_not_carry_over(desk: Desk) -> None:
    desk.decide("p/a")
    stolen = desk.doc("a")["review"]
    doc = {**desk.doc("b"), "review": stolen, "stage": 2}
    for forged in (doc, {**doc, "review": {**stolen, "held": json.dumps(desk.doc("b"))}}):
        desk.write(
            "UPDATE outcomes SET state = 'waiting_retry', kind = NULL, next_at = '2026-01-01T00:00:00.000000Z', doc = ?"
            " WHERE key = 'b'",
            json.dumps(forged),
        )
        desk.made.retry()
        assert "b:TEXT OF B" not in desk.published
        assert shown(desk.made.state.store, "p/b").state == "in_review"


def test_output_changed_after_the_approval_is_not_published(desk: Desk) -> None:
    desk.decide("p/a")
    doc = {**desk.doc("a"), "output": "SEND MONEY"}
    desk.write("UPDATE outcomes SET doc = ? WHERE key = 'a'", json.dumps(doc))
    desk.made.retry()
    assert desk.published == []
    assert shown(desk.made.state.store, "p/a").state == "in_review"


def test_record_that_changed_between_look_and_signature_is_not_approved(desk: Desk) -> None:
    def change_and_sign() -> PassphraseSigner:
        desk.write("UPDATE outcomes SET doc = replace(doc, 'TEXT OF A', 'SEND MONEY') WHERE key = 'a'")
        return desk.signer

    with pytest.raises(ApprovalError):
        decide_records(
            desk.made.state.store,
            ["p/a"],
            Decision.APPROVE,
            anchor=desk.anchor,
            repository=desk.repository,
            reviewer="ada",
            open_signer=change_and_sign,
            clock=lambda: desk.now,
        )


def test_approval_goes_on_after_a_failure_that_passes(desk: Desk) -> None:
    desk.decide("p/a")
    desk.down = True
    assert desk.made.retry().states == {"accepted": 1, "in_review": 2, "waiting_retry": 1}
    desk.down = False
    desk.now += timedelta(hours=1)
    desk.made.retry()
    assert desk.published == ["a:TEXT OF A"]


def test_one_decision_is_about_records_of_one_pipeline(desk: Desk) -> None:
    with pytest.raises(UsageError, match="one pipeline"):
        desk.decide("p/a", "q/a")
    with pytest.raises(UsageError, match="PIPELINE/KEY"):
        desk.decide("a")
    with pytest.raises(UsageError, match="approved or rejected"):
        desk.decide("p/a", decision=Decision.ESCALATE)


def test_changed_outcome_is_found_and_cannot_be_proven(desk: Desk) -> None:
    assert prove(desk.made.state.store, "p/free")["root"]
    desk.write("UPDATE outcomes SET doc = replace(doc, 'TEXT OF FREE', 'TEXT OF FOUR') WHERE key = 'free'")
    with pytest.raises(IntegrityError, match="the outcome of free is not what the ledger has"):
        prove(desk.made.state.store, "p/free")
    with desk.made.state.store.read() as tx:
        assert list(problems(tx)) == [("record:p/free", "the outcome of free is not what the ledger has")]


def test_changed_leaves_and_root_are_found(desk: Desk) -> None:
    desk.write("UPDATE batches SET root = zeroblob(32)")
    with desk.made.state.store.read() as tx:
        found = list(problems(tx))
    assert len(found) == 4
    assert all("do not give its root" in what for _, what in found)


def test_lost_outcome_is_found(desk: Desk) -> None:
    desk.write("DELETE FROM outcomes WHERE key = 'free'")
    desk.write("UPDATE tallies SET count = count - 1 WHERE state = 'accepted'")
    with desk.made.state.store.read() as tx:
        found = list(problems(tx))
    assert ("run:1", "4 outcomes were made and 3 are there") in found
    assert ("run:1", "4 records were read and 3 are accounted for") in found


def test_held_record_made_to_look_accepted_is_found_and_not_delivered(desk: Desk, tmp_path: Path) -> None:
    for attack in (
        "UPDATE outcomes SET state = 'accepted' WHERE key = 'a'",
        'UPDATE outcomes SET doc = replace(doc, \'{"state":"in_review"\', \'{"state":"accepted"\') WHERE key = \'a\'',
    ):
        desk.write(attack)
        with desk.made.state.store.read() as tx:
            assert ("record:p/a", "the outcome of a is not what the ledger has") in list(problems(tx))
        with pytest.raises(IntegrityError, match="the outcome of a"):
            desk.made.retry(sink=tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_input_changed_while_it_waits_is_not_worked(desk: Desk) -> None:
    desk.decide("p/a")
    desk.write("UPDATE outcomes SET input = ? WHERE key = 'a'", b'{"id": "a", "text": "send money"}')
    desk.made.retry()
    assert desk.published == []
    found = shown(desk.made.state.store, "p/a")
    assert (found.state, found.kind) == ("quarantined", "permanent.corrupt")
    assert "is not the one that was read" in found.reason


def test_stranger_checks_a_proof_with_the_script_in_the_docs(desk: Desk, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "prove-an-outcome.md").read_text()
    script = page.split("```python\n")[1].split("```")[0]
    assert len(script.strip().splitlines()) <= 30
    (tmp_path / "check.py").write_text(script)
    proof = prove(desk.made.state.store, "p/free")
    export = tmp_path / "ledger.jsonl"
    with sqlite3.connect(desk.folder / ".nightcrew" / "nightcrew.db") as database:
        names = ("seq", "at", "actor", "action", "subject", "data", "prev", "hash", "seal")
        found = database.execute(f"SELECT {', '.join(names)} FROM ledger ORDER BY seq")
        export.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in found))

    def checked(given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "proof.json").write_text(json.dumps(given))
        argv = [sys.executable, "-I", "check.py", "proof.json", "ledger.jsonl"]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)

    good = checked(proof)
    assert good.returncode == 0, good.stderr
    assert '"key":"free"' in good.stdout
    for name, value in (
        ("outcome", proof["outcome"].replace("TEXT OF FREE", "TEXT OF FOUR")),
        ("root", "0" * 64),
        ("path", []),
        ("entry", {**proof["entry"], "data": proof["entry"]["data"].replace("made", "mode")}),
        ("entry", {**proof["entry"], "hash": "0" * 64}),
    ):
        if proof[name] != value:
            assert checked({**proof, name: value}).returncode != 0, name
