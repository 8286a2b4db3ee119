"""The server on standard input and output: lines of JSON-RPC and nothing else, until the client hangs up.

The library's own transport reads and writes in threads that no signal ends, and drops what is being answered when the
input closes. Here Ctrl-C ends at once, and a closed input ends when all that was asked is answered.
"""

import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import anyio.from_thread
from anyio.lowlevel import EventLoopToken, current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse

from nightcrew.mcp.server import make_server

LONGEST = 4_000_000
"""Bytes of one message; a longer one is refused and passed over."""
PATIENCE = 30.0
"""Seconds that answers may still take after the input was closed."""


def serve(root: Path, *, read_only: bool) -> None:
    """Serve the repository around ``root`` until the input ends or SIGINT or SIGTERM comes; prints nothing else."""
    with _channel() as (source, sink):
        anyio.run(_serve, root, read_only, source, sink)


async def _serve(root: Path, read_only: bool, source: int, sink: int) -> None:
    server = make_server(root, read_only=read_only)
    async with anyio.create_task_group() as group:
        group.start_soon(_ended_by_signals, group.cancel_scope)
        async with _connected(source, sink, group.cancel_scope) as (received, to_send):
            await server.run(received, to_send, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _ended_by_signals(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


@contextmanager
def _channel() -> Iterator[tuple[int, int]]:
    """Input and output of the protocol, put where nothing else finds them.

    What prints, in this process or in one that it starts, prints to standard error, and nothing reads
    the client's input.
    """
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        yield source, sink
    finally:
        os.dup2(sink, 1)
        os.close(sink)


Incoming = SessionMessage | Exception


@asynccontextmanager
async def _connected(
    source: int, sink: int, scope: anyio.CancelScope
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]]:
    incoming, received = anyio.create_memory_object_stream[Incoming](0)
    to_send, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    open_calls = _Open()
    async with anyio.create_task_group() as group:
        group.start_soon(_read, source, incoming, open_calls)
        group.start_soon(_write, sink, outgoing, open_calls, scope)
        yield received, to_send


class _Open:
    """Which requests have no answer yet."""

    def __init__(self) -> None:
        self._ids: set[str | int] = set()
        self._none = anyio.Event()
        self._none.set()

    def asked(self, message: JSONRPCMessage) -> None:
        if isinstance(message.root, JSONRPCRequest):
            if not self._ids:
                self._none = anyio.Event()
            self._ids.add(message.root.id)

    def answered(self, message: JSONRPCMessage) -> None:
        if isinstance(message.root, JSONRPCResponse | JSONRPCError):
            self._ids.discard(message.root.id)
            if not self._ids:
                self._none.set()

    async def none_left(self) -> None:
        with anyio.move_on_after(PATIENCE):
            await self._none.wait()


async def _read(source: int, incoming: MemoryObjectSendStream[Incoming], open_calls: _Open) -> None:
    lines, arrived = anyio.create_memory_object_stream[bytes | None](0)
    # A thread of our own, that the end of the program does not wait for: a read of standard input cannot be cancelled.
    token = current_token()
    threading.Thread(target=_lines, args=(source, lines, token), name="mcp-input", daemon=True).start()
    async with incoming:
        async for line in arrived:
            if line is None:
                break
            try:
                message = JSONRPCMessage.model_validate_json(line)
            except ValueError as error:
                await incoming.send(error)
                continue
            open_calls.asked(message)
            await incoming.send(SessionMessage(message))
        await open_calls.none_left()
    arrived.close()


def _lines(source: int, lines: MemoryObjectSendStream[bytes | None], token: EventLoopToken) -> None:
    """Hand over each line of ``source``, then None."""
    kept = b""
    passing = False  # over the rest of a line that is too long
    with suppress(Exception):  # The loop has ended: nobody reads any more.
        while data := _some(source):
            *ended, kept = (kept + data).split(b"\n")
            for line in ended:
                if line.strip() and not passing:
                    anyio.from_thread.run(lines.send, line, token=token)
                passing = False
            if len(kept) > LONGEST or passing:
                if not passing:
                    anyio.from_thread.run(lines.send, b"longer than a message may be", token=token)
                kept, passing = b"", True
        anyio.from_thread.run(lines.send, None, token=token)


def _some(source: int) -> bytes:
    try:
        return os.read(source, 65536)
    except OSError:
        return b""


async def _write(
    sink: int, outgoing: MemoryObjectReceiveStream[SessionMessage], open_calls: _Open, scope: anyio.CancelScope
) -> None:
    async with outgoing:
        async for one in outgoing:
            text = one.message.model_dump_json(by_alias=True, exclude_none=True)
            if not await _put(sink, text.encode("utf-8", "backslashreplace") + b"\n"):
                scope.cancel()
                return
            open_calls.answered(one.message)


async def _put(sink: int, data: bytes) -> bool:
    """Write all of ``data``; False if nobody listens any more."""
    # A thread of our own, as for the input: a client that does not read would hold a write, and the end, for good.
    written, done, token = [False], anyio.Event(), current_token()

    def put() -> None:
        with suppress(OSError):
            left = memoryview(data)
            while left:
                left = left[os.write(sink, left) :]
            written[0] = True
        with suppress(Exception):  # The loop has ended.
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=put, name="mcp-output", daemon=True).start()
    await done.wait()
    return written[0]
