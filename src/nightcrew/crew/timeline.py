"""The correlated timeline: what was measured, and what happened, of one subject over one span, on one axis."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from nightcrew.model.errors import UsageError
from nightcrew.monitoring.lanes import MAX_BUCKETS, Asked, Buckets, Lane, axis, lanes, measured
from nightcrew.store import runs, series, spans
from nightcrew.store.rows import from_optional_time, from_time
from nightcrew.store.store import Store, Tx

EventKind = Literal["deployment", "alert", "drift", "shift", "session"]
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=3660)
_MANY = 200
"""Events of one kind that are listed, at most: the latest."""


@dataclass(frozen=True)
class Event:
    """Something that happened: at ``start``, or from then to ``end`` (None: not over).

    ``trace`` is what its trace is of, such as ``shift:N-0001``; empty if it has none.
    """

    kind: EventKind
    name: str
    label: str
    start: datetime
    end: datetime | None
    severity: str
    detail: str
    href: str
    trace: str = ""


@dataclass(frozen=True)
class Subject:
    """Whose timeline: ``all``, ``crew`` or ``pipeline:NAME``; ``number`` is the pipeline's."""

    name: str
    number: int | None = None

    @property
    def pipeline(self) -> str | None:
        """The pipeline's name."""
        return self.name.partition(":")[2] if self.number is not None else None

    @property
    def watched(self) -> tuple[str, ...]:
        """The subjects of alerts and drift that belong to it; none for all."""
        if self.pipeline is not None:
            return (self.name, f"step:{self.pipeline}/*")
        return ("crew", "agent:*", "brain:*", "check:*", "desk:*", "schedule*") if self.name == "crew" else ()


@dataclass(frozen=True)
class Timeline:
    """Lanes and events over ``axis``; ``left_out`` says of which kinds there were more events than are here."""

    subject: Subject
    step: str | None
    start: datetime
    end: datetime
    axis: Buckets
    lanes: list[Lane]
    events: list[Event]
    left_out: list[str]


def read(
    store: Store,
    subject: str,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    step: str | None = None,
    buckets: int = MAX_BUCKETS,
) -> Timeline:
    """The timeline of ``subject`` from ``start`` to ``end``; ``step`` names the step whose calls are looked at.

    Raises UsageError (an impossible span or subject), NotFoundError (no such pipeline).
    """
    check(start, end)
    with store.read() as tx:
        whose = subject_of(tx, subject)
        asked = _asked(whose, step)
        known = measured(tx, asked)
        over = axis(start, end, now, buckets=buckets, series=sum(len(series) for series in known))
        events, left_out = _events(tx, whose, start, end)
        return Timeline(whose, step, start, end, over, lanes(tx, asked, known, over), events, left_out)


def subjects(store: Store) -> list[str]:
    """Every subject that a timeline can be asked for."""
    with store.read() as tx:
        return ["all", "crew", *(f"pipeline:{row.name}" for row in runs.all_pipelines(tx))]


def steps(store: Store, subject: str) -> list[str]:
    """The steps of a pipeline that were measured."""
    pipeline = subject.removeprefix("pipeline:")
    if pipeline == subject:
        return []
    with store.read() as tx:
        found = series.find(tx, name="seconds", subject=f"step:{pipeline}/*")
    return sorted({one.subject.partition("/")[2] for one in found.values()})


def check(start: datetime, end: datetime) -> None:
    """Raises UsageError for a span that is none, too long, or not in this age."""
    if end <= start:
        raise UsageError("the span ends before it begins", hint="Give a later time in: to")
    if end - start > LONGEST:
        raise UsageError("a span is at most ten years long", hint="Give a shorter one.")
    if start < EARLIEST or end > EARLIEST + timedelta(days=36600):
        raise UsageError("a span lies between the years 2000 and 2100", hint="Look at the years in: from, to")


def subject_of(tx: Tx, name: str) -> Subject:
    """Whose timeline ``name`` asks for. Raises UsageError, NotFoundError."""
    if name in ("all", "crew"):
        return Subject(name)
    kind, colon, pipeline = name.partition(":")
    if kind != "pipeline" or not colon or not pipeline:
        raise UsageError(f"{name!r} is no subject of a timeline", hint="Subjects are: all, crew, pipeline:NAME")
    return Subject(name, runs.pipeline(tx, pipeline).id)


