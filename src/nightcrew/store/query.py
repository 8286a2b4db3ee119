"""The rows of somebody else's query, streamed."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import text

from nightcrew.store.connection import create_database_engine, database_errors, reading

_PAGE = 1000


def rows(url: str, query: str) -> Iterator[dict[str, Any]]:
    """Each row as a dict of column names. Raises what :func:`database_errors` makes of a failure."""
    engine = create_database_engine(url)
    try:
        with database_errors(url), reading(engine).connect() as connection:
            found = connection.execution_options(stream_results=True, yield_per=_PAGE).execute(text(query))
            for row in found.mappings():
                yield dict(row)
    finally:
        engine.dispose()
