"""How often something may be tried: a sliding window per caller and one over all callers."""

import math
from collections import deque
from collections.abc import Callable
from threading import Lock


class Limit:
    """At most ``each`` attempts a window per caller and ``all_`` together. Safe to use from several threads."""

    def __init__(self, *, each: int, all_: int, seconds: float, clock: Callable[[], float]) -> None:
        self._each, self._all, self._seconds, self._clock = each, all_, seconds, clock
        self._attempts: deque[tuple[float, str]] = deque()
        self._lock = Lock()

    def attempt(self, caller: str) -> int:
        """Count an attempt; 0 if it may be made, else the seconds to wait. A refused one is not counted."""
        now = self._clock()
        with self._lock:
            while self._attempts and now - self._attempts[0][0] >= self._seconds:
                self._attempts.popleft()
            own = [at for at, who in self._attempts if who == caller]
            if len(own) >= self._each:
                return self._wait(own[0], now)
            if len(self._attempts) >= self._all:
                return self._wait(self._attempts[0][0], now)
            self._attempts.append((now, caller))
            return 0

    def _wait(self, oldest: float, now: float) -> int:
        return max(1, math.ceil(oldest + self._seconds - now))
