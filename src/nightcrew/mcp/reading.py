"""The tools that read: each looks at what is stored and gives a result that fits. None of them writes anything."""

from collections.abc import Iterable
from datetime import datetime

from nightcrew.crew import alarms, board, health, inbox, memory
from nightcrew.crew.report import latest, markdown
from nightcrew.mcp import arguments as ask
from nightcrew.mcp import results as give
from nightcrew.mcp.material import fitting, line, part
from nightcrew.mcp.request import Request
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import NotFoundError, UsageError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Handoff
from nightcrew.model.record import Recalled
from nightcrew.model.review import WAITING, Review
from nightcrew.model.ticket import Ticket
from nightcrew.store import browsing, handoffs, parking
from nightcrew.store.browsing import ReviewRow, TicketRow

_PAGE = 50
_OF_ONE = 20
"""Handoffs, findings and events that one ticket or review is shown with."""
_HOW = (
    "Only a person decides, by a signature in a terminal or in the browser: nightcrew inbox show {0}, then "
    "nightcrew inbox approve {0} or nightcrew inbox reject {0}; or nightcrew serve."
)


def list_backlog(on: Request, asked: ask.Backlog) -> give.BacklogResult:
    """See the table of tools."""
    project = on.project
    wanted = board.Wanted(
        state=asked.state, kind=asked.kind, priority=asked.priority, severity=asked.severity, text=asked.text,
        before=asked.cursor or None,
    )  # fmt: skip
    _, rows, following = board.listed(project, wanted)
    kept = fitting(_ticket_row(row).plain() for row in rows)
    last = kept[-1]["id"] if kept and (following or len(kept) < len(rows)) else None
    with project.store.read() as tx:
        state = asked.state and asked.state.value
        counts = browsing.ticket_counts(tx, state=state, **wanted.fits)
    return give.BacklogResult.read({"counts": counts, "tickets": kept, "next_cursor": last}, source="list_backlog")


def show_ticket(on: Request, asked: ask.OneTicket) -> give.TicketResult:
    """See the table of tools."""
    story = board.story(on.project, asked.ticket)
    ticket = story.ticket
    body, following = part(ticket.body, asked.cursor)
    history = [give.Event(at=one.at, who=one.actor, what=one.action) for one in story.history]
    return give.TicketResult(
        ticket=ticket_line(ticket),
        body=body,
        depends_on=ticket.depends_on,
        origin=ticket.origin,
        branch=ticket.branch and line(ticket.branch),
        head=ticket.head,
        handoffs=tuple(_handoff_line(one) for one in story.handoffs[-_OF_ONE:]),
        findings=tuple(_finding_line(one.finding, one.state) for one in story.findings[-_OF_ONE:]),
        reviews=tuple(f"{one.id}: {one.state}" for one in story.reviews),
        history=tuple(history[-_OF_ONE:]),
        not_vouched_for=tuple(story.strange),
        left_out=_left(handoffs=story.handoffs, findings=story.findings, history=history),
        next_cursor=following,
    )


def list_handoffs(on: Request, asked: ask.Handoffs) -> give.HandoffsResult:
    """See the table of tools."""
    with on.project.store.read() as tx:
        broken: list[str] = []
        found = handoffs.list(
            tx, ticket=asked.ticket, desk=asked.desk, before=asked.cursor or None, limit=_PAGE + 1, broken=broken
        )
        page, more = browsing.cut([*reversed(found)], max(1, _PAGE - len(broken)))
        strange = [one.id for one in page if not memory.is_genuine(tx, one)]
    kept = fitting(_handoff_line(one).plain() for one in page if one.id not in strange)
    shown = kept[-1]["id"] if kept else page[-1].id if page else None
    cut_short = len(kept) + len(strange) < len(page)
    document = {
        "handoffs": kept,
        "not_vouched_for": [*strange, *map(line, broken)],
        "next_cursor": (shown if cut_short else page[-1].id) if cut_short or more else None,
    }
    return give.HandoffsResult.read(document, source="list_handoffs")


