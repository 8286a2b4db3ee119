"""Drills of pipelines: each passes where its safeguard is in place, and fails, and says why, where it is broken."""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nightcrew.monitoring.alerts import delivery
from nightcrew.pipeline import parked
from nightcrew.pipeline.chain import Chain, Step
from nightcrew.pipeline.intake import Intake, Ready
from nightcrew.readiness import runbook
from nightcrew.readiness.drills.bench import Bench
from nightcrew.readiness.drills.child import opened
from nightcrew.readiness.drills.injecting import guard_of
from nightcrew.readiness.drills.making import made, matching
from nightcrew.readiness.drills.place import LocalPlace
from nightcrew.readiness.drills.protocol import NotApplicable, Observed
from nightcrew.readiness.drills.reached import calls_of
from nightcrew.readiness.drills.running import run
from nightcrew.readiness.drills.samples import records_for
from nightcrew.readiness.target import PipelineTarget
from nightcrew.reliability import Contract, FailureClass, Retry, failure
from nightcrew.reliability import guarded as guarding
from nightcrew.store import outcomes

APP = """
import urllib.request
from typing import Any
from pydantic import BaseModel, Field
import nightcrew as nc

class Tx(BaseModel):
    id: str
    amount: float = Field(gt=0, le=1000)
    note: str = Field(min_length=1)

def rules(tx):
    return nc.Prediction("fine", 0.6)

def broken(tx):
    raise RuntimeError("the fallback needs the model too")

def shorter(tx):
    return tx.model_copy(update={"note": tx.note[:100]}), "the note was cut"

def silent(tx):
    return tx.model_copy(update={"note": tx.note[:100]}), ""

def ask(text):
    from anthropic import Anthropic
    return Anthropic().messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": text}])

def fetch(tx):
    return urllib.request.urlopen("https://rates.invalid/")

app = nc.Pipeline("app", key="id", PIPELINE)

@app.step(STEP)
def score(tx):
    if tx.id == "never":
        HELPER(tx.note)
    return nc.Prediction("fine", 0.9)
"""
WHOLE = "retry=nc.Retry(attempts=3, base=0.01), timeout=5.0, fallback=rules, truncate=shorter"
ALL = {
    "transient-storm": "transient_storm",
    "rate-limit": "rate_limit",
    "permanent-error": "permanent_error",
    "corrupt-record": "corrupt_record",
    "schema-drift": "schema_drift",
    "missing-model": "missing_model",
    "slow-model": "slow_model",
    "context-overflow": "context_overflow",
}
"""The drills that inject faults into steps."""
OTHERS = {"failing-records": "failing_records", "gate-bypass": "gate_bypass_pipeline"}


class InThisProcess(LocalPlace):
    """A copy whose child is this process: a sandboxed one costs a second each, and is tested at the end."""

    def child(
        self,
        function: str,
        spec: Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        loads: bool = True,
    ) -> Any:
        module, _, name = function.partition(":")
        assert isinstance(self.target, PipelineTarget)
        pipeline, _ = opened(self.target.spec, self.root)
        try:
            found = getattr(importlib.import_module(module), name)(pipeline, json.loads(json.dumps(spec)))
        finally:
            pipeline.close()
        return json.loads(json.dumps(found, default=str))


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "path", [*sys.path])


def app(folder: Path, step: str = WHOLE, pipeline: str = "record=Tx", helper: str = "str") -> PipelineTarget:
    path = folder / "app" / "app.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(APP.replace("PIPELINE", pipeline).replace("STEP", step).replace("HELPER", helper))
    return PipelineTarget(path, "app", home=folder)


def drilled(name: str, target: PipelineTarget, sample: Path | None = None) -> Observed:
    folder = target.path.parent.parent
    (folder / "scratch").mkdir()
    place = InThisProcess(
        base=folder, root=target.root, target=target, live=target, environment={}, seconds=60, input=sample,
        readable=(), tell=lambda _: None,
    )  # fmt: skip
    drill = importlib.import_module(f"nightcrew.readiness.drills.{(ALL | OTHERS)[name]}").DRILL
    observed: Observed = drill.run(place)
    return observed


