"""Whether a feature goes on and on with time, as numbers of records and times do: then it is no drift that it moves."""

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from nightcrew.monitoring import query
from nightcrew.monitoring.sketches import Distribution
from nightcrew.store.series import HOUR, MINUTE
from nightcrew.store.store import Tx

_PARTS = 120
_VALUES = 10
_LEAST = 4
_MOST = 0.8


def in_parts(tx: Tx, name: str, subject: str, start: datetime, end: datetime) -> list[query.Window]:
    """What a series measured in that time, in parts of whole minutes, or hours: as many as tell whether it goes on."""
    step = max(int((end - start).total_seconds()) // _PARTS // MINUTE, 1) * MINUTE
    if step > HOUR // 2:
        step = -(-step // HOUR) * HOUR
    return query.windows(tx, name, subject, start, end, step=step)


def goes_on(parts: Iterable[Distribution | None]) -> bool | None:
    """Whether nearly all of each part lies beyond all of the one before; None if there is too little to say."""
    blocks: list[tuple[float, float]] = []
    lows: list[float] = []
    highs: list[float] = []
    count = 0
    for one in parts:
        low, high = (None, None) if one is None else (one.quantile(0.1), one.quantile(0.9))
        if one is None or low is None or high is None:
            continue
        lows.append(low)
        highs.append(high)
        count += one.count
        if count >= _VALUES:
            blocks.append((min(lows), max(highs)))
            lows, highs, count = [], [], 0
    if len(blocks) < _LEAST:
        return None
    beyond = sum(low >= before and high > before for (_, before), (low, high) in pairwise(blocks))
    return beyond >= _MOST * (len(blocks) - 1)
