"""Signed decisions in a table of their own: a review may need the approval of several people."""

import base64
import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEPT = {"approved": "approve", "rejected": "reject", "escalated": "escalate", "void": "approve"}


def upgrade() -> None:
    """Make the table, bring over what was signed so far, and drop the column it was in."""
    decisions = op.create_table(
        "review_decisions",
        sa.Column("review", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("review", "nonce", name=op.f("pk_review_decisions")),
    )
    query = sa.text(
        "SELECT id, state, reviewer, comment, decided, created, envelope FROM reviews WHERE envelope IS NOT NULL"
    )
    bind = op.get_bind()
    for row in bind.execute(query).mappings().all():
        said = _predicate(row["envelope"])
        values = {
            "review": row["id"],
            "nonce": said.get("nonce", ""),
            "decision": said.get("decision") or _KEPT.get(row["state"], "escalate"),
            "reviewer": row["reviewer"] or "",
            "comment": row["comment"],
            "at": row["decided"] or row["created"],
            "envelope": row["envelope"],
        }
        bind.execute(sa.insert(decisions).values(values))
    op.drop_column("reviews", "envelope")


def _predicate(envelope: str) -> dict[str, str]:
    """What was signed; nothing for an envelope that cannot be read: it is kept, and will not verify."""
    try:
        predicate = json.loads(base64.b64decode(json.loads(envelope)["payload"]))["predicate"]
        return {name: str(predicate[name]) for name in ("nonce", "decision") if name in predicate}
    except (ValueError, KeyError, TypeError):
        return {}
