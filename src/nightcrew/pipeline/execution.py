"""Running a pipeline in this process: begin or resume a run, work its chunks, then what is due, then the sink."""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.model.errors import UsageError
from nightcrew.monitoring.pushing import pushing
from nightcrew.pipeline.attending import attended
from nightcrew.pipeline.concurrent import ConcurrentRun, Limits
from nightcrew.pipeline.delivery import deliver, deliver_all
from nightcrew.pipeline.due import work_due
from nightcrew.pipeline.errors import DriftError, InputChangedError
from nightcrew.pipeline.fields import FieldChange
from nightcrew.pipeline.flight import Flight
from nightcrew.pipeline.intake import Intake, Ready
from nightcrew.pipeline.loops import run_to_end
from nightcrew.pipeline.measuring import Measuring
from nightcrew.pipeline.outcome import Writing
from nightcrew.pipeline.parked import is_approved
from nightcrew.pipeline.runner import DEATHS, ChunkRun, Work
from nightcrew.pipeline.sinks import Sink, open_sink
from nightcrew.pipeline.sources import (
    AsyncSource,
    CsvSource,
    GzipJsonlSource,
    JsonlSource,
    ParquetSource,
    Source,
    open_source,
)
from nightcrew.pipeline.summary import ProgressReport, Summary
from nightcrew.pipeline.tracing import part_of_run, traced, whole_run
from nightcrew.pipeline.watching import Watching
from nightcrew.pipeline.writer import Progress
from nightcrew.store import locks, outcomes, runs
from nightcrew.store.runs import Chunk, Run

if TYPE_CHECKING:
    from nightcrew.pipeline.pipeline import In, Out, Pipeline

_JUDGED_AFTER = 200
_LOOKED_AT = 1000
_FILES = (JsonlSource, GzipJsonlSource, CsvSource, ParquetSource)
"""Sources that can be read again at no cost but time."""


def run(
    pipeline: "Pipeline",
    source: "In",
    *,
    sink: "Out | None",
    new: bool,
    max_rejected: float | None,
    progress: Callable[[ProgressReport], None] | None,
) -> Summary:
    """What :meth:`Pipeline.run` does."""
    opened = open_source(source)
    target = None if sink is None else _sink(sink, source)
    _ = pipeline.chain  # A pipeline that cannot run begins no run.
    store = pipeline.state.store
    with alone(pipeline):
        found = begin(pipeline, opened, path_of(sink), new=new, parts=[(0, None, 0, 1)])
        session = Session.open(pipeline, opened, found, progress, max_rejected)
        with store.read() as tx:
            chunks = runs.chunks_of(tx, found.id)
        with session.attended():
            with session.halting():
                session.look_ahead()
                for chunk in chunks:
                    if not chunk.done:
                        session.work_chunk(chunk.number)
            return finish(pipeline, session, target)


def retry(pipeline: "Pipeline", *, everything: bool, sink: "Out | None") -> Summary:
    """What :meth:`Pipeline.retry` does."""
    known = _runs_of(pipeline)
    store = pipeline.state.store
    with alone(pipeline):
        session = Session.open(pipeline, None, known[-1], None, None)
        with session.attended():
            changed = session.work_due(everything=everything)
        target = None if sink is None else open_sink(sink)
        if target is not None and target.replaces:
            session.delivered = deliver_all(store, session.pipeline_id, target)
        for found in known:
            if found.id in changed or target is not None:
                session.deliver(found, None if target is None or target.replaces else target)
        pipeline.state.pin()
        with store.read() as tx:
            last = max(changed, default=known[-1].id)
            return _summary(session, runs.get(tx, last), delivered=session.delivered)


def alone(pipeline: "Pipeline", *, patience_seconds: float = 0.0) -> AbstractContextManager[None]:
    """What only one process at a time does to a pipeline."""
    hint = "Wait for it to end; what it does is seen with: nightcrew outcome runs"
    return locks.held(pipeline.state.store, f"run:{pipeline.name}", hint=hint, patience_seconds=patience_seconds)


