"""kill -9 of a run of records at many moments: sums add up, each key exactly once, nothing lost, memory flat."""

import contextlib
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nightcrew.approvals import TrustAnchor
from nightcrew.pipeline.overview import problems
from nightcrew.pipeline.state import State, find_state
from tests.faults import fraud_app

RECORDS = int(os.environ.get("NIGHTCREW_STORM_RECORDS", "60000"))
KILLS = int(os.environ.get("NIGHTCREW_STORM_KILLS", "5"))
MAX_RSS_MIB = 300


def start(folder: Path, *more: str, slow: float = 0.0, hold: str = "") -> subprocess.Popen[bytes]:
    """Run it; ``slow`` is how many seconds a record takes at least, ``hold`` the id that it does not get past."""
    env = {
        **os.environ,
        "NIGHTCREW_CONFIG_DIR": str(folder / "config"),
        "FRAUD_APP_SLOW": str(slow),
        "FRAUD_APP_HOLD": hold,
    }
    argv = [sys.executable, "-m", "nightcrew", "run", "app.py:fraud", "--input", "tx.jsonl", "--json", *more]
    return subprocess.Popen(
        argv,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell that runs the tests in the background lets its children ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def prepare(folder: Path) -> None:
    shutil.copy(fraud_app.__file__, folder / "app.py")


def ended(running: subprocess.Popen[bytes], timeout: float = 600) -> dict[str, Any]:
    out, errors = running.communicate(timeout=timeout)
    assert running.returncode in (0, 1), errors.decode()
    summary: dict[str, Any] = json.loads(out)
    return summary


def state(folder: Path) -> State:
    return find_state(folder, anchor=TrustAnchor(folder / "config" / "trust"))


def check(folder: Path, summary: dict[str, Any], fates: dict[fraud_app.Fate, int], records: int) -> None:
    assert summary["adds_up"] is True
    assert summary["seen"] == records
    assert summary["repeated"] == 0
    assert summary["accepted"] == fates["accepted"]
    assert summary["in_review"] == fates["gated"]
    assert summary["quarantined"] == fates["contract"] + fates["permanent"]
    assert summary["waiting_retry"] == fates["transient"]
    with sqlite3.connect(folder / ".nightcrew" / "nightcrew.db") as database:
        rows, keys = database.execute("SELECT count(*), count(DISTINCT key) FROM outcomes").fetchone()
        assert rows == keys == records
        # What waits keeps its input; what is settled has a result.
        lost = database.execute(
            "SELECT count(*) FROM outcomes WHERE state NOT IN ('accepted') AND input IS NULL"
        ).fetchone()
        assert lost == (0,)
        counted = dict(database.execute("SELECT state, count(*) FROM outcomes GROUP BY state"))
        assert counted == {name: summary[name] for name in counted}
    opened = state(folder)
    try:
        with opened.store.read() as tx:
            assert list(problems(tx)) == []
    finally:
        opened.close()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_run_of_records_ends_complete(tmp_path: Path) -> None:
    prepare(tmp_path)
    fates = fraud_app.write(tmp_path / "tx.jsonl", RECORDS)
    rng = random.Random(11)
    peak = 0
    for kill in range(KILLS):
        # However late the kill comes, the run is not over: it holds at a record, and each time at a later one.
        hold = fraud_app.record((kill + 2) * RECORDS // (KILLS + 2), "accepted")["id"]
        before = seen(tmp_path)
        running = start(tmp_path, "--sink", "out.jsonl", hold=hold)
        peak = max(peak, wait(running, tmp_path, before + math.ceil(rng.uniform(0, RECORDS / KILLS))))
        time.sleep(rng.uniform(0, 0.1))
        assert running.poll() is None, "it ended before it was killed"
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        (tmp_path / "held").unlink(missing_ok=True)
        assert before < seen(tmp_path) < RECORDS, "the kill did not fall into the work"
    running = start(tmp_path, "--sink", "out.jsonl")
    peak = max(peak, wait(running, tmp_path, RECORDS + 1))
    summary = ended(running)
    check(tmp_path, summary, fates, RECORDS)
    delivered = [json.loads(line)["key"] for line in (tmp_path / "out.jsonl").open()]
    assert len(delivered) == len(set(delivered)) == fates["accepted"]
    print(f"\n{RECORDS:,} records, killed {KILLS} times, peak {peak} MiB, {summary['rate']:,.0f}/s at the end")
    assert peak < MAX_RSS_MIB


def wait(running: subprocess.Popen[bytes], folder: Path, enough: int) -> int:
    """Wait until ``enough`` records are through, it holds, or it ends; gives the peak resident memory in MiB."""
    deadline, peak = time.monotonic() + 3000, 0
    while running.poll() is None and seen(folder) < enough and not (folder / "held").exists():
        assert time.monotonic() < deadline, "it does not come forward"
        time.sleep(0.02)
        try:
            status = Path(f"/proc/{running.pid}/status").read_text()
        except OSError:
            break
        found = [line for line in status.splitlines() if line.startswith("VmHWM")]
        peak = max(peak, int(found[0].split()[1]) // 1024) if found else peak
    return peak


def seen(folder: Path) -> int:
    """How many records are through, by the store; a look at it that leaves recovery after a kill to nightcrew."""
    with contextlib.suppress(sqlite3.OperationalError):  # not there yet
        database = sqlite3.connect(f"file:{folder}/.nightcrew/nightcrew.db?mode=ro", uri=True, timeout=30)
        with contextlib.closing(database):
            return int(database.execute("SELECT coalesce(sum(seen), 0) FROM chunks").fetchone()[0])
    return 0


def test_kill_between_the_end_of_a_run_and_its_delivery_loses_no_result(tmp_path: Path) -> None:
    """The run is over, so the same command begins another: it works nothing again, and delivers what is there."""
    prepare(tmp_path)
    fates = fraud_app.write(tmp_path / "tx.jsonl", 2000)
    dying = "import os, app; app.fraud.run('tx.jsonl', sink=lambda delivery: os.kill(os.getpid(), 9))"
    env = {**os.environ, "NIGHTCREW_CONFIG_DIR": str(tmp_path / "config")}
    assert (
        subprocess.run([sys.executable, "-c", dying], cwd=tmp_path, env=env, timeout=60).returncode == -signal.SIGKILL
    )
    summary = ended(start(tmp_path, "--sink", "out.jsonl"))
    assert (summary["seen"], summary["repeated"], summary["accepted"]) == (2000, 2000, 0)
    assert rows(tmp_path) == 2000
    delivered = [json.loads(line)["key"] for line in (tmp_path / "out.jsonl").open()]
    assert len(delivered) == len(set(delivered)) == fates["accepted"]


@pytest.mark.parametrize(
    ("how", "number", "dies"), [("poison", 700, 3), ("deadly", 700, 3), ("lethal", 1700, 3), ("lethal", 700, 4)]
)
def test_record_that_kills_its_process_is_isolated_and_quarantined(
    how: fraud_app.Fate, number: int, dies: int, tmp_path: Path
) -> None:
    """A contract that kills does so once more, in the look at the first 1,000 records before any is worked."""
    prepare(tmp_path)
    lines = [json.dumps(fraud_app.record(at, how if at == number else "accepted")) for at in range(2000)]
    (tmp_path / "tx.jsonl").write_text("\n".join(lines))
    deaths = 0
    while True:
        running = start(tmp_path)
        out, errors = running.communicate(timeout=60)
        if running.returncode >= 0:
            break
        deaths += 1
        assert deaths < 10, "it is retried for ever"
    summary = json.loads(out)
    assert running.returncode == 1, errors.decode()
    assert deaths == dies
    assert (summary["accepted"], summary["quarantined"]) == (1999, 1)
    opened = state(tmp_path)
    try:
        from nightcrew.pipeline.parked import shown

        found = shown(opened.store, f"fraud/tx-{number:08d}")
        assert (found.state, found.kind) == ("quarantined", "permanent.poison")
    finally:
        opened.close()


def test_two_processes_do_not_run_the_same_pipeline(tmp_path: Path) -> None:
    prepare(tmp_path)
    fraud_app.write(tmp_path / "tx.jsonl", 20_000)
    first = start(tmp_path, slow=0.0003)
    deadline = time.monotonic() + 30
    while not (tmp_path / ".nightcrew" / "flight").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    second = start(tmp_path)
    out, errors = second.communicate(timeout=60)
    assert second.returncode == 75, errors.decode()
    assert json.loads(errors)["error"]["code"] == "NC-BUSY"
    assert str(first.pid) in json.loads(errors)["error"]["message"]
    assert out == b""
    assert ended(first)["adds_up"]


def rows(folder: Path) -> int:
    """How many outcomes are stored."""
    with contextlib.suppress(sqlite3.OperationalError):  # not there yet
        database = sqlite3.connect(f"file:{folder}/.nightcrew/nightcrew.db?mode=ro", uri=True, timeout=5)
        with contextlib.closing(database):
            return int(database.execute("SELECT count(*) FROM outcomes").fetchone()[0])
    return 0


def test_interrupted_run_keeps_what_is_done_and_goes_on(tmp_path: Path) -> None:
    prepare(tmp_path)
    fates = fraud_app.write(tmp_path / "tx.jsonl", 20_000)
    first = start(tmp_path, slow=0.0005)
    deadline = time.monotonic() + 30
    while not rows(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors.decode()
    assert 0 < rows(tmp_path) < 20_000
    check(tmp_path, ended(start(tmp_path)), fates, 20_000)
