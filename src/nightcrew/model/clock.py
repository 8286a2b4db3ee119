"""Time as a parameter: everything that needs the time is given a clock."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the time now, timezone-aware, in UTC."""


def system_clock() -> datetime:
    """The system's time, in UTC, to the microsecond."""
    return datetime.now(UTC)


def isoformat(moment: datetime) -> str:
    """``moment`` as RFC 3339 text in UTC with microseconds and a Z; raises ValueError for a naive time."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
