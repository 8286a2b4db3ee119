"""What the timeline's part of the JSON API gives."""

from datetime import datetime
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from nightcrew.crew.timeline import Event, Timeline, trace_of
from nightcrew.crew.under import Record, Under
from nightcrew.monitoring.telemetry import trace_id_of
from nightcrew.store.rows import from_time
from nightcrew.store.spans import HandoffRow


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LineOut(_Body):
    """One series: a value a bucket, null where nothing was measured."""

    name: str
    values: list[float | None]


class LaneOut(_Body):
    """Series in one unit; ``stacked`` ones add up."""

    key: str
    title: str
    unit: str
    stacked: bool
    lines: list[LineOut]


class EventOut(_Body):
    """Something that happened at ``start``, or from then to ``end`` (null: not over); ``href`` is its page.

    ``trace`` is the id of its trace for who collects OpenTelemetry's, null if it has none.
    """

    kind: Literal["deployment", "alert", "drift", "shift", "session"]
    name: str
    label: str
    start: datetime
    end: datetime | None
    severity: str
    detail: str
    href: str
    trace: str | None


class AxisOut(_Body):
    """The buckets: ``count`` of ``step`` seconds each, the first of which begins at ``start``."""

    start: datetime
    step: int
    count: int


class TimelineOut(_Body):
    """Lanes and events over one axis; ``left_out`` names kinds of events of which only the latest are here."""

    subject: str
    step: str | None
    start: datetime
    end: datetime
    now: datetime
    axis: AxisOut
    lanes: list[LaneOut]
    events: list[EventOut]
    left_out: list[str]


class RecordOut(_Body):
    """A record, when its outcome as it is now was written, and why (``made``, or what changed it)."""

    name: str
    state: str
    kind: str | None
    reason: str
    at: datetime
    why: str
    run: int
    href: str
    trace: str


class HandoffOut(_Body):
    """A handoff that was written in the span."""

    id: str
    sender: str
    desk: str
    ticket: str | None
    session: str
    kind: str
    verdict: str | None
    at: datetime
    href: str
    trace: str


class UnderOut(_Body):
    """What lies under a span: records that failed come first, all of them counted.

    ``others`` counts the rest up to a thousand (``others_more``: there are more). ``moved`` outcomes of the span were
    changed since and lie where that was done; null: too many to tell.
    """

    subject: str
    start: datetime
    end: datetime
    failed: int
    others: int
    others_more: bool
    moved: int | None
    failures: dict[str, int]
    records: list[RecordOut]
    page: int
    pages: int
    events: list[EventOut]
    handoffs: list[HandoffOut]
    left_out: list[str]


def timeline_out(found: Timeline, now: datetime, repository: str) -> TimelineOut:
    """The timeline as it is given; ``repository`` names the traces."""
    axis = found.axis
    return TimelineOut(
        subject=found.subject.name,
        step=found.step,
        start=found.start,
        end=found.end,
        now=now,
        axis=AxisOut(start=axis.starts()[0], step=axis.step, count=axis.count),
        lanes=[
            LaneOut(
                key=lane.key,
                title=lane.title,
                unit=lane.unit,
                stacked=lane.stacked,
                lines=[LineOut(name=line.name, values=line.values) for line in lane.lines],
            )
            for lane in found.lanes
        ],
        events=[_event(one, repository) for one in found.events],
        left_out=found.left_out,
    )


def under_out(found: Under, repository: str) -> UnderOut:
    """What lies under a span as it is given."""
    return UnderOut(
        subject=found.subject.name,
        start=found.start,
        end=found.end,
        failed=found.failed,
        others=found.others,
        others_more=found.others_more,
        moved=found.moved,
        failures=found.failures,
        records=[_record(one, repository) for one in found.records],
        page=found.page,
        pages=found.pages,
        events=[_event(one, repository) for one in found.events],
        handoffs=[_handoff(one, repository) for one in found.handoffs],
        left_out=found.left_out,
    )


def _event(one: Event, repository: str) -> EventOut:
    return EventOut(
        kind=one.kind,
        name=one.name,
        label=one.label,
        start=one.start,
        end=one.end,
        severity=one.severity,
        detail=one.detail,
        href=one.href,
        trace=trace_id_of(repository, one.trace) if one.trace else None,
    )


def _record(one: Record, repository: str) -> RecordOut:
    return RecordOut(
        name=one.name,
        state=one.state,
        kind=one.kind,
        reason=one.reason,
        at=one.at,
        why=one.why,
        run=one.run,
        href=f"/records/{quote(one.name)}",
        trace=trace_id_of(repository, f"run:{one.run}"),
    )


def _handoff(one: HandoffRow, repository: str) -> HandoffOut:
    return HandoffOut(
        id=one.id,
        sender=one.sender,
        desk=one.desk,
        ticket=one.ticket,
        session=one.session,
        kind=one.kind,
        verdict=one.verdict,
        at=from_time(one.created),
        href=f"/handoffs/{one.id}",
        trace=trace_id_of(repository, trace_of(one.session, one.shift)),
    )
