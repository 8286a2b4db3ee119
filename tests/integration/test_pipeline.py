"""Pipelines end to end on real SQLite: outcomes, gates, retries, quarantine, drift, sinks, order, concurrency."""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

import nightcrew as nc
from nightcrew.model.errors import BusyError, ConfigurationError, NightcrewError, TransitionError, UsageError
from nightcrew.pipeline.errors import InputChangedError
from nightcrew.pipeline.overview import problems
from nightcrew.pipeline.parked import discard, listed, release, shown
from nightcrew.store import outcomes
from nightcrew.store.store import Tx as StoreTx


class Tx(BaseModel):
    id: str
    amount: float = Field(gt=0)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))


ONCE = nc.Retry(attempts=1)


def pipeline(tmp_path: Path, **options: Any) -> nc.Pipeline:
    return nc.Pipeline("p", **{"record": Tx, "key": "id", "state": tmp_path, **options})


def records(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{number}", "amount": number + 1.0, **more} for number in range(count)]


def jsonl(path: Path, given: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in given))
    return path


def counted(tx: StoreTx) -> dict[str, int]:
    """How many outcomes are in each state, by looking at every row."""
    return dict(Counter(row.state for row in outcomes.list(tx, 1)))


def fits(made: nc.Pipeline) -> None:
    """Everything stored is vouched for by the ledger, and the counts are those of the rows."""
    with made.state.store.read() as tx:
        assert list(problems(tx)) == []


def document(made: nc.Pipeline, key: str) -> dict[str, Any]:
    return shown(made.state.store, f"p/{key}").document


def test_each_record_gets_one_outcome_and_the_sink_all_results(tmp_path: Path) -> None:
    made = pipeline(tmp_path, version="model-7")

    @made.step(retry=ONCE)
    def double(tx: Tx) -> nc.Prediction:
        return nc.Prediction(tx.amount * 2, 0.9)

    summary = made.run(jsonl(tmp_path / "in.jsonl", records(50)), sink=tmp_path / "out.jsonl")
    assert (summary.seen, summary.states, summary.adds_up) == (50, {"accepted": 50}, True)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    assert [line["key"] for line in lines] == [f"r{number}" for number in range(50)]
    assert lines[3]["output"] == {"value": 8.0, "confidence": 0.9}
    doc = document(made, "r3")
    assert (doc["confidence"], doc["made_by"], doc["level"], doc["attempts"]) == (0.9, "double", 0, 1)
    assert doc["version"] == made.version_digest
    fits(made)


def test_same_input_again_repeats_nothing(tmp_path: Path) -> None:
    made, calls = pipeline(tmp_path), []

    @made.step(retry=ONCE)
    def work(tx: Tx) -> float:
        calls.append(tx.id)
        return tx.amount

    made.run(records(1200))
    again = made.run(records(1200), sink=tmp_path / "out.jsonl")
    assert len(calls) == 1200
    assert (again.seen, again.repeated, again.states, again.adds_up) == (1200, 1200, {}, True)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1200


def test_key_that_stands_for_two_records_keeps_both(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    made.step(retry=ONCE)(lambda tx: tx.amount)
    twice = [{"id": "a", "amount": 1}, {"id": "b", "amount": 1}, {"id": "a", "amount": 2}, {"id": "b", "amount": 1}]
    summary = made.run(twice)
    assert (summary.states, summary.repeated, summary.adds_up) == ({"accepted": 2, "quarantined": 1}, 1, True)
    [held] = listed(made.state.store, states=["quarantined"])
    assert held.key.startswith("a~")
    assert held.input == {"id": "a", "amount": 2}
    assert "another record" in held.reason
    assert made.run(twice).repeated == 4
    fits(made)


def test_record_that_breaks_its_contract_is_quarantined_with_the_field_and_released_after_a_fix(tmp_path: Path) -> None:
    clock = Clock()
    made = pipeline(tmp_path, clock=clock, max_rejected=1.0)
    made.step(retry=ONCE)(lambda tx: tx.amount)
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"id": "a", "amount": 1}\n{"id": "b", "amount": "x"}\n{"id": "c", "amount": NaN}\nnot json\n[1]\n'
    )
    summary = made.run(source)
    assert summary.states == {"accepted": 1, "quarantined": 4}
    found = {one.key: one for one in listed(made.state.store, states=["quarantined"])}
    assert (found["b"].kind, found["b"].input) == ("permanent.contract", {"id": "b", "amount": "x"})
    assert "amount" in found["b"].reason
    assert "string 'x'" in found["b"].reason
    assert found["c"].kind == "permanent.contract"
    assert sorted(one.kind or "" for one in found.values()) == ["permanent.contract"] * 3 + ["permanent.corrupt"]
    made.close()

    class Lenient(BaseModel):
        id: str
        amount: Any

    fixed, calls = pipeline(tmp_path, record=Lenient, clock=clock), []

    @fixed.step(retry=ONCE)
    def work(tx: Lenient) -> str:
        calls.append(tx.id)
        return str(tx.amount)

    assert release(fixed.state.store, ["p/b"], actor="human") == 1
    with pytest.raises(TransitionError, match="p/b is waiting_retry"):
        release(fixed.state.store, ["p/b"], actor="human")
    assert discard(fixed.state.store, ["p/c"], actor="human", reason="not a number") == 1
    assert fixed.retry().states == {"accepted": 2, "quarantined": 2, "discarded": 1}
    assert calls == ["b"]
    fits(fixed)


