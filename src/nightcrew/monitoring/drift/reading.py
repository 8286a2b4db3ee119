"""Columns of features from records: which fields there are, and their values.

A field of numbers is a numeric feature; booleans, enumerations and short texts of few kinds are categorical; longer
texts, or ever different ones, give numbers about the text (:mod:`~nightcrew.monitoring.drift.text`); lists give their
length; the fields that most objects inside have are named ``outer.inner``, one level deep, and a map with ever
different keys gives its size. What was decided at first stays so: a number in a field of names is missing there. Times,
bytes, secrets and keys (numbers that rise with every record, short words that never come twice) are no features: they
differ from before by nature.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightcrew.monitoring.drift.kinds import (
    Kind,
    as_numbers,
    at_once,
    fields_of,
    inner_fields,
    kind_of,
    numbers_at_once,
    settled,
    within,
)
from nightcrew.monitoring.drift.text import frequent_words, table, unknown_words
from nightcrew.reliability.secrets import secret_names

Columns = dict[str, "NDArray[np.float64] | list[str | None]"]

MAX_FIELDS = 400
"""Of more fields no kind is decided."""

_MAX_HELD = 300
_PLAIN = (dict, list, tuple, set, str, bytes, int, float, bool, type(None))


class Reader:
    """Turns records, or columns, into columns of features; remembers of what kind each field is.

    ``leave_out`` are names of fields, at any depth, that are never looked at; what a model, a dataclass or a TypedDict
    marks as secret is added to them. ``kinds`` are known ones.
    """

    def __init__(self, leave_out: Iterable[str] = (), kinds: Mapping[str, Kind] | None = None) -> None:
        self.leave_out = frozenset(leave_out)
        self.kinds: dict[str, Kind] = dict(kinds or {})
        self.closed: set[str] = set()
        """Features of names whose type (a boolean, an enumeration) has no others."""
        self._inner: dict[str, list[str]] = {}
        self._words: dict[str, frozenset[str]] = {}
        self._types: set[type] = set(_PLAIN)
        self._hidden: set[type] = set()

    def learn(self, records: Any) -> Columns:
        """Decide of what kind each field is from these ``records``; gives their features."""
        raw = self._raw(records)
        for name, values in raw.items():
            self._learn(name, values)
        return self._taken(raw)

    def columns(self, records: Any) -> tuple[Columns, int]:
        """The features of ``records``, of the fields that are known, and how many records there are.

        ``records`` is a sequence of mappings or objects with fields, or columns: a mapping of names to arrays or lists,
        a frame of pandas or polars, a table of pyarrow.
        """
        raw = self._raw(records)
        return self._taken(raw), max(map(len, raw.values()), default=0)

    def learn_words(self, records: Any) -> Columns:
        """Learn the words of the fields of text, and from then on watch what share of a text's words is unknown.

        Words are learned from the first half of ``records`` and that share is given of the second half: of the texts
        that the words are from it would be lower than of any others.
        """
        found: Columns = {}
        for name, values in self._raw(records).items():
            if self.kinds.get(name) == "text":
                texts = [value if isinstance(value, str) else None for value in values]
                half = len(texts) // 2
                self._words[name] = frequent_words(texts[:half])
                found[f"{name}.unknown_words"] = unknown_words(texts[half:], self._words[name])
        return found

    def _raw(self, records: Any) -> dict[str, Any]:
        if not isinstance(records, Mapping) and not hasattr(records, "columns") and isinstance(records, Sequence):
            records = [one for one in records if not self._hides(type(one))]
        raw = raw_columns(records)
        return {name: values for name, values in raw.items() if name not in self.leave_out}

    def _hides(self, kind: type) -> bool:
        """Whether nothing may be taken of a type, since what is secret in it cannot be found out."""
        if kind not in self._types:
            self._types.add(kind)
            try:
                self.leave_out |= secret_names(kind)
            except (NameError, TypeError, AttributeError):
                self._hidden.add(kind)
        return kind in self._hidden

    def _learn(self, name: str, values: Any, *, nested: bool = False) -> None:
        if name not in self.kinds:
            numbers = isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
            self.decide(name, numbers_at_once(values) if numbers else at_once(_listed(values)), values)
        if self.kinds[name] == "object" and not nested:
            for part, column in self._parts(name, values).items():
                self._learn(part, column, nested=True)

    def decide(self, name: str, kind: Kind, values: Any) -> None:
        """Remember of what kind a field is, of which these are the values."""
        self.kinds[name] = kind
        if kind == "object":
            found = inner_fields([value for value in values if value is not None and not self._hides(type(value))])
            self._inner[name] = found or []
        elif kind == "name":
            there = {type(value) for value in values if value is not None}
            if all(kind_of(one) == "name" for one in there):
                self.closed.add(name)

    def _taken(self, raw: Mapping[str, Any]) -> Columns:
        found: Columns = {}
        for name, values in raw.items():
            self.take(name, values, found)
        return found

    def take(self, name: str, values: Any, found: Columns, *, nested: bool = False) -> None:
        """Put the features of one field into ``found``: none if it is not known."""
        kind = self.kinds.get(name)
        if kind == "number" and isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
            found[name] = within(values.astype(np.float64, copy=False))
        elif kind == "number":
            found[name] = as_numbers(values)
        elif kind == "name":
            found[name] = _as_names(_listed(values))
        elif kind == "text":
            texts = [value if isinstance(value, str) else None for value in values]
            for statistic, numbers in table(texts).items():
                found[f"{name}.{statistic}"] = numbers
            if name in self._words:
                found[f"{name}.unknown_words"] = unknown_words(texts, self._words[name])
        elif kind == "list":
            lengths = [float(len(value)) if isinstance(value, list | tuple | set) else np.nan for value in values]
            found[f"{name}.length"] = np.array(lengths, dtype=np.float64)
        elif kind == "map":
            sizes = [len(value) if isinstance(value, Mapping) else np.nan for value in values]
            found[f"{name}.size"] = np.array(sizes, dtype=np.float64)
        elif kind == "object" and not nested:
            for part, column in self._parts(name, values).items():
                self.take(part, column, found, nested=True)

    def _parts(self, name: str, values: Any) -> dict[str, Any]:
        rows = [None if self._hides(type(value)) else fields_of(value) for value in values]
        return {
            f"{name}.{part}": [None if row is None else row.get(part) for row in rows]
            for part in self._inner.get(name, ())
            if part not in self.leave_out
        }


class PatientReader(Reader):
    """A reader of records that come few by few: values are held until it is clear of what kind they are."""

    def __init__(self, leave_out: Iterable[str] = (), kinds: Mapping[str, Kind] | None = None) -> None:
        super().__init__(leave_out, kinds)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._seen: set[str] = set()

    def _raw(self, records: Any) -> dict[str, Any]:
        raw = super()._raw(records)
        # A field that none of these few records has is missing in them, as it is in one of many.
        for name in self._seen - raw.keys() - self.leave_out:
            raw[name] = [None] * len(records)
        return raw

    def take(self, name: str, values: Any, found: Columns, *, nested: bool = False) -> None:
        """Put the features of one field into ``found``: nothing yet, or also what was held before."""
        if name not in self.kinds:
            if len(self.kinds) >= MAX_FIELDS:
                self._held.clear()
                return
            held = self._held.pop(name, None) or _Held()
            held.add(values)
            kind = settled(held.there)
            if kind is None:
                self._held[name] = held
                if len(self._held) > _MAX_HELD:
                    self._held.popitem(last=False)  # What was not seen for longest.
                return
            values = held.all()
            self.decide(name, kind, values)
        if not nested and self.kinds[name] != "none":
            self._seen.add(name)
        super().take(name, values, found, nested=nested)


class _Held:
    """Values of a field of which it is not clear yet what kind it is."""

    __slots__ = ("missing", "there")

    def __init__(self) -> None:
        self.there: list[Any] = []
        self.missing = 0

    def add(self, values: Sequence[Any]) -> None:
        there = [value for value in values if value is not None]
        self.there += there
        self.missing += len(values) - len(there)

    def all(self) -> list[Any]:
        return [*self.there, *([None] * self.missing)]


def raw_columns(records: Any) -> dict[str, Any]:
    """The values of each field, of records or columns of any sort."""
    if isinstance(records, Mapping):
        return {str(name): _column(values) for name, values in records.items()}
    if hasattr(records, "column_names"):  # a table of pyarrow
        return {name: _column(records.column(name)) for name in records.column_names}
    if hasattr(records, "columns"):  # a frame of pandas or polars
        return {str(name): _column(records[name]) for name in records.columns}
    found = [record if type(record) is dict else fields_of(record) for record in records]
    rows = [row for row in found if row is not None]
    names = dict.fromkeys(name for row in rows[:1] for name in row)
    for row in rows:
        if row.keys() != names.keys():
            names.update(dict.fromkeys(row))
    return {str(name): [row.get(name) for row in rows] for name in names}


def _column(values: Any) -> Any:
    if isinstance(values, np.ndarray | list):
        return values
    if hasattr(values, "to_pylist"):
        return values.to_pylist()
    if hasattr(values, "to_numpy"):
        found = values.to_numpy()
        return found if found.dtype.kind in "iuf" else found.tolist()
    return list(values)


def _listed(values: Any) -> Sequence[Any]:
    found: Sequence[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return found


def _as_names(values: Sequence[Any]) -> list[str | None]:
    if set(map(type, values)) <= {str, type(None)}:
        return list(values)
    return [_as_name(value) for value in values]


def _as_name(value: Any) -> str | None:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None
