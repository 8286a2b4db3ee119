"""Damaged records among good ones: each is set aside with what is wrong, and the good ones are worked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.judging import ANSWERED, Facts, asked, brief, judged, listed, on_bench, unaccounted
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline
    from nightcrew.readiness.drills.bench import Bench

_GOOD = 4
_RECORDS = 16
NO_CONTRACT = (
    "the pipeline has no input contract (record=): nothing says what a record must look like, so that a damaged one is"
    " worked like any other"
)


@dataclass(frozen=True)
class CorruptRecord:
    """See ``Drill``."""

    name: str = "corrupt-record"
    title: str = "a damaged record is refused with what is wrong, and the others are worked"
    boxes: tuple[Box, ...] = (Box.INPUTS,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = (
        "records that are cut off, are no text, lack a field, or have a value of the wrong type, between good ones"
    )
    expects: str = (
        "no step sees a damaged record; each is in quarantine with what is wrong with it; the good ones are worked, and"
        " the numbers add up"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - whether there is a contract is seen in the child
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject")
        if answer.get("no_contract"):
            return judged(answer, [NO_CONTRACT], "")
        wrong = _wrong(answer)
        right = (
            f"all {len(answer['damaged'])} damaged records are in quarantine, each with what is wrong with it, and the"
            f" {answer['good']} good ones were worked"
        )
        seconds = answer["seconds"]
        facts = {**answer, "run": brief(answer["run"])}
        return judged(facts, wrong, right, detected=seconds, recovered=None if wrong else seconds)


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: one run over good and damaged records."""
    if pipeline.contract is None:
        return {"no_contract": True}
    return on_bench(pipeline, spec, _damage, wanted=_RECORDS)


def _damage(bench: "Bench") -> dict[str, Any]:
    from nightcrew.readiness.drills.damaging import damages
    from nightcrew.readiness.drills.injecting import Fault

    assert bench.pipeline.contract is not None  # noqa: S101 - inject has looked
    good = bench.records[:_GOOD]
    damaged = list(damages(bench.records[_GOOD:] or good, bench.pipeline.contract.json_schema()))
    # Good and damaged in turn: what is wrong with one must not touch the next.
    lines: list[Any] = []
    places = []
    if not bench.records[_GOOD:]:
        # Of so few the damaged ones have the keys of good ones: these come first, one at a time, and keep theirs.
        lines, good = list(good), []
        bench.pipeline.limits = replace(bench.pipeline.limits, concurrency=1)
    for number in range(max(len(good), len(damaged))):
        lines += good[number : number + 1]
        if number < len(damaged):
            places.append(len(lines))
            lines.append(damaged[number].line)
    fault = Fault(lambda _: None)
    run = bench.work("damaged", {bench.steps[0].name: fault}, lines)
    return {
        "good": len(lines) - len(damaged),
        "damaged": [
            {"what": one.what, "by_contract": one.by_contract, "at": at}
            for one, at in zip(damaged, places, strict=True)
        ],
        "worked": len({call.record for call in fault.calls}),
        "step": bench.steps[0].name,
        "run": run,
        "seconds": run["seconds"],
    }  # fmt: skip


def _wrong(answer: Facts) -> list[str]:
    done, damaged = answer["run"], answer["damaged"]
    if done["error"]:
        return [f"one damaged record stopped all of the run: {done['error']['message']}"]
    if found := unaccounted("the run", done):
        return found
    if not any(one["by_contract"] for one in damaged):
        return ["the contract asks nothing of a record: it requires no field, and no field has a type"]
    found = []
    for one in damaged:
        outcome = done["outcomes"][one["at"]]
        if outcome["state"] != "quarantined":
            found.append(f"a record {one['what']} was taken for a good one ({outcome['state']})")
        elif not outcome["reason"]:
            found.append(f"a record {one['what']} is in quarantine without a reason")
    if not found and answer["worked"] > answer["good"]:
        found.append(f"step {answer['step']} was called with {answer['worked'] - answer['good']} damaged records")
    places = {one["at"] for one in damaged}
    others = [one for at, one in enumerate(done["outcomes"]) if at not in places and one["state"] not in ANSWERED]
    if others:
        states = listed(sorted({one["state"] for one in others}))
        found.append(f"{len(others)} of {answer['good']} good records beside damaged ones are {states}")
    return found


DRILL = CorruptRecord()
