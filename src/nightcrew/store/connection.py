"""How nightcrew connects to its database: SQLite in WAL mode, or Postgres.

SQLite's own defaults are wrong for several processes: a transaction that reads and then writes can fail at once with
"database is locked", and Python's driver starts it only before the first write, so that the reads are outside. Here
every transaction takes the write lock at its beginning and waits for it; :func:`reading` gives the engine for those
that only read.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from nightcrew.model.errors import BusyError, ConfigurationError, IntegrityError, NightcrewError, TransientError

__all__ = [
    "Connection",
    "Engine",
    "Table",
    "create_database_engine",
    "create_system_engine",
    "database_errors",
    "explain",
    "is_sqlite",
    "reading",
    "sqlite_path",
]

BUSY_TIMEOUT_MS = 30_000
"""How long a SQLite connection waits for another process's write, in milliseconds."""

_READ_ONLY = "nightcrew_read_only"


def is_sqlite(url: str) -> bool:
    """Whether ``url`` names a SQLite database."""
    return url.startswith("sqlite")


def sqlite_path(url: str) -> Path:
    """The file of the SQLite database that ``url`` names; raises ConfigurationError if it is in memory."""
    database = make_url(url).database
    if not database or database == ":memory:":
        raise ConfigurationError(f"{url} is a database in memory; durable state needs a file")
    return Path(database)


def create_database_engine(url: str) -> Engine:
    """An engine for our own tables in the database at ``url`` (``sqlite:///FILE`` or ``postgresql://...``).

    On SQLite a transaction takes the write lock when it begins, waiting up to 30 s for it. Nothing is connected yet.
    Raises ConfigurationError if the URL cannot be understood.
    """
    with database_errors(url):
        if not is_sqlite(url):
            return create_engine(_psycopg_url(url), pool_size=10, max_overflow=10, pool_pre_ping=True)
        engine = create_engine(url, pool_size=10, max_overflow=20)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def create_system_engine(url: str) -> Engine:
    """An engine for the tables of the durable execution library, in the same SQLite database at ``url``.

    It differs from :func:`create_database_engine` in that a transaction takes the write lock at its first write. The
    library reads on a second connection while it writes on a first, which would wait for itself otherwise.
    """
    engine = create_engine(url, pool_size=20, max_overflow=30)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "connect", _begin_at_first_write)
    return engine


def reading(engine: Engine) -> Engine:
    """``engine`` for transactions that only read: on SQLite they neither take nor wait for the write lock."""
    return engine.execution_options(**{_READ_ONLY: True})


def explain(error: BaseException, where: str) -> NightcrewError | None:
    """The error of ours that says what a failure of the database at ``where`` means, or None if it is not one."""
    if isinstance(error, NightcrewError):
        return error
    if isinstance(error, PoolTimeoutError):
        return BusyError(f"every connection to {_printable(where)} is in use")
    if isinstance(error, NoSuchModuleError):
        return ConfigurationError(f"{_printable(where)} is not a database that nightcrew knows: {error}")
    if isinstance(error, DBAPIError):
        return _explain_driver(error.orig or error, where)
    if isinstance(error, sqlite3.Error | OSError):
        return _explain_driver(error, where)
    return None


@contextmanager
def database_errors(where: str) -> Iterator[None]:
    """Turn failures of the database at ``where`` into ConfigurationError, TransientError or IntegrityError."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        explained = explain(error, where)
        if explained is None:
            raise
        raise explained from error


def _explain_driver(error: BaseException, where: str) -> NightcrewError | None:
    text, place = str(error).strip(), _printable(where)
    lowered = text.lower()
    if "malformed" in lowered or "not a database" in lowered:
        return IntegrityError(
            f"the database {place} is damaged: {text}",
            hint="Stop nightcrew, keep a copy of the file, and restore the database from a backup.",
        )
    if "is full" in lowered or _errno(error) in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(f"no space left for {place}: {text}", hint="Free disk space, then run the command again.")
    if "readonly" in lowered or "unable to open" in lowered or isinstance(error, OSError):
        return _cannot_write(place, text)
    if "locked" in lowered:
        return BusyError(f"another process has held {place} for {BUSY_TIMEOUT_MS / 1000:g} seconds")
    if "authentication" in lowered or ("does not exist" in lowered and "database" in lowered):
        return ConfigurationError(f"cannot connect to {place}: {text}")
    if isinstance(error, sqlite3.OperationalError) or type(error).__name__ == "OperationalError":
        return TransientError(f"the database {place} failed: {text}")
    return None


def _cannot_write(place: str, text: str) -> ConfigurationError:
    return ConfigurationError(
        f"cannot write {place}: {text}",
        hint="Make the directory exist and be writable for the user that runs nightcrew.",
    )


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _printable(where: str) -> str:
    """``where`` without a password."""
    return make_url(where).render_as_string(hide_password=True) if "://" in where else where


def _psycopg_url(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # Ours to begin; see _begin.
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",  # First: the others may meet a lock.
        "journal_mode=WAL",
        # FULL, not NORMAL: in WAL mode NORMAL can lose the last commits when the power fails.
        "synchronous=FULL",
        "foreign_keys=ON",
        # A trigger or view that someone else wrote into the file gets no functions with side effects.
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_at_first_write(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
