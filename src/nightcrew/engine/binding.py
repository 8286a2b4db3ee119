"""DBOS itself, configured: what is switched off, what is set, and each private call we depend on.

Everything of DBOS 3.4.0 that is not its public interface is used here and in ``serializer``, nowhere else, and held
by a test in ``tests/integration/test_engine_facts.py``.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from nightcrew.engine.serializer import disarm_pickle, json_serializer
from nightcrew.engine.version import APPLICATION_NAME, APPLICATION_VERSION

if TYPE_CHECKING:
    from dbos import DBOS, SQLAlchemyDatasource
    from dbos._sys_db import SystemDatabase

    from nightcrew.store.connection import Engine as Database
    from nightcrew.store.connection import Table

SCHEMA = "dbos"
"""Where DBOS keeps its tables on Postgres. On SQLite they lie beside ours."""


@dataclass(frozen=True)
class Registration:
    """A workflow as DBOS needs to know it."""

    name: str
    body: Callable[..., Any]
    max_attempts: int


@dataclass(frozen=True)
class QueueLimits:
    """How many workflows of one queue run at a time: in each process, and in all together (None: no limit)."""

    per_worker: int
    in_total: int | None


class Binding:
    """A launched DBOS. One per process, since DBOS is a global; :meth:`stop` makes room for the next."""

    def __init__(self, dbos: "DBOS", datasource: "SQLAlchemyDatasource", system: "Database | None") -> None:
        self._dbos = dbos
        self._system = system
        self.datasource = datasource

    @property
    def system_database(self) -> "SystemDatabase":
        """DBOS's own view of its tables."""
        return self._dbos._sys_db

    @property
    def status_table(self) -> "Table":
        """DBOS's table of workflows."""
        return self.system_database.tables.workflow_status

    def declare_queue(self, name: str, limits: QueueLimits, polling_seconds: float) -> None:
        """Create or update a queue; a running process sees it within a second."""
        from dbos import DBOS

        DBOS.register_queue(
            name,
            worker_concurrency=limits.per_worker,
            global_concurrency=limits.in_total,
            polling_interval_sec=polling_seconds,
            on_conflict="always_update",
        )

    def executors_with_work(self) -> set[str]:
        """The executors that running workflows of our version are assigned to."""
        from nightcrew.store import durable

        with self.system_database.engine.begin() as connection:
            return durable.executors_with_work(connection, self.status_table, APPLICATION_VERSION)

    def recover(self, executor_id: str) -> int:
        """Queue what a dead executor was running; gives how many workflows."""
        from dbos import DBOS

        return len(DBOS._recover_pending_workflows([executor_id]))

    def requeue(self, workflow_id: str, executor_id: str) -> bool:
        """Queue one running workflow again if ``executor_id`` still has it."""
        from dbos._utils import INTERNAL_QUEUE_NAME

        return self.system_database.reenqueue_for_recovery(workflow_id, [executor_id], INTERNAL_QUEUE_NAME)

    def running(self) -> set[str]:
        """The ids of the workflows that run in this process."""
        return set(self._dbos._active_workflows_set.activeList())

    def unattended(self, executor_id: str) -> set[str]:
        """The ids of workflows that are assigned to this process and not running in it.

        One just claimed from a queue may be among them for a moment.
        """
        from nightcrew.store import durable

        names = set(self._dbos._registry.workflow_info_map)
        with self.system_database.engine.begin() as connection:
            return durable.assigned_to(connection, self.status_table, executor_id, names) - self.running()

    def stop_taking_work(self) -> None:
        """Take nothing more from the queues; what runs goes on."""
        for event in self._dbos.background_thread_stop_events:
            event.set()

    def stop(self) -> None:
        """End DBOS's threads and connections without waiting for workflows that run."""
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=0)
        if self._system is not None:
            self._system.dispose()


