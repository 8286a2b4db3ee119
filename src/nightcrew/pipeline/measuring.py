"""What a run measures of itself: kept in lists while records are worked, put into the store about once a second."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from nightcrew.model.errors import NightcrewError
from nightcrew.reliability import Result
from nightcrew.store.outcomes import Row

if TYPE_CHECKING:
    from nightcrew.monitoring.metrics import Recorder
    from nightcrew.pipeline.chain import Made
    from nightcrew.pipeline.state import State
    from nightcrew.store.store import Store

_LOG = logging.getLogger("nightcrew.monitoring")
WRITE_SECONDS = 1.0
SAMPLES = 200
"""Records a second, at most, whose fields are measured."""

_FIRST_STRIDE = 16


class _Unusual(NamedTuple):
    """A call that was not simply accepted at the first attempt."""

    status: str
    attempts: int
    level: int
    kind: str | None


class StepMeter:
    """The calls of one step. Appending to lists is all that a call waits for; threads may share it."""

    __slots__ = ("_confidences", "_seconds", "_unusual", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._seconds: list[float] = []
        self._confidences: list[float] = []
        self._unusual: list[_Unusual] = []

    def took(self, result: Result[Any]) -> None:
        """Note what a call came to."""
        self._seconds.append(result.seconds)
        if result.confidence is not None:
            self._confidences.append(result.confidence)
        if result.status != "accepted" or result.attempts != 1:
            kind = None if result.failure is None else str(result.failure.kind)
            self._unusual.append(_Unusual(result.status, result.attempts, result.level, kind))

    def drain(self, recorder: "Recorder", subject: str) -> None:
        """Give all of it to ``recorder``."""
        # First what is counted apart: another thread appends to it last.
        unusual, seconds = _taken(self._unusual), _taken(self._seconds)
        if not seconds:
            self._unusual[:0] = unusual
            return
        recorder.observe("seconds", subject, seconds)
        if confidences := _taken(self._confidences):
            recorder.observe("confidence", subject, confidences)
        statuses = Counter(one.status for one in unusual)
        if plain := len(seconds) - sum(statuses.values()) + statuses["accepted"]:
            statuses["accepted"] = plain
        for status, count in statuses.items():
            recorder.count("calls", subject, count, status=status)
        if retries := sum(one.attempts - 1 for one in unusual if one.attempts > 1):
            recorder.count("retries", subject, retries)
        for level, count in Counter(one.level for one in unusual if one.level).items():
            recorder.count("fallbacks", subject, count, level=str(level))
        for kind, count in Counter(one.kind for one in unusual if one.kind).items():
            recorder.count("errors", subject, count, **{"class": kind})


class Meter:
    """The records of one pipeline in this process."""

    def __init__(self, steps: Iterable[str]) -> None:
        self.steps = {name: StepMeter(name) for name in steps}
        self._seconds: list[float] = []
        self._confidences: list[float] = []
        self._samples: list[tuple[Any, Any]] = []
        self._rows: Counter[tuple[str, str | None]] = Counter()
        self._stride = self._left = _FIRST_STRIDE
        self._lock = Lock()

    def through(self, record: Any, made: "Made", seconds: float) -> None:
        """Note a record that is through its steps, after ``seconds`` in them."""
        self._seconds.append(seconds)
        if made.confidence is not None:
            self._confidences.append(made.confidence)
        self._left -= 1
        if self._left <= 0:
            self._left = self._stride
            self._samples.append((record, made.output if made.failure is None else None))

    def committed(self, rows: Iterable[Row]) -> None:
        """Count outcomes that are durable now."""
        with self._lock:
            self._rows.update((row.state, row.kind) for row in rows)

    def drain(
        self, recorder: "Recorder", pipeline: str, leave_out: frozenset[str], elapsed: float, store: "Store"
    ) -> None:
        """Give all of it to ``recorder``; ``elapsed`` is how many seconds it took to gather.

        ``store`` is where it is known of what kind each field was so far.
        """
        from nightcrew.monitoring.drift.features import record_features, record_predictions

        subject = f"pipeline:{pipeline}"
        for step in self.steps.values():
            step.drain(recorder, f"step:{pipeline}/{step.name}")
        with self._lock:
            rows, self._rows = self._rows, Counter()
        for (state, kind), count in rows.items():
            recorder.count("records", subject, count, state=state)
            if kind is not None:
                recorder.count("errors", subject, count, **{"class": kind})
        seconds, samples = _taken(self._seconds), _taken(self._samples)
        if seconds:
            recorder.observe("seconds", subject, seconds)
            self._stride = max(1, round(len(seconds) / (SAMPLES * max(elapsed, 0.001))))
        confidences = _taken(self._confidences)
        if samples:
            record_features(recorder, subject, [record for record, _ in samples], leave_out, store)
        made = [output for _, output in samples if output is not None]
        if made or confidences:
            record_predictions(recorder, subject, made, confidences, leave_out, store)


class Measuring:
    """Brings what a meter has into the store, at most once a second. A store that is busy gets it the next time."""

    def __init__(self, state: "State", pipeline: str, meter: Meter, leave_out: Iterable[str]) -> None:
        self._state, self._pipeline, self.meter = state, pipeline, meter
        self._leave_out = frozenset(leave_out)
        self._began = monotonic()
        self._lock = Lock()

    def committed(self, rows: Sequence[Row], repeated: frozenset[int] = frozenset()) -> None:
        """Count ``rows`` that were committed, without those that were there already; write if it is time."""
        fresh = [row for index, row in enumerate(rows) if index not in repeated] if repeated else rows
        self.meter.committed(fresh)
        if monotonic() - self._began >= WRITE_SECONDS:
            self._write(everything=False)

    def write(self) -> None:
        """Write all that there is now."""
        self._write(everything=True)

    def _write(self, *, everything: bool) -> None:
        with self._lock:
            now = monotonic()
            try:
                state = self._state
                self.meter.drain(state.recorder, self._pipeline, self._leave_out, now - self._began, state.store)
                self._state.recorder.flush(self._state.store, everything=everything)
            except NightcrewError:
                pass  # A store that is busy: the recorder keeps it.
            except Exception:
                # Whatever the fields of a record hold: what is measured is not worth a run.
                _LOG.exception("something could not be measured")
            self._began = monotonic()


def _taken(values: list[Any]) -> list[Any]:
    """What is in the list, taken out; what another thread appends meanwhile stays."""
    found = values[:]
    del values[: len(found)]
    return found
