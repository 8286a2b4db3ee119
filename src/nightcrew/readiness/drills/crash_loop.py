"""A ticket that kills its process each time it is worked: it is set aside, and the others are worked."""

import time
from dataclasses import dataclass

from nightcrew.model.ticket import Priority, State
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import (
    file_ticket,
    project,
    set_up,
    shift_arguments,
    short,
    ticket,
    worked,
)
from nightcrew.readiness.drills.protocol import Done, NotDone, Observed, On, Place, Started
from nightcrew.readiness.target import Target
from nightcrew.store import ledger, sessions

_OTHER = "nightcrew-drill-crash.txt"
_DEATHS = 5
"""A ticket that has killed its process so often, and is taken up again, is not set aside."""
_SECONDS = 30
_POLL_SECONDS = 0.02
_SETTLE_SECONDS = 0.3
"""After the work was begun: a ticket that is set aside at once is not worked any more."""


@dataclass(frozen=True)
class CrashLoop:
    """See ``Drill``."""

    name: str = "crash-loop"
    title: str = "a ticket that kills its process again and again is set aside, and the others are worked"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "kill -9 of the shift each time that one ticket is worked"
    expects: str = (
        f"before it has died {_DEATHS} times the ticket is in quarantine with the reason, the shift runs to its end,"
        " and the other ticket of the session is worked"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew can be killed
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        set_up(place, tables={"limits": {"attempts_per_shift": 1}})
        deadly = file_ticket(place, "A ticket that kills its process", command=f"sleep {_SECONDS}")
        other = file_ticket(place, f"Write {_OTHER}", command=f"printf 'drill\\n' > {_OTHER}", priority=Priority.P1)
        deaths, first_at, done = 0, 0.0, None
        while deaths < _DEATHS and done is None:
            running = place.start(*shift_arguments())
            done = _wait_for_work(place, running, deadly, deaths)
            if done is None:
                running.kill()
                deaths += 1
                first_at = first_at or place.elapsed()
                place.say(f"killed for the {deaths}. time")
        took = place.elapsed() - first_at
        return _judged(place, done, deaths, (deadly, other), took)


def _wait_for_work(place: Place, running: Started, deadly: str, tries: int) -> Done | None:
    """Wait until the ticket is being worked once more than ``tries`` times: None; or how the shift ended before."""
    while running.running:
        if _tries(place, deadly) > tries:
            time.sleep(_SETTLE_SECONDS)
            if ticket(place, deadly).state is State.BUILDING:
                return None
        if place.left() <= 0.2:
            running.kill()
            raise NotDone(f"the ticket was not taken up within the drill's {place.seconds:.0f} s")
        time.sleep(_POLL_SECONDS)
    return running.wait()


def _tries(place: Place, ticket_id: str) -> int:
    """How often the work on the ticket was begun."""
    with project(place).store.read() as tx:
        subjects = [f"try:{session.id}/{ticket_id}" for session in sessions.list(tx)]
        return sum(1 for subject in subjects for _ in ledger.entries(tx, subject=subject))


def _judged(place: Place, done: Done | None, deaths: int, filed: tuple[str, str], took: float) -> Observed:
    deadly, other = filed
    wrong = []
    aside = ticket(place, deadly)
    if done is None:
        wrong.append(f"{deadly} was taken up again after it had killed its process {deaths} times")
    elif done.status not in (0, 1):
        wrong.append(f"the shift ended with {done.status}: {short(done.tail())}")
    elif deaths == 0:
        wrong.append(f"the shift ended without working {deadly}: nothing was injected")
    if done is not None and aside.state is not State.QUARANTINED:
        wrong.append(f"{deadly} is {aside.state}, and not in quarantine")
    elif done is not None and not aside.note:
        wrong.append(f"{deadly} is in quarantine, and nothing says why")
    if problem := worked(place, other):
        wrong.append(problem)
    happened = "; ".join(wrong) or (
        f"{deadly} is in quarantine after it had killed its process {deaths} times ({short(aside.note, 120)}), and"
        f" {other} was worked"
    )
    evidence = {"deaths": deaths, "state": str(aside.state), "note": aside.note}
    found = not wrong
    return Observed(found, happened, took if found else None, took if found else None, evidence)


DRILL = CrashLoop()
