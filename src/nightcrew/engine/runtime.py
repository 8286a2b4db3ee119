"""One process's binding to durable execution: what the rest of nightcrew sees of it.

A workflow is a function whose every effect goes through :meth:`Engine.step` or :meth:`Engine.transaction`, under a name
and in an order that depend on nothing but its arguments and their results. Kill the process at any instant: the next
launch runs it again from the start, and each step that was recorded gives its recorded result instead of running.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from nightcrew.engine import binding
from nightcrew.engine.errors import EngineStopped, LeaseLost, RecordedError, StepFailed
from nightcrew.engine.identity import checked_executor_id
from nightcrew.engine.opened import Opened, Settings
from nightcrew.engine.serializer import FORMAT, describe, plain
from nightcrew.engine.version import APPLICATION_VERSION
from nightcrew.engine.workflows import Workflow, WorkflowInfo, WorkflowState
from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import BusyError, NightcrewError, NotFoundError, UsageError

if TYPE_CHECKING:
    from nightcrew.store.connection import Connection
    from nightcrew.store.workers import Worker

T = TypeVar("T")

_PURGE_BATCH = 500


class Engine:
    """One process's binding to durable execution.

    ``database_url`` is ``sqlite:///FILE`` or ``postgresql://...``; DBOS's tables and ours lie in the same database.
    ``state_dir`` holds the executor id. ``executor_id`` names this worker among those that share a Postgres database
    (default: one made for this process); on SQLite it is kept in ``state_dir``. ``polling_seconds`` is how often the
    queues are looked at. ``lease_seconds`` is how long a worker may be silent before others take its work over.
    ``debug`` lets DBOS's own log through to Python's logging.

    Nothing is opened, and DBOS is not imported, before :meth:`launch`. One engine can be launched in a process at a
    time.
    """

    def __init__(
        self,
        *,
        database_url: str,
        state_dir: Path,
        executor_id: str | None = None,
        polling_seconds: float = 0.1,
        lease_seconds: float = 30.0,
        clock: Clock = system_clock,
        debug: bool = False,
    ) -> None:
        given_id = None if executor_id is None else checked_executor_id(executor_id)
        self._settings = Settings(database_url, state_dir, given_id, polling_seconds, lease_seconds, clock, debug)
        self._workflows: dict[str, Workflow] = {}
        self._queues: dict[str, binding.QueueLimits] = {}
        self._opened: Opened | None = None
        self._stopping = threading.Event()
        self._stopped_by: NightcrewError | None = None
        self._interrupted: dict[str, NightcrewError] = {}
        self._unattended: set[str] = set()

    # Declaring ------------------------------------------------------------------------------------------------------

    def workflow(self, name: str, *, max_attempts: int = 3) -> Callable[[Callable[..., Any]], Workflow]:
        """Decorator: register a durable workflow under ``name``, which must never change while one is unfinished.

        Arguments and result are JSON values. It is run at most ``max_attempts`` times: a run that the death of its
        process ends counts, one that ``close`` ends does not. After that it is quarantined. Raises UsageError for a
        name that is taken, or after launch.
        """

        def register(function: Callable[..., Any]) -> Workflow:
            self._require_not_launched("register a workflow")
            if name in self._workflows:
                raise UsageError(f"a workflow named {name} is already registered")
            if max_attempts < 1:
                raise UsageError(f"max_attempts of {name} is {max_attempts}; a workflow must be run at least once")
            workflow = Workflow(name, function, max_attempts)
            self._workflows[name] = workflow
            return workflow

        return register

    def queue(self, name: str, *, concurrency: int, total: int | None = None) -> None:
        """Declare a queue: at most ``concurrency`` of its workflows run at a time in one worker.

        ``total`` limits them over all workers of a Postgres database (on SQLite there is one worker). On a database
        that has never had the queue, the first workflow waits up to a second. Raises UsageError after launch.
        """
        self._require_not_launched("declare a queue")
        if concurrency < 1 or (total is not None and total < 1):
            raise UsageError(f"queue {name} would never run anything")
        self._queues[name] = binding.QueueLimits(concurrency, total)

    # Running --------------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start durable execution: recover this worker's unfinished workflows and work the queues.

        Raises BusyError if another process runs this SQLite database (its pid is named) or this executor id,
        ConfigurationError if the database cannot be opened or written, IntegrityError if it is damaged.
        """
        self._require_not_launched("launch")
        self._stopping.clear()
        self._stopped_by = None
        self._interrupted.clear()
        self._opened = Opened(self._settings, self._workflows.values(), self._queues, self._beat)
        self._opened.begin()

    def close(self, *, wait_seconds: float = 5.0) -> None:
        """Stop: take no more work, give what runs ``wait_seconds`` to end or reach its next step, and let go.

        A workflow that is not done by then is left unfinished and resumed by the next launch; this does not count as
        one of its attempts. Does nothing if the engine is not launched.
        """
        opened = self._opened
        if opened is None:
            return
        # In this order: a workflow that finds no engine must find that it stops, or its failure would be recorded.
        self._stopping.set()
        self._opened = None
        opened.close(wait_seconds=wait_seconds)

    def __enter__(self) -> Self:
        """Launch."""
        self.launch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Block until the engine stops (True) or the time is up (False): the main loop of a worker.

        Raises LeaseLost if it stopped because other workers took its work over, or the database's failure if it could
        not be reached for as long as a lease lasts.
        """
        stopped = self._stopping.wait(timeout_seconds)
        if self._stopped_by is not None:
            raise self._stopped_by
        return stopped

    @property
    def executor_id(self) -> str:
        """The name of this worker. Raises UsageError before launch."""
        return self._running().lease.executor_id

    def workers(self) -> "list[Worker]":
        """The other workers of this database that hold a lease."""
        return self._running().lease.live_workers()

    # Starting and following workflows -------------------------------------------------------------------------------

    def start(self, workflow: Workflow, workflow_id: str, *args: Any) -> None:
        """Run a workflow now, in this process. A ``workflow_id`` that exists already starts nothing.

        Callable in and outside workflows. Raises UsageError if the id belongs to another workflow, TypeError or
        ValueError if an argument has no JSON form.
        """
        from dbos import DBOS, SetWorkflowID

        function, values = self._startable(workflow, args)
        with self._dbos_errors(), SetWorkflowID(workflow_id):
            DBOS.start_workflow(function, *values)

    def enqueue(
        self,
        queue: str,
        workflow: Workflow,
        workflow_id: str,
        *args: Any,
        delay_seconds: float = 0.0,
        priority: int = 0,
    ) -> None:
        """Queue a workflow, for any worker to run. A ``workflow_id`` that exists already queues nothing.

        Not before ``delay_seconds`` have passed; lower ``priority`` numbers first (0 comes before 1). Callable in and
        outside workflows. Raises UsageError for an undeclared queue or an id of another workflow, TypeError or
        ValueError if an argument has no JSON form.
        """
        from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

        function, values = self._startable(workflow, args)
        if queue not in self._queues:
            raise UsageError(f"there is no queue named {queue}")
        delay = delay_seconds if delay_seconds > 0 else None
        options = SetEnqueueOptions(delay_seconds=delay, priority=priority or None)
        with self._dbos_errors(), SetWorkflowID(workflow_id), options:
            DBOS.enqueue_workflow(queue, function, *values)

    def result(self, workflow_id: str, timeout_seconds: float | None = None) -> Any:
        """Wait for a workflow and give its result.

        Raises WorkflowFailed with the error's text, WorkflowCancelled, WorkflowQuarantined, NotFoundError if there is
        no such workflow, TimeoutError when ``timeout_seconds`` are over (do not use one inside a workflow: whether it
        strikes is not recorded), IntegrityError if what is stored was not written by nightcrew, and TransientError if
        this process had to leave the workflow unfinished because the database failed.
        """
        opened = self._running()
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = min(0.005, self._settings.polling_seconds)
        while True:
            self._check_stopped()
            done, value = opened.outcome(workflow_id)
            if done:
                return value
            if workflow_id in self._interrupted:
                raise self._interrupted[workflow_id]
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"workflow {workflow_id} is not done after {timeout_seconds} seconds")
            self._stopping.wait(pause)
            pause = min(pause * 1.5, self._settings.polling_seconds)

    def status(self, workflow_id: str) -> WorkflowState | None:
        """Where the workflow stands, or None if there is none. Inside a workflow, call it in a step."""
        with self._dbos_errors():
            found = self._running().list_workflows(workflow_ids=[workflow_id])
        return found[0].state if found else None

    def list_workflows(
        self, *, prefix: str | None = None, states: frozenset[WorkflowState] | None = None, limit: int = 1000
    ) -> list[WorkflowInfo]:
        """Workflows, newest first, with an id beginning with ``prefix`` and in one of ``states``; at most ``limit``."""
        with self._dbos_errors():
            return self._running().list_workflows(prefix=prefix, states=states, limit=limit)

    def cancel(self, workflow_id: str) -> None:
        """Cancel a workflow that is not finished: it ends at its next step. Does nothing to one that is finished."""
        from dbos import DBOS

        self._running()
        with self._dbos_errors():
            DBOS.cancel_workflow(workflow_id)

    def release(self, workflow_id: str) -> None:
        """Let a quarantined or cancelled workflow go on from its last recorded step, with its attempts counted anew.

        Raises NotFoundError, or UsageError for a workflow in another state (a failed one cannot be resumed: its error
        is its result; start a new one).
        """
        from dbos import DBOS

        state = self.status(workflow_id)
        if state is None:
            raise NotFoundError(f"there is no workflow {workflow_id}")
        if state not in (WorkflowState.QUARANTINED, WorkflowState.CANCELLED):
            raise UsageError(f"workflow {workflow_id} is {state}; only a quarantined or cancelled one can be released")
        with self._dbos_errors():
            DBOS.resume_workflow(workflow_id)

    # Inside a workflow ----------------------------------------------------------------------------------------------

    def step(self, name: str, function: Callable[[], T]) -> T:
        """Run ``function`` as a step of the calling workflow and record its result, a JSON value.

        At least once: a process that dies after the effect and before the record does it again, so an effect outside
        the database needs an idempotency key. It is not retried here. Raises StepFailed, on a first run as on a
        replay, if ``function`` raises an Exception. Outside a workflow raises UsageError.
        """
        from dbos import DBOS

        self._require_workflow(name)
        return self._recorded(name, function, lambda body: DBOS.run_step({"name": name}, body))

    def transaction(self, name: str, function: "Callable[[Connection], T]") -> T:
        """Run ``function`` on a connection to our tables, exactly once: its rows and its record commit together.

        It must have no other effect: it is run again if the database asks for it (a conflict on Postgres, where it is
        SERIALIZABLE; SQLite has one writer at a time). The connection is already in the transaction; do not commit.
        Raises StepFailed if ``function`` raises, and nothing is written then. Outside a workflow raises UsageError.
        """
        self._require_workflow(name)
        datasource = self._running().durable.datasource

        def on_connection() -> T:
            return function(datasource.sql_session().connection())

        return self._recorded(name, on_connection, lambda body: datasource.run_tx_step({"name": name}, body))

    def sleep(self, seconds: float) -> None:
        """Sleep until ``seconds`` after the first time that the workflow came here, however often it is resumed."""
        until = self.step("sleep", lambda: time.time() + seconds)
        self._stopping.wait(max(0.0, until - time.time()))
        self._check_stopped()

    # Keeping house --------------------------------------------------------------------------------------------------

    def purge_finished(self, older_than: timedelta) -> int:
        """Delete workflows that succeeded, failed or were cancelled more than ``older_than`` ago; gives how many.

        Their ids are forgotten, so that starting one of them again runs it again. Quarantined ones stay.
        """
        from nightcrew.store import durable

        opened, purged = self._running(), 0
        cutoff_ms = int((self._settings.clock() - older_than).timestamp() * 1000)
        while True:
            with opened.system.engine.begin() as connection:
                batch = durable.finished_before(connection, opened.durable.status_table, cutoff_ms, _PURGE_BATCH)
            if not batch:
                return purged
            opened.system.delete_workflows(batch)
            purged += len(batch)

    def pending_versions(self) -> dict[str, int]:
        """Unfinished workflows stranded on other application versions: version -> how many."""
        from nightcrew.store import durable

        opened = self._running()
        with opened.system.engine.begin() as connection:
            return durable.stranded(connection, opened.durable.status_table, APPLICATION_VERSION)

    def carry_over(self, version: str) -> int:
        """Adopt the unfinished workflows of application ``version``; gives how many.

        Only when this code can go on from the steps that the old code recorded. Raises BusyError while a worker of that
        version lives.
        """
        from nightcrew.store import durable

        opened = self._running()
        still_live = [
            worker.executor_id for worker in opened.lease.live_workers() if worker.application_version == version
        ]
        if still_live:
            raise BusyError(
                f"version {version} is still run by {', '.join(still_live)}", hint="Stop those workers first."
            )
        with opened.system.engine.begin() as connection:
            moved, interrupted = durable.adopt(connection, opened.durable.status_table, version, APPLICATION_VERSION)
        for workflow_id, executor_id in interrupted:
            opened.durable.requeue(workflow_id, executor_id)
        return moved

    def foreign_rows(self) -> list[str]:
        """The ids of workflows whose values nightcrew did not write (pickled ones, say): never read, only reported."""
        from nightcrew.store import durable

        opened = self._running()
        with opened.system.engine.begin() as connection:
            return durable.in_another_format(connection, opened.durable.status_table, FORMAT)

    # Inner workings -------------------------------------------------------------------------------------------------

    def _running(self) -> Opened:
        opened = self._opened  # Before the look at whether it stops; see close.
        self._check_stopped()
        if opened is None:
            raise UsageError("the engine is not launched")
        return opened

    def _require_not_launched(self, what: str) -> None:
        if self._opened is not None:
            raise UsageError(f"cannot {what}: the engine is launched")

    def _require_workflow(self, name: str) -> None:
        self._running()
        if not binding.in_workflow():
            raise UsageError(f"step {name} is not called from a workflow (steps do not nest)")

    def _check_stopped(self) -> None:
        """Raise if the engine has stopped: what ends a workflow inside, and tells a caller outside."""
        if self._stopping.is_set():
            self._raise_stopped()

    def _raise_stopped(self) -> NoReturn:
        if binding.within_workflow():
            raise EngineStopped
        raise self._stopped_by or UsageError("the engine has been closed")

    def _startable(self, workflow: Workflow, args: tuple[Any, ...]) -> tuple[Callable[..., Any], list[Any]]:
        self._running()
        if self._workflows.get(workflow.name) is not workflow:
            raise UsageError(f"workflow {workflow.name} is not registered with this engine")
        return binding.registered_function(workflow.name), plain(list(args))

    def _recorded(self, name: str, function: Callable[[], T], run: Callable[[Callable[[], T]], T]) -> T:
        """Run a step's body through DBOS so that a first run and a replay give, or raise, the same."""
        raised: list[Exception] = []

        def body() -> T:
            try:
                return plain(function())  # type: ignore[no-any-return]
            except Exception as error:
                raised.append(error)
                raise

        try:
            with self._dbos_errors(but_not=raised):
                return run(body)
        except RecordedError as error:
            raise _step_failed(name, error) from None
        except Exception as error:
            if any(error is mine for mine in raised):
                raise _step_failed(name, error) from error
            raise

    @contextmanager
    def _dbos_errors(self, *, but_not: "list[Exception] | tuple[()]" = ()) -> Iterator[None]:
        """Name what DBOS and the database raise; errors in ``but_not`` are the caller's own.

        In a workflow a failure of the database is not the workflow's failure: the workflow ends unrecorded, to be
        resumed.
        """
        from dbos import DBOS
        from dbos import error as dbos_errors

        from nightcrew.store.connection import explain

        try:
            yield
        except dbos_errors.DBOSConflictingWorkflowError as error:
            raise UsageError(str(error)) from None
        except Exception as error:
            if any(error is own for own in but_not) or isinstance(error, NightcrewError):
                raise
            explained = explain(error, self._settings.database_url)
            if explained is None:
                raise
            if DBOS.workflow_id is None:
                raise explained from error
            self._interrupted[DBOS.workflow_id] = explained
            raise EngineStopped from error

    def _beat(self, opened: Opened) -> bool:
        """One heartbeat: renew, take over silent workers' work, go on with what was interrupted; False to stop."""
        if self._stopping.is_set():
            return False
        try:
            opened.lease.renew()
            opened.lease.take_over(opened.durable)
            self._resume_unattended(opened)
        except LeaseLost as lost:
            return self._stop_because(lost, opened)
        except Exception as error:  # The database is unwell: try again until others must take us for dead.
            if opened.lease.has_run_out():
                return self._stop_because(self._explained(error), opened)
        return True

    def _explained(self, error: Exception) -> NightcrewError:
        from nightcrew.store.connection import explain

        return explain(error, self._settings.database_url) or LeaseLost(f"the lease could not be renewed: {error}")

    def _stop_because(self, reason: NightcrewError, opened: Opened) -> bool:
        self._stopped_by = reason
        opened.durable.stop_taking_work()
        self._stopping.set()
        return False

    def _resume_unattended(self, opened: Opened) -> None:
        """Queue again what is assigned to this process and does not run in it, once that was so for two beats."""
        unattended = opened.durable.unattended(opened.lease.executor_id)
        for workflow_id in unattended & self._unattended:
            opened.durable.requeue(workflow_id, opened.lease.executor_id)
            self._interrupted.pop(workflow_id, None)
        self._unattended = unattended


def _step_failed(name: str, error: Exception) -> StepFailed:
    described = describe(error)
    return StepFailed(
        f"{name}: {described['message']}", error_name=described["name"] or "", error_code=described["code"]
    )
