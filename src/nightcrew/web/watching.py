"""While the dashboard is served, alerts are looked at: nothing else may be running when something does not happen."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nightcrew.crew.alerting import watcher
from nightcrew.crew.project import Project
from nightcrew.monitoring.alerts.watch import Watcher
from nightcrew.web.opened import Opened

_log = logging.getLogger("nightcrew.alerts")


@contextmanager
def watching(opened: Opened) -> Iterator[None]:
    """Look at the alerts of the project in a thread meanwhile."""
    stop = threading.Event()
    thread = threading.Thread(target=_until, args=(opened, stop), name="alerts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10.0)  # A channel may take long; what it has not taken, whoever watches next sends.


def _until(opened: Opened, stop: threading.Event) -> None:
    known: tuple[Project, Watcher] | None = None
    while not stop.wait(1.0):
        try:
            project = opened.project()
            if known is None or known[0] is not project:  # It is opened anew when its settings change.
                known = project, watcher(project)
            known[1].tick()
        except Exception:
            # Whatever is wrong with the project is told by every page; watching goes on when it is right again.
            _log.warning("alerts could not be looked at", exc_info=True)
            stop.wait(15.0)
