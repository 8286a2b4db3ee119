"""Pipelines, their versions, their runs, and the chunks that a run is split into."""

import builtins
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, update

from nightcrew.model.errors import BusyError, IntegrityError, NotFoundError
from nightcrew.store import ledger, rows
from nightcrew.store.schema import chunks, deliveries, pipelines, runs, versions
from nightcrew.store.store import Tx


class PipelineRow(NamedTuple):
    """A pipeline as it is known here; ``secret`` names fields never to be shown, ``fields`` is the schema last seen."""

    id: int
    name: str
    secret: tuple[str, ...]
    fields: str | None


class Run(NamedTuple):
    """One pass of a pipeline over one input.

    ``state`` is ``running``, ``done`` or ``halted``; ``sink`` names where results go.
    ``attempt`` counts from 1 how often it was begun again after it halted.
    """

    id: int
    pipeline: int
    kind: str
    source: str
    fingerprint: str
    state: str
    started: str
    ended: str | None
    sink: str | None
    attempt: int


class Chunk(NamedTuple):
    """A part of a run: the range of the input, of which records of one part of ``parts``, and how far it has come.

    ``attempts`` counts the processes that took it up since it last came forward.
    """

    run: int
    number: int
    start: int
    stop: int | None
    part: int
    parts: int
    position: int
    seen: int
    repeated: int
    done: bool
    holder: str
    attempts: int


class SupersededError(BusyError):
    """Another process has taken this chunk over."""

    code = "NC-SUPERSEDED"
    hint = "Let the other process go on; this one has written nothing more."


def pipeline(tx: Tx, name: str, *, secret: Sequence[str] | None = None) -> PipelineRow:
    """The pipeline ``name``, made if it is new; ``secret`` replaces what is noted. Raises NotFoundError if not made."""
    row = tx.connection.execute(select(pipelines).where(pipelines.c.name == name)).first()
    if row is None and secret is None:
        raise NotFoundError(f"there is no pipeline {name}", hint="List them with: nightcrew outcome list")
    if row is None:
        number = (tx.connection.execute(select(func.max(pipelines.c.id))).scalar() or 0) + 1
        tx.connection.execute(
            insert(pipelines).values(id=number, name=name, secret=json.dumps(sorted(secret or ())), fields=None)
        )
        return PipelineRow(number, name, tuple(sorted(secret or ())), None)
    known = tuple(rows.from_json(row.secret, where=f"the row of pipeline {name}"))
    if secret is not None and tuple(sorted(secret)) != known:
        known = tuple(sorted(secret))
        tx.connection.execute(update(pipelines).where(pipelines.c.id == row.id).values(secret=json.dumps(known)))
    return PipelineRow(row.id, row.name, known, row.fields)


def all_pipelines(tx: Tx) -> builtins.list[PipelineRow]:
    """Every pipeline, by name."""
    found = tx.connection.execute(select(pipelines).order_by(pipelines.c.name))
    return [
        PipelineRow(row.id, row.name, tuple(rows.from_json(row.secret, where=f"pipeline {row.name}")), row.fields)
        for row in found
    ]


def note_fields(tx: Tx, pipeline_id: int, fields: str) -> None:
    """Keep what the input looks like, as the reference for the next run."""
    tx.connection.execute(update(pipelines).where(pipelines.c.id == pipeline_id).values(fields=fields))


def version(tx: Tx, pipeline_id: int, digest: str, doc: Mapping[str, Any]) -> None:
    """Note which code and model a digest in outcomes stands for; once."""
    if tx.connection.execute(select(versions.c.digest).where(versions.c.digest == digest)).first() is None:
        values = {"digest": digest, "pipeline": pipeline_id, "doc": rows.to_json(doc), "created": tx.stamp()}
        tx.connection.execute(insert(versions).values(values))
        ledger.append(tx, actor="nightcrew", action="pipeline.version", subject=f"version:{digest}", data=doc)


def unfinished(tx: Tx, pipeline_id: int, source: str) -> Run | None:
    """The run over ``source`` that has not ended, None if there is none."""
    query = (
        select(runs)
        .where(runs.c.pipeline == pipeline_id, runs.c.source == source, runs.c.state != "done")
        .order_by(runs.c.id.desc())
    )
    row = tx.connection.execute(query).first()
    return None if row is None else Run(*row)


def start(
    tx: Tx,
    pipeline: PipelineRow,
    *,
    kind: str,
    source: str,
    fingerprint: str,
    sink: str | None,
    parts: Sequence[tuple[int, int | None, int, int]],
) -> Run:
    """Begin a run; ``parts`` are (start, stop, part, parts), one a chunk."""
    number = (tx.connection.execute(select(func.max(runs.c.id))).scalar() or 0) + 1
    run = Run(number, pipeline.id, kind, source, fingerprint, "running", tx.stamp(), None, sink, 1)
    tx.connection.execute(insert(runs).values(run._asdict()))
    for index, (begin, stop, part, of) in enumerate(parts):
        chunk = Chunk(number, index, begin, stop, part, of, begin, 0, 0, False, "", 0)
        tx.connection.execute(insert(chunks).values(chunk._asdict()))
    data = {
        "pipeline": pipeline.name, "source": source, "fingerprint": fingerprint, "chunks": len(parts), "sink": sink,
    }  # fmt: skip
    ledger.append(tx, actor="nightcrew", action="run.start", subject=f"run:{number}", data=data)
    return run


