"""Outcomes of records: one row a record for good, written a batch at a time with the batch's root in the ledger."""

import builtins
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select

from nightcrew.model import merkle
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import IntegrityError, NotFoundError
from nightcrew.store import ledger
from nightcrew.store.schema import OPEN, batches, outcomes, tallies
from nightcrew.store.store import Tx

_COLUMNS = "pipeline, key, run, state, kind, batch, leaf, next_at, input, doc"
_SQLITE_INSERT = f"INSERT INTO outcomes ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"  # noqa: S608
_POSTGRES_INSERT = (
    f"INSERT INTO outcomes ({_COLUMNS}) SELECT %s, key, %s, state, kind, %s, leaf, next_at, input, doc FROM "  # noqa: S608
    "unnest(%s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::bytea[], %s::text[]) "
    "AS made (key, state, kind, leaf, next_at, input, doc) ORDER BY leaf ON CONFLICT DO NOTHING"
)
_FIELDS = frozenset(
    (
        "state", "pipeline", "version", "key", "at", "input", "status", "output", "confidence", "level", "made_by",
        "reason", "notice", "attempts", "rounds", "stage", "failure",
    )
)  # fmt: skip
"""What every document of an outcome has."""
_PAGE = 2000
_LEAVES = 1 << 20
"""More than a batch ever has."""


SETTLED = frozenset({"accepted", "fallback"})
"""States with a result. The input is stored in all others only: the SHA-256 of it is in every document."""


class Row(NamedTuple):
    """An outcome to be written. ``doc`` is its JSON text."""

    key: str
    state: str
    kind: str | None
    next_at: str | None
    input: bytes
    doc: str


class Stored(NamedTuple):
    """An outcome as it is stored.

    ``batch`` and ``leaf`` say where its proof lies; both change, and ``batch`` grows, with each change.
    """

    id: int
    pipeline: int
    key: str
    run: int
    state: str
    kind: str | None
    batch: int
    leaf: int
    next_at: str | None
    input: bytes | None
    doc: str


class ConflictError(IntegrityError):
    """Some keys of the batch have an outcome already; nothing was written."""

    code = "NC-OUTCOME-EXISTS"


class Batch(NamedTuple):
    """What was committed together: its root (32 bytes), its leaf hashes and the ledger's entry that names it."""

    id: int
    run: int
    root: bytes
    leaves: builtins.list[bytes]
    entry: int


class Sealed(NamedTuple):
    """Outcomes to be written, in a form that can be stored, with the leaf hashes of their documents."""

    rows: Sequence[Row]
    leaves: Sequence[bytes]


def sealed(rows: Iterable[Row]) -> Sealed:
    """Hash the documents of ``rows``; apart from :func:`append`, so that no transaction is open meanwhile."""
    leaf = merkle.leaf_hash
    kept: builtins.list[Row] = []
    leaves: builtins.list[bytes] = []
    for row in rows:
        try:
            data = row.doc.encode()
        except UnicodeEncodeError:  # Half a surrogate pair: its JSON escape says the same, and can be stored.
            data = row.doc.encode("utf-8", "backslashreplace")
            row = row._replace(doc=data.decode())
        kept.append(row)
        leaves.append(leaf(data))
    return Sealed(kept, leaves)


def append(tx: Tx, pipeline: int, name: str, run: int, made: Sealed) -> None:
    """Write new outcomes as one batch.

    Raises ConflictError, and the caller rolls back, if one of the keys has an outcome already.
    """
    batch = _new_batch(tx, name, run, made.leaves)
    if _insert(tx, pipeline, run, batch, made.rows) != len(made.rows):
        raise ConflictError(f"{name}: some of {len(made.rows)} keys have an outcome already")
    for state, count in Counter(row.state for row in made.rows).items():
        _bump(tx, run, state, count)


def change(tx: Tx, name: str, changed: Sequence[tuple[Stored, Row]], *, why: str, actor: str = "nightcrew") -> int:
    """Give stored outcomes new ones, as one batch; gives how many.

    One that is no longer as it was read is left alone: somebody else has dealt with it.
    """
    current = [pair for pair in changed if _batch_of(tx, pair[0].id) == pair[0].batch]
    if not current:
        return 0
    made = sealed(row for _, row in current)
    batch = _new_batch(tx, name, current[0][0].run, made.leaves, why=why, actor=actor)
    table = outcomes.c
    for leaf, ((old, _), row) in enumerate(zip(current, made.rows, strict=True)):
        values = {**row._asdict(), "input": _kept(row), "batch": batch, "leaf": leaf}
        tx.connection.execute(outcomes.update().where(table.id == old.id).values(values))
    moves: Counter[tuple[int, str]] = Counter()
    for old, row in current:
        moves[old.run, old.state] -= 1
        moves[old.run, row.state] += 1
    for (run, state), count in moves.items():
        if count:
            _bump(tx, run, state, count)
    return len(current)


