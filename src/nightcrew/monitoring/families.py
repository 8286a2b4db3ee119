"""The measures as other tools see them: named families with labels, counters since the beginning, quantiles of now.

What is exported holds names, counts, times and confidences: no value of a record, no text. Of a feature of the input,
how many values it had and lacked, and how far it drifted. One source for ``/metrics``, the text file and OTLP.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, NamedTuple

from nightcrew.model.errors import IntegrityError
from nightcrew.monitoring.query import Window, points_between
from nightcrew.store import alerts, parking, runs, series, shifts, tickets, totals
from nightcrew.store.series import MINUTE, Series
from nightcrew.store.store import Tx
from nightcrew.store.totals import Total

RANKS = (0.5, 0.9, 0.95, 0.99)
QUANTILE_SECONDS = 300
"""Quantiles are of the last five minutes."""

GAUGE_SECONDS = 86_400
"""A gauge whose last reading is older than a day is left out."""

Kind = Literal["counter", "gauge", "summary"]
Labels = tuple[tuple[str, str], ...]


class Distributed(NamedTuple):
    """A summary's figures: how many, their sum, and quantiles by rank."""

    number: int
    total: float
    quantiles: dict[float, float]


@dataclass
class Family:
    """Figures of one meaning. A counter's ``name`` is without its ``_total``."""

    name: str
    kind: Kind
    text: str
    values: dict[Labels, float] = field(default_factory=dict)
    distributed: dict[Labels, Distributed] = field(default_factory=dict)


KNOWN: dict[tuple[str, str], tuple[str, str]] = {
    ("pipeline", "records"): ("records", "Records by what became of them."),
    ("pipeline", "errors"): ("record_errors", "Records that did not settle at once, by class of failure."),
    ("pipeline", "seconds"): ("record_seconds", "Time of one record in all its steps, in seconds."),
    ("pipeline", "confidence"): ("record_confidence", "Confidence of the answers, 0 to 1."),
    ("pipeline", "prediction"): ("predictions", "Answers that were looked at for drift."),
    ("pipeline", "queue.age"): ("queue_oldest_seconds", "Age of the oldest record in a queue, in seconds."),
    ("pipeline", "drift"): ("drift_effect", "How far a feature has moved from its reference, as an effect size."),
    ("step", "seconds"): ("step_seconds", "Time of one call of a step, in seconds."),
    ("step", "confidence"): ("step_confidence", "Confidence of a step's answers, 0 to 1."),
    ("step", "calls"): ("step_calls", "Calls of a step by how they ended."),
    ("step", "errors"): ("step_errors", "Failed calls of a step, by class of failure."),
    ("step", "retries"): ("step_retries", "Attempts beyond the first."),
    ("step", "fallbacks"): ("step_fallbacks", "Answers of a later level, by level."),
    ("brain", "seconds"): ("brain_seconds", "Time of one request to a model, in seconds."),
    ("brain", "calls"): ("brain_calls", "Requests to a model by how they ended."),
    ("brain", "errors"): ("brain_errors", "Failed requests to a model, by class of failure."),
    ("brain", "fallbacks"): ("brain_fallbacks", "Work that a later brain of a chain did, by level."),
    ("check", "seconds"): ("check_seconds", "Time of one run of a check, in seconds."),
    ("check", "errors"): ("check_errors", "Checks that could not be made, by class of failure."),
    ("agent", "seconds"): ("session_seconds", "Time of one session of an agent, in seconds."),
    ("agent", "sessions"): ("sessions", "Sessions by how they ended."),
    ("agent", "turns"): ("agent_turns", "Requests to a model that were charged."),
    ("agent", "tokens"): ("agent_tokens", "Tokens that they took."),
    ("agent", "dollars"): ("agent_dollars", "What they cost by list prices, in US dollars."),
    ("desk", "queue.depth"): ("desk_depth", "Tickets or reviews that lie at a desk."),
    ("desk", "queue.age"): ("desk_oldest_seconds", "Age of the oldest of them, in seconds."),
    ("desk", "review.seconds"): ("review_seconds", "Time from asking for a review to its decision, in seconds."),
    ("crew", "shifts"): ("shifts", "Shifts by how they ended."),
}  # fmt: skip
"""(kind of subject, name of series) to the name without ``nightcrew_``, and what it is."""

