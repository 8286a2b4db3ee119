"""Measuring: values are put into lists as they come, into sketches now and then, and into the store once a second.

A recorder writes what it has of each minute so far over what it wrote before. So nothing is counted twice, any number
of recorders in any number of processes add up, and a killed process loses at most what it had not written: a second,
and of features, which are written when their minute is over, a minute.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Lock

from numpy.typing import ArrayLike

from nightcrew.model.clock import Clock, system_clock
from nightcrew.monitoring.sketches import FEATURE_K, MEASURE_K, Distribution, Items
from nightcrew.store import series
from nightcrew.store.series import MINUTE, Point, Series
from nightcrew.store.store import Store, Tx

_Key = tuple[Series, int]


class _Sum:
    """A counter's increments, or a gauge's readings, of one minute."""

    __slots__ = ("count", "high", "last", "low", "missing", "total")

    def __init__(self) -> None:
        self.count = self.missing = 0
        self.total = 0.0
        self.low: float | None = None
        self.high: float | None = None
        self.last: float | None = None

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.last = value
        self.low = value if self.low is None else min(self.low, value)
        self.high = value if self.high is None else max(self.high, value)


@dataclass(slots=True)
class _Cell:
    """What is measured of a series in a minute; ``slow`` is written only when that is over."""

    value: _Sum | Distribution | Items
    writer: str
    slow: bool


class Recorder:
    """Takes measures of one process; threads may share it.

    A series is a name (``seconds``), a subject (``step:fraud/score``) and labels (``state="accepted"``).
    """

    def __init__(self, clock: Clock = system_clock, *, writer: str | None = None) -> None:
        self._clock = clock
        self._writer = self._name = writer or _name_of_writer()
        self._cells: dict[_Key, _Cell] = {}
        self._dirty: set[_Key] = set()
        self._ids: dict[Series, int] = {}
        self._dropped = 0
        self._times_back = 0
        self._lock = Lock()
        self._flushing = Lock()

    def count(self, name: str, subject: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._sum(Series(name, subject, tuple(sorted(labels.items())), "counter"), value)

    def gauge(self, name: str, subject: str, value: float, **labels: str) -> None:
        """Note a reading of what goes up and down."""
        self._sum(Series(name, subject, tuple(sorted(labels.items())), "gauge"), value)

    def observe(self, name: str, subject: str, values: ArrayLike, **labels: str) -> None:
        """Take one or many numbers into a distribution."""
        made = Series(name, subject, tuple(sorted(labels.items())), "distribution")
        with self._lock:
            self._distribution(made, MEASURE_K, slow=False).add(values)

    def feature(self, name: str, subject: str, values: ArrayLike, *, missing: int = 0) -> None:
        """Take numbers of a feature of the input or the output, of which ``missing`` more had none."""
        with self._lock:
            cell = self._distribution(Series(name, subject, (), "distribution"), FEATURE_K, slow=True)
            cell.add(values)
            cell.missing += missing

    def items(self, name: str, subject: str, names: Iterable[str | None], **labels: str) -> None:
        """Take names (None: missing) into a count of each."""
        with self._lock:
            cell = self._cell(Series(name, subject, tuple(sorted(labels.items())), "items"), Items, slow=True)
            assert isinstance(cell, Items)  # noqa: S101 - a series is of one kind
            cell.add(names)

    def write(self, tx: Tx) -> None:
        """Write all that is new within ``tx``. If that is rolled back it is lost; :meth:`flush` keeps it."""
        with self._flushing:
            self._put(tx, self._taken(everything=True))

    def flush(self, store: Store, *, everything: bool = True) -> None:
        """Write what is new in a transaction of its own; if that fails, it is written the next time.

        Features of the running minute are left for later unless ``everything`` is to be written.
        """
        with self._flushing:
            found = self._taken(everything=everything)
            if not found:
                return
            try:
                with store.begin() as tx:
                    self._put(tx, found)
            except BaseException:
                with self._lock:
                    self._dirty |= found.keys()
                    self._ids.clear()  # Those made in the transaction are not there.
                raise
            self._drop_old()

    def _minute(self) -> int:
        return int(self._clock().timestamp()) // MINUTE * MINUTE

    def _sum(self, made: Series, value: float) -> None:
        with self._lock:
            cell = self._cell(made, _Sum, slow=False)
            assert isinstance(cell, _Sum)  # noqa: S101 - a series is of one kind
            cell.add(value)

    def _distribution(self, made: Series, k: int, *, slow: bool) -> Distribution:
        cell = self._cell(made, lambda: Distribution(k), slow=slow)
        assert isinstance(cell, Distribution)  # noqa: S101 - a series is of one kind
        return cell

    def _cell(
        self, made: Series, new: Callable[[], _Sum | Distribution | Items], *, slow: bool
    ) -> _Sum | Distribution | Items:
        minute = self._minute()
        key = (made, minute)
        cell = self._cells.get(key)
        if cell is None:
            if minute <= self._dropped:
                # The clock was set back to a minute that is written: under another name, nothing is written over it.
                self._times_back += 1
                self._writer = f"{self._name}~{self._times_back}"
                self._dropped = 0
            cell = self._cells[key] = _Cell(new(), self._writer, slow)
        self._dirty.add(key)
        return cell.value

    def _taken(self, *, everything: bool) -> dict[_Key, tuple[_Cell, Point]]:
        """What is to be written, as it is now; what comes meanwhile is for the next time."""
        with self._lock:
            now = self._minute()
            chosen = {key for key in self._dirty if everything or not self._cells[key].slow or key[1] != now}
            self._dirty -= chosen
            return {key: (self._cells[key], _point(self._cells[key], key[1])) for key in chosen}

    def _put(self, tx: Tx, found: dict[_Key, tuple[_Cell, Point]]) -> None:
        for made in {key[0] for key in found} - self._ids.keys():
            self._ids[made] = series.identify(tx, made)
        keys = sorted(found, key=lambda key: (key[1], key[0]))
        series.put(tx, [replace(found[key][1], series=self._ids[key[0]]) for key in keys])

    def _drop_old(self) -> None:
        with self._lock:
            over = self._minute() - MINUTE
            for key in [key for key in self._cells if key[1] < over and key not in self._dirty]:
                del self._cells[key]
                self._dropped = max(self._dropped, key[1])


def _name_of_writer() -> str:
    """A name that nobody else has, and that sorts after those made before: of readings of one minute the later counts.

    Commands that follow each other (look, run what was missed, look again) often do so within a minute.
    """
    return f"{time.time_ns():016x}{uuid.uuid4().hex[:16]}"


def _point(cell: _Cell, at: int) -> Point:
    """A cell as a point of a series that has no number yet."""
    value = cell.value
    sketch = value.dump() if isinstance(value, Distribution | Items) else None
    total, low, high = (0.0, None, None) if isinstance(value, Items) else (value.total, value.low, value.high)
    last = value.last if isinstance(value, _Sum) else None
    return Point(0, MINUTE, at, cell.writer, value.count, value.missing, total, low, high, last, sketch)