def _asked(subject: Subject, step: str | None) -> list[Asked]:
    """The lanes of a subject, from top to bottom."""
    if subject.name == "crew":
        return [
            Asked("throughput", "Turns taken", "turns", "turns", ("agent:*",), "brain", "count"),
            Asked("seconds", "Time that a request to a brain takes", "s", "seconds", ("brain:*",), "", "ranks"),
            Asked("errors", "Errors by class", "errors", "errors", ("brain:*", "check:*"), "class", "count"),
            Asked("depth", "Waiting", "tickets, reviews", "queue.depth", ("desk:*",), "queue", "last"),
        ]
    whole = (subject.name,) if subject.pipeline is not None else ("pipeline:*",)
    timed = (f"step:{subject.pipeline}/{step}",) if subject.pipeline is not None and step else whole
    of = f"step {step}" if step else "a record"
    return [
        Asked("throughput", "Records", "records/s", "records", whole, "state", "rate"),
        Asked("seconds", f"Time that {of} takes", "s", "seconds", timed, "", "ranks"),
        Asked("errors", "Errors by class", "errors", "errors", timed, "class", "count"),
        Asked("drift", "Drift of input and output", "share moved", "drift", whole, "feature", "worst"),
        Asked("depth", "Waiting", "records", "queue.depth", whole, "queue", "last"),
    ]


def _events(tx: Tx, subject: Subject, start: datetime, end: datetime) -> tuple[list[Event], list[str]]:
    found: dict[str, Sequence[Event]] = {}
    more = _MANY + 1
    if subject.name != "crew":
        found["deployment"] = [deployment(one) for one in spans.deployments(tx, start, end, subject.number, limit=more)]
        found["drift"] = [drift(one) for one in spans.drifted(tx, start, end, subject.watched, limit=more)]
    found["alert"] = [alert(one) for one in spans.fired(tx, start, end, subject.watched, limit=more)]
    found["shift"] = [shift(one) for one in spans.shifts_between(tx, start, end, limit=more)]
    found["session"] = [session(one) for one in spans.sessions_between(tx, start, end, limit=more)]
    listed = [one for events in found.values() for one in events[:_MANY]]
    return sorted(listed, key=lambda one: one.start), [kind for kind, events in found.items() if len(events) > _MANY]


def deployment(row: spans.Deployment) -> Event:
    """A version as an event."""
    at, named = from_time(row.created), _named(row.doc)
    label = f"{row.pipeline} {named or row.digest[:8]}"
    detail = f"version {row.digest} of the code and model of {row.pipeline}"
    return Event("deployment", row.digest, label, at, at, "", detail, f"/pipelines/{row.pipeline}")


def alert(row: spans.AlertRow) -> Event:
    """An alert as an interval: from when it fired until it was resolved."""
    began, over = from_time(row.fired), from_optional_time(row.resolved)
    return Event("alert", row.id, row.rule, began, over, row.severity, row.message, f"/alerts#{row.id}")


def drift(row: spans.DriftRow) -> Event:
    """A finding of drift as an event."""
    at = from_time(row.at)
    return Event("drift", str(row.id), row.feature, at, at, "", row.message, "/alerts")


def shift(row: spans.ShiftRow) -> Event:
    """A shift as an interval."""
    began, over = from_time(row.started), from_optional_time(row.ended)
    href, trace = f"/report?shift={row.id}", f"shift:{row.id}"
    return Event("shift", row.id, f"shift {row.id}", began, over, "", row.outcome or "running", href, trace)


def session(row: spans.SessionRow) -> Event:
    """A session as an interval."""
    began, over = from_time(row.started), from_optional_time(row.ended)
    href, trace = f"/sessions/{row.id}", trace_of(row.id, row.shift)
    return Event("session", row.id, f"{row.agent} {row.id}", began, over, "", row.outcome or row.state, href, trace)


def trace_of(session: str, shift: str | None) -> str:
    """What the trace of a session is of: its shift if it has one."""
    return f"shift:{shift}" if shift else f"session:{session}"


def _named(doc: str) -> str:
    """The version that whoever wrote the pipeline gave it."""
    try:
        found = json.loads(doc).get("version", "")
    except (ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""
