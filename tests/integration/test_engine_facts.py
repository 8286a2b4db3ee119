"""What the engine relies on in DBOS 3.4.0, one test a fact, so that an upgrade that changes one is seen.

A failure here does not say that nightcrew is wrong, but that the code that deals with the fact wants a second look.
"""

import importlib.metadata
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nightcrew.engine import APPLICATION_VERSION, Engine, WorkflowFailed, WorkflowState
from nightcrew.store.connection import create_database_engine, create_system_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(
        database_url=f"sqlite:///{tmp_path}/nightcrew.db", state_dir=tmp_path / "state", polling_seconds=0.02
    )
    yield engine
    engine.close(wait_seconds=0.2)


def in_fresh_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_the_release_is_the_one_that_was_read() -> None:
    assert importlib.metadata.version("dbos") == "3.4.0"


def test_importing_the_engine_imports_neither_dbos_nor_sqlalchemy() -> None:
    code = "import sys, nightcrew.engine; print('dbos' in sys.modules, 'sqlalchemy' in sys.modules)"
    assert in_fresh_python(code).stdout.split() == ["False", "False"]


# Identity and recovery ----------------------------------------------------------------------------------------------


def test_default_executor_id_is_local_for_everyone() -> None:
    code = "from dbos._utils import GlobalParams; print(GlobalParams.executor_id)"
    assert in_fresh_python(code).stdout.strip() == "local"


def test_recovery_of_an_executor_id_takes_work_that_is_running_under_it(engine: Engine) -> None:
    go, runs = threading.Event(), []

    @engine.workflow("w")
    def w() -> None:
        runs.append(1)
        engine.step("wait", lambda: go.wait(10) and None)

    from dbos import DBOS

    engine.launch()
    engine.start(w, "w")
    wait_for(lambda: len(runs) == 1)
    DBOS._recover_pending_workflows([engine.executor_id])
    wait_for(lambda: len(runs) == 2)
    go.set()
    engine.result("w", 10)


def test_recovery_is_idempotent_once_another_executor_has_the_work(engine: Engine) -> None:
    go, runs = threading.Event(), []

    @engine.workflow("w")
    def w() -> None:
        runs.append(1)
        engine.step("wait", lambda: go.wait(10) and None)

    from dbos import DBOS

    engine.launch()
    engine.start(w, "w")
    wait_for(lambda: len(runs) == 1)
    execute(engine_url(engine), "update workflow_status set executor_id = 'dead'")
    DBOS._recover_pending_workflows(["dead"])
    wait_for(lambda: len(runs) == 2)
    DBOS._recover_pending_workflows(["dead"])
    go.set()
    engine.result("w", 10)
    assert len(runs) == 2


def test_execution_whose_work_was_taken_cannot_record_anything_more(engine: Engine) -> None:
    go = threading.Event()
    results: list[str] = []

    @engine.workflow("w")
    def w() -> str:
        me = len(results)
        results.append("begun")

        def wait() -> None:
            go.wait(10)

        engine.step("wait", wait if me == 0 else go.set)
        return f"by execution {me}"

    from dbos import DBOS

    engine.launch()
    engine.start(w, "w")
    wait_for(lambda: len(results) == 1)
    DBOS._recover_pending_workflows([engine.executor_id])
    assert engine.result("w", 10) == "by execution 1"


def test_dbos_recovers_its_own_version_only(engine: Engine, tmp_path: Path) -> None:
    @engine.workflow("w")
    def w() -> None:
        engine.sleep(60)

    engine.launch()
    engine.start(w, "w")
    engine.close(wait_seconds=1)
    execute(engine_url(engine), "update workflow_status set application_version = 'older'")
    again = Engine(database_url=engine_url(engine), state_dir=tmp_path / "state", polling_seconds=0.02)
    again.workflow("w")(lambda: None)
    with again:
        threading.Event().wait(0.3)
        assert again.status("w") is WorkflowState.RUNNING
        assert again.pending_versions() == {"older": 1}


