"""Records that wait for a person: those held by a gate, and those in quarantine. Decided by signature, or released."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightcrew.approvals import (
    TrustAnchor,
    decision_statement,
    fresh_nonce,
    verify_approval,
)
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.clock import Clock
from nightcrew.model.errors import ApprovalError, NightcrewError, NotFoundError, TransitionError, UsageError
from nightcrew.model.review import ENDING, Decision
from nightcrew.model.statement import ApprovalStatement, DigestSet, Envelope, Subject, read_statement
from nightcrew.reliability.secrets import mask_names
from nightcrew.store import decisions, outcomes, runs
from nightcrew.store.outcomes import Row, Stored
from nightcrew.store.store import Store, Tx

MAX_AT_ONCE = 1000
"""Records that one signature may cover."""


@dataclass(frozen=True)
class Parked:
    """One record that is not settled, as a person is shown it; fields that the contract calls secret are masked."""

    pipeline: str
    key: str
    state: str
    kind: str | None
    reason: str
    confidence: float | None
    next_at: str | None
    attempts: int
    rounds: int
    input: Any
    output: Any
    document: dict[str, Any]
    digest: str

    @property
    def name(self) -> str:
        """How commands name it."""
        return f"{self.pipeline}/{self.key}"


def listed(
    store: Store,
    *,
    states: Sequence[str],
    pipeline: str | None = None,
    kind: str | None = None,
    limit: int | None = 100,
) -> list[Parked]:
    """Records in ``states``, oldest first. Raises NotFoundError for a pipeline that is not known."""
    with store.read() as tx:
        known = {row.id: row for row in runs.all_pipelines(tx)}
        wanted = None if pipeline is None else runs.pipeline(tx, pipeline).id
        found = outcomes.list(tx, wanted, states=states, kind=kind, limit=limit)
        return [parked_of(stored, known[stored.pipeline]) for stored in found]


def shown(store: Store, name: str) -> Parked:
    """One record, named as ``found`` takes it, in any state. Raises NotFoundError, UsageError."""
    with store.read() as tx:
        row, stored = found(tx, name)
        return parked_of(stored, row)


def found(tx: Tx, name: str) -> tuple[runs.PipelineRow, Stored]:
    """The record of that name: ``PIPELINE/KEY``, or the key alone where one pipeline only has it.

    Raises NotFoundError, and UsageError where several pipelines have the key.
    """
    known = runs.all_pipelines(tx)
    prefix, _, rest = name.partition("/")
    named = [(row, rest) for row in known if row.name == prefix and rest]
    matching = [
        (row, there[key])
        for row, key in named or [(row, name) for row in known]
        if key in (there := outcomes.existing(tx, row.id, [key]))
    ]
    if len(matching) > 1:
        raise UsageError(f"several pipelines have a record {name}: {', '.join(row.name for row, _ in matching)}")
    if not matching:
        raise NotFoundError(f"there is no record {name}", hint="List what is stored with: nightcrew outcome list")
    return matching[0]


def split_name(name: str) -> tuple[str, str]:
    """``PIPELINE/KEY`` in its parts; the key may have slashes. Raises UsageError."""
    pipeline, slash, key = name.partition("/")
    if not (pipeline and slash and key):
        raise UsageError(f"{name!r} does not name a record; write PIPELINE/KEY, such as fraud/tx-17")
    return pipeline, key


def release(store: Store, names: Iterable[str], *, actor: str) -> int:
    """Give quarantined records back to the retry queue, due now; gives how many. Raises TransitionError, NotFoundError.

    The next ``Pipeline.retry`` or ``run`` works them, and only them, from the step that failed.
    """
    return _leave(store, names, "waiting_retry", "released", actor, "")


def discard(store: Store, names: Iterable[str], *, actor: str, reason: str) -> int:
    """Decide that quarantined records are not to be worked; they stay stored, with the reason. Gives how many."""
    return _leave(store, names, "discarded", "discarded", actor, reason)


def _leave(store: Store, names: Iterable[str], state: str, why: str, actor: str, reason: str) -> int:
    with store.begin() as tx:
        total = 0
        for pipeline, keys in _grouped(names).items():
            row = runs.pipeline(tx, pipeline)
            pairs = []
            for stored in _all(tx, row.id, keys):
                if stored.state != "quarantined":
                    raise TransitionError(f"{pipeline}/{stored.key} is {stored.state}, not quarantined")
                pairs.append((stored, _left(tx, stored, state, reason)))
            total += outcomes.change(tx, pipeline, pairs, why=why, actor=actor)
    return total


def _left(tx: Tx, stored: Stored, state: str, reason: str) -> Row:
    doc = outcomes.document(stored)
    if state == "waiting_retry":
        doc.update(state=state, rounds=0, reason=f"released; before: {doc['reason']}", failure=None)
        return Row(stored.key, state, None, tx.stamp(), stored.input or b"", _text(doc))
    doc.update(state=state, reason=f"discarded: {reason}" if reason else f"discarded; before: {doc['reason']}")
    return Row(stored.key, state, stored.kind, None, stored.input or b"", _text(doc))


def prepare(
    store: Store,
    names: Sequence[str],
    decision: Decision,
    *,
    repository: str,
    reviewer: str,
    clock: Clock,
    comment: str = "",
    policy_sha256: str | None = None,
    seen: Mapping[str, str] | None = None,
) -> ApprovalStatement:
    """What a reviewer has to sign to approve or reject records held by a gate, all of one pipeline.

    ``seen`` maps a record's name to the digest of the outcome that was looked at. Raises UsageError, TransitionError
    (it does not wait), ApprovalError (it changed since it was looked at).
    """
    if decision not in ENDING:
        raise UsageError("records are approved or rejected; to ask another person, tell them the record's name")
    pipeline, keys = _of_one(names)
    with store.read() as tx:
        waiting = _waiting(tx, runs.pipeline(tx, pipeline), keys)
    for stored in waiting:
        if (seen or {}).get(f"{pipeline}/{stored.key}", outcomes.digest(stored)) != outcomes.digest(stored):
            raise ApprovalError(f"{pipeline}/{stored.key} changed since it was opened", hint="Read it again.")
    return decision_statement(
        reviewer=reviewer,
        repository=repository,
        review_id=f"records/{pipeline}",
        subjects=_subjects(pipeline, waiting),
        decision=decision,
        nonce=fresh_nonce(),
        clock=clock,
        comment=comment,
        policy_sha256=policy_sha256,
    )


def finish(
    store: Store,
    names: Sequence[str],
    envelope: Envelope,
    *,
    anchor: TrustAnchor,
    repository: str,
    clock: Clock,
    verified_by: Callable[[Envelope], None] | None = None,
) -> int:
    """Verify a signed decision over exactly these records' outcomes as they are now, and let it happen.

    An approved record goes on with the steps after its gate, or is settled with the output that was seen; a rejected
    one is not. ``verified_by`` may refuse what verified, by raising. Gives how many. Raises ApprovalError,
    TransitionError (it does not wait).
    """
    pipeline, keys = _of_one(names)
    statement = read_statement(envelope.body())
    if not isinstance(statement, ApprovalStatement) or statement.predicate.decision not in ENDING:
        raise ApprovalError("what was signed is no decision about records")
    decision = statement.predicate.decision
    with store.begin() as tx:
        row = runs.pipeline(tx, pipeline)
        waiting = _waiting(tx, row, keys)
        verified = verify_approval(
            envelope,
            anchor=anchor,
            repository=repository,
            review_id=f"records/{pipeline}",
            subjects=_subjects(pipeline, waiting),
            clock=clock,
            decision=decision,
            used_nonces=lambda nonce: decisions.nonce_user(tx, nonce),
        )
        if verified_by is not None:
            verified_by(envelope)
        decided = decisions.add(
            tx,
            pipeline=row.id,
            decision=str(decision),
            reviewer=verified.reviewer,
            comment=verified.comment,
            envelope=envelope.encode().decode(),
            nonce=verified.nonce,
            subjects=[(subject.name, str(subject.digest.sha256)) for subject in _subjects(pipeline, waiting)],
        )
        review = {"decision": decided, "by": verified.reviewer, "verdict": str(decision)}
        pairs = [(stored, _decided(tx, stored, decision, review)) for stored in waiting]
        return outcomes.change(tx, pipeline, pairs, why=str(decision), actor=f"reviewer:{verified.reviewer}")


def _of_one(names: Sequence[str]) -> tuple[str, list[str]]:
    grouped = _grouped(names)
    if len(grouped) != 1 or not 0 < len(names) <= MAX_AT_ONCE:
        raise UsageError(f"one decision is about 1 to {MAX_AT_ONCE} records of one pipeline")
    [(pipeline, keys)] = grouped.items()
    return pipeline, keys


def is_approved(
    store: Store, pipeline: str, doc: dict[str, Any], *, anchor: TrustAnchor, repository: str, clock: Clock
) -> bool:
    """Whether a person's signature, verified now, stands for exactly what this outcome's record goes on with."""
    review = doc.get("review")
    if not isinstance(review, dict) or not isinstance(review.get("held"), str):
        return False
    try:
        held = json.loads(review["held"])
        if any(held[name] != doc[name] for name in ("pipeline", "key", "input", "output", "stage")):
            return False
        with store.read() as tx:
            decided = decisions.get(tx, str(review.get("decision")))
        subjects = tuple(Subject(name=name, digest=DigestSet(sha256=digest)) for name, digest in decided.subjects)
        verify_approval(
            decided.envelope.encode(),
            anchor=anchor,
            repository=repository,
            review_id=f"records/{pipeline}",
            subjects=subjects,
            clock=clock,
            decision=Decision.APPROVE,
        )
    except (NightcrewError, KeyError, ValueError, TypeError):
        return False
    return (_subject_name(pipeline, held["key"]), sha256_hex(review["held"].encode())) in set(decided.subjects)


def _decided(tx: Tx, stored: Stored, decision: Decision, review: dict[str, Any]) -> Row:
    """What the decision makes of a record. That it was approved is shown by the signature, not by this row."""
    doc = outcomes.document(stored)
    doc["review"] = {**review, "held": stored.doc}
    doc["state"] = "rejected" if decision is Decision.REJECT else "waiting_retry"
    next_at = None if decision is Decision.REJECT else tx.stamp()
    return Row(stored.key, doc["state"], None, next_at, stored.input or b"", _text(doc))


def _waiting(tx: Tx, row: runs.PipelineRow, keys: Sequence[str]) -> list[Stored]:
    found = _all(tx, row.id, keys)
    for stored in found:
        if stored.state != "in_review":
            raise TransitionError(f"{row.name}/{stored.key} is {stored.state}: it does not wait for a decision")
    return found


def _subjects(pipeline: str, waiting: Iterable[Stored]) -> tuple[Subject, ...]:
    found = [
        Subject(name=_subject_name(pipeline, stored.key), digest=DigestSet(sha256=outcomes.digest(stored)))
        for stored in waiting
    ]
    return tuple(sorted(found, key=lambda subject: subject.name))


def _subject_name(pipeline: str, key: str) -> str:
    """In-toto names are short here: a long key is named by its digest."""
    name = f"record/{pipeline}/{key}"
    return name if len(name) <= 200 else f"record/{pipeline}/sha256:{sha256_hex(key.encode())}"


def _all(tx: Tx, pipeline: int, keys: Sequence[str]) -> list[Stored]:
    known = outcomes.existing(tx, pipeline, keys)
    return [known[key] if key in known else outcomes.get(tx, pipeline, key) for key in keys]


def _grouped(names: Iterable[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name in names:
        pipeline, key = split_name(name)
        if key not in grouped.setdefault(pipeline, []):
            grouped[pipeline].append(key)
    return grouped


def parked_of(stored: Stored, row: runs.PipelineRow) -> Parked:
    """A stored record as a person is shown it; raises IntegrityError if its document is none."""
    doc, secret = outcomes.document(stored), frozenset(row.secret)
    return Parked(
        pipeline=row.name,
        key=stored.key,
        state=stored.state,
        kind=stored.kind,
        reason=doc["reason"],
        confidence=doc["confidence"],
        next_at=stored.next_at,
        attempts=doc["attempts"],
        rounds=doc["rounds"],
        input=_masked(_readable(stored.input), secret),
        output=_masked(doc["output"], secret),
        document={**doc, "output": _masked(doc["output"], secret)},
        digest=outcomes.digest(stored),
    )


def _masked(value: Any, secret: frozenset[str]) -> Any:
    try:
        return mask_names(value, secret)
    except RecursionError:  # Nothing of it is shown: what is secret in it could not be told.
        return "(nested too deeply to be shown)"


def _readable(data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data[:2000].decode(errors="backslashreplace")


def _text(doc: dict[str, Any]) -> str:
    return json.dumps(doc, ensure_ascii=False, separators=(",", ":"))
