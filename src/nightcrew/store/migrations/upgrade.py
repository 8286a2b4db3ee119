"""Bring a database's tables up to date, in one transaction; nothing else imports Alembic."""

from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, text

from nightcrew.model.errors import ConfigurationError
from nightcrew.store import schema
from nightcrew.store.metadata import metadata

VERSION_TABLE = "nightcrew_migrations"
"""Not Alembic's default name: other tools on the same database may use that."""

_SEARCH = frozenset({"ix_records_search", "vector"})
"""What the search through session records has on Postgres only."""

_LOCK = 1_852_011_107


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations that are missing up to ``revision``, and note where the tables are in ``meta``.

    Two processes may do so at once: the second waits, and finds nothing to do. Raises ConfigurationError if the
    database was made by a newer nightcrew.
    """
    if connection.dialect.name != "sqlite":  # on SQLite the transaction has the write lock already
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    _refuse_newer(connection, script)
    environment = EnvironmentContext(
        config, script, fn=lambda current, _context: script._upgrade_revs(revision, current)
    )
    with environment:
        environment.configure(
            connection=connection, target_metadata=metadata, version_table=VERSION_TABLE, transactional_ddl=True
        )
        environment.run_migrations()
    _note(connection)


def differences(connection: Connection) -> list[Any]:
    """What differs between the tables of the database and those of ``schema``; other libraries' are left out."""
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "include_object": _is_ours, "compare_type": True}
    )
    return list(compare_metadata(context, metadata))


def _is_ours(_item: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    if kind == "table":
        return name in metadata.tables
    return name not in _SEARCH


def _refuse_newer(connection: Connection, script: ScriptDirectory) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    current = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    if current is not None and current not in known:
        raise ConfigurationError(
            f"the database is at revision {current}, which this nightcrew does not know",
            hint="A newer nightcrew made it: install that version or a later one.",
        )


def _note(connection: Connection) -> None:
    current = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    connection.execute(delete(schema.meta).where(schema.meta.c.key == "revision"))
    connection.execute(insert(schema.meta).values(key="revision", value=current))
