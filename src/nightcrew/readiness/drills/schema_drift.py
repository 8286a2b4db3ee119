"""An input whose records have changed: the run halts before anything is worked, and names the field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.corrupt_record import NO_CONTRACT
from nightcrew.readiness.drills.judging import ANSWERED, Facts, asked, brief, in_state, judged, on_bench, shortened
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline
    from nightcrew.readiness.drills.bench import Bench

_MANY = 240
"""More than a run looks at before it judges."""
_DRIFT = "NC-DRIFT"


@dataclass(frozen=True)
class SchemaDrift:
    """See ``Drill``."""

    name: str = "schema-drift"
    title: str = "an input whose fields have changed halts the run before anything is worked"
    boxes: tuple[Box, ...] = (Box.INPUTS, Box.MONITORING)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = f"an input of {_MANY} records in which one field has another name, as after a change upstream"
    expects: str = (
        "the run halts before a step has seen a record, and names the field; with the input mended, every record is"
        " worked"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - whether there is a contract is seen in the child
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject")
        if answer.get("no_contract"):
            return judged(answer, [NO_CONTRACT.replace("a damaged one", "a changed one")], "")
        wrong = _wrong(answer)
        told = answer["run"]["error"] or {}
        right = (
            f"the run halted before a step was called ({shortened(told.get('message', ''))}); with the input mended all"
            f" {answer['mended']['records']} records were worked"
            if answer["required"]
            else f"the run reports that the field {answer['field']} is not as it was"
        )
        facts = {**answer, "run": brief(answer["run"]), "mended": brief(answer["mended"])}
        return judged(
            facts, wrong, right, detected=answer["detected"], recovered=None if wrong else answer["recovered"]
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: a run over an input that has drifted, then one over the input as it should be."""
    if pipeline.contract is None:
        return {"no_contract": True}
    return on_bench(pipeline, spec, _drift)


def _drift(bench: "Bench") -> dict[str, Any]:
    from nightcrew.readiness.drills.injecting import Fault
    from nightcrew.readiness.drills.making import resolved

    assert bench.pipeline.contract is not None  # noqa: S101 - inject has looked
    records = [record for record in bench.records if isinstance(record, dict)]
    schema = bench.pipeline.contract.json_schema()
    schema = dict(resolved(schema, schema, records[0] if records else None))
    required = [name for name in schema.get("required", ()) if records and name in records[0]]
    names = required or [name for name in schema.get("properties", {}) if records and name in records[0]]
    field = next((name for name in names if name != bench.pipeline.key), names[0] if names else "")
    if not field:
        return {"not": "the contract names no field that could have changed"}
    having = [record for record in records if field in record]
    drifted = [{f"{name}_v2" if name == field else name: value for name, value in one.items()} for one in having]
    count = _MANY // len(drifted) + 1
    fault = Fault(lambda _: None)
    # A contract with alternatives names no fields: what they were is learned from a run before.
    if bench.pipeline.contract.field_names is None:
        bench.work("drift", {}, bench.records[: len(bench.records) // 2], file="before.jsonl")
    run = bench.work("drift", {bench.steps[0].name: fault}, (drifted * count)[:_MANY])
    called = len(fault.calls)
    mended = bench.work("drift", {}, bench.records, file="mended.jsonl")
    of_mended = {one["key"] for one in in_state(mended["outcomes"], *ANSWERED)}
    return {
        "field": field,
        "required": bool(required),
        "max_rejected": bench.pipeline.max_rejected,
        "called": called,
        "step": bench.steps[0].name,
        "run": run,
        "mended": mended,
        "answered": len(of_mended),
        "detected": run["seconds"],
        "recovered": run["seconds"] + mended["seconds"],
    }


def _wrong(answer: Facts) -> list[str]:
    done, mended, field = answer["run"], answer["mended"], answer["field"]
    if answer["called"] and answer["required"]:
        return [f"step {answer['step']} was called {answer['called']} times with records whose field {field} is gone"]
    if done["error"] is None and answer["required"]:
        refused = len(in_state(done["outcomes"], "quarantined"))
        return [f"the field {field} was gone from every record, and nothing halted the run: {refused} of"
                f" {done['records']} are in quarantine (max_rejected={answer['max_rejected']:g})"]  # fmt: skip
    if done["error"] is not None and done["error"]["code"] != _DRIFT:
        return [f"the run broke instead of halting: {done['error']['message']}"]
    named = done["error"]["message"] if done["error"] else " ".join(change["field"] for change in done["changes"])
    if field not in named:
        return [
            f"the field {field} was gone from every record, and nothing that the run says names it: {shortened(named)}"
        ]
    if mended["error"]:
        return [f"with the input mended, the run broke: {mended['error']['message']}"]
    missing = mended["records"] - answer["answered"]
    return [f"with the input mended, {missing} of {mended['records']} records have no answer"] if missing > 0 else []


DRILL = SchemaDrift()
