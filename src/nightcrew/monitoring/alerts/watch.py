"""Watching: looking at the rules every so often and sending what follows, in whatever process runs anyway."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nightcrew.model.errors import NightcrewError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE, SettingsFile
from nightcrew.monitoring.alerts.delivery import PASS_SECONDS, Delivered, deliver
from nightcrew.monitoring.alerts.evaluate import Evaluation, evaluate
from nightcrew.monitoring.alerts.probes import probes_of
from nightcrew.store.store import Store

_log = logging.getLogger("nightcrew.alerts")
_Found = TypeVar("_Found")


class Watcher:
    """Looks at the rules of the ``nightcrew.toml`` beside ``state_dir``, and without one at nightcrew's own.

    Several may watch one store: at most one alert and one message come of what they all find. Nothing that goes wrong
    stops the work beside which it watches. ``monotonic`` is what it goes by to know when it is time; ``before`` takes
    readings before each look. At the end it waits ``last_seconds`` for a look that still goes on, and as long for
    channels: what is not sent by then stays in the outbox, and whoever watches next sends it.
    """

    def __init__(
        self,
        store: Store,
        state_dir: Path,
        *,
        last_seconds: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._root = state_dir.parent
        self._probes = probes_of(state_dir)
        self._file = SettingsFile(self._root / SETTINGS_FILE)
        self._monotonic = monotonic
        self._before = before
        self._last_seconds = last_seconds
        self._due = float("-inf")
        self._lock = threading.Lock()

    @property
    def every_seconds(self) -> float:
        """How often it looks."""
        return self._file.now().alerts.every_seconds

    def tick(self) -> Evaluation | None:
        """Look if it is time, else None; a second thread that comes meanwhile gets None too."""
        if self._monotonic() < self._due or not self._lock.acquire(blocking=False):
            return None
        try:
            return self._look()
        finally:
            self._due = self._monotonic() + self.every_seconds
            self._lock.release()

    def look(self) -> Evaluation:
        """Look now, and send what is due; what went wrong is in the evaluation's problems, and is never raised."""
        with self._lock:
            return self._look()

    def _look(self, within: float = PASS_SECONDS) -> Evaluation:
        problems: list[str] = []
        _attempt(self._before, None, "readings could not be taken", problems)
        settings = self._file.now()
        found = _attempt(
            lambda: evaluate(self._store, settings, probes=self._probes, problem=self._file.problem),
            Evaluation(), "alerts could not be looked at", problems,
        )  # fmt: skip
        delivered = _attempt(
            lambda: deliver(self._store, settings, root=self._root, within=within),
            Delivered(), "messages could not be sent", problems,
        )  # fmt: skip
        return replace(found, problems=[*found.problems, *problems, *delivered.problems])

    def _last_look(self) -> None:
        """Look at the end, in a bounded time; while another look still goes on, only write what is to be sent."""
        if not self._lock.acquire(blocking=False):
            settings = self._file.now()
            evaluate(self._store, settings, probes=self._probes, problem=self._file.problem)
            return
        try:
            self._look(self._last_seconds)
        finally:
            self._lock.release()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch in a thread meanwhile, and look once more at the end."""
        stop = threading.Event()
        thread = threading.Thread(target=self._until, args=(stop,), name="alerts", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(self._last_seconds)
            self._guarded(self._last_look)

    def _until(self, stop: threading.Event) -> None:
        while not stop.wait(min(1.0, self.every_seconds)):
            self._guarded(self.tick)

    def _guarded(self, look: Callable[[], object]) -> None:
        try:
            look()
        except Exception:
            # A bug in watching must not end the watch unseen, nor the work.
            _log.exception("alerts could not be looked at")


def _attempt(step: Callable[[], _Found], otherwise: _Found, failed: str, problems: list[str]) -> _Found:
    """One step of a look: what goes wrong in it is a problem, and stops none of the steps that follow."""
    try:
        return step()
    except NightcrewError as error:
        _log.warning("%s: %s", failed, error)
        problems.append(f"{failed}: {error}")
    except Exception as error:
        _log.exception("%s", failed)
        problems.append(f"{failed}: {type(error).__name__}")
    return otherwise
