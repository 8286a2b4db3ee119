"""When shifts are to run by themselves: the document of a schedule, and its times, right when the clocks change.

A local time that is left out (the clocks go forward) is due at the first moment after the gap; one that comes twice
(the clocks go back) is due once, at the first. Both follow from one rule: a time is due as soon as the clocks show it,
or a later one.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nightcrew.model.document import Document
from nightcrew.model.errors import UsageError

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days in the order of ``date.weekday``."""

BackendName = Literal["launchd", "systemd", "cron", "in-process"]
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORDS = {"daily": "mon-sun", "weekdays": "mon-fri", "weekend": "sat-sun", "weekends": "sat-sun"}
_LONGEST_GAP = timedelta(days=2)

Time = Annotated[str, Field(pattern=_TIME.pattern, min_length=5, max_length=5)]
"""A time of day, HH:MM."""


class Schedule(Document):
    """When, and how, shifts of this repository run by themselves on this machine."""

    name: str = Field(default="nightly", pattern=rf"^{NAME.pattern}$", description="letters, digits and -")
    at: tuple[Time, ...] = Field(min_length=1, max_length=48, description="times of day, HH:MM, in order")
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, description="days of the week, in order")
    zone: str = Field(default="", description="IANA time zone, as Europe/Berlin; empty: the machine's own")
    agents: tuple[str, ...] = Field(default=(), description="only these agents; empty: the whole shift")
    brain: str = Field(default="", description="brain of the build agent; empty: as the settings say")
    max_minutes: int | None = Field(default=None, ge=1, description="end after this many minutes")
    until: Time | Literal[""] = Field(default="", description="end at this time of day, HH:MM")
    jitter_minutes: int = Field(default=0, ge=0, le=720, description="begin up to this many minutes later")
    backend: BackendName = Field(default="in-process", description="what of the machine calls it")

    @field_validator("at")
    @classmethod
    def _in_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))

    @field_validator("days")
    @classmethod
    def _from_monday(cls, value: tuple[Day, ...]) -> tuple[Day, ...]:
        return tuple(day for day in DAYS if day in value)

    @model_validator(mode="after")
    def _ends_elsewhere(self) -> "Schedule":
        if self.until in self.at:
            raise ValueError(f"a run at {self.until} cannot end at {self.until}")
        return self


@dataclass(frozen=True)
class Occurrence:
    """One time that a schedule is due: in UTC, as people there read it, and what is special about it (or "")."""

    due: datetime
    local: datetime
    note: str

    def plain(self) -> dict[str, str]:
        """As JSON has a form for."""
        due = self.due.isoformat().replace("+00:00", "Z")
        return {"due": due, "local": self.local.isoformat(timespec="minutes"), "note": self.note}


def occurrences(schedule: Schedule, zone: tzinfo, *, after: datetime, count: int) -> list[Occurrence]:
    """The next ``count`` times after ``after``; two that fall together (in a gap) are one."""
    found: list[Occurrence] = []
    for one in _all(schedule, zone, after):
        if len(found) == count:
            break
        found.append(one)
    return found


def between(schedule: Schedule, zone: tzinfo, *, after: datetime, until: datetime) -> Iterator[Occurrence]:
    """The times after ``after``, up to ``until`` and that moment too, in order."""
    for one in _all(schedule, zone, after):
        if one.due > until:
            return
        yield one


def first_moment(day: date, at: time, zone: tzinfo) -> tuple[datetime, str]:
    """When clocks in the zone first show ``at`` on ``day``, or a later time; in UTC, with a note if that is special."""
    wall = datetime.combine(day, at, tzinfo=zone)
    early, late = wall.replace(fold=0).astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    if early == late:
        return early, ""
    if early < late:
        return early, f"{at:%H:%M} comes twice on {day}; this is the first"
    # Of a time that is left out, fold=1 reckons with the offset after the gap: it lies before the gap's end (PEP 495).
    return _change(late, early, zone), f"there is no {at:%H:%M} on {day}: the clocks go forward"


def ends(schedule: Schedule, zone: tzinfo, due: datetime) -> datetime | None:
    """When a run that was due at ``due`` is to end because of ``until``; None without one.

    If clocks that go forward show the beginning and the end at one moment, a run has the minutes between them.
    """
    if not schedule.until:
        return None
    at, day = time.fromisoformat(schedule.until), due.astimezone(zone).date()
    if first_moment(day, at, zone)[0] == due:
        begins = [time.fromisoformat(text) for text in schedule.at]
        moved = [begin for begin in begins if begin < at and first_moment(day, begin, zone)[0] == due]
        if moved:
            return due + (datetime.combine(day, at) - datetime.combine(day, moved[0]))
    return next(
        moment
        for moment, _ in (first_moment(day + timedelta(days=ahead), at, zone) for ahead in range(4))
        if moment > due
    )


def jitter(schedule: Schedule, host: str, due: datetime) -> timedelta:
    """How much later this machine begins: whole seconds, the same each time for the same schedule, host and ``due``."""
    seconds = schedule.jitter_minutes * 60
    if not seconds:
        return timedelta()
    number = int.from_bytes(sha256(f"{schedule.name}\0{host}\0{due.isoformat()}".encode()).digest()[:8], "big")
    return timedelta(seconds=number % seconds)


def days_of(text: str) -> tuple[Day, ...]:
    """The days that a person names: ``mon-fri,sun``, ``weekdays``, ``weekend``, ``daily``; raises UsageError."""
    chosen: list[Day] = []
    for part in text.lower().replace(" ", "").split(","):
        first, dash, last = _WORDS.get(part, part).partition("-")
        try:
            begin = [day[: len(first)] for day in _LONG].index(first) if len(first) > 2 else -1
            end = [day[: len(last)] for day in _LONG].index(last) if len(last) > 2 else (-1 if dash else begin)
        except ValueError:
            begin = end = -1
        if min(begin, end) < 0:
            raise UsageError(f"{part!r} names no day", hint="Write mon,wed,fri or mon-fri, weekdays, weekend, daily.")
        chosen += [DAYS[number % 7] for number in range(begin, (end if end >= begin else end + 7) + 1)]
    return tuple(day for day in DAYS if day in chosen)


def times_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The times that a person names, each text one or several with commas; raises UsageError for what is no time."""
    found = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    for one in found:
        if not _TIME.fullmatch(one):
            raise UsageError(f"{one!r} is not a time", hint="Write it as HH:MM, such as 02:00.")
    if not found:
        raise UsageError("no time is given", hint="Write it as HH:MM, such as 02:00.")
    return tuple(sorted(set(found)))


def _all(schedule: Schedule, zone: tzinfo, after: datetime) -> Iterator[Occurrence]:
    last = after
    try:
        day = (after.astimezone(zone) - _LONGEST_GAP).date()
        while True:
            if DAYS[day.weekday()] in schedule.days:
                for text in schedule.at:
                    due, note = first_moment(day, time.fromisoformat(text), zone)
                    if due > last:
                        last = due
                        yield Occurrence(due, due.astimezone(zone), note)
            day += timedelta(days=1)
    except OverflowError:
        return  # The calendar ends in the year 9999.


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The first second, after ``before`` and up to ``after``, at which the zone's clocks were set forward."""
    low, high = 0, int((after - before).total_seconds())
    offset = before.astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)
