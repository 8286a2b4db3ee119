"""The project that the server works on, opened once, and again when its settings or its playbook change."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from nightcrew.crew.project import STATE, Project
from nightcrew.crew.project import open_project as open_by_path
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE

Open = Callable[[Path], Project]


class Opened:
    """Gives the project to each request. Its store has a pool of connections, so that threads share it."""

    def __init__(self, root: Path, open_project: Open | None = None) -> None:
        self._root = root
        self._open: Open = open_project or open_by_path
        self._files = (root / SETTINGS_FILE, root / STATE / "playbook.md")
        self._lock = Lock()
        self._project: Project | None = None
        self._mark: object = None

    def project(self) -> Project:
        """The project as its files say now; raises as ``open_project``."""
        with self._lock:
            mark = [_mark(path) for path in self._files]
            if self._project is None or mark != self._mark:
                before, self._project = self._project, None
                if before is not None:
                    before.close()
                self._project, self._mark = self._open(self._root), mark
                # Both are made on first use, which must not be by two threads at once.
                _ = self._project.store, self._project.repository_id
            return self._project

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            if self._project is not None:
                self._project.close()
                self._project = None


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
