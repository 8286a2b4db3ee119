"""A copy of the state database while others may write to it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from nightcrew.model.errors import ConfigurationError


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database, as of one moment, to the new file ``target``; raises ConfigurationError if it cannot.

    Nothing is written at ``source``; beside one that is in use, SQLite keeps files of its own.
    """
    try:
        # Of a database at rest, reading it as one that may change would leave an empty journal beside it.
        if (mark := _at_rest(source)) is not None:
            _copy(source, target, "immutable=1")
            if _at_rest(source) == mark:
                return
            target.unlink()
        _copy(source, target, "mode=ro")
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(f"{source} cannot be copied: {error}") from None


def _at_rest(source: Path) -> tuple[int, int] | None:
    """When it was written last and how large it is, if no process has it open; else None."""
    if source.with_name(f"{source.name}-wal").exists():
        return None
    found = source.stat()
    return found.st_mtime_ns, found.st_size


def _copy(source: Path, target: Path, how: str) -> None:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?{how}", uri=True)) as read,
        closing(sqlite3.connect(target)) as written,
    ):
        read.backup(written)
        # One file, to be carried about: what reads it next turns its own journal on again.
        written.execute("pragma journal_mode = delete")
