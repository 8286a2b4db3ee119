"""Measures in the store: written by many, merged when read, made coarser with age; real SQLite and real Postgres."""

import json
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, Field
from sqlalchemy import text

import nightcrew as nc
from nightcrew.monitoring import query
from nightcrew.monitoring.metrics import Recorder
from nightcrew.monitoring.retention import maintain
from nightcrew.monitoring.sketches import MEASURE_K, Distribution, Items
from nightcrew.store import series
from nightcrew.store.series import DAY, HOUR, MINUTE
from nightcrew.store.store import Store

START = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
KEY = b"k" * 32


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name};")
    return str(server.get_uri(name))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    opened = Store(url, seal_key=KEY, clock=clock)
    yield opened
    opened.close()


def window(store: Store, name: str, subject: str, *, hours: Any = 1, end: Any, **labels: Any) -> query.Window:
    with store.read() as tx:
        return query.window(tx, name, subject, end - timedelta(hours=hours), end, **labels)


def rank_of(values: "np.ndarray[Any, Any]", value: float | None) -> float:
    assert value is not None
    return float(np.searchsorted(values, value, side="right") / len(values))


WORKER = """
import json, sys
import numpy as np
from nightcrew.monitoring.metrics import Recorder
from nightcrew.store.store import Store
url, seed = sys.argv[1], int(sys.argv[2])
store = Store(url, seal_key=b"k" * 32)
recorder = Recorder()
values = np.random.default_rng(seed).lognormal(-2, 1, 20_000)
for part in np.split(values, 20):
    recorder.observe("seconds", "step:p/score", part)
    recorder.count("records", "pipeline:p", len(part), state="accepted")
    recorder.flush(store)
recorder.items("feature.kind", "pipeline:p", ["card"] * (seed + 1) + [None])
recorder.flush(store)
"""


def test_the_sketches_of_eight_workers_give_the_percentiles_of_all_within_the_stated_error(url: str) -> None:
    store = Store(url, seal_key=KEY)
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, url, str(seed)]) for seed in range(8)]
    assert [worker.wait(timeout=120) for worker in workers] == [0] * 8

    every = np.concatenate([np.random.default_rng(seed).lognormal(-2, 1, 20_000) for seed in range(8)])
    one = Distribution(MEASURE_K)
    one.add(every)
    every.sort()
    end = datetime.now(UTC) + timedelta(minutes=1)
    merged = window(store, "seconds", "step:p/score", end=end)

    assert merged.count == len(every)
    assert merged.total == pytest.approx(every.sum())
    assert (merged.low, merged.high) == pytest.approx((every[0], every[-1]))
    assert merged.numbers is not None
    assert 0 < merged.numbers.rank_error < 0.0134
    for rank in (0.5, 0.95, 0.99):
        assert abs(rank_of(every, merged.quantile(rank)) - rank) <= merged.numbers.rank_error
        assert abs(rank_of(every, one.quantile(rank)) - rank) <= one.rank_error
    assert window(store, "records", "pipeline:p", end=end, state="accepted").total == len(every)
    kinds = window(store, "feature.kind", "pipeline:p", end=end)
    assert kinds.items is not None
    assert (kinds.items.counts(), kinds.missing) == ({"card": 36}, 8)
    store.close()


