"""Last night and what waits, in few words and quickly: what ``nightcrew`` alone says."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from nightcrew.crew.project import Project
from nightcrew.model.document import Document
from nightcrew.model.errors import NightcrewError
from nightcrew.model.review import WAITING
from nightcrew.model.scheduling import occurrences
from nightcrew.model.ticket import State
from nightcrew.schedule.zones import zone_of
from nightcrew.store import alerts, browsing, schedules, shifts, tickets
from nightcrew.store.store import Tx


class Line(Document):
    """A ticket and what there is to say of it: its title, or a reason."""

    ticket: str
    text: str


class Asked(Document):
    """A review that waits for a person."""

    id: str
    ticket: str
    title: str
    reason: str
    severity: str


class NextRun(Document):
    """The next time that a schedule is due, in UTC and as its clocks show it."""

    schedule: str
    due: datetime
    local: datetime


class LastNight(Document):
    """The last shift, None before the first, and how things stand now; ``tickets`` are counts by state."""

    shift: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    outcome: str = ""
    merged: tuple[Line, ...] = ()
    not_finished: tuple[Line, ...] = ()
    not_checked: int = 0
    waiting: tuple[Asked, ...] = ()
    quarantined: tuple[Line, ...] = ()
    tickets: dict[str, int] = Field(default_factory=dict)
    firing: tuple[str, ...] = ()
    next_run: NextRun | None = None
    notes: tuple[str, ...] = ()

    @property
    def needs_you(self) -> bool:
        """Whether something waits for a person."""
        return bool(self.waiting or self.quarantined)


def last_night(project: Project) -> LastNight:
    """What somebody wants to know first. What the shift did is its report's word; what waits is as it is now."""
    notes: list[str] = []
    with project.store.read() as tx:
        shift = shifts.latest(tx)
        report = shift.report or {} if shift is not None else {}
        return LastNight(
            shift=shift.id if shift else None,
            started=shift.started if shift else None,
            ended=shift.ended if shift else None,
            outcome=(shift.outcome or "running") if shift else "",
            merged=_lines(report, "merged", "title"),
            not_finished=_lines(report, "deferred", "reason"),
            not_checked=len(_rows(report, "not_checked")),
            waiting=tuple(_waiting(tx)),
            quarantined=tuple(
                Line(ticket=one.id, text=one.note) for one in tickets.all(tx, states=[State.QUARANTINED])
            ),
            tickets=browsing.ticket_counts(tx),
            firing=tuple(f"{one.id} {one.message}" for one in alerts.open_ones(tx) if one.fired is not None),
            next_run=_next_run(tx, notes),
            notes=tuple(notes),
        )


def _lines(report: Mapping[str, Any], part: str, said: str) -> tuple[Line, ...]:
    """A part of a stored report. It is not read as a whole: that takes all that makes one, and this is to be quick."""
    return tuple(Line(ticket=str(row.get("ticket", "")), text=str(row.get(said, ""))) for row in _rows(report, part))


def _rows(report: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    found = report.get(part)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _waiting(tx: Tx) -> list[Asked]:
    return [
        Asked(
            id=row.id,
            ticket=row.ticket,
            title=row.title or "(its ticket is not in the database)",
            reason=row.reason,
            severity=row.severity,
        )
        for row in browsing.review_rows(tx, WAITING)
    ]


def _next_run(tx: Tx, notes: list[str]) -> NextRun | None:
    """The earliest time at which any schedule is due."""
    found = []
    try:
        for kept in schedules.list(tx):
            one = kept.schedule
            for at in occurrences(one, zone_of(one), after=tx.now(), count=1):
                found.append(NextRun(schedule=one.name, due=at.due, local=at.local))
    except NightcrewError as error:
        notes.append(f"the next run cannot be told: {error}")
    return min(found, key=lambda run: run.due, default=None)
