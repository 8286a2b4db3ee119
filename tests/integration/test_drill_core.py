"""Drills: the isolated copy, what is kept of them, and the two that are about durable state, each also with a fault."""

import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tests.faults import crew_repository as crew

from nightcrew.model.errors import NotFoundError, UsageError
from nightcrew.readiness import drills
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import (
    accounted,
    copying,
    kill_crew,
    kill_pipeline,
    own,
    running,
    settings,
    store_crew,
    watched,
)
from nightcrew.readiness.drills import store_pipeline as store
from nightcrew.readiness.drills.place import Given, made
from nightcrew.readiness.drills.protocol import Drill, Result
from nightcrew.readiness.target import CodeTarget, PipelineTarget, Target, resolve
from nightcrew.store import drills as stored
from nightcrew.store import outcomes, runs

storm = pytest.mark.skipif("NIGHTCREW_STORM_EXAMPLES" not in os.environ, reason="the storms run it: real processes")

APP = """
    from pydantic import BaseModel, Field

    import nightcrew as nc


    class Payment(BaseModel):
        id: str
        amount: float = Field(gt=0)


    pay = nc.Pipeline("payments", record=Payment, key="id")


    @pay.step
    def score(payment: Payment) -> nc.Prediction:
        return nc.Prediction(payment.amount, confidence=0.9)


    class NothingIsRefused(nc.Drill):
        '''Records that break the contract are refused.'''

        boxes = ("inputs",)
        injects = "a record without an amount"

        def run(self, pipeline, records):
            done = pipeline.run([*records, {"id": "x"}])
            assert done.states.get("quarantined"), f"it was {done.states}"
            return f"one of {done.seen} was put into quarantine"
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PipelineTarget:
    """A pipeline in a folder of its own, and a configuration directory that is the test's."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(dedent(APP))
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(folder)
    found = resolve("app.py:pay", Path())
    assert isinstance(found, PipelineTarget)
    return found


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """Twelve records."""
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"id": f"p{number}", "amount": number + 1}) + "\n" for number in range(12)))
    return Given(input=path)


def sabotage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have every process in the copy break a safeguard as it starts."""
    folder = tmp_path / "sabotage"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(dedent(code))
    monkeypatch.setenv("PYTHONPATH", str(folder))


def run(drill: Drill, target: Target, given: Given | None = None) -> Result:
    result = running.run(drill, target, given=given, seconds=90)
    assert result.outcome != "error", (result.happened, result.evidence)
    return result


def content(*folders: Path) -> dict[str, str]:
    """Every file and its digest."""
    files = [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


# The isolated copy --------------------------------------------------------------------------------------------------


def test_killed_run_loses_and_doubles_nothing_and_the_live_folder_is_not_touched(
    app: PipelineTarget, given: Given, tmp_path: Path
) -> None:
    before = content(tmp_path)
    result = run(kill_pipeline.DRILL, app, given)
    assert content(tmp_path) == before
    assert (result.outcome, result.boxes) == ("passed", (Box.STATE,))
    assert result.evidence["records"] == result.evidence["delivered"] == 12
    assert 0 < result.evidence["stored_before"] < 12
    kept = running.keep_result(app, result)
    found = running.last_results(app)["kill-mid-step"]
    assert found == kept
    assert kept.entry == 2
    assert running.changed_since(app, found) == []
    (app.root / "app.py").write_text((app.root / "app.py").read_text() + "\nanother = 1\n")
    assert running.changed_since(app, found) == ["app.py changed"]
    app.pipeline.close()


@pytest.mark.parametrize("form", ["def", "async def", "mixed"])
def test_run_of_many_records_at_a_time_is_held_when_some_of_it_is_stored(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is killed had nothing to keep, and a pipeline that works eight at a time fails for it."""
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    code = (
        dedent(APP)
        .replace('key="id")', 'key="id", concurrency=8)')
        .replace("def score", f"{form} score" if form != "mixed" else "def score")
    )
    if form == "mixed":  # A step that is not awaited and one that is, on one loop: who holds the first holds all.
        code += "\n@pay.step\nasync def later(payment: Payment, value: float) -> float:\n    return value\n"
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "input.jsonl").write_text("".join(f'{{"id": "p{n}", "amount": {n + 1}}}\n' for n in range(24)))
    spec = {name: str(tmp_path / name) for name in ("calls", "held", "go", "sink.jsonl")}
    target = resolve("app.py:pay", tmp_path)
    assert isinstance(target, PipelineTarget)
    pipeline = target.pipeline
    work = partial(watched.work, pipeline)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(
            work,
            {
                **spec,
                "sink": spec["sink.jsonl"],
                "hold_at": 6,
                "input": str(tmp_path / "input.jsonl"),
                "state": str(tmp_path),
            },
        )
        while not (tmp_path / "held").exists() and not done.done():
            time.sleep(0.01)
        assert not done.done(), done.exception()
        with pipeline.state.store.read() as tx:
            stored_then = len(list(outcomes.list(tx, runs.pipeline(tx, "payments").id)))
        (tmp_path / "go").touch()
        assert done.result()["seen"] == 24
    pipeline.close()
    assert 0 < stored_then < 6


