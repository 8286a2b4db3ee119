"""A copy of the state database while others may write to it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from nightcrew.model.errors import ConfigurationError


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database, as of one moment, to the new file ``target``; raises ConfigurationError if it cannot."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written)
            # One file, to be carried about: what reads it next turns its own journal on again.
            written.execute("pragma journal_mode = delete")
    except sqlite3.Error as error:
        raise ConfigurationError(f"{source} cannot be copied: {error}") from None
