"""Whoever can write the database must not be able to run code: no stored value is ever unpickled."""

import base64
import contextlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from nightcrew.engine import Engine, WorkflowFailed, WorkflowState
from nightcrew.model.errors import IntegrityError
from nightcrew.store.connection import create_database_engine


class Payload:
    """Pickles into a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def payload(mark: Path) -> str:
    return base64.b64encode(pickle.dumps(Payload(mark))).decode()


def make(tmp_path: Path, go: threading.Event) -> tuple[Engine, dict[str, Any]]:
    engine = Engine(
        database_url=f"sqlite:///{tmp_path}/nightcrew.db", state_dir=tmp_path / "state", polling_seconds=0.02
    )

    @engine.workflow("work")
    def work(number: int) -> int:
        engine.transaction("row", lambda c: c.exec_driver_sql("create table if not exists t (x int)") and None)
        return engine.step("step", lambda: number)

    @engine.workflow("fail")
    def fail() -> None:
        raise ValueError("as planned")

    @engine.workflow("wait")
    def wait() -> None:
        engine.step("before", lambda: 1)
        engine.transaction("row", lambda c: 1)
        engine.sleep(60)

    @engine.workflow("receive")
    def receive() -> None:
        from dbos import DBOS

        engine.step("hold", lambda: go.wait(20) and None)
        DBOS.recv("topic", timeout_seconds=5)

    engine.queue("q", concurrency=1)
    return engine, {"work": work, "fail": fail, "wait": wait, "receive": receive}


@pytest.fixture
def attacked(tmp_path: Path, payload: str) -> Iterator[tuple[Engine, dict[str, Any], threading.Event]]:
    """An engine relaunched on a database in which every stored value was replaced by a pickled payload."""
    go = threading.Event()
    engine, workflows = make(tmp_path, go)
    with engine:
        engine.start(workflows["work"], "done", 1)
        engine.result("done", 10)
        engine.start(workflows["fail"], "failed")
        with pytest.raises(WorkflowFailed):
            engine.result("failed", 10)
        engine.start(workflows["wait"], "interrupted")
        wait_for(lambda: len(steps_of("interrupted")) == 3)
        engine.enqueue("q", workflows["work"], "queued", 1, delay_seconds=1.5)
    plant(f"sqlite:///{tmp_path}/nightcrew.db", payload)
    again, workflows = make(tmp_path, go)
    with again:
        yield again, workflows, go
        go.set()


def test_payload_is_live_and_dbos_by_itself_would_run_it(payload: str, mark: Path) -> None:
    code = f"from dbos._serialization import deserialize_value as d; d({payload!r}, 'py_pickle', None)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert mark.exists()


def test_launch_recovery_and_every_way_of_reading_execute_nothing(
    attacked: tuple[Engine, dict[str, Any], threading.Event], mark: Path
) -> None:
    from dbos import DBOS

    engine, _workflows, _go = attacked
    for workflow_id in ("interrupted", "queued"):
        wait_for(lambda w=workflow_id: engine.status(w) is WorkflowState.FAILED)  # type: ignore[misc]
    for workflow_id in ("done", "failed", "interrupted", "queued"):
        with pytest.raises(IntegrityError, match="pickled"):
            engine.result(workflow_id, 5)
        steps_of(workflow_id)
        reads: Any = (
            lambda w=workflow_id: DBOS.list_workflows(workflow_ids=[w]),
            lambda w=workflow_id: DBOS.get_workflow_status(w),
            lambda w=workflow_id: DBOS.get_all_events(w),
            lambda w=workflow_id: DBOS.get_event(w, "key", timeout_seconds=0.01),
            lambda w=workflow_id: list(DBOS.read_stream(w, "key")),
            lambda w=workflow_id: DBOS.retrieve_workflow(w).get_result(polling_interval_sec=0.01),
            lambda w=workflow_id: DBOS.fork_workflow(w, 2),
        )
        for read in reads:
            attempt(read)
    for read_all in (DBOS.list_schedules, DBOS.list_queued_workflows, lambda: DBOS.trigger_schedule("planted")):
        attempt(read_all)
    attempt(lambda: DBOS.backfill_schedule("planted", *the_last_hour()))
    assert engine.list_workflows()
    assert not mark.exists()


def test_planted_rows_are_reported(attacked: tuple[Engine, dict[str, Any], threading.Event]) -> None:
    assert attacked[0].foreign_rows() == ["done", "failed", "interrupted", "queued"]


def test_pickled_step_result_of_a_sound_workflow_is_refused_on_replay(tmp_path: Path, payload: str, mark: Path) -> None:
    url = f"sqlite:///{tmp_path}/nightcrew.db"
    engine, workflows = make(tmp_path, threading.Event())
    with engine:
        engine.start(workflows["wait"], "w")
        wait_for(lambda: len(steps_of("w")) == 3)
    for table in ("operation_outputs", "datasource_outputs"):
        execute(url, f"update {table} set output = '{payload}', serialization = 'py_pickle'")
    again, _ = make(tmp_path, threading.Event())
    with again, pytest.raises(WorkflowFailed, match="pickled") as caught:
        again.result("w", 10)
    assert caught.value.error_code == "NC-INTEGRITY"
    assert not mark.exists()


def test_pickled_transaction_checkpoint_is_refused(tmp_path: Path, payload: str, mark: Path) -> None:
    url = f"sqlite:///{tmp_path}/nightcrew.db"
    engine, workflows = make(tmp_path, threading.Event())
    with engine:
        engine.start(workflows["wait"], "w")
        wait_for(lambda: len(steps_of("w")) == 3)
    execute(url, f"update datasource_outputs set output = '{payload}', serialization = 'py_pickle'")
    execute(url, "delete from operation_outputs where function_name = 'row'")
    execute(url, "delete from operation_outputs where function_name = 'sleep'")
    again, _ = make(tmp_path, threading.Event())
    with again, pytest.raises(WorkflowFailed, match="pickled"):
        again.result("w", 10)
    assert not mark.exists()


def test_pickled_message_is_refused(
    attacked: tuple[Engine, dict[str, Any], threading.Event], tmp_path: Path, payload: str, mark: Path
) -> None:
    engine, workflows, go = attacked
    engine.start(workflows["receive"], "receiver")
    execute(
        f"sqlite:///{tmp_path}/nightcrew.db",
        "insert into notifications (destination_uuid, topic, message, serialization, created_at_epoch_ms, message_uuid,"
        f" consumed) values ('receiver', 'topic', '{payload}', 'py_pickle', 1, 'm2', 0)",
    )
    go.set()
    with pytest.raises(WorkflowFailed, match="pickled"):
        engine.result("receiver", 10)
    assert not mark.exists()


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"v": 1, "e": 2}', '{"e": {"name": 1}}', "not json"])
def test_value_in_no_known_form_is_refused(tmp_path: Path, text: str) -> None:
    engine, workflows = make(tmp_path, threading.Event())
    with engine:
        engine.start(workflows["work"], "w", 1)
        engine.result("w", 10)
        execute(f"sqlite:///{tmp_path}/nightcrew.db", f"update workflow_output set output = '{text}'")
        with pytest.raises(IntegrityError):
            engine.result("w", 10)


def test_what_a_workflow_stores_is_json_even_for_errors(tmp_path: Path) -> None:
    engine, workflows = make(tmp_path, threading.Event())
    with engine:
        engine.start(workflows["fail"], "f")
        with pytest.raises(WorkflowFailed):
            engine.result("f", 10)
    database = create_database_engine(f"sqlite:///{tmp_path}/nightcrew.db")
    with database.begin() as connection:
        stored = connection.exec_driver_sql("select error from workflow_output").scalar()
        formats = connection.exec_driver_sql("select distinct serialization from workflow_status").scalars().all()
    database.dispose()
    assert stored == '{"e":{"code":null,"message":"as planned","name":"ValueError"}}'
    assert formats == ["nightcrew_json"]


VALUE_COLUMNS = ("inputs", "output", "error", "message", "value", "context")


def test_every_place_where_dbos_keeps_values_is_attacked_here() -> None:
    from dbos._schemas.datasource_database import datasource_outputs_table
    from dbos._schemas.system_database import SystemSchema

    tables = [*SystemSchema.metadata_obj.tables.values(), datasource_outputs_table(None)]
    marked = {table.name for table in tables if "serialization" in table.c}
    valued = {table.name for table in tables if any(column in table.c for column in VALUE_COLUMNS)}
    assert marked | valued == {
        "workflow_status",
        "workflow_input",
        "workflow_output",
        "operation_outputs",
        "notifications",
        "workflow_events",
        "workflow_events_history",
        "streams",
        "workflow_schedules",
        "datasource_outputs",
    }


def test_dbos_pickles_in_one_module_only() -> None:
    import dbos

    package = Path(dbos.__file__).parent
    assert [p.name for p in package.rglob("*.py") if "pickle." in p.read_text().replace("# Tell pickle", "")] == [
        "_serialization.py"
    ]


def plant(url: str, payload: str) -> None:
    """Mark every stored value as pickled and replace it by ``payload``; fill the tables that are empty."""
    from dbos._schemas.datasource_database import datasource_outputs_table
    from dbos._schemas.system_database import SystemSchema

    names = {table.schema for table in SystemSchema.metadata_obj.tables.values()}
    database = create_database_engine(url).execution_options(schema_translate_map=dict.fromkeys(names))
    s = SystemSchema
    with database.begin() as connection:
        for workflow_id in connection.execute(select(s.workflow_status.c.workflow_uuid)).scalars().all():
            common = {"workflow_uuid": workflow_id, "key": "key", "value": payload, "serialization": "py_pickle"}
            connection.execute(insert(s.workflow_events).values(**common))
            connection.execute(insert(s.workflow_events_history).values(**common, function_id=9))
            connection.execute(insert(s.streams).values(**common, offset=0, function_id=9))
        connection.execute(
            insert(s.workflow_schedules).values(
                schedule_id="s",
                schedule_name="planted",
                workflow_name="work",
                schedule="* * * * * *",
                status="ACTIVE",
                context=payload,
                last_fired_at="2020-01-01T00:00:00+00:00",
                automatic_backfill=True,
            )
        )
        tables = [*s.metadata_obj.tables.values(), datasource_outputs_table(None)]
        for table in tables:
            new = {name: payload for name in VALUE_COLUMNS if name in table.c}
            if "serialization" in table.c:
                new["serialization"] = "py_pickle"
            if new:
                connection.execute(update(table).values(**new))
    database.dispose()


def execute(url: str, statement: str) -> None:
    database = create_database_engine(url)
    with database.begin() as connection:
        connection.exec_driver_sql(statement)
    database.dispose()


def steps_of(workflow_id: str) -> list[Any]:
    from dbos import DBOS

    return list(DBOS.list_workflow_steps(workflow_id))


def the_last_hour() -> tuple[Any, Any]:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    return now - timedelta(seconds=3), now


def attempt(read: Callable[[], Any]) -> None:
    """Refusing to read is as good as reading without executing."""
    with contextlib.suppress(Exception):
        read()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition did not come true in time")