def test_transient_failure_waits_in_the_queue_and_is_given_up_after_its_rounds(tmp_path: Path) -> None:
    clock, calls = Clock(), []
    made = pipeline(tmp_path, clock=clock, requeue=nc.Requeue(rounds=2, base=100, cap=100, clock=clock))

    @made.step(retry=ONCE)
    def work(tx: Tx) -> float:
        calls.append(tx.id)
        raise ConnectionResetError("gone")

    assert made.run(records(1)).states == {"waiting_retry": 1}
    [waiting] = listed(made.state.store, states=["waiting_retry"])
    assert waiting.kind == "transient.network"
    assert made.retry().states == {"waiting_retry": 1}, "it is not due yet"
    assert len(calls) == 1
    clock.now += timedelta(seconds=101)
    assert made.retry().states == {"waiting_retry": 1}
    clock.now += timedelta(seconds=101)
    assert made.retry().states == {"quarantined": 1}
    assert len(calls) == 3
    assert "after 2 further rounds" in document(made, "r0")["reason"]
    assert document(made, "r0")["attempts"] == 3
    fits(made)


def test_retry_after_of_the_service_is_honoured_by_the_queue(tmp_path: Path) -> None:
    clock = Clock()
    made = pipeline(tmp_path, clock=clock, requeue=nc.Requeue(base=1, clock=clock))

    class Limited(Exception):
        status_code = 429

        def __init__(self) -> None:
            super().__init__("slow down")
            self.headers = {"Retry-After": "600"}

    @made.step(retry=ONCE)
    def work(tx: Tx) -> float:
        raise Limited

    made.run(records(1))
    [waiting] = listed(made.state.store, states=["waiting_retry"])
    assert waiting.kind == "transient.rate_limit"
    assert waiting.next_at is not None
    assert datetime.fromisoformat(waiting.next_at) >= clock.now + timedelta(seconds=600)


def test_fallback_and_partial_are_seen_in_the_outcome(tmp_path: Path) -> None:
    made = pipeline(tmp_path)

    def rules(tx: Tx) -> nc.Prediction:
        return nc.Prediction("by rule", 0.6)

    @made.step(retry=ONCE, fallback=rules)
    def model(tx: Tx) -> Any:
        if tx.id == "r0":
            raise FileNotFoundError("model.bin")
        return nc.Partial("half", "only the first page was read") if tx.id == "r1" else "whole"

    assert made.run(records(3)).states == {"accepted": 1, "fallback": 2}
    by_rule, half = document(made, "r0"), document(made, "r1")
    assert (by_rule["status"], by_rule["level"], by_rule["made_by"]) == ("fallback", 1, "rules")
    assert "model.bin" in by_rule["reason"]
    assert (half["status"], half["output"], half["notice"]) == ("partial", "half", "only the first page was read")


def test_output_without_a_json_form_and_a_confidence_that_is_none_are_refused(tmp_path: Path) -> None:
    made = pipeline(tmp_path)

    @made.step(retry=ONCE)
    def work(tx: Tx) -> Any:
        return {"r0": float("nan"), "r1": object(), "r2": nc.Prediction(1, float("nan")), "r3": {"x": [1, None]}}[tx.id]

    assert made.run(records(4)).states == {"quarantined": 3, "accepted": 1}
    assert {one.kind for one in listed(made.state.store, states=["quarantined"])} == {"permanent.contract"}


def test_second_step_takes_the_record_and_what_was_made(tmp_path: Path) -> None:
    made = pipeline(tmp_path)

    @made.step(retry=ONCE)
    def double(tx: Tx) -> float:
        return tx.amount * 2

    @made.step(retry=ONCE)
    def label(tx: Tx, amount: float) -> str:
        return f"{tx.id}:{amount}"

    @made.step(retry=ONCE)
    def shout(text: str) -> str:
        return text.upper()

    made.run(records(1))
    assert document(made, "r0")["output"] == "R0:2.0"
    assert double(Tx(id="x", amount=1)) == 2, "the function itself is as it was"


