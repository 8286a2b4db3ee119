"""What is kept of many values: sketches that merge, so that any window and any number of workers add up.

Numbers go into a KLL sketch (Karnin, Lang, Liberty: "Optimal Quantile Approximation in Streams", FOCS 2016) and names
into a frequent-items sketch (Misra-Gries, as in Anderson et al., IMC 2017), both of Apache DataSketches.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from datasketches import frequent_items_error_type, frequent_strings_sketch, kll_floats_sketch
from numpy.typing import ArrayLike, NDArray

MEASURE_K = 200
"""Size of the sketches of measures: ranks are off by at most 1.33 % (99 % confidence) whatever is merged."""

FEATURE_K = 512
"""Size of the sketches of features, which drift tests read: 0.55 %."""

_ITEMS_LG = 10
_NEVER = "\0"
"""A name that is never counted: its bounds tell what dropped names may have had."""
MAX_NAME = 200
"""Longer names are cut, in characters."""


class Distribution:
    """Numbers: their count, sum, extremes and, within :attr:`rank_error`, every quantile.

    NaN and infinities count as :attr:`missing`.
    """

    kind = "distribution"
    __slots__ = ("count", "high", "low", "missing", "sketch", "total")

    def __init__(self, k: int = MEASURE_K) -> None:
        self.sketch = kll_floats_sketch(k)
        self.count = self.missing = 0
        self.total = 0.0
        self.low: float | None = None
        self.high: float | None = None

    def add(self, values: ArrayLike) -> None:
        """Take numbers in; about 30 ns a value for arrays of a thousand and more."""
        found: NDArray[np.float64] = np.asarray(values, dtype=np.float64).ravel()
        total = float(found.sum())
        if not np.isfinite(total):
            kept = found[np.isfinite(found)]
            self.missing += len(found) - len(kept)
            found, total = kept, float(kept.sum())
        if not len(found):
            return
        self.sketch.update(found.astype(np.float32))
        low, high = float(found.min()), float(found.max())
        self.count += len(found)
        self.total += total
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)

    def merge(self, other: "Distribution") -> None:
        """Take in what another holds."""
        self.missing += other.missing
        if not other.count:
            return
        self.sketch.merge(other.sketch)
        self.count += other.count
        self.total += other.total
        assert other.low is not None  # noqa: S101 - it has values
        assert other.high is not None  # noqa: S101
        self.low = other.low if self.low is None else min(self.low, other.low)
        self.high = other.high if self.high is None else max(self.high, other.high)

    @property
    def mean(self) -> float | None:
        """Of the numbers; None if there are none."""
        return self.total / self.count if self.count else None

    @property
    def rank_error(self) -> float:
        """How far the rank (0..1) of a quantile may be off, at 99 % confidence."""
        return float(self.sketch.normalized_rank_error(False)) if self.sketch.is_estimation_mode() else 0.0

    def quantile(self, rank: float) -> float | None:
        """The number below which ``rank`` (0..1) of them lie; None if there are none."""
        if not self.count:
            return None
        if rank <= 0 or rank >= 1:
            return self.low if rank <= 0 else self.high
        return float(self.sketch.get_quantile(rank, True))

    def shares(self, edges: Sequence[float]) -> list[float]:
        """Which part (0..1) of them lies in each of the ``len(edges) + 1`` intervals (lower, upper] of rising edges."""
        return [float(part) for part in self.sketch.get_pmf(list(edges), True)] if self.count else []

    def dump(self) -> bytes:
        """The sketch as bytes."""
        return bytes(self.sketch.serialize())

    @classmethod
    def load(
        cls, data: bytes, *, count: int, missing: int, total: float, low: float | None, high: float | None
    ) -> Self:
        """From what :meth:`dump` and the attributes gave. Raises ValueError for bytes that are no sketch."""
        found = cls.__new__(cls)
        try:
            found.sketch = kll_floats_sketch.deserialize(data)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise ValueError(f"not a sketch: {error}") from None
        found.count, found.missing, found.total, found.low, found.high = count, missing, total, low, high
        return found


class Items:
    """Names and how often each came; exact for up to 768 of them, beyond that within :attr:`error`."""

    kind = "items"
    __slots__ = ("count", "missing", "sketch")

    def __init__(self) -> None:
        self.sketch = frequent_strings_sketch(_ITEMS_LG)
        self.count = self.missing = 0

    def add(self, names: Iterable[str | None]) -> None:
        """Take names in; None counts as missing."""
        tallied: dict[str, int] = {}
        for name in names:
            if name is None:
                self.missing += 1
            else:
                name = name[:MAX_NAME].replace("\0", "\ufffd")
                tallied[name] = tallied.get(name, 0) + 1
        for name, times in tallied.items():
            self.count += times
            self.sketch.update(name, times)

    def merge(self, other: "Items") -> None:
        """Take in what another holds."""
        self.sketch.merge(other.sketch)
        self.count += other.count
        self.missing += other.missing

    @property
    def error(self) -> int:
        """A count may be off by at most this; 0 if no name was dropped."""
        return int(self.sketch.get_upper_bound(_NEVER) - self.sketch.get_lower_bound(_NEVER))

    def counts(self) -> dict[str, int]:
        """How often each came, most often first; with too many names, of those that certainly came often."""
        found = self.sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_POSITIVES)
        return {row[0]: int(row[1]) for row in found}

    def dump(self) -> bytes:
        """The sketch as bytes."""
        return bytes(self.sketch.serialize())

    @classmethod
    def load(cls, data: bytes, *, count: int, missing: int) -> Self:
        """From what :meth:`dump` and the attributes gave. Raises ValueError for bytes that are no sketch."""
        found = cls.__new__(cls)
        try:
            found.sketch = frequent_strings_sketch.deserialize(data)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise ValueError(f"not a sketch: {error}") from None
        found.count, found.missing = count, missing
        return found
