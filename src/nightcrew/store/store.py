"""The state database, opened: transactions for everything that the repository modules of this package do.

There is one writer at a time, on SQLite by its own lock and on Postgres by a row that every writer updates first. So a
counter, the head of the ledger and a cap on turns can be read and then written without another look, and no two
writers can wait for each other. A serialisable transaction of somebody else's that came second is told so by Postgres
(40001), which the durable engine answers by running it again.
"""

import hmac
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError

from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.model.entry import seal
from nightcrew.model.errors import IntegrityError
from nightcrew.store import schema
from nightcrew.store.connection import create_database_engine, explain, is_sqlite, reading

WRITER = "writer"


@dataclass(frozen=True)
class Tx:
    """A transaction: where statements go, the time, and the key (bytes) that seals entries of the ledger."""

    connection: Connection
    clock: Clock
    seal_key: bytes = field(repr=False)

    def now(self) -> datetime:
        """The time now, in UTC."""
        return self.clock()

    def stamp(self) -> str:
        """The time now as it is stored: RFC 3339 in UTC with microseconds."""
        return isoformat(self.clock())

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is SQLite; else it is Postgres."""
        return self.connection.dialect.name == "sqlite"


class Store:
    """The database at ``url``, its tables made or brought up to date."""

    def __init__(self, url: str, *, seal_key: bytes, clock: Clock = system_clock) -> None:
        """Open it. Tables that are missing are made.

        Raises ConfigurationError (cannot be written or reached, or a newer nightcrew made it), IntegrityError (a
        damaged file), TransientError (no space left).
        """
        self._url = url
        self._clock = clock
        self._seal_key = seal_key
        self._is_ours = False
        self.engine: Engine = create_database_engine(url)
        self._reading = reading(self.engine)
        if not is_sqlite(url):
            self._reading = self._reading.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        try:
            with self._explained():
                if schema_revision(self._reading) != schema.REVISION:
                    self._migrate()
        except BaseException:
            self.engine.dispose()
            raise

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """A transaction that writes: committed at the end, rolled back by an exception. Waits for another writer.

        Raises IntegrityError if the ledger was begun under another seal: an entry of ours would break it for good.
        """
        with self._explained(), self.engine.begin() as connection:
            yield self.bind(connection)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only reads, all of it as of one moment; neither waits for writers nor stops them."""
        with self._explained(), self._reading.begin() as connection:
            yield Tx(connection, self._clock, self._seal_key)

    def require_ours(self) -> None:
        """Raises IntegrityError where ``begin`` would, before there is something to write."""
        with self.read() as tx:
            _is_begun(tx)

    def bind(self, connection: Connection) -> Tx:
        """A writing transaction on a connection whose transaction somebody else began and commits."""
        if connection.dialect.name != "sqlite":
            table = schema.counters
            connection.execute(update(table).where(table.c.name == WRITER).values(value=table.c.value + 1))
        tx = Tx(connection, self._clock, self._seal_key)
        self._is_ours = self._is_ours or _is_begun(tx)
        return tx

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def _migrate(self) -> None:
        from nightcrew.store.migrations.upgrade import upgrade

        with self.engine.begin() as connection:
            upgrade(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn failures of the database, and of nothing else, into errors of ours."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            explained = explain(error, self._url)
            if explained is None:
                raise
            raise explained from error


def _is_begun(tx: Tx) -> bool:
    """Whether the ledger has an entry, under our seal; raises IntegrityError if it is another's.

    Another user, home or machine is no attack, but an entry of its own would look like one from then on.
    """
    columns = schema.ledger.c
    first = tx.connection.execute(select(columns.hash, columns.seal).where(columns.seq == 1)).one_or_none()
    if first is not None and not hmac.compare_digest(seal(tx.seal_key, first.hash), first.seal):
        raise IntegrityError(
            "this state was begun with another configuration directory: its ledger has the seal of another key",
            hint="Be the user who prepared it (HOME, NIGHTCREW_CONFIG_DIR); on a new machine copy its trust folder.",
        )
    return first is not None


def schema_revision(engine: Engine) -> str | None:
    """The migration that the database is at, as its ``meta`` table says; None if it has no tables of ours."""
    with engine.begin() as connection:
        if not inspect(connection).has_table(schema.meta.name):
            return None
        query = select(schema.meta.c.value).where(schema.meta.c.key == "revision")
        return connection.execute(query).scalar()
