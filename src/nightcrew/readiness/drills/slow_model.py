"""A call that hangs: it is given up in its time, and its record goes to a fallback or to the retry queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.judging import (
    ANSWERED,
    Facts,
    asked,
    brief,
    chosen,
    in_state,
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

LIMIT = 0.3
"""What a step's time limit is shortened to in the copy, in seconds."""
HANGS = 1.5
_RECORDS = 3


@dataclass(frozen=True)
class SlowModel:
    """See ``Drill``."""

    name: str = "slow-model"
    title: str = "a call that hangs is given up in its time, and holds nobody up"
    boxes: tuple[Box, ...] = (Box.RETRIES,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = (
        "calls that hang, for all but one record, in each step that asks a model, calls something outside or has a time"
        f" limit; time limits are shortened to {LIMIT:g} s in the copy"
    )
    expects: str = (
        "each call is given up when its time is over; its record is answered by a fallback or waits in the durable"
        " retry queue, and is answered when the calls are quick again"
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
            f"{listed([seen['step'] for seen in steps])}: calls that hung were given up, and no record was left behind"
        )
        kept = [{**seen, "run": brief(seen["run"]), "later": brief(seen["later"])} for seen in steps]
        return judged(
            {**answer, "steps": kept}, wrong, right, detected=longest(steps, "detected"),
            recovered=None if wrong else longest(steps, "recovered"),
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: calls that hang, in each step that may."""

    def work(bench: "Bench") -> dict[str, Any]:
        return {"steps": [_hang(bench, step) for step in chosen(bench, _may_hang)]}

    return on_bench(pipeline, spec, work, wanted=_RECORDS)


def _may_hang(facts: Facts) -> bool:
    outside = any(call["external"] for call in facts["calls"])
    return is_critical(facts) or facts["timeout"] is not None or outside


def _hang(bench: "Bench", step: Any) -> dict[str, Any]:
    from nightcrew.readiness.drills.injecting import Call, Fault, Hang, guard_of

    facts = bench.facts(step)
    guard = guard_of(step)
    if guard._timeout is not None:
        guard._timeout = min(guard._timeout, LIMIT)
    digests = bench.digests(bench.records)
    hit = digests[:-1] or digests
    quick = False

    def decide(call: Call) -> Hang | None:
        return None if quick or call.record not in hit else Hang(HANGS)

    fault = Fault(decide)
    run = bench.work(f"{step.name}-hangs", {step.name: fault}, bench.records)
    ended = fault.now()
    quick = True
    guard._timeout = facts["timeout"]
    later = bench.again({step.name: fault}, bench.records)
    return {
        **facts,
        "hit": len(hit),
        "run": run,
        "later": later,
        "detected": fault.noticed(ended),
        "recovered": fault.took(),
    }


def _wrong(seen: Facts) -> list[str]:
    step, done, later = f"step {seen['step']}", seen["run"], seen["later"]
    if found := unaccounted(step, done):
        return found
    hit = done["outcomes"][: seen["hit"]]
    if waited := [one for one in hit if one["status"] == "accepted"]:
        why = (
            "it has no time limit (timeout=)"
            if seen["timeout"] is None
            else f"its limit of {seen['timeout']:g} s was not kept"
        )
        return [f"{step}: {len(waited)} calls that hung for {HANGS:g} s were waited for to their end: {why}"]
    if parked := in_state(hit, "quarantined"):
        return [f"{step}: a call that hung put {len(parked)} records in quarantine, as {parked[0]['kind']}"]
    open_ = [one for one in later["outcomes"] if one["state"] not in ANSWERED]
    if open_ or len(later["outcomes"]) != done["records"]:
        state = open_[0]["state"] if open_ else "lost"
        return [f"{step}: when calls were quick again, {len(open_)} of {done['records']} records were still {state}"]
    return []


DRILL = SlowModel()