def failing(observed: Observed, *words: str) -> None:
    assert not observed.passed
    for word in words:
        assert word in observed.happened, observed.happened


@pytest.mark.parametrize("name", ALL)
def test_a_drill_passes_where_its_safeguard_is_in_place(tmp_path: Path, name: str) -> None:
    observed = drilled(name, app(tmp_path))
    assert observed.passed, observed.happened
    assert observed.evidence
    assert None not in (observed.detected_seconds, observed.recovered_seconds)


@pytest.mark.parametrize("name", ["transient-storm", "rate-limit", "permanent-error", "slow-model"])
def test_a_drill_passes_where_the_durable_queue_is_the_safeguard(tmp_path: Path, name: str) -> None:
    observed = drilled(name, app(tmp_path, "retry=nc.Retry(attempts=2, base=0.01), timeout=5.0"))
    assert observed.passed, observed.happened


# Sabotage: one safeguard is broken, in the application or in nightcrew itself ----------------------------------------

BROKEN_APPS = [
    ("transient-storm", {"step": "retry=None, fallback=rules", "helper": "fetch"}, "urllib.request.urlopen",
     "without a retry"),
    ("transient-storm", {"step": "retry=None"}, "step score", "without a retry and has no fallback"),
    ("transient-storm", {"step": "", "pipeline": "record=Tx, requeue=nc.Requeue(rounds=0)"}, "in quarantine", "score"),
    ("corrupt-record", {"pipeline": "record=None"}, "no input contract"),
    ("corrupt-record", {"pipeline": "record=dict[str, Any]"}, "the contract asks nothing"),
    ("schema-drift", {"pipeline": "record=None"}, "no input contract"),
    ("schema-drift", {"pipeline": "record=Tx, max_rejected=1.0"}, "field amount", "nothing halted the run"),
    ("missing-model", {"step": ""}, "step score has no fallback", "3 of 3 records got no answer"),
    ("missing-model", {"step": "fallback=broken"}, "its fallback broken did not answer"),
    ("slow-model", {"step": "fallback=rules"}, "no time limit (timeout=)"),
    ("context-overflow", {"step": "", "helper": "ask"}, "no truncate= and no fallback="),
    ("context-overflow", {"step": "truncate=silent"}, "nothing in the outcome says so"),
    ("context-overflow", {"step": "truncate=lambda tx: (tx, 'as it is')"}, "gave back as much as it was given"),
]  # fmt: skip


@pytest.mark.sabotages("schema_drift", "context_overflow")
@pytest.mark.parametrize(
    ("name", "options", "words"), [(name, options, words) for name, options, *words in BROKEN_APPS]
)
def test_a_drill_fails_where_the_application_lacks_the_safeguard(
    tmp_path: Path, name: str, options: dict[str, str], words: list[str]
) -> None:
    sample = tmp_path / "sample.jsonl"
    rows = [{"id": f"r{number}", "amount": number + 1, "note": "short"} for number in range(6)]
    sample.write_text("".join(json.dumps(row) + "\n" for row in rows))
    failing(drilled(name, app(tmp_path, **options), sample), *words)


@pytest.mark.sabotages("transient_storm")
def test_storm_fails_where_nothing_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "next_delay", lambda *_: None)
    failing(drilled("transient-storm", app(tmp_path)), "step score was not called again", "3 attempts")


def test_storm_fails_where_what_passes_is_taken_for_permanent(tmp_path: Path) -> None:
    with failure.registered(ConnectionResetError, FailureClass.AUTH):
        observed = drilled("transient-storm", app(tmp_path, "retry=nc.Retry(attempts=3, base=0.01)"))
    failing(observed, "in quarantine, as permanent.auth")


