"""Calls that fail for a moment, and then for longer than a step's retries: nothing is lost, everything is answered."""

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

_MOST_FAILURES = 2


@dataclass(frozen=True)
class TransientStorm:
    """See ``Drill``."""

    name: str = "transient-storm"
    title: str = "calls that fail for a while are tried again, and lose nothing"
    boxes: tuple[Box, ...] = (Box.RETRIES,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = (
        "connections that are reset, time out and answer 503 in each step: first for a moment, then for longer than the"
        " step's retries"
    )
    expects: str = (
        "the step is called again as often as its policy says and no more; what outlives that goes to a fallback or to"
        " the durable retry queue; when the storm is over, each record has its one answer"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline has steps
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject")
        wrong = [problem for seen in answer["steps"] for problem in _wrong(seen)]
        right = "; ".join(_right(seen) for seen in answer["steps"])
        facts = {**answer, "steps": [_kept(seen) for seen in answer["steps"]]}
        return judged(
            facts, wrong, right, detected=longest(answer["steps"], "detected"),
            recovered=None if wrong else longest(answer["steps"], "recovered"),
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: a short storm and a long one, in each step that has retries or calls something outside."""
    return on_bench(pipeline, spec, _storms)


def _storms(bench: "Bench") -> dict[str, Any]:
    return {"steps": [_storm(bench, step) for step in chosen(bench, _may_fail)]}


def _may_fail(facts: Facts) -> bool:
    return facts["attempts"] > 1 or any(call["external"] for call in facts["calls"])


def _storm(bench: "Bench", step: Any) -> dict[str, Any]:
    from nightcrew.readiness.drills.injecting import Call, Fault, passing

    facts = bench.facts(step)
    failures = max(1, min(_MOST_FAILURES, facts["attempts"] - 1))
    digests = bench.digests(bench.records)
    # So few that a breaker stays closed: that the service is then left alone is not what is looked at here.
    many = len(digests) if facts["breaker"] is None else max(1, (facts["breaker"] - 1) // failures)
    hit = digests[:many]

    def for_a_moment(call: Call) -> BaseException | None:
        if call.record not in hit or call.number > failures:
            return None
        return passing(call.number - 1 + hit.index(call.record))

    short = Fault(for_a_moment)
    moment = bench.work(f"{step.name}-moment", {step.name: short}, bench.records)
    over = False

    def decide(call: Call) -> BaseException | None:
        return None if over else passing(call.number)

    long = Fault(decide)
    outage = bench.work(f"{step.name}-outage", {step.name: long}, bench.records)
    ended = long.now()
    during = [sum(1 for call in long.calls if call.record == one) for one in digests]
    over = True
    later = bench.again({step.name: long}, bench.records)
    return {
        **facts,
        "failures": failures,
        "hit": len(hit),
        "calls_of_hit": [sum(1 for call in short.calls if call.record == one) for one in hit],
        "moment": moment,
        "outage": outage,
        "calls_of_all": during,
        "later": later,
        "detected": long.noticed(ended),
        "recovered": long.took(),
    }


def _wrong(seen: Facts) -> list[str]:
    step = f"step {seen['step']}"
    found = _wrong_moment(step, seen) or _wrong_outage(step, seen)
    outside = [call for call in seen["calls"] if call["external"] and not call["retried_inside"]]
    if seen["attempts"] == 1 and outside:
        call = outside[0]
        found.insert(
            0, f"{step} calls {call['what']} ({call['place']}) and is declared without a retry: one failure of a moment"
            " is enough to fail it",
        )  # fmt: skip
    return found


def _wrong_moment(step: str, seen: Facts) -> list[str]:
    done, wanted = seen["moment"], seen["failures"] + 1
    if found := unaccounted(step, done):
        return found
    hit = done["outcomes"][: seen["hit"]]
    if parked := in_state(hit, "quarantined"):
        return [f"{step}: {len(parked)} of {len(hit)} records whose call failed for a moment are in quarantine, as"
                f" {parked[0]['kind']}: {parked[0]['message'][:100]}"]  # fmt: skip
    if seen["attempts"] == 1:
        waiting = in_state(hit, "waiting_retry")
        return [f"{step} is declared without a retry and has no fallback: a failure of a moment left {len(waiting)} of"
                f" {len(hit)} records without an answer in the run"] if waiting else []  # fmt: skip
    breaker = seen["breaker"]
    opens = f": its breaker opens first, after {breaker}" if breaker is not None and breaker < wanted else ""
    if once := [calls for calls in seen["calls_of_hit"] if calls == 1]:
        return [f"{step} was not called again for {len(once)} of {len(hit)} records whose call failed for a moment,"
                f" though its policy has {seen['attempts']} attempts{opens}"]  # fmt: skip
    if less := [calls for calls in seen["calls_of_hit"] if calls != wanted]:
        return [
            f"{step} was called {less[0]} times for a record whose call failed {seen['failures']} times, not {wanted}"
        ]
    other = [one for one in hit if one["state"] != "accepted" or one["status"] != "accepted"]
    return (
        [f"{step}: {len(other)} of {len(hit)} records were answered on a retry, and are {other[0]['state']}"]
        if other
        else []
    )


def _wrong_outage(step: str, seen: Facts) -> list[str]:
    done, later = seen["outage"], seen["later"]
    if found := unaccounted(f"{step}, in the long storm", done):
        return found
    if parked := in_state(done["outcomes"], "quarantined"):
        return [
            f"{step}: {len(parked)} records were put in quarantine by a storm that passes: {parked[0]['reason'][:120]}"
        ]
    if false := [one for one in in_state(done["outcomes"], *ANSWERED) if one["status"] == "accepted"]:
        return [f"{step}: {len(false)} records are reported as accepted though every call failed"]
    # A record whose time in the retry queue came within the run has had a further round.
    allowed = [seen["attempts"] * (1 + one["rounds"]) for one in done["outcomes"]]
    if more := [(calls, most) for calls, most in zip(seen["calls_of_all"], allowed, strict=True) if calls > most]:
        return [f"{step} was called {more[0][0]} times for one record; its policy allows {more[0][1]}"]
    if len(later["outcomes"]) != done["records"]:
        return [f"{step}: after the storm there are {len(later['outcomes'])} outcomes for {done['records']} records"]
    open_ = [one for one in later["outcomes"] if one["state"] not in ANSWERED]
    return (
        [f"{step}: after the storm {len(open_)} of {done['records']} records are still {open_[0]['state']}"]
        if open_
        else []
    )


def _right(seen: Facts) -> str:
    states = {one["state"] for one in seen["outage"]["outcomes"]}
    words = {"fallback": "a fallback", "waiting_retry": "the retry queue, answered when the storm was over"}
    longer = listed([words[state] for state in words if state in states])
    short = (
        "were retried in the run" if seen["attempts"] > 1 else "went to its fallback (it is declared without a retry)"
    )
    return f"{seen['step']}: failures of a moment {short}, longer ones went to {longer}"


def _kept(seen: Facts) -> dict[str, Any]:
    runs = {name: brief(seen[name]) for name in ("moment", "outage", "later")}
    return {**seen, **runs}


DRILL = TransientStorm()
