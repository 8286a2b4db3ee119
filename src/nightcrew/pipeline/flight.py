"""Which record is in flight, written where the death of the process does not lose it.

A record that kills its process (a crash in a C library, the kernel's out-of-memory killer) leaves no exception. So the
position of the record is put into a memory-mapped file before it is tried: the kernel keeps the page whatever happens
to the process, at a tenth of a microsecond a record.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Self

_LAYOUT = "<qqq"  # in flight (or -1), in flight at the last death, deaths there in a row
_SIZE = struct.calcsize(_LAYOUT)
_PUT = struct.Struct("<q").pack_into


class Flight:
    """The marker at ``path``: :meth:`enter` before a record is tried, :meth:`leave` when nothing is.

    Opened again after the death of the process, it counts how often in a row the same record was in flight.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != _SIZE:
                os.truncate(descriptor, 0)
                os.write(descriptor, struct.pack(_LAYOUT, -1, -1, 0))
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._path = path
        in_flight, dead_at, deaths = struct.unpack_from(_LAYOUT, self._map, 0)
        if in_flight >= 0:
            deaths = deaths + 1 if in_flight == dead_at else 1
            struct.pack_into(_LAYOUT, self._map, 0, -1, in_flight, deaths)
            dead_at = in_flight
        self._dead_at, self._deaths = dead_at, deaths

    def given_up(self, deaths: int) -> int | None:
        """The position that was in flight at the last ``deaths`` deaths or more; None if there is none."""
        return self._dead_at if self._deaths >= deaths else None

    def enter(self, position: int) -> None:
        """The record that begins at ``position`` (0 or more) is tried now."""
        _PUT(self._map, 0, position)

    def leave(self) -> None:
        """Nothing is in flight."""
        _PUT(self._map, 0, -1)

    def __enter__(self) -> Self:
        """Use it; every end but the death of the process removes the marker."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """An error is an orderly end too: the record is not to blame for it."""
        self._map.close()
        self._path.unlink(missing_ok=True)
