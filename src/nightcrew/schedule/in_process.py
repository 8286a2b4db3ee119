"""The scheduler in a process of its own, for containers and servers without another: ``nightcrew schedule serve``."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nightcrew.model.clock import Clock
from nightcrew.model.errors import BusyError, NightcrewError
from nightcrew.model.scheduling import BackendName
from nightcrew.schedule.due import due, following
from nightcrew.schedule.protocol import Job, Status
from nightcrew.store import firings, locks, schedules
from nightcrew.store.schedules import Kept
from nightcrew.store.store import Store, Tx

LOCK = "scheduler"
NAME: BackendName = "in-process"
_LONGEST_WAIT = 30.0
_AGAIN = timedelta(minutes=10)
_LOG = logging.getLogger("nightcrew.schedule")


@dataclass(frozen=True)
class InProcess:
    """Nothing is installed: whoever runs ``nightcrew schedule serve`` calls these schedules."""

    store: Store

    @property
    def name(self) -> BackendName:
        """Its name in a schedule."""
        return NAME

    def available(self) -> str:
        """It can be used everywhere."""
        return ""

    def files(self, job: Job) -> dict[Path, bytes]:  # noqa: ARG002
        """No files."""
        return {}

    def install(self, job: Job) -> list[Path]:  # noqa: ARG002
        """Nothing to do: the scheduler looks at the schedules in the store."""
        return []

    def remove(self, job: Job) -> None:
        """Nothing to do either."""

    def status(self, job: Job) -> Status:  # noqa: ARG002
        """Whether a process runs that calls it."""
        try:
            with locks.held(self.store, LOCK, hint=""):
                pass
        except BusyError as error:
            return Status(True, True, str(error))
        return Status(True, False, "no process", warnings=("nothing calls it: run nightcrew schedule serve",))


def serve(store: Store, *, clock: Clock, wait: Callable[[float], bool], call: Callable[[str], object]) -> None:
    """Call the schedules that are this scheduler's when they are due, one after the other, until ``wait`` says to stop.

    ``wait`` is given seconds and gives whether to stop. A call that changed nothing is not repeated for ten minutes.
    What breaks, a database that is away for a while or a program that cannot be started, is logged and tried again.
    Raises BusyError if another process does this for the repository.
    """
    with locks.held(store, LOCK, hint="One scheduler a repository is enough."):
        tried: dict[str, datetime] = {}
        while True:
            pause = _LONGEST_WAIT
            try:
                for name in _waiting(store):
                    # abs: a clock that was set back would else keep it from being called until it is there again.
                    if name not in tried or abs(clock() - tried[name]) >= _AGAIN:
                        tried[name] = clock()
                        call(name)
                pause = _pause(store)
            except (NightcrewError, OSError) as error:
                _LOG.error("the scheduler could not call what is due: %s", error)
            if wait(pause):
                return


def _waiting(store: Store) -> list[str]:
    """The schedules of this scheduler that something is due of, or was left of a process that was killed."""
    with store.read() as tx:
        found = []
        for kept in _own(tx):
            open_now = due(tx, kept)
            if open_now.now or open_now.missed or firings.running(tx, kept.schedule.name):
                found.append(kept.schedule.name)
        return found


def _pause(store: Store) -> float:
    """Until the next is due, but look again before, for schedules that change and clocks that are set."""
    with store.read() as tx:
        now = tx.now()
        next_ones = [one.due for kept in _own(tx) for one in following(kept.schedule, now, count=1)]
    return min([_LONGEST_WAIT, *((moment - now).total_seconds() for moment in next_ones)])


def _own(tx: Tx) -> list[Kept]:
    return [kept for kept in schedules.list(tx) if kept.schedule.backend == NAME]
