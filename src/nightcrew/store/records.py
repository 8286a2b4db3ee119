"""Session records, and what finds them: words in SQLite's FTS5 or Postgres's text search, tickets and files.

The order of what is found is not decided here: see ``model.recalling``.
"""

import builtins
import contextlib
import math
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, func, insert, select, text

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import DocumentError, IntegrityError
from nightcrew.model.recalling import Hit, rarity
from nightcrew.model.record import SessionRecord
from nightcrew.model.words import indexed
from nightcrew.store import ledger, rows
from nightcrew.store.schema import records
from nightcrew.store.schema_outside import record_links
from nightcrew.store.store import Tx

MOST_HITS = 500
"""Records that one word brings in at most: those that are most about it."""

_SATURATED = 2.2  # what BM25 gives for a word that a text repeats without end, at its k1 of 1.2
_RANK_SATURATED = 0.1  # what ts_rank gives for that
_PAGE = 500
_LONGEST_LINK = 500

_SQLITE_COUNT = text("SELECT count(*) FROM records_fts WHERE records_fts MATCH :word")
_SQLITE = text(
    "SELECT r.session, -bm25(records_fts) AS score FROM records_fts JOIN records r ON r.session = records_fts.session "
    "WHERE records_fts MATCH :word AND r.created >= :since ORDER BY score DESC, r.created DESC LIMIT :most"
)
_POSTGRES_COUNT = text("SELECT count(*) FROM records WHERE vector @@ to_tsquery('english', :word)")
_POSTGRES = text(
    "SELECT session, ts_rank(vector, to_tsquery('english', :word)) AS score FROM records "
    "WHERE vector @@ to_tsquery('english', :word) AND created >= :since "
    "ORDER BY score DESC, created DESC LIMIT :most"
)


def put(tx: Tx, record: SessionRecord, *, actor: str = "nightcrew") -> None:
    """Store what a session left, in place of what it left before."""
    doc, words = rows.to_json(record.plain()), text_of(record)
    if _doc(tx, record.session) == doc:
        return
    tx.connection.execute(delete(records).where(records.c.session == record.session))
    row = {"session": record.session, "created": rows.to_time(record.created), "doc": doc, "text": words}
    tx.connection.execute(insert(records).values(row))
    if tx.on_sqlite:
        tx.connection.execute(text("DELETE FROM records_fts WHERE session = :session"), {"session": record.session})
        tx.connection.execute(text("INSERT INTO records_fts (session, text) VALUES (:session, :text)"), row)
    tx.connection.execute(delete(record_links).where(record_links.c.session == record.session))
    if links := links_of(record):
        tx.connection.execute(insert(record_links), links)
    data = {"title": record.title, "sha256": sha256_hex(doc.encode())}
    ledger.append(tx, actor=actor, action="record.write", subject=f"session:{record.session}", data=data)


def get(tx: Tx, session: str) -> SessionRecord | None:
    """What a session left, None if nothing."""
    doc = _doc(tx, session)
    return None if doc is None else _record(doc)


def some(tx: Tx, sessions: Collection[str]) -> builtins.list[SessionRecord]:
    """What these sessions left, in no order; a row that is no record is passed over."""
    found: builtins.list[SessionRecord] = []
    names = sorted(sessions)
    for start in range(0, len(names), _PAGE):
        query = select(records.c.doc).where(records.c.session.in_(names[start : start + _PAGE]))
        for doc in tx.connection.execute(query).scalars():
            with contextlib.suppress(IntegrityError):
                found.append(_record(doc))
    return found


def list(
    tx: Tx, *, limit: int | None = None, since: datetime | None = None, broken: builtins.list[str] | None = None
) -> builtins.list[SessionRecord]:
    """Records, latest first; those written from ``since`` on. What is none raises, or is told in ``broken``."""
    query = select(records.c.doc).order_by(records.c.created.desc(), records.c.session.desc()).limit(limit)
    if since is not None:
        query = query.where(records.c.created >= rows.to_time(since))
    found = []
    for doc in tx.connection.execute(query).scalars():
        try:
            found.append(_record(doc))
        except IntegrityError as error:
            if broken is None:
                raise
            broken.append(str(error))
    return found