def test_version_would_be_a_hash_of_the_code_and_is_ours(engine: Engine) -> None:
    from dbos._dbos import DBOSRegistry

    assert len(DBOSRegistry().compute_app_version("nightcrew")) == 32
    w = engine.workflow("w")(lambda: None)
    engine.launch()
    engine.start(w, "w")
    assert [info.application_version for info in engine.list_workflows()] == [APPLICATION_VERSION] == ["nightcrew-1"]


def test_default_recovery_attempts_are_a_hundred() -> None:
    from dbos._registrations import DEFAULT_MAX_RECOVERY_ATTEMPTS

    assert DEFAULT_MAX_RECOVERY_ATTEMPTS == 100


def test_resume_of_a_failed_workflow_silently_does_nothing(engine: Engine) -> None:
    from dbos import DBOS

    bad = engine.workflow("bad")(lambda: 1 / 0)
    engine.launch()
    engine.start(bad, "b")
    with pytest.raises(WorkflowFailed):
        engine.result("b", 10)
    DBOS.resume_workflow("b")
    assert engine.status("b") is WorkflowState.FAILED


# Queues -------------------------------------------------------------------------------------------------------------


def test_default_polling_is_once_a_second_and_ours_reaches_the_recovery_queue_too(engine: Engine) -> None:
    from dbos._dbos import _get_dbos_instance
    from dbos._queue import DEFAULT_QUEUE_POLLING_INTERVAL_SEC

    engine.queue("q", concurrency=3, total=4)
    engine.launch()
    dbos = _get_dbos_instance()
    queue = dbos._sys_db.get_queue("q")
    assert DEFAULT_QUEUE_POLLING_INTERVAL_SEC == 1.0
    assert queue is not None
    assert (queue._polling_interval_sec, queue._worker_concurrency, queue._concurrency) == (0.02, 3, 4)
    assert dbos._registry.get_internal_queue()._polling_interval_sec == 0.02


# SQLite and Postgres ------------------------------------------------------------------------------------------------


def test_dbos_own_sqlite_connections_have_no_wal(tmp_path: Path) -> None:
    from dbos._datasource_sqlite import _set_sqlite_pragmas

    database = create_database_engine(f"sqlite:///{tmp_path}/x.db")
    raw = database.dialect.loaded_dbapi.connect(tmp_path / "x.db")
    _set_sqlite_pragmas(raw, None)
    assert raw.execute("pragma journal_mode").fetchone() == ("delete",)
    raw.close()


@pytest.mark.parametrize("make", [create_database_engine, create_system_engine])
def test_our_connections_are_wal_and_fully_synchronous(make: Callable[[str], Any], tmp_path: Path) -> None:
    database = make(f"sqlite:///{tmp_path}/x.db")
    with database.connect() as connection:
        got = {
            name: connection.exec_driver_sql(f"pragma {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "trusted_schema")
        }
    database.dispose()
    assert got == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
        "trusted_schema": 0,
    }


def test_dbos_uses_the_engine_we_give_it(engine: Engine) -> None:
    from dbos._dbos import _get_dbos_instance

    engine.launch()
    with _get_dbos_instance()._sys_db.engine.connect() as connection:
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"


def test_transaction_holds_the_write_lock_from_its_first_read(engine: Engine) -> None:
    """DBOS asks for SERIALIZABLE, upon which SQLAlchemy's SQLite dialect undoes the driver's IMMEDIATE mode."""
    locked: list[str] = []

    @engine.workflow("w")
    def w() -> None:
        def body(connection: Any) -> None:
            connection.exec_driver_sql("select 1").scalar()
            import sqlite3

            other = sqlite3.connect(engine_url(engine).removeprefix("sqlite:///"), timeout=0)
            try:
                other.execute("begin immediate")
            except sqlite3.OperationalError as error:
                locked.append(str(error))
            other.close()

        engine.transaction("t", body)

    engine.launch()
    engine.start(w, "w")
    engine.result("w", 10)
    assert locked == ["database is locked"]


