"""Reviews: what waits in the inbox, and the signed decisions. A row proves nothing: verify the signature each time."""

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import ApprovalError, DocumentError, IntegrityError, NotFoundError, TransitionError
from nightcrew.model.review import WAITING, Decision, Review, ReviewState
from nightcrew.store import ledger, rows
from nightcrew.store.schema import handoffs, review_decisions, reviews, used_nonces
from nightcrew.store.schema import ledger as ledger_table
from nightcrew.store.store import Tx

_ENDED = {Decision.APPROVE: ReviewState.APPROVED, Decision.REJECT: ReviewState.REJECTED}
_ENDED_BEFORE = {"review.approve": ReviewState.APPROVED, "review.reject": ReviewState.REJECTED}
"""Decisions that ended a review without an entry of their own for that, in ledgers of before there was one."""

SEALED = ("ticket", "subject_digest", "reason", "severity", "breaks_build", "handoff", "on_approve", "confidence")
"""What the ledger keeps of a review when it is asked for, and a decision is compared with."""

_TIMES = ("created", "deadline", "decided")


@dataclass(frozen=True)
class Signed:
    """One signed decision as it is stored; ``envelope`` is the DSSE envelope's JSON text."""

    review: str
    nonce: str
    decision: Decision
    reviewer: str
    comment: str
    at: datetime
    envelope: str


