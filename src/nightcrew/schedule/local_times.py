"""What a clock on the wall shows when a schedule is due: launchd, systemd and cron know only such clocks."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from nightcrew.model.scheduling import Schedule, between
from nightcrew.schedule.zones import named

YEARS = 10
"""How many years are looked at: enough to meet each change of the clocks in each month that it can fall in."""

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
    # From the year's beginning, so that what is written stays the same for a year and mostly for longer.
    begin = datetime(now.year, 1, 1, tzinfo=UTC)
    own = named(schedule.zone) if schedule.zone else zone
    for occurrence in between(schedule, own, after=begin, until=begin.replace(year=now.year + YEARS)):
        local = occurrence.due.astimezone(zone)
        yield local
        if local.fold:  # the clock shows this time twice; one that heeds only the first gets a later one as well
            yield (occurrence.due + timedelta(hours=1)).astimezone(zone)


def _unless_all(some: tuple[int, ...], every: tuple[int, ...]) -> tuple[int, ...]:
    return () if some == every else some
