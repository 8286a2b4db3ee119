"""Game days: one run with a fault after the other, on a copy; and what is found where a safeguard is missing."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from nightcrew.cli.dispatch import dispatch
from nightcrew.readiness.drills import running
from nightcrew.readiness.drills.place import Given
from nightcrew.readiness.game_day import holding
from nightcrew.readiness.game_day.timeline import Planned
from nightcrew.readiness.target import PipelineTarget, resolve

APP = """
    from pydantic import BaseModel, Field

    import nightcrew as nc


    class Payment(BaseModel):
        id: str
        amount: float = Field(gt=0)


    pay = nc.Pipeline("payments", record=Payment, key="id", concurrency=2)
    bare = nc.Pipeline("bare", record=Payment, key="id")


    @pay.step(timeout=0.3, retry=nc.Retry(attempts=2, base=0.01))
    def score(payment: Payment) -> nc.Prediction:
        return nc.Prediction(payment.amount, confidence=0.9)


    @bare.step
    def plain(payment: Payment) -> nc.Prediction:
        return nc.Prediction(payment.amount, confidence=0.9)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application, a sample, and a configuration directory that is the test's."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(dedent(APP))
    (folder / "in.jsonl").write_text("".join(json.dumps({"id": f"p{n}", "amount": n + 1}) + "\n" for n in range(9)))
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(folder)
    return folder


def test_run_survives_a_kill_a_storm_and_cut_off_records_and_each_is_timed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    day = [
        Planned("transient-storm", "score", 1.0, 0.6),
        Planned("corrupt-record", "", 3.0, 0.5),
        Planned("store-unavailable", "", 5.0, 0.5),
        Planned("kill-mid-step", "", 7.0, 0.0),
    ]
    monkeypatch.setattr(holding, "drawn", lambda *_: day)
    before = (folder / "app.py").read_bytes()
    status = dispatch(
        ["drill", "--game-day", "0.15", "--seed", "1", "--target", "app.py:pay", "--input", "in.jsonl", "--json"]
    )
    said = json.loads(capsys.readouterr().out)
    assert said["happened"] == "4 faults were survived; each of 180 records has one outcome"
    assert (status, said["outcome"], said["drill"]) == (0, "passed", "game-day")
    storm, corrupt, store, kill = said["evidence"]["faults"]
    assert [one["fault"] for one in said["evidence"]["faults"]] == [one.kind for one in day]
    assert all(one["detected"] is not None and one["recovered"] >= one["detected"] for one in (storm, kill, corrupt))
    assert store["recovered"] >= 0.5
    assert (folder / "app.py").read_bytes() == before
    target = resolve("app.py:pay", Path())
    assert running.last_results(target)["game-day"].entry == said["entry"]
    assert isinstance(target, PipelineTarget)
    target.pipeline.close()


def test_step_without_a_timeout_is_found_and_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "drawn", lambda *_: [Planned("slow-model", "plain", 1.0, 1.0)])
    target = resolve("app.py:bare", Path())
    result = holding.hold(target, minutes=0.06, seed=1, given=Given(input=folder / "in.jsonl"))
    assert result.outcome == "failed"
    assert result.happened.startswith("slow-model at 1 s: nothing noticed that calls hang: the step has no timeout")
