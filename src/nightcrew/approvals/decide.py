"""Writing down a decision, to be signed."""

import secrets
from collections.abc import Iterable, Sequence

from nightcrew.model.canonical import digest
from nightcrew.model.clock import Clock
from nightcrew.model.review import Decision
from nightcrew.model.statement import ApprovalPredicate, ApprovalStatement, DigestSet, Subject

GROUP = "group/"
"""What the review id of a decision about several reviews begins with."""


def fresh_nonce() -> str:
    """128 random bits as 32 hexadecimal digits, from the system's generator."""
    return secrets.token_hex(16)


def group_id(review_ids: Iterable[str]) -> str:
    """The name under which several reviews are decided by one signature."""
    return GROUP + digest(sorted(review_ids))[:16]


def member(review_id: str, subject_digest: str) -> Subject:
    """One review of such a group as a subject of the decision; ``subject_digest`` stands for the review's own."""
    return Subject(name=f"review/{review_id}", digest=DigestSet(sha256=subject_digest))


def decision_statement(
    *,
    reviewer: str,
    repository: str,
    review_id: str,
    subjects: Sequence[Subject],
    decision: Decision,
    nonce: str,
    clock: Clock,
    comment: str = "",
    escalate_to: str | None = None,
    policy_sha256: str | None = None,
) -> ApprovalStatement:
    """A reviewer's decision over exactly ``subjects``, to be signed; ``policy_sha256`` names the playbook it is under.

    Raises DocumentError for a value that fits no approval (an escalation's next reviewer on another decision, say).
    """
    predicate = ApprovalPredicate.read(
        {
            "repository": repository,
            "review_id": review_id,
            "decision": decision,
            "reviewer": reviewer,
            "time": clock(),
            "nonce": nonce,
            "comment": comment,
            "escalate_to": escalate_to,
            "policy_sha256": policy_sha256,
        },
        source=f"decision in {review_id}",
    )
    return ApprovalStatement.read({"subject": tuple(subjects), "predicate": predicate}, source="decision")
