"""What a subject is compared with: learned at first, rolling along, or saved under a name."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from nightcrew.model.clock import isoformat
from nightcrew.model.drifting import FIXED, ROLLING, DriftSettings
from nightcrew.model.errors import NotFoundError, UsageError
from nightcrew.monitoring import query
from nightcrew.monitoring.drift.keys import goes_on, in_parts
from nightcrew.monitoring.drift.profile import Names, Numbers, Profile
from nightcrew.monitoring.sketches import Distribution, Items
from nightcrew.store import drifts, series
from nightcrew.store.store import Tx

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_WATCHED = ("feature.", "prediction", "confidence")


def watched(tx: Tx, subject: str) -> list[str]:
    """The names of the series of a subject that are watched for drift."""
    found = query.catalogue(tx, subject=subject)
    kinds = (Distribution.kind, Items.kind)
    return list(dict.fromkeys(one.name for one in found if one.name.startswith(_WATCHED) and one.kind in kinds))


def shown(name: str) -> str:
    """The name of a feature as people read it."""
    return name.removeprefix("feature.")


def measured(tx: Tx, subject: str, start: datetime, end: datetime) -> Profile:
    """The profile of what was measured of a subject in that time."""
    made = Profile(start=isoformat(start), end=isoformat(end))
    for name in watched(tx, subject):
        parts = in_parts(tx, name, subject, start, end)
        moving = goes_on(part.numbers for part in parts)
        items = _merged_items([part.items for part in parts if part.items is not None])
        numbers = _merged([part.numbers for part in parts if part.numbers is not None])
        # Of a field that was now this, now that, what came more often counts.
        if items is not None and (numbers is None or items.count > numbers.count):
            made.names[name] = Names.of_sketch(items)
        elif numbers is not None and not moving:
            made.numbers[name] = Numbers.of_sketch(numbers)
    return made


def _merged(parts: Sequence[Distribution]) -> Distribution | None:
    for one in parts[1:]:
        parts[0].merge(one)
    return parts[0] if parts else None


def _merged_items(parts: Sequence[Items]) -> Items | None:
    for one in parts[1:]:
        parts[0].merge(one)
    return parts[0] if parts else None


def save(tx: Tx, subject: str, name: str, start: datetime, end: datetime, *, actor: str) -> Profile:
    """Save what was measured in that time as a reference of that name; raises UsageError, NotFoundError."""
    if not _NAME.fullmatch(name) or name in (FIXED, ROLLING):
        raise UsageError(f"{name!r} cannot be the name of a reference", hint="Use letters, digits, - and _.")
    if start >= end:
        raise UsageError("the time begins after its end")
    profile = measured(tx, subject, start, end)
    if not profile.features:
        raise NotFoundError(
            f"nothing was measured of {subject} in that time", hint="List what was with: nightcrew metrics list"
        )
    drifts.save_reference(tx, subject, name, profile.dump(), actor=actor)
    return profile


class Current(NamedTuple):
    """The reference to compare with; ``fresh`` if it was learned just now and is to be saved."""

    name: str
    doc: bytes
    fresh: bool = False


def current(
    tx: Tx, subject: str, settings: DriftSettings, *, begin: datetime | None, now: datetime, least: int
) -> Current | None:
    """The reference to compare with; None while there is none. Only reads.

    A fixed one is learned when ``least`` values of any feature are there, measured since ``begin``; a rolling one is
    learned anew each day.
    """
    if settings.reference not in (FIXED, ROLLING):
        found = drifts.reference(tx, subject, settings.reference)
        if found is not None:
            return Current(settings.reference, found[0])
    name = ROLLING if settings.reference == ROLLING else FIXED
    found = drifts.reference(tx, subject, name)
    if found is not None and (name == FIXED or now - found[1] < timedelta(days=1)):
        return Current(name, found[0])
    first = begin or _first(tx)
    if name == ROLLING:
        first = max(first, now - timedelta(days=settings.rolling_days)) if first else None
    profile = measured(tx, subject, first, now) if first is not None and first < now else Profile()
    if _values(profile) < least:
        return None if found is None else Current(name, found[0])
    return Current(name, profile.dump(), fresh=True)


def _values(profile: Profile) -> int:
    counts: Mapping[str, float] = {
        **{name: sum(one.counts) for name, one in profile.numbers.items()},
        **{name: one.total for name, one in profile.names.items()},
    }
    return int(max(counts.values(), default=0))


def _first(tx: Tx) -> datetime | None:
    found = [series.first_of(tx, span, after=0) for span in (series.MINUTE, series.HOUR, series.DAY)]
    return min((datetime.fromtimestamp(one, UTC) for one in found if one is not None), default=None)
