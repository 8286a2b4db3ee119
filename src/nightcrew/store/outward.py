"""Writing results into a table of somebody else's database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Float, MetaData, Table, Text
from sqlalchemy.dialects import sqlite

from nightcrew.store.connection import create_database_engine, database_errors, is_sqlite


def upsert(url: str, name: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows, or update those whose ``key`` is there, in one transaction; gives how many.

    The table is made if it is missing. Raises what :func:`database_errors` makes of a failure.
    """
    if not rows:
        return 0
    table = Table(
        name,
        MetaData(),
        Column("key", Text, primary_key=True),
        Column("status", Text, nullable=False),
        Column("output", Text),
        Column("confidence", Float(53)),
        Column("made_by", Text, nullable=False),
        Column("notice", Text, nullable=False),
    )
    insert: Any = sqlite.insert
    if not is_sqlite(url):
        from sqlalchemy.dialects import postgresql  # a tenth of every start, and most have no use for it

        insert = postgresql.insert
    engine = create_database_engine(url)
    try:
        with database_errors(url), engine.begin() as connection:
            table.create(connection, checkfirst=True)
            statement = insert(table)
            changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name != "key"}
            connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=changed), list(rows))
    finally:
        engine.dispose()
    return len(rows)
