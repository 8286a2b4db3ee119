"""A record that is too long for the model: it is cut by a rule that says so, or answered by a fallback."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.judging import (
    Facts,
    asked,
    brief,
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

_SIZES = (4_000_000, 100_000, 4_000)
"""Characters that a text is made long to: the first that the contract takes."""
_SAYS = "prompt is too long: the maximum context length is exceeded (injected by a drill)"


@dataclass(frozen=True)
class ContextOverflow:
    """See ``Drill``."""

    name: str = "context-overflow"
    title: str = "what is too long for a model is cut by a rule that says so, or answered otherwise"
    boxes: tuple[Box, ...] = (Box.FALLBACKS,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = (
        "a record with a very long text, and a model that says it is too long until it is given less, in each step that"
        " asks a language model or truncates"
    )
    expects: str = (
        "the same text is not sent twice; the record is answered from less of it, with a notice of what was left out,"
        " or by a fallback, with the reason"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - which steps ask a model is seen in the child
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject")
        steps = answer["steps"]
        wrong = [problem for seen in steps for problem in _wrong(seen)]
        cut = [seen["step"] for seen in steps if seen["outcome"] and seen["outcome"]["notice"]]
        right = (
            f"{listed(cut)} answered from a text that was cut, and says so: {steps[0]['outcome']['notice'][:120]}"
            if cut
            else f"the fallback of {listed([seen['step'] for seen in steps])} answered, with the reason"
        )
        kept = [{**seen, "run": brief(seen["run"])} for seen in steps]
        return judged(
            {**answer, "steps": kept}, wrong, right, detected=longest(steps, "detected"),
            recovered=None if wrong else longest(steps, "recovered"),
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: a record that is too long, in each step that asks a language model."""

    def work(bench: "Bench") -> dict[str, Any]:
        steps = [step for step in bench.steps if _reads_text(bench.facts(step))]
        if not steps:
            return {"not": "no step asks a language model, and none truncates its input"}
        return {"steps": [_overflow(bench, step) for step in steps]}

    return on_bench(pipeline, spec, work, wanted=2)


def _reads_text(facts: Facts) -> bool:
    return bool(facts["truncate"]) or any(call["kind"] == "model" for call in facts["calls"])


def _overflow(bench: "Bench", step: Any) -> dict[str, Any]:
    from nightcrew.readiness.drills.injecting import Call, Fault, http_error

    record = _long(bench)
    first = 0

    def decide(call: Call) -> BaseException | None:
        nonlocal first
        first = first or call.size
        return http_error(400, _SAYS) if call.number == 1 or call.size >= first else None

    fault = Fault(decide)
    run = bench.work(f"{step.name}-long", {step.name: fault}, [record])
    ended = None if fault.first is None else fault.now() - fault.first
    return {
        **bench.facts(step),
        "sizes": [call.size for call in fault.calls],
        "outcome": run["outcomes"][0] if run["outcomes"] else None,
        "run": run,
        "detected": ended,
        "recovered": ended,
    }


def _long(bench: "Bench") -> Any:
    """The first record with its texts made long, as far as the contract allows; its key only if there is no other."""
    record = bench.records[0]
    if not isinstance(record, dict):
        return record
    texts = [name for name, value in record.items() if isinstance(value, str)]
    for name in [one for one in texts if one != bench.pipeline.key] or texts:
        for size in _SIZES:
            text = record[name] or "text"
            longer = {**record, name: "\n".join([text] * (size // (len(text) + 1) + 1))}
            try:
                bench.digests([longer])
            except Exception:  # noqa: S112 - the contract does not take it: a shorter one may do
                continue
            record = longer
            break
    return record


def _wrong(seen: Facts) -> list[str]:
    step, done, sizes = f"step {seen['step']}", seen["run"], seen["sizes"]
    if found := unaccounted(step, done):
        return found
    one = seen["outcome"]
    if len(sizes) > 1 and sizes[1] >= sizes[0]:
        what = "its truncate gave back as much as it was given" if seen["truncate"] else "it was sent again as it was"
        return [f"{step}: a text that is too long for the model ({sizes[0]:,} bytes): {what}"]
    if one["state"] not in ("accepted", "fallback"):
        why = (
            "its truncate gave nothing that could be sent"
            if seen["truncate"]
            else "it has no truncate= and no fallback="
        )
        return [f"{step}: a record that is too long for the model got no answer ({one['state']}, {one['kind']}): {why}"]
    if not one["notice"] and not one["reason"]:
        return [
            f"{step}: the text was cut from {sizes[0]:,} to {sizes[-1]:,} bytes, and nothing in the outcome says so"
        ]
    return []


DRILL = ContextOverflow()
