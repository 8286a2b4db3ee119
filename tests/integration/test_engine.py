"""The engine's interface, on real SQLite and real Postgres."""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nightcrew.engine import (
    Engine,
    StepFailed,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowQuarantined,
    WorkflowState,
)
from nightcrew.engine.leases import Lease
from nightcrew.model.clock import system_clock
from nightcrew.model.errors import (
    BusyError,
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    TransientError,
    UsageError,
)
from nightcrew.store.connection import create_database_engine, reading

Declare = Callable[[Engine], Any]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/nightcrew.db"
    server, name = request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex[:12]}"
    server.psql(f"create database {name};")
    return str(server.get_uri(database=name))


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Makes engines and closes whichever is still open."""
    made: list[Engine] = []

    def make(url: str | None = None, **settings: Any) -> Engine:
        settings.setdefault("polling_seconds", 0.02)
        engine = Engine(
            database_url=url or f"sqlite:///{tmp_path}/nightcrew.db", state_dir=tmp_path / "state", **settings
        )
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close(wait_seconds=0.2)


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    database = create_database_engine(url)
    with reading(database).begin() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(statement)]
    database.dispose()
    return found


def test_workflow_runs_steps_and_transactions_and_gives_its_result(engines: Callable[..., Engine], url: str) -> None:
    engine = engines(url)

    @engine.workflow("order")
    def order(item: str, count: int) -> dict[str, Any]:
        price = engine.step("price", lambda: 3)
        engine.transaction("table", lambda c: c.exec_driver_sql("create table sold (item text)") and None)
        sold = engine.transaction("sell", lambda c: c.exec_driver_sql(f"insert into sold values ('{item}')").rowcount)
        return {"total": price * count, "sold": sold}

    engine.launch()
    engine.start(order, "order-1", "nut", 4)
    assert engine.result("order-1", 10) == {"total": 12, "sold": 1}
    assert engine.status("order-1") is WorkflowState.SUCCEEDED
    assert rows(url, "select item from sold") == [("nut",)]


def test_workflow_that_is_resumed_waits_until_the_engine_is_launched(
    engines: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DBOS goes on with it while it is launched; a step of it would find no engine, and that would be its result."""
    first, second = engines(), engines()
    came, may_end = threading.Event(), threading.Event()

    def declare(engine: Engine) -> Any:
        @engine.workflow("resumed")
        def resumed() -> int:
            came.set()
            engine.step("first", lambda: 1)
            may_end.wait(10)
            return engine.step("second", lambda: 2)

        return resumed

    workflow = declare(first)
    declare(second)
    first.launch()
    first.start(workflow, "r")
    assert came.wait(10)
    first.close(wait_seconds=0)
    may_end.set()
    came.clear()
    take_over = Lease.take_over

    def take_over_slowly(lease: Lease, durable: Any) -> None:
        deadline = time.monotonic() + 10
        while "r" not in durable.running() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not came.wait(0.3), "it ran before the engine was launched"
        take_over(lease, durable)

    with monkeypatch.context() as patched:
        patched.setattr(Lease, "take_over", take_over_slowly)
        second.launch()
    assert second.result("r", 10) == 2


def test_same_id_starts_and_queues_only_once(engines: Callable[..., Engine], url: str) -> None:
    engine, runs = engines(url), []

    @engine.workflow("once")
    def once() -> None:
        runs.append(1)

    engine.queue("q", concurrency=2)
    engine.launch()
    for _ in range(3):
        engine.start(once, "a")
        engine.enqueue("q", once, "b")
    engine.result("a", 10)
    engine.result("b", 10)
    engine.start(once, "a")
    assert engine.result("a", 10) is None
    assert len(runs) == 2


def test_queue_holds_its_concurrency(engines: Callable[..., Engine], url: str) -> None:
    engine, lock, now, peak = engines(url), threading.Lock(), [0], [0]

    @engine.workflow("busy")
    def busy() -> None:
        with lock:
            now[0] += 1
            peak[0] = max(peak[0], now[0])
        engine.sleep(0.05)
        with lock:
            now[0] -= 1

    engine.queue("q", concurrency=2)
    engine.launch()
    for number in range(8):
        engine.enqueue("q", busy, f"w{number}")
    for number in range(8):
        engine.result(f"w{number}", 20)
    assert peak[0] == 2


