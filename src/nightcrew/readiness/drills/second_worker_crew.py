"""Two shifts over one repository: the second is refused while the first lives, and takes over when it is dead."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from nightcrew.model.ticket import State
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import file_ticket, git, project, shift_arguments, short, ticket
from nightcrew.readiness.drills.night import refusals
from nightcrew.readiness.drills.protocol import Done, NotDone, Observed, On, Place, Started
from nightcrew.readiness.target import Target
from nightcrew.store import handoffs, sessions, turns

_BUSY = 75
_POLL_SECONDS = 0.02
_FILE = "nightcrew-drill-worker.txt"
_AGENTS = ("build", "qa", "security")


@dataclass(frozen=True)
class SecondWorkerCrew:
    """See ``Drill``."""

    name: str = "second-worker"
    title: str = "of two workers one works; when it dies, the other takes its work over"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "a second shift beside one that works a ticket; then kill -9 of the first, and the second again"
    expects: str = (
        "the second is refused while the first lives, and told who works; once that is dead it takes the work over at"
        " once, and the ticket is done once"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew has shifts
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        name = file_ticket(place, "Write a line", command=f"sleep 4; printf 'drill\\n' >> {_FILE}")
        first = place.start(*shift_arguments(*_AGENTS))
        _wait_for_work(place, first, name)
        place.say("an agent is at work; a second shift begins beside it")
        second = place.nightcrew(*shift_arguments(*_AGENTS))
        if not first.running and second.status == _BUSY:
            raise NotDone(f"the first shift ended before the second was tried: {first.wait().tail()}")
        first.kill()
        wrong = list(_refused(second, first.pid))
        if wrong:
            return Observed(False, "; ".join(wrong), evidence={"second": second.status})
        killed = place.elapsed()
        place.say("the first is killed; the second takes over")
        over = place.nightcrew(*shift_arguments(*_AGENTS))
        recovered = place.elapsed() - killed
        if over.status not in (0, 1):
            wrong.append(f"the first is dead, and the second does not take over: {over.tail(300)}")
        else:
            wrong += _done_once(place, name)
        evidence = {
            "refused_with": second.status, "said": _told(second), "took_over": over.status,
            "ticket": str(ticket(place, name).state),
        }  # fmt: skip
        happened = "; ".join(wrong) or (
            f"the second shift was refused ({_told(second)}); after the kill it took over, and did"
            f" {name} once, within {recovered:.1f} s"
        )
        return Observed(not wrong, happened, None, recovered, evidence)


def _wait_for_work(place: Place, shift: Started, name: str) -> None:
    while True:
        with project(place).store.read() as tx:
            if any(turn.ticket == name for one in sessions.list(tx) for turn in turns.of(tx, one.id)):
                return
        if not shift.running or place.left() <= 0.2:
            raise NotDone(f"no agent came to work before the shift ended: {shift.wait().tail()}")
        time.sleep(_POLL_SECONDS)


def _refused(second: Done, first: int) -> Iterator[str]:
    if second.status in (0, 1):
        yield "a second shift worked beside one that lived: two workers had the same tickets"
    elif second.status != _BUSY:
        yield f"the second shift was not told to come again later, it broke: {second.tail(300)}"
    elif str(first) not in _told(second):
        yield f"the second shift was not told who works, which is process {first}: {_told(second)}"


def _done_once(place: Place, name: str) -> Iterator[str]:
    now = ticket(place, name)
    with project(place).store.read() as tx:
        yield from refusals(handoffs.list(tx, ticket=name))
    if now.state not in (State.DONE, State.IN_REVIEW) or now.head is None:  # A playbook may send all to a person.
        yield f"{name} ended {now.state}, not done, when the second worker had taken over"
        return
    into = project(place).settings.merge.into if now.state is State.DONE else now.head
    lines = git(place, "show", f"{into}:{_FILE}").split()
    if len(lines) != 1:
        yield f"the work of {name} is there {len(lines)} times"
    commits = git(place, "log", "--format=%H", into, "--", _FILE).split()
    if len(commits) != 1:
        yield f"{name} is in {len(commits)} commits"
    audit = place.nightcrew("audit", "verify", "--json")
    if audit.status != 0:
        yield f"the audit finds something wrong: {audit.tail(300)}"


def _told(second: Done) -> str:
    """What the second shift was told, of the error that it printed as JSON."""
    try:
        return str(json.loads(second.errors)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return short(second.errors, 300)


DRILL = SecondWorkerCrew()
