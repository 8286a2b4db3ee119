"""Group commit: outcomes become durable together, each exactly once, with the place that the run has come to."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nightcrew.reliability import Failure, FailureClass
from nightcrew.store import outcomes, runs
from nightcrew.store.outcomes import ConflictError, Row, Stored
from nightcrew.store.runs import Chunk
from nightcrew.store.store import Store, Tx

COMMIT_SECONDS = 0.25
"""The most work, in seconds, that a crash can make a run repeat."""

MAX_ROWS = 5000
MAX_BYTES = 16 << 20
_SHARE = 20  # A commit may take this part of the time between two of them: 5 %.


@dataclass
class Progress:
    """How far a chunk is: position in the input, records seen, and how many of them were there already."""

    position: int
    seen: int
    repeated: int
    done: bool = False


@dataclass
class Writer:
    """Writes the outcomes of one chunk. ``settle`` of :meth:`commit` says how far the chunk is once they are in."""

    store: Store
    pipeline: int
    name: str
    chunk: Chunk
    conflict_row: Callable[[Row], Row]
    commit_seconds: float = COMMIT_SECONDS
    commits: int = 0
    _cost: float = field(default=0.0, init=False)
    _at: float = field(default_factory=time.perf_counter, init=False)

    def next_flush(self) -> float:
        """When, on the performance counter, the next commit is due: sooner the cheaper commits are.

        So a slow model's answers are committed one by one, and those of a fast one by the thousand.
        """
        return self._at + min(self.commit_seconds, self._cost * _SHARE)

    def commit(self, rows: Sequence[Row], settle: Callable[[frozenset[int]], Progress]) -> frozenset[int]:
        """Make ``rows`` durable and the chunk come forward, in one transaction; gives which rows were there already.

        ``settle`` is given the positions in ``rows`` of those that were there already. Raises SupersededError if
        another process has the chunk, and what the store raises; then nothing was written.
        """
        began = time.perf_counter()
        batch = outcomes.sealed(rows)
        repeated: frozenset[int] = frozenset()
        try:
            with self.store.begin() as tx:
                self._append(tx, batch)
                self._advance(tx, settle(repeated))
        except ConflictError:
            with self.store.begin() as tx:
                kept, repeated = self._resolve(tx, rows)
                self._append(tx, outcomes.sealed(kept))
                self._advance(tx, settle(repeated))
        self._at = time.perf_counter()
        self._cost = self._at - began
        self.commits += 1
        return repeated

    def _append(self, tx: Tx, batch: outcomes.Sealed) -> None:
        if batch.rows:
            outcomes.append(tx, self.pipeline, self.name, self.chunk.run, batch)

    def _advance(self, tx: Tx, progress: Progress) -> None:
        runs.advance(
            tx,
            self.chunk,
            position=progress.position,
            seen=progress.seen,
            repeated=progress.repeated,
            done=progress.done,
        )

    def _resolve(self, tx: Tx, rows: Sequence[Row]) -> tuple[list[Row], frozenset[int]]:
        """What of ``rows`` is still to be written: same key and same input is a repetition, other input a conflict."""
        known: dict[str, tuple[str, Stored | Row]] = {
            key: (_input_of(stored.doc), stored)
            for key, stored in outcomes.existing(tx, self.pipeline, [row.key for row in rows]).items()
        }
        kept: list[Row] = []
        repeated: set[int] = set()
        for index, row in enumerate(rows):
            digest = _input_of(row.doc)
            before = known.get(row.key)
            if before is not None and before[0] != digest:
                row = self.conflict_row(row)
                again = known.get(row.key) or self._known(tx, row.key)
                before = again
            if before is not None:
                repeated.add(index)
                continue
            known[row.key] = (digest, row)
            kept.append(row)
        return kept, frozenset(repeated)

    def _known(self, tx: Tx, key: str) -> tuple[str, Stored] | None:
        found = outcomes.existing(tx, self.pipeline, [key]).get(key)
        return None if found is None else (_input_of(found.doc), found)


def conflict(row: Row) -> tuple[str, Failure]:
    """The key and the failure of a record whose key has an outcome for other content."""
    kept_as = conflict_key(row.key, _input_of(row.doc))
    message = f"the key stands for another record already; this one is kept as {kept_as}"
    return kept_as, Failure(FailureClass.CONTRACT, "DuplicateKey", message, None)


def conflict_key(key: str, sha256: str) -> str:
    """The key under which a record is kept whose own key stands for other content; 128 bits of its hash tell it."""
    return f"{key}~{sha256[:32]}"


def _input_of(doc: str) -> str:
    return str(json.loads(doc)["input"])
