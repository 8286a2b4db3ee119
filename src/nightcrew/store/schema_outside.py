"""The tables of what reaches beyond one night: schedules, memory elsewhere, forges, effects due, drills, load tests."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, UniqueConstraint

from nightcrew.store.metadata import BIG_KEY, metadata

schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("doc", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
    Column("since", Text, nullable=False),
)

firings = Table(
    "firings",
    metadata,
    Column("id", BIG_KEY, primary_key=True),
    Column("schedule", Text, nullable=False),
    Column("due", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("ended", Text),
    Column("outcome", Text),
    Column("exit_status", Integer),
    Column("shift", Text),
    Column("detail", Text, nullable=False),
    UniqueConstraint("schedule", "due"),
)

record_links = Table(
    "record_links",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("session", Text, primary_key=True, index=True),
)
"""The tickets and files of session records, to find these by."""

memory_sync = Table(
    "memory_sync",
    metadata,
    Column("session", Text, primary_key=True),
    Column("remote", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Text),
    Column("sent", Text),
    Column("problem", Text, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("source", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("ticket", Text, nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("doc", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
)

effects = Table(
    "effects",
    metadata,
    Column("id", BIG_KEY, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("doc", Text, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Text),
    Column("created", Text, nullable=False),
    Column("done", Text),
    Column("result", Text, nullable=False),
    Column("problem", Text, nullable=False),
)

drill_runs = Table(
    "drill_runs",
    metadata,
    Column("id", BIG_KEY, primary_key=True),
    Column("target", Text, nullable=False),
    Column("drill", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("doc", Text, nullable=False),
    Column("entry", BigInteger, nullable=False),
    Index("ix_drill_runs_drill", "target", "drill"),
)

load_runs = Table(
    "load_runs",
    metadata,
    Column("id", BIG_KEY, primary_key=True),
    Column("target", Text, nullable=False, index=True),
    Column("started", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("doc", Text, nullable=False),
    Column("entry", BigInteger, nullable=False),
)
