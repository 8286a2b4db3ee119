"""What did not come: nothing seen for a while, or by a time of day."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from nightcrew.model.alerting import AlertRule
from nightcrew.monitoring import query
from nightcrew.monitoring.alerts.local_time import last_deadline, local
from nightcrew.monitoring.alerts.words import at
from nightcrew.store import ledger, rows, series
from nightcrew.store.series import DAY, HOUR
from nightcrew.store.store import Tx

_HABIT = timedelta(days=28)
_HABIT_TIMES = 3
_HABIT_SPAN = 8 * DAY
"""A week and its weekend: trials on one day, or the first working week, are no habit."""

_HABIT_MARGIN = 2 * HOUR


@dataclass(frozen=True)
class Absence:
    """Seconds since it was last seen (None: never), whether it is missing, and from when on it was looked for."""

    value: float | None
    missing: bool
    start: datetime
    words: Mapping[str, str] = field(default_factory=dict)


def look(tx: Tx, rule: AlertRule, subject: str, labels: Mapping[str, str], now: datetime, zone: str) -> Absence | None:
    """Whether a subject is missing; None while nothing can be expected of it."""
    numbers = numbers_of(tx, rule.metric, subject, labels)
    seen = series.latest(tx, numbers)
    age = None if seen is None else max(0.0, now.timestamp() - seen)
    if rule.expected_by:
        times = last_deadline(rule, now, zone)
        if times is None:
            return None
        since, deadline = times
        if not _was_there(tx, deadline, seen):
            return None
        words = {"since": at(local(since, zone)), "deadline": at(local(deadline, zone))}
        return Absence(age, seen is None or seen <= since.timestamp(), since, words)
    if age is None or seen is None or rule.absent is None:
        return None
    allowed = rule.absent * 60
    if rule.habit:
        pause = _longest_pause(tx, rule.metric, subject, labels, now)
        if pause is None:
            return None
        allowed = max(allowed, pause + _HABIT_MARGIN)
    return Absence(age, age > allowed, datetime.fromtimestamp(seen, UTC))


def _was_there(tx: Tx, deadline: datetime, seen: int | None) -> bool:
    """Whether anything could have come by the deadline: nightcrew was there, or what is expected came before it."""
    if seen is not None and seen <= deadline.timestamp():
        return True
    first = next(ledger.entries(tx, limit=1), None)
    return first is not None and rows.from_time(first.at) <= deadline


def numbers_of(tx: Tx, metric: str, subject: str, labels: Mapping[str, str]) -> list[int]:
    """The series that are meant."""
    return [
        number
        for number, one in series.find(tx, name=metric, subject=subject).items()
        if all(dict(one.labels).get(label) == value for label, value in labels.items())
    ]


def _longest_pause(tx: Tx, metric: str, subject: str, labels: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of the longest pause in four weeks, to the hour; None if it came too rarely, or over too short a time."""
    steps = query.windows(tx, metric, subject, now - _HABIT, now, step=HOUR, where=labels)
    times = [step.start.timestamp() for step in steps if step.count]
    if len(times) < _HABIT_TIMES or times[-1] - times[0] < _HABIT_SPAN:
        return None
    return max(later - earlier for earlier, later in pairwise(times))
