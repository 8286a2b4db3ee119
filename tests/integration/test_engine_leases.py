"""Who counts as dead: judged by an observer's own clock, never by comparing two."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nightcrew.engine.errors import LeaseLost
from nightcrew.engine.leases import Lease
from nightcrew.model.clock import system_clock
from nightcrew.store.connection import Engine as Database
from nightcrew.store.connection import create_database_engine
from nightcrew.store.workers import WorkerState, get_worker


class Ticks:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Work:
    """Remembers which executors it was told to recover."""

    def __init__(self, *executors: str) -> None:
        self.executors = set(executors)
        self.recovered: list[str] = []

    def executors_with_work(self) -> set[str]:
        return self.executors

    def recover(self, executor_id: str) -> int:
        self.recovered.append(executor_id)
        return 1


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = create_database_engine(f"sqlite:///{tmp_path}/x.db")
    yield database
    database.dispose()


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


def lease(database: Database, executor_id: str, ticks: Ticks, *, alone: bool = False) -> Lease:
    made = Lease(database, executor_id, lease_seconds=10, alone=alone, clock=system_clock, monotonic=ticks)
    made.acquire()
    return made


def test_worker_that_beats_is_left_alone_however_long(database: Database, ticks: Ticks) -> None:
    observer, busy, work = lease(database, "observer", ticks), lease(database, "busy", ticks), Work("busy")
    for _ in range(5):
        busy.renew()
        assert observer.take_over(work) == {}
        ticks.now += 9
    assert work.recovered == []


def test_work_of_a_worker_silent_for_a_lease_is_taken_over(database: Database, ticks: Ticks) -> None:
    observer, work = lease(database, "observer", ticks), Work("silent", "observer")
    silent = lease(database, "silent", ticks)
    assert observer.take_over(work) == {}
    ticks.now += 10
    assert observer.take_over(work) == {}
    ticks.now += 0.1
    assert observer.take_over(work) == {"silent": 1}
    with pytest.raises(LeaseLost):
        silent.renew()
    assert silent.release() is False
    with database.begin() as connection:
        found = get_worker(connection, "silent")
    assert found is not None
    assert found.state is WorkerState.LOST


def test_work_of_an_executor_without_a_lease_is_taken_over_at_once(database: Database, ticks: Ticks) -> None:
    observer, work = lease(database, "observer", ticks), Work("unknown", "released")
    lease(database, "released", ticks).release()
    assert observer.take_over(work) == {"released": 1, "unknown": 1}


def test_only_process_of_a_database_waits_for_nobody(database: Database, ticks: Ticks) -> None:
    lease(database, "before", ticks, alone=True)
    observer = lease(database, "now", ticks, alone=True)
    assert observer.take_over(Work("before")) == {"before": 1}


def test_restart_under_the_same_id_ends_the_earlier_lease(database: Database, ticks: Ticks) -> None:
    earlier = lease(database, "worker", ticks)
    lease(database, "worker", ticks)
    with pytest.raises(LeaseLost):
        earlier.renew()


def test_lease_runs_out_for_its_holder_when_it_can_for_others(database: Database, ticks: Ticks) -> None:
    holder = lease(database, "holder", ticks)
    ticks.now += 10
    assert not holder.has_run_out()
    ticks.now += 0.1
    assert holder.has_run_out()
    holder.renew()
    assert not holder.has_run_out()


def test_live_workers_are_listed_without_oneself(database: Database, ticks: Ticks) -> None:
    observer = lease(database, "observer", ticks)
    lease(database, "other", ticks)
    lease(database, "gone", ticks).release()
    assert [worker.executor_id for worker in observer.live_workers()] == ["other"]
