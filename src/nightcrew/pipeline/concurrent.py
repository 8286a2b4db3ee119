"""Working one chunk with many slow calls at once: a limit, a rate limit, one writer, and back-pressure."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile

from nightcrew.pipeline.chain import Made
from nightcrew.pipeline.flight import Flight
from nightcrew.pipeline.intake import Ready
from nightcrew.pipeline.outcome import Origin
from nightcrew.pipeline.runner import Work, refused
from nightcrew.pipeline.writer import MAX_ROWS, Progress, Writer
from nightcrew.store.outcomes import Row
from nightcrew.store.runs import Chunk

_BACKLOG = 4 * MAX_ROWS
"""How many records may be through, or on their way, behind one that is slow, before reading waits."""


@dataclass(frozen=True)
class Limits:
    """At most ``concurrency`` records at a time and, if given, ``rate`` begun a second."""

    concurrency: int = 1
    rate: float | None = None


@dataclass(slots=True)
class _Entry:
    """A record on its way, in the order of the input."""

    end: int
    skip: str
    row: Row | None = None
    origin: Origin | None = None
    made: Made | None = None
    committed: bool = False


class ConcurrentRun:
    """One chunk being worked by an event loop; steps that are not async run in threads."""

    def __init__(self, work: Work, chunk: Chunk, writer: Writer, limits: Limits, flight: Flight | None) -> None:
        """``flight`` is for one record at a time: with more in flight, none could be blamed for a death."""
        self.work = work
        self.chunk = chunk
        self.writer = writer
        self.limits = limits
        self.flight = flight
        self.progress = Progress(chunk.position, chunk.seen, chunk.repeated)
        self._entries: deque[_Entry] = deque()
        self._through: list[_Entry] = []
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._failed: BaseException | None = None
        self._ending = False
        self._rejected = 0

    async def run(self, records: Iterator[Ready] | AsyncIterator[Ready]) -> Progress:
        """Work it to its end. An interruption, or an error of the source, keeps what is done and is raised again."""
        self._slots = asyncio.Semaphore(self.limits.concurrency)
        # As many again are read and prepared while the others wait for their answers, so that a slot is never empty.
        self._ahead = asyncio.Semaphore(2 * self.limits.concurrency)
        self._room = asyncio.Event()
        self._pool = None if self.work.chain.is_async else ThreadPoolExecutor(self.limits.concurrency, "nightcrew-step")
        committer = asyncio.create_task(self._commit_as_due())
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._read(records, tasks)
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._ending = True
            await asyncio.gather(*tasks, committer, return_exceptions=True)
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            if self._failed is None:
                await self._commit(done=False)
        if self._failed is not None:
            raise self._failed
        await self._commit(done=True)
        return self.progress

    async def _read(self, records: Iterator[Ready] | AsyncIterator[Ready], tasks: set[asyncio.Task[None]]) -> None:
        pause = 1 / self.limits.rate if self.limits.rate else 0.0
        begin = time.perf_counter()
        async for ready in _each(records):
            entry = _Entry(ready.end, ready.skip)
            self._entries.append(entry)
            if ready.skip or ready.row is not None:
                entry.row = ready.row
                self._through.append(entry)
            else:
                await self._ahead.acquire()
                if pause:
                    begin = max(begin + pause, time.perf_counter())
                    await asyncio.sleep(begin - time.perf_counter())
                task = asyncio.create_task(self._work(entry, ready, self._before(ready)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                self._follow(ready, task)
                if self.flight is not None:
                    await asyncio.wait([task])  # Read ahead, the next record would be blamed for a death of this one.
            while len(self._entries) >= _BACKLOG and self._failed is None:
                self._room.clear()
                await self._room.wait()
            if self._failed is not None:
                return

    def _before(self, ready: Ready) -> asyncio.Task[None] | None:
        """The task that must end first, where records with the same lane stay in order."""
        lane = self.work.intake.lane(ready.record)
        return None if lane is None else self._lanes.get(lane)

    def _follow(self, ready: Ready, task: asyncio.Task[None]) -> None:
        lane = self.work.intake.lane(ready.record)
        if lane is not None:
            self._lanes[lane] = task
            task.add_done_callback(lambda done: self._lanes.pop(lane, None) if self._lanes.get(lane) is done else None)

    async def _work(self, entry: _Entry, ready: Ready, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            async with self._slots:
                if self.flight is not None:
                    self.flight.enter(ready.start)
                chain = self.work.chain
                if self._pool is None:
                    entry.made = await chain.run_async(ready.record)
                else:
                    entry.made = await asyncio.get_running_loop().run_in_executor(self._pool, chain.run, ready.record)
            entry.origin = ready.origin
            self._through.append(entry)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)
        finally:
            if self.flight is not None:
                self.flight.leave()
            self._ahead.release()

    def _fail(self, error: BaseException) -> None:
        self._failed = self._failed or error
        self._room.set()

    async def _commit_as_due(self) -> None:
        """The one writer: commits what is through, as often as it is due."""
        while self._failed is None and not self._ending:
            wait = self.writer.next_flush() - time.perf_counter()
            if wait > 0 and len(self._through) < MAX_ROWS:
                await asyncio.sleep(min(wait, 0.02))
            elif not self._through:
                await asyncio.sleep(0.005)
            else:
                with contextlib.suppress(BaseException):  # Noted as what the run failed of.
                    await self._commit(done=False)

    async def _commit(self, *, done: bool) -> None:
        through, self._through = self._through, []
        rows = [entry for entry in through if not entry.skip]
        prefix = self._prefix(through)  # Here, and not in the writer's thread: more are read while it writes.
        before = self.progress
        after = Progress(before.position, before.seen, before.repeated, done)

        def settle(again: frozenset[int]) -> Progress:
            for index in again:
                rows[index].skip = "repeated"
            for entry in through:
                entry.committed = True
            # Counted anew if the transaction is run a second time.
            after.position, after.seen, after.repeated = before.position, before.seen, before.repeated
            for entry in prefix:
                after.position = entry.end
                after.seen += entry.skip != "foreign"
                after.repeated += entry.skip == "repeated"
            return after

        try:
            rejected = await asyncio.to_thread(self._write, rows, settle)
        except BaseException as error:
            self._fail(error)
            raise
        while self._entries and self._entries[0].committed:
            self._entries.popleft()
        self._room.set()
        self.progress = after
        self._rejected += rejected
        self.work.report(after, self._rejected)
        if not done and not self._ending:
            try:
                self.work.halt(self._rejected, after.seen - self.chunk.seen)
            except Exception as error:
                self._fail(error)

    def _write(self, entries: list[_Entry], settle: Callable[[frozenset[int]], Progress]) -> int:
        """In the writer's thread: what was made becomes rows here, off the loop that keeps the calls going.

        Gives how many were refused by a contract.
        """
        rows = []
        for entry in entries:
            if entry.made is not None and entry.origin is not None:
                entry.row, entry.made = self.work.row(entry.origin, entry.made), None
            if entry.row is not None:
                rows.append(entry.row)
        again = self.writer.commit(rows, settle)
        for entry in entries:
            entry.row = None
        self.work.measuring.committed(rows, again)
        return refused(rows)

    def _prefix(self, through: list[_Entry]) -> list[_Entry]:
        """The records, from the oldest on, that are all committed with ``through``: a resumed run begins after them."""
        now = {id(entry) for entry in through}
        return list(takewhile(lambda entry: entry.committed or id(entry) in now, self._entries))


async def _each(records: Iterator[Ready] | AsyncIterator[Ready]) -> AsyncIterator[Ready]:
    if isinstance(records, AsyncIterator):
        async for ready in records:
            yield ready
        return
    for ready in records:
        yield ready
