"""The inbox as a list: what the filters leave, the most severe first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightcrew.crew import backlog, inbox, views
from nightcrew.crew.asking import desk_of
from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError
from nightcrew.model.review import WAITING, Review, ReviewState
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Ticket
from nightcrew.pipeline.parked import Parked
from nightcrew.store.browsing import ReviewRow as Light
from nightcrew.web.documents import RecordRow, ReviewList, ReviewRow

PAGE = 50
MAX_RECORDS = 50


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
    light = inbox.listed(project, _STATES[wanted.state])
    kept = [one for one in light if _fits(one, wanted)] if wanted.kind is not Kind.RECORD else []
    ordered = _sorted(kept, wanted.sort)
    records = _records(project, wanted)
    pages = max(1, -(-len(ordered) // PAGE))
    start = (min(wanted.page, pages) - 1) * PAGE
    return Listing(
        ReviewList(
            reviews=_rows(project, ordered[start : start + PAGE]),
            records=records,
            counts=_counts(kept),
            total=len(kept) + len(records),
            pages=pages,
        ),
        sorted({one.desk for one in light}),
    )


def row(project: Project, review: Review, ticket: Ticket | None, desk: str | None = None) -> ReviewRow:
    """A review as a list shows it; it is listed even if somebody took its ticket out of the database."""
    if desk is None:
        desk = _desk(project, review, ticket) if ticket else ""
    return ReviewRow(
        id=review.id,
        ticket=review.ticket,
        title=ticket.title if ticket else "(its ticket is not in the database)",
        desk=desk,
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
    known = {one.id: one for one in inbox.listed(project, WAITING)}
    return _rows(project, [known[one] for one in ids if one in known])


def first(project: Project, count: int) -> list[ReviewRow]:
    """The most severe of the reviews that wait."""
    return _rows(project, _sorted(inbox.listed(project, WAITING), Sort.SEVERITY)[:count])


def neighbours(project: Project, review_id: str) -> tuple[str | None, str | None]:
    """The reviews before and after this one in the list of those that wait; the first one after a decided review."""
    ids = [one.id for one in _sorted(inbox.listed(project, WAITING), Sort.SEVERITY)]
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


_STATES: Mapping[State, frozenset[ReviewState] | None] = {
    State.WAITING: WAITING,
    State.ALL: None,
    **{one: frozenset({ReviewState(one.value)}) for one in State if one not in (State.WAITING, State.ALL)},
}
_RANKS = {str(severity): severity.rank for severity in Severity}


def _sorted(rows: Sequence[Light], sort: Sort) -> list[Light]:
    if sort is Sort.DEADLINE:
        return sorted(rows, key=lambda one: (one.deadline, one.id))
    newest = sorted(sorted(rows, key=lambda one: one.id), key=lambda one: one.created, reverse=True)
    return newest if sort is Sort.NEWEST else sorted(newest, key=lambda one: -_RANKS.get(one.severity, -1))


def _rows(project: Project, light: Sequence[Light]) -> list[ReviewRow]:
    """These as a list shows them; a damaged one is left out, and logged as what it is."""
    found = inbox.some(project, [one.id for one in light])
    desks = {one.id: one.desk for one in light}
    of = backlog.readable(project, {review.ticket for review in found})
    return [row(project, one, of.get(one.ticket), desks[one.id] if one.ticket in of else "") for one in found]


def _fits(one: Light, wanted: Filter) -> bool:
    return (
        wanted.severity in (None, one.severity)
        and wanted.desk in ("", one.desk)
        and _has(wanted.text, one.id, one.ticket, one.title or "", one.reason, one.desk)
    )


def _records(project: Project, wanted: Filter) -> list[RecordRow]:
    if wanted.kind is Kind.REVIEW or wanted.severity or wanted.desk or wanted.state not in (State.WAITING, State.ALL):
        return []
    held = inbox.waiting_records(project, limit=MAX_RECORDS)
    return [record_row(one) for one in held if _has(wanted.text, one.name, one.reason)]


def _has(text: str, *where: str) -> bool:
    return not text or any(text.casefold() in place.casefold() for place in where)


def _counts(rows: Sequence[Light]) -> dict[str, int]:
    counted = Counter(one.severity for one in rows)
    return {str(severity): counted[severity] for severity in reversed(Severity) if counted[severity]}


def _desk(project: Project, review: Review, ticket: Ticket) -> str:
    try:
        return desk_of(ticket, views.show_handoff(project, review.handoff)[0] if review.handoff else None)
    except NightcrewError:  # Its own page says what is wrong with it; the others are shown all the same.
        return ""