def _runs_of(pipeline: "Pipeline") -> list[Run]:
    if pipeline.state.exists():
        with pipeline.state.store.read() as tx:
            found = next((row for row in runs.all_pipelines(tx) if row.name == pipeline.name), None)
            if found is not None and (known := runs.list(tx, found.id)):
                return known
    raise UsageError(f"pipeline {pipeline.name} has not run yet", hint="Run: nightcrew run APP.py:NAME --input FILE")


def begin(
    pipeline: "Pipeline",
    source: Source | AsyncSource,
    sink_path: Path | None,
    *,
    new: bool,
    parts: list[tuple[int, int | None, int, int]],
) -> Run:
    """The run to work: the unfinished one over this source, or a new one. Raises InputChangedError."""
    fingerprint = source.fingerprint()
    named = None if sink_path is None else str(sink_path)
    with pipeline.state.store.begin() as tx:
        row = runs.pipeline(tx, pipeline.name, secret=_secret(pipeline))
        runs.version(tx, row.id, pipeline.version_digest, pipeline.version)
        found = runs.unfinished(tx, row.id, source.name)
        if found is not None and found.fingerprint != fingerprint:
            if not new:
                raise InputChangedError(
                    f"{source.name} is not what it was when run {found.id} began on {found.started}"
                )
            runs.set_state(tx, found.id, "done", {"reason": "given up: the input changed"})
            found = None
        if found is None:
            return runs.start(
                tx,
                row,
                kind=type(source).__name__,
                source=source.name,
                fingerprint=fingerprint,
                sink=named,
                parts=parts,
            )
        runs.set_sink(tx, found.id, named)
        if found.state != "running":
            runs.set_state(tx, found.id, "running", {"reason": "resumed"})
        return runs.get(tx, found.id)


def finish(pipeline: "Pipeline", session: "Session", sink: Sink | None) -> Summary:
    """End a run whose chunks are through: work what is due, deliver, note what the input looked like."""
    run_id = session.run.id
    session.work_due(everything=False)
    with pipeline.state.store.begin() as tx:
        session.watch.save(tx, session.pipeline_id)
        states = outcomes.counts(tx, run=run_id)
        ends_here = runs.get(tx, run_id).state != "done"  # Another worker may have ended it.
        if ends_here:
            runs.set_state(tx, run_id, "done", {"states": states})
        ended = runs.get(tx, run_id)
    if ends_here:
        with whole_run(pipeline, ended) as seen:
            seen.set(outcome="done", **{f"nightcrew.records.{state}": count for state, count in states.items()})
    if sink is not None:
        session.deliver(ended, sink)
    pipeline.state.pin()
    return _summary(session, ended, delivered=session.delivered)


