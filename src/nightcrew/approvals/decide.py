"""Signing a decision."""

import secrets
from collections.abc import Sequence

from nightcrew.approvals.signer import Signer, sign_statement
from nightcrew.model.clock import Clock
from nightcrew.model.review import Decision
from nightcrew.model.statement import ApprovalPredicate, ApprovalStatement, Envelope, Subject


def fresh_nonce() -> str:
    """128 random bits as 32 hexadecimal digits, from the system's generator."""
    return secrets.token_hex(16)


def sign_decision(
    signer: Signer,
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
) -> Envelope:
    """Sign a reviewer's decision over exactly ``subjects``; ``policy_sha256`` names the playbook that asked for it.

    Anybody can sign anything: only ``verify_approval`` says whether it counts. Raises DocumentError for a value that
    fits no approval (an escalation's next reviewer on another decision, say).
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
    statement = ApprovalStatement.read({"subject": tuple(subjects), "predicate": predicate}, source="decision")
    return sign_statement(signer, statement)