def any_of(tx: Tx, pipeline: int) -> bool:
    """Whether a pipeline has an outcome at all."""
    return (
        tx.connection.execute(select(outcomes.c.id).where(outcomes.c.pipeline == pipeline).limit(1)).first() is not None
    )


def existing(tx: Tx, pipeline: int, keys: Iterable[str]) -> dict[str, Stored]:
    """The stored outcomes of those ``keys`` that have one."""
    wanted = builtins.list(dict.fromkeys(keys))
    found: dict[str, Stored] = {}
    for begin in range(0, len(wanted), 500):
        some = wanted[begin : begin + 500]
        query = select(outcomes).where(outcomes.c.pipeline == pipeline, outcomes.c.key.in_(some))
        found.update((row.key, Stored(*row)) for row in tx.connection.execute(query))
    return found


def get(tx: Tx, pipeline: int, key: str) -> Stored:
    """One outcome; raises NotFoundError."""
    row = tx.connection.execute(select(outcomes).where(outcomes.c.pipeline == pipeline, outcomes.c.key == key)).first()
    if row is None:
        raise NotFoundError(f"there is no record {key}", hint="List what is stored with: nightcrew outcome list")
    return Stored(*row)


def list(
    tx: Tx,
    pipeline: int | None,
    *,
    states: Iterable[str] | None = None,
    kind: str | None = None,
    due: datetime | None = None,
    runs: Iterable[int] | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Iterator[Stored]:
    """Outcomes in the order in which they were first written, a page at a time.

    ``due``: only those whose next time is not after it. ``after``: only those with a greater id.
    """
    wanted = select(outcomes)
    if pipeline is not None:
        wanted = wanted.where(outcomes.c.pipeline == pipeline)
    if runs is not None:
        wanted = wanted.where(outcomes.c.run.in_(builtins.list(runs)))
    if states is not None:
        named = builtins.list(states)
        wanted = wanted.where(outcomes.c.state.in_(named))
        if SETTLED.isdisjoint(named):
            wanted = wanted.where(OPEN)
    if kind is not None:
        wanted = wanted.where(outcomes.c.kind == kind)
    if due is not None:
        wanted = wanted.where(outcomes.c.next_at <= isoformat(due))
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        query = wanted.where(outcomes.c.id > after).order_by(outcomes.c.id).limit(size)
        page = [Stored(*row) for row in tx.connection.execute(query)]
        yield from page
        if len(page) < size:
            return
        after = page[-1].id
        left = None if left is None else left - len(page)


def settled_since(tx: Tx, run: int, delivered: int) -> "array[int]":
    """The ids of a run's outcomes with a result that were written after ``delivered`` (see ``mark``), in that order."""
    batch, leaf = divmod(delivered, _LEAVES)
    table = outcomes.c
    later = (table.batch > batch) | ((table.batch == batch) & (table.leaf > leaf))
    query = select(table.id).where(table.run == run, table.state.in_(SETTLED), later)
    return array("q", tx.connection.execute(query.order_by(table.batch, table.leaf)).scalars())


def by_id(tx: Tx, identifiers: Sequence[int]) -> builtins.list[Stored]:
    """The outcomes with these ids, in their order."""
    query = select(outcomes).where(outcomes.c.id.in_(builtins.list(identifiers)))
    found = {row.id: Stored(*row) for row in tx.connection.execute(query)}
    return [found[identifier] for identifier in identifiers]


def mark(stored: Stored) -> int:
    """A number that grows with the order in which outcomes are written."""
    return stored.batch * _LEAVES + stored.leaf


def counts(tx: Tx, *, run: int) -> dict[str, int]:
    """How many outcomes of a run are in each state."""
    query = select(tallies.c.state, tallies.c.count).where(tallies.c.run == run)
    return {row[0]: row[1] for row in tx.connection.execute(query) if row[1]}


def batch(tx: Tx, number: int) -> Batch:
    """One batch; raises NotFoundError, or IntegrityError if its leaves do not give its root."""
    row = tx.connection.execute(select(batches).where(batches.c.id == number)).first()
    if row is None:
        raise NotFoundError(f"there is no batch {number}")
    leaves = [row.leaves[at : at + 32] for at in range(0, len(row.leaves), 32)]
    if not leaves or merkle.root(leaves) != row.root:
        raise IntegrityError(f"the leaves of batch {number} do not give its root")
    return Batch(row.id, row.run, row.root, leaves, row.entry)


class Vouched:
    """Checks outcomes against the ledger: that each is a leaf of its batch, whose root a sealed entry has."""

    _KEPT = 64

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._leaves: dict[int, builtins.list[bytes]] = {}

    def check(self, stored: Stored) -> None:
        """Raises IntegrityError for an outcome that the ledger does not vouch for, as it stands in its row."""
        leaves = self._leaves.get(stored.batch)
        if leaves is None:
            if len(self._leaves) >= self._KEPT:
                self._leaves.clear()
            leaves = self._leaves[stored.batch] = self._sealed(stored.batch)
        right = leaves[stored.leaf : stored.leaf + 1] == [merkle.leaf_hash(stored.doc.encode())]
        if not right or not stored.doc.startswith(f'{{"state":"{stored.state}",'):
            raise IntegrityError(f"the outcome of {stored.key} is not what the ledger has")

    def _sealed(self, number: int) -> builtins.list[bytes]:
        found = batch(self._tx, number)
        entry = next(ledger.entries(self._tx, after=found.entry - 1, limit=1), None)
        if entry is None or entry.subject != f"batch:{number}" or ledger.data(entry).get("root") != found.root.hex():
            raise IntegrityError(f"the ledger does not have the root of batch {number}")
        ledger.check(self._tx, entry)
        return found.leaves


def document(stored: Stored) -> dict[str, Any]:
    """The outcome's document, parsed; raises IntegrityError if it is not one."""
    try:
        value = json.loads(stored.doc)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise IntegrityError(f"the outcome of {stored.key} is not a JSON object")
    if missing := _FIELDS - value.keys():
        raise IntegrityError(f"the outcome of {stored.key} has no {', '.join(sorted(missing))}")
    return value


def _new_batch(
    tx: Tx, name: str, run: int, leaves: Sequence[bytes], *, why: str = "made", actor: str = "nightcrew"
) -> int:
    number = (tx.connection.execute(select(func.max(batches.c.id))).scalar() or 0) + 1
    root = merkle.root(leaves)
    data: Mapping[str, Any] = {"pipeline": name, "run": run, "count": len(leaves), "root": root.hex()}
    entry = ledger.append(tx, actor=actor, action=f"outcomes.{why}", subject=f"batch:{number}", data=data)
    values = {"id": number, "run": run, "root": root, "leaves": b"".join(leaves), "entry": entry.seq}
    tx.connection.execute(insert(batches).values(values))
    return number


def _insert(tx: Tx, pipeline: int, run: int, batch: int, made: Sequence[Row]) -> int:
    """How many rows went in. Straight to the driver: per row it is a third of the time."""
    if tx.on_sqlite:
        cursor = tx.connection.connection.cursor()
        cursor.executemany(
            _SQLITE_INSERT,
            [
                (pipeline, key, run, state, kind, batch, leaf, next_at, None if state in SETTLED else data, doc)
                for leaf, (key, state, kind, next_at, data, doc) in enumerate(made)
            ],
        )
        return int(cursor.rowcount)
    key, state, kind, next_at, _, doc = (builtins.list(column) for column in zip(*made, strict=True))
    data = [_kept(row) for row in made]
    leaves = builtins.list(range(len(made)))
    done = tx.connection.exec_driver_sql(
        _POSTGRES_INSERT, (pipeline, run, batch, key, state, kind, leaves, next_at, data, doc)
    )
    return done.rowcount


def _kept(row: Row) -> bytes | None:
    return None if row.state in SETTLED else row.input


def _bump(tx: Tx, run: int, state: str, count: int) -> None:
    changed = tx.connection.execute(
        tallies.update().where(tallies.c.run == run, tallies.c.state == state).values(count=tallies.c.count + count)
    )
    if changed.rowcount == 0:
        tx.connection.execute(insert(tallies).values(run=run, state=state, count=count))


def _batch_of(tx: Tx, identifier: int) -> int | None:
    return tx.connection.execute(select(outcomes.c.batch).where(outcomes.c.id == identifier)).scalar()


def digest(stored: Stored) -> str:
    """What a decision about the outcome is signed over: the SHA-256 of its document."""
    return sha256_hex(stored.doc.encode())
