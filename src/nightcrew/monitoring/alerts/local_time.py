"""Times of day where people are: in a named time zone, right on the days when the clocks change.

A time that comes twice, and one that is left out, is resolved by ``fold`` (PEP 495): 0 takes the earlier moment, 1 the
later one, of a time that comes twice.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from nightcrew.model.alerting import DAYS, AlertRule, clock_time


def moment(day: date, at: time, zone: str, *, fold: Literal[0, 1] = 0) -> datetime:
    """When it is ``at`` on ``day`` in the zone (empty: this machine's own), in UTC."""
    local = datetime.combine(day, at).replace(fold=fold)
    if zone:
        local = local.replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


def local(now: datetime, zone: str) -> datetime:
    """``now`` as people in the zone read it."""
    return now.astimezone(ZoneInfo(zone) if zone else None)


def last_deadline(rule: AlertRule, now: datetime, zone: str) -> tuple[datetime, datetime] | None:
    """Of a rule with ``expected_by``: from when on something counts, and the latest deadline that has passed.

    Both are lenient where a time comes twice: it counts from the first, and is late only after the second.
    """
    by = clock_time(rule.expected_by)
    since = clock_time(rule.expected_from) if rule.expected_from else by
    today = local(now, zone).date()
    for back in range(8):
        day = today - timedelta(days=back)
        deadline = moment(day, by, zone, fold=1)
        if DAYS[day.weekday()] in rule.days and deadline <= now:
            began = day if since < by else day - timedelta(days=1)
            return moment(began, since, zone, fold=0), deadline
    return None


def quiet_until(now: datetime, begins: str, ends: str, zone: str) -> datetime | None:
    """When the quiet hours end that ``now`` lies in, None if it lies in none."""
    if not begins or begins == ends:
        return None
    first, last = clock_time(begins), clock_time(ends)
    today = local(now, zone).date()
    for day in (today - timedelta(days=1), today):
        began = moment(day, first, zone)
        over = moment(day if first < last else day + timedelta(days=1), last, zone)
        if began <= now < over:
            return over
    return None
