"""What a clock on the wall shows when a schedule is due: launchd, systemd and cron know only such clocks."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from nightcrew.model.scheduling import DAYS, Schedule, first_moment
from nightcrew.schedule.zones import named

YEARS = 10
"""How many years are looked at: enough to meet each change of the clocks in each month that it can fall in."""

_NOON = time(12)
_EVERY_DAY = tuple(range(1, 8))
_EVERY_MONTH = tuple(range(1, 13))


@dataclass(frozen=True, order=True)
class LocalTime:
    """A time on the wall, on some days of the week (1 is Monday; none named: all) in some months (none named: all)."""

    hour: int
    minute: int
    days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()


def local_times(schedule: Schedule, zone: tzinfo, now: datetime) -> tuple[LocalTime, ...]:
    """The fewest times on a clock in ``zone`` among which is each occurrence of ``schedule`` in the ten years to come.

    There may be more than the schedule asks for: a clock in another zone shows another hour for some weeks of the year,
    and an occurrence whose hour is skipped when summer time begins has an hour of its own. Who is called at one of
    these times asks the schedule whether it is due.
    """
    months: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for moment in _moments(schedule, zone, now):
        months[moment.hour, moment.minute, moment.isoweekday()].add(moment.month)
    days: dict[tuple[int, int, tuple[int, ...]], set[int]] = defaultdict(set)
    for (hour, minute, day), some in months.items():
        days[hour, minute, tuple(sorted(some))].add(day)
    return tuple(
        sorted(
            LocalTime(hour, minute, _unless_all(tuple(sorted(some)), _EVERY_DAY), _unless_all(in_months, _EVERY_MONTH))
            for (hour, minute, in_months), some in days.items()
        )
    )


def local_minutes(schedule: Schedule, zone: tzinfo, now: datetime) -> tuple[int, ...]:
    """The minutes of the hour at which the schedule can be due on a clock in ``zone``."""
    return tuple(sorted({moment.minute for moment in _moments(schedule, zone, now)}))


def _moments(schedule: Schedule, zone: tzinfo, now: datetime) -> Iterator[datetime]:
    """What the clock shows on each day that is not like another one that was looked at."""
    own = named(schedule.zone) if schedule.zone else zone
    times = [time.fromisoformat(text) for text in schedule.at]
    # From the year's beginning, so that what is written stays the same for a year and mostly for longer.
    begin, end = date(now.year, 1, 1), date(now.year + YEARS, 1, 1)
    seen: set[tuple[object, ...]] = set()
    for day in (begin + timedelta(days=number) for number in range((end - begin).days)):
        if DAYS[day.weekday()] not in schedule.days:
            continue
        like = _like(day, (own, zone))
        if like is not None:
            if like in seen:
                continue
            seen.add(like)
        for at in times:
            due, _ = first_moment(day, at, own)
            local = due.astimezone(zone)
            yield local
            if local.fold:  # the clock shows this time twice; one that heeds only the first gets a later one as well
                yield (due + timedelta(hours=1)).astimezone(zone)


def _like(day: date, zones: tuple[tzinfo, tzinfo]) -> tuple[object, ...] | None:
    """What days have in common whose times fall on the same times of another clock; None if a clock changes near it."""
    near = [day + timedelta(days=number) for number in (-2, 0, 2)]
    offsets = [[zone.utcoffset(datetime.combine(one, _NOON)) for one in near] for zone in zones]
    if any(before != after for before, _, after in offsets):
        return None
    around = [(day + timedelta(days=number)).month for number in (-1, 0, 1)]
    return (day.weekday(), *around, *(one for _, one, _ in offsets))


def _unless_all(some: tuple[int, ...], every: tuple[int, ...]) -> tuple[int, ...]:
    return () if some == every else some
