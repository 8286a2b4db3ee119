"""What of a schedule is due now, what was missed, what comes next: its times against what the store says was done."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nightcrew.model.scheduling import Occurrence, Schedule, between, ends, occurrences
from nightcrew.schedule.zones import zone_of
from nightcrew.store import firings, schedules
from nightcrew.store.schedules import Kept
from nightcrew.store.store import Tx

MOST_MISSED = 50
"""Of so many missed times each is noted by itself; of what came before them the number."""


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
    """How long the oldest time waits that nobody has dealt with, beyond its jitter; 0 if none does."""
    oldest = next(_open(tx, kept), None)
    if oldest is None:
        return 0.0
    return max(0.0, (tx.now() - oldest.due).total_seconds() - 60 * kept.schedule.jitter_minutes)


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
    last = firings.last_due(tx, kept.schedule.name)
    after = max(moment for moment in (kept.since, last) if moment is not None)
    return between(kept.schedule, zone_of(kept.schedule), after=after, until=tx.now())
