"""Working one chunk: read, prepare, run the chain, commit in groups; one record after the other."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from nightcrew.pipeline.chain import Chain, Made
from nightcrew.pipeline.flight import Flight
from nightcrew.pipeline.intake import WINDOW, Intake, Ready, of_part, unless_stored
from nightcrew.pipeline.measuring import Measuring
from nightcrew.pipeline.outcome import Origin, Writing
from nightcrew.pipeline.requeue import Requeue
from nightcrew.pipeline.sources import IterableSource, Source, StreamSource
from nightcrew.pipeline.watching import Watching
from nightcrew.pipeline.writer import MAX_BYTES, MAX_ROWS, Progress, Writer, conflict
from nightcrew.reliability import Failure, FailureClass
from nightcrew.store.outcomes import Row
from nightcrew.store.runs import Chunk
from nightcrew.store.store import Store

_REFUSED = frozenset({FailureClass.CONTRACT.value, FailureClass.CORRUPT.value})
DEATHS = 3
"""A record that was in flight when the process died this many times is quarantined."""

Report = Callable[[Progress, int], None]
"""Called after each commit with how far the chunk is and how many records were refused by the contract."""


@dataclass
class Work:
    """What a chunk is worked with."""

    store: Store
    pipeline: int
    name: str
    chain: Chain
    intake: Intake
    writing: Writing
    requeue: Requeue
    watch: Watching
    measuring: Measuring
    halt: Callable[[int, int], None]
    report: Report
    approved: Callable[[dict[str, Any]], bool]

    def row_of(self, ready: Ready) -> Row:
        """The outcome of a prepared record, made now."""
        if ready.row is not None:
            return ready.row
        assert ready.origin is not None  # noqa: S101 - for the type checker: what is skipped never comes here
        return self.row(ready.origin, self.chain.run(ready.record))

    def row(self, origin: Origin, made: Made) -> Row:
        """The row of what was made; a failure that may pass gets its next time."""
        if made.state == "waiting_retry":
            return self.requeue.row(self.writing, origin, made, rounds=0)
        return self.writing.row(origin, made)

    def conflict_row(self, row: Row) -> Row:
        """The row of a record whose key has an outcome for other content."""
        key, failure = conflict(row)
        doc = json.loads(row.doc)
        return self.writing.refused(Origin(key, doc["input"], doc["at"], row.input), failure)

    def writer(self, chunk: Chunk, commit_seconds: float) -> Writer:
        """The writer of a chunk."""
        return Writer(self.store, self.pipeline, self.name, chunk, self.conflict_row, commit_seconds)

    def records(self, source: Source, chunk: Chunk, flight: Flight | None, *, lookup: bool) -> Iterator[Ready]:
        """The records of a chunk from where it stands, prepared; ``lookup`` finds those with an outcome."""
        # A live source is not waited for: each of its records is looked up as it comes.
        live = isinstance(source, IterableSource | StreamSource) and source.total() is None
        found = self._prepared(source.read(chunk.position, chunk.stop), chunk.position, flight)
        return self._wanted(found, chunk, (1 if live else WINDOW) if lookup else 0)

    def one(self, start: int, end: int, raw: Any, chunk: Chunk, flight: Flight | None) -> Iterator[Ready]:
        """One record of a source that gives them one by one."""
        return self._wanted(self._prepared([(end, raw)], start, flight), chunk, 1)

    def _wanted(self, found: Iterator[Ready], chunk: Chunk, window: int) -> Iterator[Ready]:
        if chunk.parts > 1:
            found = of_part(found, self.intake, chunk.part, chunk.parts)
        if window:
            found = unless_stored(found, self.store, self.pipeline, chunk.run, self.conflict_row, self.writing, window)
        return found

    def _prepared(self, raws: Iterable[tuple[int, Any]], start: int, flight: Flight | None) -> Iterator[Ready]:
        """A contract or a key function can kill the process as well as a step: the marker is set before them."""
        prepare, see = self.intake.prepare, self.watch.see
        enter = None if flight is None else flight.enter
        given_up = None if flight is None else flight.given_up(DEATHS)
        for end, raw in raws:
            if start == given_up:
                yield self.intake.give_up(start, end, raw, died())
            else:
                if enter is not None:
                    enter(start)
                see(raw)
                yield prepare(start, end, raw)
            start = end


def died() -> Failure:
    """What a record that killed its process again and again is quarantined with."""
    message = f"the process died {DEATHS} times while it worked this record"
    return Failure(FailureClass.POISON, "ProcessDied", message, None)


def refused(rows: Iterable[Row]) -> int:
    """How many of the rows are records that a contract refused."""
    return sum(1 for row in rows if row.kind in _REFUSED)


class Done(NamedTuple):
    """A record that is through: the position after it, its outcome if it needs one, why it needed no work if not."""

    end: int
    row: Row | None
    skip: str


class ChunkRun:
    """One chunk being worked, one record at a time."""

    def __init__(self, work: Work, chunk: Chunk, writer: Writer, flight: Flight) -> None:
        self.work = work
        self.chunk = chunk
        self.writer = writer
        self.flight = flight
        self.progress = Progress(chunk.position, chunk.seen, chunk.repeated)
        self._rejected = 0

    def run(self, source: Source, *, lookup: bool) -> Progress:
        """Work it to its end. An interruption, or an error of the source, keeps what is done and is raised again."""
        # One append a record: whatever interrupts, a record is through with its outcome or not at all.
        through: list[Done] = []
        append, now, enter, row_of = through.append, time.perf_counter, self.flight.enter, self.work.row_of
        due = self.writer.next_flush()
        held = 0
        try:
            for ready in self.work.records(source, self.chunk, self.flight, lookup=lookup):
                if ready.skip:
                    append(Done(ready.end, None, ready.skip))
                else:
                    enter(ready.start)
                    row = row_of(ready)
                    append(Done(ready.end, row, ""))
                    held += len(row.doc) + len(row.input)
                if now() >= due or len(through) >= MAX_ROWS or held >= MAX_BYTES:
                    self._commit(through)
                    self.work.halt(self._rejected, self.progress.seen - self.chunk.seen)
                    held = 0
                    due = self.writer.next_flush()
        except _CommitFailed as failed:
            raise failed.cause from failed.cause.__cause__
        except BaseException:
            self._interrupted(through)
            raise
        self._interrupted(through, done=True)
        return self.progress

    def _interrupted(self, through: list[Done], done: bool = False) -> None:
        try:
            self._commit(through, done=done)
        except _CommitFailed as failed:
            raise failed.cause from failed.cause.__cause__

    def _commit(self, through: list[Done], done: bool = False) -> None:
        self.flight.leave()
        before = self.progress
        rows = [row for _, row, _ in through if row is not None]
        seen = before.seen + sum(1 for _, _, skip in through if skip != "foreign")
        repeated = before.repeated + sum(1 for _, _, skip in through if skip == "repeated")
        position = through[-1].end if through else before.position
        after = Progress(position, seen, repeated, done)

        def settle(again: frozenset[int]) -> Progress:
            after.repeated = repeated + len(again)
            return after

        try:
            again = self.writer.commit(rows, settle)
        except BaseException as error:
            raise _CommitFailed(error) from None
        through.clear()
        self.progress = after
        self.work.measuring.committed(rows, again)
        self._rejected += refused(rows)
        self.work.report(after, self._rejected)


class _CommitFailed(Exception):
    """A commit did not happen: what it held is not to be taken for done."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause
