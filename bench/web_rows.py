"""What the bulk rows of the dashboard's database share: how many there are, and the ledger that they stand in."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nightcrew.model.canonical import canonical_json
from nightcrew.model.entry import entry_hash, seal

END = datetime(2026, 11, 28, 5, 0, tzinfo=UTC)
PIPELINES = ("fraud", "support-mail", "labels")


@dataclass(frozen=True)
class Sizes:
    """How much of each there is."""

    outcomes: int
    handoffs: int
    sessions: int
    tickets: int
    reviews: int
    waiting: int
    findings: int
    alerts: int
    runs: int

    @classmethod
    def at(cls, scale: float) -> "Sizes":
        """The sizes at a scale; 1 is what the issue names."""

        def of(count: int, least: int) -> int:
            return max(least, round(count * scale))

        return cls(
            outcomes=of(1_000_000, 2_000),
            handoffs=of(100_000, 60),
            sessions=of(10_000, 30),
            tickets=of(5_000, 60),
            reviews=of(5_000, 30),
            waiting=of(300, 8),
            findings=of(8_000, 30),
            alerts=of(2_000, 12),
            runs=of(120, 6),
        )


def insert(database: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]], columns: str = "") -> None:
    found = list(rows)
    if found:
        marks = ",".join("?" * len(found[0]))
        database.executemany(f"INSERT INTO {table} {columns} VALUES ({marks})", found)


class Chain:
    """The ledger, written in bulk."""

    def __init__(self, database: sqlite3.Connection, key: bytes, seq: int, prev: str) -> None:
        self._database, self._key, self.seq, self.prev = database, key, seq, prev
        self._rows: list[tuple[Any, ...]] = []

    def add(self, at: str, actor: str, action: str, subject: str, **data: Any) -> int:
        text = canonical_json(data).decode()
        self.seq += 1
        hashed = entry_hash(self.seq, at, actor, action, subject, text, self.prev)
        self._rows.append((self.seq, at, actor, action, subject, text, self.prev, hashed, seal(self._key, hashed)))
        self.prev = hashed
        if len(self._rows) >= 20_000:
            self.flush()
        return self.seq

    def flush(self) -> None:
        """Write what was added."""
        insert(self._database, "ledger", self._rows)
        self._rows = []
