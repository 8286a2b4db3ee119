"""Ids for completion in a shell, newest first, read straight from the file: an answer in milliseconds, or none."""

import sqlite3
from contextlib import closing
from itertools import islice
from pathlib import Path

_QUERIES = {
    "ticket": "select id, state || ': ' || title from tickets order by length(id) desc, id desc",
    "review": "select id, severity || ' ' || ticket || ': ' || reason from reviews"
    " order by decided is not null, length(id) desc, id desc",
    "handoff": "select id, sender || ' to ' || desk || ', ' || coalesce(ticket, '') from handoffs"
    " order by length(id) desc, id desc",
    "session": "select id, agent || ', ' || coalesce(outcome, state) from sessions order by length(id) desc, id desc",
    "shift": "select id, substr(started, 1, 10) || ', ' || coalesce(outcome, state) from shifts"
    " order by length(id) desc, id desc",
    "alert": "select id, state || ': ' || rule || ' ' || subject from alerts"
    " order by resolved is not null, length(id) desc, id desc",
    "silence": "select id, rule || ' ' || subject from silences where ended is null order by id desc",
    "schedule": "select name, '' from schedules order by name",
    "pipeline": "select name, '' from pipelines order by name",
}


def ids(database: Path, kind: str, begins: str = "", *, limit: int = 100) -> list[tuple[str, str]]:
    """Ids of ``kind`` that begin so, in either case, with what they are.

    There are none if the database is not there, busy, or not of this release.
    """
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as connection:
            rows = ((str(identifier), str(what)) for identifier, what in connection.execute(_QUERIES[kind]))
            return list(islice((row for row in rows if row[0].casefold().startswith(begins.casefold())), limit))
    except sqlite3.Error:
        return []
