"""Schedules and their firings, memory kept elsewhere, what is linked to a forge, effects that are due there."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from nightcrew.model.words import indexed

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("updated", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )
    op.create_table(
        "firings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("due", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started", sa.Text(), nullable=False),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("exit_status", sa.Integer(), nullable=True),
        sa.Column("shift", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sa.UniqueConstraint("schedule", "due", name=op.f("uq_firings_schedule")),
    )
    _index_records()
    op.create_table(
        "memory_sync",
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("remote", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Text(), nullable=True),
        sa.Column("sent", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_memory_sync")),
    )
    op.create_index(op.f("ix_memory_sync_state"), "memory_sync", ["state"], unique=False)
    op.create_table(
        "links",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("updated", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "ref", name=op.f("pk_links")),
    )
    op.create_index(op.f("ix_links_ticket"), "links", ["ticket"], unique=False)
    op.create_table(
        "effects",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Text(), nullable=True),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("done", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_effects")),
        sa.UniqueConstraint("key", name=op.f("uq_effects_key")),
    )
    op.create_index(op.f("ix_effects_subject"), "effects", ["subject"], unique=False)
    op.create_index(op.f("ix_effects_state"), "effects", ["state"], unique=False)


def _index_records() -> None:
    """Find session records by their tickets and files, and by words that are taken apart alike on both databases."""
    op.create_table(
        "record_links",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", "session", name=op.f("pk_record_links")),
    )
    op.create_index(op.f("ix_record_links_session"), "record_links", ["session"], unique=False)
    connection = op.get_bind()
    on_sqlite = connection.dialect.name == "sqlite"
    if not on_sqlite:
        op.execute("DROP INDEX ix_records_search")
        op.execute(
            "ALTER TABLE records ADD COLUMN vector tsvector GENERATED ALWAYS AS (to_tsvector('english', text)) STORED"
        )
        op.execute("CREATE INDEX ix_records_search ON records USING gin (vector)")
    for session, doc in connection.execute(sa.text("SELECT session, doc FROM records")).all():
        try:
            row, links = _row_and_links(session, json.loads(doc))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # It is no record: it stays as it is, and an audit names it.
        _index_record(connection, row, links, on_sqlite)


def _row_and_links(session: str, record: dict[str, Any]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    lists = {name: record.get(name) or [] for name in ("decisions", "questions", "files", "tickets")}
    texts = [record["title"]] * 3 + [record["summary"], *lists["decisions"], *lists["questions"] * 2]
    row = {"session": session, "text": indexed([*texts, *lists["files"], *lists["tickets"], record["agent"]])}
    links = {("ticket", value) for value in lists["tickets"]} | {("file", value) for value in lists["files"]}
    return row, sorted(link for link in links if "\0" not in link[1] and len(link[1]) <= 500)


def _index_record(
    connection: sa.Connection, row: dict[str, str], links: list[tuple[str, str]], on_sqlite: bool
) -> None:
    connection.execute(sa.text("UPDATE records SET text = :text WHERE session = :session"), row)
    if on_sqlite:
        connection.execute(sa.text("UPDATE records_fts SET text = :text WHERE session = :session"), row)
    for kind, value in links:
        connection.execute(
            sa.text("INSERT INTO record_links (kind, value, session) VALUES (:kind, :value, :session)"),
            {"kind": kind, "value": value, "session": row["session"]},
        )
