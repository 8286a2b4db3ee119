"""Prefect 3: a flow that maps a task, with retries, over the records; its own ephemeral server on SQLite."""

import os
from pathlib import Path
from typing import Any

from bench.peers.job import Transaction, records, score


def settings(directory: Path) -> None:
    os.environ.update(
        PREFECT_HOME=str(directory / "prefect"),
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PREFECT_SERVER_LOGGING_LEVEL="CRITICAL",
        PREFECT_LOGGING_TO_API_ENABLED="false",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="true",
        PREFECT_RESULTS_PERSIST_BY_DEFAULT="true",
    )


def prepare(directory: Path) -> None:
    """Start its server, which takes longer than many records."""
    settings(directory)
    run(records(1, seed=1), directory)


def run(given: list[dict[str, Any]], _directory: Path) -> int:
    from prefect import flow, task

    @task(retries=3)
    def scored(record: dict[str, Any]) -> float:
        return score(Transaction.model_validate(record))

    @flow
    def decide_all(all_of_them: list[dict[str, Any]]) -> int:
        return len([future.result() for future in scored.map(all_of_them)])

    return int(decide_all(given))
