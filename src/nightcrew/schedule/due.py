"""What of a schedule is due now, what was missed, what comes next: its times against what the store says was done."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightcrew.model.scheduling import Occurrence, Schedule, between, ends, occurrences
from nightcrew.schedule.zones import zone_of
from nightcrew.store import firings, locks, schedules
from nightcrew.store.schedules import Kept
from nightcrew.store.store import Tx

MOST_MISSED = 50
"""Of so many missed times each is noted by itself; of what came before them the number."""

JUST_NOW = timedelta(hours=1)
"""How far back is looked where it is not known since when: so often cron asks."""


@dataclass(frozen=True)
class Due:
    """What nobody has dealt with: the times that are over and will not be made up for, and the one that is to run now.

    Only the latest runs: a machine that was off for a week has one night to make up for, not seven.
    """

    missed: tuple[Occurrence, ...]
    unlisted: int
    now: Occurrence | None
    too_late: bool
    """Whether the last one that was missed was the latest, and what it was to end at has passed."""


def due(tx: Tx, kept: Kept) -> Due:
    """What is due of a schedule."""
    found: deque[Occurrence] = deque(maxlen=MOST_MISSED + 1)
    count = 0
    for one in _open(tx, kept):
        found.append(one)
        count += 1
    last = found.pop() if found else None
    missed, unlisted = tuple(found)[-MOST_MISSED:], max(0, count - 1 - MOST_MISSED)
    if last is not None and over(kept.schedule, last.due, tx.now()):
        return Due((*missed, last), unlisted, None, too_late=True)
    return Due(missed, unlisted, last, too_late=False)


def overdue_seconds(tx: Tx, kept: Kept) -> float:
    """How long the oldest time waits that nobody has dealt with, beyond its jitter; 0 if none does.

    While a run goes on, whatever is due meanwhile has been called; that it takes too long is told by its own alert.
    """
    oldest = next(_open(tx, kept), None)
    if oldest is None or is_held(tx, kept.schedule.name):
        return 0.0
    return max(0.0, (tx.now() - oldest.due).total_seconds() - 60 * kept.schedule.jitter_minutes)


def lock_of(name: str) -> str:
    """The lock that who runs a schedule holds."""
    return f"schedule:{name}"


def is_held(tx: Tx, name: str) -> bool:
    """Whether a process runs the schedule."""
    lock = locks.find(tx, lock_of(name))
    return lock is not None and lock.expires > tx.now()


def over(schedule: Schedule, due: datetime, now: datetime) -> bool:
    """Whether a run that was due at ``due`` should have ended by now."""
    end = ends(schedule, zone_of(schedule), due)
    return end is not None and end <= now


def following(schedule: Schedule, now: datetime, count: int = 3) -> list[Occurrence]:
    """The next times after ``now``."""
    return occurrences(schedule, zone_of(schedule), after=now, count=count)


def next_run(tx: Tx) -> tuple[Schedule, Occurrence] | None:
    """The schedule that is due next of all, and when; None if there is none."""
    found = [(kept.schedule, one) for kept in schedules.list(tx) for one in following(kept.schedule, tx.now(), count=1)]
    return min(found, key=lambda pair: pair[1].due, default=None)


def _open(tx: Tx, kept: Kept) -> Iterator[Occurrence]:
    now, last = tx.now(), firings.last_due(tx, kept.schedule.name)
    # A schedule that was installed while the clock was ahead is as good as new.
    known = [moment for moment in (kept.since, last) if moment is not None and moment <= now]
    return between(kept.schedule, zone_of(kept.schedule), after=max(known, default=now - JUST_NOW), until=now)
