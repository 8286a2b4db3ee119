"""Drills that fail when the safeguard they are about is broken: gates of pipelines, alerts and runbooks, tests."""

import os
import textwrap
from pathlib import Path

import pytest
from tests.faults import crew_repository as crew

from nightcrew.model.settings import Settings
from nightcrew.readiness import drills
from nightcrew.readiness.alerting_box import look_at_alerts
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.broken_step import without_body
from nightcrew.readiness.drills.place import Given
from nightcrew.readiness.drills.protocol import Result
from nightcrew.readiness.drills.running import run
from nightcrew.readiness.looks import Look
from nightcrew.readiness.target import CrewTarget, PipelineTarget, resolve

APP = """
import nightcrew as nc
from pydantic import BaseModel

class Lead(BaseModel):
    id: str
    size: int

leads = nc.Pipeline("leads", record=Lead, key="id")

@leads.step(retry=None)
def enrich(lead: Lead) -> nc.Prediction:
    return nc.Prediction(lead.size * 2, confidence=0.9)

@leads.gate
def unsure(lead, said):
    return "unsure" if said.confidence < 0.5 else None

@leads.step(retry=None)
def publish(lead, said) -> str:
    return f"{lead.id} published"
"""
TESTS = """
from app import Lead, enrich, publish

def test_enrich_doubles():
    assert enrich(Lead(id="a", size=2)).value == 4

def test_publish_says_what():
    assert publish(Lead(id="a", size=2), None) == "a published"
"""


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "app"
    made.mkdir()
    (made / "app.py").write_text(APP)
    (made / "test_app.py").write_text(TESTS)
    (made / "sample.jsonl").write_text("".join(f'{{"id": "lead-{n}", "size": {n}}}\n' for n in range(6)))
    return made


def drill(name: str, folder: Path) -> Result:
    target = PipelineTarget(folder / "app.py", "leads", home=folder)
    given = Given(variables=("PYTEST_DISABLE_PLUGIN_AUTOLOAD",))
    return run(drills.for_target(name, target), target, given=given)


