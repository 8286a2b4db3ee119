"""Only one process at a time runs a pipeline locally: a lock with a heartbeat."""

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nightcrew.model.errors import BusyError, NightcrewError
from nightcrew.store import locks
from nightcrew.store.store import Store

_SECONDS = 60.0
_BEAT_SECONDS = 15.0


@contextmanager
def held(store: Store, name: str) -> Iterator[str]:
    """Hold the lock ``name`` and renew it; gives the holder. Raises BusyError naming the process that has it."""
    holder = f"pid {os.getpid()} {uuid.uuid4().hex[:8]}"
    with store.begin() as tx:
        try:
            locks.acquire(tx, name, holder, _SECONDS)
        except BusyError as error:
            raise BusyError(
                str(error), hint="Wait for it to end; what it does is seen with: nightcrew outcome runs"
            ) from None
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(store, name, holder, stop), name=f"lock {name}", daemon=True)
    beat.start()
    try:
        yield holder
    finally:
        stop.set()
        beat.join()
        with suppress(NightcrewError), store.begin() as tx:
            locks.release(tx, name, holder)


def _beat(store: Store, name: str, holder: str, stop: threading.Event) -> None:
    while not stop.wait(_BEAT_SECONDS):
        # A beat that fails is made up for by the next; what is written is fenced by the chunk's holder in any case.
        with suppress(NightcrewError), store.begin() as tx:
            locks.renew(tx, name, holder, _SECONDS)