LIVE: dict[str, tuple[Kind, str]] = {
    "info": ("gauge", "1; the label says which version of nightcrew this is."),
    "queue_records": ("gauge", "Records that wait in a pipeline's queues now."),
    "tickets": ("gauge", "Tickets by state, now."),
    "alerts": ("gauge", "Alerts of nightcrew's own rules that are open now."),
    "shift_running": ("gauge", "1 while a shift runs."),
    "shift_last_end_timestamp_seconds": ("gauge", "When the last shift ended, in Unix seconds."),
    "feature_values": ("counter", "Values of a feature of the input that were looked at for drift."),
    "feature_missing": ("counter", "Records that had no value of it."),
}
"""Those that are read from the state itself, or made of several series."""

_LEFT_OUT = {("pipeline", "queue.depth")}
"""Told by nightcrew_queue_records, which is true at any time."""

_QUEUES = {"waiting_retry": "retry", "quarantined": "quarantine", "in_review": "review"}
_KINDS: dict[str, Kind] = {"counter": "counter", "gauge": "gauge", "distribution": "summary", "items": "counter"}
_UNFIT = re.compile(r"[^a-zA-Z0-9_]")


class Families:
    """Reads the families of a store; remembers the sums of what is merged, which change once an hour."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._mark: tuple[int, ...] | None = None
        self._merged: dict[int, Total] = {}

    def read(self, tx: Tx) -> list[Family]:
        """All families as of now, by name."""
        found: dict[str, Family] = {}
        known = series.find(tx)
        self._recorded(tx, known, found)
        for name, labels, value in _live(tx):
            _add(_family(found, name, *LIVE[name]), labels, value)
        return [family for _, family in sorted(found.items())]

    def _recorded(self, tx: Tx, known: dict[int, Series], found: dict[str, Family]) -> None:
        now = int(tx.now().timestamp())
        sums = totals.added(self._of_merged(tx), totals.since_merged(tx))
        readings = totals.latest(
            tx, [number for number, one in known.items() if one.kind == "gauge"], now - GAUGE_SECONDS
        )
        recent = _recent(tx, known, now)
        for number, one in known.items():
            total = sums.get(number, Total())
            subject = one.subject.partition(":")[0]
            if (subject, one.name) in _LEFT_OUT:
                continue
            labels = labels_of(one)
            if one.name.startswith("feature."):
                labels = (*labels, ("feature", one.name.removeprefix("feature.")))
                _add(_family(found, "feature_values", *LIVE["feature_values"]), labels, total.number)
                _add(_family(found, "feature_missing", *LIVE["feature_missing"]), labels, total.missing)
                continue
            name, text = KNOWN.get((subject, one.name)) or _unknown(subject, one.name)
            # Answers are data: only how many there were.
            kind: Kind = "counter" if one.name == "prediction" else _KINDS[one.kind]
            family = _family(found, name, kind, text)
            if family.kind != kind:
                continue
            if kind == "summary":
                quantiles = recent.get(number, {})
                before = family.distributed.get(labels, Distributed(0, 0.0, {}))
                family.distributed[labels] = Distributed(
                    before.number + total.number, before.total + total.total, quantiles or before.quantiles
                )
            elif kind == "gauge":
                if number in readings:
                    family.values[labels] = readings[number]
            else:
                _add(family, labels, total.total if one.kind == "counter" else total.number)

    def _of_merged(self, tx: Tx) -> dict[int, Total]:
        mark = totals.mark(tx)
        with self._lock:
            if mark == self._mark:
                return self._merged
        found = totals.merged(tx)
        with self._lock:
            self._mark, self._merged = mark, found
        return found


def labels_of(one: Series) -> Labels:
    """The labels of a series as they are exported: its subject's, then its own."""
    kind, _, name = one.subject.partition(":")
    if kind == "step":
        pipeline, _, step = name.partition("/")
        subject = [("pipeline", pipeline), ("step", step)]
    else:
        subject = [(_fit(kind), name)] if name else []
    taken = {label for label, _ in subject}
    return (*subject, *((_fit(label), value) for label, value in one.labels if _fit(label) not in taken))


