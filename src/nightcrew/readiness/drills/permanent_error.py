"""Calls that will never succeed: tried once, set aside with the reason, and the others go on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.judging import (
    ANSWERED,
    Facts,
    asked,
    brief,
    in_state,
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
class PermanentError:
    """See ``Drill``."""

    name: str = "permanent-error"
    title: str = "a call that can never succeed is tried once and set aside; the others go on"
    boxes: tuple[Box, ...] = (Box.RETRIES,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = (
        "for every second record, in each step: a key that is refused (401), a thing that is not there, a bug"
    )
    expects: str = (
        "each such call is made once; its record has a fallback's answer, or is in quarantine with the reason; the"
        " others are worked; after a fix, what is released is worked, and once"
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
            f"{listed([seen['step'] for seen in steps])}: each failing call was made once; its record was set aside"
            " with the reason or answered by a fallback, and the others were worked"
        )
        kept = [{**seen, "run": brief(seen["run"]), "later": brief(seen["later"])} for seen in steps]
        return judged(
            {**answer, "steps": kept}, wrong, right, detected=longest(steps, "detected"),
            recovered=None if wrong else longest(steps, "recovered"),
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: errors that do not pass, for every second record, in each step."""
    return on_bench(pipeline, spec, lambda bench: {"steps": [_refuse(bench, step) for step in bench.steps]})


def _refuse(bench: "Bench", step: Any) -> dict[str, Any]:
    from nightcrew.pipeline.parked import release
    from nightcrew.readiness.drills.injecting import Call, Fault, http_error

    digests = bench.digests(bench.records)
    hit = digests[::2]
    mended = False

    def decide(call: Call) -> BaseException | None:
        if mended or call.record not in hit:
            return None
        kinds = (
            http_error(401, "invalid key (injected by a drill)"),
            FileNotFoundError(2, "no such thing (injected by a drill)"),
            KeyError("a bug (injected by a drill)"),
        )
        return kinds[hit.index(call.record) % len(kinds)]

    fault = Fault(decide)
    run = bench.work(f"{step.name}-refused", {step.name: fault}, bench.records)
    ended = fault.now()
    counts = [sum(1 for call in fault.calls if call.record == one) for one in hit]
    mended = True
    store, name = bench.pipeline.state.store, bench.pipeline.name
    released = release(
        store, [f"{name}/{one['key']}" for one in in_state(run["outcomes"], "quarantined")], actor="drill"
    )
    later = bench.again({step.name: fault}, bench.records)
    return {
        **bench.facts(step),
        "hit": len(hit),
        "calls_of_hit": counts,
        "run": run,
        "released": released,
        "later": later,
        "detected": fault.took(ended),
        "recovered": fault.took(),
    }


def _wrong(seen: Facts) -> list[str]:
    step, done, later = f"step {seen['step']}", seen["run"], seen["later"]
    if found := unaccounted(step, done):
        return found
    hit, others = done["outcomes"][::2], done["outcomes"][1::2]
    found = []
    if more := [count for count in seen["calls_of_hit"] if count > 1]:
        found.append(
            f"{step} was called up to {max(more)} times for a call that can never succeed (401, not found, a bug)"
        )
    if waiting := in_state(hit, "waiting_retry"):
        found.append(f"{step}: {len(waiting)} records whose call can never succeed wait to be tried again, as"
                     f" {waiting[0]['kind']}")  # fmt: skip
    if false := [one for one in hit if one["state"] == "accepted"]:
        found.append(f"{step}: {len(false)} records whose call failed are reported as accepted")
    if silent := [one for one in hit if not one["reason"] or (one["state"] == "quarantined" and not one["kind"])]:
        found.append(f"{step}: {len(silent)} records that failed do not say why")
    if held := [one for one in others if one["state"] not in ANSWERED]:
        found.append(f"{step}: {len(held)} records that had nothing wrong are {held[0]['state']}")
    if found:
        return found
    if len(later["outcomes"]) != done["records"]:
        return [f"{step}: after the fix there are {len(later['outcomes'])} outcomes for {done['records']} records"]
    open_ = [one for one in later["outcomes"] if one["state"] not in ANSWERED]
    return [f"{step}: {len(open_)} records that were released after the fix are {open_[0]['state']}"] if open_ else []


DRILL = PermanentError()
