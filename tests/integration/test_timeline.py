"""The timeline: what was measured and what happened over one axis, and exactly what lies under a part of it."""

import gzip
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.gate import Gate, prepare

import nightcrew as nc
from nightcrew.crew import timeline, under
from nightcrew.model.errors import NotFoundError, UsageError
from nightcrew.monitoring.lanes import MAX_BUCKETS
from nightcrew.monitoring.metrics import Recorder
from nightcrew.pipeline import parked
from nightcrew.store import series
from nightcrew.store.series import DAY, HOUR, Point, Series
from nightcrew.store.store import Store
from nightcrew.web.app import create_app

ORIGIN = "http://localhost:8377"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Moved:
    """A clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def to(self, **after_noon: float) -> None:
        self.now = NOON + timedelta(**after_noon)


@pytest.fixture
def clock() -> Moved:
    return Moved()


@pytest.fixture
def store(tmp_path: Path, clock: Moved) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'state.db'}", seal_key=b"k" * 32, clock=clock)
    yield made
    made.close()


def pipeline(state: Path | None, clock: Moved, name: str = "fraud") -> nc.Pipeline:
    """A pipeline whose records say what becomes of them."""
    made = nc.Pipeline(name, key="id", state=state, clock=clock, requeue=nc.Requeue(base=1e6, cap=1e6, clock=clock))

    @made.step(retry=None)
    def score(record: dict[str, Any]) -> float:
        if record["is"] == "slow":
            raise TimeoutError("no answer")
        if record["is"] == "bad":
            raise KeyError("weights")
        return 0.5

    return made


@pytest.fixture
def worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Moved) -> Iterator[Gate]:
    """A project in which a pipeline worked a few records in each of three minutes: at 12:00, 12:01 and 12:02."""
    gate = prepare(tmp_path / "home", monkeypatch)
    gate.now = NOON
    gate.reopen()
    made = pipeline(gate.project.root, clock)
    for minute, fates in enumerate((("ok", "ok"), ("ok", "slow", "bad"), ("slow", "ok"))):
        clock.to(minutes=minute, seconds=30)
        made.run([{"id": f"{minute}-{index}", "is": fate} for index, fate in enumerate(fates)])
    made.close()
    gate.now = NOON + timedelta(minutes=10)
    yield gate
    gate.reopen()


def at(**after_noon: float) -> datetime:
    return NOON + timedelta(**after_noon)


def names(found: under.Under) -> list[str]:
    return [one.key for one in found.records]


def lane(found: timeline.Timeline, key: str) -> dict[str, list[float | None]]:
    return {line.name: line.values for one in found.lanes if one.key == key for line in one.lines}


# Lanes


def test_lanes_of_a_pipeline_share_the_buckets_of_one_axis(worked: Gate) -> None:
    found = timeline.read(worked.project.store, "pipeline:fraud", at(), at(minutes=5), at(minutes=10))
    assert (found.axis.step, found.axis.count) == (60, 5)
    assert lane(found, "throughput")["accepted"] == [0.0333333, 0.0166667, 0.0166667, None, None]
    assert lane(found, "errors") == {"transient.timeout": [None, 1, 1, None, None], "bug": [None, 1, 0, None, None]}
    assert set(lane(found, "seconds")) == {"p50", "p95", "p99"}
    assert all(len(line.values) == 5 for one in found.lanes for line in one.lines)
    assert [one.kind for one in found.events] == ["deployment"]


def test_a_step_is_timed_on_its_own(worked: Gate) -> None:
    assert timeline.steps(worked.project.store, "pipeline:fraud") == ["score"]
    found = timeline.read(worked.project.store, "pipeline:fraud", at(), at(minutes=5), at(minutes=10), step="score")
    assert lane(found, "seconds")["p50"][0] is not None
    missing = timeline.read(worked.project.store, "pipeline:fraud", at(), at(minutes=5), at(minutes=10), step="nothing")
    assert lane(missing, "seconds") == {}


def test_rate_of_the_minute_that_is_not_over_counts_the_part_that_is(store: Store, clock: Moved) -> None:
    recorder = Recorder(clock)
    recorder.count("records", "pipeline:p", 20, state="accepted")
    recorder.flush(store)
    with store.begin() as tx:
        _pipeline_row(tx, "p")
    found = timeline.read(store, "pipeline:p", at(minutes=-1), at(seconds=10), at(seconds=10))
    assert lane(found, "throughput")["accepted"] == [None, 2.0]


def test_gauges_of_one_line_are_added_up_and_drift_is_the_worst(store: Store, clock: Moved) -> None:
    recorder = Recorder(clock)
    for name, depth, effect in (("a", 3, 0.1), ("b", 4, 0.7)):
        recorder.gauge("queue.depth", f"pipeline:{name}", depth, queue="retry")
        recorder.gauge("drift", f"pipeline:{name}", effect, feature="amount")
    recorder.flush(store)
    found = timeline.read(store, "all", at(), at(minutes=2), at(minutes=2))
    assert lane(found, "depth") == {"retry": [7, None]}
    assert lane(found, "drift") == {"amount": [0.7, None]}


def test_errors_beyond_the_largest_classes_are_added_up(store: Store, clock: Moved) -> None:
    recorder = Recorder(clock)
    for number in range(20):
        recorder.count("errors", "pipeline:a", 100 - number, **{"class": f"class-{number:02}"})
    recorder.flush(store)
    found = lane(timeline.read(store, "all", at(), at(minutes=2), at(minutes=2)), "errors")
    assert list(found)[:2] == ["class-00", "class-01"]
    assert list(found)[-1] == "others"
    assert sum(values[0] or 0 for values in found.values()) == sum(100 - number for number in range(20))


@pytest.mark.parametrize(
    "span", [timedelta(minutes=1), timedelta(hours=6), timedelta(days=1), timedelta(days=40), timedelta(days=3660)]
)
def test_no_span_has_more_buckets_than_a_chart_can_show(store: Store, span: timedelta) -> None:
    found = timeline.read(store, "all", NOON - span, NOON, NOON)
    assert 1 <= found.axis.count <= MAX_BUCKETS
    begin = datetime.fromtimestamp(found.axis.first, UTC)
    assert begin <= NOON - span
    assert begin + timedelta(seconds=found.axis.step * found.axis.count) >= NOON
    assert found.axis.step % 60 == 0


def test_long_spans_are_read_from_what_is_kept_by_the_hour(store: Store, clock: Moved) -> None:
    """Minutes that are no longer there would leave the chart empty; those of the last hours are not rolled up yet."""
    made = Series("records", "pipeline:a", (("state", "accepted"),), "counter")
    first = int(NOON.timestamp()) - 3 * DAY
    with store.begin() as tx:
        number = series.identify(tx, made)
        series.put(
            tx, [Point(number, HOUR, first + hour * HOUR, "w", 1, 0, 3600.0, 1, 1, None, None) for hour in range(71)]
        )
        series.put(tx, [Point(number, 60, first + 71 * HOUR, "w", 1, 0, 60.0, 1, 1, None, None)])
        series.note_rolled(tx, HOUR, first + 71 * HOUR)
    found = lane(timeline.read(store, "all", NOON - timedelta(days=3), NOON, NOON), "throughput")["accepted"]
    assert found[:71] == [1.0] * 71
    assert found[71] == pytest.approx(60 / 3600, rel=1e-5)


def test_nothing_measured_is_an_empty_timeline(store: Store) -> None:
    found = timeline.read(store, "all", at(), at(hours=1), at(hours=1))
    assert [one.key for one in found.lanes] == ["throughput", "seconds", "errors", "drift", "depth"]
    assert all(not one.lines for one in found.lanes)
    assert found.events == []


# What is asked for


@pytest.mark.parametrize(
    ("subject", "start", "end", "error"),
    [
        ("pipeline:none", at(), at(hours=1), NotFoundError),
        ("ticket:T-0001", at(), at(hours=1), UsageError),
        ("pipeline:", at(), at(hours=1), UsageError),
        ("all", at(hours=1), at(), UsageError),
        ("all", at(), at(), UsageError),
        ("all", at(days=-4000), at(), UsageError),
        ("all", datetime(1970, 1, 1, tzinfo=UTC), datetime(1971, 1, 1, tzinfo=UTC), UsageError),
    ],
)
def test_what_makes_no_sense_is_refused(
    store: Store, subject: str, start: datetime, end: datetime, error: type
) -> None:
    with pytest.raises(error):
        timeline.read(store, subject, start, end, NOON)
    with pytest.raises(error):
        under.read(store, subject, start, end)


# Under a span


def test_failing_records_of_a_span_come_first_and_are_exactly_those(worked: Gate) -> None:
    found = under.read(worked.project.store, "pipeline:fraud", at(minutes=1), at(minutes=2))
    assert names(found) == ["1-1", "1-2", "1-0"]
    assert (found.failed, found.others, found.failures) == (2, 1, {"bug": 1, "transient.timeout": 1})
    assert [one.kind for one in found.records] == ["transient.timeout", "bug", None]
    assert [one.name for one in found.events if one.kind == "deployment"] == []


def test_a_span_has_its_beginning_and_not_its_end(worked: Gate) -> None:
    store = worked.project.store
    everything = under.read(store, "all", at(), at(minutes=9))
    written = sorted({one.at for one in everything.records})
    tick = timedelta(microseconds=1)
    for moment in written:
        there = {one.key for one in everything.records if one.at == moment}
        assert set(names(under.read(store, "all", moment, moment + tick))) == there
        assert not there & set(names(under.read(store, "all", moment - tick, moment)))


def test_every_record_lies_under_one_part_of_the_axis(worked: Gate) -> None:
    store = worked.project.store
    parts = [under.read(store, "all", at(seconds=step * 20), at(seconds=step * 20 + 20)) for step in range(12)]
    assert sorted(name for part in parts for name in names(part)) == ["0-0", "0-1", "1-0", "1-1", "1-2", "2-0", "2-1"]
    assert names(under.read(store, "all", at(hours=1), at(hours=2))) == []


def test_a_record_that_was_released_lies_where_that_was_done(worked: Gate) -> None:
    store = worked.project.store
    worked.now = at(minutes=5)
    parked.release(store, ["fraud/1-2"], actor="ada")
    before = under.read(store, "all", at(minutes=1), at(minutes=2))
    assert names(before) == ["1-1", "1-0"]
    assert before.moved == 1
    after = under.read(store, "all", at(minutes=5), at(minutes=6))
    assert [(one.key, one.why, one.state) for one in after.records] == [("1-2", "released", "waiting_retry")]
    assert after.moved == 0


def test_pages_go_through_the_failed_and_then_the_others(worked: Gate, clock: Moved) -> None:
    clock.to(minutes=6)
    made = pipeline(worked.project.root, clock)
    made.run([{"id": f"m-{number:03}", "is": "slow" if number % 2 else "ok"} for number in range(140)])
    made.close()
    pages = [under.read(worked.project.store, "all", at(minutes=6), at(minutes=9), page=page) for page in (1, 2, 3, 9)]
    keys = [name for page in pages[:3] for name in names(page)]
    assert len(keys) == len(set(keys)) == 140
    assert [int(key[2:]) % 2 for key in keys] == [1] * 70 + [0] * 70
    assert pages[0].pages == 3
    assert pages[3].page == 3, "a page behind the last is the last"


def test_another_pipelines_records_are_not_under_it(worked: Gate, clock: Moved) -> None:
    clock.to(minutes=1, seconds=40)
    made = pipeline(worked.project.root, clock, "other")
    made.run([{"id": "x", "is": "bad"}])
    made.close()
    store = worked.project.store
    assert "x" not in names(under.read(store, "pipeline:fraud", at(minutes=1), at(minutes=2)))
    assert names(under.read(store, "pipeline:other", at(minutes=1), at(minutes=2))) == ["x"]
    assert under.read(store, "all", at(minutes=1), at(minutes=2)).failed == 3
    assert under.read(store, "pipeline:other", at(minutes=1), at(minutes=2)).moved == 0
    assert under.read(store, "crew", at(minutes=1), at(minutes=2)).records == []


# The API and the page


@pytest.fixture
def client(worked: Gate) -> Iterator[TestClient]:
    token = secrets.token_urlsafe(32)
    app = create_app(worked.project.root, origin=ORIGIN, token=token, open_project=lambda _: worked.project)
    with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as made:
        assert made.get("/enter", params={"token": token}, follow_redirects=False).status_code == 303
        yield made


def test_api_gives_lanes_events_and_what_lies_under(client: TestClient) -> None:
    span = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:05:00Z", "subject": "pipeline:fraud"}
    told = client.get("/api/timeline", params=span).json()
    assert told["axis"] == {"start": "2026-03-01T12:00:00Z", "step": 60, "count": 5}
    assert [one["key"] for one in told["lanes"]] == ["throughput", "seconds", "errors", "drift", "depth"]
    below = client.get("/api/timeline/under", params=span).json()
    assert below["failed"] == 3
    first = below["records"][0]
    assert client.get(first["href"]).status_code == 200
    assert len(first["trace"]) == 32


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"subject": "nobody"}, 422, "subject"),
        ({"subject": "pipeline:none"}, 404, "none"),
        ({"from": "yesterday"}, 422, "from"),
        ({"from": "2026-03-01T13:00:00Z"}, 422, "before it begins"),
        ({"from": "1999-03-01T13:00:00Z"}, 422, "2000"),
        ({"to": "9999-12-31T23:59:59-12:00"}, 422, "2100"),
        ({"from": "2001-01-01T00:00:00Z"}, 422, "ten years"),
        ({"page": "0"}, 422, "page"),
    ],
)
def test_wrong_parameters_are_told_in_the_api_and_on_the_page(
    client: TestClient, changed: dict[str, str], status: int, said: str
) -> None:
    span = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:05:00Z"} | changed
    found = client.get("/api/timeline/under", params=span)
    assert (found.status_code, said in found.json()["error"]["message"]) == (status, True)
    page = client.get("/timeline", params=span)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")


def test_page_reads_without_javascript(client: TestClient) -> None:
    span = {"from": "2026-03-01T12:00", "to": "2026-03-01T12:05", "subject": "pipeline:fraud"}
    page = client.get("/timeline", params=span).text
    assert "transient.timeout" in page
    assert "under_from=2026-03-01T12:01:00Z" in page
    below = client.get(
        "/timeline", params={**span, "under_from": "2026-03-01T12:01:00", "under_to": "2026-03-01T12:02:00"}
    ).text
    assert "<b>2</b>" in below
    assert "/records/fraud/1-1" in below
    assert "/records/fraud/0-0" not in below
    assert client.get("/timeline", params={"from": "", "to": "", "under_from": "", "under_to": ""}).status_code == 200
    assert client.get("/timeline", params={"span": "1000y"}).status_code == 422


def test_plotly_comes_from_the_installed_package_and_is_kept_for_good(client: TestClient) -> None:
    page = client.get("/timeline").text
    address = page.partition('data-plotly="')[2].partition('"')[0]
    answer = client.get(address, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    assert b"plotly.js" in answer.content[:200]
    plain = client.get(address, headers={"accept-encoding": "identity"})
    assert plain.content == answer.content
    assert len(gzip.compress(plain.content, 1)) < len(plain.content) / 2
    assert client.get("/static/plotly-0000000000000000.js").status_code == 404
    assert "'unsafe" not in answer.headers["content-security-policy"]


def _pipeline_row(tx: Any, name: str) -> None:
    from nightcrew.store import runs

    runs.pipeline(tx, name, secret=())
