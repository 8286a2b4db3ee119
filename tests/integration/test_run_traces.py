"""The trace of a run: one over all its processes, with a record now and then, and the same ids in the logs."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.conftest import Cli
from tests.otlp_server import Collector, collector, silent_collector

from nightcrew.monitoring import telemetry
from nightcrew.pipeline.state import find_state

APP = """
import asyncio
import nightcrew as nc

fraud = nc.Pipeline("fraud", key="id", max_rejected=0.5)

@fraud.step
def score(record):
    return nc.Prediction(record["amount"] * 2, 0.9)

slow = nc.Pipeline("slow", key="id", concurrency=4)

@slow.step(retry=nc.Retry(attempts=1))
async def ask(record):
    await asyncio.sleep(0)
    raise ValueError("the secret of the record is 4711")
"""


@pytest.fixture
def otlp() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def cli(tmp_path: Path, otlp: Collector) -> Cli:
    for name in ("home", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "app.py").write_text(APP)
    lines = [json.dumps({"id": f"r{number}", "amount": number}) for number in range(400)]
    (tmp_path / "folder" / "in.jsonl").write_text("\n".join(lines) + "\n")
    return Cli(
        tmp_path / "home", tmp_path / "folder", {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "NIGHTCREW_LOG": "json"}
    )


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_a_run_is_one_trace_over_its_processes(more: tuple[str, ...], cli: Cli, otlp: Collector) -> None:
    done = cli("run", "app.py:fraud", "--input", "in.jsonl", *more)
    assert done.status == 0, done.err
    run = otlp.one("run")
    assert run.attributes["nightcrew.pipeline"] == "fraud"
    assert run.attributes["nightcrew.records.accepted"] == 400
    assert {span.trace for span in otlp.spans} == {run.trace}
    chunks = otlp.named("chunk")
    assert len(chunks) == (16 if more else 1)
    assert {one.parent for one in (*chunks, *otlp.named("due"))} == {run.id}
    records = otlp.named("record")
    assert 1 <= len(records) <= len(chunks)
    assert {one.parent for one in records} <= {one.id for one in chunks}
    steps = otlp.named("step")
    assert [one.attributes["nightcrew.step"] for one in steps] == ["score"] * len(records)
    assert {one.parent for one in steps} == {one.id for one in records}
    logged = [json.loads(line) for line in done.err.splitlines()]
    assert {entry["trace_id"] for entry in logged} == {run.trace}
    assert {entry["event"] for entry in logged} == {"run", "chunk", "due"}
    os.environ["NIGHTCREW_CONFIG_DIR"] = str(cli.home / ".config" / "nightcrew")
    try:
        state = find_state(cli.folder)
        assert telemetry.trace_id_of(state.repository_id, f"run:{run.attributes['nightcrew.run.id']}") == run.trace
        state.close()
    finally:
        del os.environ["NIGHTCREW_CONFIG_DIR"]
    assert ({"pipeline": "fraud", "state": "accepted"}, 400.0) in otlp.metrics["nightcrew_records"]


def test_a_failed_step_is_named_by_its_class_and_not_by_its_words(cli: Cli, otlp: Collector) -> None:
    cli("run", "app.py:slow", "--input", "in.jsonl")
    [record, *_] = otlp.named("record")
    [step, *_] = otlp.named("step")
    assert (record.failed, step.failed, step.parent) == (True, True, record.id)
    assert record.attributes["nightcrew.state"] == "quarantined"
    assert step.attributes["error.type"] == "bug"
    assert not any(b"4711" in raw for raw in otlp.raw)


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_a_run_ends_though_the_collector_does_not_answer(more: tuple[str, ...], cli: Cli) -> None:
    """It would be waited for for minutes, if it was for its own time."""
    with silent_collector() as silent:
        cli.more["OTEL_EXPORTER_OTLP_ENDPOINT"] = silent.url
        cli.more["OTEL_EXPORTER_OTLP_TIMEOUT"] = "300"
        del cli.more["NIGHTCREW_LOG"]
        done = cli("run", "app.py:fraud", "--input", "in.jsonl", *more, timeout=30)
    assert done.status == 0, done.err
    assert "the last metrics were not sent" in done.err
    assert "the last spans were not sent" in done.err
    assert "Traceback" not in done.err
