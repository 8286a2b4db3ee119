"""A model that is not there: the next brain of the chain works, and without one the ticket waits with a note."""

from dataclasses import dataclass

from nightcrew.model.ticket import Priority, State
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
    ticket,
    worked,
)
from nightcrew.readiness.drills.model import Asked, Model, Reply, call, finish, model
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target

_FILE = "nightcrew-drill-missing.txt"
_OTHER = "nightcrew-drill-other.txt"


@dataclass(frozen=True)
class MissingModelCrew:
    """See ``Drill``."""

    name: str = "missing-model"
    title: str = "without its first model the crew goes on with the next brain, or says honestly that there is none"
    boxes: tuple[Box, ...] = (Box.FALLBACKS,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "the service says of the first brain's model that it does not exist (404)"
    expects: str = (
        "the next brain of the chain does the work, and the handoff says who did it and why; with no other brain the"
        " ticket stays open with that note, and tickets that need no model are worked all the same"
    )

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        return needs_models(target)

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        own = live_brains(place)
        chain = [f"brain-{number}" for number, _ in enumerate(own or [""], 1)]

        def script(asked: Asked) -> Reply:
            if asked.model == chain[0]:
                return Reply(status=404, kind="not_found_error", text=f"model: {asked.model}")
            return call("write", path=_FILE, text="drill\n") if asked.turn == 0 else finish(f"Wrote {_FILE}.")

        with model(script) as served:
            brains = [*chain, "mechanical"]
            set_up(place, served, brains=brains, tables={"limits": {"attempts_per_shift": 1}})
            needs, plain = (
                file_ticket(place, f"Write {_FILE}"),
                file_ticket(place, f"Write {_OTHER}", command=f"printf 'drill\\n' > {_OTHER}", priority=Priority.P3),
            )
            shift(place)
        return _judged(place, served, chain, own, (needs, plain))


def _judged(place: Place, served: Model, chain: list[str], own: list[str], filed: tuple[str, str]) -> Observed:
    needs, plain = filed
    wrong = [problem] if (problem := worked(place, plain)) else []
    handoff = last_handoff(place, needs)
    asked = [one for one in served.asked if one.model == chain[0]]
    if not asked:
        wrong.append("the first brain was not asked")
    if handoff is None:
        wrong.append(f"nobody worked {needs}, and no handoff says why")
    elif len(chain) > 1:
        if problem := worked(place, needs):
            wrong.append(f"no other brain took over: {problem}")
        elif handoff.brain != chain[1]:
            wrong.append(f"the handoff says that {handoff.brain} did the work, and it was {chain[1]}")
    elif handoff.kind == "work" or ticket(place, needs).state is not State.OPEN:
        state = ticket(place, needs).state
        wrong.append(f"{needs} is {state}, and no brain could have worked it: {short(handoff.done)}")
    if handoff is not None and chain[0] not in f"{handoff.done} {handoff.next}":
        wrong.append(f"the handoff does not say that {chain[0]} could not work: {short(handoff.done)}")
    last = served.asked[-1].at if served.asked else None
    took = (handoff.created - asked[0].at).total_seconds() if handoff is not None and asked else None
    what = f"{chain[1]} did the work" if len(chain) > 1 else f"{needs} stays open with a note that says so"
    happened = "; ".join(wrong) or f"{chain[0]} was not there; {what}, and {plain} was worked"
    evidence = {"chain": chain, "requests": len(served.asked), "note": short(handoff.done) if handoff else ""}
    detected = (last - asked[0].at).total_seconds() if len(chain) > 1 and asked and last else took
    return Observed(not wrong, happened, detected, took, evidence, stood_in(own))


DRILL = MissingModelCrew()
