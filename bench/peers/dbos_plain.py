"""DBOS: a workflow a record with the scoring as a step that is retried; SQLite, as `DBOS` sets it up."""

from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID

from bench.peers.job import Transaction, score


@DBOS.step(retries_allowed=True, max_attempts=3)
def scored(record: dict[str, Any]) -> float:
    return score(Transaction.model_validate(record))


@DBOS.workflow()
def decide(record: dict[str, Any]) -> float:
    return scored(record)


def launch(directory: Path) -> None:
    config: DBOSConfig = {
        "name": "peer",
        "system_database_url": f"sqlite:///{directory / 'dbos.db'}",
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()


def prepare(directory: Path) -> None:
    launch(directory)


def run(records: list[dict[str, Any]], _directory: Path) -> int:
    for record in records:
        with SetWorkflowID(record["id"]):
            decide(record)
    found = len(DBOS.list_workflows(status="SUCCESS", limit=len(records) + 1))
    DBOS.destroy()
    return found
