"""What it costs to measure a value, beside prometheus_client, OpenTelemetry and river.

Run: python bench/metrics.py [--quick]. Rounds are interleaved and the fastest of each counts, since noise only adds.
Prints a table and writes bench/results/metrics.json. Only ours and river's can give a percentile of any window; only
ours keeps it in a database and merges it over workers. river comes with ``pip install -e '.[peers]'``; if it is
missing it is named.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nightcrew.monitoring.metrics import Recorder
from nightcrew.store.store import Store

VALUES = 200_000
BATCH = 5_000
ROUNDS = 7

Contender = Callable[["np.ndarray[Any, Any]"], None]


def contenders(folder: Path) -> dict[str, Contender]:
    """What is measured, by name; each takes all values."""
    store = Store(f"sqlite:///{folder / 'state.db'}", seal_key=b"k" * 32)

    def batched(values: "np.ndarray[Any, Any]") -> None:
        recorder = Recorder()
        for start in range(0, len(values), BATCH):
            recorder.observe("seconds", "step:p/s", values[start : start + BATCH])

    def durable(values: "np.ndarray[Any, Any]") -> None:
        recorder = Recorder()
        for start in range(0, len(values), BATCH):
            recorder.observe("seconds", "step:p/s", values[start : start + BATCH])
            recorder.flush(store)

    def one_by_one(values: "np.ndarray[Any, Any]") -> None:
        recorder = Recorder()
        kept: list[float] = []
        append = kept.append
        for value in values.tolist():
            append(value)
            if len(kept) >= BATCH:
                recorder.observe("seconds", "step:p/s", kept)
                kept.clear()

    found: dict[str, Contender] = {
        "nightcrew, batches of 5,000": batched,
        "nightcrew, batches, each made durable": durable,
        "nightcrew, one by one through a list": one_by_one,
    }
    from prometheus_client import CollectorRegistry, Histogram, Summary

    histogram = Histogram("h", "of seconds", registry=CollectorRegistry())
    summary = Summary("s", "of seconds", registry=CollectorRegistry())
    found["prometheus_client Histogram"] = _each(histogram.observe)
    found["prometheus_client Summary (no quantiles)"] = _each(summary.observe)
    if importlib.util.find_spec("opentelemetry.sdk"):
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
        found["OpenTelemetry Histogram"] = _each(meter.create_histogram("h").record)
    else:
        print("OpenTelemetry: not measured, it is not installed (pip install -e '.[telemetry]')")
    if importlib.util.find_spec("river"):
        from river import stats

        found["river Quantile (one quantile)"] = _each(stats.Quantile(0.95).update)
    else:
        print("river: not measured, it is not installed (pip install -e '.[peers]')")
    return found


def _each(take: Callable[[float], Any]) -> Contender:
    def run(values: "np.ndarray[Any, Any]") -> None:
        for value in values.tolist():
            take(value)

    return run


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two rounds, a tenth of the values")
    quick = parser.parse_args().quick
    values = np.random.default_rng(1).lognormal(-2, 1, VALUES // (10 if quick else 1))
    with tempfile.TemporaryDirectory() as folder:
        measured = contenders(Path(folder))
        best = dict.fromkeys(measured, float("inf"))
        for _ in range(2 if quick else ROUNDS):
            for name, run in measured.items():
                began = time.perf_counter()
                run(values)
                best[name] = min(best[name], (time.perf_counter() - began) / len(values))
    ours = best["nightcrew, batches of 5,000"]
    print(f"{'what':<44} {'ns a value':>10} {'of ours':>10}")
    for name, seconds in best.items():
        print(f"{name:<44} {seconds * 1e9:>10.0f} {'x' + format(seconds / ours, ',.1f'):>10}")
    target = Path(__file__).parent / "results" / "metrics.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({name: seconds * 1e9 for name, seconds in best.items()}, indent=2))


if __name__ == "__main__":
    main()
