"""The files that people read: written whole or not at all, and made again from the database if they are missing."""

import os
import tempfile
from pathlib import Path

from nightcrew.crew.project import Project
from nightcrew.model.errors import ConfigurationError
from nightcrew.store import handoffs


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, flush it to disk and rename it over ``path``.

    Raises ConfigurationError if the folder cannot be written or the disk is full; ``path`` is untouched then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def handoff_path(project: Project, handoff_id: str) -> Path:
    """Where the file of a handoff lies."""
    return project.state_dir / "handoffs" / f"{handoff_id}.md"


def publish_handoffs(project: Project, ids: "list[str] | None" = None) -> None:
    """Write the files of these handoffs (default: all) that are missing; one that exists is never overwritten."""
    with project.store.read() as tx:
        found = [handoff.id for handoff in handoffs.list(tx)] if ids is None else ids
        missing = [
            (path, handoffs.get(tx, name)[1]) for name in found if not (path := handoff_path(project, name)).exists()
        ]
    for path, data in missing:
        write_atomically(path, data)
