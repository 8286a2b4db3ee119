"""Drift of batches and of streams in memory, with no store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from nightcrew.model.errors import UsageError
from nightcrew.monitoring.drift.compare import Found, Limits
from nightcrew.monitoring.drift.history import History, Moved
from nightcrew.monitoring.drift.profile import Profile, Sample
from nightcrew.monitoring.drift.reading import Reader


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What one look found: ``moved`` (furthest first) of ``tested``; true if anything moved.

    ``values`` is the number of records of the newest window; ``untested`` names features with too few values.
    """

    moved: tuple[Moved, ...]
    tested: dict[str, list[Found]]
    values: int

    def __bool__(self) -> bool:
        """Whether anything moved."""
        return bool(self.moved)

    @property
    def feature(self) -> str | None:
        """The feature that moved most; None if none did."""
        return self.moved[0].feature if self.moved else None

    @property
    def untested(self) -> list[str]:
        """Features of which there were too few values to say anything."""
        return [name for name, several in self.tested.items() if not several]

    def __str__(self) -> str:
        """One line for each feature that moved."""
        return "\n".join(one.text for one in self.moved) or "nothing moved"


class Drift:
    """Says whether records are still like those of a reference, what moved and how far.

    ``rate`` is the probability of a false alarm at one look, over all features together; ``every`` how many records of
    a stream there are between looks. What is smaller than ``min_shift`` standard deviations or ``min_points``
    percentage points is never told. The method stands in :mod:`nightcrew.monitoring.drift.compare`.
    """

    def __init__(self, profile: Profile, reader: Reader, limits: Limits, *, every: int = 1000) -> None:
        self.profile = profile
        self.limits = limits
        self.every = every
        self._reader = reader
        self._history = History(profile, limits)
        self._waiting: list[Sample] = []

    @classmethod
    def from_records(
        cls,
        records: Any,
        *,
        leave_out: Iterable[str] = (),
        rate: float = 0.001,
        min_shift: float = 0.05,
        min_points: float = 1.0,
        every: int = 1000,
    ) -> Self:
        """With a reference: records (mappings, models, objects), or columns (arrays, a frame, a table).

        Raises UsageError if it holds no feature.
        """
        if not 0 < rate < 1 or every < 1:
            raise UsageError("rate lies between 0 and 1, and every is at least 1")
        reader = Reader(leave_out)
        records = _listed(records)
        columns = reader.learn(records)
        columns |= reader.learn_words(records)
        if not columns:
            raise UsageError(
                "the reference holds no feature", hint="Give records with fields of numbers, names or text."
            )
        limits = Limits(rate, min_shift, min_points)
        return cls(Profile.of(columns), reader, limits, every=every)

    @property
    def features(self) -> list[str]:
        """What is watched."""
        return self.profile.features

    def check(self, records: Any) -> DriftReport:
        """Compare a batch with the reference; nothing is remembered, and the whole rate is this look's."""
        columns, size = self._reader.columns(_listed(records))
        history = History(self.profile, self.limits, scales=1)
        moved, tested = history.look(self.profile.count(columns, size))
        return DriftReport(tuple(moved), tested, size)

    def update(self, records: Any) -> list[DriftReport]:
        """Take further records of a stream; gives a report for each look, which is at every ``every`` records."""
        columns, size = self._reader.columns(_listed(records))
        reports, begin = [], 0
        while begin < size:
            room = self.every - sum(one.size for one in self._waiting)
            end = min(begin + room, size)
            part = columns if end - begin == size else {name: values[begin:end] for name, values in columns.items()}
            self._waiting.append(self.profile.count(part, end - begin))
            begin = end
            if end - begin == 0 and sum(one.size for one in self._waiting) >= self.every:
                reports.append(self._looked())
        return reports

    def _looked(self) -> DriftReport:
        newest = self._waiting[0]
        for one in self._waiting[1:]:
            newest.add(one)
        self._waiting = []
        self._history.append(newest)
        moved, tested = self._history.look()
        return DriftReport(tuple(moved), tested, newest.size)


def _listed(records: Any) -> Any:
    if isinstance(records, Mapping | Sequence) or hasattr(records, "columns") or hasattr(records, "column_names"):
        return records
    return list(records)
