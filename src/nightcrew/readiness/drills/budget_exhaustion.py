"""A model that never ends its work: it is stopped at the cap, also if the process is killed on the way there."""

from collections import Counter
from dataclasses import dataclass, field

from nightcrew.model.settings import Turns
from nightcrew.model.ticket import Priority, State
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import (
    KEY,
    caps,
    file_ticket,
    last_handoff,
    live_brains,
    needs_models,
    project,
    requests_of,
    set_up,
    shift_arguments,
    short,
    stood_in,
    ticket,
    worked,
)
from nightcrew.readiness.drills.model import Asked, Model, Reply, call, finish, model
from nightcrew.readiness.drills.protocol import NotDone, Observed, On, Place, Started
from nightcrew.readiness.target import Target
from nightcrew.store import sessions, turns

_LEAST, _MOST = 3, 100
_BEYOND = 5
"""Requests past the cap after which the scripted model gives up by itself: it is broken then."""
_OTHER = "nightcrew-drill-budget.txt"
_WRAP_UP = "The soft cap of your budget is reached"


@dataclass(frozen=True)
class BudgetExhaustion:
    """See ``Drill``."""

    name: str = "budget-exhaustion"
    title: str = "no session sends more requests than its cap, whatever its model does"
    boxes: tuple[Box, ...] = (Box.FALLBACKS, Box.STATE)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "a model that asks for tools without end, and a kill -9 of the shift after its second request"
    expects: str = (
        "every request is charged before it is sent; at the soft cap the model is told to wrap up; at the hard cap, the"
        " requests before the kill counted, the session ends; its ticket stays open with a note; the others are worked"
    )

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        return needs_models(target)

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        cap, note = _fitting(caps(place))
        looper = _Looper(cap.hard)
        with model(looper.answer) as served:
            tables = {
                "limits": {"attempts_per_shift": 1, "max_tickets": 1}, "budget": {"soft": cap.soft, "hard": cap.hard},
            }  # fmt: skip
            set_up(place, served, tables=tables)
            endless = file_ticket(place, "A ticket whose model never ends its work")
            other = file_ticket(place, f"Write {_OTHER}", command=f"printf 'drill\\n' > {_OTHER}", priority=Priority.P3)
            looper.running = place.start(*shift_arguments(), env={KEY: "none"})
            first = looper.running.wait()
            if looper.killed:
                place.say("killed; running the shift again")
                looper.running = place.start(*shift_arguments(), env={KEY: "none"})
                first = looper.running.wait()
        if first.status not in (0, 1):
            return Observed(False, f"the shift did not run to its end: {first.tail()}", stood_in=note)
        if not looper.killed:
            raise NotDone(f"the model was not asked a second time: nothing was killed: {first.tail()}")
        seen = _judged(place, served, cap, (endless, other))
        said = "; ".join(filter(None, (note, stood_in(live_brains(place)))))
        return Observed(seen.passed, seen.happened, seen.detected_seconds, seen.recovered_seconds, seen.evidence, said)


@dataclass
class _Looper:
    """The model, and the kill in its second answer."""

    hard: int
    running: Started | None = None
    killed: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def answer(self, asked: Asked) -> Reply:
        self.counts[asked.session] += 1
        if self.counts[asked.session] == 2 and not self.killed and self.running is not None:
            self.killed = True
            self.running.kill()
        if self.counts[asked.session] > self.hard + _BEYOND:
            return finish("Nothing.", finished=False)
        return call("read", path="nightcrew-drill-nothing.txt")


def _fitting(cap: Turns) -> tuple[Turns, str]:
    """A cap that is reached within the drill, and not before its kill."""
    hard = min(max(cap.hard, _LEAST), _MOST)
    if hard == cap.hard:
        return cap, ""
    fits = cap.model_copy(update={"soft": min(cap.soft, hard), "hard": hard})
    return fits, f"a hard cap of {hard} turns stood in for your {cap.hard}"


def _judged(place: Place, served: Model, cap: Turns, filed: tuple[str, str]) -> Observed:
    endless, other = filed
    wrong = []
    with project(place).store.read() as tx:
        ran = sessions.list(tx)
        charged = {session.id: turns.used(tx, session.id) for session in ran}
    sent = {session.id: requests_of(served, session.id) for session in ran}
    for session in ran:
        if sent[session.id] > cap.hard:
            wrong.append(f"{session.id} sent {sent[session.id]} requests, and its hard cap is {cap.hard}")
        if sent[session.id] > charged[session.id]:
            wrong.append(f"{session.id} sent {sent[session.id]} requests, and {charged[session.id]} were charged")
        if session.state != "ended":
            wrong.append(f"{session.id} is {session.state}: it did not end")
    told = [one for one in served.asked if _WRAP_UP in one.text]
    if cap.soft < cap.hard and not told:
        wrong.append("at the soft cap the model was not told to wrap up")
    state, handoff = ticket(place, endless).state, last_handoff(place, endless)
    if handoff is None or state is not State.OPEN:
        note = "a handoff" if handoff else "no handoff"
        wrong.append(f"{endless} is {state}, and has {note}: it is to stay open with a note")
    elif "budget" not in handoff.done:
        wrong.append(f"the handoff does not say that the budget is used: {short(handoff.done)}")
    if problem := worked(place, other):
        wrong.append(problem)
    most = max(sent.values(), default=0)
    happened = "; ".join(wrong) or (
        f"the session was stopped after {most} requests of at most {cap.hard}, those before the kill counted;"
        f" {endless} stays open with a note, and {other} was worked"
    )
    evidence = {"soft": cap.soft, "hard": cap.hard, "sent": sent, "charged": charged, "told_to_wrap_up": len(told)}
    began = served.asked[0].at if served.asked else None
    detected = (handoff.created - began).total_seconds() if handoff and began else None
    done = last_handoff(place, other)
    recovered = (done.created - began).total_seconds() if done and began else None
    return Observed(not wrong, happened, detected, recovered, evidence)


DRILL = BudgetExhaustion()
