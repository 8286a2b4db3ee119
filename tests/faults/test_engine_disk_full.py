"""A full disk is nobody's failure: the workflow goes on when there is room again."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from nightcrew.engine import Engine
from nightcrew.model.errors import TransientError
from nightcrew.store.connection import create_database_engine

UNLIMITED = 1_000_000_000


@pytest.fixture
def pages() -> Iterator[Callable[[int], None]]:
    """Sets how many pages SQLite files may have: SQLite then answers as on a full disk."""
    limit = [UNLIMITED]

    def on_checkout(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.execute(f"pragma max_page_count={limit[0]}")

    event.listen(Pool, "checkout", on_checkout)

    def set_limit(count: int) -> None:
        limit[0] = count

    yield set_limit
    event.remove(Pool, "checkout", on_checkout)


def test_launch_on_a_full_disk_is_transient_and_says_so(pages: Callable[[int], None], tmp_path: Path) -> None:
    engine = Engine(database_url=f"sqlite:///{tmp_path}/nightcrew.db", state_dir=tmp_path)
    pages(2)
    with pytest.raises(TransientError, match="no space left") as caught:
        engine.launch()
    assert "Free disk space" in caught.value.hint
    pages(UNLIMITED)
    with engine:
        pass


def test_workflow_that_met_a_full_disk_goes_on_when_there_is_room(pages: Callable[[int], None], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nightcrew.db"
    engine = Engine(database_url=url, state_dir=tmp_path, polling_seconds=0.02, lease_seconds=1.5)
    ready = threading.Event()

    @engine.workflow("w")
    def w() -> str:
        engine.transaction("table", lambda c: c.exec_driver_sql("create table if not exists big (x text)") and None)
        engine.step("wait", lambda: ready.wait(10) and None)
        engine.step("result", lambda: "x" * 2_000_000)
        engine.transaction("row", lambda c: c.exec_driver_sql("insert into big values ('y')").rowcount)
        return "done"

    with engine:
        engine.start(w, "w")
        database = create_database_engine(url)
        with database.begin() as connection:
            used = connection.exec_driver_sql("pragma page_count").scalar_one()
        pages(used + 20)
        ready.set()
        with pytest.raises(TransientError, match="no space left"):
            engine.result("w", 20)
        pages(UNLIMITED)
        assert wait_for_result(engine, "w") == "done"
        with database.begin() as connection:
            assert connection.exec_driver_sql("select count(*) from big").scalar() == 1
        database.dispose()


def wait_for_result(engine: Engine, workflow_id: str) -> Any:
    pause = threading.Event()
    for _ in range(1000):
        try:
            return engine.result(workflow_id, 20)
        except TransientError:
            pause.wait(0.02)
    raise AssertionError("the workflow was not resumed")
