"""What lies under a span of the timeline: the records that failed in it, the others, and what happened meanwhile."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from nightcrew.crew import timeline
from nightcrew.crew.timeline import Event, Subject
from nightcrew.store import runs, spans
from nightcrew.store.rows import from_time
from nightcrew.store.spans import MAX_COUNTED, Batches, HandoffRow, Placed
from nightcrew.store.store import Store, Tx

PAGE = 50
_MANY = 100
"""Sessions, handoffs and other events that are listed, at most: the latest."""


class Record(NamedTuple):
    """A record's outcome as a list shows it: when it was written, and why (``made``, or what changed it)."""

    name: str
    pipeline: str
    key: str
    state: str
    kind: str | None
    reason: str
    at: datetime
    why: str
    run: int


@dataclass(frozen=True)
class Under:
    """One page of records, those that failed first, and everything else in the span.

    ``failed`` counts every record that failed, ``others`` up to MAX_COUNTED of the rest (``others_more``: there are
    more). ``moved`` is how many outcomes of the span were changed since and now lie later; None: not known.
    """

    subject: Subject
    start: datetime
    end: datetime
    failed: int
    others: int
    others_more: bool
    moved: int | None
    failures: dict[str, int]
    records: list[Record]
    page: int
    pages: int
    events: list[Event]
    handoffs: list[HandoffRow]
    left_out: list[str]


def read(store: Store, subject: str, start: datetime, end: datetime, *, page: int = 1) -> Under:
    """What lies from ``start`` (inclusive) to ``end``. Raises UsageError, NotFoundError as the timeline does."""
    timeline.check(start, end)
    with store.read() as tx:
        whose = timeline.subject_of(tx, subject)
        where = Batches(()) if whose.name == "crew" else spans.batches_between(tx, start, end, whose.number)
        failures = spans.failures(tx, where, whose.number)
        failed, others = sum(failures.values()), spans.others(tx, where, whose.number)
        pages = max(1, -(-(failed + min(others, MAX_COUNTED)) // PAGE))
        page = min(page, pages)
        events, left_out = _events(tx, whose, start, end)
        handoffs = spans.handoffs_between(tx, start, end, limit=_MANY + 1)
        if len(handoffs) > _MANY:
            left_out.append("handoff")
        return Under(
            subject=whose,
            start=start,
            end=end,
            failed=failed,
            others=min(others, MAX_COUNTED),
            others_more=others > MAX_COUNTED,
            moved=spans.moved(tx, where, whose.number),
            failures=failures,
            records=_records(tx, where, whose, failed, (page - 1) * PAGE),
            page=page,
            pages=pages,
            events=events,
            handoffs=handoffs[:_MANY],
            left_out=left_out,
        )


def _records(tx: Tx, where: Batches, subject: Subject, failed: int, skip: int) -> list[Record]:
    """A page of the records that failed followed by the others."""
    number, found = subject.number, list[Placed]()
    if skip < failed:
        found += spans.records(tx, where, number, failed=True, skip=skip, limit=PAGE)
    beyond = max(0, skip - failed)
    left = min(PAGE - len(found), MAX_COUNTED - beyond)
    if left > 0:
        found += spans.records(tx, where, number, failed=False, skip=beyond, limit=left)
    names = {row.id: row.name for row in runs.all_pipelines(tx)}
    return [_record(one, names.get(one.stored.pipeline, "?")) for one in found]


def _record(placed: Placed, pipeline: str) -> Record:
    stored = placed.stored
    name, reason = f"{pipeline}/{stored.key}", _reason(stored.doc)
    return Record(
        name, pipeline, stored.key, stored.state, stored.kind, reason, from_time(placed.at), placed.why, stored.run
    )


def _reason(doc: str) -> str:
    """Why the outcome is what it is; a document that is none says nothing here, and its own page says so."""
    try:
        found = json.loads(doc).get("reason", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return found[:500] if isinstance(found, str) else ""


def _events(tx: Tx, subject: Subject, start: datetime, end: datetime) -> tuple[list[Event], list[str]]:
    found = {
        "alert": [timeline.alert(one) for one in spans.fired(tx, start, end, subject.watched, limit=_MANY + 1)],
        "session": [timeline.session(one) for one in spans.sessions_between(tx, start, end, limit=_MANY + 1)],
    }
    if subject.name != "crew":
        deployed = spans.deployments(tx, start, end, subject.number, limit=_MANY + 1)
        drifted = spans.drifted(tx, start, end, subject.watched, limit=_MANY + 1)
        found |= {
            "deployment": [timeline.deployment(one) for one in deployed],
            "drift": [timeline.drift(one) for one in drifted],
        }
    listed = [one for events in found.values() for one in events[:_MANY]]
    return sorted(listed, key=lambda one: one.start), [kind for kind, events in found.items() if len(events) > _MANY]