def test_what_is_written_again_is_not_counted_again(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    for _ in range(5):
        recorder.count("records", "pipeline:p", 2, state="accepted")
        recorder.flush(store)
    recorder.flush(store)

    assert window(store, "records", "pipeline:p", end=START + timedelta(minutes=1)).total == 10


def test_what_could_not_be_written_is_written_the_next_time(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    recorder.count("records", "pipeline:p", 3, state="accepted")
    with store.begin() as tx:
        tx.connection.execute(text("ALTER TABLE points RENAME TO away"))
    with pytest.raises(Exception, match="points"):
        recorder.flush(store)
    with store.begin() as tx:
        tx.connection.execute(text("ALTER TABLE away RENAME TO points"))
    recorder.count("records", "pipeline:p", 4, state="accepted")
    recorder.flush(store)
    assert window(store, "records", "pipeline:p", end=START + timedelta(minutes=1)).total == 7


def test_what_threads_count_while_it_is_written_is_not_lost(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)

    def count() -> None:
        for _ in range(2000):
            recorder.count("records", "pipeline:p", state="accepted")

    def flush() -> None:
        for _ in range(20):
            recorder.flush(store)

    threads = [threading.Thread(target=work) for work in (count, count, flush, flush)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.flush(store)
    assert window(store, "records", "pipeline:p", end=START + timedelta(minutes=1)).total == 4000


def test_a_clock_that_is_set_back_loses_nothing(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    for _ in range(2):  # The second time, the clock was set back to minutes that are written and dropped.
        for minute in range(5):
            clock.now = START + timedelta(minutes=minute)
            recorder.count("records", "pipeline:p", 2, state="accepted")
            recorder.flush(store)
    assert window(store, "records", "pipeline:p", end=START + timedelta(minutes=5)).total == 20


def test_a_mark_of_the_future_does_not_stop_ageing(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    recorder.count("records", "pipeline:p", state="accepted")
    recorder.flush(store)
    maintain(store, START + timedelta(days=3))
    recorder = Recorder(clock)
    clock.now = START + timedelta(hours=1)
    recorder.count("records", "pipeline:p", state="accepted")
    recorder.flush(store)
    maintain(store, START + timedelta(hours=3))
    with store.read() as tx:
        hours = query.windows(tx, "records", "pipeline:p", START, START + timedelta(hours=2), step=HOUR)
        assert series.rolled_until(tx, HOUR) <= int((START + timedelta(hours=3)).timestamp())
    assert sum(one.total for one in hours) == 2


def test_a_field_that_becomes_another_kind_is_another_series(store: Store, clock: Clock) -> None:
    for value in (["3", "4"], [3.0, 4.0]):
        recorder = Recorder(clock)
        if isinstance(value[0], str):
            recorder.items("feature.code", "pipeline:p", [str(one) for one in value])
        else:
            recorder.feature("feature.code", "pipeline:p", value)
        recorder.flush(store)
    maintain(store, START + timedelta(hours=3))
    found = window(store, "feature.code", "pipeline:p", hours=2, end=START + timedelta(hours=2))
    assert found.items is not None
    assert found.numbers is not None
    assert (found.items.counts(), found.numbers.total) == ({"3": 1, "4": 1}, 7)


def test_a_damaged_point_is_told_and_hides_no_other(store: Store, clock: Clock) -> None:
    for number in range(2):
        recorder = Recorder(clock, writer=f"w{number}")
        recorder.observe("seconds", "step:p/a", [1.0, 2.0])
        recorder.flush(store)
    with store.begin() as tx:
        tx.connection.execute(text("UPDATE points SET sketch = :bad WHERE writer = 'w0'"), {"bad": b"no sketch"})
    found = window(store, "seconds", "step:p/a", end=START + timedelta(minutes=1))
    assert (found.damaged, found.count, found.quantile(1.0)) == (1, 4, 2.0)
    maintain(store, START + timedelta(hours=3))
    with store.read() as tx:
        assert series.rolled_until(tx, HOUR) > 0


def test_names_that_were_dropped_are_known_to_be_missing() -> None:
    items = Items()
    items.add([f"n{number}" for number in range(700)])
    assert items.error == 0
    items.add([f"m{number}" for number in range(5000)])
    assert items.error > 0
    loaded = Items.load(items.dump(), count=items.count, missing=0)
    loaded.merge(items)
    assert loaded.error >= items.error


def test_labels_choose_and_those_not_named_add_up(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    recorder.count("errors", "step:p/a", 1, **{"class": "transient.timeout"})
    recorder.count("errors", "step:p/b", 2, **{"class": "transient.timeout"})
    recorder.count("errors", "step:p/b", 4, **{"class": "bug"})
    recorder.count("errors", "step:other/b", 8, **{"class": "bug"})
    recorder.flush(store)
    end = START + timedelta(minutes=1)

    assert window(store, "errors", "step:p/*", end=end).total == 7
    assert window(store, "errors", "step:p/*", end=end, **{"class": "bug"}).total == 4
    assert window(store, "errors", "step:p/b", end=end).total == 6
    assert window(store, "errors", "step:p/b", end=end, **{"class": "none such"}).total == 0


def test_windows_are_whole_minutes_and_empty_where_nothing_was_measured(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    for minute in (0, 1, 3):
        clock.now = START + timedelta(minutes=minute, seconds=59)
        recorder.count("records", "pipeline:p", minute + 1, state="accepted")
        recorder.gauge("queue.depth", "pipeline:p", minute, queue="retry")
        recorder.flush(store)
    with store.read() as tx:
        end = START + timedelta(minutes=5)
        found = query.windows(tx, "records", "pipeline:p", START + timedelta(seconds=30), end, step=60)
        depth = query.window(tx, "queue.depth", "pipeline:p", START, end)

    assert [one.total for one in found] == [1, 2, 0, 4, 0]
    assert [one.start for one in found] == [START + timedelta(minutes=minute) for minute in range(5)]
    assert found[1].rate == pytest.approx(2 / 60)
    assert (depth.last, depth.low, depth.high) == (3, 0, 3)
    assert depth.mean == pytest.approx(4 / 3)


def test_of_readings_within_a_minute_the_one_that_began_last_counts(store: Store, clock: Clock) -> None:
    """As of commands that follow each other: what was overdue at the first look is made up for at the last."""
    for second in range(20):
        clock.now = START + timedelta(seconds=second)
        recorder = Recorder(clock)
        recorder.gauge("schedule.overdue", "schedule:nightly", 20 - second)
        recorder.flush(store)

    assert window(store, "schedule.overdue", "schedule:nightly", end=START + timedelta(minutes=1)).last == 1


def test_numbers_that_are_none_count_as_missing(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    recorder.feature("feature.amount", "pipeline:p", [1.0, float("nan"), float("inf"), 3.0], missing=5)
    recorder.flush(store)
    found = window(store, "feature.amount", "pipeline:p", end=START + timedelta(minutes=1))

    assert (found.count, found.missing, found.mean) == (2, 7, 2.0)


def three_days(store: Store, clock: Clock) -> None:
    """A value of 1 and a count of 1 each ten minutes for three days, by three writers in turns."""
    recorders = [Recorder(clock) for _ in range(3)]
    for number in range(3 * 24 * 6):
        clock.now = START + timedelta(minutes=10 * number)
        recorder = recorders[number % 3]
        recorder.count("records", "pipeline:p", state="accepted")
        recorder.observe("seconds", "step:p/a", [number])
        recorder.items("feature.kind", "pipeline:p", ["even" if number % 2 == 0 else "odd"])
        recorder.gauge("queue.depth", "pipeline:p", number)
        recorder.flush(store)


def test_ageing_keeps_every_sum_and_the_percentiles(store: Store, clock: Clock) -> None:
    three_days(store, clock)
    end = START + timedelta(days=3)

    def seen() -> list[Any]:
        numbers = window(store, "seconds", "step:p/a", hours=72, end=end)
        kinds = window(store, "feature.kind", "pipeline:p", hours=72, end=end)
        assert kinds.items is not None
        records = window(store, "records", "pipeline:p", hours=72, end=end)
        depth = window(store, "queue.depth", "pipeline:p", hours=72, end=end)
        return [
            records.total,
            numbers.count,
            numbers.total,
            numbers.low,
            numbers.high,
            kinds.items.counts(),
            depth.last,
        ]

    before = seen()
    assert before == [432, 432, 432 * 431 / 2, 0, 431, {"even": 216, "odd": 216}, 431]
    clock.now = end + timedelta(minutes=11)
    maintain(store, clock.now)
    assert seen() == before
    maintain(store, clock.now, minutes_days=1)
    assert seen() == before
    maintain(store, clock.now, minutes_days=1, hours_days=2)
    assert seen() == before
    median = window(store, "seconds", "step:p/a", hours=72, end=end).quantile(0.5)
    assert median == pytest.approx(215, abs=6)
    with store.read() as tx:
        assert series.forgotten(tx, MINUTE) == int((START + timedelta(days=2)).timestamp()) // DAY * DAY
        hours = query.windows(tx, "records", "pipeline:p", START + timedelta(days=1), end, step=HOUR)
    assert [one.total for one in hours] == [6] * 48


def test_an_hour_is_not_merged_before_writers_are_through_with_it(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    clock.now = START + timedelta(minutes=59)
    recorder.count("records", "pipeline:p", state="accepted")
    recorder.flush(store)
    maintain(store, START + timedelta(hours=1, minutes=9))
    with store.read() as tx:
        assert series.rolled_until(tx, HOUR) == 0
    maintain(store, START + timedelta(hours=1, minutes=10))
    with store.read() as tx:
        assert series.rolled_until(tx, HOUR) == int((START + timedelta(hours=1)).timestamp())
        last = query.window(tx, "records", "pipeline:p", START, START + timedelta(hours=2))
    assert last.total == 1


def test_what_is_older_than_days_are_kept_is_gone(store: Store, clock: Clock) -> None:
    three_days(store, clock)
    maintain(store, START + timedelta(days=40), minutes_days=1, hours_days=2, days_days=30)
    with store.read() as tx:
        left = tx.connection.execute(text("SELECT count(*) FROM points WHERE span > 0")).scalar()
    assert left == 0


def test_a_sketch_that_is_none_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match="not a sketch"):
        Distribution.load(b"\x00" * 8, count=1, missing=0, total=1, low=1, high=1)
    with pytest.raises(ValueError, match="not a sketch"):
        Items.load(b"\xff", count=1, missing=0)


# What pipelines measure ----------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))


def made(tmp_path: Path, **options: Any) -> nc.Pipeline:
    """A pipeline of two steps: every tenth record fails once, every 50th for good, every 25th gets a fallback."""
    p = nc.Pipeline("p", key="id", state=tmp_path, **options)
    tried: set[int] = set()

    def simple(_: dict[str, Any]) -> nc.Prediction:
        return nc.Prediction("simple", 0.5)

    @p.step(retry=nc.Retry(attempts=2, base=0.0001, cap=0.0001), fallback=None)
    def look(record: dict[str, Any]) -> dict[str, Any]:
        number = record["n"]
        if number % 50 == 7:
            raise ValueError("cannot be worked")
        if number % 10 == 3 and number not in tried:
            tried.add(number)
            raise TimeoutError("slow today")
        return record

    @p.step(retry=None, fallback=simple)
    def score(record: dict[str, Any]) -> nc.Prediction:
        if record["n"] % 25 == 1:
            raise ConnectionError("gone")
        return nc.Prediction("good", 0.9)

    return p


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.usefixtures("config")
def test_a_run_measures_its_records_steps_errors_and_retries(tmp_path: Path, concurrency: int) -> None:
    p = made(tmp_path, concurrency=concurrency)
    summary = p.run([{"id": str(n), "n": n} for n in range(500)])
    end = datetime.now(UTC) + timedelta(minutes=1)
    store = p.state.store

    def total(name: str, subject: str, **labels: str) -> float:
        return window(store, name, subject, end=end, **labels).total

    assert {state: total("records", "pipeline:p", state=state) for state in summary.states} == summary.states
    assert summary.states == {"accepted": 470, "fallback": 20, "quarantined": 10}
    assert total("errors", "pipeline:p") == 10
    assert total("calls", "step:p/look", status="accepted") == 490
    assert total("calls", "step:p/look", status="failed") == 10
    assert total("retries", "step:p/look") == 50
    assert total("errors", "step:p/look") == 10
    assert total("calls", "step:p/score", status="fallback") == 20
    assert total("fallbacks", "step:p/score", level="1") == 20
    assert total("errors", "step:p/score", **{"class": "transient.network"}) == 20
    assert window(store, "seconds", "step:p/look", end=end).count == 500
    assert window(store, "seconds", "step:p/score", end=end).count == 490
    assert window(store, "seconds", "pipeline:p", end=end).count == 500
    confidence = window(store, "confidence", "step:p/score", end=end)
    assert (confidence.count, confidence.low, confidence.high) == (490, 0.5, 0.9)
    p.close()


@pytest.mark.usefixtures("config")
def test_records_that_were_there_already_are_not_measured_again(tmp_path: Path) -> None:
    p = made(tmp_path)
    given = [{"id": str(n), "n": n} for n in range(100)]
    p.run(given)
    p.run(given)
    end = datetime.now(UTC) + timedelta(minutes=1)

    assert window(p.state.store, "records", "pipeline:p", end=end).total == 100
    p.close()


@pytest.mark.usefixtures("config")
def test_workers_of_one_run_add_up(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import nightcrew as nc\n"
        "pipeline = nc.Pipeline('p', key='id')\n"
        "@pipeline.step\ndef half(record):\n    return record['n'] / 2\n"
    )
    given = tmp_path / "in.jsonl"
    lines = [json.dumps({"id": str(n), "n": n}) for n in range(3000)]
    random.Random(1).shuffle(lines)
    given.write_text("\n".join(lines) + "\n")
    argv = [sys.executable, "-m", "nightcrew", "run", "app.py:pipeline", "--input", "in.jsonl", "--workers", "3"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr

    p = nc.Pipeline("p", state=tmp_path)
    end = datetime.now(UTC) + timedelta(minutes=1)
    assert window(p.state.store, "records", "pipeline:p", end=end, state="accepted").total == 3000
    assert window(p.state.store, "seconds", "step:p/half", end=end).count == 3000
    p.close()


def test_writers_of_the_same_minute_have_rows_of_their_own(store: Store, clock: Clock) -> None:
    for _ in range(3):
        recorder = Recorder(clock)
        recorder.observe("seconds", "step:p/a", [1.0, 2.0])
        recorder.flush(store)
    with store.read() as tx:
        known = series.find(tx, name="seconds")
        rows = list(series.points(tx, known, span=MINUTE, start=0, end=2**40))
    assert [row.count for row in rows] == [2, 2, 2]
    assert len({row.writer for row in rows}) == 3


class Shop(BaseModel):
    id: str
    note: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


@pytest.mark.usefixtures("config")
def test_a_first_run_without_the_optional_fields_of_its_contract_is_no_drift(tmp_path: Path) -> None:
    p = nc.Pipeline("p", record=Shop, key="id", state=tmp_path)

    @p.step
    def length(record: Shop) -> int:
        return len(record.id)

    for start in (0, 100):
        p.run([{"id": str(number)} for number in range(start, start + 100)])
    with p.state.store.read() as tx:
        assert tx.connection.execute(text("SELECT count(*) FROM drifts")).scalar() == 0
        assert tx.connection.execute(text("SELECT count(*) FROM alerts")).scalar() == 0
    p.close()


class Hostile:
    """A record whose fields cannot be looked at."""

    def __init__(self, number: int) -> None:
        self.id = str(number)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("look away")


@pytest.mark.usefixtures("config")
def test_what_cannot_be_measured_ends_no_run(tmp_path: Path) -> None:
    p = nc.Pipeline("p", key=lambda record: record.id, state=tmp_path)

    @p.step
    def answer(record: Hostile) -> str:
        return "fine"

    assert p.run([Hostile(number) for number in range(200)]).states == {"accepted": 200}
    p.close()