def test_drift_halts_a_run_before_a_flood_and_names_the_field(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    made.step(retry=ONCE)(lambda tx: tx.amount)
    made.run(jsonl(tmp_path / "monday.jsonl", records(500)))
    changed = [{"id": f"n{number}", "amount": f"{number} EUR", "currency": "EUR"} for number in range(20_000)]
    with pytest.raises(nc.DriftError, match=r"amount is retyped in 100%.*was number, now string"):
        made.run(jsonl(tmp_path / "tuesday.jsonl", changed))
    with made.state.store.read() as tx:
        assert sum(counted(tx).values()) < 20_500
    summary = made.run(tmp_path / "tuesday.jsonl", max_rejected=1.0)
    assert (summary.seen, summary.states, summary.adds_up) == (20_000, {"quarantined": 20_000}, True)
    assert {(change.field, change.change) for change in summary.changes} == {("amount", "retyped"), ("currency", "new")}
    fits(made)


def test_input_that_changed_since_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    made = pipeline(tmp_path)

    @made.step(retry=ONCE)
    def work(tx: Tx) -> float:
        if tx.id == "r5" and not (tmp_path / "go").exists():
            raise KeyboardInterrupt
        return tx.amount

    source = jsonl(tmp_path / "in.jsonl", records(10))
    with pytest.raises(KeyboardInterrupt):
        made.run(source)
    jsonl(source, records(11))
    (tmp_path / "go").touch()
    with pytest.raises(InputChangedError, match=r"in\.jsonl is not what it was when run 1 began"):
        made.run(source)
    jsonl(source, records(10))
    summary = made.run(source)
    assert (summary.run, summary.seen, summary.states, summary.repeated) == (1, 10, {"accepted": 10}, 0)
    fits(made)


class TestSlowCalls:
    @pytest.mark.parametrize("use_threads", [False, True])
    def test_at_most_so_many_run_at_a_time_and_all_are_stored(self, tmp_path: Path, use_threads: bool) -> None:
        made = pipeline(tmp_path, concurrency=8)
        lock, now, most = threading.Lock(), 0, 0

        def enter(by: int) -> None:
            nonlocal now, most
            with lock:
                now += by
                most = max(most, now)

        async def slow(tx: Tx) -> float:
            enter(1)
            await asyncio.sleep(0.003)
            enter(-1)
            return tx.amount

        def blocking(tx: Tx) -> float:
            enter(1)
            time.sleep(0.003)
            enter(-1)
            return tx.amount

        made.step(retry=ONCE)(blocking if use_threads else slow)
        summary = made.run(records(300))
        assert (summary.seen, summary.states, summary.adds_up) == (300, {"accepted": 300}, True)
        assert 4 <= most <= 8
        fits(made)

    def test_records_of_one_lane_stay_in_order(self, tmp_path: Path) -> None:
        class Event(BaseModel):
            id: str
            account: str

        made = nc.Pipeline("p", record=Event, key="id", ordered_by="account", concurrency=16, state=tmp_path)
        order: dict[str, list[int]] = {}

        @made.step(retry=ONCE)
        async def work(event: Event) -> str:
            number = int(event.id)
            await asyncio.sleep(0.001 * (number * 7 % 5))
            order.setdefault(event.account, []).append(number)
            return event.account

        made.run([{"id": str(number), "account": f"a{number % 5}"} for number in range(200)])
        assert sum(map(len, order.values())) == 200
        assert all(numbers == sorted(numbers) for numbers in order.values())

    def test_async_iterator_is_a_source(self, tmp_path: Path) -> None:
        made = pipeline(tmp_path, concurrency=4)

        @made.step(retry=ONCE)
        async def work(tx: Tx) -> float:
            return tx.amount

        async def stream() -> AsyncIterator[dict[str, Any]]:
            for one in records(30):
                await asyncio.sleep(0)
                yield one

        assert made.run(stream()).states == {"accepted": 30}

    def test_killed_between_commits_goes_on_with_what_is_missing(self, tmp_path: Path) -> None:
        made = pipeline(tmp_path, concurrency=4, commit_seconds=0.01)
        calls: list[str] = []

        @made.step(retry=ONCE)
        async def work(tx: Tx) -> float:
            calls.append(tx.id)
            # The first is slow: later ones are committed before it, and then the run is interrupted.
            await asyncio.sleep(0.5 if tx.id == "r0" and not (tmp_path / "go").exists() else 0.002)
            if tx.id == "r60" and not (tmp_path / "go").exists():
                raise KeyboardInterrupt
            return tx.amount

        source = jsonl(tmp_path / "in.jsonl", records(100))
        with pytest.raises(KeyboardInterrupt):
            made.run(source)
        with made.state.store.read() as tx:
            before = counted(tx)["accepted"]
        assert before >= 20
        (tmp_path / "go").touch()
        calls.clear()
        summary = made.run(source)
        assert (summary.seen, summary.states, summary.repeated, summary.adds_up) == (100, {"accepted": 100}, 0, True)
        assert len(calls) == 100 - before, "what was committed is not worked again"
        fits(made)

    def test_more_is_read_while_what_is_done_is_written(self, tmp_path: Path) -> None:
        made = nc.Pipeline("quick", key="id", state=tmp_path, concurrency=64)

        @made.step(retry=ONCE)
        async def work(record: Any) -> int:
            return int(record["id"])

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # So that reading and writing, in two threads, meet at every instant.
        try:
            summary = made.run({"id": number} for number in range(20_000))
        finally:
            sys.setswitchinterval(before)
        assert (summary.seen, summary.adds_up) == (20_000, True)

    def test_notebook_with_a_running_loop_can_run_it(self, tmp_path: Path) -> None:
        made = pipeline(tmp_path, concurrency=4)

        @made.step(retry=ONCE)
        async def work(tx: Tx) -> float:
            await asyncio.sleep(0)
            return tx.amount

        async def cell() -> nc.Summary:
            return made.run(records(20))

        assert asyncio.run(cell()).states == {"accepted": 20}

    def test_live_source_is_not_waited_for_when_it_is_read_again(self, tmp_path: Path) -> None:
        made, worked = pipeline(tmp_path), list[str]()

        @made.step(retry=ONCE)
        def work(tx: Tx) -> float:
            worked.append(tx.id)
            return tx.amount

        made.run(records(3))

        def live() -> Iterator[dict[str, Any]]:
            yield from records(4)
            assert worked == ["r0", "r1", "r2", "r3"], "the new one is worked before the next is there"
            yield {"id": "last", "amount": 1}

        assert made.run(live(), new=True).states == {"accepted": 2}

    def test_rate_limit_spaces_calls(self, tmp_path: Path) -> None:
        made = pipeline(tmp_path, concurrency=10, rate=200)
        starts: list[float] = []

        @made.step(retry=ONCE)
        async def work(tx: Tx) -> float:
            starts.append(time.monotonic())
            return tx.amount

        made.run(records(40))
        assert starts[-1] - starts[0] >= 38 / 200


def test_text_that_no_encoding_holds_does_not_stop_the_retry_queue(tmp_path: Path) -> None:
    made = pipeline(tmp_path, requeue=nc.Requeue(rounds=1))

    @made.step(retry=ONCE)
    def fail(tx: Tx) -> None:
        raise ConnectionResetError("half a \ud800 pair")

    made.run(records(2))
    assert made.retry(everything=True).states == {"quarantined": 2}
    assert "half a \ud800 pair" in document(made, "r0")["reason"]
    fits(made)


@pytest.mark.parametrize("wait", [float("inf"), 1e300, float("nan"), -5])
def test_wait_that_is_no_time_is_not_asked_for(tmp_path: Path, wait: float) -> None:
    made = pipeline(tmp_path)

    class Odd(ConnectionError):
        retry_after = wait

    @made.step(retry=ONCE)
    def fail(tx: Tx) -> None:
        raise Odd("later")

    assert made.run(records(1)).states == {"waiting_retry": 1}


def test_keys_for_other_content_are_told_apart_by_more_than_a_few_digits(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    made.step(retry=ONCE)(lambda tx: tx.amount)
    made.run([{"id": "a", "amount": 1.0}, {"id": "a", "amount": 2.0}, {"id": "a", "amount": 3.0}])
    names = [one.key for one in listed(made.state.store, states=["quarantined"])]
    assert [len(name) for name in names] == [len("a~") + 32] * 2
    assert len(set(names)) == 2


def test_error_of_the_source_keeps_what_was_done(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    made.step(retry=ONCE)(lambda tx: tx.amount)

    def broken() -> Iterator[dict[str, Any]]:
        yield from records(7)
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        made.run(broken())
    with made.state.store.read() as tx:
        assert counted(tx) == {"accepted": 7}


def test_second_run_of_the_same_pipeline_at_once_is_refused(tmp_path: Path) -> None:
    made = pipeline(tmp_path)

    @made.step(retry=None)
    def work(tx: Tx) -> float:
        with pytest.raises(BusyError, match="holds run:p"):
            made.run(records(1))
        return tx.amount

    assert made.run(records(1)).states == {"accepted": 1}


def test_callable_sink_gets_each_result_once_and_later_ones_later(tmp_path: Path) -> None:
    clock = Clock()
    made = pipeline(tmp_path, clock=clock, requeue=nc.Requeue(base=1, clock=clock))
    got: list[str] = []

    @made.step(retry=ONCE)
    def work(tx: Tx) -> float:
        if tx.id == "r2" and clock.now.hour == 2:
            raise TimeoutError("later")
        return tx.amount

    def take(delivery: nc.Delivery) -> None:
        got.append(delivery.key)

    made.run(records(4), sink=take)
    assert got == ["r0", "r1", "r3"]
    clock.now += timedelta(hours=1)
    made.retry(sink=take)
    assert got == ["r0", "r1", "r3", "r2"]
    assert made.retry(sink=take).delivered == 0


def test_delivery_that_broke_off_is_made_up_for_by_the_next_run(tmp_path: Path) -> None:
    made, got = pipeline(tmp_path), []
    made.step(retry=ONCE)(lambda tx: tx.amount)

    def take(delivery: nc.Delivery) -> None:
        if delivery.key == "r1200" and not (tmp_path / "go").exists():
            raise ConnectionResetError("the queue is down")
        got.append(delivery.key)

    source = jsonl(tmp_path / "in.jsonl", records(1300))
    with pytest.raises(ConnectionResetError):
        made.run(source, sink=take)
    (tmp_path / "go").touch()
    assert made.run(source, sink=take).repeated == 1300
    assert set(got) == {f"r{number}" for number in range(1300)}
    assert len(got) - 1300 <= 500, "at most one group is given twice"
    others: list[str] = []
    made.run(source, sink=lambda delivery: others.append(delivery.key))
    assert len(others) == 1300, "another sink has a mark of its own"


def test_file_sink_of_a_run_is_written_again_when_something_is_settled_later(tmp_path: Path) -> None:
    clock = Clock()
    made = pipeline(tmp_path, clock=clock, requeue=nc.Requeue(base=1, clock=clock))

    @made.step(retry=ONCE)
    def work(tx: Tx) -> float:
        if tx.id == "r1" and clock.now.hour == 2:
            raise TimeoutError("later")
        return tx.amount

    made.run(records(3), sink=tmp_path / "out.jsonl")
    clock.now += timedelta(hours=1)
    made.retry()
    assert [json.loads(line)["key"] for line in (tmp_path / "out.jsonl").open()] == ["r0", "r1", "r2"]


class Login(BaseModel):
    id: str
    token: Annotated[str, nc.Secret, Field(min_length=8)]


def test_secret_is_not_in_the_reason_nor_shown(tmp_path: Path) -> None:
    made = nc.Pipeline("p", record=Login, key="id", state=tmp_path, max_rejected=1)
    made.step(retry=ONCE)(lambda login: login.id)
    made.run([{"id": "a", "token": "hunter2"}])
    one = shown(made.state.store, "p/a")
    assert one.input == {"id": "a", "token": "***"}
    assert "hunter2" not in json.dumps(one.document)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"name": "a b"}, UsageError, "letters, digits"),
        ({"concurrency": 0}, UsageError, "concurrency"),
        ({"rate": 0}, UsageError, "rate"),
        ({"record": 7}, ConfigurationError, "no schema"),
    ],
)
def test_wrong_options_say_so(tmp_path: Path, options: dict[str, Any], error: type[NightcrewError], said: str) -> None:
    with pytest.raises(error, match=said):
        nc.Pipeline(**{"name": "p", "state": tmp_path, **options})


def test_pipeline_without_a_step_and_stages_after_the_start_are_refused(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    with pytest.raises(ConfigurationError, match="has no step"):
        made.run(records(1))
    made.step(retry=ONCE, name="one")(lambda tx: 1)
    with pytest.raises(UsageError, match="named one already"):
        made.step(retry=ONCE, name="one")(lambda tx: 1)
    made.run([])
    with pytest.raises(UsageError, match="has begun to run"):
        made.step(retry=ONCE, name="two")(lambda tx: 1)


def test_sink_onto_the_input_is_refused(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    made.step(retry=ONCE)(lambda tx: 1)
    source = jsonl(tmp_path / "in.jsonl", records(2))
    with pytest.raises(UsageError, match="is the input"):
        made.run(source, sink=source)
    assert len(source.read_text().splitlines()) == 2
