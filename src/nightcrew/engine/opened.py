"""What a launched engine holds, from taking the lock to letting go of it."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.engine import binding
from nightcrew.engine.errors import EngineStopped, RecordedError, WorkflowCancelled, WorkflowFailed, WorkflowQuarantined
from nightcrew.engine.identity import stable_executor_id, unique_executor_id
from nightcrew.engine.leases import Heartbeat, Lease
from nightcrew.engine.lockfile import LockFile
from nightcrew.engine.workflows import STATES, Workflow, WorkflowInfo, WorkflowState
from nightcrew.model.clock import Clock
from nightcrew.model.errors import NotFoundError

if TYPE_CHECKING:
    from dbos import WorkflowStatus
    from dbos._sys_db import SystemDatabase


@dataclass(frozen=True)
class Settings:
    """How an engine is to be launched; see ``Engine`` for the meaning of each."""

    database_url: str
    state_dir: Path
    executor_id: str | None
    polling_seconds: float
    lease_seconds: float
    clock: Clock
    debug: bool


class Opened:
    """The lock, the lease and the bound DBOS of a launched engine."""

    def __init__(
        self,
        settings: Settings,
        workflows: Iterable[Workflow],
        queues: Mapping[str, binding.QueueLimits],
        beat: Callable[["Opened"], bool],
    ) -> None:
        """Take the lock and the lease, launch DBOS, and take over what dead workers left.

        Workflows wait for :meth:`begin`. ``beat`` is called on a thread three times a lease, until it gives False.
        Raises what ``Engine.launch`` raises, and holds nothing then.
        """
        self._begun: Future[None] = Future()
        try:
            self._open(settings, workflows, queues)
        except BaseException:
            self._begun.set_exception(EngineStopped())
            raise
        self._heartbeat = Heartbeat(lambda: beat(self), settings.lease_seconds / 3)
        self._heartbeat.start()

    def begin(self) -> None:
        """Let workflows run. DBOS starts what it recovers while it is launched, when there is no engine to call yet."""
        self._begun.set_result(None)

    def _open(
        self, settings: Settings, workflows: Iterable[Workflow], queues: Mapping[str, binding.QueueLimits]
    ) -> None:
        from nightcrew.store.connection import create_database_engine, database_errors, is_sqlite

        self._url = settings.database_url
        alone = is_sqlite(self._url)
        with contextlib.ExitStack() as undo, database_errors(self._url):
            if alone:
                undo.callback(_lock_database(settings).release)
            database = create_database_engine(self._url)
            undo.callback(database.dispose)
            self.lease = Lease(
                database,
                settings.executor_id or (stable_executor_id(settings.state_dir) if alone else unique_executor_id()),
                lease_seconds=settings.lease_seconds,
                alone=alone,
                clock=settings.clock,
            )
            self.lease.acquire()
            self.durable = binding.launch(
                database_url=self._url,
                database=database,
                executor_id=self.lease.executor_id,
                workflows=[self._registration(workflow) for workflow in workflows],
                queues=queues,
                polling_seconds=settings.polling_seconds,
                debug=settings.debug,
            )
            undo.callback(self.durable.stop)
            self.lease.take_over(self.durable)
            self._held = undo.pop_all()

    def _registration(self, workflow: Workflow) -> binding.Registration:
        def body(*args: Any) -> Any:
            self._begun.result()
            return workflow.function(*args)

        return binding.Registration(workflow.name, body, workflow.max_attempts)

    @property
    def system(self) -> "SystemDatabase":
        """DBOS's own view of its tables."""
        return self.durable.system_database

    def outcome(self, workflow_id: str) -> tuple[bool, Any]:
        """Whether the workflow is done, and its result; raises what it ended in."""
        from dbos import error as dbos_errors
        from dbos._outcome import NoResult

        from nightcrew.store.connection import database_errors

        try:
            with database_errors(self._url):
                value = self.system.check_workflow_result(workflow_id, fail_if_missing=True)
        except RecordedError as error:
            raise WorkflowFailed(str(error), error_name=error.error_name, error_code=error.error_code) from None
        except dbos_errors.DBOSAwaitedWorkflowCancelledError:
            raise WorkflowCancelled(f"workflow {workflow_id} was cancelled") from None
        except dbos_errors.DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded:
            raise WorkflowQuarantined(f"workflow {workflow_id} was interrupted as often as it may be") from None
        except dbos_errors.DBOSNonExistentWorkflowError:
            raise NotFoundError(f"there is no workflow {workflow_id}") from None
        return (False, None) if isinstance(value, NoResult) else (True, value)

    def list_workflows(
        self,
        *,
        workflow_ids: list[str] | None = None,
        prefix: str | None = None,
        states: frozenset[WorkflowState] | None = None,
        limit: int | None = None,
    ) -> list[WorkflowInfo]:
        """Workflows, newest first, without reading any stored value."""
        found = self.system.list_workflows(
            workflow_ids=workflow_ids,
            workflow_id_prefix=prefix,
            status=None if states is None else [stored for stored, state in STATES.items() if state in states],
            limit=limit,
            sort_desc=True,
            load_input=False,
            load_output=False,
        )
        return [_info(status) for status in found]

    def close(self, *, wait_seconds: float) -> None:
        """Let go of everything, in the order that lets nobody else begin too early."""
        self.durable.stop_taking_work()
        deadline = time.monotonic() + wait_seconds
        while self.durable.running() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._heartbeat.stop()
        # A database that fails may be why we close, and nothing that must be written is left.
        with contextlib.suppress(Exception):
            self._give_back()
        self._held.close()

    def _give_back(self) -> None:
        from nightcrew.store import durable

        if self.lease.release():
            with self.system.engine.begin() as connection:
                durable.refund_attempts(connection, self.durable.status_table, self.lease.executor_id)


def _lock_database(settings: Settings) -> LockFile:
    from nightcrew.store.connection import sqlite_path

    settings.state_dir.mkdir(parents=True, exist_ok=True)
    path = sqlite_path(settings.database_url)
    lock = LockFile(path.with_name(f"{path.name}.lock"))
    lock.acquire()
    return lock


def _info(status: "WorkflowStatus") -> WorkflowInfo:
    return WorkflowInfo(
        workflow_id=status.workflow_id,
        name=status.name,
        state=STATES[status.status],
        queue=status.queue_name,
        executor_id=status.executor_id,
        application_version=status.app_version,
        attempts=status.recovery_attempts or 0,
        created_at=datetime.fromtimestamp((status.created_at or 0) / 1000, UTC),
    )