def test_workflow_can_queue_others_and_wait_for_them(engines: Callable[..., Engine]) -> None:
    engine = engines()

    @engine.workflow("part")
    def part(number: int) -> int:
        return number * number

    @engine.workflow("whole")
    def whole() -> int:
        for number in range(3):
            engine.enqueue("q", part, f"part-{number}", number)
        return sum(engine.result(f"part-{number}") for number in range(3))

    engine.queue("q", concurrency=3)
    engine.launch()
    engine.start(whole, "whole")
    assert engine.result("whole", 20) == 5


def test_lower_priority_numbers_go_first(engines: Callable[..., Engine]) -> None:
    engine, order = engines(), []

    @engine.workflow("note")
    def note(text: str) -> None:
        order.append(text)

    engine.queue("q", concurrency=1)
    engine.launch()
    # A queue that is new to the database is first looked at about a second later, so both are there by then.
    engine.enqueue("q", note, "second", "second", priority=5)
    engine.enqueue("q", note, "first", "first")
    for workflow_id in ("first", "second"):
        engine.result(workflow_id, 20)
    assert order == ["first", "second"]


def test_delayed_work_waits(engines: Callable[..., Engine]) -> None:
    engine = engines()
    done_at = engine.workflow("done at")(lambda: time.time())
    engine.queue("q", concurrency=1)
    engine.launch()
    asked = time.time()
    engine.enqueue("q", done_at, "late", delay_seconds=1.5)
    assert engine.status("late") is WorkflowState.WAITING
    assert engine.result("late", 20) >= asked + 1.5


def test_failure_is_reported_with_the_errors_text_name_and_code(engines: Callable[..., Engine], url: str) -> None:
    engine = engines(url)

    @engine.workflow("bad")
    def bad() -> None:
        raise ConfigurationError("no such brain")

    engine.launch()
    engine.start(bad, "bad")
    with pytest.raises(WorkflowFailed, match="no such brain") as caught:
        engine.result("bad", 10)
    assert (caught.value.error_name, caught.value.error_code) == ("ConfigurationError", "NC-CONFIG")
    assert engine.status("bad") is WorkflowState.FAILED


def test_step_failure_looks_the_same_in_a_first_run_and_in_a_replay(engines: Callable[..., Engine], url: str) -> None:
    seen: list[tuple[str, str, str | None]] = []

    def declare(engine: Engine) -> Any:
        @engine.workflow("careful")
        def careful() -> str:
            def fail() -> None:
                raise TransientError("overloaded")

            try:
                engine.step("call", fail)
            except StepFailed as error:
                seen.append((str(error), error.error_name, error.error_code))
            engine.sleep(0.0 if len(seen) > 1 else 60.0)
            return "handled"

        return careful

    first = engines(url, executor_id="w-1")
    careful = declare(first)
    first.launch()
    first.start(careful, "c")
    wait_for(lambda: bool(seen))
    first.close(wait_seconds=1)
    # The recorded sleep would last a minute; only the replay of the failed step matters here.
    second = engines(url, executor_id="w-1")
    declare(second)
    second.launch()
    wait_for(lambda: len(seen) > 1)
    assert seen[0] == seen[1] == ("call: overloaded", "TransientError", "NC-TRANSIENT")


def test_value_without_a_json_form_is_refused(engines: Callable[..., Engine]) -> None:
    engine = engines()

    @engine.workflow("w")
    def w(value: Any) -> None:
        engine.step("odd", lambda: object())

    engine.launch()
    with pytest.raises(TypeError):
        engine.start(w, "a", object())
    assert engine.status("a") is None
    engine.start(w, "b", 1)
    with pytest.raises(WorkflowFailed, match="not JSON serializable"):
        engine.result("b", 10)


def test_first_run_sees_values_as_a_replay_would(engines: Callable[..., Engine]) -> None:
    engine = engines()

    @engine.workflow("w")
    def w(pair: Any) -> list[str]:
        return [type(pair).__name__, type(engine.step("s", lambda: (1, 2))).__name__]

    engine.launch()
    engine.start(w, "a", (1, 2))
    assert engine.result("a", 10) == ["list", "list"]


