"""A run over several processes, on one machine or more: chunks are queued durable workflows.

Each worker process has children that do the work, so that a record that kills a process costs a child. On Postgres any
number of worker processes share a run: the same command on another machine joins it, and the chunks of one that dies
move on when its lease is over. On SQLite there is one worker process, with as many children as wanted.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from nightcrew.engine import Engine, WorkflowFailed
from nightcrew.model.errors import NightcrewError, TransientError, UsageError
from nightcrew.pipeline.errors import ChunkError, DriftError
from nightcrew.pipeline.execution import Session, alone, begin, finish, path_of
from nightcrew.pipeline.runner import DEATHS
from nightcrew.pipeline.sinks import open_sink
from nightcrew.pipeline.sources import Source, open_source
from nightcrew.pipeline.summary import ProgressReport, Summary
from nightcrew.store import runs

if TYPE_CHECKING:
    from nightcrew.pipeline.pipeline import Pipeline

_CHUNKS_PER_WORKER = 8
_MAX_RUNS = 100
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 3600.0
"""How long a worker waits for another that is ending the same run."""


def run_workers(
    pipeline: "Pipeline",
    target: str,
    source: str,
    *,
    workers: int,
    sink: str | None = None,
    new: bool = False,
    max_rejected: float | None = None,
    lease_seconds: float = 30.0,
    progress: Callable[[ProgressReport], None] | None = None,
) -> Summary:
    """Work a file with ``workers`` child processes, sharing the run with every other process that was told the same.

    ``target`` names the pipeline for the children (``APP.py:NAME``). Raises UsageError for an input that cannot be read
    by several processes, and what a chunk failed of.
    """
    opened = open_source(source)
    if not isinstance(opened, Source) or source == "-":
        raise UsageError(f"{source} cannot be read by several processes", hint="Give a file, or leave --workers out.")
    found = begin(pipeline, opened, path_of(sink), new=new, parts=_parts(pipeline, opened, workers))
    job = {
        "target": target,
        "source": source,
        "state": str(pipeline.state.directory.parent),
        "database_url": pipeline.state.database_url,
        "run": found.id,
        "max_rejected": max_rejected,
    }
    pool = Children(workers, lease_seconds)
    engine = Engine(
        database_url=pipeline.state.database_url, state_dir=pipeline.state.directory, lease_seconds=lease_seconds
    )

    def chunk_body(run: int, number: int) -> int:
        return engine.step("chunk", lambda: pool.work({**job, "run": run, "chunk": number}))

    chunk_workflow = engine.workflow(f"pipeline.{pipeline.name}", max_attempts=_MAX_RUNS)(chunk_body)
    queue = f"pipeline.{pipeline.name}"
    engine.queue(queue, concurrency=workers)
    session = Session.open(pipeline, opened, found, progress, max_rejected)
    with session.halting():
        session.look_ahead()
    try:
        with session.attended(), engine:
            with pipeline.state.store.read() as tx:
                chunks = [chunk for chunk in runs.chunks_of(tx, found.id) if not chunk.done]
            # The same names on every machine that joins; others after a halt, since a failed workflow stays failed.
            names = {chunk.number: f"run-{found.id}-{found.attempt}-{chunk.number}" for chunk in chunks}
            for number, name in names.items():
                engine.enqueue(queue, chunk_workflow, name, found.id, number)
            try:
                _follow(session, engine, set(names.values()))
            except WorkflowFailed:
                for name in names.values():
                    engine.cancel(name)
                raise
    except WorkflowFailed as error:
        with pipeline.state.store.begin() as tx:
            runs.set_state(tx, found.id, "halted", {"reason": str(error)})
        raise _cause(error) from error
    finally:
        pool.close()
    with alone(pipeline, patience_seconds=_PATIENCE_SECONDS):
        return finish(pipeline, session, None if sink is None else open_sink(sink))


def _parts(pipeline: "Pipeline", source: Source, workers: int) -> list[tuple[int, int | None, int, int]]:
    """By ranges of the input; where records stay in order, by lane: each chunk reads all and works its own."""
    if pipeline.ordered_by is not None:
        return [(0, None, part, workers) for part in range(workers)]
    return [(start, stop, 0, 1) for start, stop in source.split(workers * _CHUNKS_PER_WORKER)]


def _follow(session: Session, engine: Engine, names: set[str]) -> None:
    """Wait for all chunks, wherever they run, telling how far they are."""
    waiting = set(names)
    while waiting:
        for name in sorted(waiting):
            with suppress(TimeoutError):
                engine.result(name, timeout_seconds=_POLL_SECONDS)
                waiting.discard(name)
            session.report_all()


class Children:
    """The child processes of this worker; each works one chunk at a time."""

    def __init__(self, count: int, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._idle: SimpleQueue[_Child] = SimpleQueue()
        self._all = [_Child() for _ in range(count)]
        for child in self._all:
            self._idle.put(child)

    def work(self, job: dict[str, Any]) -> int:
        """Have a chunk worked; gives the records seen. Raises what the chunk failed of.

        A child that dies is replaced: the chunk goes on from its last commit, and after some deaths at the same record
        without it.
        """
        child = self._idle.get()
        try:
            deaths, at = 0, None
            while True:
                answer = child.ask(job)
                if answer is not None and answer.get("code") == runs.SupersededError.code:
                    time.sleep(self._lease_seconds)  # Somebody took this worker for dead. If he dies, it is ours again.
                    continue
                if answer is not None:
                    return _result(answer)
                position = child.position_of(job)
                deaths = deaths + 1 if position == at else 1
                at = position
                if deaths > DEATHS + 2:
                    raise TransientError(
                        f"chunk {job['chunk']}: its process died {deaths} times without coming forward"
                    )
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """End all of them."""
        for child in self._all:
            child.close()


class _Child:
    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """Its answer, None if it died over it."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nightcrew.pipeline.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (BrokenPipeError, ValueError):
            line = ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        process.wait()
        return None

    def position_of(self, job: dict[str, Any]) -> object:
        """Where its chunk stands, to tell deaths without progress from deaths here and there."""
        marker = Path(job["state"]) / ".nightcrew" / "flight" / f"run-{job['run']}-{job['chunk']}"
        with suppress(OSError):
            return marker.read_bytes()[:8]
        return time.monotonic()

    def close(self) -> None:
        process = self._process
        if process is None:
            return
        with suppress(OSError, ValueError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _result(answer: dict[str, Any]) -> int:
    if answer["ok"]:
        return int(answer["seen"])
    raise ChunkError(f"{answer['code']}: {answer['message']}")


def _cause(error: WorkflowFailed) -> NightcrewError:
    """What a chunk failed of, in the words of the process that worked it."""
    text = str(error)
    if DriftError.code in text or error.error_code == DriftError.code:
        return DriftError(text.rpartition(f"{DriftError.code}: ")[2] or text)
    return ChunkError(text)