def test_result_that_the_ledger_does_not_have_counts_for_nothing(app: PipelineTarget) -> None:
    refused = running.run(kill_crew.DRILL, app)
    assert (refused.outcome, refused.happened) == ("not_applicable", "it is about a crew")
    with running.opened(app) as opened:
        kept = running.keep_result(app, refused)
        with opened.read() as tx:
            [row] = stored.list(tx)
            assert stored.is_vouched(tx, row)
            forged = stored.DrillRun(**{**row.__dict__, "outcome": "passed", "doc": {**row.doc, "outcome": "passed"}})
            assert not stored.is_vouched(tx, forged)
    assert kept.outcome == "not_applicable"
    app.pipeline.close()


def test_copy_has_no_keys_no_network_and_writes_nowhere_else(
    app: PipelineTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    (app.root / "app.py").write_text(
        dedent(APP)
        + dedent(
            f"""
            import os, socket

            class Escape(nc.Drill):
                def run(self, pipeline, records):
                    assert "OPENAI_API_KEY" not in os.environ
                    assert os.environ["HOME"].startswith(os.environ["TMPDIR"].rsplit("/", 1)[0])
                    for name in ({str(tmp_path / "made")!r}, {str(app.root / "made")!r}):
                        try:
                            open(name, "w")
                        except OSError:
                            continue
                        raise AssertionError(f"{{name}} was written")
                    try:
                        socket.create_connection(("192.0.2.1", 80), timeout=5)
                    except OSError as error:
                        return str(error)
                    raise AssertionError("there is a network")
            """
        )
    )
    drill = {one.name: one for one in own.found(app)}["escape"]
    assert run(drill, app).outcome == "passed"
    assert list(tmp_path.glob("**/made")) == []


def test_large_folder_is_refused_unless_its_data_is_named(
    app: PipelineTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "MAX_BYTES", 10_000)
    (app.root / "model.bin").write_bytes(b"x" * 20_000)
    (app.root / ".venv").mkdir()
    (app.root / ".venv" / "more").write_bytes(b"x" * 20_000)
    with pytest.raises(UsageError, match=r"model\.bin"):
        copying.copy(app, tmp_path, ())
    with made(app, given=Given(data=(app.root / "model.bin",))) as place:
        assert (place.root / "model.bin").stat().st_size == 20_000
        assert (place.root / "model.bin").is_symlink()
        assert not (place.root / ".venv").exists()
        base = place.base
    assert not base.exists()


def test_settings_of_the_copy_reach_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "nightcrew.toml").write_text(
        dedent(
            """
            database_url = "postgresql://live/crew"
            [github]
            repository = "a/b"
            [agents.build]
            brains = ["opus"]
            hard = 2
            [budget]
            tokens = 1000
            [limits]
            min_free_gib = 1000
            [brains.opus]
            kind = "model"
            [merge]
            into = 'a "quoted" \\ branch'
            [[channel]]
            name = "pager"
            urls_env = "PAGER"
            """
        )
    )
    settings.save(tmp_path, settings.harmless(settings.load(tmp_path)))
    found = settings.load(tmp_path)
    assert not {"database_url", "github", "brains", "memory"} & set(found)
    assert not {"budget", "limits"} & set(found), "a drill's work must not end at them"
    assert found["agents"] == {"build": {}}
    assert found["merge"] == {"into": 'a "quoted" \\ branch'}
    assert found["channel"] == [{"name": "pager", "urls_env": "PAGER"}]


# Sabotage: a drill that cannot fail proves nothing ------------------------------------------------------------------


