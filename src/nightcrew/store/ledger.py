"""The ledger: every state change, hash-chained and sealed, appended in the transaction of the change itself."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring as _quote
from typing import Any

from sqlalchemy import insert, select

from nightcrew.model.canonical import canonical_json
from nightcrew.model.clock import isoformat
from nightcrew.model.entry import GENESIS, Entry, broken, entry_hash, seal
from nightcrew.model.errors import DocumentError, IntegrityError
from nightcrew.store.schema import ledger
from nightcrew.store.store import Tx

__all__ = [
    "Entry",
    "append",
    "check",
    "data",
    "entries",
    "genesis",
    "head",
    "latest_for",
    "subjects_between",
    "verify",
]

_PAGE = 1000
_RUN = 5000
_INSERT = insert(ledger)
_HEAD = select(ledger).order_by(ledger.c.seq.desc()).limit(1)
_COLUMNS = "seq, at, actor, action, subject, data, prev, hash, seal"


def append(tx: Tx, *, actor: str, action: str, subject: str, data: Mapping[str, Any]) -> Entry:
    """Add one entry and give it. ``subject`` is ``noun:id``; ``data`` is anything that JSON has a form for.

    Raises DocumentError for text that no encoding holds.
    """
    before = head(tx)
    seq, prev = (before.seq + 1, before.hash) if before else (1, GENESIS)
    text = _canonical(data)
    at = tx.stamp()
    hashed = entry_hash(seq, at, actor, action, subject, text, prev)
    entry = Entry(seq, at, actor, action, subject, text, prev, hashed, seal(tx.seal_key, hashed))
    tx.connection.execute(_INSERT, entry._asdict())
    return entry


def data(entry: Entry) -> dict[str, Any]:
    """What an entry says, parsed; raises IntegrityError if it is not a JSON object."""
    try:
        value = json.loads(entry.data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise IntegrityError(f"entry {entry.seq} of the ledger does not hold a JSON object")
    return value


def head(tx: Tx) -> Entry | None:
    """The last entry, None if there is none."""
    return _first(tx, _HEAD)


def latest_for(tx: Tx, subject: str) -> Entry | None:
    """The last entry about ``subject``, None if there is none."""
    return _first(tx, select(ledger).where(ledger.c.subject == subject).order_by(ledger.c.seq.desc()).limit(1))


def genesis(tx: Tx) -> str | None:
    """The hash of entry 1, which names this ledger; None if there is none."""
    return tx.connection.execute(select(ledger.c.hash).where(ledger.c.seq == 1)).scalar()


def entries(tx: Tx, *, after: int = 0, limit: int | None = None, subject: str | None = None) -> Iterator[Entry]:
    """The entries that follow number ``after``, oldest first, read a page at a time."""
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        query = select(ledger).where(ledger.c.seq > after).order_by(ledger.c.seq).limit(size)
        if subject is not None:
            query = query.where(ledger.c.subject == subject)
        page = [Entry(*row) for row in tx.connection.execute(query)]
        yield from page
        if len(page) < size:
            return
        after = page[-1].seq
        left = None if left is None else left - len(page)


def subjects_between(tx: Tx, action: str, start: datetime, end: datetime | None) -> list[str]:
    """What the entries with this action from ``start`` to ``end`` (None: until now) are about, oldest first."""
    query = select(ledger.c.subject).where(ledger.c.action == action, ledger.c.at >= isoformat(start))
    if end is not None:
        query = query.where(ledger.c.at <= isoformat(end))
    return [*tx.connection.execute(query.order_by(ledger.c.seq)).scalars()]


def check(tx: Tx, entry: Entry) -> None:
    """Raises IntegrityError unless the entry fits its hash and nightcrew sealed it."""
    for seq, problem in broken([entry], key=tx.seal_key, prev=entry.prev, seq=entry.seq - 1):
        raise IntegrityError(f"entry {seq} of the ledger: {problem}")


def verify(tx: Tx, after: tuple[int, str] | None = None) -> tuple[int, list[tuple[int, str]]]:
    """Check numbers, chain, hashes and seals; gives how many entries were checked and (number, what is wrong).

    ``after`` is (number, hash) of an entry that is known to be right: only what follows is checked. Entries missing at
    the end do not show here: compare ``head`` with what was seen before.
    """
    seq, prev = after or (0, GENESIS)
    count, problems = 0, list[tuple[int, str]]()
    if after is not None and _hash_of(tx, seq) != prev:
        problems.append((seq, "it is not the entry that was seen before"))
    intact = _IntactRun(tx.seal_key)
    while run := _run_after(tx, seq):
        if not intact(run, seq, prev):
            problems += broken((Entry(*row) for row in run), key=tx.seal_key, prev=prev, seq=seq)
        count += len(run)
        seq, prev = run[-1][0], run[-1][7]
    return count, problems


class _IntactRun:
    """Whether a run of entries has nothing that ``broken`` would name; it only says yes or no, three times as fast.

    The hash's input is put together from its parts and HMAC (RFC 2104) from a prepared inner and outer SHA-256.
    """

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __call__(self, run: Sequence[Any], number: int, before: str) -> bool:
        sha256, inner, outer, quote = hashlib.sha256, self._inner.copy, self._outer.copy, _quote
        link = quote(before)
        try:
            for seq, at, actor, action, subject, text, prev, hashed, sealed in run:
                number += 1
                if seq != number or prev != before:
                    return False
                content = f"[{seq:d},{quote(at)},{quote(actor)},{quote(action)},{quote(subject)},{quote(text)},{link}]"
                if sha256(content.encode()).hexdigest() != hashed:
                    return False
                inside = inner()
                inside.update(hashed.encode())
                outside = outer()
                outside.update(inside.digest())
                if outside.hexdigest() != sealed:
                    return False
                before, link = hashed, f'"{hashed}"'
        except (TypeError, ValueError, AttributeError):  # not even the types are right: ``broken`` has the words
            return False
        return True


def _run_after(tx: Tx, seq: int) -> list[tuple[Any, ...]]:
    """The next entries as the driver gives them, without the cost of rows."""
    found = tx.connection.exec_driver_sql(
        f"SELECT {_COLUMNS} FROM ledger WHERE seq > {seq:d} ORDER BY seq LIMIT {_RUN:d}"  # noqa: S608 - only integers
    )
    return list(found.cursor.fetchall()) if found.cursor else []


def _canonical(data: Mapping[str, Any]) -> str:
    try:
        return canonical_json(data).decode()
    except UnicodeEncodeError:
        raise DocumentError("the ledger was given half of a surrogate pair, which is not text") from None


def _hash_of(tx: Tx, seq: int) -> str | None:
    return tx.connection.execute(select(ledger.c.hash).where(ledger.c.seq == seq)).scalar()


def _first(tx: Tx, query: Any) -> Entry | None:
    row = tx.connection.execute(query).first()
    return None if row is None else Entry(*row)