def add(tx: Tx, review: Review, *, actor: str = "nightcrew", needs: Mapping[str, Any] | None = None) -> Review:
    """Put a review (state pending, or escalated) in the inbox; again, with the same content, it does nothing.

    ``needs`` is what the rules ask of its decision now; it stands in the ledger, where it cannot be weakened later.

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
    asked = {name: review.plain()[name] for name in SEALED}
    _log(tx, review.id, "add", actor, **asked, **({"needs": dict(needs)} if needs else {}))
    return review


def get(tx: Tx, review_id: str) -> Review:
    """The review; raises NotFoundError."""
    return _review(_existing(tx, review_id))


def list(
    tx: Tx,
    *,
    states: Iterable[ReviewState] | None = None,
    ticket: str | None = None,
    broken: builtins.list[str] | None = None,
) -> builtins.list[Review]:
    """Reviews, oldest first. A row that is none raises IntegrityError, or is told in ``broken`` if that is given."""
    query = select(reviews).order_by(reviews.c.created, reviews.c.id)
    if states is not None:
        query = query.where(reviews.c.state.in_([state.value for state in states]))
    if ticket is not None:
        query = query.where(reviews.c.ticket == ticket)
    found = []
    for row in tx.connection.execute(query).mappings():
        try:
            found.append(_review(row))
        except IntegrityError as error:
            if broken is None:
                raise
            broken.append(str(error))
    return found


def some(tx: Tx, names: Sequence[str], *, broken: builtins.list[str] | None = None) -> builtins.list[Review]:
    """Those of the reviews that are there, in this order; rows that are none as for ``list``."""
    query = select(reviews).where(reviews.c.id.in_(names[:900]))
    rows_by_id = {row["id"]: row for row in tx.connection.execute(query).mappings()}
    found = []
    for name in names:
        try:
            found += [_review(rows_by_id[name])] if name in rows_by_id else []
        except IntegrityError as error:
            if broken is None:
                raise
            broken.append(str(error))
    return found


def latest(tx: Tx, states: Iterable[ReviewState], limit: int) -> builtins.list[str]:
    """The last ``limit`` reviews in ``states``, the one decided last first."""
    table = reviews.c
    query = select(table.id, func.coalesce(table.decided, table.created)).where(
        table.state.in_([state.value for state in states])
    )
    found = tx.connection.execute(query.order_by(table.created.desc(), table.id.desc()).limit(limit)).all()
    return [row[0] for row in sorted(found, key=lambda row: str(row[1]), reverse=True)]


def waiting_for(tx: Tx, event: str) -> builtins.list[str]:
    """The reviews that wait and whose approval causes ``event``, oldest first."""
    table = reviews.c
    query = select(table.id).where(table.state.in_([state.value for state in WAITING]), table.on_approve == event)
    return [*tx.connection.execute(query.order_by(table.created, table.id)).scalars()]


def naming(tx: Tx, names: Sequence[str], wanted: Iterable[str]) -> set[str]:
    """Those of the reviews whose sealed entry or handoff may name one of ``wanted``.

    It looks for text in what is stored, without parsing or verifying it: what may be is then read for certain.
    """
    words = [*wanted]
    found: set[str] = set()
    for start in range(0, len(names), 500):
        found |= _may_name(tx, names[start : start + 500], words)
    return found


def _may_name(tx: Tx, names: Sequence[str], words: Sequence[str]) -> set[str]:
    subjects = [f"review:{name}" for name in names]
    entries = select(ledger_table.c.subject, ledger_table.c.data).where(
        ledger_table.c.subject.in_(subjects), ledger_table.c.action == "review.add"
    )
    bodies = select(reviews.c.id, handoffs.c.body).join(handoffs, handoffs.c.id == reviews.c.handoff)
    found: set[str] = set()
    for subject, text in tx.connection.execute(entries):
        if '"findings"' not in text or any(word in text for word in words):
            found.add(subject.partition(":")[2])
    encoded = [word.encode() for word in words]
    for name, body in tx.connection.execute(bodies.where(reviews.c.id.in_(names))):
        if any(word in bytes(body) for word in encoded):
            found.add(name)
    return found


def sign(
    tx: Tx,
    review_ids: Sequence[str],
    *,
    decision: Decision,
    reviewer: str,
    comment: str,
    envelope: str,
    nonce: str,
    scope: str | None = None,
) -> None:
    """Store one signed decision over these reviews. The caller has verified ``envelope`` (DSSE, JSON text).

    ``nonce`` is the one in it, ``scope`` what it says it is about (by default the one review). It moves no review: see
    ``settle`` and ``escalate``. Raises TransitionError if a review does not wait, ApprovalError if the nonce was used.
    """
    waiting = [_waiting(tx, review_id) for review_id in review_ids]
    if (user := nonce_user(tx, nonce)) is not None:
        raise ApprovalError(f"this signature was used before, for {user}")
    rows.storable(comment + envelope + nonce + reviewer, where=", ".join(review_ids))
    tx.connection.execute(insert(used_nonces).values(nonce=nonce, review=scope or waiting[0].id))
    said = {"decision": decision.value, "reviewer": reviewer, "comment": comment, "nonce": nonce}
    for review in waiting:
        row = {**said, "review": review.id, "at": tx.stamp(), "envelope": envelope}
        tx.connection.execute(insert(review_decisions).values(row))
        _log(
            tx, review.id, decision.value, f"reviewer:{reviewer}", ticket=review.ticket, comment=comment, nonce=nonce,
            envelope_sha256=sha256_hex(envelope.encode()),
        )  # fmt: skip


def settle(tx: Tx, review_id: str, decision: Decision, *, reviewer: str, comment: str) -> Review:
    """End a review that waits, as enough people decided; raises TransitionError if it does not wait."""
    review = _waiting(tx, review_id)
    _set(tx, review_id, state=_ENDED[decision], decided=tx.stamp(), reviewer=reviewer, comment=comment)
    _log(tx, review_id, "settle", f"reviewer:{reviewer}", ticket=review.ticket, state=_ENDED[decision].value)
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
    tx: Tx,
    review_id: str,
    *,
    assigned: str | None = None,
    deadline: datetime | None = None,
    reason: str = "",
    actor: str = "nightcrew",
) -> Review:
    """Escalate a review that waits, to ``assigned`` and with a new ``deadline`` if given; it never decides itself.

    Raises TransitionError.
    """
    review = _waiting(tx, review_id)
    until = rows.to_time(deadline or review.deadline)
    _set(tx, review_id, state=ReviewState.ESCALATED, assigned=assigned or review.assigned, deadline=until)
    _log(tx, review_id, "escalate", actor, ticket=review.ticket, assigned=assigned, reason=reason)
    return get(tx, review_id)


def approved(tx: Tx, ticket: str) -> builtins.list[tuple[Review, builtins.list[str]]]:
    """The approved reviews of a ticket with their approving envelopes, last decided first.

    Verify each envelope before it counts.
    """
    query = (
        select(reviews)
        .where(reviews.c.ticket == ticket, reviews.c.state == ReviewState.APPROVED.value)
        .order_by(reviews.c.decided.desc(), reviews.c.id.desc())
    )
    found = [_review(row) for row in tx.connection.execute(query).mappings()]
    return [(review, [one.envelope for one in approvals(tx, review.id)]) for review in found]


def decisions(tx: Tx, review_id: str) -> builtins.list[Signed]:
    """Every decision signed in a review, oldest first. A row proves nothing: verify its envelope."""
    query = (
        select(review_decisions)
        .where(review_decisions.c.review == review_id)
        .order_by(review_decisions.c.at, review_decisions.c.nonce)
    )
    return [_signed(row) for row in tx.connection.execute(query).mappings()]


def vouched(tx: Tx, review_id: str) -> builtins.list[Signed]:
    """The decisions that the sealed ledger knows as they are stored: what people may be shown as a reviewer's word."""
    known = set()
    for entry in ledger.entries(tx, subject=f"review:{review_id}"):
        try:
            ledger.check(tx, entry)
            known.add((entry.action, ledger.data(entry).get("envelope_sha256")))
        except IntegrityError:
            continue
    return [
        one
        for one in decisions(tx, review_id)
        if (f"review.{one.decision}", sha256_hex(one.envelope.encode())) in known
    ]


