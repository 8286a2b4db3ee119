"""An entry of the ledger: hash-chained and sealed, as pure functions."""

import hmac
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nightcrew.model.canonical import canonical_json, sha256_hex

GENESIS = "0" * 64


class Entry(NamedTuple):
    """One state change. ``data`` is canonical JSON text; ``prev`` is the hash before it; ``seal`` proves who wrote it.

    ``hash`` is the SHA-256 of the canonical JSON of all fields before it. ``seal`` is HMAC-SHA256 of the hash under a
    key that lies outside every path a sandbox can reach: who can write the database can rebuild the chain, not the
    seals.
    """

    seq: int
    at: str
    actor: str
    action: str
    subject: str
    data: str
    prev: str
    hash: str
    seal: str


def entry_hash(seq: int, at: str, actor: str, action: str, subject: str, data: str, prev: str) -> str:
    """The hash of an entry with these fields."""
    return sha256_hex(canonical_json([seq, at, actor, action, subject, data, prev]))


def seal(key: bytes, digest: str) -> str:
    """The seal of an entry whose hash is ``digest``."""
    return hmac.digest(key, digest.encode(), "sha256").hex()


def broken(
    entries: Iterable[Entry], *, key: bytes | None, prev: str = GENESIS, seq: int = 0
) -> Iterator[tuple[int, str]]:
    """What does not fit in a run of entries that follows entry ``seq`` with hash ``prev``: (number, what is wrong).

    Without ``key`` the chain is checked but not the seals. After a break the check goes on from the entry as it stands.
    """
    for entry in entries:
        if entry.seq != seq + 1:
            yield entry.seq, f"entry {seq + 1} is missing" if entry.seq > seq + 1 else "its number stands twice"
        elif entry.prev != prev:
            yield entry.seq, "its previous hash is not that of the entry before it"
        if entry_hash(*entry[:7]) != entry.hash:
            yield entry.seq, "its content does not fit its hash"
        elif key is not None and not hmac.compare_digest(seal(key, entry.hash), entry.seal):
            yield entry.seq, "its seal is not nightcrew's"
        seq, prev = entry.seq, entry.hash
