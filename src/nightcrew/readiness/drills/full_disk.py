"""A disk that runs full: no work is begun on it, a shift that meets it ends with an error, and nothing is lost."""

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nightcrew.model.ticket import State
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import settings
from nightcrew.readiness.drills.in_crew import file_ticket, git, must, project, shift_arguments, short, ticket
from nightcrew.readiness.drills.protocol import Done, NotDone, Observed, On, Place
from nightcrew.readiness.target import Target
from nightcrew.store import alerts, sessions, turns

RULE = "disk-full"
_POLL_SECONDS = 0.02
_LEAST_SECONDS = 0.2
_MOST_BYTES = 4096
"""What a file may hold once the disk is full: less than the database does."""
_FULL_SECONDS = 3.0
"""How long the disk stays full: a shift waits for room, and gives up after half a minute."""
_FULL_GIB = 1e12
_BUG = 70
_FILE = "nightcrew-drill-disk.txt"


@dataclass(frozen=True)
class FullDisk:
    """See ``Drill``."""

    name: str = "full-disk"
    title: str = "a disk that runs full is told of, stops the work, and costs none of it"
    boxes: tuple[Box, ...] = (Box.STATE, Box.MONITORING)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = (
        "first a disk with less room than [limits] min_free_gib asks for; then one that takes no further byte in the"
        f" middle of a session, for {_FULL_SECONDS:.0f} seconds"
    )
    expects: str = (
        "an alert fires, and the session ends without working; the shift that meets the full disk waits, or ends with"
        " an error that says so; with room again the work is done, once, and the ledger fits"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew has a disk
        """See ``Drill``."""
        if not hasattr(resource, "prlimit"):
            return "a full disk is made here by a limit on a process that runs, which only Linux has"
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        name = file_ticket(place, "Write a line", command=f"sleep 1; printf 'drill\\n' >> {_FILE}")
        injected = place.elapsed()
        detected, wrong = _nearly_full(place, name)
        detected -= injected
        if wrong:
            return Observed(False, "; ".join(wrong), evidence={"ticket": str(ticket(place, name).state)})
        place.say("the disk has room; a shift begins, and meets a disk that is full")
        met = _full_in_the_middle(place)
        wrong += met.wrong()
        place.say("there is room again")
        room = place.elapsed() - met.seconds_since_room
        done = met.done
        if not met.went_on or ticket(place, name).state is not State.DONE:
            done = place.nightcrew(*shift_arguments("build", "qa", "security"))
        recovered = place.elapsed() - room
        if done.status not in (0, 1):
            wrong.append(f"with room again the work does not go on: {done.tail(300)}")
        else:
            wrong += _done_once(place, name)
        evidence = {
            "status": met.done.status, "said": short(met.done.errors, 300), "went_on": met.went_on,
            "ticket": str(ticket(place, name).state),
        }  # fmt: skip
        how = "waited for room and went on" if met.went_on else f"ended with {met.done.status} and said so"
        happened = "; ".join(wrong) or (
            f"the alert {RULE} fired and the session was ended before it worked; the shift that met the full disk"
            f" {how}; {name} was done once"
        )
        stood_in = (
            "a free space asked for that no disk has stood in for a disk that is nearly full, and a limit on how large"
            " files may grow for one that is full: the real disk was not filled"
        )
        return Observed(not wrong, happened, detected, recovered, evidence, stood_in)


def _nearly_full(place: Place, name: str) -> tuple[float, list[str]]:
    """When the alert was looked for, and what is wrong when there is less room than asked for."""
    before = settings.load(place.root)
    settings.save(place.root, {**before, "limits": {**before.get("limits", {}), "min_free_gib": _FULL_GIB}})
    wrong = []
    try:
        must(place, "alerts", "check", "--json")
        with project(place).store.read() as tx:
            told = [one for one in alerts.open_ones(tx) if one.rule == RULE and one.state == "firing"]
        if not told:
            wrong.append(f"nobody is told that the disk is nearly full: no alert {RULE} fires")
        looked = place.elapsed()
        done = must(place, *shift_arguments("build"))
        with project(place).store.read() as tx:
            worked = [one.id for one in sessions.list(tx) for turn in turns.of(tx, one.id) if turn.ticket == name]
        if worked or ticket(place, name).state is not State.OPEN:
            wrong.append(f"work went on although the disk was nearly full: {name} is {ticket(place, name).state}")
        elif "GiB are free" not in done.output:
            wrong.append(f"the report does not say that the disk kept {name} from being worked")
    finally:
        settings.save(place.root, before)
    return looked, wrong


@dataclass(frozen=True)
class Met:
    """How the shift did that met a full disk; ``went_on``: it still ran when there was room again."""

    done: Done
    went_on: bool
    seconds_since_room: float

    def wrong(self) -> Iterator[str]:
        """What is wrong with how it ended."""
        if self.done.status is None:
            yield f"the shift that met the full disk hung: {self.done.tail(300)}"
        elif self.done.status in (0, 1) and not self.went_on:
            yield "the shift reported success although its state could not be written"
        elif self.done.status == _BUG or "Traceback" in self.done.errors:
            yield f"the shift that met the full disk broke without a word that helps: {self.done.tail(300)}"


def _full_in_the_middle(place: Place) -> Met:
    """Start a shift, fill the disk once an agent is at work, and make room again."""
    with project(place).store.read() as tx:
        before = _charged(tx)
    shift = place.start(*shift_arguments("build", "qa", "security"))
    while True:
        with project(place).store.read() as tx:
            if _charged(tx) > before:
                break
        if not shift.running or place.left() <= _LEAST_SECONDS:
            raise NotDone(f"no agent came to work before the shift ended: {shift.wait().tail()}")
        time.sleep(_POLL_SECONDS)
    limits = resource.prlimit(shift.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(shift.pid, resource.RLIMIT_FSIZE, (_MOST_BYTES, limits[1]))
    full = place.elapsed()
    while shift.running and place.elapsed() - full < _FULL_SECONDS and place.left() > _LEAST_SECONDS:
        time.sleep(_POLL_SECONDS)
    went_on = shift.running
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(shift.pid, resource.RLIMIT_FSIZE, limits)
    room = place.elapsed()
    done = shift.wait()
    return Met(done, went_on, place.elapsed() - room)


def _charged(tx: Any) -> int:
    return sum(turns.used(tx, one.id) for one in sessions.list(tx))


def _done_once(place: Place, name: str) -> Iterator[str]:
    state = ticket(place, name).state
    if state is not State.DONE:
        shown = place.nightcrew("ticket", "show", name)
        yield f"{name} ended {state}, not done: {shown.tail(300)}"
        return
    into = project(place).settings.merge.into
    lines = git(place, "show", f"{into}:{_FILE}").split()
    if len(lines) != 1:
        yield f"the work of {name} is there {len(lines)} times"
    audit = place.nightcrew("audit", "verify", "--json")
    if audit.status != 0:
        yield f"the audit finds something wrong: {audit.tail(300)}"


DRILL = FullDisk()
