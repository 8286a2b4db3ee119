"""A conversation that is too long for the model: it is shortened by rule, the work goes on, the handoff says it."""

import json
from dataclasses import dataclass

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import (
    file_ticket,
    last_handoff,
    live_brains,
    needs_models,
    set_up,
    shift,
    short,
    stood_in,
    worked,
)
from nightcrew.readiness.drills.model import Asked, Model, Reply, call, finish, model
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target

_FILE = "nightcrew-drill-context.txt"
_READS = 4
_RESULT = 19_000
_ROOM = 2.5 * _RESULT
"""Characters beside the first request that fit into the scripted model's context."""


@dataclass(frozen=True)
class ContextOverflowCrew:
    """See ``Drill``."""

    name: str = "context-overflow"
    title: str = "a conversation that is too long is shortened, and the work goes on"
    boxes: tuple[Box, ...] = (Box.FALLBACKS,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "a model whose context is smaller than the settings say: it refuses requests that are too long"
    expects: str = (
        "the oldest tool results are left out until it fits, the ticket is worked to its end, and the handoff says what"
        " was left out"
    )

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        return needs_models(target)

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        sizes: list[int] = []
        print_much = f"head -c {_RESULT} /dev/zero | tr '\\0' x"

        def script(asked: Asked) -> Reply:
            size = len(json.dumps(asked.body["messages"]))
            sizes.append(size)
            if size > sizes[0] + _ROOM:
                text = f"prompt is too long: {size // 4} tokens > {int(sizes[0] + _ROOM) // 4} maximum"
                return Reply(status=400, kind="invalid_request_error", text=text)
            if asked.turn < _READS:
                return call("run", command=print_much)
            return call("write", path=_FILE, text="drill\n") if asked.turn == _READS else finish(f"Wrote {_FILE}.")

        with model(script) as served:
            set_up(place, served, tables={"limits": {"attempts_per_shift": 1}})
            ticket = file_ticket(place, f"Write {_FILE}")
            shift(place)
        return _judged(place, served, ticket)


def _judged(place: Place, served: Model, ticket: str) -> Observed:
    wrong = [problem] if (problem := worked(place, ticket)) else []
    handoff = last_handoff(place, ticket)
    if not served.refused:
        wrong.append("the conversation never became too long: nothing was injected")
    if any(_out_of_order(one) for one in served.asked):
        wrong.append("newer tool results were left out, and older ones kept")
    if not wrong and handoff is not None and "left out" not in handoff.done:
        wrong.append(f"the handoff does not say that something was left out: {short(handoff.done)}")
    turns = [one.turn for one in served.asked]
    refused = next((one for index, one in enumerate(served.asked[1:]) if turns[index] == one.turn), None)
    took = (served.asked[-1].at - refused.at).total_seconds() if refused else None
    happened = "; ".join(wrong) or (
        f"{served.refused} requests were refused as too long and sent again with less; {ticket} was worked to its end,"
        " and its handoff says what was left out"
    )
    evidence = {
        "requests": len(served.asked), "refused": served.refused, "note": short(handoff.done) if handoff else "",
    }  # fmt: skip
    return Observed(not wrong, happened, 0.0 if refused else None, took, evidence, stood_in(live_brains(place)))


def _out_of_order(asked: Asked) -> bool:
    """Whether a result was left out after one that was kept."""
    blocks = [block for message in asked.body["messages"] for block in message["content"] if isinstance(block, dict)]
    results = [block for block in blocks if block.get("type") == "tool_result"][:_READS]
    kept = [len(json.dumps(block)) >= _RESULT for block in results]
    return kept != sorted(kept)


DRILL = ContextOverflowCrew()