def test_failed_transaction_writes_nothing(engines: Callable[..., Engine], url: str) -> None:
    engine = engines(url)

    @engine.workflow("w")
    def w() -> str:
        engine.transaction("table", lambda c: c.exec_driver_sql("create table t (x int)") and None)

        def half(connection: Any) -> None:
            connection.exec_driver_sql("insert into t values (1)")
            raise ValueError("no")

        try:
            engine.transaction("half", half)
        except StepFailed as error:
            return error.error_name
        return "committed"

    engine.launch()
    engine.start(w, "w")
    assert engine.result("w", 10) == "ValueError"
    assert rows(url, "select count(*) from t") == [(0,)]


def test_steps_outside_a_workflow_or_inside_a_step_are_refused(engines: Callable[..., Engine]) -> None:
    engine = engines()

    @engine.workflow("nested")
    def nested() -> None:
        engine.step("outer", lambda: engine.step("inner", lambda: 1))

    engine.launch()
    with pytest.raises(UsageError):
        engine.step("loose", lambda: 1)
    with pytest.raises(UsageError):
        engine.transaction("loose", lambda c: 1)
    engine.start(nested, "n")
    with pytest.raises(WorkflowFailed, match="do not nest"):
        engine.result("n", 10)


def test_id_of_another_workflow_is_refused(engines: Callable[..., Engine]) -> None:
    engine = engines()
    one = engine.workflow("one")(lambda: 1)
    two = engine.workflow("two")(lambda: 2)
    engine.launch()
    engine.start(one, "x")
    with pytest.raises(UsageError, match="different function name"):
        engine.start(two, "x")


def test_mistakes_of_the_caller_are_named(engines: Callable[..., Engine]) -> None:
    engine = engines()
    one = engine.workflow("one")(lambda: 1)
    with pytest.raises(UsageError, match="already registered"):
        engine.workflow("one")(lambda: 1)
    with pytest.raises(UsageError, match="not launched"):
        engine.start(one, "x")
    engine.launch()
    with pytest.raises(UsageError, match="no queue"):
        engine.enqueue("nowhere", one, "x")
    with pytest.raises(UsageError, match="launched"):
        engine.workflow("late")(lambda: 1)
    with pytest.raises(NotFoundError):
        engine.result("nobody", 1)
    assert engine.status("nobody") is None


def test_result_gives_up_after_its_timeout(engines: Callable[..., Engine]) -> None:
    engine = engines()

    @engine.workflow("slow")
    def slow() -> None:
        engine.sleep(60)

    engine.launch()
    engine.start(slow, "s")
    with pytest.raises(TimeoutError):
        engine.result("s", 0.05)


def test_cancelled_workflow_ends_at_its_next_step_and_can_be_released(engines: Callable[..., Engine]) -> None:
    engine, go, ran = engines(), threading.Event(), []

    @engine.workflow("w")
    def w() -> str:
        engine.step("wait", lambda: go.wait(10) and None)
        engine.step("after", lambda: ran.append(1))
        return "done"

    engine.launch()
    engine.start(w, "w")
    wait_for(lambda: engine.status("w") is WorkflowState.RUNNING)
    engine.cancel("w")
    go.set()
    with pytest.raises(WorkflowCancelled):
        engine.result("w", 10)
    assert engine.status("w") is WorkflowState.CANCELLED
    engine.release("w")
    assert engine.result("w", 10) == "done"
    assert ran == [1]


def test_finished_workflows_are_purged_by_age_and_a_running_parents_child_is_kept(
    engines: Callable[..., Engine], url: str
) -> None:
    engine, go = engines(url, clock=lambda: system_clock() + timedelta(days=31)), threading.Event()

    @engine.workflow("child")
    def child() -> int:
        return 7

    @engine.workflow("parent")
    def parent() -> int:
        engine.start(child, "child")
        engine.step("wait", lambda: go.wait(10) and None)
        return int(engine.result("child"))

    engine.launch()
    engine.start(child, "alone")
    engine.result("alone", 10)
    engine.start(parent, "parent")
    wait_for(lambda: engine.status("child") is WorkflowState.SUCCEEDED)
    assert engine.purge_finished(timedelta(days=32)) == 0
    assert engine.purge_finished(timedelta(days=30)) == 1
    assert engine.status("alone") is None
    go.set()
    assert engine.result("parent", 10) == 7
    assert engine.purge_finished(timedelta(days=30)) == 2
    assert engine.list_workflows() == []


