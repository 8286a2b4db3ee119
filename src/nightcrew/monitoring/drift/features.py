"""Features of the records of a pipeline, a sample of them, put into the store as series.

What is stored is numbers, and names of categories that come again and again. A text is taken for a name only when fifty
values of its field were seen and say so; a name that came once, an address, a long number or a date is counted as
``(other)``. A field of which too little was seen is not stored.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, proxy

import numpy as np
from numpy.typing import NDArray

from nightcrew.monitoring.drift.kinds import OTHER, Kind, nameable
from nightcrew.monitoring.drift.reading import Columns, PatientReader, Reader
from nightcrew.monitoring.drift.text import STATISTICS
from nightcrew.monitoring.drift.wording import storable_name
from nightcrew.reliability import Result

if TYPE_CHECKING:
    from nightcrew.monitoring.metrics import Recorder
    from nightcrew.store.store import Store

__all__ = ["FeatureRecorder", "Reader", "known_from", "record_features", "record_predictions"]

FEATURE = "feature."

MAX_FEATURES = 200
"""Further features of a subject are not stored."""

_MAX_NAMES = 5000
_BLOCK, _LARGEST_BLOCK = 20, 1280
_RISES = 5


class FeatureRecorder:
    """Feeds the features of sampled records of one subject into a recorder, as series ``feature.FIELD``.

    ``known`` are features that are known (name of the series to ``distribution`` or ``items``): each stays of its kind.
    ``names`` are known names of categories of them.
    """

    def __init__(
        self, recorder: "Recorder", subject: str, leave_out: frozenset[str] = frozenset(),
        known: Mapping[str, str] | None = None, names: Mapping[str, Iterable[str]] | None = None,
    ) -> None:  # fmt: skip
        self.recorder = recorder
        self.subject = subject
        self._series = dict(known or {})
        self._names = {series: _Names(found) for series, found in (names or {}).items()}
        self._moving: dict[str, _Moving] = {}
        self._inputs = PatientReader(leave_out, _known_kinds(FEATURE, known or {}))
        self._outputs = PatientReader(leave_out, _known_kinds("", known or {}))

    def take(self, records: Sequence[Any]) -> None:
        """The features of ``records``, which went in."""
        columns, _ = self._inputs.columns(records)
        self._record(FEATURE, columns, self._inputs)

    def take_predictions(self, outputs: Sequence[Any], confidences: Sequence[float | None] = ()) -> None:
        """What came out, as ``prediction`` or ``prediction.FIELD``; and how sure it was, as ``confidence``."""
        if len(outputs):
            made = [one.value if isinstance(one, Result) else one for one in outputs]
            columns, _ = self._outputs.columns([{"prediction": one} for one in made])
            self._record("", columns, self._outputs)
        if any(one is not None for one in confidences):
            numbers = np.array([np.nan if one is None else one for one in confidences], dtype=np.float64)
            self.recorder.observe("confidence", self.subject, numbers[np.isfinite(numbers)])

    def _record(self, prefix: str, columns: Columns, reader: Reader) -> None:
        for name, values in columns.items():
            kind = "distribution" if isinstance(values, np.ndarray) else "items"
            series = prefix + storable_name(name)
            if series not in self._series and len(self._series) >= MAX_FEATURES:
                if name in reader.kinds:
                    reader.kinds[name] = "none"
                continue
            if self._series.setdefault(series, kind) != kind:
                values = np.full(len(values), np.nan) if kind == "items" else [None] * len(values)
            if isinstance(values, np.ndarray):
                self._record_numbers(series, name, values, reader)
            elif name in reader.closed:
                self.recorder.items(series, self.subject, values)
            else:
                self.recorder.items(series, self.subject, self._names.setdefault(series, _Names()).stored(values))

    def _record_numbers(self, series: str, name: str, values: NDArray[np.float64], reader: Reader) -> None:
        there = values[np.isfinite(values)]
        if reader.kinds.get(name) == "number" and self._moving.setdefault(series, _Moving()).goes_on(there):
            reader.kinds[name] = "none"  # A key, or a time, after all.
            return
        self.recorder.feature(series, self.subject, there, missing=len(values) - len(there))


class _Names:
    """Which names of a field of categories may be stored: those that came before, and are no address or number."""

    __slots__ = ("_known", "_once")

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = {name for name in known if nameable(name)}
        self._once: set[str] = set()

    def stored(self, values: Sequence[str | None]) -> list[str | None]:
        counted = Counter(values)
        allowed = {value: self._of(value, times) for value, times in counted.items() if value is not None}
        return [None if value is None else allowed[value] for value in values]

    def _of(self, value: str, times: int) -> str:
        if value in self._known:
            return value
        if not nameable(value) or len(self._known) >= _MAX_NAMES:
            return OTHER
        if value in self._once or times > 1:
            self._once.discard(value)
            self._known.add(value)
            return value
        if len(self._once) >= _MAX_NAMES:
            self._once.clear()
        self._once.add(value)
        return OTHER


class _Moving:
    """Whether the values of a field go on and on, as numbers of records and times do: each few beyond all before.

    How few grows while that is not so: records of many workers come in some disorder.
    """

    __slots__ = ("_block", "_high", "_low", "_rises", "_waiting")

    def __init__(self) -> None:
        self._block = _BLOCK
        self._low = self._high = np.nan
        self._rises = 0
        self._waiting = np.zeros(0)

    def goes_on(self, values: NDArray[np.float64]) -> bool:
        self._waiting = np.concatenate((self._waiting, values)) if len(self._waiting) else values
        if len(self._waiting) < self._block:
            return False
        ordered = np.sort(self._waiting)
        low, high = float(ordered[len(ordered) // 10]), float(ordered[-1 - len(ordered) // 10])
        self._waiting = self._waiting[:0]
        if low >= self._high and high > self._high:
            self._rises += 1
        elif not low == high == self._low == self._high:
            self._rises, self._block = 0, min(2 * self._block, _LARGEST_BLOCK)
        self._low, self._high = low, high
        return self._rises >= _RISES


def _known_kinds(prefix: str, known: Mapping[str, str]) -> dict[str, Kind]:
    """The kinds of fields, from the names and kinds of the series that were made of them."""
    found: dict[str, Kind] = {}
    for series, kind in known.items():
        if not series.startswith(prefix) or (not prefix and series.startswith(FEATURE)):
            continue
        name = series[len(prefix) :]
        field, _, statistic = name.rpartition(".")
        if kind == "items":
            found[name] = "name"
        elif statistic in STATISTICS and field:
            if all(f"{prefix}{field}.{one}" in known for one in STATISTICS):
                found[field] = "text"
            elif statistic != "length":
                found[name] = "number"
        elif statistic != "size" or not field:
            found[name] = "number"
    return found


def known_from(store: "Store", subject: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The features of a subject's reference, as :class:`FeatureRecorder` takes them: kinds, and names of categories."""
    from nightcrew.model.drifting import FIXED, ROLLING
    from nightcrew.model.errors import NightcrewError
    from nightcrew.monitoring.drift.profile import Profile
    from nightcrew.store import drifts

    with store.read() as tx:
        found = drifts.reference(tx, subject, FIXED) or drifts.reference(tx, subject, ROLLING)
    if found is None:
        return {}, {}
    try:
        profile = Profile.load(found[0], where=f"the reference of {subject}")
    except NightcrewError:
        return {}, {}  # Whoever looks for drift says so.
    kinds = {**dict.fromkeys(profile.numbers, "distribution"), **dict.fromkeys(profile.names, "items")}
    return kinds, {name: list(one.counts) for name, one in profile.names.items()}