def read_handoff(on: Request, asked: ask.OneHandoff) -> give.HandoffResult:
    """See the table of tools."""
    with on.project.store.read() as tx:
        found = handoffs.verify(tx, asked.handoff)
        _, data = handoffs.get(tx, asked.handoff)
    text, following = part(data.decode(), asked.cursor)
    checks = [give.Check(name=line(one.name), status=one.status, detail=line(one.detail)) for one in found.checks]
    return give.HandoffResult(
        handoff=_handoff_line(found),
        checks=tuple(checks[:_OF_ONE]),
        text=text,
        left_out={"checks": len(checks) - _OF_ONE} if len(checks) > _OF_ONE else {},
        next_cursor=following,
    )


def recall(on: Request, asked: ask.Recall) -> give.RecallResult:
    """See the table of tools."""
    recalled = memory.recall(on.project, asked.query, asked.limit, stale=asked.older)
    kept = fitting(_record_line(found).plain() for found in recalled)
    left = {"records": len(recalled) - len(kept)} if len(kept) < len(recalled) else {}
    return give.RecallResult.read({"records": kept, "left_out": left}, source="recall")


def read_report(on: Request, asked: ask.OneReport) -> give.ReportResult:
    """See the table of tools."""
    found = latest(on.project, asked.shift)
    text, following = part(markdown(found), asked.cursor)
    return give.ReportResult(
        shift=found.shift,
        outcome=found.outcome,
        started=isoformat(found.started),
        ended=isoformat(found.ended) if found.ended else None,
        waiting_reviews=tuple(one.id for one in found.inbox),
        text=text,
        next_cursor=following,
    )


def list_inbox(on: Request, asked: ask.Inbox) -> give.InboxResult:
    """See the table of tools.

    The rows as they are: to escalate what is overdue, as the command does, would be a change.
    """
    with on.project.store.read() as tx:
        rows = browsing.review_rows(tx, None if asked.ended else WAITING)
        held = parking.in_state(tx, "in_review")
        now = tx.now()
    if asked.cursor:
        places = [number for number, row in enumerate(rows) if row.id == asked.cursor]
        if not places:
            raise UsageError(f"{asked.cursor} is not in this list any more", hint="Begin again without a cursor.")
        rows = rows[places[0] + 1 :]
    kept = fitting(_review_row(row, now).plain() for row in rows)
    following = kept[-1]["id"] if len(kept) < len(rows) else None
    document = {"reviews": kept, "held_records": held, "next_cursor": following}
    return give.InboxResult.read(document, source="list_inbox")


def show_review(on: Request, asked: ask.OneReview) -> give.ReviewResult:
    """See the table of tools."""
    with on.project.store.read() as tx:
        rows = [row for row in browsing.review_rows(tx) if row.id == asked.review]
        now = tx.now()
    if not rows:
        raise NotFoundError(f"there is no review {asked.review}", hint="List them with list_inbox.")
    seen = inbox.view(on.project, asked.review)
    diff, following = part(seen.diff, asked.cursor, size=6_000)
    body, more = part(seen.ticket.body, None, size=3_000)
    left = _left(findings=seen.findings, handoffs=seen.handoffs)
    return give.ReviewResult(
        review=_review_row(rows[0], now),
        ticket=ticket_line(seen.ticket),
        body=f"{body} ... the rest: show_ticket" if more else body,
        findings=tuple(_finding_line(one, "") for one in seen.findings[-_OF_ONE:]),
        handoffs=tuple(_handoff_line(one) for one in seen.handoffs[-_OF_ONE:]),
        problem=seen.problem and line(seen.problem),
        effects={name: line(text) for name, text in seen.effects.items()},
        how_to_decide=_how(seen.review),
        diff=diff,
        left_out=left,
        next_cursor=following,
    )