def get(tx: Tx, number: int) -> Run:
    """One run; raises NotFoundError."""
    row = tx.connection.execute(select(runs).where(runs.c.id == number)).first()
    if row is None:
        raise NotFoundError(f"there is no run {number}")
    return Run(*row)


def list(tx: Tx, pipeline_id: int | None = None) -> builtins.list[Run]:
    """Runs, oldest first."""
    query = select(runs).order_by(runs.c.id)
    if pipeline_id is not None:
        query = query.where(runs.c.pipeline == pipeline_id)
    return [Run(*row) for row in tx.connection.execute(query)]


def set_state(tx: Tx, number: int, state: str, data: Mapping[str, Any]) -> None:
    """Say where a run stands: ``done`` and ``halted`` end it, ``running`` takes it up again."""
    values: dict[str, Any] = {"state": state, "ended": None if state == "running" else tx.stamp()}
    if state == "running":
        values["attempt"] = runs.c.attempt + 1
    tx.connection.execute(update(runs).where(runs.c.id == number).values(values))
    ledger.append(tx, actor="nightcrew", action=f"run.{state}", subject=f"run:{number}", data=data)


def over_same_source(tx: Tx, number: int) -> builtins.list[int]:
    """The runs of the same pipeline over the same source with the same content."""
    run = get(tx, number)
    query = select(runs.c.id).where(
        runs.c.pipeline == run.pipeline, runs.c.source == run.source, runs.c.fingerprint == run.fingerprint
    )
    return [row[0] for row in tx.connection.execute(query)]


def delivered(tx: Tx, number: int, sink: str) -> int:
    """Up to where (see ``outcomes.mark``) a run's results were given to the sink of that name."""
    query = select(deliveries.c.mark).where(deliveries.c.run == number, deliveries.c.sink == sink)
    return tx.connection.execute(query).scalar() or 0


def set_delivered(tx: Tx, number: int, sink: str, mark: int) -> None:
    """Note up to where a run's results were given to the sink of that name."""
    mine = (deliveries.c.run == number) & (deliveries.c.sink == sink)
    if tx.connection.execute(update(deliveries).where(mine).values(mark=mark)).rowcount == 0:
        tx.connection.execute(insert(deliveries).values(run=number, sink=sink, mark=mark))


def set_sink(tx: Tx, number: int, sink: str | None) -> None:
    """Note where a run's results go, so that what is settled later goes there too."""
    if get(tx, number).sink != sink:
        tx.connection.execute(update(runs).where(runs.c.id == number).values(sink=sink))
        ledger.append(tx, actor="nightcrew", action="run.sink", subject=f"run:{number}", data={"sink": sink})


def sink_of(tx: Tx, run: Run) -> str | None:
    """The file that a run named for its results.

    Raises IntegrityError if it is not the one in the ledger: whoever writes the database must not choose a file that
    nightcrew then replaces.
    """
    said: str | None = None
    for entry in ledger.entries(tx, subject=f"run:{run.id}"):
        data = ledger.data(entry)
        if "sink" in data:
            ledger.check(tx, entry)
            said = data["sink"]
    if run.sink is not None and said != run.sink:
        raise IntegrityError(f"the sink of run {run.id} is not the one that the ledger has")
    return run.sink


def chunks_of(tx: Tx, run: int) -> builtins.list[Chunk]:
    """The chunks of a run in their order."""
    return [
        Chunk(*row)
        for row in tx.connection.execute(select(chunks).where(chunks.c.run == run).order_by(chunks.c.number))
    ]


def take(tx: Tx, run: int, number: int, holder: str) -> Chunk:
    """Take a chunk up: from here on only ``holder`` can bring it forward. Raises NotFoundError."""
    mine = (chunks.c.run == run) & (chunks.c.number == number)
    tx.connection.execute(update(chunks).where(mine).values(holder=holder, attempts=chunks.c.attempts + 1))
    row = tx.connection.execute(select(chunks).where(mine)).first()
    if row is None:
        raise NotFoundError(f"run {run} has no chunk {number}")
    return Chunk(*row)


def advance(tx: Tx, chunk: Chunk, *, position: int, seen: int, repeated: int, done: bool = False) -> None:
    """Note how far a chunk has come, in the transaction of its outcomes. Raises SupersededError."""
    mine = (chunks.c.run == chunk.run) & (chunks.c.number == chunk.number) & (chunks.c.holder == chunk.holder)
    values = {"position": position, "seen": seen, "repeated": repeated, "done": done, "attempts": 0}
    if tx.connection.execute(update(chunks).where(mine).values(values)).rowcount == 0:
        raise SupersededError(f"chunk {chunk.number} of run {chunk.run} was taken over by another process")
