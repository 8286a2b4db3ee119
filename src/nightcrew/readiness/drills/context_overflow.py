"""A record that is too long for the model: it is cut by a rule that says so, or answered by a fallback."""

from collections.abc import Iterator, Mapping
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
from nightcrew.readiness.target import PipelineTarget, Target

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline
    from nightcrew.readiness.drills.bench import Bench

_SIZES = (4_000_000, 100_000, 4_000)
"""Characters that a text is made long to: the first that the contract takes."""
_NOT_LONG = "no text of a record that can be made long comes to a step that asks a language model or truncates"
_NO_TEXT = "no step asks a language model, and none truncates its input"
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

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        return "" if isinstance(target, PipelineTarget) and _may_read_text(target) else _NO_TEXT

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
            return {"not": _NO_TEXT}
        record, size = _long(bench)
        seen = [_overflow(bench, step, record) for step in steps]
        # What is given none of the long text has nothing to cut: how it cuts is not seen.
        judged = [one for one in seen if not one["truncate"] or max(one["sizes"], default=size) >= size > 0]
        return {"steps": judged} if judged else {"not": _NOT_LONG}

    return on_bench(pipeline, spec, work, wanted=2)


def _may_read_text(target: PipelineTarget) -> bool:
    """Whether its source has a call of a language model, or a word of truncating; which step, is seen in the child."""
    from nightcrew.readiness.calls import find_calls, own_files

    files = own_files(target.path)
    if any(b"truncate" in path.read_bytes() for path in files):
        return True
    return any(call.kind == "model" for call in find_calls(target.root, files, entry=target.path).found)


def _reads_text(facts: Facts) -> bool:
    return bool(facts["truncate"]) or any(call["kind"] == "model" for call in facts["calls"])


def _overflow(bench: "Bench", step: Any, record: Any) -> dict[str, Any]:
    from nightcrew.readiness.drills.injecting import Call, Fault, http_error

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


def _long(bench: "Bench") -> tuple[Any, int]:
    """The first record with texts made long, where contract and key allow it, and how long the shortest (0: none)."""
    from nightcrew.pipeline.intake import MAX_KEY, reader

    key = reader(bench.pipeline.key)

    def fits(longer: Any) -> bool:
        try:
            parsed = bench.parsed(longer)
            return key is None or len(str(key(parsed))) <= MAX_KEY
        except Exception:  # What a contract or a key raises that does not take it.
            return False

    record, shortest = bench.records[0], 0
    places = list(_texts(record))
    for place, text in places:
        for size in (_SIZES[0] // len(places), *_SIZES[1:]):
            longer = _with(record, place, "\n".join([text or "text"] * (size // (len(text) + 1) + 1)))
            if fits(longer):
                record, shortest = longer, min(size, shortest or size)
                break
    return record, shortest


def _texts(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Each text in a value, and the names and numbers that lead to it."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, (*place, name))


def _with(value: Any, place: tuple[Any, ...], text: str) -> Any:
    """The value with another text in a place of it."""
    if not place:
        return text
    changed = value.copy()
    changed[place[0]] = _with(value[place[0]], place[1:], text)
    return changed


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
