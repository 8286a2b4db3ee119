"""Watching: looking at the rules every so often and sending what follows, in whatever process runs anyway."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nightcrew.model.errors import NightcrewError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE, SettingsFile
from nightcrew.monitoring.alerts.delivery import deliver
from nightcrew.monitoring.alerts.evaluate import Evaluation, evaluate
from nightcrew.monitoring.alerts.probes import probes_of
from nightcrew.store.store import Store

_log = logging.getLogger("nightcrew.alerts")


class Watcher:
    """Looks at the rules of the ``nightcrew.toml`` beside ``state_dir``, and without one at nightcrew's own.

    Several may watch one store: at most one alert and one message come of what they all find. Nothing that goes wrong
    stops the work beside which it watches. ``monotonic`` is what it goes by to know when it is time; ``before`` takes
    readings before each look.
    """

    def __init__(
        self,
        store: Store,
        state_dir: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._root = state_dir.parent
        self._probes = probes_of(state_dir)
        self._file = SettingsFile(self._root / SETTINGS_FILE)
        self._monotonic = monotonic
        self._before = before
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

    def _look(self) -> Evaluation:
        found = Evaluation()
        try:
            self._before()
            settings = self._file.now()
            found = evaluate(self._store, settings, probes=self._probes, problem=self._file.problem)
            delivered = deliver(self._store, settings, root=self._root)
        except NightcrewError as error:
            _log.warning("alerts could not be looked at: %s", error)
            return replace(found, problems=[*found.problems, str(error)])
        return replace(found, problems=[*found.problems, *delivered.problems])

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
            thread.join()
            self._guarded(self.look)

    def _until(self, stop: threading.Event) -> None:
        while not stop.wait(min(1.0, self.every_seconds)):
            self._guarded(self.tick)

    def _guarded(self, look: Callable[[], object]) -> None:
        try:
            look()
        except Exception:
            # A bug in watching must not end the watch unseen, nor the work.
            _log.exception("alerts could not be looked at")