def test_listing_filters_by_prefix_and_state(engines: Callable[..., Engine]) -> None:
    engine = engines()
    one = engine.workflow("one")(lambda: 1)
    bad = engine.workflow("bad")(lambda: 1 / 0)
    engine.launch()
    for workflow, workflow_id in ((one, "a-1"), (one, "b-1"), (bad, "a-2")):
        engine.start(workflow, workflow_id)
    for workflow_id in ("a-1", "b-1"):
        engine.result(workflow_id, 10)
    wait_for(lambda: engine.status("a-2") is WorkflowState.FAILED)
    assert {info.workflow_id for info in engine.list_workflows(prefix="a-")} == {"a-1", "a-2"}
    failed = engine.list_workflows(states=frozenset({WorkflowState.FAILED}))
    assert [(info.workflow_id, info.name, info.attempts) for info in failed] == [("a-2", "bad", 1)]


def test_unfinished_workflow_is_resumed_by_the_next_launch_without_costing_an_attempt(
    engines: Callable[..., Engine], url: str
) -> None:
    log: list[str] = []

    def declare(engine: Engine) -> Any:
        @engine.workflow("long", max_attempts=1)
        def long() -> str:
            engine.step("once", lambda: log.append("once"))
            engine.sleep(0.5)
            return "done"

        return long

    for attempt in range(3):
        engine = engines(url, executor_id="w-1")
        long = declare(engine)
        engine.launch()
        if attempt == 0:
            engine.start(long, "l")
            wait_for(lambda: log == ["once"])
            engine.close(wait_seconds=1)
        elif attempt == 1:
            engine.close(wait_seconds=1)
        else:
            assert engine.result("l", 10) == "done"
    assert log == ["once"]


def test_close_does_not_wait_for_a_workflow_that_hangs(engines: Callable[..., Engine]) -> None:
    engine, go = engines(), threading.Event()

    @engine.workflow("hang")
    def hang() -> None:
        engine.step("hang", lambda: go.wait(30) and None)

    engine.launch()
    engine.start(hang, "h")
    wait_for(lambda: engine.status("h") is WorkflowState.RUNNING)
    begun = threading.Event()

    def close() -> None:
        engine.close(wait_seconds=0.1)
        begun.set()

    closer = threading.Thread(target=close)
    closer.start()
    closer.join(3)
    assert begun.is_set()
    go.set()


def test_second_engine_on_one_sqlite_database_is_told_who_holds_it(engines: Callable[..., Engine]) -> None:
    engine = engines()
    engine.launch()
    with pytest.raises(BusyError, match=f"process {os.getpid()} "):
        engines().launch()
    engine.close()
    engines().launch()


def test_live_workers_executor_id_is_refused_on_postgres(engines: Callable[..., Engine], postgres: Any) -> None:
    name = f"t{uuid.uuid4().hex[:12]}"
    postgres.psql(f"create database {name};")
    url = postgres.get_uri(database=name)
    holder = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getppid())"], capture_output=True, text=True, check=True
    )
    assert int(holder.stdout) == os.getpid()
    engine = engines(url, executor_id="worker-a")
    engine.launch()
    engine.close()
    database = create_database_engine(url)
    with database.begin() as connection:  # Another process of this machine, which lives: our parent.
        connection.exec_driver_sql(f"update workers set state = 'live', pid = {os.getppid()}")
    database.dispose()
    with pytest.raises(BusyError, match="worker-a already runs"):
        engines(url, executor_id="worker-a").launch()


