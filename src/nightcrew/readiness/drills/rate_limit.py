"""A service that answers 429 and says for how long: it is asked again after that, and not sooner."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.judging import (
    ANSWERED,
    Facts,
    asked,
    brief,
    chosen,
    in_state,
    judged,
    listed,
    longest,
    on_bench,
    unaccounted,
)
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.drills.transient_storm import _may_fail
from nightcrew.readiness.target import Target

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline
    from nightcrew.readiness.drills.bench import Bench

RETRY_AFTER = 2.0
_INEXACT = 0.01


@dataclass(frozen=True)
class RateLimit:
    """See ``Drill``."""

    name: str = "rate-limit"
    title: str = "a service that asks to wait is left alone for as long as it asks"
    boxes: tuple[Box, ...] = (Box.RETRIES,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = f"an answer 429 with Retry-After: {RETRY_AFTER:g} to the first call for each record, in each step"
    expects: str = (
        "it is told apart as a rate limit, not called again for that record before the time is over, and the record is"
        " answered: by a later try, by a fallback, or from the durable retry queue"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline has steps
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject")
        steps = answer["steps"]
        wrong = [problem for seen in steps for problem in _wrong(seen)]
        right = f"{listed([seen['step'] for seen in steps])}: no call came before the {RETRY_AFTER:g} seconds were over"
        kept = [{**seen, "run": brief(seen["run"]), "later": brief(seen["later"])} for seen in steps]
        return judged(
            {**answer, "steps": kept}, wrong, right, detected=longest(steps, "detected"),
            recovered=None if wrong else longest(steps, "recovered"),
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: one answer 429 for each record, in each step that has retries or calls something outside."""
    return on_bench(pipeline, spec, lambda bench: {"steps": [_limit(bench, step) for step in chosen(bench, _may_fail)]})


def _limit(bench: "Bench", step: Any) -> dict[str, Any]:
    from nightcrew.readiness.drills.injecting import Call, Fault, http_error

    facts = bench.facts(step)
    records = bench.records if facts["breaker"] is None else bench.records[: max(1, facts["breaker"] - 1)]

    def decide(call: Call) -> BaseException | None:
        if call.number > 1:
            return None
        return http_error(429, "Too Many Requests (injected by a drill)", {"retry-after": f"{RETRY_AFTER:g}"})

    fault = Fault(decide)
    began = bench.pipeline.clock()
    run = bench.work(f"{step.name}-limit", {step.name: fault}, records)
    ended = fault.now()
    gaps = []
    for one in bench.digests(records):
        times = [call.at for call in fault.calls if call.record == one]
        gaps += [later - earlier for earlier, later in pairwise(times)][:1]
    waits = [
        (datetime.fromisoformat(one["next_at"]) - began).total_seconds() for one in run["outcomes"] if one["next_at"]
    ]
    later = bench.again({step.name: fault}, records)
    return {
        **facts,
        "gaps": gaps,
        "queued_for": waits,
        "run": run,
        "later": later,
        "detected": fault.noticed(ended),
        "recovered": max(gaps, default=None) or fault.took(),
    }


def _wrong(seen: Facts) -> list[str]:
    step, done, later = f"step {seen['step']}", seen["run"], seen["later"]
    if found := unaccounted(step, done):
        return found
    soon = [gap for gap in seen["gaps"] if gap < RETRY_AFTER - _INEXACT]
    if soon:
        return [f"{step} was called again {min(soon):.2f} s after a 429 that asked to wait {RETRY_AFTER:g} s, for"
                f" {len(soon)} of {done['records']} records"]  # fmt: skip
    if parked := in_state(done["outcomes"], "quarantined"):
        return [f"{step}: a rate limit was taken for {parked[0]['kind']}, and {len(parked)} records are in quarantine"]
    other = [
        one["kind"] for one in in_state(done["outcomes"], "waiting_retry") if one["kind"] != "transient.rate_limit"
    ]
    if other:
        return [f"{step}: a rate limit was taken for {other[0]}"]
    soon = [wait for wait in seen["queued_for"] if wait < RETRY_AFTER - _INEXACT]
    if soon:
        return [f"{step}: {len(soon)} records are due in the retry queue before the {RETRY_AFTER:g} s are over"]
    open_ = [one for one in later["outcomes"] if one["state"] not in ANSWERED]
    return [f"{step}: later {len(open_)} of {done['records']} records are still {open_[0]['state']}"] if open_ else []


DRILL = RateLimit()
