"""Runs and what became of their records; the proof of one outcome; whether everything stored fits."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from nightcrew.model import merkle
from nightcrew.model.errors import IntegrityError
from nightcrew.pipeline.parked import found
from nightcrew.store import ledger, outcomes, runs
from nightcrew.store.store import Store, Tx

PROOF = "nightcrew.proof/v1"


def run_lines(store: Store, pipeline: str | None) -> list[dict[str, Any]]:
    """Every run, oldest first: its state, its source, records seen and outcomes by state. Raises NotFoundError."""
    with store.read() as tx:
        names = {row.id: row.name for row in runs.all_pipelines(tx)}
        wanted = None if pipeline is None else runs.pipeline(tx, pipeline).id
        return [_line(tx, run, names[run.pipeline]) for run in runs.list(tx, wanted)]


def _line(tx: Tx, run: runs.Run, name: str) -> dict[str, Any]:
    chunks = runs.chunks_of(tx, run.id)
    return {
        "run": run.id,
        "pipeline": name,
        "state": run.state,
        "source": run.source,
        "started": run.started,
        "ended": run.ended,
        "seen": sum(chunk.seen for chunk in chunks),
        "repeated": sum(chunk.repeated for chunk in chunks),
        "states": outcomes.counts(tx, run=run.id),
    }


def prove(store: Store, name: str) -> dict[str, Any]:
    """A proof that a record's outcome is in the ledger, for somebody who trusts nothing but the ledger.

    The outcome's bytes, the path of hashes to its batch's root (RFC 6962), and the ledger's entry that names the root.
    Raises NotFoundError, and IntegrityError if what is stored does not fit.
    """
    with store.read() as tx:
        _, stored = found(tx, name)
        outcomes.Vouched(tx).check(stored)
        batch = outcomes.batch(tx, stored.batch)
        entry = next(ledger.entries(tx, after=batch.entry - 1, limit=1))
    path = merkle.path(batch.leaves, stored.leaf)
    return {
        "schema": PROOF,
        "outcome": stored.doc,
        "path": [{"left": step.left, "hash": step.hash.hex()} for step in path],
        "root": batch.root.hex(),
        "entry": entry._asdict(),
    }


def problems(tx: Tx) -> Iterator[tuple[str, str]]:
    """(``record:PIPELINE/KEY``, ``batch:N`` or ``run:N``, what is wrong) for what the ledger does not vouch for.

    Every outcome must be a leaf of its batch, whose root the ledger has; and as many must be there as the ledger has
    seen made, and as the counts say.
    """
    counted: Counter[tuple[int, str]] = Counter()
    yield from _outcomes(tx, counted)
    made = _made(tx)
    for run in runs.list(tx):
        chunks = runs.chunks_of(tx, run.id)
        seen, repeated = sum(chunk.seen for chunk in chunks), sum(chunk.repeated for chunk in chunks)
        there = {state: count for (number, state), count in counted.items() if number == run.id}
        total = sum(there.values())
        if total != made[run.id]:
            yield f"run:{run.id}", f"{made[run.id]} outcomes were made and {total} are there"
        if there != outcomes.counts(tx, run=run.id):
            yield f"run:{run.id}", "its counts are not those of its outcomes"
        if run.state == "done" and seen != total + repeated:
            yield f"run:{run.id}", f"{seen} records were read and {total + repeated} are accounted for"


def _outcomes(tx: Tx, counted: Counter[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    names = {row.id: row.name for row in runs.all_pipelines(tx)}
    vouched = outcomes.Vouched(tx)
    for stored in outcomes.list(tx, None):
        counted[stored.run, stored.state] += 1
        try:
            vouched.check(stored)
        except IntegrityError as error:
            yield f"record:{names.get(stored.pipeline, '?')}/{stored.key}", str(error)


def _made(tx: Tx) -> Counter[int]:
    """How many outcomes each run has made, as the ledger has it."""
    made: Counter[int] = Counter()
    for entry in ledger.entries(tx):
        if entry.action == "outcomes.made":
            data = ledger.data(entry)
            made[data["run"]] += data["count"]
    return made
