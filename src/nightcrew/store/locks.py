"""Named locks with a lease, for what only one process may do at a time; they coordinate and are not in the ledger."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, insert, select, update

from nightcrew.model.clock import isoformat
from nightcrew.model.errors import BusyError, NightcrewError
from nightcrew.store import rows
from nightcrew.store.schema import locks
from nightcrew.store.store import Store, Tx

_SECONDS = 60.0
_BEAT_SECONDS = 15.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Lock:
    """Who holds a lock, and until when unless it is renewed."""

    name: str
    holder: str
    host: str
    pid: int
    acquired: datetime
    expires: datetime


@contextmanager
def held(store: Store, name: str, *, hint: str, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock and renew it in a thread; a process that dies leaves it to run out by itself.

    Raises BusyError, with ``hint``, naming the process that has it, if it still has it after ``patience_seconds``.
    """
    holder = f"pid {os.getpid()} {uuid.uuid4().hex[:8]}"
    until = time.monotonic() + patience_seconds
    while not _acquired(store, name, holder, hint, last=time.monotonic() >= until):
        time.sleep(_POLL_SECONDS)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(store, name, holder, stop), name=f"lock {name}", daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        with suppress(NightcrewError), store.begin() as tx:
            release(tx, name, holder)


def _acquired(store: Store, name: str, holder: str, hint: str, *, last: bool) -> bool:
    try:
        with store.begin() as tx:
            acquire(tx, name, holder, _SECONDS)
    except BusyError as error:
        if last:
            raise BusyError(str(error), hint=hint) from None
        return False
    return True


def _beat(store: Store, name: str, holder: str, stop: threading.Event) -> None:
    while not stop.wait(_BEAT_SECONDS):
        # A beat that fails is made up for by the next; what is written is fenced in any case.
        with suppress(NightcrewError), store.begin() as tx:
            renew(tx, name, holder, _SECONDS)


def acquire(tx: Tx, name: str, holder: str, ttl_seconds: float) -> Lock:
    """Take the lock, or renew it if ``holder`` has it. ``holder`` is unique to one process's use of it.

    A lease that is over, or whose process on this machine is gone, is taken over. Raises BusyError with who holds it.
    """
    held = find(tx, name)
    now = tx.now()
    if held is not None and held.holder != holder and held.expires > now and not _is_gone(held):
        since = f"{held.acquired:%Y-%m-%d %H:%M:%S} UTC"
        raise BusyError(f"{held.holder} (process {held.pid} on {held.host.split()[0]}) holds {name} since {since}")
    acquired = held.acquired if held is not None and held.holder == holder else now
    taken = Lock(name, holder, _here(), os.getpid(), acquired, now + timedelta(seconds=ttl_seconds))
    tx.connection.execute(delete(locks).where(locks.c.name == name))
    times = {"acquired": isoformat(taken.acquired), "expires": isoformat(taken.expires)}
    tx.connection.execute(insert(locks).values({**taken.__dict__, **times}))
    return taken


def renew(tx: Tx, name: str, holder: str, ttl_seconds: float) -> None:
    """Hold the lock for ``ttl_seconds`` from now; raises BusyError if it was lost."""
    expires = isoformat(tx.now() + timedelta(seconds=ttl_seconds))
    mine = (locks.c.name == name) & (locks.c.holder == holder)
    if tx.connection.execute(update(locks).where(mine).values(expires=expires)).rowcount == 0:
        raise BusyError(f"{holder} no longer holds {name}")


def release(tx: Tx, name: str, holder: str) -> bool:
    """Let go of the lock; False if ``holder`` did not have it."""
    mine = (locks.c.name == name) & (locks.c.holder == holder)
    return tx.connection.execute(delete(locks).where(mine)).rowcount == 1


def find(tx: Tx, name: str) -> Lock | None:
    """Who has the lock, or had it last without letting go; None if nobody."""
    row = tx.connection.execute(select(locks).where(locks.c.name == name)).first()
    if row is None:
        return None
    return Lock(
        row.name, row.holder, row.host, row.pid, rows.from_time(row.acquired), rows.from_time(row.expires)
    )  # fmt: skip


def _here() -> str:
    """The name of this machine; on Linux also its space of process numbers, since another container has its own."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space.readlink()}" if space.is_symlink() else socket.gethostname()


def _is_gone(held: Lock) -> bool:
    if held.host != _here():
        return False
    try:
        os.kill(held.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
