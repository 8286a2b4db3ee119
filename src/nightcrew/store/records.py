"""Session records and the search through them: SQLite's FTS5, or Postgres's text search."""

import builtins
import re
from typing import Any

from sqlalchemy import delete, insert, select, text

from nightcrew.model.errors import DocumentError, IntegrityError
from nightcrew.model.record import Recalled, SessionRecord
from nightcrew.store import ledger, rows
from nightcrew.store.schema import records
from nightcrew.store.store import Tx

_WORD = re.compile(r"[^\W_]+")  # both databases split names at other characters, each at its own
_MOST_WORDS = 64

_SQLITE = text(
    "SELECT r.doc, -bm25(records_fts) AS score FROM records_fts JOIN records r ON r.session = records_fts.session "
    "WHERE records_fts MATCH :query ORDER BY score DESC, r.created DESC LIMIT :most"
)
_POSTGRES = text(
    "SELECT doc, ts_rank(to_tsvector('english', text), to_tsquery('english', :query)) AS score FROM records "
    "WHERE to_tsvector('english', text) @@ to_tsquery('english', :query) ORDER BY score DESC, created DESC LIMIT :most"
)


def put(tx: Tx, record: SessionRecord, *, actor: str = "nightcrew") -> None:
    """Store what a session left, in place of what it left before."""
    doc, words = rows.to_json(record.plain()), _text(record)
    if _doc(tx, record.session) == doc:
        return
    tx.connection.execute(delete(records).where(records.c.session == record.session))
    row = {"session": record.session, "created": rows.to_time(record.created), "doc": doc, "text": words}
    tx.connection.execute(insert(records).values(row))
    if tx.on_sqlite:
        tx.connection.execute(text("DELETE FROM records_fts WHERE session = :session"), {"session": record.session})
        tx.connection.execute(text("INSERT INTO records_fts (session, text) VALUES (:session, :text)"), row)
    ledger.append(
        tx, actor=actor, action="record.write", subject=f"session:{record.session}", data={"title": record.title}
    )


def get(tx: Tx, session: str) -> SessionRecord | None:
    """What a session left, None if nothing."""
    doc = _doc(tx, session)
    return None if doc is None else _record(doc)


def search(tx: Tx, query: str, limit: int = 10) -> builtins.list[Recalled]:
    """Up to ``limit`` records that hold any word of ``query``, best first; a query without words gives the latest.

    ``query`` is plain text: none of it is read as an operator.
    """
    words = list_of_words(query)
    if not words:
        return [Recalled(record=record, score=0.0) for record in list(tx, limit=limit)]
    if tx.on_sqlite:
        statement, wanted = _SQLITE, " OR ".join(f'"{word}"' for word in words)
    else:
        statement, wanted = _POSTGRES, " | ".join(f"'{word}'" for word in words)
    found = tx.connection.execute(statement, {"query": wanted, "most": limit})
    return [Recalled(record=_record(row.doc), score=row.score) for row in found]


def list(tx: Tx, *, limit: int | None = None) -> builtins.list[SessionRecord]:
    """Records, latest first."""
    query = select(records.c.doc).order_by(records.c.created.desc(), records.c.session.desc()).limit(limit)
    return [_record(doc) for doc in tx.connection.execute(query).scalars()]


def list_of_words(query: str) -> builtins.list[str]:
    """The words of a query, each once, letters and digits only, the first 64."""
    return builtins.list(dict.fromkeys(_WORD.findall(query)))[:_MOST_WORDS]


def _text(record: SessionRecord) -> str:
    """The words of a record, as a query's are split."""
    parts = (record.title, record.summary, *record.decisions, *record.questions, *record.files, *record.tickets)
    return " ".join(_WORD.findall("\n".join((*parts, record.agent))))


def _doc(tx: Tx, session: str) -> str | None:
    return tx.connection.execute(select(records.c.doc).where(records.c.session == session)).scalar()


def _record(doc: Any) -> SessionRecord:
    try:
        return SessionRecord.read(rows.from_json(doc, where="a session record"), source="a session record")
    except DocumentError as error:
        raise IntegrityError(str(error)) from None