@dataclass
class Session:
    """One process's work on a run."""

    pipeline: "Pipeline"
    pipeline_id: int
    run: Run
    source: Source | AsyncSource | None
    work: Work
    watch: Watching
    progress: Callable[[ProgressReport], None] | None
    began: float = field(default_factory=time.monotonic)
    delivered: int = 0
    commits: int = 0
    worked: int = 0
    _before: tuple[int, int] | None = None

    @classmethod
    def open(
        cls,
        pipeline: "Pipeline",
        source: Source | AsyncSource | None,
        found: Run,
        progress: Callable[[ProgressReport], None] | None,
        max_rejected: float | None,
    ) -> "Session":
        """Everything that a run is worked with."""
        store = pipeline.state.store
        with store.read() as tx:
            row = runs.pipeline(tx, pipeline.name)
        watch = Watching.of(row.fields, pipeline.contract)
        writing = Writing(pipeline.name, pipeline.version_digest)
        intake = Intake(
            contract=pipeline.contract,
            key=pipeline.key,
            source=found.source,
            writing=writing,
            ordered_by=pipeline.ordered_by,
        )
        limit = pipeline.max_rejected if max_rejected is None else max_rejected

        def halt(rejected: int, seen: int) -> None:
            if seen >= _JUDGED_AFTER and rejected > limit * seen:
                raise DriftError(_flood(rejected, seen, watch.changes()))

        def approved(doc: dict[str, Any]) -> bool:
            state = pipeline.state
            return is_approved(
                store, pipeline.name, doc, anchor=state.anchor, repository=state.repository_id, clock=pipeline.clock
            )

        secret = frozenset() if pipeline.contract is None else pipeline.contract.secret_names
        measuring = Measuring(pipeline.state, pipeline.name, pipeline.chain.meter, secret)
        work = Work(
            store, row.id, pipeline.name, traced(pipeline.chain), intake, writing, pipeline.requeue, watch, measuring,
            halt, lambda *_: None, approved,
        )  # fmt: skip
        session = cls(pipeline, row.id, found, source, work, watch, progress)
        work.report = session.reported
        return session

    @contextmanager
    def halting(self) -> Iterator[None]:
        """A run that is refused within it is halted."""
        try:
            yield
        except DriftError as error:
            with self.pipeline.state.store.begin() as tx:
                runs.set_state(tx, self.run.id, "halted", {"reason": str(error)})
            with whole_run(self.pipeline, self.run) as seen:
                seen.set(outcome="halted")
                seen.failed(type(error).__name__)
            raise

    def look_ahead(self) -> None:
        """Look at the first records of a file before any is worked. Raises DriftError if too many would be refused."""
        with self.work.store.read() as tx:
            begun = any(chunk.attempts or chunk.position > chunk.start for chunk in runs.chunks_of(tx, self.run.id))
        if begun or not isinstance(self.source, _FILES):
            return
        seen = refused = 0
        with Flight(self._marker(f"ahead-{self.run.id}")) as flight:
            if flight.given_up(1) is not None:
                return  # One of them killed the process: the chunk's own marker finds out which.
            for end, raw in islice(self.source.read(), _LOOKED_AT):
                flight.enter(end)
                self.watch.see(raw)
                seen += 1
                refused += self.work.intake.prepare(0, end, raw).row is not None
        self.work.halt(refused, seen)

    def work_chunk(self, number: int) -> Progress:
        """Take one chunk up and work it to its end."""
        assert self.source is not None  # noqa: S101 - only a retry has none
        store = self.pipeline.state.store
        with store.begin() as tx:
            lookup = bool(outcomes.any_of(tx, self.pipeline_id))
            chunk = runs.take(tx, self.run.id, number, uuid.uuid4().hex)
        self._chunk = chunk
        writer = self.work.writer(chunk, self.pipeline.commit_seconds)
        limits = self.pipeline.limits
        if chunk.attempts > DEATHS:
            limits = Limits(1, limits.rate)  # Something kills the process: one at a time, so that it can be told which.
        with self._measured("chunk", chunk=number), Flight(self._marker(f"run-{self.run.id}-{number}")) as flight:
            if limits.concurrency == 1 and not self.work.chain.is_async and isinstance(self.source, Source):
                ended = ChunkRun(self.work, chunk, writer, flight).run(self.source, lookup=lookup)
            else:
                alone = flight if limits.concurrency == 1 else None
                concurrent = ConcurrentRun(self.work, chunk, writer, limits, alone)
                ended = run_to_end(concurrent.run(self._records(chunk, alone, lookup)))
        self.commits += writer.commits
        return ended

    def _records(self, chunk: Chunk, flight: Flight | None, lookup: bool) -> Any:
        if isinstance(self.source, Source):
            return self.work.records(self.source, chunk, flight, lookup=lookup)
        return self._async_records(chunk, flight)

    async def _async_records(self, chunk: Chunk, flight: Flight | None) -> AsyncIterator[Ready]:
        assert isinstance(self.source, AsyncSource)  # noqa: S101
        start = chunk.position
        async for end, raw in self.source.aread(chunk.position):
            for ready in self.work.one(start, end, raw, chunk, flight):
                yield ready
            start = end

    def work_due(self, *, everything: bool) -> set[int]:
        """Work the retry queue; gives the runs that changed."""
        before = None if everything else self.pipeline.clock()
        with self._measured("due"), Flight(self._marker(f"due-{self.pipeline.name}")) as flight:
            return work_due(self.work, flight, before=before, commit_seconds=self.pipeline.commit_seconds)

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Somebody keeps watch meanwhile, and sends the measures where the environment says to."""
        state = self.pipeline.state
        watched = attended(state, self.pipeline.name, self.work.measuring, self.watch.drift)
        with pushing(state.store, state.repository_id), watched:
            yield

    @contextmanager
    def _measured(self, what: str, **attributes: int) -> Iterator[None]:
        """However it ends, what was measured of it is kept; ``what`` is the name of its span."""
        try:
            with part_of_run(self.pipeline, self.run, what, **attributes):
                yield
        finally:
            self.work.measuring.write()

    def deliver(self, found: Run, sink: Sink | None) -> None:
        """Give a run's results to ``sink``, or to the one that the run named."""
        target = sink
        if target is None:
            with self.pipeline.state.store.read() as tx:
                path = runs.sink_of(tx, found)
            target = open_sink(path) if path else None
        if target is not None:
            self.delivered += deliver(self.pipeline.state.store, found.id, target)

    def reported(self, progress: Progress, rejected: int) -> None:
        """Pass on how far the chunk is."""
        seconds = time.monotonic() - self.began
        self.worked = progress.seen - self._chunk.seen
        if self.progress is None:
            return
        total = None if self.source is None else self.source.total()
        rate = self.worked / seconds if seconds else 0.0
        passed = progress.position - self._chunk.position
        eta = (total - progress.position) * seconds / passed if total and passed > 0 else None
        self.progress(ProgressReport(progress.seen, progress.position, total, seconds, rate, eta, rejected))

    def report_all(self) -> None:
        """Tell how far all chunks are, whoever works them."""
        if self.progress is None:
            return
        with self.pipeline.state.store.read() as tx:
            chunks = runs.chunks_of(tx, self.run.id)
        seen, passed = sum(c.seen for c in chunks), sum(c.position - c.start for c in chunks)
        self._before = (seen, passed) if self._before is None else self._before
        self.worked = seen - self._before[0]
        seconds = time.monotonic() - self.began
        total = None if self.source is None else self.source.total()
        newly = passed - self._before[1]
        eta = (total - passed) * seconds / newly if total and newly > 0 else None
        rate = self.worked / seconds if seconds else 0.0
        self.progress(ProgressReport(seen, passed, total, seconds, rate, eta, 0))

    def _marker(self, name: str) -> Path:
        return self.pipeline.state.directory / "flight" / name