def approvals(tx: Tx, review_id: str) -> builtins.list[Signed]:
    """The approvals among ``decisions``."""
    return [one for one in decisions(tx, review_id) if one.decision is Decision.APPROVE]


def verify_row(tx: Tx, review_id: str) -> Review:
    """The review, if its row is what the ledger says was asked for and became of it.

    Raises IntegrityError if it is not, NotFoundError.
    """
    review = get(tx, review_id)
    said: dict[str, Any] = {}
    may_be = set(WAITING)
    for entry in ledger.entries(tx, subject=f"review:{review_id}"):
        ledger.check(tx, entry)
        data = ledger.data(entry)
        if entry.action == "review.add":
            said = {name: data[name] for name in SEALED if name in data}
        elif entry.action == "review.settle":
            may_be = {ReviewState(data["state"])}
        elif entry.action == "review.void":
            may_be = {ReviewState.VOID}
        elif entry.action in _ENDED_BEFORE:
            may_be |= {_ENDED_BEFORE[entry.action]}
    if not said:
        raise IntegrityError(f"{review_id} is not in the ledger")
    plain = review.plain()
    if differing := [name for name, value in said.items() if value != plain[name]]:
        raise IntegrityError(f"{review_id} is not what was asked for: {', '.join(differing)} changed")
    if review.state not in may_be:
        raise IntegrityError(f"{review_id} is {review.state}, which the ledger does not say")
    return review


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


def _signed(row: Mapping[Any, Any]) -> Signed:
    try:
        return Signed(**{**row, "decision": Decision(row["decision"]), "at": rows.from_time(row["at"])})
    except ValueError as error:
        raise IntegrityError(f"a decision in {row['review']}: {error}") from None


def _review(row: Mapping[Any, Any]) -> Review:
    where = f"the row of {row['id']}"
    try:
        return Review.read({**row, "subjects": rows.from_json(row["subjects"], where=where)}, source=where)
    except DocumentError as error:
        raise IntegrityError(str(error)) from None
