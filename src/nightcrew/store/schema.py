"""The tables of nightcrew's own state, valid on SQLite and on Postgres.

Times are RFC 3339 text in UTC with microseconds, so that they sort as text; lists and documents are canonical JSON.
Tables are made by the migrations, which say of partial indexes what they hold on Postgres too: said here, it would
import that dialect, and all its drivers, at every start.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from nightcrew.store import schema_outside as _outside  # noqa: F401 - declares its tables on the same metadata
from nightcrew.store import workers as _workers  # declares the table of workers on the same metadata
from nightcrew.store.metadata import BIG_KEY, metadata

REVISION = "0007"
"""The migration that these tables are the result of."""

workers = _workers.workers

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

counters = Table("counters", metadata, Column("name", Text, primary_key=True), Column("value", Integer, nullable=False))

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("seal", Text, nullable=False),
    Index("ix_ledger_subject", "subject", "seq"),
    Index("ix_ledger_at", "at"),
    Index("ix_ledger_action", "action", "seq"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("severity", Text),
    Column("breaks_build", Boolean, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("depends_on", Text, nullable=False),
    Column("command", Text),
    Column("branch", Text),
    Column("origin", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("findings", Text, nullable=False),
    Column("base", Text),
    Column("head", Text),
    Column("review", Text),
    Column("created", Text, nullable=False),
    Column("entry", Integer, nullable=False),
)

manifests = Table(
    "manifests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Text, nullable=False),
)

shifts = Table(
    "shifts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False, index=True),
    Column("outcome", Text),
    Column("started", Text, nullable=False),
    Column("ended", Text),
    Column("agents", Text, nullable=False),
    Column("brain", Text),
    Column("deadline", Text),
    Column("stop_requested", Boolean, nullable=False),
    Column("report", Text),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("shift", Text, index=True),
    Column("agent", Text, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("brain", Text),
    Column("soft", Integer, nullable=False),
    Column("hard", Integer, nullable=False),
    Column("created", Text, nullable=False),
    Column("started", Text),
    Column("ended", Text),
    Column("note", Text, nullable=False),
    Column("ticket_now", Text),
    Index("ix_sessions_agent", "agent", "created"),
)

session_tickets = Table(
    "session_tickets",
    metadata,
    Column("session", Text, primary_key=True),
    Column("ticket", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("outcome", Text),
    Column("handoff", Text),
)

turns = Table(
    "turns",
    metadata,
    Column("session", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("ticket", Text),
    Column("at", Text, nullable=False),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("microdollars", BigInteger),
    UniqueConstraint("session", "key"),
)

journal = Table(
    "journal",
    metadata,
    Column("session", Text, primary_key=True),
    Column("ticket", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", Text, nullable=False),
)

handoffs = Table(
    "handoffs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sender", Text, nullable=False),
    Column("desk", Text, nullable=False),
    Column("ticket", Text, index=True),
    Column("session", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("verdict", Text),
    Column("severity", Text),
    Column("head", Text),
    Column("body", LargeBinary, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("routed", Boolean, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("doc", Text, nullable=False),
    Column("ticket", Text, index=True),
    Column("state", Text, nullable=False),
    Column("first_seen", Text, nullable=False),
    Column("last_seen", Text, nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", Text, primary_key=True),
    Column("ticket", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("confidence", Float(53)),
    Column("breaks_build", Boolean, nullable=False),
    Column("handoff", Text),
    Column("subjects", Text, nullable=False),
    Column("subject_digest", Text, nullable=False),
    Column("on_approve", Text, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("assigned", Text),
    Column("created", Text, nullable=False),
    Column("deadline", Text, nullable=False),
    Column("decided", Text),
    Column("reviewer", Text),
    Column("comment", Text, nullable=False),
)

review_decisions = Table(
    "review_decisions",
    metadata,
    Column("review", Text, primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("decision", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("envelope", Text, nullable=False),
)

used_nonces = Table(
    "used_nonces", metadata, Column("nonce", Text, primary_key=True), Column("review", Text, nullable=False)
)

records = Table(
    "records",
    metadata,
    Column("session", Text, primary_key=True),
    Column("created", Text, nullable=False),
    Column("doc", Text, nullable=False),
    Column("text", Text, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("acquired", Text, nullable=False),
    Column("expires", Text, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Text, primary_key=True),
    Column("what", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    Column("state", Text, nullable=False),
)

# Records at scale -----------------------------------------------------------------------------------------------------


pipelines = Table(
    "pipelines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("secret", Text, nullable=False),
    Column("fields", Text),
)

versions = Table(
    "versions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("pipeline", Integer, nullable=False),
    Column("doc", Text, nullable=False),
    Column("created", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("pipeline", Integer, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("ended", Text),
    Column("sink", Text),
    Column("attempt", Integer, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("run", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, nullable=False),
    Column("stop", BigInteger),
    Column("part", Integer, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("repeated", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("holder", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("sink", Text, primary_key=True),
    Column("mark", BigInteger, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    Column("run", Integer, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

OPEN = text("state NOT IN ('accepted', 'fallback')")
"""A query that asks for open outcomes says so in these very words: else no database takes the index for it."""
FAILED = text("kind IS NOT NULL")
"""The same for those that failed."""

outcomes = Table(
    "outcomes",
    metadata,
    Column("id", BIG_KEY, primary_key=True),
    Column("pipeline", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("run", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("kind", Text),
    Column("batch", BIG_KEY, nullable=False),
    Column("leaf", Integer, nullable=False),
    Column("next_at", Text),
    Column("input", LargeBinary),
    Column("doc", Text, nullable=False),
    UniqueConstraint("pipeline", "key"),
    # Only the few that are not settled are found by state: an index over all would cost each record a write.
    Index("ix_outcomes_batch", "batch"),
    Index("ix_outcomes_open", "pipeline", "state", "next_at", sqlite_where=OPEN),
    Index("ix_outcomes_kind", "pipeline", "state", "kind", sqlite_where=OPEN),
    # Those that failed, by the time of it: a batch's number grows with that.
    Index("ix_outcomes_failed", "batch", "id", "pipeline", "kind", sqlite_where=FAILED),
)

batches = Table(
    "batches",
    metadata,
    Column("id", BIG_KEY, primary_key=True, autoincrement=False),
    Column("run", Integer, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("leaves", LargeBinary, nullable=False),
    Column("entry", BigInteger, nullable=False),
    Index("ix_batches_entry", "entry"),
)

record_decisions = Table(
    "record_decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pipeline", Integer, nullable=False, index=True),
    Column("decision", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("envelope", Text, nullable=False),
    Column("subjects", Text, nullable=False),
)

# Monitoring -----------------------------------------------------------------------------------------------------------

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("kind", Text, nullable=False),
    UniqueConstraint("name", "subject", "labels", "kind"),
)

# One row a series, span of time (60, 3600 or 86400 s, beginning at ``at`` in Unix seconds) and writer. A writer writes
# what it has of the span so far over what it wrote before, so that nothing is counted twice.
points = Table(
    "points",
    metadata,
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("span", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
    Column("total", Float(53), nullable=False),
    Column("low", Float(53)),
    Column("high", Float(53)),
    Column("last", Float(53)),
    Column("sketch", LargeBinary),
    Index("ix_points_age", "span", "at"),
)

drift_references = Table(
    "drift_references",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("doc", LargeBinary, nullable=False),
    Column("created", Text, nullable=False),
)

drifts = Table(
    "drifts",
    metadata,
    Column("id", BIG_KEY, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("feature", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("since", Text, nullable=False),
    Column("until", Text),
    Column("effect", Float(53), nullable=False),
    Column("p", Float(53), nullable=False),
    Column("message", Text, nullable=False),
    Index("ix_drifts_subject", "subject", "at"),
)

UNRESOLVED = text("resolved IS NULL")
"""Of one rule and subject, at most one alert is open."""

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("value", Float(53)),
    Column("message", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("runbook", Text, nullable=False),
    Column("since", Text, nullable=False),
    Column("fired", Text),
    Column("acknowledged", Text),
    Column("acknowledged_by", Text),
    Column("resolved", Text),
    Column("clear_since", Text),
    Column("escalated", Integer, nullable=False),
    Column("told", Text),
    Index("ix_alerts_open", "rule", "subject", unique=True, sqlite_where=UNRESOLVED),
)

alert_messages = Table(
    "alert_messages",
    metadata,
    Column("id", BIG_KEY, primary_key=True),
    Column("alerts", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Text),
    Column("created", Text, nullable=False),
    Column("sent", Text),
    Column("taken_by", Text),
    Column("problem", Text, nullable=False),
)

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("tried", Text, nullable=False),
    Column("problem", Text, nullable=False),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("until", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("ended", Text),
)
