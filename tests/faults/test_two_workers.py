"""Two workers on Postgres share a run; one is killed; the run ends with each key once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nightcrew.approvals import TrustAnchor
from nightcrew.pipeline.overview import problems
from nightcrew.pipeline.state import find_state
from tests.faults import fraud_app
from tests.postgres import start as start_postgres

RECORDS = int(os.environ.get("NIGHTCREW_STORM_SHARED", "40000"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = start_postgres(tmp_path_factory.mktemp("pg"))
    server.psql("CREATE DATABASE shared")
    yield server.get_uri(database="shared")
    server.cleanup()


def machine(folder: Path, database: str, source: Path) -> Path:
    """A folder as another machine would have it: its own state, the same application, input and database."""
    folder.mkdir()
    shutil.copy(fraud_app.__file__, folder / "app.py")
    (folder / "nightcrew.toml").write_text(f'database_url = "{database}"\n')
    (folder / "tx.jsonl").symlink_to(source)
    return folder


def worker(folder: Path, config: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "nightcrew", "run", "app.py:fraud", "--input", "tx.jsonl", "--workers", "1",
            "--lease", "4", "--json"]  # fmt: skip
    env = {**os.environ, "NIGHTCREW_CONFIG_DIR": str(config), "FRAUD_APP_SLOW": "0.0002"}
    return subprocess.Popen(
        argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_share_a_run_and_one_dies(tmp_path: Path, database: str) -> None:
    source = tmp_path / "tx.jsonl"
    fates = fraud_app.write(source, RECORDS)
    config = tmp_path / "config"
    first = worker(machine(tmp_path / "one", database, source), config)
    seen(database, above=0)
    second = worker(machine(tmp_path / "two", database, source), config)
    both_at_work(database)
    # Only the worker process is killed: its child must notice by itself that it is alone.
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    out, errors = second.communicate(timeout=600)
    assert second.returncode == 1, errors.decode()
    summary = json.loads(out)
    check(summary, fates, database)
    state = find_state(tmp_path / "two", anchor=TrustAnchor(config / "trust"))
    try:
        with state.store.read() as tx:
            assert list(problems(tx)) == []
    finally:
        state.close()


def check(summary: dict[str, Any], fates: dict[fraud_app.Fate, int], database: str) -> None:
    assert summary["adds_up"] is True
    assert (summary["seen"], summary["repeated"]) == (RECORDS, 0)
    assert summary["accepted"] == fates["accepted"]
    assert summary["in_review"] == fates["gated"]
    assert summary["quarantined"] == fates["contract"] + fates["permanent"]
    assert summary["waiting_retry"] == fates["transient"]
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT key) FROM outcomes").fetchone()
    assert found == (RECORDS, RECORDS)


def seen(database: str, *, above: int) -> None:
    """Wait until more than ``above`` records have an outcome."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(database) as connection:
                row = connection.execute("SELECT count(*) FROM outcomes").fetchone()
            if row is not None and row[0] > above:
                return
        except psycopg.Error:
            pass  # The tables are not there yet.
        time.sleep(0.05)
    raise AssertionError("no worker has begun")


def both_at_work(database: str) -> None:
    """Wait until two worker processes have taken up chunks of the run."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with psycopg.connect(database) as connection:
            row = connection.execute(
                "SELECT count(DISTINCT executor_id) FROM dbos.workflow_status"
                " WHERE name LIKE '%fraud%' AND executor_id IS NOT NULL AND status IN ('PENDING', 'SUCCESS')"
            ).fetchone()
            left = connection.execute("SELECT count(*) FROM chunks WHERE NOT done").fetchone()
        assert left is not None
        assert left[0] > 2, "the run is over before the second worker came"
        if row is not None and row[0] == 2:
            return
        time.sleep(0.05)
    raise AssertionError("the second worker never came")
