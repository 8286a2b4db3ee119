"""Signed decisions about records: one row a signature, however many records it covers."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import insert, select

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import ApprovalError, NotFoundError
from nightcrew.store import ids, ledger, reviews
from nightcrew.store.schema import record_decisions, used_nonces
from nightcrew.store.store import Tx


class RecordDecision(NamedTuple):
    """A decision of a person about records of one pipeline.

    ``envelope`` is the signed statement as it was stored, ``subjects`` what it is about: (name, SHA-256).
    """

    id: str
    pipeline: int
    decision: str
    reviewer: str
    comment: str
    at: str
    envelope: str
    subjects: tuple[tuple[str, str], ...]


def add(
    tx: Tx,
    *,
    pipeline: int,
    decision: str,
    reviewer: str,
    comment: str,
    envelope: str,
    nonce: str,
    subjects: Sequence[tuple[str, str]],
) -> str:
    """Store a decision whose signature the caller has verified, and give its id. Raises ApprovalError for a replay."""
    if (user := nonce_user(tx, nonce)) is not None:
        raise ApprovalError(f"this signature was used before, in {user}")
    name = ids.next_id(tx, "D")
    values = {
        "id": name, "pipeline": pipeline, "decision": decision, "reviewer": reviewer, "comment": comment,
        "at": tx.stamp(), "envelope": envelope, "subjects": json.dumps(list(subjects)),
    }  # fmt: skip
    tx.connection.execute(insert(record_decisions).values(values))
    tx.connection.execute(insert(used_nonces).values(nonce=nonce, review=name))
    data = {
        "decision": decision, "records": len(subjects), "comment": comment, "nonce": nonce,
        "envelope_sha256": sha256_hex(envelope.encode()),
    }  # fmt: skip
    ledger.append(tx, actor=f"reviewer:{reviewer}", action="records.decide", subject=f"decision:{name}", data=data)
    return name


def get(tx: Tx, identifier: str) -> RecordDecision:
    """One decision; raises NotFoundError."""
    row = tx.connection.execute(select(record_decisions).where(record_decisions.c.id == identifier)).first()
    if row is None:
        raise NotFoundError(f"there is no decision {identifier}")
    subjects = tuple((str(name), str(digest)) for name, digest in json.loads(row.subjects))
    return RecordDecision(row.id, row.pipeline, row.decision, row.reviewer, row.comment, row.at, row.envelope, subjects)


def nonce_user(tx: Tx, nonce: str) -> str | None:
    """The review or decision that used ``nonce``, None if none did."""
    return reviews.nonce_user(tx, nonce)
