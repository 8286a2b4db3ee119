"""What costs much to find out, kept until something was written: nothing that it tells can change before that."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, TypeVar

from nightcrew.crew.project import Project
from nightcrew.store import ledger

T = TypeVar("T")
FOR = timedelta(minutes=1)
"""How long a thing is kept at most: some of them say how long ago something was."""


class Kept:
    """Values by name, each of the ledger's head, and of the playbook and settings, at which it was found out."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[object, datetime, Any]] = {}
        self._lock = Lock()

    def get(self, project: Project, name: str, make: Callable[[], T]) -> T:
        """The value of ``name``: the one that is kept, else ``make()``. What it raises is not kept."""
        with project.store.read() as tx:
            head = ledger.head(tx)
        mark, now = (head and head.hash, id(project)), project.clock()
        with self._lock:
            kept = self._values.get(name)
        if kept is not None and kept[0] == mark and abs(now - kept[1]) < FOR:
            value: T = kept[2]
            return value
        value = make()
        with self._lock:
            self._values[name] = (mark, now, value)
        return value
