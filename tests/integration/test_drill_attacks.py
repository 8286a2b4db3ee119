"""What would make a drill say more than it has shown, or reach out of its copy: forged results, links, odd answers."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import BaseModel

import nightcrew as nc
from nightcrew.cli.drill import _chosen, _ended, _given, _line
from nightcrew.cli.drill import drill as command
from nightcrew.cli.output import OPTIONS
from nightcrew.model.clock import system_clock
from nightcrew.model.errors import BusyError, ConfigurationError, NotFoundError, UsageError
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.calls import find_calls, own_files
from nightcrew.readiness.drills import (
    abandoned,
    broken_step,
    child,
    copying,
    listening,
    own,
    processes,
    running,
    supervising,
)
from nightcrew.readiness.drills.making import made as made_up
from nightcrew.readiness.drills.place import Given, _readable, made
from nightcrew.readiness.drills.protocol import Done, NotApplicable, Observed, On, Outcome, Place, Result
from nightcrew.readiness.fingerprint import Fingerprint
from nightcrew.readiness.target import PipelineTarget, Target, resolve
from nightcrew.sandbox import runner

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


# The copy: links, folders of keys, copies in the copy -----------------------------------------------------------------


def test_links_lead_into_the_copy_and_to_what_is_named(app: PipelineTarget, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (app.root / "models" / "deep").mkdir(parents=True)
    links = {
        "loop": "loop", "dangling": "/nonexistent", "absolute": str(app.root / "app.py"), "named": str(outside / "one"),
        "relative": "../outside/folder",
    }  # fmt: skip
    (outside / "one").write_text("1")
    for name, to in links.items():
        (app.root / name).symlink_to(to)
    data = [app.root / "models" / "deep", app.root / "named", app.root / "models", outside / "folder"]
    (tmp_path / "copy").mkdir()
    root = copying.copy(app, tmp_path / "copy", data)
    assert {name: str((root / name).readlink()) for name in (*links, "models")} == {
        **links, "absolute": "app.py", "relative": str(outside / "folder"), "models": str(app.root / "models"),
    }  # fmt: skip
    assert (root / "absolute").resolve() == root.resolve() / "app.py"
    assert set(_readable(Given(data=tuple(data)))) >= {app.root / "named", outside / "one"}


def test_no_copy_is_copied_along_nor_what_lies_beside_an_application_in_the_home_folder(
    app: PipelineTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(app.root / "reviewers"))
    monkeypatch.setenv("HOME", str(app.root))
    monkeypatch.setattr(tempfile, "tempdir", str(app.root))
    for name in (".ssh", "reviewers", "rules", "rules/.hidden"):
        (app.root / name).mkdir()
        (app.root / name / "file").write_text("")
    with made(app) as place:
        assert {path.name for path in place.root.iterdir()} == {"app.py", "rules", ".nightcrew"}
        assert (place.root / "rules" / ".hidden" / "file").exists()
    assert list(app.root.glob("nightcrew-drill-*")) == []


def test_copy_of_a_drill_that_was_killed_is_removed_by_the_next(
    app: PipelineTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, kept, odd, others = (tmp_path / f"nightcrew-drill-{name}" for name in ("left", "kept", "odd", "others"))
    for folder in (left, kept, odd, others):
        folder.mkdir()
    os.close(abandoned.hold(left))
    os.close(abandoned.hold(kept))
    abandoned.keep(kept)
    os.mkfifo(odd / "held")
    with made(app) as first, made(app) as second:
        assert first.base.exists()
        assert second.base.exists()
        assert not left.exists()
    with made(app, keep=True) as place:
        pass
    with made(app):
        assert all(folder.exists() for folder in (kept, odd, others, place.base))


def test_copy_that_cannot_be_made_is_said_with_what_to_do(app: PipelineTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    result = running.run(Saying(Observed(True, "")), app)
    assert (result.outcome, "there is no folder for a copy" in result.happened) == ("error", True)
    assert "TMPDIR" in result.evidence["hint"]


def test_machine_without_a_sandbox_is_not_told_of_a_switch_that_pipelines_do_not_have(
    app: PipelineTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "choose", lambda: None)
    result = running.run(Calling(Observed(True, "")), app)
    assert result.outcome == "error"
    assert "no sandbox can hold a command" in result.happened
    assert "mode" not in result.evidence["hint"]


@dataclass(frozen=True)
class Calling(Saying):
    """A drill that runs something in the copy."""

    def run(self, place: Place) -> Observed:
        place.child("nightcrew.readiness.drills.own:call", {})
        return super().run(place)


def test_sandbox_that_has_no_loopback_is_a_reason_not_a_failure(
    app: PipelineTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(listening, "ThreadingHTTPServer", refused)
    with pytest.raises(NotApplicable, match="refuses even the loopback"):
        listening.Listener()
    answer = json.dumps({"error": "there is no loopback", "kind": "NotApplicable", "hint": ""})
    with made(app) as place, pytest.raises(NotApplicable, match="there is no loopback"):
        place.answered(Done((), 0, answer, "", 1.0))


# What is said of code that does not run -------------------------------------------------------------------------------


def test_variable_that_is_not_there_is_named_with_its_option() -> None:
    with pytest.raises(KeyError) as environment:
        os.environ["NIGHTCREW_NOT_SET"]
    with pytest.raises(KeyError) as other:
        raise KeyError("NIGHTCREW_NOT_SET")
    assert "--env NIGHTCREW_NOT_SET" in child._hint(environment.value)
    assert child._hint(other.value) == ""


def test_command_whose_time_was_over_says_so() -> None:
    assert (
        Done((), None, "half a word", "", 60.2).tail() == "its time was over after 60 s, and it was ended: half a word"
    )
    assert Done((), None, "", "", 1.0).tail() == "its time was over after 1 s, and it was ended"
    assert Done((), 1, "no", "", 1.0).tail() == "no"


def test_run_that_ends_before_its_middle_is_told_in_its_own_words(tmp_path: Path) -> None:
    answer = json.dumps({"error": "no space left", "kind": "TransientError", "hint": "Free disk space"})
    run = subprocess.Popen([sys.executable, "-S", "-c", f"print({answer!r})"], stdout=subprocess.PIPE, text=True)
    seen = supervising._middle(run, {"held": str(tmp_path / "held"), "seconds": 60})
    assert seen == {"problem": "the run ended before its middle: no space left", "hint": "Free disk space"}


def test_module_that_ends_its_process_when_it_is_imported_is_no_success(app: PipelineTarget) -> None:
    for number, statement in enumerate(("raise SystemExit(0)", "1 / 0")):
        path = app.root / f"ends{number}.py"
        path.write_text(f"{APP}\n{statement}\n")
        target = resolve(f"{path}:pay", app.root)
        assert isinstance(target, PipelineTarget)
        with pytest.raises(ConfigurationError, match=r"cannot be imported: (SystemExit: 0|ZeroDivisionError)"):
            _ = target.pipeline


def test_results_that_cannot_be_stored_are_told_and_the_others_too(
    app: PipelineTarget, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = iter([kept(app, "passed"), kept(app, "failed")])
    attempts = iter([BusyError("another process holds the database"), None])

    def keep(_: Target, result: Result) -> Result:
        if problem := next(attempts):
            raise problem
        return result

    monkeypatch.setattr(running, "run", lambda *_, **__: replace(next(results), entry=None))
    monkeypatch.setattr(running, "keep_result", keep)
    monkeypatch.setattr(OPTIONS, "json", True)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(BusyError):
        command(names=["kill-mid-step", "second-worker"], target=f"{app.path}:pay", seconds=9.0)
    assert [one["outcome"] for one in json.loads(capsys.readouterr().out)] == ["passed", "failed"]
    app.pipeline.close()


def test_name_that_there_is_not_is_met_with_the_nearest(app: PipelineTarget) -> None:
    (app.root / "app.py").write_text(APP + "\n\nclass PaysTwice(nc.Drill):\n    pass\n")
    for wrong, right in (("kill-mid-stp", "kill-mid-step"), ("pay-twice", "pays-twice")):
        with pytest.raises(NotFoundError) as error:
            _chosen(app, [wrong])
        assert f"Did you mean {right}?" in error.value.hint


def test_words_of_the_code_do_not_pass_for_lines_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    _line("happened", "all\n  evidence   entry 1 of the ledger")
    assert capsys.readouterr().out.splitlines()[1].startswith(" " * 13)


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


def test_interruption_stays_one_where_the_command_has_ended_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended_and_interrupted(process: "subprocess.Popen[str]", *_: object, **__: object) -> None:
        process.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", ended_and_interrupted)
    with pytest.raises(KeyboardInterrupt):
        processes.plain(["true"], cwd=tmp_path, environment=os.environ, timeout=10, stdin=None)
