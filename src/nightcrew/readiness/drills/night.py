"""What a shift of a drill's own tickets works on, and what it must come to, however it was broken off."""

import time
from collections import Counter
from typing import TYPE_CHECKING

from nightcrew.model.handoff import Verdict
from nightcrew.model.ticket import State
from nightcrew.readiness.drills.protocol import NotDone, Observed, Place, Started
from nightcrew.readiness.target import CrewTarget
from nightcrew.store import handoffs, ledger, sessions, tickets, turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nightcrew.crew.project import Project
    from nightcrew.model.handoff import Handoff

POLL_SECONDS = 0.02
_ENDS = (State.DONE, State.IN_REVIEW)
"""A playbook may send every change to a person."""
_FILE = "nightcrew-drill-{}.txt"
_COMMAND = "sleep 2; printf 'drill\\n' >> {}"


def begun(place: Place, count: int = 2) -> tuple[list[str], Started]:
    """File ``count`` tickets that append a line to a file each, begin a shift, wait until an agent is at work on one.

    Gives the files and the shift. Raises NotDone if it does not come to that.
    """
    files = [_FILE.format(number) for number in range(count)]
    for file in files:
        must(place, "ticket", "add", f"Write {file}", "--command", _COMMAND.format(file))
    shift = place.start("shift")
    place.say("waiting for an agent to be at work")
    while not charged(place):
        if not shift.running or place.left() <= 0.2:
            raise NotDone(f"no agent came to work before the shift ended: {shift.wait().tail()}")
        time.sleep(POLL_SECONDS)
    return files, shift


def judged(place: Place, files: list[str], went_on: str, detected: float | None, recovered: float) -> Observed:
    """What is wrong after the shift that ended, if anything; ``went_on`` says how it came to its end.

    ``detected`` and ``recovered`` in seconds.
    """
    project = project_of(place)
    with project.store.read() as tx:
        mine = [ticket for ticket in tickets.all(tx) if ticket.origin == "human"]
        all_sessions = sessions.list(tx)
        spent = Counter(
            (session.id, turn.ticket) for session in all_sessions for turn in turns.of(tx, session.id) if turn.ticket
        )
        handed = handoffs.list(tx)
    written = Counter((one.ticket, one.sender, one.kind) for one in handed if one.sender == "build")
    done = [ticket for ticket in mine if ticket.state is State.DONE]
    wrong = [f"{ticket.id} ended {ticket.state}, not done" for ticket in mine if ticket.state not in _ENDS]
    if len(mine) != len(files):
        wrong.append(f"{len(files)} tickets were filed, and {len(mine)} are there")
    wrong += [f"{session.id} is still {session.state}" for session in all_sessions if session.state != "ended"]
    wrong += [
        f"{name} was charged {count} turns for {ticket}, whose command is one"
        for (name, ticket), count in spent.items()
        if count > 1
    ]
    wrong += [f"{ticket} was handed on {count} times" for (ticket, _, _), count in written.items() if count > 1]
    wrong += refusals(handed)
    into = project.settings.merge.into
    for file in files:
        if any(ticket.title.endswith(file) for ticket in done):
            wrong += _in_branch(place, into, file)
    audit = place.nightcrew("audit", "verify", "--json")
    wrong += [] if audit.ok else [f"the audit finds something wrong: {audit.tail(200)}"]
    evidence = {
        "tickets": {ticket.id: str(ticket.state) for ticket in mine}, "turns": spent.total(),
        "sessions": len(all_sessions), "handoffs": sum(written.values()),
    }  # fmt: skip
    happened = "; ".join(wrong) or (
        f"{went_on}: {len(done)} tickets are done, each in one commit, {len(mine) - len(done)} wait for a person, and"
        f" {spent.total()} turns are charged"
    )
    return Observed(not wrong, happened, detected, recovered, evidence)


def refusals(handed: "Sequence[Handoff]") -> list[str]:
    """Where a desk found the drill's work, which is right, to be wrong."""
    return [
        f"{one.sender} says that the work on {one.ticket} is wrong: {one.done[:300]}"
        for one in handed
        if one.verdict is Verdict.FAILED
    ]


def _in_branch(place: Place, branch: str, file: str) -> list[str]:
    """What is wrong with a file that one ticket appends one line to."""
    git = project_of(place).git
    head = git.ref(f"refs/heads/{branch}")
    commits = [] if head is None else git.data("log", "--format=%H", head, "--", file).text.split()
    if not commits:
        return [f"the work on {file} is not in {branch}"]
    found = git.data("show", f"{head}:{file}").text
    wrong = [] if found == "drill" else [f"{file} holds {found!r}, not the one line that was written"]
    return wrong + ([f"{file} was committed {len(commits)} times"] if len(commits) > 1 else [])


def must(place: Place, *arguments: str) -> None:
    """Run a command in the copy; raises NotDone if it fails."""
    done = place.nightcrew(*arguments)
    if done.status not in (0, 1):
        raise NotDone(f"nightcrew {' '.join(arguments)}: {done.tail()}")


def project_of(place: Place) -> "Project":
    """The crew of the copy."""
    assert isinstance(place.target, CrewTarget)  # noqa: S101 - see ``on``
    return place.target.project


def charged(place: Place) -> int:
    """How many turns the copy's sessions were charged."""
    with project_of(place).store.read() as tx:
        return sum(turns.used(tx, session.id) for session in sessions.list(tx))


def entries(place: Place) -> int:
    """The number of the last entry in the ledger of the copy."""
    with project_of(place).store.read() as tx:
        head = ledger.head(tx)
    return 0 if head is None else head.seq
