"""A service that takes no more requests for a while: the crew waits as long as it is told, and does the work then."""

from collections.abc import Sequence
from dataclasses import dataclass

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import (
    file_ticket,
    live_brains,
    needs_models,
    project,
    requests_of,
    set_up,
    shift,
    stood_in,
    worked,
)
from nightcrew.readiness.drills.model import Asked, Model, Reply, call, finish, model
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target
from nightcrew.store import sessions, turns

_WAIT = 1
_REFUSALS = 2
_LIMITED = Reply(status=429, kind="rate_limit_error", text="Too many requests", retry_after=_WAIT)
_FILE = "nightcrew-drill-limit.txt"


@dataclass(frozen=True)
class RateLimitCrew:
    """See ``Drill``."""

    name: str = "rate-limit"
    title: str = "a rate limit is waited out, for as long as the service says"
    boxes: tuple[Box, ...] = (Box.RETRIES,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = f"a model that answers {_REFUSALS} requests with 429 and Retry-After: {_WAIT}"
    expects: str = (
        f"each is tried again, not before {_WAIT} s have passed, every try is charged to the budget, and the ticket is"
        " worked to its end"
    )

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        return needs_models(target)

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        refused: list[Asked] = []

        def script(asked: Asked) -> Reply:
            if asked.turn == 1 and len(refused) < _REFUSALS:
                refused.append(asked)
                return _LIMITED
            return call("write", path=_FILE, text="drill\n") if asked.turn == 0 else finish(f"Wrote {_FILE}.")

        with model(script) as served:
            set_up(place, served, tables={"limits": {"attempts_per_shift": 1}})
            ticket = file_ticket(place, f"Write {_FILE}")
            shift(place)
        return _judged(place, served, refused, ticket)


def _judged(place: Place, served: Model, refused: Sequence[Asked], ticket: str) -> Observed:
    wrong = [problem] if (problem := worked(place, ticket)) else []
    waits = []
    for one in refused:
        later = next((other for other in served.asked if other.at > one.at), None)
        if later is not None:
            waits.append((later.at - one.at).total_seconds())
    if len(waits) < _REFUSALS:
        wrong.append(f"after refusal {len(waits) + 1} the model was not asked again")
    if early := [wait for wait in waits if wait < _WAIT]:
        wrong.append(f"it was asked again after {early[0]:.2f} s, and had said to wait for {_WAIT} s")
    with project(place).store.read() as tx:
        charged = {session.id: turns.used(tx, session.id) for session in sessions.list(tx)}
    for session, count in charged.items():
        if (sent := requests_of(served, session)) > count:
            wrong.append(f"{session} sent {sent} requests, and {count} were charged to its budget")
    recovered = (served.asked[-1].at - refused[0].at).total_seconds() if refused else None
    evidence = {"requests": len(served.asked), "refused": served.refused, "waited": [round(one, 3) for one in waits]}
    happened = "; ".join(wrong) or (
        f"{len(waits)} refusals were waited out ({', '.join(f'{one:.1f} s' for one in waits)}), all"
        f" {len(served.asked)} requests were charged, and {ticket} was worked to its end"
    )
    detected = min(waits, default=None)
    return Observed(not wrong, happened, detected, recovered, evidence, stood_in(live_brains(place)))


DRILL = RateLimitCrew()
