"""Records a second with one durable outcome each: nightcrew beside DBOS, LangGraph, Prefect and the floor, in one run.

Run: python bench/pipeline.py [--quick]. Each runs in a process of its own, in turns, so that all meet the same machine;
the median counts. The peers come with ``pip install -e '.[peers]'``; one that is missing is named. Prints two tables
and writes bench/results/pipeline.json.
"""

import argparse
import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.peers.job import CONCURRENCY, SLOW_SECONDS, records  # noqa: E402


class Peer(NamedTuple):
    """What is measured, where it is (module:function), its records, and what it needs installed."""

    what: str
    where: str
    calls: int
    needs: str | None = None


FAST = (
    Peer("batched inserts, no guarantees (floor)", "floor:run", 200_000),
    Peer("nightcrew pipeline", "nightcrew_pipeline:run", 200_000),
    Peer("a commit a record, by hand", "commit_each:run", 2_000),
    Peer("LangGraph, SqliteSaver", "langgraph_sqlite:run", 600, "langgraph"),
    Peer("DBOS, a workflow a record", "dbos_plain:run", 400, "dbos"),
    Peer("Prefect, a task a record", "prefect_flow:run", 200, "prefect"),
)
SLOW = (
    Peer("asyncio alone, nothing stored", "slow:run_gather", 16_000),
    Peer("nightcrew pipeline", "nightcrew_pipeline:run_slow", 16_000),
    Peer("LangGraph, AsyncSqliteSaver", "slow:run_langgraph", 640, "langgraph"),
    Peer("DBOS, a workflow a record", "slow:run_dbos", 640, "dbos"),
    Peer("Prefect, a task a record", "slow:run_prefect", 128, "prefect"),
)


def once(peer: Peer) -> float:
    """Records a second of one run in a fresh process; what a peer starts (a server, an engine) counts not."""
    argv = [sys.executable, __file__, "--one", peer.where, "--count", str(peer.calls)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=1200)
    if done.returncode:
        raise SystemExit(f"{peer.what} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.strip().splitlines()[-1])


def one(where: str, count: int) -> None:
    """Measure one peer in this process."""
    module, function = where.split(":")
    peer = importlib.import_module(f"bench.peers.{module}")
    run = getattr(peer, function)
    prepare = getattr(peer, function.replace("run", "prepare"), None)
    given = records(count)
    with tempfile.TemporaryDirectory() as directory:
        if prepare is not None:
            prepare(Path(directory))
        began = time.perf_counter()
        stored = run(given, Path(directory))
        seconds = time.perf_counter() - began
    if stored != count:
        raise SystemExit(f"{where} stored {stored} of {count} outcomes")
    print(count / seconds)


def measured(peers: tuple[Peer, ...], rounds: int) -> dict[str, float]:
    """The median of each, measured in turns."""
    found: dict[str, list[float]] = {}
    there = []
    for peer in peers:
        if peer.needs and importlib.util.find_spec(peer.needs) is None:
            print(f"{peer.what}: not measured, {peer.needs} is not installed (pip install -e '.[peers]')")
        else:
            there.append(peer)
    for _ in range(rounds):
        for peer in there:
            found.setdefault(peer.what, []).append(once(peer))
    return {what: statistics.median(rates) for what, rates in found.items()}


def table(title: str, rates: dict[str, float]) -> None:
    """Print rates with the ratio of ours to each."""
    ours = rates["nightcrew pipeline"]
    print(f"\n{title}\n{'what':<42} {'records/s':>12} {'nightcrew is':>14}")
    for what, rate in rates.items():
        print(f"{what:<42} {rate:>12,.0f} {'' if what.startswith('nightcrew') else f'x{ours / rate:,.2f}':>14}")


def main() -> None:
    """Measure all, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one round, a tenth of the records")
    parser.add_argument("--one")
    parser.add_argument("--count", type=int, default=0)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.count)
        return
    shrink = 10 if options.quick else 1
    rounds = 1 if options.quick else 3
    fast = measured(tuple(peer._replace(calls=max(20, peer.calls // shrink)) for peer in FAST), rounds)
    slow = measured(tuple(peer._replace(calls=max(64, peer.calls // shrink)) for peer in SLOW), rounds)
    table("One durable outcome a record, SQLite, one process", fast)
    ideal = CONCURRENCY / SLOW_SECONDS
    slow = {f"ideal ({CONCURRENCY} at {SLOW_SECONDS * 1000:.0f} ms)": ideal, **slow}
    table(f"{SLOW_SECONDS * 1000:.0f} ms async calls, {CONCURRENCY} at a time", slow)
    print(f"\nnightcrew reaches {slow['nightcrew pipeline'] / ideal:.1%} of the ideal")
    target = ROOT / "bench" / "results" / "pipeline.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"records_per_second": fast, "slow_calls_per_second": slow}, indent=2))


if __name__ == "__main__":
    main()
