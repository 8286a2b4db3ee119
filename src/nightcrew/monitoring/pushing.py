"""Metrics over OTLP: what the store holds, sent now and then where the user's environment says to, and else nowhere.

The same figures as in ``/metrics``. They are read from the store, which has those of all processes, so any of them may
send, and two that do send the same. Counters are cumulative since the ledger began. OpenTelemetry's Python library does
not make OTLP's own summaries: a distribution goes out as a gauge with the attribute ``quantile`` and the two sums
``NAME_count`` and ``NAME_sum``. ``OTEL_METRIC_EXPORT_INTERVAL`` (milliseconds) says how often.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nightcrew.model.errors import NightcrewError
from nightcrew.monitoring import telemetry
from nightcrew.store.store import Store

if TYPE_CHECKING:
    from nightcrew.monitoring.families import Family

_LOG = logging.getLogger("nightcrew.telemetry")
_USUAL_MILLISECONDS = 60_000.0
_EXPORT_MILLISECONDS = 10_000.0
_FOR_SPANS_SECONDS = 1.0
"""Of the time of the end: their collector may be another, and well."""


@contextmanager
def pushing(store: Store, state: str) -> Iterator[None]:
    """While this is open, and once more at its end, send what is in ``store``, whose repository has the id ``state``.

    Does nothing if the environment does not ask for it. A collector that does not answer holds nothing up but, for at
    most five seconds, the end: with the end of the process, where the last spans are sent, it is still five.
    """
    telemetry.patience.renew()
    pusher = _Pusher.of(store, state)
    if pusher is None:
        yield
        return
    thread = threading.Thread(target=pusher.run, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        pusher.end()


class _Pusher:
    def __init__(self, store: Store, state: str, exporter: Any) -> None:
        from nightcrew.monitoring.families import Families

        self._over = threading.Event()
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._store, self._state, self._exporter = store, state, exporter
        self._families = Families()

    @classmethod
    def of(cls, store: Store, state: str) -> "_Pusher | None":
        if not telemetry.asked_for("METRICS") or not telemetry.speaks_http("METRICS"):
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError:
            _LOG.warning("telemetry is asked for but not installed: pip install 'nightcrew[telemetry]'")
            return None
        return cls(store, state, OTLPMetricExporter())

    def run(self) -> None:
        """Send until it is over, and then once more."""
        while not self._over.wait(_interval() / 1000):
            self._push()
        self._push()
        self._ended.set()

    def end(self) -> None:
        """Send once more, if the collector takes it in the time that is left to the process."""
        self._over.set()
        if not telemetry.patience.wait(self._ended, keep=_FOR_SPANS_SECONDS):
            self._given_up.set()
            _LOG.warning("the collector does not answer: the last metrics were not sent")

    def _push(self) -> None:
        if self._given_up.is_set():
            return  # The store may be closed by now.
        try:
            with self._store.read() as tx:
                families = self._families.read(tx)
                began = _began(tx)
            self._exporter.export(_data(families, self._state, began), timeout_millis=_EXPORT_MILLISECONDS)
        except NightcrewError as error:
            _LOG.warning("metrics were not sent: %s", error)
        except Exception:
            if not self._given_up.is_set():
                _LOG.warning("metrics were not sent", exc_info=True)


def _began(tx: Any) -> datetime | None:
    from nightcrew.store import ledger

    first = next(iter(ledger.entries(tx, limit=1)), None)
    return None if first is None else datetime.fromisoformat(first.at)


def _interval() -> float:
    given = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    return max(1000.0, float(given)) if given.isdigit() else _USUAL_MILLISECONDS


def _data(families: "list[Family]", state: str, began: datetime | None) -> Any:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Metric,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    now = time.time_ns()
    start = now if began is None else int(began.timestamp() * 1e9)

    def sums(name: str, text: str, values: list[tuple[dict[str, str], float]]) -> Metric:
        points = [NumberDataPoint(labels, start, now, float(value)) for labels, value in values]
        return Metric(name, text, "", Sum(points, AggregationTemporality.CUMULATIVE, True))

    def gauges(name: str, text: str, values: list[tuple[dict[str, str], float]]) -> Metric:
        return Metric(
            name, text, "", Gauge([NumberDataPoint(labels, 0, now, float(value)) for labels, value in values])
        )

    metrics: list[Metric] = []
    for family in families:
        values = [(dict(labels), value) for labels, value in family.values.items()]
        if values:
            metrics.append((sums if family.kind == "counter" else gauges)(family.name, family.text, values))
        if family.distributed:
            found = [(dict(labels), one) for labels, one in family.distributed.items()]
            quantiles = [
                ({**labels, "quantile": str(rank)}, value)
                for labels, one in found
                for rank, value in one.quantiles.items()
            ]
            metrics.append(sums(f"{family.name}_count", family.text, [(labels, one.number) for labels, one in found]))
            metrics.append(sums(f"{family.name}_sum", family.text, [(labels, one.total) for labels, one in found]))
            if quantiles:
                metrics.append(gauges(family.name, family.text, quantiles))
    resource = telemetry.resource(**{"service.instance.id": state[:32]})
    scope = ScopeMetrics(InstrumentationScope("nightcrew"), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])
