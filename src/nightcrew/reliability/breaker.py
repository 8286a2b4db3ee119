"""A circuit breaker: a service that fails again and again is left alone for a while (M. Nygard, Release It!, 2007)."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after ``failures`` transient failures within ``window`` seconds; after ``reset`` seconds it lets
    ``half_open`` calls through to see: if they succeed it closes, if one fails it opens again.

    Permanent failures do not count: they say something about the record, not about the service. Threads share it;
    ``Breaker.named`` shares one by name within a process.
    """  # noqa: D205

    _named: ClassVar[dict[str, "Breaker"]] = {}
    _registry: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        name: str = "",
        *,
        failures: int = 5,
        window: float = 60.0,
        reset: float = 30.0,
        half_open: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if failures < 1 or half_open < 1 or window <= 0 or reset < 0:
            raise ValueError(
                "a Breaker has failures and half_open of at least 1, a window above 0, a reset of at least 0"
            )
        self.name = name
        self._limit, self._window, self._reset, self._probes = failures, window, reset, half_open
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: deque[float] = deque(maxlen=failures)
        self._opened = 0.0
        self._probing = 0
        self._probed = 0.0
        self._succeeded = 0
        self.tripped = False
        """False while closed: what a call looks at first."""

    @classmethod
    def named(cls, name: str) -> "Breaker":
        """The breaker of that name in this process, made with the defaults if there is none; see ``share``."""
        with cls._registry:
            if name not in cls._named:
                cls._named[name] = cls(name)
            return cls._named[name]

    def share(self) -> "Breaker":
        """Make this the breaker that ``named`` gives for its name."""
        with self._registry:
            self._named[self.name] = self
        return self

    @property
    def state(self) -> State:
        """Where it stands now."""
        if not self.tripped:
            return "closed"
        return "half_open" if self._clock() - self._opened >= self._reset else "open"

    def retry_after(self) -> float:
        """Seconds until it lets a call through."""
        return max(0.0, self._opened + self._reset - self._clock()) if self.tripped else 0.0

    def allow(self) -> bool:
        """Whether a call may go through; if so, say how it went with ``succeeded`` or ``failed``."""
        if not self.tripped:
            return True
        with self._lock:
            if self.state != "half_open":
                return not self.tripped
            # A probe that never said how it went gives its place up after another reset time.
            if self._probing >= self._probes and self._clock() - self._probed < max(self._reset, 1.0):
                return False
            self._probing = min(self._probing + 1, self._probes)
            self._probed = self._clock()
            return True

    def succeeded(self) -> None:
        """A call went well."""
        if not self.tripped:
            return
        with self._lock:
            self._succeeded += 1
            self._probing = max(0, self._probing - 1)
            if self._succeeded >= self._probes:
                self._close()

    def failed(self) -> None:
        """A call failed in a way that may pass."""
        with self._lock:
            now = self._clock()
            self._failed.append(now)
            if self.tripped or (len(self._failed) == self._limit and now - self._failed[0] <= self._window):
                self.tripped, self._opened = True, now
                self._probing = self._succeeded = 0

    def _close(self) -> None:
        self.tripped = False
        self._failed.clear()
        self._probing = self._succeeded = 0