def launch(
    *,
    database_url: str,
    database: "Database",
    executor_id: str,
    workflows: Iterable[Registration],
    queues: Mapping[str, QueueLimits],
    polling_seconds: float,
    debug: bool,
) -> Binding:
    """Configure and launch DBOS on the database; its recovery of this executor's own work begins at once."""
    import_disarmed(debug=debug)
    from dbos import DBOS, DBOSConfig, SQLAlchemyDatasource

    from nightcrew.store.connection import create_system_engine, is_sqlite

    serializer = json_serializer()
    config: DBOSConfig = {
        "name": APPLICATION_NAME,
        "system_database_url": database_url,
        "dbos_system_schema": SCHEMA,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "serializer": serializer,
        "enable_otlp": False,
        "log_level": "DEBUG" if debug else "CRITICAL",
        # Only recv, events and streams need LISTEN; we use none of them.
        "use_listen_notify": False,
        "notification_listener_polling_interval_sec": polling_seconds,
        "sys_db_pool_size": 15,
    }
    system: Database | None = None
    if is_sqlite(database_url):
        # Ours, because DBOS's own sets neither WAL nor synchronous=FULL.
        system = create_system_engine(database_url)
        config["system_database_engine"] = system
    DBOS.destroy(destroy_registry=True)
    try:
        dbos = DBOS(config=config)
        datasource = SQLAlchemyDatasource.create(database_url, engine=database, schema=SCHEMA, serializer=serializer)
        for workflow in workflows:
            # DBOS counts recoveries, we count runs.
            register = DBOS.workflow(name=workflow.name, max_recovery_attempts=workflow.max_attempts - 1)
            register(workflow.body)
        _poll_recovery_queue(dbos, polling_seconds)
        DBOS.launch()
        _run_on_daemon_threads(dbos)
        binding = Binding(dbos, datasource, system)
        for name, limits in queues.items():
            binding.declare_queue(name, limits, polling_seconds)
    except BaseException:
        DBOS.destroy(destroy_registry=True)
        if system is not None:
            system.dispose()
        raise
    return binding


def import_disarmed(*, debug: bool) -> None:
    """Import DBOS with its pickle, its schedules, its console output and its cloud mode off."""
    logger = logging.getLogger("dbos")
    # A handler that is there already keeps DBOS from adding its own, which prints.
    if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        logger.addHandler(logging.NullHandler())
    logger.propagate = debug

    disarm_pickle()
    from dbos import _dbos
    from dbos._utils import GlobalParams

    # Set by an environment variable; it would connect to DBOS's servers.
    GlobalParams.dbos_cloud = False
    # Our schedules are the machine's (launchd, systemd, cron); a row in DBOS's table must not start anything.
    vars(_dbos)["dynamic_scheduler_loop"] = _no_schedules


def registered_function(name: str) -> Callable[..., Any]:
    """The function that DBOS starts for the workflow ``name``."""
    from dbos._dbos import _get_or_create_dbos_registry

    return _get_or_create_dbos_registry().workflow_info_map[name]


def in_workflow() -> bool:
    """Whether the calling thread is in a workflow, outside any step: where steps may be called."""
    from dbos._context import get_local_dbos_context

    context = get_local_dbos_context()
    return context is not None and context.is_workflow()


def within_workflow() -> bool:
    """Whether the calling thread is in a workflow or in one of its steps."""
    from dbos._context import get_local_dbos_context

    context = get_local_dbos_context()
    return context is not None and context.is_within_workflow()


def _no_schedules(_stop: threading.Event, _polling_seconds: float) -> None:
    """Stands where DBOS would look for schedules."""


def _poll_recovery_queue(dbos: "DBOS", polling_seconds: float) -> None:
    """Recovered work passes through DBOS's internal queue, which is polled once a second unless made beforehand."""
    from dbos._utils import INTERNAL_QUEUE_NAME

    dbos._registry._register_internal_queue(INTERNAL_QUEUE_NAME, polling_interval_sec=polling_seconds)


def _run_on_daemon_threads(dbos: "DBOS") -> None:
    """Replace DBOS's thread pool, whose threads Python joins at exit: a workflow that hangs would hang the process."""
    pool = dbos._executor_field
    dbos._executor_field = cast(Any, _DaemonThreads())
    if pool is not None:
        pool.shutdown(wait=False)


class _DaemonThreads:
    """The part of an executor that DBOS uses, with a daemon thread per call. The queues bound how many run."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        threading.Thread(
            target=self._run, args=(future, function, args), name="nightcrew-workflow", daemon=True
        ).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to end: each thread ends with its call."""

    @staticmethod
    def _run(future: "Future[Any]", function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            result = function(*args)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
