"""Live updates: one task looks at the ledger's head for all pages, and tells each when it moved."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from nightcrew.model.errors import NightcrewError

_LOG = logging.getLogger("nightcrew.web")
HEARTBEAT = 15.0
MAX_PAGES = 64


class Live:
    """``version`` gives what changes whenever anything is written; it is called in a thread, once each ``every`` s."""

    def __init__(self, version: Callable[[], str], *, every: float = 1.0, heartbeat: float = HEARTBEAT) -> None:
        self._version, self._every, self._heartbeat = version, every, heartbeat
        self._pages: set[asyncio.Queue[str | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._last: str | None = None

    @property
    def full(self) -> bool:
        """Whether as many pages listen as may."""
        return len(self._pages) >= MAX_PAGES

    async def events(self, wanted: Callable[[], bool]) -> AsyncIterator[str]:
        """An event stream (HTML, "Server-sent events") until the server closes, or ``wanted`` says no."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._pages.add(queue)
        if self._task is None or self._task.done():
            self._last = None
            self._task = asyncio.create_task(self._watch())
        try:
            yield "retry: 3000\n\n"
            if self._last is not None:
                yield _event(self._last)
            while wanted():
                try:
                    version = await asyncio.wait_for(queue.get(), self._heartbeat)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if version is None:
                    return
                yield _event(version)
        finally:
            self._pages.discard(queue)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        for queue in self._pages:
            queue.put_nowait(None)

    async def _watch(self) -> None:
        while self._pages:
            version = self._last
            with suppress(NightcrewError):  # A store that is busy now is asked again in a moment.
                try:
                    version = await asyncio.to_thread(self._version)
                except NightcrewError:
                    raise
                except Exception:
                    _LOG.exception("live updates stop: the ledger cannot be read")
                    self.close()
                    return
            if version is not None and version != self._last:
                self._last = version
                for queue in self._pages:
                    queue.put_nowait(version)
            await asyncio.sleep(self._every)


def _event(version: str) -> str:
    return f'event: changed\nid: {version}\ndata: {{"version": "{version}"}}\n\n'
