"""What a sample looked like: for numbers the counts in cells of the reference, for names how often each came.

A :class:`Profile` is made once, of the reference; it says where the cells lie. A :class:`Sample` is what was counted of
a window in these cells; samples of windows, or of workers, add up to the sample of all of it, exactly.
"""

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from nightcrew.model.errors import IntegrityError
from nightcrew.monitoring.drift.kinds import OTHER

if TYPE_CHECKING:
    from nightcrew.monitoring.sketches import Distribution, Items

Array = NDArray[np.float64]
Values = Mapping[str, "NDArray[np.float64] | Sequence[str | None]"]
"""Columns: an array of numbers (NaN: missing) or a list of names (None: missing) of each feature."""

RANKS = (1 / 128, *(rank / 32 for rank in range(1, 32)), 127 / 128)
"""Where the edges of cells lie in the reference."""

MIN_IN_CELL = 8
MAX_NAMES = 5000
CONFIDENCE = 2.576
"""The error of ranks that a sketch states holds at 99 %: so many standard deviations."""


@dataclass(slots=True)
class Numbers:
    """The reference of a numeric feature: ``counts[i]`` values lie in (edges[i-1], edges[i]].

    ``rough`` is the variance of the error of these counts' running sum that a sketch makes, 0 if they are exact.
    """

    edges: list[float]
    counts: list[float]
    missing: int
    low: float
    high: float
    mean: float
    sd: float
    whole: bool
    rough: float = 0.0

    @classmethod
    def of(cls, values: Array) -> Self:
        """From numbers, of which NaN are missing."""
        found = np.sort(values[np.isfinite(values)])
        missing = len(values) - len(found)
        if not len(found):
            return cls([], [0.0], missing, 0.0, 0.0, 0.0, 0.0, False)
        places = [int(rank * len(found)) for rank in _ranks(len(found))]
        edges = _apart([float(found[max(place - 1, 0)]) for place in places], np.float64)
        below = np.searchsorted(found, edges, side="right") if edges else np.zeros(0, dtype=np.int64)
        counts = np.diff(np.concatenate(([0], below, [len(found)]))).astype(float)
        whole = bool((found == np.floor(found)).all())
        return cls(
            edges, counts.tolist(), missing, float(found[0]), float(found[-1]), float(found.mean()),
            float(found.std()), whole,
        )  # fmt: skip

    @classmethod
    def of_sketch(cls, numbers: "Distribution") -> Self:
        """From a sketch of them."""
        if not numbers.count or numbers.low is None or numbers.high is None:
            return cls([], [0.0], numbers.missing, 0.0, 0.0, 0.0, 0.0, False)
        quantiles = [numbers.quantile(rank) or 0.0 for rank in _ranks(numbers.count)]
        edges = _apart(quantiles, np.float32)
        counts = [part * numbers.count for part in (numbers.shares(edges) if edges else [1.0])]
        grid = np.array([numbers.quantile((step + 0.5) / 100) for step in range(100)], dtype=float)
        whole = bool((grid == np.floor(grid)).all()) and float(numbers.low).is_integer()
        return cls(
            edges, counts, numbers.missing, numbers.low, numbers.high, numbers.mean or 0.0, float(grid.std()), whole,
            _roughness(numbers),
        )  # fmt: skip


@dataclass(slots=True)
class Names:
    """The reference of a categorical feature; ``rest`` values have names that are not listed.

    ``complete`` if every name is known, so that another is a new one. Each count may be too low by at most ``error``.
    """

    counts: dict[str, int]
    rest: int
    missing: int
    complete: bool
    error: int = 0

    @property
    def total(self) -> int:
        """How many values are not missing."""
        return sum(self.counts.values()) + self.rest

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Self:
        """From names, of which None are missing."""
        counted = Counter(values)
        missing = counted.pop(None, 0)
        return cls._of_counts({str(name): times for name, times in counted.items()}, missing, complete=True)

    @classmethod
    def of_sketch(cls, items: "Items") -> Self:
        """From a sketch of them."""
        found = _listed(items)
        made = cls._of_counts(found, items.missing, complete=sum(found.values()) == items.count)
        made.rest, made.error = max(items.count - sum(made.counts.values()), 0), items.error
        return made

    @classmethod
    def _of_counts(cls, counts: Mapping[str, int], missing: int, *, complete: bool) -> Self:
        kept = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_NAMES])
        rest = sum(counts.values()) - sum(kept.values())
        return cls(kept, rest, missing, complete and not rest)