def record_features(
    recorder: "Recorder", subject: str, records: Sequence[Any], leave_out: frozenset[str] = frozenset(),
    store: "Store | None" = None,
) -> None:  # fmt: skip
    """Feed the features of a sample of records; what kind each field is, is remembered with the recorder.

    With a ``store`` fields are, from the start, of the kinds that the subject's reference says.
    """
    _recorder_of(recorder, subject, leave_out, store).take(records)


def record_predictions(
    recorder: "Recorder", subject: str, outputs: Sequence[Any], confidences: Sequence[float | None] = (),
    leave_out: frozenset[str] = frozenset(), store: "Store | None" = None,
) -> None:  # fmt: skip
    """Feed what came out of a sample of records, and how sure it was; remembers kinds as :func:`record_features`.

    ``leave_out`` are names of fields, at any depth, that are not looked at; fields that a model marks as secret are
    not, either.
    """
    _recorder_of(recorder, subject, leave_out, store).take_predictions(outputs, confidences)


_KEPT: "WeakKeyDictionary[Recorder, dict[tuple[str, frozenset[str]], FeatureRecorder]]" = WeakKeyDictionary()


def _recorder_of(
    recorder: "Recorder", subject: str, leave_out: frozenset[str], store: "Store | None"
) -> FeatureRecorder:
    kept = _KEPT.setdefault(recorder, {})
    found = kept.get((subject, leave_out))
    if found is None:
        known, names = known_from(store, subject) if store is not None else ({}, {})
        # A weak reference in it, or the recorder would keep itself alive.
        found = kept[subject, leave_out] = FeatureRecorder(proxy(recorder), subject, leave_out, known, names)
    return found
