"""How long measures are kept, and how finely: minutes become hours, hours become days, and the old ones go."""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby

from nightcrew.monitoring.query import Window
from nightcrew.store import series
from nightcrew.store.series import DAY, HOUR, MINUTE, Point
from nightcrew.store.store import Store, Tx

GRACE_SECONDS = 600
"""So long after its end a span of time is merged: a writer that was held up has written by then."""

_AT_ONCE = 48
"""Spans merged in one transaction."""


def maintain(
    store: Store, now: datetime, *, minutes_days: int = 7, hours_days: int = 90, days_days: int = 1095
) -> None:
    """Merge what is over into coarser points and delete what is older than the days given for each.

    Costs one small read if there is nothing to do. Any number of processes may call it.
    """
    at = int(now.timestamp())
    for finer, span in ((MINUTE, HOUR), (HOUR, DAY)):
        while _behind(store, finer, span, at):
            with store.begin() as tx:
                _merge_next(tx, finer, span, at)
    keep = ((MINUTE, minutes_days, HOUR), (HOUR, hours_days, DAY), (DAY, days_days, None))
    for span, days, merged_into in keep:
        before = (at - days * DAY) // DAY * DAY
        with store.read() as tx:
            if merged_into is not None:
                before = min(before, series.rolled_until(tx, merged_into) // DAY * DAY)
            oldest = series.first_of(tx, span, after=0)
        if oldest is not None and oldest < before:
            with store.begin() as tx:
                series.forget(tx, span=span, before=before)


def _end(span: int, at: int) -> int:
    return (at - GRACE_SECONDS) // span * span


def _behind(store: Store, finer: int, span: int, at: int) -> bool:
    """Whether there is something to merge: no more than a look at the first point after what was merged."""
    with store.read() as tx:
        first = series.first_of(tx, finer, after=series.rolled_until(tx, span))
        end = _end(span, at) if finer == MINUTE else min(_end(span, at), series.rolled_until(tx, finer))
    return first is not None and first < end // span * span


def _merge_next(tx: Tx, finer: int, span: int, at: int) -> None:
    end = _end(span, at) if finer == MINUTE else min(_end(span, at), series.rolled_until(tx, finer))
    end = end // span * span
    first = series.first_of(tx, finer, after=series.rolled_until(tx, span))
    if first is None or first >= end:
        return
    start = first // span * span
    end = min(end, start + _AT_ONCE * span)
    found = series.spanned(tx, span=finer, start=start, end=end)
    series.put(tx, list(_merged(found, span, series.find(tx))))
    series.note_rolled(tx, span, end)


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