@pytest.mark.sabotages("rate_limit")
def test_rate_limit_fails_where_retry_after_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "retry_after", lambda *_, **__: None)
    failing(drilled("rate-limit", app(tmp_path)), "was called again", "429 that asked to wait 2 s")


def test_rate_limit_fails_where_the_queue_comes_back_too_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "retry_after", lambda *_, **__: None)
    target = app(tmp_path, "retry=None", "record=Tx, requeue=nc.Requeue(base=0.1)")
    failing(drilled("rate-limit", target), "step score", " 2 s")


@pytest.mark.sabotages("permanent_error")
def test_permanent_error_fails_where_everything_is_retried(tmp_path: Path) -> None:
    with failure.registered(Exception, FailureClass.OVERLOADED):
        observed = drilled("permanent-error", app(tmp_path))
    failing(observed, "step score was called up to 3 times for a call that can never succeed")


def test_permanent_error_fails_where_a_failure_is_reported_as_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Chain._after

    def swallow(self: Chain, flow: Any, step: Any, result: Any, index: int) -> Any:
        if result.status == "failed":
            result.status, result.value = "accepted", {}
        return real(self, flow, step, result, index)

    monkeypatch.setattr(Chain, "_after", swallow)
    observed = drilled("permanent-error", app(tmp_path, "retry=None"))
    failing(observed, "records whose call failed are reported as accepted")


def test_permanent_error_fails_where_what_is_released_is_not_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked, "release", lambda *_, **__: 0)
    failing(drilled("permanent-error", app(tmp_path, "retry=None")), "released after the fix are quarantined")


@pytest.mark.parametrize("name", ["permanent-error", "corrupt-record"])
def test_a_drill_fails_where_failures_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = outcomes.sealed

    def dropping(rows: Any) -> Any:
        return real(row for row in rows if row.state != "quarantined")

    monkeypatch.setattr(outcomes, "sealed", dropping)
    failing(drilled(name, app(tmp_path, "retry=None")), "no outcome at all: they are lost")


@pytest.mark.sabotages("corrupt_record")
def test_corrupt_record_fails_where_a_damaged_record_is_worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Intake.prepare

    def loose(self: Intake, start: int, end: int, raw: Any) -> Ready:
        found = real(self, start, end, raw)
        if found.row is None or found.row.kind != "permanent.contract":
            return found
        return Ready(start, end, found.origin, {"id": "x"}, None)

    monkeypatch.setattr(Intake, "prepare", loose)
    target = app(tmp_path, "retry=None, fallback=rules")
    failing(drilled("corrupt-record", target), "without its field", "was taken for a good one (fallback)")


@pytest.mark.sabotages("missing_model")
def test_missing_model_fails_where_a_fallback_does_not_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = guarding._Guard._finish

    def quiet(self: Any, value: Any, arguments: Any, began: float, flow: Any, made_by: str) -> Any:
        return real(self, value, arguments, began, None, made_by)

    monkeypatch.setattr(guarding._Guard, "_finish", quiet)
    failing(drilled("missing-model", app(tmp_path)), "made without the model, and do not say so")


@pytest.mark.sabotages("slow_model")
def test_slow_model_fails_where_a_limit_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarding, "call_within", lambda _, function, args, named: function(*args, **named))
    failing(drilled("slow-model", app(tmp_path)), "its limit of 5 s was not kept")


@pytest.mark.sabotages("missing_model")
def test_missing_model_fails_where_it_is_asked_for_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retry, "next_delay", lambda self, attempt, *_: 0.0 if attempt < self.attempts else None)
    failing(drilled("missing-model", app(tmp_path)), "step score tried to load its model 3 times for one record")


