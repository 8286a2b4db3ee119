"""A review that nobody decides in time: the next reviewer is asked, people are told, and nothing approves itself."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from nightcrew.model.review import Review, ReviewState
from nightcrew.model.ticket import Priority, State
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import settings
from nightcrew.readiness.drills.in_crew import (
    file_ticket,
    import_tickets,
    last_handoff,
    project,
    rules_of_reviews,
    set_up,
    shift,
    ticket,
    worked,
)
from nightcrew.readiness.drills.listening import Listener
from nightcrew.readiness.drills.protocol import NotDone, Observed, On, Place
from nightcrew.readiness.target import Target
from nightcrew.store import alert_messages, reviews, tickets

_HOURS = 0.0004
"""How long a review may wait in the copy: a second and a half."""
_OTHER = "nightcrew-drill-review.txt"
_ADDRESS = "NIGHTCREW_DRILL_CHANNEL"
_SAYS = "passed their deadline"
"""In the message; the morning report, which comes by the same way, only lists the review."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ExpiredReview:
    """See ``Drill``."""

    name: str = "expired-review"
    title: str = "a review past its deadline is told of and handed on, and never approves itself"
    boxes: tuple[Box, ...] = (Box.REVIEWS, Box.MONITORING)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "a review whose deadline passes before the shift begins"
    expects: str = (
        "the review is escalated and a message says so, its ticket goes on waiting and is not worked, and the rest of"
        " the night's work is done"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew has reviews
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        note = rules_of_reviews(place, deadline_hours=_HOURS)
        set_up(place, tables={"limits": {"attempts_per_shift": 1}})
        names = _to_one_address(place)
        severity = str(project(place).playbook.gates.severity)
        line = {"ref": "late", "title": "Gated work of the drill", "severity": severity, "command": "true"}
        (late,) = import_tickets(place, [line])
        other = file_ticket(place, f"Write {_OTHER}", command=f"printf 'drill\\n' > {_OTHER}", priority=Priority.P3)
        asked = _review(place, late)
        if asked is None:
            raise NotDone(f"{late} is as severe as the playbook's gate ({severity}), and nobody was asked about it")
        place.say("waiting for the deadline to pass")
        while project(place).clock() <= asked.deadline and place.left() > 0.2:
            time.sleep(_POLL_SECONDS)
        if project(place).clock() <= asked.deadline:
            raise NotDone(f"the deadline of {asked.id} did not pass within the drill's {place.seconds:.0f} s")
        injected = place.elapsed()
        with Listener() as channel:
            shift(place, env=dict.fromkeys(names, f"json://127.0.0.1:{channel.port}/"))
            took = place.elapsed() - injected
        told = [one for one in (*channel.received, *_filed(place)) if asked.id in one and _SAYS in one]
        wrong = _judged(place, asked, (late, other), told)
        after = _review(place, late)
        happened = "; ".join(wrong) or (
            f"{asked.id} was escalated, {len(told)} messages said so, {late} goes on waiting, and {other} was worked"
        )
        evidence = {"review": asked.id, "state": str(after.state) if after else "", "messages": len(told)}
        said = "; ".join(filter(None, (note, "an address on this machine stood in for those of the alerts")))
        return Observed(not wrong, happened, took, took, evidence, said)


def _to_one_address(place: Place) -> list[str]:
    """Let all channels of messages have their address from one variable; gives the variables to set.

    There are no quiet hours: it must not depend on the time of day at which it is drilled.
    """
    now = settings.load(place.root)
    alerts = now.get("alerts", {})
    now["alerts"] = {name: value for name, value in alerts.items() if not name.startswith("quiet_")}
    for channel in now.get("channel", []):
        if channel.get("kind", "message") == "message":
            channel.pop("urls_file", None)
            channel["urls_env"] = _ADDRESS
    settings.save(place.root, now)
    return [_ADDRESS, now.get("notify", {}).get("urls_env", "NIGHTCREW_NOTIFY")]


def _filed(place: Place) -> list[str]:
    """The messages that a ticket leads to, of channels that file one."""
    with project(place).store.read() as tx:
        known = {one.origin for one in tickets.all(tx)}
        messages = alert_messages.list(tx)
    return [f"{one.title}\n{one.body}" for one in messages if f"alert:message-{one.id}" in known]


def _review(place: Place, ticket_id: str) -> Review | None:
    with project(place).store.read() as tx:
        return next(iter(reviews.list(tx, ticket=ticket_id)), None)


def _judged(place: Place, asked: Review, filed: tuple[str, str], told: Sequence[str]) -> list[str]:
    late, other = filed
    wrong = []
    after = _review(place, late)
    state = None if after is None else after.state
    if state is ReviewState.APPROVED or last_handoff(place, late) is not None:
        wrong.append(f"{asked.id} passed its deadline, and {late} was worked without a person's decision")
    elif ticket(place, late).state is not State.IN_REVIEW:
        wrong.append(f"{late} is {ticket(place, late).state}, and nobody has decided about it")
    elif state is not ReviewState.ESCALATED:
        wrong.append(f"{asked.id} passed its deadline and is {state}: nobody else was asked")
    if not told:
        wrong.append(f"no message said at once that {asked.id} passed its deadline")
    if problem := worked(place, other):
        wrong.append(f"the late review kept the night from other work: {problem}")
    return wrong


DRILL = ExpiredReview()
