"""The inbox as a list: what the filters leave, the most severe first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nightcrew.crew import backlog, inbox, views
from nightcrew.crew.asking import desk_of
from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError
from nightcrew.model.review import WAITING, Review, ReviewState
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Ticket
from nightcrew.pipeline.parked import Parked
from nightcrew.web.documents import RecordRow, ReviewList, ReviewRow

PAGE = 50
MAX_RECORDS = 200


class State(StrEnum):
    """Which reviews are listed."""

    WAITING = "waiting"
    PENDING = "pending"
    ESCALATED = "escalated"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOID = "void"
    ALL = "all"


class Kind(StrEnum):
    """Reviews, records, or both."""

    ALL = "all"
    REVIEW = "review"
    RECORD = "record"


class Sort(StrEnum):
    """What comes first."""

    SEVERITY = "severity"
    NEWEST = "newest"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class Filter:
    """What to list; ``text`` is looked for in titles, reasons and ids."""

    state: State = State.WAITING
    severity: Severity | None = None
    desk: str = ""
    kind: Kind = Kind.ALL
    text: str = ""
    sort: Sort = Sort.SEVERITY
    page: int = 1


@dataclass(frozen=True)
class Listing:
    """The list, and the desks that can be filtered for."""

    found: ReviewList
    desks: Sequence[str]


def listed(project: Project, wanted: Filter) -> Listing:
    """What waits, or was decided, as ``wanted``; overdue reviews are escalated first."""
    waiting = inbox.pending(project)
    everything = waiting if wanted.state in (State.WAITING, State.PENDING, State.ESCALATED) else None
    found = everything if everything is not None else inbox.all_reviews(project)
    known = backlog.readable(project, {review.ticket for review in found})
    rows = [row(project, review, known.get(review.ticket)) for review in found]
    kept = [one for one in rows if _fits(one, wanted)] if wanted.kind is not Kind.RECORD else []
    ordered = sorted(kept, key=_ORDER[wanted.sort])
    records = _records(project, wanted)
    pages = max(1, -(-len(ordered) // PAGE))
    start = (min(wanted.page, pages) - 1) * PAGE
    return Listing(
        ReviewList(
            reviews=ordered[start : start + PAGE],
            records=records,
            counts=_counts(kept),
            total=len(kept) + len(records),
            pages=pages,
        ),
        sorted({one.desk for one in rows}),
    )


def row(project: Project, review: Review, ticket: Ticket | None) -> ReviewRow:
    """A review as a list shows it; it is listed even if somebody took its ticket out of the database."""
    return ReviewRow(
        id=review.id,
        ticket=review.ticket,
        title=ticket.title if ticket else "(its ticket is not in the database)",
        desk=_desk(project, review, ticket) if ticket else "",
        reason=review.reason,
        severity=review.severity,
        confidence=review.confidence,
        breaks_build=review.breaks_build,
        state=review.state,
        assigned=review.assigned,
        created=review.created,
        deadline=review.deadline,
        digest=review.subject_digest,
    )


def rows_of(project: Project, ids: Sequence[str]) -> list[ReviewRow]:
    """The waiting reviews with these ids, in this order."""
    known = {review.id: review for review in inbox.pending(project)}
    found = [known[one] for one in ids if one in known]
    of = backlog.readable(project, {review.ticket for review in found})
    return [row(project, review, of.get(review.ticket)) for review in found]


def neighbours(project: Project, review_id: str) -> tuple[str | None, str | None]:
    """The reviews before and after this one in the list of those that wait; the first one after a decided review."""
    ids = [one.id for one in listed(project, Filter(kind=Kind.REVIEW)).found.reviews]
    if review_id not in ids:
        return None, next(iter(ids), None)
    at = ids.index(review_id)
    return (ids[at - 1] if at else None), (ids[at + 1] if at + 1 < len(ids) else None)


def record_row(record: Parked) -> RecordRow:
    """A held record as a list shows it."""
    return RecordRow(
        name=record.name,
        pipeline=record.pipeline,
        reason=record.reason,
        confidence=record.confidence,
        state=record.state,
        digest=record.digest,
    )


_ORDER: Mapping[Sort, Any] = {
    Sort.SEVERITY: lambda one: (-one.severity.rank, -one.created.timestamp(), one.id),
    Sort.NEWEST: lambda one: (-one.created.timestamp(), one.id),
    Sort.DEADLINE: lambda one: (one.deadline, one.id),
}


def _fits(one: ReviewRow, wanted: Filter) -> bool:
    states = {State.WAITING: WAITING, State.ALL: frozenset(ReviewState)}
    return (
        one.state in states.get(wanted.state, {wanted.state.value})
        and wanted.severity in (None, one.severity)
        and wanted.desk in ("", one.desk)
        and _has(wanted.text, one.id, one.ticket, one.title, one.reason, one.desk)
    )


def _records(project: Project, wanted: Filter) -> list[RecordRow]:
    if wanted.kind is Kind.REVIEW or wanted.severity or wanted.desk or wanted.state not in (State.WAITING, State.ALL):
        return []
    held = inbox.waiting_records(project, limit=MAX_RECORDS)
    return [record_row(one) for one in held if _has(wanted.text, one.name, one.reason)]


def _has(text: str, *where: str) -> bool:
    return not text or any(text.casefold() in place.casefold() for place in where)


def _counts(rows: Sequence[ReviewRow]) -> dict[str, int]:
    counted = Counter(one.severity for one in rows)
    return {str(severity): counted[severity] for severity in reversed(Severity) if counted[severity]}


def _desk(project: Project, review: Review, ticket: Ticket) -> str:
    try:
        return desk_of(ticket, views.show_handoff(project, review.handoff)[0] if review.handoff else None)
    except NightcrewError:  # Its own page says what is wrong with it; the others are shown all the same.
        return ""