def test_processes_that_read_and_then_write_one_sqlite_file_are_serialised(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    execute(url, "create table counter (n int)")
    execute(url, "insert into counter values (0)")
    code = f"""
from nightcrew.store.connection import create_database_engine
database = create_database_engine({url!r})
for _ in range(40):
    with database.begin() as c:
        n = c.exec_driver_sql("select n from counter").scalar()
        c.exec_driver_sql(f"update counter set n = {{n + 1}}")
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    database = create_database_engine(url)
    with database.begin() as connection:
        assert connection.exec_driver_sql("select n from counter").scalar() == 120
    database.dispose()


def test_dbos_lies_in_its_own_schema_on_postgres(postgres: Any, tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:12]}"
    postgres.psql(f"create database {name};")
    url = postgres.get_uri(database=name)
    with Engine(database_url=url, state_dir=tmp_path, executor_id="worker-a"):
        database = create_database_engine(url)
        with database.begin() as connection:
            query = "select distinct table_schema from information_schema.tables where table_name in "
            found = connection.exec_driver_sql(query + "('workflow_status', 'datasource_outputs')").scalars().all()
            ours = connection.exec_driver_sql(
                "select table_schema from information_schema.tables where table_name = 'workers'"
            ).scalar()
        database.dispose()
    assert (found, ours) == (["dbos"], "public")


def test_launch_does_not_migrate_an_up_to_date_database_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from dbos import _migration, _sys_db_sqlite

    engine.launch()
    engine.close()
    versions = _migration.get_sqlite_migration_versions(create_system_engine(engine_url(engine)))
    assert versions[0] == versions[1]
    monkeypatch.setattr(_sys_db_sqlite, "sqlite_migrations", ["nonsense"] * versions[1])
    engine.launch()


# Quiet, local, prompt -----------------------------------------------------------------------------------------------

_PROGRAM = """
import os, sys, threading
from pathlib import Path
from nightcrew.engine import Engine
state = Path(sys.argv[1])
engine = Engine(database_url=f"sqlite:///{state}/nightcrew.db", state_dir=state, polling_seconds=0.02)
@engine.workflow("w")
def w():
    if len(sys.argv) > 2:
        engine.step("hang", lambda: threading.Event().wait(60) and None)
@engine.workflow("bad")
def bad():
    raise ValueError("bad")
engine.queue("q", concurrency=1)
engine.launch()
fds = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
inodes = {os.readlink(fd) for fd in fds if os.path.exists(fd)}
sockets = [name for name in inodes if name.startswith("socket:") ]
engine.start(w, "w")
engine.start(bad, "b")
try:
    engine.result("b", 10)
except Exception as error:
    print(type(error).__name__)
tables = [open(f"/proc/self/net/{name}").read().split("\\n")[1:] for name in ("tcp", "tcp6", "udp")]
mine = [row for table in tables for row in table if row and f"socket:[{row.split()[9]}]" in sockets]
print(len(mine), "internet sockets")
engine.close(wait_seconds=0.1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_engine_prints_nothing_and_opens_no_network_connection_even_in_cloud_mode(tmp_path: Path) -> None:
    done = run_program(tmp_path, DBOS__CLOUD="true", DBOS__CONDUCTOR_KEY="k", DBOS__CONDUCTOR_URL="wss://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["WorkflowFailed", "0 internet sockets"]


def test_process_exits_promptly_although_a_workflow_hangs(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = run_program(tmp_path, "hang")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - begun < 20


def test_schedule_planted_in_dbos_table_starts_nothing(engine: Engine, tmp_path: Path) -> None:
    runs: list[int] = []

    def declare(engine: Engine) -> None:
        engine.workflow("w")(lambda *_: runs.append(1))

    declare(engine)
    engine.launch()
    engine.close()
    execute(
        engine_url(engine),
        "insert into workflow_schedules (schedule_id, schedule_name, workflow_name, schedule, status, context,"
        """ automatic_backfill) values ('s', 's', 'w', '* * * * * *', 'ACTIVE', '{"v":null}', 0)""",
    )
    again = Engine(database_url=engine_url(engine), state_dir=tmp_path / "state", polling_seconds=0.02)
    declare(again)
    with again:
        threading.Event().wait(1.2)
    assert runs == []


def run_program(state: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(state), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def engine_url(engine: Engine) -> str:
    return engine._settings.database_url


def execute(url: str, statement: str) -> None:
    database = create_database_engine(url)
    with database.begin() as connection:
        connection.exec_driver_sql(statement)
    database.dispose()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition did not come true in time")
