"""Which workers live, and who takes over the work of one that fell silent.

Liveness is ours: DBOS recovers work at launch only, and only its own. Recovery stays DBOS's: what is handed to it is
the executor id of a worker that no longer holds a lease. A worker that was taken for dead while it was only stalled
finds out at its next beat and stops; until then DBOS itself refuses its writes, since each running workflow has an
owner token.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from nightcrew.engine.errors import LeaseLost
from nightcrew.engine.version import APPLICATION_VERSION
from nightcrew.model.clock import Clock, isoformat
from nightcrew.model.errors import BusyError

if TYPE_CHECKING:
    from nightcrew.store.connection import Engine as Database
    from nightcrew.store.workers import Worker


class Recovery(Protocol):
    """What a lease needs to know of the durable work itself."""

    def executors_with_work(self) -> set[str]:
        """The executors that running workflows are assigned to."""

    def recover(self, executor_id: str) -> int:
        """Queue the running workflows of a dead executor again; gives how many. Repeating it does no harm."""


class Lease:
    """One process's lease on its executor id, and its watch over the others'.

    ``lease_seconds`` is how long a worker may be silent before others take its work over, and how long it goes on
    itself without being able to renew. ``alone`` says that no other process can be live, so that nobody is waited for.
    """

    def __init__(
        self,
        database: "Database",
        executor_id: str,
        *,
        lease_seconds: float,
        alone: bool,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.executor_id = executor_id
        self._database = database
        self._lease_seconds = lease_seconds
        self._alone = alone
        self._clock = clock
        self._monotonic = monotonic
        self._incarnation = uuid.uuid4().hex
        self._renewed = monotonic()
        self._seen: dict[str, tuple[str, int, float]] = {}

    def acquire(self) -> None:
        """Register as live; raises BusyError if another live process has this executor id."""
        from nightcrew.store import workers

        now = isoformat(self._clock())
        with self._database.begin() as connection:
            workers.create_workers_table(connection)
            held = workers.get_worker(connection, self.executor_id)
            if held is not None and not self._alone and self._may_live(held):
                raise BusyError(
                    f"worker {self.executor_id} already runs as process {held.pid} on {held.hostname}",
                    hint="Give each worker an id of its own; a dead worker's is free once its lease has run out.",
                )
            workers.put_worker(
                connection,
                workers.Worker(
                    executor_id=self.executor_id,
                    incarnation=self._incarnation,
                    state=workers.WorkerState.LIVE,
                    beat=0,
                    hostname=socket.gethostname(),
                    pid=os.getpid(),
                    application_version=APPLICATION_VERSION,
                    started_at=now,
                    heartbeat_at=now,
                ),
            )
        self._renewed = self._monotonic()

    def renew(self) -> None:
        """Beat once. Raises LeaseLost if others have taken this worker for dead, or the database's errors."""
        from nightcrew.store import workers

        with self._database.begin() as connection:
            held = workers.renew_lease(connection, self.executor_id, self._incarnation, self._clock())
        if not held:
            raise LeaseLost
        self._renewed = self._monotonic()

    def has_run_out(self) -> bool:
        """Whether this worker could not renew for so long that others may take it for dead."""
        return self._monotonic() - self._renewed > self._lease_seconds

    def release(self) -> bool:
        """Give the lease back, so that the next holder need not wait; False if it was already lost."""
        from nightcrew.store import workers

        with self._database.begin() as connection:
            worker = workers.get_worker(connection, self.executor_id)
            if worker is None or worker.incarnation != self._incarnation:
                return False
            return workers.end_lease(connection, worker, workers.WorkerState.RELEASED)

    def take_over(self, work: Recovery) -> dict[str, int]:
        """Hand the work of every silent worker to recovery; gives executor id -> workflows queued again."""
        recovered = {}
        for executor_id in sorted(work.executors_with_work() - {self.executor_id}):
            if self._alone or self._is_silent(executor_id):
                recovered[executor_id] = work.recover(executor_id)
        return recovered

    def live_workers(self) -> "list[Worker]":
        """The other workers that hold a lease."""
        from nightcrew.store import workers
        from nightcrew.store.connection import reading

        with reading(self._database).begin() as connection:
            registered = workers.list_workers(connection)
        return [w for w in registered if w.state is workers.WorkerState.LIVE and w.executor_id != self.executor_id]

    def _is_silent(self, executor_id: str) -> bool:
        from nightcrew.store import workers

        with self._database.begin() as connection:
            worker = workers.get_worker(connection, executor_id)
            # Without a live row nobody runs under that id: a worker registers before it launches.
            if worker is None or worker.state is not workers.WorkerState.LIVE:
                return True
            if not self._unchanged_for_a_lease(worker):
                return False
            return workers.end_lease(connection, worker, workers.WorkerState.LOST)

    def _unchanged_for_a_lease(self, worker: "Worker") -> bool:
        seen, now = self._seen.get(worker.executor_id), self._monotonic()
        if seen is None or seen[:2] != (worker.incarnation, worker.beat):
            self._seen[worker.executor_id] = (worker.incarnation, worker.beat, now)
            return False
        return now - seen[2] > self._lease_seconds

    def _may_live(self, worker: "Worker") -> bool:
        if worker.state != "live":
            return False
        if worker.hostname == socket.gethostname():
            return worker.pid != os.getpid() and _process_exists(worker.pid)
        silence = self._clock() - datetime.fromisoformat(worker.heartbeat_at)
        return silence < timedelta(seconds=self._lease_seconds)


class Heartbeat:
    """Calls ``beat`` every ``interval_seconds`` on a thread of its own until stopped or until it gives False."""

    def __init__(self, beat: Callable[[], bool], interval_seconds: float) -> None:
        self._beat = beat
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nightcrew-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first beat comes one interval later."""
        self._thread.start()

    def stop(self) -> None:
        """End, waiting a moment for a beat in progress."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            if not self._beat():
                return


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
