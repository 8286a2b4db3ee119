"""Drills that were run, and load tests: each with the entry of the ledger that says so."""

import builtins
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, insert, select

from nightcrew.model.canonical import digest
from nightcrew.model.errors import IntegrityError
from nightcrew.store import ledger, rows
from nightcrew.store.schema_outside import drill_runs, load_runs
from nightcrew.store.store import Tx


@dataclass(frozen=True)
class DrillRun:
    """One drill of one target. ``doc`` is the whole result; ``entry`` the number of the ledger's entry about it."""

    id: int
    target: str
    drill: str
    outcome: str
    started: datetime
    fingerprint: str
    doc: Mapping[str, Any]
    entry: int


@dataclass(frozen=True)
class LoadRun:
    """One load test of a pipeline. ``doc`` is its curve, and what was found in it."""

    id: int
    target: str
    started: datetime
    fingerprint: str
    doc: Mapping[str, Any]
    entry: int


def add(
    tx: Tx, *, target: str, drill: str, outcome: str, started: datetime, fingerprint: str, doc: Mapping[str, Any]
) -> DrillRun:
    """Store a result, and say so in the ledger, with its digest. Raises DocumentError for text that none can hold."""
    said = {"target": target, "outcome": outcome, "fingerprint": fingerprint, "sha256": digest(dict(doc))}
    entry = ledger.append(tx, actor="nightcrew", action="drill.run", subject=_subject(target, drill), data=said)
    values = {
        "target": target, "drill": drill, "outcome": outcome, "started": rows.to_time(started),
        "fingerprint": fingerprint, "doc": rows.to_json(dict(doc)), "entry": entry.seq,
    }  # fmt: skip
    number = _insert(tx, drill_runs, values)
    return DrillRun(number, target, drill, outcome, started, fingerprint, doc, entry.seq)


def list(
    tx: Tx, *, target: str | None = None, drill: str | None = None, limit: int | None = None
) -> builtins.list[DrillRun]:
    """Results, newest first."""
    query = select(drill_runs).order_by(drill_runs.c.id.desc()).limit(limit)
    query = query if target is None else query.where(drill_runs.c.target == target)
    query = query if drill is None else query.where(drill_runs.c.drill == drill)
    return [_run(row) for row in tx.connection.execute(query).mappings()]


def latest(tx: Tx, target: str) -> dict[str, DrillRun]:
    """The last result of each drill of a target, by the drill's name."""
    newest = select(func.max(drill_runs.c.id)).where(drill_runs.c.target == target).group_by(drill_runs.c.drill)
    query = select(drill_runs).where(drill_runs.c.id.in_(newest)).order_by(drill_runs.c.drill)
    return {row["drill"]: _run(row) for row in tx.connection.execute(query).mappings()}


def last(tx: Tx, limit: int) -> builtins.list[DrillRun]:
    """The last result of each drill of each target, the newest first; those that cannot be read are left out."""
    newest = select(func.max(drill_runs.c.id)).group_by(drill_runs.c.target, drill_runs.c.drill)
    query = select(drill_runs).where(drill_runs.c.id.in_(newest)).order_by(drill_runs.c.id.desc()).limit(limit)
    found = []
    for row in tx.connection.execute(query).mappings():
        with suppress(IntegrityError):
            found.append(_run(row))
    return found


def is_vouched(tx: Tx, run: DrillRun) -> bool:
    """Whether exactly this is the last that the ledger has on this drill of this target.

    A row alone, anybody who can write it may have made; or put an older one in the place of what came after it. Raises
    IntegrityError if that entry was not written by nightcrew.
    """
    entry = ledger.latest_for(tx, _subject(run.target, run.drill))
    if entry is None or (entry.seq, entry.action) != (run.entry, "drill.run"):
        return False
    ledger.check(tx, entry)
    expected = {
        "target": run.target, "outcome": run.outcome, "fingerprint": run.fingerprint, "sha256": digest(dict(run.doc)),
    }  # fmt: skip
    agrees = all(run.doc.get(name) == expected[name] for name in ("target", "outcome", "fingerprint"))
    return agrees and ledger.data(entry) == expected


def add_load(tx: Tx, *, target: str, started: datetime, fingerprint: str, doc: Mapping[str, Any]) -> LoadRun:
    """Store a load test, and say so in the ledger, with its digest."""
    said = {"fingerprint": fingerprint, "sha256": digest(dict(doc))}
    entry = ledger.append(tx, actor="nightcrew", action="load.run", subject=f"load:{target}", data=said)
    values = {
        "target": target, "started": rows.to_time(started), "fingerprint": fingerprint, "doc": rows.to_json(dict(doc)),
        "entry": entry.seq,
    }  # fmt: skip
    number = _insert(tx, load_runs, values)
    return LoadRun(number, target, started, fingerprint, doc, entry.seq)


def loads(tx: Tx, target: str, *, limit: int | None = None) -> builtins.list[LoadRun]:
    """Load tests of a target, newest first."""
    query = select(load_runs).where(load_runs.c.target == target).order_by(load_runs.c.id.desc()).limit(limit)
    return [_load(row) for row in tx.connection.execute(query).mappings()]


def load_is_vouched(tx: Tx, run: LoadRun) -> bool:
    """As ``is_vouched``, of a load test."""
    entry = ledger.latest_for(tx, f"load:{run.target}")
    if entry is None or (entry.seq, entry.action) != (run.entry, "load.run"):
        return False
    ledger.check(tx, entry)
    return ledger.data(entry) == {"fingerprint": run.fingerprint, "sha256": digest(dict(run.doc))}


def _subject(target: str, drill: str) -> str:
    return f"drill:{target}/{drill}"


def _insert(tx: Tx, table: Table, values: Mapping[str, Any]) -> int:
    return int(tx.connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one())


def _run(row: Mapping[Any, Any]) -> DrillRun:
    same = _same(row, "id target drill outcome fingerprint entry")
    return DrillRun(started=rows.from_time(row["started"]), doc=_doc(drill_runs, row), **same)


def _load(row: Mapping[Any, Any]) -> LoadRun:
    same = _same(row, "id target fingerprint entry")
    return LoadRun(started=rows.from_time(row["started"]), doc=_doc(load_runs, row), **same)


def _same(row: Mapping[Any, Any], names: str) -> dict[str, Any]:
    return {name: row[name] for name in names.split()}


def _doc(table: Table, row: Mapping[Any, Any]) -> Mapping[str, Any]:
    doc: Mapping[str, Any] = rows.from_json(row["doc"], where=f"{table.name} {row['id']}")
    return doc
