"""Prefect 3: a flow that maps a task, with retries, over the records; its own ephemeral server on SQLite."""

import os
from pathlib import Path
from typing import Any

from bench.peers.job import Transaction, score


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


def run(records: list[dict[str, Any]], directory: Path) -> int:
    settings(directory)
    from prefect import flow, task

    @task(retries=3)
    def scored(record: dict[str, Any]) -> float:
        return score(Transaction.model_validate(record))

    @flow
    def decide_all(given: list[dict[str, Any]]) -> int:
        return len([future.result() for future in scored.map(given)])

    return int(decide_all(records))