def crew_health(on: Request, asked: ask.Nothing) -> give.HealthResult:
    """See the table of tools."""
    del asked
    found = health.health(on.project, on.project.clock())
    lines = [
        give.AgentLine(
            agent=one.agent,
            well=one.well,
            session=one.session,
            problems=tuple(f"{line(problem.message)} Runbook: {problem.runbook}" for problem in one.problems),
        )
        for one in found
    ]
    return give.HealthResult(agents=tuple(lines))


def list_alerts(on: Request, asked: ask.Nothing) -> give.AlertsResult:
    """See the table of tools."""
    del asked
    firing = alarms.firing(on.project)
    rows = [
        give.AlertLine(
            id=one.id,
            rule=line(one.rule),
            subject=line(one.subject),
            severity=str(one.severity),
            state=one.state,
            since=isoformat(one.fired or one.since),
            message=line(one.message),
            runbook=one.runbook,
        ).plain()
        for one in firing
    ]
    kept = fitting(rows)
    left = {"alerts": len(rows) - len(kept)} if len(kept) < len(rows) else {}
    return give.AlertsResult.read({"alerts": kept, "left_out": left}, source="list_alerts")


def ticket_line(ticket: Ticket) -> give.TicketLine:
    """A ticket as every result has it."""
    return give.TicketLine(
        id=ticket.id,
        title=line(ticket.title),
        kind=ticket.kind,
        priority=ticket.priority,
        severity=ticket.severity,
        state=ticket.state,
        note=line(ticket.note),
        created=isoformat(ticket.created),
    )


def _ticket_row(row: TicketRow) -> give.TicketLine:
    return give.TicketLine(
        id=row.id, title=line(row.title), kind=row.kind, priority=row.priority, severity=row.severity,
        state=row.state, note=line(row.note, 200), created=row.created,
    )  # fmt: skip


def _record_line(found: Recalled) -> give.RecordLine:
    """A record, of each of its lists what fits: the sizes are such that one record fits in a result in any case."""
    record = found.record
    lists = (("decisions", 4_000), ("questions", 4_000), ("files", 2_000), ("tickets", 500))
    kept = {name: fitting(map(line, getattr(record, name)), size=size) for name, size in lists}
    return give.RecordLine(
        session=record.session,
        agent=record.agent,
        created=isoformat(record.created),
        title=line(record.title),
        summary=part(record.summary, None, size=2_000)[0],
        decisions=tuple(kept["decisions"]),
        questions=tuple(kept["questions"]),
        files=tuple(kept["files"]),
        tickets=tuple(kept["tickets"]),
        score=found.score,
        left_out={name: more for name in kept if (more := len(getattr(record, name)) - len(kept[name]))},
    )


def _handoff_line(one: Handoff) -> give.HandoffLine:
    return give.HandoffLine(
        id=one.id,
        sender=one.sender,
        desk=one.to,
        ticket=one.ticket,
        session=line(one.session, 60),
        kind=one.kind,
        verdict=one.verdict,
        severity=one.severity,
        created=isoformat(one.created),
        done=line(one.done, 240),
    )


def _finding_line(one: Finding, state: str) -> give.FindingLine:
    return give.FindingLine(
        severity=one.severity, tool=line(one.tool, 60), rule=line(one.rule, 100), message=line(one.message, 300),
        path=one.path and line(one.path, 200), line=one.line, state=state,
    )  # fmt: skip


def _review_row(row: ReviewRow, now: datetime) -> give.ReviewLine:
    return give.ReviewLine(
        id=row.id,
        ticket=row.ticket,
        title=line(row.title),
        reason=line(row.reason),
        severity=row.severity,
        state=row.state,
        desk=row.desk,
        created=row.created,
        deadline=row.deadline,
        overdue=row.state in WAITING and row.deadline <= isoformat(now),
    )


def _left(**lists: Iterable[object]) -> dict[str, int]:
    sizes = {name: len([*items]) - _OF_ONE for name, items in lists.items()}
    return {name: size for name, size in sizes.items() if size > 0}


def _how(review: Review) -> str:
    return _HOW.format(review.id) if review.state in WAITING else f"It is {review.state}: nothing is left to decide."
