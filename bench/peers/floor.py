"""The floor: validate, score, insert a thousand rows a transaction; no retry, no resume, no ledger, nothing to show."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from bench.peers.job import Transaction, score

BATCH = 1000


def connect(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(directory / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE outcomes (key TEXT PRIMARY KEY, output TEXT)")
    return connection


def run(records: list[dict[str, Any]], directory: Path, batch: int = BATCH) -> int:
    connection = connect(directory)
    for begin in range(0, len(records), batch):
        rows = []
        for record in records[begin : begin + batch]:
            transaction = Transaction.model_validate(record)
            rows.append((transaction.id, json.dumps({"value": score(transaction)})))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO outcomes VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    found = connection.execute("SELECT count(*) FROM outcomes").fetchone()[0]
    connection.close()
    return int(found)