@pytest.mark.sabotages("failing_records")
def test_failing_records_fails_where_nobody_is_told_and_nothing_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "notify", lambda *_, **__: [])
    real = runbook.exists
    monkeypatch.setattr(runbook, "exists", lambda code: code != "permanent.auth" and real(code))
    observed = drilled("failing-records", app(tmp_path, "retry=None"))
    failing(observed, "no message about it arrived at a channel", "permanent.auth leads to no runbook")


GATED = """
app = nc.Pipeline("app", key="id")

@app.step(retry=None)
def double(record):
    return record["id"] * 2

@app.gate
def odd(record, value):
    return "it is odd" if record["id"] % 2 else None
"""


@pytest.mark.sabotages("gate_bypass_pipeline")
@pytest.mark.parametrize("sabotaged", [False, True])
def test_gate_with_numbers_as_keys_passes_and_fails_where_nobody_can_approve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sabotaged: bool
) -> None:
    target = app(tmp_path)
    target.path.write_text("import nightcrew as nc\n" + GATED)
    sample = tmp_path / "sample.jsonl"
    sample.write_text("".join(f'{{"id": {number}}}\n' for number in range(1, 13)))
    if not sabotaged:
        observed = drilled("gate-bypass", target, sample)
        assert observed.passed, observed.happened
        return
    monkeypatch.setattr(parked, "finish", lambda *_, **__: None)
    failing(drilled("gate-bypass", target, sample), "the record that was truly approved is")


# What drills work with ------------------------------------------------------------------------------------------------


def test_context_overflow_does_not_apply_where_no_text_is_read(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no step asks a language model"):
        drilled("context-overflow", app(tmp_path, ""))


def test_a_pipeline_without_contract_and_sample_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="--input FILE"):
        drilled("transient-storm", app(tmp_path, pipeline="record=None"))


@pytest.mark.parametrize("pattern", [r"^tx-\d{6}$", r"[A-Z]{2}-[0-9a-f]+", r"^(in|out)\.\w{3,5}$"])
def test_values_are_made_that_match_a_pattern_and_differ(pattern: str) -> None:
    found = {matching(pattern, number) for number in range(1, 9)}
    assert len(found) == 8
    contract = Contract({"type": "string", "pattern": pattern})
    assert all(contract.validate(text) for text in found)


def test_values_are_made_that_satisfy_a_json_schema() -> None:
    schema = {
        "type": "object",
        "required": ["id", "lines"],
        "properties": {
            "id": {"type": "string", "minLength": 12},
            "rate": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "count": {"type": "integer", "minimum": 7, "maximum": 9},
            "when": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            "kind": {"enum": ["a", "b"]},
            "lines": {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"$ref": "#/$defs/line"}},
        },
        "$defs": {"line": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}},
    }
    contract = Contract(schema)
    for number in range(1, 20):
        assert contract.validate(made(schema, number))


def test_records_come_from_the_input_of_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = app(tmp_path)
    given = tmp_path / "real.jsonl"
    given.write_text('{"id": "real-1", "amount": 5, "note": "n"}\n{"id": "real-1", "amount": 6, "note": "n"}\nno\n')
    pipeline = target.pipeline
    pipeline.run(given)
    pipeline.close()
    before = {path: path.read_bytes() for path in (tmp_path / ".nightcrew").rglob("*") if path.is_file()}
    asked: list[Any] = []

    def child(_self: LocalPlace, function: str, spec: Mapping[str, Any], **_: Any) -> Any:
        asked.append(function)
        return importlib.import_module(function.partition(":")[0]).known(pipeline, spec)

    monkeypatch.setattr(InThisProcess, "child", child)
    place = InThisProcess(
        base=tmp_path, root=target.root, target=target, live=target, environment={}, seconds=60, input=None,
        readable=(), tell=lambda _: None,
    )  # fmt: skip
    assert [record["id"] for record in records_for(place)] == ["real-1"]
    assert {path: path.read_bytes() for path in (tmp_path / ".nightcrew").rglob("*") if path.is_file()} == before