@pytest.mark.sabotages("kill_pipeline")
@storm
def test_kill_drill_fails_when_a_run_goes_on_without_storing_its_outcomes(
    app: PipelineTarget, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from nightcrew.pipeline.writer import Writer\nWriter._append = lambda self, tx, batch: None\n"
    sabotage(tmp_path, monkeypatch, code)
    result = run(kill_pipeline.DRILL, app, given)
    assert result.outcome == "failed"
    assert "nothing that was worked before the kill was in the store after it" in result.happened
    assert "records have no outcome" in result.happened


@pytest.mark.sabotages("store_pipeline")
@storm
def test_store_drill_fails_when_a_run_that_cannot_store_reports_success(
    app: PipelineTarget, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        from nightcrew.model.errors import NightcrewError
        from nightcrew.pipeline import Pipeline, Summary
        honest = Pipeline.run

        def swallowing(self, *args, **more):
            try:
                return honest(self, *args, **more)
            except NightcrewError:
                return Summary(self.name, 1, 0, {}, 0)

        Pipeline.run = swallowing
    """
    sabotage(tmp_path, monkeypatch, code)
    result = run(store.DRILL, app, given)
    assert result.outcome == "failed"
    assert result.happened == "the run reported success although its store could not be written"


SEEN: dict[str, Any] = {
    "problem": "", "before": {"outcomes": {"a": "accepted"}}, "called": ["a", "b"], "called_again": ["b"],
    "second": {"answer": {"adds_up": True}}, "delivered": ["a", "b"], "seconds": 1.0,
    "after": {"outcomes": {"a": "accepted", "b": "accepted"}, "double": [], "problems": []},
}  # fmt: skip
"""What a run of two records that was broken off after the first comes to, as the processes saw it."""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"before": {"outcomes": {}}}, "nothing that was worked before the kill was in the store after it"),
        ({"after": {**SEEN["after"], "outcomes": {"b": "accepted"}}}, "1 outcomes that were stored before the kill"),
        ({"after": {**SEEN["after"], "double": ["b"]}}, "1 records have two outcomes, such as b"),
        ({"after": {**SEEN["after"], "problems": ["entry 3: forged"]}}, "entry 3: forged"),
        ({"delivered": ["a", "b", "b"]}, "1 results were delivered twice, such as b"),
        ({"delivered": ["a"]}, "1 results were not delivered, such as b"),
        ({"called_again": ["a", "b"]}, "1 records were worked again that were stored already, such as a"),
        ({"second": {"answer": {"adds_up": False}}}, "numbers do not add up"),
        ({"second": {"error": "it ended with 1"}}, "after the kill the run does not go on: it ended with 1"),
    ],
)
def test_a_run_that_was_broken_off_is_judged_by_what_it_left(changed: dict[str, Any], said: str) -> None:
    seen = accounted.judged([{}, {}], {**SEEN, **changed}, broken_off="kill")
    assert seen.passed == (said == "")
    assert said in seen.happened


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({"answer": {}}, "the run reported success although its store could not be written"),
        ({"error": "'x'", "kind": "KeyError"}, "does not say that its store is away: 'x'"),
    ],
)
def test_store_drill_wants_an_error_that_names_the_store(
    app: PipelineTarget, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(store, "prepared", lambda _: ([{}, {}], {}))
    with made(app) as place:
        monkeypatch.setattr(place, "child", lambda *_, **__: {**SEEN, "first": first, "detected_seconds": 0.5})
        seen = store.DRILL.run(place)
    assert not seen.passed
    assert said in seen.happened


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The crew of a small repository, which has a ticket, and a home that is the test's."""
    home = tmp_path / "home"
    home.mkdir()
    env = crew.environment(home)
    crew.make(home / "repo", env)
    crew.nightcrew(home / "repo", "init", "--yes", env=env, check=True)
    monkeypatch.setenv("HOME", str(home))
    return resolve("", home / "repo")


@pytest.mark.sabotages("kill_crew")
def test_kill_drill_fails_when_a_shift_that_died_is_not_taken_over(
    repository: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(tmp_path, monkeypatch, "from nightcrew.store import locks\nlocks._is_gone = lambda held: False\n")
    before = content(tmp_path)
    result = run(kill_crew.DRILL, repository)
    assert result.outcome == "failed"
    assert result.happened.startswith("after the kill the shift does not go on:")
    assert "holds shift since" in result.happened
    assert content(tmp_path) == before, "the live repository, its state or its configuration was changed"


@pytest.mark.sabotages("store_crew")
@storm
def test_store_drill_fails_when_a_shift_does_not_wait_for_its_store(
    repository: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from nightcrew.store import connection\nconnection.BUSY_TIMEOUT_MS = 0\n"
    sabotage(tmp_path, monkeypatch, code)
    result = run(store_crew.DRILL, repository)
    assert result.outcome == "failed"
    # By the moment at which it meets the lock, the shift ends, or gives the ticket up.
    assert "did not wait for its store" in result.happened or "not done" in result.happened


# Own drills, the catalogue, the command -----------------------------------------------------------------------------


def test_own_drill_is_found_in_the_source_and_fails_with_its_own_words(
    app: PipelineTarget, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    [drill] = own.found(app)
    assert (drill.name, drill.title) == ("nothing-is-refused", "Records that break the contract are refused.")
    assert (drill.boxes, drill.injects) == ((Box.INPUTS,), "a record without an amount")
    passed = run(drill, app, given)
    assert (passed.outcome, passed.happened) == ("passed", "one of 13 was put into quarantine")
    path = app.root / "app.py"
    path.write_text(path.read_text().replace("record=Payment, ", "").replace("payment.amount", "0"))
    spec = {"module": drill.module, "class": drill.class_name, "records": [{"id": "p1"}]}
    monkeypatch.syspath_prepend(app.root)
    monkeypatch.delitem(sys.modules, "app", raising=False)  # That of another test.
    failed = own.call(app.pipeline, spec)
    app.pipeline.close()
    assert (failed["passed"], failed["happened"][:8]) == (False, "it was {")


def test_drill_of_a_box_that_there_is_not_is_named_with_its_line(app: PipelineTarget) -> None:
    path = app.root / "app.py"
    path.write_text(path.read_text().replace('("inputs",)', '("imputs",)'))
    with pytest.raises(UsageError, match=r"app\.py:\d+: 'imputs' is not a valid Box"):
        own.found(app)


def test_every_drill_says_what_it_proves() -> None:
    for name in drills.names():
        for on, module in drills.CATALOGUE[name].items():
            drill = drills._load(module)
            assert (drill.name, on in drill.on) == (name, True), module
            assert drill.boxes, name
            for text in (drill.title, drill.injects, drill.expects):
                assert len(text) > 10, name


def test_targets_are_told_apart(app: PipelineTarget) -> None:
    (app.root / "plain.py").write_text("")
    plain = resolve("plain.py", Path())
    assert isinstance(plain, CodeTarget)
    with pytest.raises(UsageError, match=r"app\.py declares a pipeline: pay"):
        resolve("app.py", Path())
    assert "never run" in drills.why_not(kill_pipeline.DRILL, plain)
    by_module = resolve("app:pay", Path())
    assert isinstance(by_module, PipelineTarget)
    assert (by_module.path, by_module.root) == (app.path, app.root)
    with pytest.raises(UsageError, match=r"no file other\.py"):
        resolve("other.py:pay", Path())
    with pytest.raises(UsageError, match="no module other"):
        resolve("other:pay", Path())
    with pytest.raises(NotFoundError, match="no drill nonsense"):
        drills.for_target("nonsense", app)


def test_fingerprint_names_every_module_that_counts(app: PipelineTarget) -> None:
    (app.root / "app.py").write_text("from rules import limit\n" + (app.root / "app.py").read_text())
    (app.root / "rules").mkdir()
    (app.root / "rules" / "__init__.py").write_text("from .limits import limit\n")
    (app.root / "rules" / "limits.py").write_text("limit = 1\n")
    (app.root / "unused.py").write_text("")
    first = app.fingerprint()
    assert set(first.parts) == {"app.py", "rules/__init__.py", "rules/limits.py", "nightcrew"}
    (app.root / "rules" / "limits.py").write_text("limit = 2\n")
    (app.root / "nightcrew.toml").write_text("")
    assert app.fingerprint().changed(first) == ["nightcrew.toml is new", "rules/limits.py changed"]


def test_command_says_what_cannot_be_drilled_here(app: PipelineTarget) -> None:
    env = {**os.environ, "HOME": str(app.root)}
    done = crew.nightcrew(app.root, "drill", "crash-loop", "--target", "app.py:pay", "--json", env=env)
    assert done.returncode == 4
    [result] = json.loads(done.stdout)
    assert result["outcome"] == "not_applicable"
