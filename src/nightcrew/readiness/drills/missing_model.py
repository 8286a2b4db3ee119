"""A model that cannot be loaded: its fallback answers meanwhile, and says so; when it is back it is used again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.judging import (
    Facts,
    asked,
    brief,
    chosen,
    is_critical,
    judged,
    listed,
    longest,
    on_bench,
    unaccounted,
)
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline
    from nightcrew.readiness.drills.bench import Bench


@dataclass(frozen=True)
class MissingModel:
    """See ``Drill``."""

    name: str = "missing-model"
    title: str = "while a model cannot be loaded, its fallback answers, and says so"
    boxes: tuple[Box, ...] = (Box.FALLBACKS,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = (
        "a model that cannot be loaded, for the first half of the records, in each step that asks a model or has a"
        " fallback"
    )
    expects: str = (
        "each of these records has an answer of a fallback, with the reason, after one try; the records after it are"
        " answered by the step itself again"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline has steps
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject")
        steps = answer["steps"]
        wrong = [problem for seen in steps for problem in _wrong(seen)]
        right = (
            f"while the model was gone, {listed([by for seen in steps for by in seen['answered_by']])} answered for"
            f" {listed([seen['step'] for seen in steps])}, and said so"
        )
        kept = [{**seen, "run": brief(seen["run"])} for seen in steps]
        return judged(
            {**answer, "steps": kept}, wrong, right, detected=longest(steps, "detected"),
            recovered=None if wrong else longest(steps, "recovered"),
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: a model that cannot be loaded, in each step that asks one."""
    return on_bench(
        pipeline, spec, lambda bench: {"steps": [_lose(bench, step) for step in chosen(bench, is_critical)]}
    )


def _lose(bench: "Bench", step: Any) -> dict[str, Any]:
    from nightcrew.readiness.drills.injecting import Fault
    from nightcrew.reliability import ModelLoadError

    digests = bench.digests(bench.records)
    hit = digests[: max(1, len(digests) // 2)]
    fault = Fault(
        lambda call: ModelLoadError("the model's file is gone (injected by a drill)") if call.record in hit else None
    )
    run = bench.work(f"{step.name}-gone", {step.name: fault}, bench.records)
    ended = None if fault.first is None else fault.now() - fault.first
    facts = bench.facts(step)
    levels = {one["level"] for one in run["outcomes"][: len(hit)] if one["level"]}
    return {
        **facts,
        "hit": len(hit),
        "calls_of_hit": [sum(1 for call in fault.calls if call.record == one) for one in hit],
        "answered_by": [facts["fallbacks"][level - 1] for level in sorted(levels)],
        "run": run,
        "detected": ended,
        "recovered": ended,
    }


def _wrong(seen: Facts) -> list[str]:
    step, done = f"step {seen['step']}", seen["run"]
    if found := unaccounted(step, done):
        return found
    hit, others = done["outcomes"][: seen["hit"]], done["outcomes"][seen["hit"] :]
    unanswered = [one for one in hit if one["state"] not in ("accepted", "fallback")]
    if unanswered and not seen["fallbacks"]:
        return [f"{step} has no fallback: while its model could not be loaded, {len(unanswered)} of {len(hit)} records"
                f" got no answer ({unanswered[0]['state']}, {unanswered[0]['kind']})"]  # fmt: skip
    if unanswered:
        return [f"{step}: its fallback {listed(seen['fallbacks'])} did not answer for {len(unanswered)} of {len(hit)}"
                f" records: they are {unanswered[0]['state']}"]  # fmt: skip
    if false := [one for one in hit if one["status"] == "accepted" or not one["reason"]]:
        return [f"{step}: {len(false)} answers were made without the model, and do not say so"]
    if more := [count for count in seen["calls_of_hit"] if count > 1]:
        return [
            f"{step} tried to load its model {max(more)} times for one record: it was taken for a failure that passes"
        ]
    if late := [one for one in others if one["status"] != "accepted"]:
        return [f"{step}: the model was back, and {len(late)} of {len(others)} records were not answered by it"]
    return []


DRILL = MissingModel()