def test_few_damaged_records_do_not_take_the_keys_of_good_ones(tmp_path: Path) -> None:
    sample = tmp_path / "sample.jsonl"
    sample.write_text("".join(f'{{"id": "r{number}", "amount": 5, "note": "n"}}\n' for number in range(3)))
    observed = drilled("corrupt-record", app(tmp_path, "retry=None", "record=Tx, concurrency=8"), sample)
    assert observed.passed, observed.happened


def test_calls_are_found_in_a_step_that_is_made_by_a_function_or_is_part_of_one(tmp_path: Path) -> None:
    target = app(tmp_path)
    target.path.write_text(
        target.path.read_text()
        + """
from functools import partial

def making(call):
    def step(tx):
        return call(tx)
    return step

app.step(name="made")(making(fetch))
app.step(name="part")(partial(making(fetch)))
"""
    )
    pipeline, _ = opened(target.spec, target.root)
    steps = [stage for stage in pipeline._stages if isinstance(stage, Step)]
    functions = [(step.name, guard_of(step)._function) for step in steps]
    found = calls_of(functions, target.path, target.root)
    assert [[call["what"] for call in found[name]] for name in ("made", "part")] == [["urllib.request.urlopen"]] * 2
    pipeline.close()


def test_a_step_that_needs_the_network_is_stood_in_for(tmp_path: Path) -> None:
    target = app(tmp_path, "fallback=rules")
    text = target.path.read_text().replace('if tx.id == "never":', "if True:").replace("str(tx.note)", "fetch(tx)")
    target.path.write_text(text.replace("https://rates.invalid/", "http://127.0.0.1:9/"))
    observed = drilled("missing-model", target)
    assert observed.passed, observed.happened
    assert "score was answered by its fallback rules (URLError" in observed.stood_in


def test_a_storm_reaches_a_step_behind_a_gate_and_an_async_one(tmp_path: Path) -> None:
    target = app(tmp_path)
    target.path.write_text(
        target.path.read_text()
        + """
@app.gate
def always(tx, prediction):
    return "a person looks first"

@app.step(retry=nc.Retry(attempts=2, base=0.01))
async def publish(tx, prediction):
    return "published"
"""
    )
    observed = drilled("transient-storm", target)
    assert observed.passed, observed.happened
    assert "publish: failures of a moment were retried" in observed.happened
    assert "its gates stood open" in observed.stood_in


# In the sandbox, in a process of its own -----------------------------------------------------------------------------

DROPPING = """
from nightcrew.store import outcomes
real = outcomes.sealed
outcomes.sealed = lambda rows: real(row for row in rows if row.state != "quarantined")
"""


def test_a_sabotaged_nightcrew_is_seen_in_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = app(tmp_path)
    drill = importlib.import_module("nightcrew.readiness.drills.corrupt_record").DRILL
    whole = run(drill, target)
    assert whole.outcome == "passed", whole.happened
    sabotage = target.root / "sabotage"
    sabotage.mkdir()
    (sabotage / "sitecustomize.py").write_text(DROPPING)
    monkeypatch.setenv("PYTHONPATH", str(sabotage))
    broken = run(drill, target)
    assert broken.outcome == "failed"
    assert "they are lost" in broken.happened


def test_a_bench_says_what_a_step_is_declared_with(tmp_path: Path) -> None:
    target = app(tmp_path, WHOLE, helper="ask")
    (tmp_path / "scratch").mkdir()
    pipeline, _ = opened(target.spec, target.root)
    spec = {"samples": {"given": [], "last": {}}, "scratch": str(tmp_path / "scratch"), "root": str(target.root),
            "entry": str(target.path)}  # fmt: skip
    bench = Bench(pipeline, spec)
    facts = bench.facts(bench.steps[0])
    pipeline.close()
    assert (facts["attempts"], facts["fallbacks"], facts["timeout"], facts["truncate"]) == (3, ["rules"], 5.0, True)
    assert [call["kind"] for call in facts["calls"]] == ["model"]
