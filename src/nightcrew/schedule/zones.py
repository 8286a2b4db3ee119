"""The time zone of a schedule: the one it names, or this machine's own."""

from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nightcrew.model.errors import UsageError
from nightcrew.model.scheduling import Schedule

_LOCALTIME = Path("/etc/localtime")


def zone_of(schedule: Schedule) -> tzinfo:
    """The zone that the schedule's times are meant in; raises UsageError for a name that is no zone."""
    return named(schedule.zone) if schedule.zone else machine_zone()[1]


def named(zone: str) -> tzinfo:
    """The zone of an IANA name; raises UsageError for a name that is none."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"{zone!r} is no time zone", hint="Write it as Europe/Berlin, or leave it out.") from None


def machine_zone(localtime: Path = _LOCALTIME) -> tuple[str, tzinfo]:
    """The zone of this machine's clock and its name, which is empty if the machine has a copy without one.

    What calls a schedule goes by it. TZ does not count: it is a terminal's.
    """
    name = _linked(localtime)
    try:
        if name:
            return name, ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    try:
        with localtime.open("rb") as stream:
            return "", ZoneInfo.from_file(stream)
    except (OSError, ValueError):
        return "UTC", UTC


def _linked(localtime: Path) -> str:
    try:
        target = str(localtime.resolve(strict=True))
    except OSError:
        return ""
    _, found, name = target.partition("/zoneinfo/")
    return name.removeprefix("posix/").removeprefix("right/") if found else ""
