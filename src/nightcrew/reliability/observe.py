"""One observation a guarded call, for whoever counts."""

import threading
from collections import Counter
from typing import NamedTuple


class Observation(NamedTuple):
    """What a call came to: the guard's name, its seconds, status, level, attempts, failure class and confidence."""

    name: str
    seconds: float
    status: str
    level: int
    attempts: int
    kind: str | None
    confidence: float | None


class Tally:
    """Counts observations by name, status and failure class, and adds up their seconds; threads may share it."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str, str | None]] = Counter()
        self.seconds: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, seen: Observation) -> None:
        """Take one in."""
        with self._lock:
            self.calls[seen.name, seen.status, seen.kind] += 1
            self.seconds[seen.name] += seen.seconds  # type: ignore[assignment]
            self.attempts[seen.name] += seen.attempts
