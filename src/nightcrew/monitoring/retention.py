"""How long measures are kept, and how finely: minutes become hours, hours become days, and the old ones go."""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby

from nightcrew.monitoring.query import Window
from nightcrew.store import series, totals
from nightcrew.store.series import DAY, HOUR, MINUTE, Point
from nightcrew.store.store import Store

GRACE_SECONDS = 600
"""So long after its end a span of time is merged: a writer that was held up has written by then."""

_AT_ONCE = 6
"""Spans merged in one transaction."""


def maintain(
    store: Store, now: datetime, *, minutes_days: int = 7, hours_days: int = 90, days_days: int = 1095
) -> None:
    """Merge what is over into coarser points and delete what is older than the days given for each.

    Costs one small read if there is nothing to do. Any number of processes may call it.
    """
    at = int(now.timestamp())
    for finer, span in ((MINUTE, HOUR), (HOUR, DAY)):
        _not_ahead(store, finer, span, at)
        while _merge_next(store, finer, span, at):
            pass
    keep = ((MINUTE, minutes_days, HOUR), (HOUR, hours_days, DAY), (DAY, days_days, None))
    for span, days, merged_into in keep:
        before = (at - days * DAY) // DAY * DAY
        with store.read() as tx:
            if merged_into is not None:
                before = min(before, series.rolled_until(tx, merged_into) // DAY * DAY)
            oldest = series.first_of(tx, span, after=0)
        if oldest is not None and oldest < before:
            with store.begin() as tx:
                if merged_into is None:
                    totals.keep(tx, before)
                series.forget(tx, span=span, before=before)


def _end(span: int, at: int) -> int:
    return (at - GRACE_SECONDS) // span * span


def _not_ahead(store: Store, finer: int, span: int, at: int) -> None:
    """A clock that was ahead has left a mark in the future: what is measured until then would never be merged.

    Merging again from all that is kept gives the same points, and those that are missing.
    """
    with store.read() as tx:
        ahead = series.rolled_until(tx, span) > at
    if ahead:
        with store.begin() as tx:
            series.note_rolled(tx, span, min(series.forgotten(tx, finer), at // DAY * DAY))


def _merge_next(store: Store, finer: int, span: int, at: int) -> bool:
    """Merge some of what is over, if there is some: read and made apart, so that the one writer is held only to write.

    Gives whether there may be more.
    """
    with store.read() as tx:
        mark = series.rolled_until(tx, span)
        first = series.first_of(tx, finer, after=mark)
        end = _end(span, at) if finer == MINUTE else min(_end(span, at), series.rolled_until(tx, finer))
        end = end // span * span
        more = first is not None and first < end
        if not more and (mark == 0 or mark >= end):
            return False
        made: list[Point] = []
        if first is not None and more:
            start = first // span * span
            end = min(end, start + _AT_ONCE * span)
            made = list(_merged(series.spanned(tx, span=finer, start=start, end=end), span, series.find(tx)))
    with store.begin() as tx:
        if series.rolled_until(tx, span) == mark:  # Else somebody else has done it meanwhile.
            series.put(tx, made)
            series.note_rolled(tx, span, end)
    return more


def _merged(found: Iterator[Point], span: int, known: dict[int, series.Series]) -> Iterator[Point]:
    for (number, at), points in groupby(found, key=lambda point: (point.series, point.at // span * span)):
        window = Window(datetime.min, span)
        for point in points:
            window.add(point, known[number].kind)
        sketch = window.numbers or window.items
        yield Point(
            number, span, at, "", window.count, window.missing, window.total, window.low, window.high, window.last,
            None if sketch is None else sketch.dump(),
        )  # fmt: skip