def names_given() -> set[str]:
    """Every name that nightcrew's own series may have in the text exposition, of parts of summaries too."""
    found = set()
    kinds = {key: _kind_known(key[1]) for key in KNOWN}
    for key, (name, _) in KNOWN.items():
        found |= _parts(name, kinds[key])
    for name, (kind, _) in LIVE.items():
        found |= _parts(name, kind)
    return found


def _parts(name: str, kind: Kind) -> set[str]:
    full = f"nightcrew_{name}"
    return {"counter": {f"{full}_total"}, "gauge": {full}, "summary": {full, f"{full}_sum", f"{full}_count"}}[kind]


def _kind_known(name: str) -> Kind:
    if name in ("seconds", "confidence", "review.seconds"):
        return "summary"
    return "gauge" if name in ("queue.depth", "queue.age", "drift") else "counter"


def _live(tx: Tx) -> Iterator[tuple[str, Labels, float]]:
    from importlib.metadata import version

    yield "info", (("version", version("nightcrew")),), 1
    counts = parking.sums(tx)
    for row in runs.all_pipelines(tx):
        for state, queue in _QUEUES.items():
            yield "queue_records", (("pipeline", row.name), ("queue", queue)), counts.get(row.id, {}).get(state, 0)
    for ticket_state, count in tickets.count(tx).items():
        yield "tickets", (("state", str(ticket_state)),), count
    for alert in alerts.open_ones(tx):
        labels = (("rule", alert.rule), ("severity", str(alert.severity)), ("state", alert.state))
        yield "alerts", labels, 1
    last = shifts.list(tx, limit=2)
    yield "shift_running", (), float(any(shift.state == "running" for shift in last))
    ended = next((shift.ended for shift in last if shift.ended is not None), None)
    if ended is not None:
        yield "shift_last_end_timestamp_seconds", (), ended.timestamp()


def _recent(tx: Tx, known: dict[int, Series], now: int) -> dict[int, dict[float, float]]:
    """Quantiles of the last minutes of every distribution."""
    wanted = [
        number
        for number, one in known.items()
        if one.kind == "distribution" and not one.name.startswith("feature.") and one.name != "prediction"
    ]
    first = (now - QUANTILE_SECONDS) // MINUTE * MINUTE
    windows: dict[int, Window] = {}
    for point in points_between(tx, wanted, first, now + MINUTE, MINUTE):
        window = windows.setdefault(point.series, Window(tx.now(), QUANTILE_SECONDS))
        try:
            window.add(point, "distribution")
        except IntegrityError:
            continue  # Damage is told by those who look at that series; the others are still exported.
    return {
        number: {rank: value for rank in RANKS if (value := window.quantile(rank)) is not None}
        for number, window in windows.items()
    }


def _family(found: dict[str, Family], name: str, kind: Kind, text: str) -> Family:
    return found.setdefault(name, Family(f"nightcrew_{name}", kind, text))


def _add(family: Family, labels: Labels, value: float) -> None:
    family.values[labels] = family.values.get(labels, 0.0) + value


def _unknown(subject: str, name: str) -> tuple[str, str]:
    """A series that somebody else records."""
    return f"{_fit(subject)}_{_fit(name)}", f"{name} of each {subject}."


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name) or "_"
