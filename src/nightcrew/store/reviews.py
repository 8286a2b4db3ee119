"""Reviews: what waits in the inbox, and the signed decisions. A row proves nothing: verify the signature each time."""

import builtins
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import insert, select, update

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import ApprovalError, DocumentError, IntegrityError, NotFoundError, TransitionError
from nightcrew.model.review import WAITING, Decision, Review, ReviewState
from nightcrew.store import ledger, rows
from nightcrew.store.schema import reviews, used_nonces
from nightcrew.store.store import Tx

_DECIDED = {
    Decision.APPROVE: ReviewState.APPROVED,
    Decision.REJECT: ReviewState.REJECTED,
    Decision.ESCALATE: ReviewState.ESCALATED,
}
_TIMES = ("created", "deadline", "decided")


def add(tx: Tx, review: Review, *, actor: str = "nightcrew") -> Review:
    """Put a review (state pending, or escalated) in the inbox; again, with the same content, it does nothing.

    Raises IntegrityError if another review has this id, TransitionError if it is decided already.
    """
    if review.state not in WAITING:
        raise TransitionError(f"{review.id} is {review.state}: a new review waits for its decision")
    if (row := _row(tx, review.id)) is not None:
        if _review(row).subject_digest != review.subject_digest or row["ticket"] != review.ticket:
            raise IntegrityError(f"{review.id} is another review")
        return _review(row)
    rows.storable(review.reason + review.comment, where=review.id)
    tx.connection.execute(insert(reviews).values(_columns(review)))
    _log(tx, review.id, "add", actor, ticket=review.ticket, subject_digest=review.subject_digest, reason=review.reason)
    return review


def get(tx: Tx, review_id: str) -> Review:
    """The review; raises NotFoundError."""
    return _review(_existing(tx, review_id))


def list(tx: Tx, *, states: Iterable[ReviewState] | None = None, ticket: str | None = None) -> builtins.list[Review]:
    """Reviews, oldest first."""
    query = select(reviews).order_by(reviews.c.created, reviews.c.id)
    if states is not None:
        query = query.where(reviews.c.state.in_([state.value for state in states]))
    if ticket is not None:
        query = query.where(reviews.c.ticket == ticket)
    return [_review(row) for row in tx.connection.execute(query).mappings()]


def decide(
    tx: Tx, review_id: str, *, decision: Decision, reviewer: str, comment: str, envelope: str, nonce: str
) -> Review:
    """Store a signed decision. The caller has verified ``envelope`` (DSSE, JSON text), which holds ``nonce``.

    Raises TransitionError if the review does not wait, ApprovalError if the nonce was used for a decision before.
    """
    review = _waiting(tx, review_id)
    if (user := nonce_user(tx, nonce)) is not None:
        raise ApprovalError(f"this signature was used before, for {user}")
    rows.storable(comment + envelope + nonce + reviewer, where=review_id)
    tx.connection.execute(insert(used_nonces).values(nonce=nonce, review=review_id))
    decided = None if decision is Decision.ESCALATE else tx.stamp()
    state = _DECIDED[decision]
    _set(tx, review_id, state=state, decided=decided, reviewer=reviewer, comment=comment, envelope=envelope)
    _log(
        tx, review_id, decision.value, reviewer, ticket=review.ticket, comment=comment, nonce=nonce,
        envelope_sha256=sha256_hex(envelope.encode()),
    )  # fmt: skip
    return get(tx, review_id)


def void(tx: Tx, review_id: str, *, reason: str, actor: str = "nightcrew") -> Review:
    """Withdraw a review that waits or was approved, because its subject changed. Raises TransitionError otherwise."""
    review = get(tx, review_id)
    if review.state not in WAITING | {ReviewState.APPROVED}:
        raise TransitionError(f"{review_id} is {review.state}")
    _set(tx, review_id, state=ReviewState.VOID)
    _log(tx, review_id, "void", actor, ticket=review.ticket, reason=reason)
    return get(tx, review_id)


def escalate(
    tx: Tx, review_id: str, *, assigned: str | None = None, reason: str = "", actor: str = "nightcrew"
) -> Review:
    """Escalate a review that waits, to ``assigned`` if given; it never decides itself. Raises TransitionError."""
    review = _waiting(tx, review_id)
    _set(tx, review_id, state=ReviewState.ESCALATED, assigned=assigned or review.assigned)
    _log(tx, review_id, "escalate", actor, ticket=review.ticket, assigned=assigned, reason=reason)
    return get(tx, review_id)


def envelopes(tx: Tx, ticket: str) -> builtins.list[tuple[Review, str]]:
    """The approved reviews of a ticket with their envelopes, last decided first. Verify each before it counts."""
    query = (
        select(reviews)
        .where(reviews.c.ticket == ticket, reviews.c.state == ReviewState.APPROVED.value)
        .where(reviews.c.envelope.is_not(None))
        .order_by(reviews.c.decided.desc(), reviews.c.id.desc())
    )
    return [(_review(row), row["envelope"]) for row in tx.connection.execute(query).mappings()]


def envelope(tx: Tx, review_id: str) -> str | None:
    """The signed decision of a review as it was stored, None before there is one; raises NotFoundError."""
    found = _existing(tx, review_id)["envelope"]
    return None if found is None else str(found)


def nonce_user(tx: Tx, nonce: str) -> str | None:
    """The review whose decision used ``nonce``, None if none did."""
    return tx.connection.execute(select(used_nonces.c.review).where(used_nonces.c.nonce == nonce)).scalar()


def _waiting(tx: Tx, review_id: str) -> Review:
    review = get(tx, review_id)
    if review.state not in WAITING:
        raise TransitionError(f"{review_id} is {review.state}: it does not wait for a decision")
    return review


def _set(tx: Tx, review_id: str, **values: Any) -> None:
    plain = {name: str(value) if isinstance(value, ReviewState) else value for name, value in values.items()}
    tx.connection.execute(update(reviews).where(reviews.c.id == review_id).values(plain))


def _log(tx: Tx, review_id: str, what: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"review.{what}", subject=f"review:{review_id}", data=data)


def _columns(review: Review) -> dict[str, Any]:
    times = {name: rows.to_time(getattr(review, name)) for name in _TIMES}
    return {**review.plain(), **times, "subjects": rows.to_json(review.plain()["subjects"])}


def _row(tx: Tx, review_id: str) -> Mapping[Any, Any] | None:
    return tx.connection.execute(select(reviews).where(reviews.c.id == review_id)).mappings().first()


def _existing(tx: Tx, review_id: str) -> Mapping[Any, Any]:
    row = _row(tx, review_id)
    if row is None:
        raise NotFoundError(f"there is no review {review_id}", hint="List them with: nightcrew inbox")
    return row


def _review(row: Mapping[Any, Any]) -> Review:
    where = f"the row of {row['id']}"
    values = {name: value for name, value in row.items() if name != "envelope"}
    try:
        return Review.read({**values, "subjects": rows.from_json(row["subjects"], where=where)}, source=where)
    except DocumentError as error:
        raise IntegrityError(str(error)) from None
