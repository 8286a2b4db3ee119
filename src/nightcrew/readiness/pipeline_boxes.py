"""The eight boxes of a pipeline: what it declares, and what its code does."""

from collections.abc import Iterable
from pathlib import Path

from nightcrew.monitoring.alerts.configured import SETTINGS_FILE, read_settings
from nightcrew.readiness.alerting_box import look_at_alerts, look_at_runbooks
from nightcrew.readiness.boxes import Box, Evidence
from nightcrew.readiness.calls import Calls, find_calls, own_files
from nightcrew.readiness.code_boxes import look_at_calls
from nightcrew.readiness.declared import Declared, DeclaredStep, declared
from nightcrew.readiness.looks import Look, relative
from nightcrew.readiness.outside_code import around, look_at_tests
from nightcrew.readiness.source import read
from nightcrew.readiness.target import PipelineTarget

_CRITICAL = frozenset(("model", "prediction", "http", "cloud", "network", "process", "database"))
_WAITS = frozenset(("model", "http"))


def look_at_pipeline(target: PipelineTarget, *, load: Evidence | None, outdated: str) -> dict[Box, Look]:
    """What a pipeline says of each box; its module is imported.

    ``load``: its last load test; ``outdated``: what of the code was another then, in words.
    """
    looks = {box: Look(box) for box in Box}
    pipeline, root = target.pipeline, target.root
    found = declared(pipeline, target.path, target.name)
    here = relative(target.path, root)
    files = own_files(target.path)
    calls = find_calls(root, files, entry=target.path)
    reached = _reached(found.steps, calls, files, target)
    settings = read_settings(pipeline.state.directory.parent / SETTINGS_FILE)
    subject = f"pipeline:{pipeline.name}"

    if pipeline.contract is None:
        looks[Box.INPUTS].gap(
            "it takes any JSON: no contract says what a record must be",
            f"Pipeline(record=MODEL); or have it proposed: nightcrew init --pipeline {target.typed} --input FILE",
            here, found.line,
        )  # fmt: skip
    else:
        looks[Box.INPUTS].code(f"every record passes the contract {pipeline.contract.name}; the rest is quarantined")
    _retries(looks[Box.RETRIES], found.steps, calls)
    look_at_alerts(looks[Box.MONITORING], settings, (subject,), pipeline.state.directory.parent)
    looks[Box.MONITORING].code("each step is measured: nightcrew metrics, and /metrics for Prometheus")
    kind = "SQLite, for the workers of one machine" if pipeline.state.on_sqlite else "Postgres, for many machines"
    looks[Box.STATE].code(f"each record's one outcome is stored in {kind}; a run that was killed goes on")
    _reviews(looks[Box.REVIEWS], found, here)
    _fallbacks(looks[Box.FALLBACKS], found.steps, reached, root)
    beside = around(root, {target.path.stem if target.path.name != "__init__.py" else target.path.parent.name})
    look_at_tests(looks[Box.TESTS], beside, target.module or target.path.stem, target.typed, load=load is not None)
    if load is not None:
        looks[Box.TESTS].evidence.append(load)
        looks[Box.TESTS].outdated = outdated
    look_at_runbooks(looks[Box.RUNBOOKS], settings)
    return looks


def _retries(look: Look, steps: Iterable[DeclaredStep], calls: Calls) -> None:
    look_at_calls(look, calls)
    look.needless = ""  # A step that fails for now is tried again in any case, by the durable queue.
    for step in steps:
        tries = f"{step.attempts} tries at once" if step.attempts > 1 else "no second try at once"
        look.code(f"{step.name}: {tries}, for transient failures only; then the durable retry queue")
    for call in calls.found:
        if call.kind in _WAITS and call.guarded_by and not call.timeout:
            look.gap(
                f"{call.what} is waited for without a time limit", "Give its client or its step a timeout", call.path,
                call.line,
            )  # fmt: skip


def _reviews(look: Look, found: Declared, here: str) -> None:
    for gate in found.gates:
        holds = [f"below a confidence of {gate.confidence:g}"] if gate.confidence is not None else []
        holds += [f"{gate.sample:.0%} for a blind audit"] if gate.sample else []
        holds += ["what its rule names"] if gate.rule else []
        look.code(f"the gate {gate.name} holds {', '.join(holds)}, until a person has signed")
    if not found.gates:
        look.gap(
            "there is no gate: every answer goes out, however unsure it is",
            "Declare one: @pipeline.gate, or pipeline.add_gate(confidence=...)",
            here, found.line,
        )  # fmt: skip


def _fallbacks(look: Look, steps: Iterable[DeclaredStep], reached: dict[str, list[str]], root: Path) -> None:
    for step in steps:
        if step.fallbacks:
            look.code(f"{step.name} falls back to {', then '.join(step.fallbacks)}")
        elif reached[step.name]:
            path = relative(step.path, root) if step.path is not None else ""
            look.gap(
                f"the step {step.name} has no fallback for when {reached[step.name][0]} fails",
                "Give it one: @pipeline.step(fallback=...)",
                path, step.line,
            )  # fmt: skip
    if not look.evidence and not look.gaps:
        look.needless = "no step calls a model or leaves the process"


def _reached(
    steps: Iterable[DeclaredStep], calls: Calls, files: list[Path], target: PipelineTarget
) -> dict[str, list[str]]:
    """What each step may come to call that can fail for reasons of its own; by names, so rather too much."""
    source = read(files, target.root, target.path)
    reached = {}
    for step in steps:
        names = source.reaches(step.function)
        reached[step.name] = [
            call.what
            for call in calls.found
            if call.kind in _CRITICAL and call.function.rpartition(".")[2] in names and call.function
        ]
    return reached