def sabotage(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Change nightcrew itself in every process of the drill."""
    place = folder.parent / "sabotage"
    place.mkdir()
    (place / "sitecustomize.py").write_text(textwrap.dedent(code))
    monkeypatch.setenv("PYTHONPATH", str(place))


def test_a_gate_that_holds_passes(folder: Path) -> None:
    result = drill("gate-bypass", folder)
    assert (result.outcome, result.stood_in) == ("passed", ""), result.happened
    assert "3 forged approvals" in result.happened


@pytest.mark.skipif("NIGHTCREW_STORM_EXAMPLES" not in os.environ, reason="the storms run it: real processes")
def test_a_gate_that_holds_few_records_is_drilled_with_one_that_it_holds(folder: Path) -> None:
    step = APP.replace("nc.Prediction:", "int:").replace("nc.Prediction(lead.size * 2, confidence=0.9)", "lead.size")
    (folder / "app.py").write_text(step.replace('"unsure" if said.confidence < 0.5', '"large" if said > 26'))
    sample = folder / "sample.jsonl"
    sample.write_text("".join(f'{{"id": "lead-{n}", "size": {n}}}\n' for n in range(32)))
    target = PipelineTarget(folder / "app.py", "leads", home=folder)
    result = run(drills.for_target("gate-bypass", target), target, given=Given(sample))
    assert result.outcome == "passed", result.happened
    assert "the gate held 5 of 32 records" in result.happened


def test_a_gate_that_lets_unsure_answers_through_fails(folder: Path) -> None:
    (folder / "app.py").write_text(APP.replace('"unsure" if said.confidence < 0.5 else None', "None"))
    result = drill("gate-bypass", folder)
    assert (result.outcome, "without any confidence" in result.happened) == ("failed", True), result.happened


@pytest.mark.sabotages("gate_bypass_pipeline")
def test_approvals_that_nobody_verifies_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(
        folder, monkeypatch, "import nightcrew.pipeline.parked as p\np.is_approved = lambda *given, **more: True\n"
    )
    result = drill("gate-bypass", folder)
    assert result.outcome == "failed"
    assert "the step publish, which lies behind the gate, was called" in result.happened


def test_records_that_fail_are_told_of(folder: Path) -> None:
    result = drill("failing-records", folder)
    assert result.outcome == "passed", result.happened
    assert "pipeline-errors" in result.happened


@pytest.mark.sabotages("failing_records")
def test_alert_rules_that_are_off_fail(folder: Path) -> None:
    off = '["pipeline-errors", "pipeline-degraded", "quarantine-growing", "drift"]'
    (folder / "nightcrew.toml").write_text(f"[alerts]\ndisabled = {off}\n")
    result = drill("failing-records", folder)
    assert (result.outcome, "no alert fired" in result.happened) == ("failed", True), result.happened


@pytest.mark.sabotages("broken_step")
def test_tests_that_notice_pass_and_those_that_do_not_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # The plugins of this project cost a second a run.
    (folder / "app.py").write_text(APP[: APP.index("@leads.gate")])
    (folder / "test_app.py").write_text(TESTS[: TESTS.index("def test_publish")].replace(", publish", ""))
    result = drill("broken-step", folder)
    assert result.outcome == "passed", result.happened
    (folder / "test_app.py").write_text("from app import enrich\n\ndef test_it_is_there():\n    assert enrich\n")
    result = drill("broken-step", folder)
    assert result.outcome == "failed"
    assert "the step enrich does nothing but raise an error, and the tests still pass" in result.happened
    (folder / "test_app.py").write_text("from app import enrich\n\ndef test_it():\n    assert enrich is None\n")
    result = drill("broken-step", folder)
    assert (result.outcome, "before anything is broken" in result.happened) == ("failed", True)


def test_without_tests_there_is_nothing_to_drill(folder: Path) -> None:
    (folder / "test_app.py").unlink()
    assert drill("broken-step", folder).outcome == "not_applicable"


def test_a_body_is_replaced_and_nothing_else() -> None:
    source = "a = 1\n\n@step(\n    x=1)\ndef f(y):\n    '''Doc.'''\n    z = y\n    return z\n\nb = 2\n"
    broken = without_body(source, 3)
    assert broken is not None
    assert broken.startswith("a = 1\n\n@step(\n    x=1)\ndef f(y):\n    raise RuntimeError(")
    assert broken.endswith("\n\nb = 2\n")
    compile(broken, "app.py", "exec")
    assert without_body("f = lambda y: y\n", 1) is None
    assert without_body("def f(\n    y,\n): return y\n", 1) is None


def test_an_alert_that_nobody_is_told_of_is_a_gap_whatever_other_alerts_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", "json://127.0.0.1:9/")
    monkeypatch.delenv("NIGHTCREW_NOTIFY", raising=False)
    channels = [{"name": "chat", "urls_env": "CHAT"}, {"name": "pager", "urls_env": "PAGER"}]

    def gaps(**alerts: object) -> str:
        given = Settings.read({"channel": channels, "alerts": alerts}, source="nightcrew.toml")
        look_at_alerts(look := Look(Box.MONITORING), given, ("crew",), None)
        return "; ".join(gap.what for gap in look.gaps)

    assert gaps() == ""
    said = gaps(critical_channels=["pager"])
    assert said == "nobody is told when no-shift, disk-full fire (the channel pager: it has no address)"
    most = gaps(channels=["pager"], critical_channels=["chat"])
    assert most.startswith("nobody is told when shift-overrun, shift-failed, ")
    assert "disk-full" not in most
    assert gaps(channels=["pager"]).startswith("nobody is told when an alert fires")


@pytest.mark.sabotages("failing_commands")
def test_a_failure_without_a_runbook_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = crew.environment(tmp_path)
    crew.make(tmp_path / "repo", env)
    crew.nightcrew(tmp_path / "repo", "init", "--yes", env=env, check=True)
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / ".config" / "nightcrew"))
    code = "import nightcrew.model.errors as e\ne.NotFoundError.code = 'NC-NOWHERE'\n"
    sabotage(tmp_path / "repo", monkeypatch, code)
    target = resolve("", tmp_path / "repo")
    result = run(drills.for_target("failing-commands", target), target)
    assert isinstance(target, CrewTarget)
    target.project.close()
    assert result.outcome == "failed"
    assert "NC-NOWHERE leads to no runbook" in result.happened