def count(tx: Tx) -> int:
    """How many there are."""
    return int(tx.connection.execute(select(func.count()).select_from(records)).scalar_one())


def hits(tx: Tx, word: str, *, total: int, since: datetime | None = None) -> tuple[builtins.list[Hit], float]:
    """The records that have a word in any of its forms, most about it first, and what it tells of ``total`` records.

    ``word`` is one of ``model.words``: letters and digits, so that none of it is read as an operator.
    """
    count_of, find = (_SQLITE_COUNT, _SQLITE) if tx.on_sqlite else (_POSTGRES_COUNT, _POSTGRES)
    quoted = f'"{word}"' if tx.on_sqlite else f"'{word}'"
    having = int(tx.connection.execute(count_of, {"word": quoted}).scalar_one())
    if not having:
        return [], rarity(total, 0)
    since_text = rows.to_time(since) or ""
    found = tx.connection.execute(find, {"word": quoted, "since": since_text, "most": MOST_HITS})
    most = _most(total, having) if tx.on_sqlite else _RANK_SATURATED
    return [Hit(row.session, min(1.0, row.score / most)) for row in found], rarity(total, having)


def linked(
    tx: Tx, kind: Literal["ticket", "file"], values: Iterable[str], *, since: datetime | None = None
) -> dict[str, set[str]]:
    """The sessions that worked a ticket or touched a file, by the ticket or the file."""
    found: dict[str, set[str]] = {}
    names = sorted(set(values))
    for start in range(0, len(names), _PAGE):
        query = select(record_links.c.value, record_links.c.session).where(
            record_links.c.kind == kind, record_links.c.value.in_(names[start : start + _PAGE])
        )
        if since is not None:
            query = query.join(records, records.c.session == record_links.c.session)
            query = query.where(records.c.created >= rows.to_time(since))
        for value, session in tx.connection.execute(query):
            found.setdefault(value, set()).add(session)
    return found


def verify(tx: Tx, session: str) -> None:
    """Raises IntegrityError unless what a session left is what nightcrew wrote."""
    record = get(tx, session)
    if record is None or not is_vouched(tx, record):
        raise IntegrityError(f"the ledger does not vouch for the record of {session}")


def is_vouched(tx: Tx, record: SessionRecord) -> bool:
    """Whether the sealed ledger says that nightcrew wrote the record, and these very bytes of it."""
    said = [e for e in ledger.entries(tx, subject=f"session:{record.session}") if e.action == "record.write"]
    if not said:
        return False
    digest = sha256_hex(rows.to_json(record.plain()).encode())
    try:
        ledger.check(tx, said[-1])
        return bool(ledger.data(said[-1]).get("sha256", digest) == digest)  # entries of before have no digest
    except IntegrityError:
        return False


def text_of(record: SessionRecord) -> str:
    """The words of a record as they are indexed: those of its title count three times, those of questions twice."""
    titles, questions = (record.title,) * 3, (*record.questions, *record.questions)
    return indexed(
        (*titles, record.summary, *record.decisions, *questions, *record.files, *record.tickets, record.agent)
    )


def links_of(record: SessionRecord) -> builtins.list[dict[str, str]]:
    """The rows of its tickets and files, but for names that no file has and no index holds."""
    named = {("ticket", value) for value in record.tickets} | {("file", value) for value in record.files}
    fit = sorted((kind, value) for kind, value in named if "\0" not in value and len(value) <= _LONGEST_LINK)
    return [{"kind": kind, "value": value, "session": record.session} for kind, value in fit]


def _most(total: int, having: int) -> float:
    """The best that FTS5's bm25 gives for a word: its own weight of a rare word (never below 1e-6), times k1 + 1."""
    weight = math.log((total - having + 0.5) / (having + 0.5))
    return _SATURATED * (weight if weight > 0 else 1e-6)


def _doc(tx: Tx, session: str) -> str | None:
    return tx.connection.execute(select(records.c.doc).where(records.c.session == session)).scalar()


def _record(doc: Any) -> SessionRecord:
    try:
        return SessionRecord.read(rows.from_json(doc, where="a session record"), source="a session record")
    except DocumentError as error:
        raise IntegrityError(str(error)) from None
