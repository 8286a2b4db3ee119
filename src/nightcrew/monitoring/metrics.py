"""Measuring: values are put into lists as they come, into sketches now and then, and into the store once a second.

A recorder writes what it has of each minute so far over what it wrote before. So nothing is counted twice, any number
of recorders in any number of processes add up, and a killed process loses at most what it had not written: a second.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from threading import Lock

from numpy.typing import ArrayLike

from nightcrew.model.clock import Clock, system_clock
from nightcrew.monitoring.sketches import FEATURE_K, MEASURE_K, Distribution, Items
from nightcrew.store import series
from nightcrew.store.series import MINUTE, Point, Series
from nightcrew.store.store import Store, Tx

WRITE_SECONDS = 1.0
"""How often a recorder is written, at most."""


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


class Recorder:
    """Takes measures of one process; threads may share it.

    A series is a name (``seconds``), a subject (``step:fraud/score``) and labels (``state="accepted"``).
    """

    def __init__(self, clock: Clock = system_clock, *, writer: str | None = None) -> None:
        self._clock = clock
        self._writer = writer or uuid.uuid4().hex
        self._cells: dict[tuple[Series, int], _Sum | Distribution | Items] = {}
        self._dirty: set[tuple[Series, int]] = set()
        self._writing: set[tuple[Series, int]] = set()
        self._ids: dict[Series, int] = {}
        self._buffers: list[tuple[Series, int, list[float]]] = []
        self._lock = Lock()
        self._due = 0.0

    def count(self, name: str, subject: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._sum(Series(name, subject, tuple(sorted(labels.items())), "counter"), value)

    def gauge(self, name: str, subject: str, value: float, **labels: str) -> None:
        """Note a reading of what goes up and down."""
        self._sum(Series(name, subject, tuple(sorted(labels.items())), "gauge"), value)

    def observe(self, name: str, subject: str, values: ArrayLike, *, k: int = MEASURE_K, **labels: str) -> None:
        """Take one or many numbers into a distribution."""
        with self._lock:
            self._distribution(Series(name, subject, tuple(sorted(labels.items())), "distribution"), k).add(values)

    def feature(self, name: str, subject: str, values: ArrayLike, *, missing: int = 0) -> None:
        """Take numbers of a feature of the input or the output, of which ``missing`` more had none."""
        with self._lock:
            cell = self._distribution(Series(name, subject, (), "distribution"), FEATURE_K)
            cell.add(values)
            cell.missing += missing

    def items(self, name: str, subject: str, names: Iterable[str | None], **labels: str) -> None:
        """Take names (None: missing) into a count of each."""
        with self._lock:
            cell = self._cell(Series(name, subject, tuple(sorted(labels.items())), "items"), Items)
            assert isinstance(cell, Items)  # noqa: S101 - a series is of one kind
            cell.add(names)

    def buffer(self, name: str, subject: str, **labels: str) -> Callable[[float], None]:
        """The fastest way in: an ``append`` for numbers of a distribution, at some 20 ns a value."""
        found: list[float] = []
        with self._lock:
            made = Series(name, subject, tuple(sorted(labels.items())), "distribution")
            self._buffers.append((made, MEASURE_K, found))
        return found.append

    def write_if_due(self, tx: Tx) -> bool:
        """Write within ``tx`` if the last time is a second ago; :meth:`written` says that it was committed."""
        if time.monotonic() < self._due:
            return False
        self.write(tx)
        return True

    def write(self, tx: Tx) -> None:
        """Write what is new within ``tx``; if that is rolled back, it is written again the next time."""
        with self._lock:
            self._drain()
            self._writing = set(self._dirty)
            fresh = {key[0] for key in self._writing if key[0] not in self._ids}
            for made in fresh:
                self._ids[made] = series.identify(tx, made)
            series.put(tx, [self._point(key) for key in sorted(self._writing, key=lambda key: (key[1], key[0]))])

    def written(self) -> None:
        """The transaction of the last :meth:`write` was committed."""
        with self._lock:
            self._dirty -= self._writing
            self._writing = set()
            now = self._minute()
            for key in [key for key in self._cells if key[1] < now - MINUTE and key not in self._dirty]:
                del self._cells[key]
            self._due = time.monotonic() + WRITE_SECONDS

    def rolled_back(self) -> None:
        """The transaction of the last :meth:`write` was not committed."""
        with self._lock:
            self._writing = set()
            self._ids.clear()  # Those made in it are not there.

    def flush(self, store: Store) -> None:
        """Write what is new in a transaction of its own."""
        with self._lock:
            self._drain()
            if not self._dirty:
                return
        try:
            with store.begin() as tx:
                self.write(tx)
        except BaseException:
            self.rolled_back()
            raise
        self.written()

    def _minute(self) -> int:
        return int(self._clock().timestamp()) // MINUTE * MINUTE

    def _sum(self, made: Series, value: float) -> None:
        with self._lock:
            cell = self._cell(made, _Sum)
            assert isinstance(cell, _Sum)  # noqa: S101 - a series is of one kind
            cell.add(value)

    def _distribution(self, made: Series, k: int) -> Distribution:
        cell = self._cell(made, lambda: Distribution(k))
        assert isinstance(cell, Distribution)  # noqa: S101 - a series is of one kind
        return cell

    def _cell(self, made: Series, new: Callable[[], _Sum | Distribution | Items]) -> _Sum | Distribution | Items:
        key = (made, self._minute())
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = new()
        self._dirty.add(key)
        return cell

    def _drain(self) -> None:
        for made, k, found in self._buffers:
            size = len(found)
            if size:
                self._distribution(made, k).add(found[:size])
                del found[:size]  # What another thread appended meanwhile stays.

    def _point(self, key: tuple[Series, int]) -> Point:
        made, at = key
        cell = self._cells[key]
        sketch = cell.dump() if isinstance(cell, Distribution | Items) else None
        total, low, high = (0.0, None, None) if isinstance(cell, Items) else (cell.total, cell.low, cell.high)
        last = cell.last if isinstance(cell, _Sum) else None
        return Point(
            self._ids[made], MINUTE, at, self._writer, cell.count, cell.missing, total, low, high, last, sketch
        )
