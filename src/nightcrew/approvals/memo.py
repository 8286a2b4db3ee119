"""What was found to be true of certain bytes before, in the memory of this process: verifying is dear, bytes are not.

Only for pure functions of bytes: the same bytes give the same answer for ever, so nothing here can go out of date. A
memo is filled by this process alone, after the function said yes, and nobody reaches it who could not also change the
code that runs; it is not kept on the disk.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from hashlib import sha256
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """The last ``size`` answers; threads may share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> T | None:
        """What was put under ``key``, None if nothing was or it was forgotten."""
        with self._lock:
            if key not in self._known:
                return None
            self._known.move_to_end(key)
            return self._known[key]

    def put(self, key: Hashable, value: T) -> None:
        """Remember ``value``; what was used longest ago is forgotten for it."""
        with self._lock:
            self._known[key] = value
            self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()


def digest_of(parts: Iterable[bytes]) -> bytes:
    """SHA-256 of byte strings in their order; each goes in by its own hash, so that none can run into the next."""
    return sha256(b"".join(sha256(part).digest() for part in parts)).digest()
