"""What would make a drill say more than it has shown, or reach out of its copy: forged results, links, odd answers."""

import json
import os
import signal
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

import nightcrew as nc
from nightcrew.cli.drill import _ended, _given
from nightcrew.model.clock import system_clock
from nightcrew.model.errors import UsageError
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.calls import find_calls, own_files
from nightcrew.readiness.drills import broken_step, own, running
from nightcrew.readiness.drills.making import made as made_up
from nightcrew.readiness.drills.place import made
from nightcrew.readiness.drills.protocol import NotApplicable, Observed, On, Outcome, Place, Result
from nightcrew.readiness.fingerprint import Fingerprint
from nightcrew.readiness.target import PipelineTarget, Target, resolve

APP = """
import nightcrew as nc

pay = nc.Pipeline("payments")


@pay.step
def score(payment):
    return payment
"""


@dataclass(frozen=True)
class Saying:
    """A drill that has seen what it is told."""

    seen: Observed
    name: str = "saying"
    title: str = "says what it is told"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = "nothing \ud83d"
    expects: str = "nothing"

    def applies(self, target: Target) -> str:
        return ""

    def run(self, place: Place) -> Observed:
        return self.seen


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PipelineTarget:
    """A pipeline in a folder of its own."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    found = resolve(f"{folder}/app.py:pay", folder)
    assert isinstance(found, PipelineTarget)
    return found


def kept(app: PipelineTarget, outcome: Outcome) -> Result:
    parts = app.fingerprint()
    result = Result(
        drill="kill-mid-step", target=app.label, outcome=outcome, boxes=(Box.STATE,), injected="", expected="",
        happened="", detected_seconds=None, recovered_seconds=None, stood_in="", started=system_clock(), seconds=1,
        evidence={}, fingerprint=parts.digest, parts=parts.parts,
    )  # fmt: skip
    return running.keep_result(app, result)


@pytest.mark.parametrize(
    "forgery",
    [
        "INSERT INTO drill_runs (target, drill, outcome, started, fingerprint, doc, entry)"
        " SELECT target, drill, outcome, started, fingerprint, doc, entry FROM drill_runs WHERE id = 1",
        "DELETE FROM drill_runs WHERE id = 2",
    ],
    ids=["the old one again", "the new one gone"],
)
def test_an_old_pass_cannot_be_put_in_the_place_of_a_failure(app: PipelineTarget, forgery: str) -> None:
    kept(app, "passed")
    kept(app, "failed")
    assert running.last_results(app)["kill-mid-step"].outcome == "failed"
    with closing(sqlite3.connect(app.pipeline.state.directory / "nightcrew.db")) as database:
        database.execute(forgery)
        database.commit()
    assert running.last_results(app) == {}
    app.pipeline.close()


def test_a_link_in_the_folder_is_not_written_through(app: PipelineTarget, tmp_path: Path) -> None:
    shared = tmp_path / "shared.toml"
    shared.write_text('# of all applications\ndatabase_url = "sqlite:///somewhere"\n[notify]\nurls_env = "PAGER"\n')
    before = shared.read_bytes()
    (app.root / "nightcrew.toml").symlink_to(shared)
    with made(app) as place:
        assert "PAGER" in (place.root / "nightcrew.toml").read_text()
        assert "database_url" not in (place.root / "nightcrew.toml").read_text()
    assert shared.read_bytes() == before


def test_what_cannot_be_stored_is_made_so(app: PipelineTarget) -> None:
    facts = {"rate": float("nan"), "half": "\ud83d", "path": app.root}
    result = running.run(Saying(Observed(True, "half \ud83d" + "x" * 5_000_000, evidence=facts)), app)
    stored = running.keep_result(app, result)
    assert running.last_results(app)["saying"] == stored
    assert stored.happened.startswith("half ?xxx")
    assert len(stored.happened) < 5000
    assert stored.evidence == {"rate": "NaN", "half": "?", "path": str(app.root)}
    big = running.run(Saying(Observed(True, "", evidence={"all": "x" * 5_000_000})), app)
    assert list(big.evidence) == ["left_out"]
    app.pipeline.close()


# What a result holds for ---------------------------------------------------------------------------------------------


def changed(app: PipelineTarget, path: Path, text: str) -> list[str]:
    """What is said to be different once ``path`` holds ``text``."""
    before: Fingerprint = app.fingerprint()
    path.write_text(text)
    return app.fingerprint().changed(before)


def test_a_result_goes_with_its_drill_its_tests_and_the_settings_of_its_state(app: PipelineTarget) -> None:
    assert changed(app, app.root / "my_drills.py", "import nightcrew") == ["my_drills.py is new"]
    assert changed(app, app.root / "my_drills.py", "") == ["my_drills.py changed"]
    assert changed(app, app.root / "test_app.py", "import app\n") == ["test_app.py is new"]
    (app.root.parent / ".nightcrew").mkdir()
    assert changed(app, app.root.parent / "nightcrew.toml", "") == ["../nightcrew.toml is new"]


def test_source_that_nobody_can_parse_or_that_leads_above_its_folder_is_taken_as_it_is(app: PipelineTarget) -> None:
    (app.root.parent / "common.py").write_text("")
    sources = ("from ..common import x\n", "x = " + "-" * 200_000 + "1\n", "x = a" + ".b" * 100_000, "\0")
    for number, source in enumerate(sources):
        path = app.root / f"odd{number}.py"
        path.write_text(source)
        target = resolve(f"{path}:pay", app.root)
        assert set(target.fingerprint().parts) == {path.name, "nightcrew"}
        assert own.found(target) == []
        find_calls(app.root, own_files(path), entry=path)


# Drills of the user's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kill-mid-step", "game-day", "same"])
def test_own_drill_cannot_take_the_name_of_another(app: PipelineTarget, name: str) -> None:
    one = f"\n\nclass One(nc.Drill):\n    name = {name!r}\n"
    (app.root / "app.py").write_text(APP + one + one.replace("One", "Two"))
    with pytest.raises(UsageError, match=f"another drill {name}"):
        own.found(app)


@pytest.mark.parametrize("said", [False, True, {"ok": False}])
def test_own_drill_that_returns_a_value_has_not_passed(
    app: PipelineTarget, said: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(nc.Drill):
        def run(self, pipeline: object, records: object) -> str | None:
            return said  # type: ignore[return-value]

    monkeypatch.setattr(sys.modules[__name__], "Odd", Odd, raising=False)
    with pytest.raises(UsageError, match="says nothing of whether it passed"):
        own.call(app.pipeline, {"module": __name__, "class": "Odd", "records": []})
    app.pipeline.close()


# Being told to end ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended(Saying):
    """A drill in whose middle the command is told to end, as a service manager does."""

    def run(self, place: Place) -> Observed:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().run(place)


def test_a_command_that_is_told_to_end_removes_the_copy(
    app: PipelineTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        with pytest.raises(SystemExit) as ended:
            running.run(Ended(Observed(True, "")), app)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert list(tmp_path.glob("nightcrew-drill-*")) == []


# What is given along -------------------------------------------------------------------------------------------------


def test_what_is_given_along_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        _given(tmp_path / "none.jsonl", [], [])
    with pytest.raises(UsageError, match="there is no "):
        _given(None, [tmp_path / "none"], [])
    with pytest.raises(UsageError, match="NIGHTCREW_NOT_SET is not set"):
        _given(None, [], ["NIGHTCREW_NOT_SET"])


class Chain(BaseModel):
    """A record that holds another of its kind, or none."""

    number: int
    next: "Chain | None"


def test_a_record_that_may_hold_another_comes_to_an_end() -> None:
    Chain.model_validate_json(json.dumps(made_up(Chain.model_json_schema(), 1)))


# Tests that do not end say nothing -----------------------------------------------------------------------------------


def test_tests_that_were_cut_off_have_not_noticed_a_broken_step(
    app: PipelineTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app.root / "test_app.py").write_text("import app\n")
    before = {"status": 0, "said": "1 passed", "seconds": 1.0}
    cut = {"step": "score", "status": 124, "said": "they did not end within 1 s", "seconds": 1.0}
    with made(app) as place:
        monkeypatch.setattr(place, "child", lambda *_: {"before": before, "broken": [cut]})
        with pytest.raises(NotApplicable, match="with score broken the tests came to no end"):
            broken_step.DRILL.run(place)
