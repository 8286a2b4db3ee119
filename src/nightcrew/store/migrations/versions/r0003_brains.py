"""What brains leave while they work: the journal of answers, and what each turn cost."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the columns."""
    op.create_table(
        "journal",
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session", "ticket", "key", name=op.f("pk_journal")),
    )
    for name in ("input_tokens", "output_tokens", "microdollars"):
        op.add_column("turns", sa.Column(name, sa.BigInteger(), nullable=True))
