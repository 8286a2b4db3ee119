"""The page of readiness: what others wrote is data, what is outdated is said to be, a damaged row hides no other."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.gate import Gate, prepare

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.protocol import Outcome, Result
from nightcrew.readiness.drills.running import keep_result
from nightcrew.readiness.target import CrewTarget
from nightcrew.web.app import create_app

ORIGIN = "http://localhost:8377"
NOW = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


@pytest.fixture
def client(gate: Gate) -> Iterator[TestClient]:
    app = create_app(gate.home / "repo", origin=ORIGIN, token="t" * 43)
    with TestClient(app, base_url=ORIGIN) as found:
        found.get(f"/enter?token={'t' * 43}", follow_redirects=False)
        yield found


def drilled(gate: Gate, drill: str, happened: str, outcome: Outcome = "passed", box: Box = Box.INPUTS) -> None:
    target = CrewTarget(gate.project)
    fingerprint = target.fingerprint()
    result = Result(
        drill, "crew", outcome, (box,), "something", "something", happened, 0.1, 0.2, "", NOW, 1.0, {},
        fingerprint.digest, fingerprint.parts,
    )  # fmt: skip
    keep_result(target, result)


def test_what_a_drill_saw_is_data(gate: Gate, client: TestClient) -> None:
    drilled(gate, "prompt-injection", "<script>alert(1)</script>\u202e\x1b[31m", "failed")
    for path in ("/readiness", "/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "\u202e" not in answer.text
        assert "\x1b" not in answer.text
        assert "script-src" in answer.headers["content-security-policy"]


def test_a_result_from_before_a_change_is_said_to_be_outdated(gate: Gate, client: TestClient) -> None:
    drilled(gate, "prompt-injection", "it was so")
    before = client.get("/readiness").text
    assert ("it was so" in before, "outdated" in before) == (True, False)
    (gate.project.root / ".gitlab-ci.yml").write_text("test: {script: pytest}\n")
    drilled(gate, "full-disk", "it was so too", box=Box.STATE)
    after = client.get("/readiness").text
    assert "passed, outdated" in after
    assert "since then: .gitlab-ci.yml" in after


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE drill_runs SET doc = '{}' WHERE drill = 'prompt-injection'",
        "UPDATE drill_runs SET doc = 'no json' WHERE drill = 'prompt-injection'",
        "UPDATE drill_runs SET started = 'never' WHERE drill = 'prompt-injection'",
        "UPDATE drill_runs SET entry = 99 WHERE drill = 'prompt-injection'",
    ],
)
def test_a_damaged_result_hides_no_other_and_proves_nothing(gate: Gate, client: TestClient, damage: str) -> None:
    drilled(gate, "prompt-injection", "it was so")
    drilled(gate, "damaged-work", "it was so too")
    with gate.project.store.begin() as tx:
        tx.connection.exec_driver_sql(damage)
    answers = [client.get(path) for path in ("/readiness", "/")]
    assert [answer.status_code for answer in answers] == [200, 200], [answer.text[-300:] for answer in answers]
    assert "it was so too" in answers[0].text
    assert "1 drill passed, the last on 2026-11-28: prompt-injection" not in answers[0].text


def test_no_number_of_repetitions_hides_another_drill(gate: Gate, client: TestClient) -> None:
    drilled(gate, "prompt-injection", "it was long ago")
    with gate.project.store.begin() as tx:
        tx.connection.exec_driver_sql(
            "INSERT INTO drill_runs (target, drill, outcome, started, fingerprint, doc, entry)"
            " SELECT 'crew', 'full-disk', outcome, started, fingerprint, doc, entry FROM drill_runs, "
            " (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) SELECT i FROM n)"
        )
    text = client.get("/readiness").text
    assert "<td>prompt-injection</td>" in text
    assert "<td>full-disk</td>" in text
