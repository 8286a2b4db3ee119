"""Load tests: an open loop on a copy of the pipeline, and the curve that is kept."""

import json
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from nightcrew.cli.dispatch import dispatch
from nightcrew.cli.output import OPTIONS
from nightcrew.model.errors import UsageError
from nightcrew.readiness.drills.place import Given
from nightcrew.readiness.drills.running import opened
from nightcrew.readiness.load import running
from nightcrew.readiness.load.curve import Plan, Step
from nightcrew.readiness.target import PipelineTarget, resolve
from nightcrew.store import drills, ledger

APP = """
    import asyncio
    import time
    import urllib.request

    from pydantic import BaseModel, Field

    import nightcrew as nc


    class Payment(BaseModel):
        id: str
        amount: float = Field(gt=0)


    seen = []
    slow = nc.Pipeline("slow", record=Payment, key="id")
    stalls = nc.Pipeline("stalls", record=Payment, key="id")
    calls = nc.Pipeline("calls", record=Payment, key="id", concurrency=4)


    @slow.step
    def fiftieth(payment: Payment) -> nc.Prediction:
        time.sleep(0.02)
        return nc.Prediction(payment.amount, confidence=0.9)


    @stalls.step(retry=None)
    def once(payment: Payment) -> nc.Prediction:
        seen.append(payment.id)
        if len(seen) == 80:
            time.sleep(1.5)
        return nc.Prediction(payment.amount, confidence=0.9)


    def rule(payment: Payment) -> nc.Prediction:
        return nc.Prediction(0.0, confidence=0.5)


    @calls.step(retry=None, fallback=rule)
    def ask(payment: Payment) -> nc.Prediction:
        urllib.request.urlopen("http://192.0.2.1/", timeout=1)
        return nc.Prediction(payment.amount, confidence=0.9)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application and a sample in which a key stands once, as it does in reality."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(dedent(APP))
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": f"p{n}", "amount": n + 1}) + "\n" for n in range(7)))
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(folder)
    return folder


def test_knee_lies_where_the_pipeline_no_longer_keeps_up_and_the_curve_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.is_dir()
    argv = (
        "load", "app.py:slow", "--input", "../in.jsonl", "--from", "10", "--factor", "10", "--to", "1000",
        "--seconds", "1", "--total", "10", "--json", "--at-least", "300",
    )  # fmt: skip
    assert dispatch(list(argv)) == 1
    said = json.loads(capsys.readouterr().out)
    # A step that takes 20 ms, one record at a time, cannot do more than 50 a second.
    assert 0 < said["knee"] < 60
    assert said["capacity"] < 60
    assert said["why_no_more"]
    tried = [step["rate"] for step in said["steps"]]
    assert tried[0] == 10
    assert max(tried) == 100
    target = resolve("app.py:slow", Path())
    (kept,) = running.history(target, 10)
    assert kept.doc["steps"] == said["steps"]
    with opened(target) as store, store.read() as tx:
        entry = next(ledger.entries(tx, after=kept.entry - 1, limit=1))
        assert (entry.action, entry.subject) == ("load.run", f"load:{target.label}")
        assert drills.list(tx) == []
        assert drills.load_is_vouched(tx, kept)
        forged = replace(kept, doc={**kept.doc, "knee": 1_000_000})
        assert not drills.load_is_vouched(tx, forged)
        tables = tx.connection.exec_driver_sql("SELECT count(*) FROM outcomes").scalar_one()
    assert tables == 0
    assert isinstance(target, PipelineTarget)
    target.pipeline.close()


def test_stall_is_counted_for_every_record_that_was_due_meanwhile(folder: Path, tmp_path: Path) -> None:
    assert folder.is_dir()
    found = running.run(
        resolve("app.py:stalls", Path()),
        Plan(rate=50, factor=1.0, seconds=2.5),
        given=Given(input=tmp_path / "in.jsonl"),
    )
    (step,) = found.steps
    # One call of 125 was slow: of those that were sent one after the other, one would have waited. Here half were due.
    assert step.arrived == 125
    assert step.stored + step.unserved == 125
    assert step.p95 > 0.8
    assert step.slowest >= 1.5


def test_step_that_needs_the_network_is_stood_in_for(folder: Path, tmp_path: Path) -> None:
    assert folder.is_dir()
    plan, given = Plan(rate=20, factor=1.0, seconds=1), Given(input=tmp_path / "in.jsonl")
    found = running.run(resolve("app.py:calls", Path()), plan, given=given, stand_in_seconds=0.01)
    assert "ask was answered by its fallback rule" in found.stood_in
    assert "in 0.01 s" in found.stood_in
    assert sum(found.steps[0].states.values()) == found.steps[0].stored > 0
    assert found.settings["concurrency"] == 4


def test_interrupted_load_test_gives_the_rates_that_were_over_and_its_curve_is_shown_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    assert folder.is_dir()
    monkeypatch.setattr("nightcrew.cli.load._seen", interrupt)
    monkeypatch.setattr(OPTIONS, "json", False)
    argv = ("load", "app.py:slow", "--input", "../in.jsonl", "--from", "20", "--seconds", "1", "--total", "30")
    assert dispatch(list(argv)) == 130
    assert "Ended early: it was interrupted." in capsys.readouterr().out
    assert dispatch(["load", "app.py:slow", "--show"]) == 0
    shown = capsys.readouterr().out
    assert "\n20 " in shown
    assert "Ended early: it was interrupted." in shown
    monkeypatch.setattr("nightcrew.cli.load._seen", lambda _: None)
    assert dispatch(["load", "app.py:slow", "--rate", "20", "--seconds", "1", "--at-least", "100", "--json"]) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--rate", "inf"), "too many: a load test works 500,000 at most"),
        (("--rate", "1e9"), "too many: a load test works 500,000 at most"),
        (("--rate", "0.01", "--input", "../in.jsonl"), "0.01 records a second need 2000 s, and there are 180 s in all"),
    ],
)
def test_rate_that_cannot_be_tried_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], why: str
) -> None:
    assert folder.is_dir()
    assert dispatch(["load", "app.py:slow", *options]) in (2, 4)
    assert why in capsys.readouterr().err


def test_crew_and_plain_code_are_no_target(folder: Path) -> None:
    (folder / "plain.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match="needs a pipeline"):
        running.run(resolve(str(folder / "plain.py"), Path()), Plan())
    with pytest.raises(UsageError, match="needs a pipeline"):
        running.history(resolve(str(folder / "plain.py"), Path()), 1)