@dataclass(slots=True)
class Sample:
    """What was counted in a window: cells of all numeric features (one row each), names, missing ones.

    Of a categorical feature ``rest`` values have names that are not listed, and each count may be too low by at most
    ``error``: of sketches that dropped names.
    """

    cells: Array
    rough: Array
    low: Array
    high: Array
    missing: dict[str, int]
    names: dict[str, Counter[str]]
    size: int = 0
    start: datetime | None = None
    end: datetime | None = None
    rest: dict[str, int] = field(default_factory=dict)
    error: dict[str, int] = field(default_factory=dict)

    def named(self, feature: str) -> int:
        """How many values of a categorical feature are not missing."""
        return sum((self.names.get(feature) or {}).values()) + self.rest.get(feature, 0)

    def add(self, other: "Sample") -> None:
        """Take in another sample, counted by the same profile."""
        self.cells = self.cells + other.cells  # Never in place: merged samples share them.
        self.rough = self.rough + other.rough
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        for mine, theirs in (
            (self.missing, other.missing),
            (self.rest, other.rest),
            (self.error, other.error),
        ):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        for name, counted in other.names.items():
            self.names.setdefault(name, Counter()).update(counted)
        self.size += other.size
        self.start = min((one for one in (self.start, other.start) if one), default=None)
        self.end = max((one for one in (self.end, other.end) if one), default=None)

    def copy(self) -> "Sample":
        """The same, to which others can be added."""
        names = {name: Counter(found) for name, found in self.names.items()}
        return Sample(
            self.cells, self.rough, self.low, self.high, dict(self.missing), names, self.size, self.start, self.end,
            dict(self.rest), dict(self.error),
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """As values that JSON has a form for."""
        return {
            "cells": self.cells.tolist(), "rough": self.rough.tolist(),
            "low": [None if np.isinf(one) else one for one in self.low.tolist()],
            "high": [None if np.isinf(one) else one for one in self.high.tolist()],
            "missing": self.missing, "names": self.names, "size": self.size,
            "start": self.start and self.start.isoformat(), "end": self.end and self.end.isoformat(),
            "rest": self.rest, "error": self.error,
        }  # fmt: skip

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Self:
        """From what :meth:`plain` gave; raises ValueError, TypeError or KeyError if it is none."""
        rows = len(plain["rough"])  # With no numeric feature, cells are no rows of any width.
        return cls(
            np.array(plain["cells"], dtype=float).reshape(rows, -1 if rows else 0),
            np.array(plain["rough"], dtype=float).reshape(rows),
            np.array([np.inf if one is None else one for one in plain["low"]], dtype=float),
            np.array([-np.inf if one is None else one for one in plain["high"]], dtype=float),
            dict(plain["missing"]), {name: Counter(found) for name, found in plain["names"].items()}, plain["size"],
            plain["start"] and datetime.fromisoformat(plain["start"]),
            plain["end"] and datetime.fromisoformat(plain["end"]), dict(plain["rest"]), dict(plain["error"]),
        )  # fmt: skip

    def fits(self, profile: "Profile") -> bool:
        """Whether it was counted in the cells of ``profile``."""
        count = len(profile.numbers)
        shapes = [one.shape for one in (self.rough, self.low, self.high)]
        return self.cells.shape == profile.cells.shape and shapes == [(count,)] * 3


@dataclass
class Profile:
    """The reference: what each feature looked like, from ``start`` to ``end`` if it has a time."""

    numbers: dict[str, Numbers] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None

    @classmethod
    def of(cls, columns: Values) -> Self:
        """From columns of values."""
        made = cls()
        for name, values in columns.items():
            if isinstance(values, np.ndarray):
                made.numbers[name] = Numbers.of(values)
            else:
                made.names[name] = Names.of(values)
        return made

    @property
    def features(self) -> list[str]:
        """The names of all features, numeric ones first."""
        return [*self.numbers, *self.names]

    @cached_property
    def cells(self) -> Array:
        """The counts of the numeric features, one row each, filled up with zeros to the same length."""
        width = max((len(one.counts) for one in self.numbers.values()), default=0)
        width = -(-width // 4) * 4
        made = np.zeros((len(self.numbers), width))
        for row, one in enumerate(self.numbers.values()):
            made[row, : len(one.counts)] = one.counts
        return made

    def empty(self) -> Sample:
        """A sample in which nothing has been counted."""
        count = len(self.numbers)
        return Sample(
            np.zeros_like(self.cells), np.zeros(count), np.full(count, np.inf), np.full(count, -np.inf), {},
            {name: Counter() for name in self.names},
        )  # fmt: skip

    def count(self, columns: Values, size: int) -> Sample:
        """What ``columns`` (of ``size`` records) hold of this profile's features; others are left aside."""
        made = self.empty()
        made.size = size
        for row, (name, one) in enumerate(self.numbers.items()):
            values = columns.get(name)
            if isinstance(values, np.ndarray):
                self._count_numbers(made, row, name, one, values)
            else:
                made.missing[name] = size  # It is gone, or is of another kind: nothing in it is a number.
        for name in self.names:
            found = columns.get(name)
            if found is None or isinstance(found, np.ndarray):
                made.missing[name] = size
                continue
            counted = Counter(found)
            made.missing[name] = counted.pop(None, 0)
            made.names[name] = counted  # type: ignore[assignment]
        return made

    def _count_numbers(self, made: Sample, row: int, name: str, one: Numbers, values: Array) -> None:
        found = np.sort(values)
        # NaN are sorted to the end, after infinity.
        if len(found) and not (np.isfinite(found[0]) and np.isfinite(found[-1])):
            found = found[np.isfinite(found)]
        made.missing[name] = len(values) - len(found)
        if not len(found):
            return
        below = np.searchsorted(found, one.edges, side="right")
        counts = made.cells[row]
        counts[: len(below)] = below
        counts[len(below)] = len(found)
        counts[1 : len(below) + 1] -= below
        made.low[row], made.high[row] = found[0], found[-1]

    def count_measured(self, numbers: Mapping[str, "Distribution"], items: Mapping[str, "Items"]) -> Sample:
        """The same from sketches of the features."""
        made = self.empty()
        for row, (name, one) in enumerate(self.numbers.items()):
            found = numbers.get(name)
            if found is None:
                continue
            made.missing[name] = found.missing
            made.size = max(made.size, found.count + found.missing)
            if found.count and found.low is not None and found.high is not None:
                parts = found.shares(one.edges) if one.edges else [1.0]
                made.cells[row, : len(parts)] = np.round(np.array(parts) * found.count)
                made.low[row], made.high[row], made.rough[row] = found.low, found.high, _roughness(found)
        for name in self.names:
            seen = items.get(name)
            if seen is None:
                continue
            made.missing[name] = seen.missing
            made.size = max(made.size, seen.count + seen.missing)
            found_names = _listed(seen)
            made.names[name] = Counter(found_names)
            made.rest[name] = max(seen.count - sum(found_names.values()), 0)
            made.error[name] = seen.error
        return made

    def dump(self) -> bytes:
        """As bytes."""
        doc = {
            "numbers": {name: asdict(one) for name, one in self.numbers.items()},
            "names": {name: asdict(one) for name, one in self.names.items()},
            "start": self.start,
            "end": self.end,
        }
        return zlib.compress(json.dumps(doc).encode())

    @classmethod
    def load(cls, data: bytes, *, where: str) -> Self:
        """From what :meth:`dump` gave; raises IntegrityError naming ``where`` if it is none."""
        try:
            doc = json.loads(zlib.decompress(data))
            numbers = {name: Numbers(**one) for name, one in doc["numbers"].items()}
            names = {name: Names(**one) for name, one in doc["names"].items()}
            return cls(numbers, names, doc["start"], doc["end"])
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
            raise IntegrityError(f"{where} cannot be read: {error}") from None


def quantile(one: Numbers, counts: Array, low: float, high: float, rank: float) -> float:
    """The number below which ``rank`` (0..1) of the counted values lie, as near as the cells say."""
    total = float(counts.sum())
    if not total:
        return float("nan")
    running = np.cumsum(counts[: len(one.edges) + 1])
    cell = min(int(np.searchsorted(running, rank * total)), len(one.edges))
    upper = min(one.edges[cell], high) if cell < len(one.edges) else high
    lower = max(one.edges[cell - 1], low) if cell else low
    if cell and np.nextafter(np.float32(one.edges[cell - 1]), np.float32(np.inf)) >= np.float32(upper):
        return upper  # A cell that holds one value.
    before = float(running[cell - 1]) if cell else 0.0
    inside = max(float(running[cell]) - before, 1.0)
    found = lower + (upper - lower) * (rank * total - before) / inside
    return float(round(found)) if one.whole else found


def _listed(items: "Items") -> dict[str, int]:
    """How often each name came, at least; without those that the recorder did not tell apart."""
    error = items.error
    found = {name: max(times - error, 0) for name, times in items.counts().items()}
    found.pop(OTHER, None)
    return found


def _ranks(count: int) -> list[float]:
    """Those of RANKS that leave enough of so many values in each cell."""
    found, last = [], 0.0
    for rank in RANKS:
        if (rank - last) * count >= MIN_IN_CELL and (1 - rank) * count >= MIN_IN_CELL:
            found.append(rank)
            last = rank
    return found


def _apart(quantiles: Sequence[float], kind: type[np.floating[Any]]) -> list[float]:
    """Rising edges; a value that fills a cell of its own gets an edge right below it, too."""
    edges: list[float] = []
    for place, value in enumerate(quantiles):
        repeated = value in (*quantiles[place - 1 : place], *quantiles[place + 1 : place + 2]) if place else (
            value in quantiles[1:2]
        )  # fmt: skip
        if edges and value <= edges[-1]:
            continue
        below = float(np.nextafter(kind(value), kind(-np.inf)))
        if repeated and (not edges or below > edges[-1]):
            edges.append(below)
        edges.append(value)
    return edges


def _roughness(numbers: "Distribution") -> float:
    """The variance of a running count of this sketch."""
    return float((numbers.rank_error / CONFIDENCE * numbers.count) ** 2)
