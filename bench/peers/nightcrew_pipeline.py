"""nightcrew: a pipeline with contract, retry and observation on; ledger, Merkle root and resume come with it."""

import os
from pathlib import Path
from typing import Any

import nightcrew as nc
from bench.peers.job import CONCURRENCY, Transaction, score, slow_score


def pipeline(directory: Path, concurrency: int = 1) -> nc.Pipeline:
    os.environ["NIGHTCREW_CONFIG_DIR"] = str(directory / "config")
    seen: list[int] = [0]

    def observe(_seen: nc.Observation) -> None:
        seen[0] += 1

    return nc.Pipeline("peer", record=Transaction, key="id", state=directory, concurrency=concurrency, observe=observe)


def run(records: list[dict[str, Any]], directory: Path) -> int:
    made = pipeline(directory)
    made.step(retry=nc.Retry(attempts=3))(score)
    summary = made.run(records)
    assert summary.adds_up
    made.close()
    return summary.states["accepted"]


def run_slow(records: list[dict[str, Any]], directory: Path) -> int:
    made = pipeline(directory, CONCURRENCY)
    made.step(retry=nc.Retry(attempts=3))(slow_score)
    summary = made.run(records)
    assert summary.adds_up
    made.close()
    return summary.states["accepted"]
