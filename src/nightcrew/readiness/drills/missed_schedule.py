"""A schedule that nothing called for days: somebody is told, the last time is made up for once, and no other is."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import must, project
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target
from nightcrew.store import alerts, firings, schedules
from nightcrew.store.firings import Firing

_OFF = timedelta(hours=50)
_AGO = timedelta(minutes=30)
_MISSED = 2
"""Of three daily times within fifty hours, the last of them half an hour ago, all but that one."""
RULE = "schedule-missed"


@dataclass(frozen=True)
class MissedSchedule:
    """See ``Drill``."""

    name: str = "missed-schedule"
    title: str = "a schedule that nothing calls is told of, and made up for once"
    boxes: tuple[Box, ...] = (Box.MONITORING,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "a nightly schedule that was due three times, the last half an hour ago, and nothing called it"
    expects: str = (
        "an alert says so; the next call runs one shift, for the last time, and notes the others as missed; a further"
        " call runs nothing; the alert is over then"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew can have schedules
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        name = f"drill-{secrets.token_hex(3)}"
        _install(place, name)
        place.say("looking at the alerts, as something does all the time")
        injected = place.elapsed()
        looked = place.nightcrew("alerts", "check", "--json")
        wrong, detected = [], None
        if _is_told(place, name):
            detected = place.elapsed() - injected
        else:
            wrong.append(f"nobody is told that the schedule was missed: no alert {RULE} fires{_why(looked.errors)}")
        place.say("calling the schedule, as the machine does when it is up again")
        called = place.nightcrew("schedule", "fire", name, "--json")
        recovered = place.elapsed() - injected
        if called.status not in (0, 1):
            wrong.append(f"the call after the outage broke: {called.tail(300)}")
        first = _history(place, name)
        wrong += _judged(first)
        again = place.nightcrew("schedule", "fire", name, "--json")
        if again.status not in (0, 1):
            wrong.append(f"a further call broke: {again.tail(300)}")
        if len(_history(place, name)) != len(first) or (again.status == 0 and again.json()):
            wrong.append("a further call ran it again although nothing was due")
        place.nightcrew("alerts", "check", "--json")
        if detected is not None and _is_told(place, name):
            wrong.append("the alert goes on firing although the schedule has run")
        evidence = {"schedule": name, "firings": [one.plain() for one in first]}
        happened = "; ".join(wrong) or (
            f"the alert {RULE} fired at the first look; the next call ran shift {first[0].shift} once, late, and noted"
            f" {_MISSED} times as missed; a further call ran nothing, and the alert is over"
        )
        stood_in = "a schedule of the drill's own, whose beginning was set back by two days, stood in for time gone by"
        return Observed(not wrong, happened, detected, recovered, evidence, stood_in)


def _install(place: Place, name: str) -> None:
    """Install a schedule as a user does, and set back since when it counts, as if the machine had been off."""
    must(place, "schedule", "install", "--name", name, "--backend", "in-process", "--zone", "UTC", "--at", "00:00",
         "--agent", "build", "--max-minutes", "5")  # fmt: skip
    due = datetime.now(UTC) - _AGO
    with project(place).store.begin() as tx:
        schedule = schedules.get(tx, name).schedule
        at = f"{due:%H:%M}"
        if at == "00:00":
            at = "00:01"
        then = replace(tx, clock=lambda: due - _OFF + _AGO)
        schedules.save(then, schedule.model_copy(update={"at": (at,)}), actor="drill")


def _judged(history: Sequence[Firing]) -> Iterator[str]:
    ran = [one for one in history if one.state in ("done", "failed", "running")]
    missed = [one for one in history if one.state == "missed"]
    if not ran:
        yield "the night was not made up for: the call after the outage ran no shift"
    elif len(ran) > 1:
        yield f"the call after the outage ran {len(ran)} shifts, one for each missed night, where one was due"
    elif ran[0].state != "done" or ran[0].shift is None:
        yield f"the shift that made up for it ended as {ran[0].state}: {ran[0].detail or ran[0].outcome}"
    elif ran[0].due != max(one.due for one in history):
        yield "an old time was made up for, not the last one"
    if len(missed) < _MISSED and len(ran) <= 1:
        yield f"{_MISSED} times passed without a run, and the history names {len(missed)} of them as missed"


def _is_told(place: Place, name: str) -> bool:
    with project(place).store.read() as tx:
        return any(
            one.rule == RULE and one.subject == f"schedule:{name}" and one.state in ("firing", "acknowledged")
            for one in alerts.open_ones(tx)
        )


def _history(place: Place, name: str) -> list[Firing]:
    with project(place).store.read() as tx:
        return firings.list(tx, schedule=name)


def _why(errors: str) -> str:
    return f" ({errors.strip()[-200:]})" if errors.strip() else ""


DRILL = MissedSchedule()