def _summary(session: Session, found: Run, *, delivered: int) -> Summary:
    with session.pipeline.state.store.read() as tx:
        chunks = runs.chunks_of(tx, found.id)
        states = outcomes.counts(tx, run=found.id)
    return Summary(
        pipeline=session.pipeline.name,
        run=found.id,
        seen=sum(chunk.seen for chunk in chunks),
        states=states,
        repeated=sum(chunk.repeated for chunk in chunks),
        delivered=delivered,
        changes=tuple(session.watch.changes()),
        commits=session.commits,
        seconds=time.monotonic() - session.began,
        worked=session.worked,
        version=session.pipeline.version_digest,
    )


def _flood(rejected: int, seen: int, changes: list[FieldChange]) -> str:
    what = "; ".join(f"field {c.field} is {c.change} in {c.rate:.0%} (was {c.was}, now {c.now})" for c in changes[:5])
    return f"{rejected} of {seen} records were refused by the contract" + (f": {what}" if what else "")


def _secret(pipeline: "Pipeline") -> list[str]:
    return [] if pipeline.contract is None else sorted(pipeline.contract.secret_names)


def _sink(sink: "Out", source: "In") -> Sink:
    opened = open_sink(sink)
    if (
        isinstance(sink, str | Path)
        and isinstance(source, str | Path)
        and Path(sink).resolve() == Path(source).resolve()
    ):
        raise UsageError(f"{sink} is the input; the results would replace it")
    return opened


def path_of(sink: "Out | None") -> Path | None:
    """The file that later results go to as well; other sinks are given anew each time."""
    return Path(sink).resolve() if isinstance(sink, str | Path) else None