@pytest.mark.parametrize("executor_id", ["local", "", "a b", "x" * 200])
def test_executor_id_that_others_could_share_is_refused(executor_id: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Engine(database_url="sqlite:///x.db", state_dir=tmp_path, executor_id=executor_id)


def test_executor_id_is_stable_for_a_state_directory(engines: Callable[..., Engine], tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        engine = engines()
        engine.launch()
        ids.add(engine.executor_id)
        engine.close()
    assert ids == {(tmp_path / "state" / "executor-id").read_text().strip()}
    assert "local" not in ids


def test_work_of_a_lost_executor_id_is_taken_over_on_sqlite(engines: Callable[..., Engine], tmp_path: Path) -> None:
    def declare(engine: Engine) -> Any:
        @engine.workflow("w")
        def w() -> str:
            engine.sleep(0.3)
            return "done"

        return w

    first = engines()
    w = declare(first)
    first.launch()
    first.start(w, "w")
    first.close(wait_seconds=0.5)
    (tmp_path / "state" / "executor-id").unlink()
    second = engines()
    declare(second)
    second.launch()
    assert second.result("w", 10) == "done"


def test_work_of_another_version_is_reported_and_carried_over(engines: Callable[..., Engine], url: str) -> None:
    def declare(engine: Engine) -> Any:
        @engine.workflow("w")
        def w(number: int) -> int:
            engine.sleep(0.3)
            return number

        engine.queue("q", concurrency=1)
        return w

    first = engines(url, executor_id="w-1")
    w = declare(first)
    first.launch()
    first.enqueue("q", w, "queued", 1, delay_seconds=0.5)
    first.start(w, "begun", 2)
    first.close(wait_seconds=0.5)
    change_version(url, "nightcrew-0")
    second = engines(url, executor_id="w-2")
    declare(second)
    second.launch()
    assert second.pending_versions() == {"nightcrew-0": 2}
    assert second.carry_over("nightcrew-0") == 2
    assert second.pending_versions() == {}
    assert (second.result("queued", 10), second.result("begun", 10)) == (1, 2)


def test_workflow_that_keeps_dying_is_quarantined_and_can_be_released(engines: Callable[..., Engine]) -> None:
    """Each launch that finds a workflow running after a kill counts; here the row says that it was interrupted."""
    engine, go = engines(), threading.Event()

    @engine.workflow("w", max_attempts=2)
    def w() -> str:
        engine.step("wait", lambda: go.wait(10) and None)
        return "done"

    from dbos import DBOS

    engine.launch()
    engine.start(w, "w")
    wait_for(lambda: engine.status("w") is WorkflowState.RUNNING)
    for attempts in (2, 3):
        DBOS._recover_pending_workflows([engine.executor_id])  # As if this process had died and come back.
        wait_for(lambda n=attempts: engine.list_workflows()[0].attempts == n)  # type: ignore[misc]
    with pytest.raises(WorkflowQuarantined):
        engine.result("w", 10)
    assert engine.status("w") is WorkflowState.QUARANTINED
    assert engine.purge_finished(timedelta(days=-1)) == 0
    go.set()
    engine.release("w")
    assert engine.result("w", 10) == "done"


def test_failed_workflow_cannot_be_released(engines: Callable[..., Engine]) -> None:
    engine = engines()
    bad = engine.workflow("bad")(lambda: 1 / 0)
    engine.launch()
    engine.start(bad, "b")
    with pytest.raises(WorkflowFailed):
        engine.result("b", 10)
    with pytest.raises(UsageError, match="failed"):
        engine.release("b")


def test_damaged_database_is_an_integrity_error(engines: Callable[..., Engine], tmp_path: Path) -> None:
    (tmp_path / "nightcrew.db").write_bytes(b"this is not a database, whatever its name says" * 200)
    with pytest.raises(IntegrityError, match="damaged"):
        engines().launch()


def test_directory_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    engine = Engine(database_url=f"sqlite:///{tmp_path}/file/nightcrew.db", state_dir=tmp_path / "file")
    with pytest.raises(ConfigurationError):
        engine.launch()
    with pytest.raises(ConfigurationError, match="cannot write"):
        Engine(database_url="sqlite:////proc/nightcrew.db", state_dir=tmp_path).launch()


def test_unreachable_postgres_is_transient(tmp_path: Path) -> None:
    engine = Engine(database_url=f"postgresql://nobody@/none?host={tmp_path}", state_dir=tmp_path)
    with pytest.raises(TransientError, match="failed"):
        engine.launch()


def test_failed_launch_holds_nothing(engines: Callable[..., Engine], tmp_path: Path) -> None:
    database = tmp_path / "nightcrew.db"
    database.write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(IntegrityError):
        engines().launch()
    database.unlink()
    engines().launch()


def test_engine_that_was_closed_says_so(engines: Callable[..., Engine]) -> None:
    engine = engines()
    one = engine.workflow("one")(lambda: 1)
    with engine:
        engine.start(one, "x")
        assert engine.result("x", 10) == 1
        assert engine.wait(0.01) is False
    assert engine.wait(0.01) is True
    with pytest.raises(UsageError, match="closed"):
        engine.start(one, "y")


def change_version(url: str, version: str) -> None:
    table = "workflow_status" if url.startswith("sqlite") else "dbos.workflow_status"
    database = create_database_engine(url)
    with database.begin() as connection:
        connection.exec_driver_sql(f"update {table} set application_version = '{version}'")
    database.dispose()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition did not come true in time")
