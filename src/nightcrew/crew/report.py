"""The morning report: what happened in a shift, what waits for a person, what was not checked."""

from datetime import datetime

from pydantic import Field

from nightcrew.crew import github_reviews, loreconvo, rules
from nightcrew.crew.forge import sync as forge
from nightcrew.crew.health import health_in
from nightcrew.crew.project import Project
from nightcrew.model.document import Document
from nightcrew.model.errors import NightcrewError, NotFoundError
from nightcrew.model.handoff import Handoff
from nightcrew.model.review import WAITING, ReviewState
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import State
from nightcrew.store import alert_messages, browsing, handoffs, ledger, reviews, sessions, shifts, tickets, turns
from nightcrew.store.shifts import Shift
from nightcrew.store.store import Tx

_LEFT = ("deferred", "sent_back", "not_started")
"""What becomes of a ticket in a session that did not finish it."""


class SessionLine(Document):
    """One session of a shift: turns used against its caps, and what they took; dollars by list prices, where known."""

    session: str
    agent: str
    tickets: tuple[str, ...]
    turns: int
    soft: int
    hard: int
    outcome: str
    tokens: int = 0
    dollars: float = 0.0


class Waiting(Document):
    """A review that waits for a person."""

    id: str
    ticket: str
    title: str
    reason: str
    severity: Severity


class Note(Document):
    """A ticket, or a check of one, and what there is to say of it."""

    ticket: str
    reason: str


class Merged(Document):
    """A ticket whose change is in the integration branch."""

    ticket: str
    title: str
    head: str


class Unchecked(Document):
    """A check that could not be made; never counted as clean."""

    ticket: str
    check: str
    reason: str


class CheckLine(Document):
    """What one check said of one ticket's commit."""

    ticket: str
    check: str
    status: str
    detail: str


class Report(Document):
    """One shift as people read it in the morning."""

    shift: str
    started: datetime
    ended: datetime | None
    outcome: str
    sessions: tuple[SessionLine, ...] = ()
    handoffs: int = 0
    findings: dict[str, int] = Field(default_factory=dict)
    inbox: tuple[Waiting, ...] = ()
    deferred: tuple[Note, ...] = ()
    merged: tuple[Merged, ...] = ()
    not_checked: tuple[Unchecked, ...] = ()
    checks: tuple[CheckLine, ...] = ()
    quarantined: tuple[Note, ...] = ()
    health: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def latest(project: Project, shift: str | None = None) -> Report:
    """The report of a shift, by default the latest; while it runs, what is known so far. Raises NotFoundError."""
    with project.store.read() as tx:
        newest = shifts.latest(tx)
        found = shifts.get(tx, shift) if shift else newest
        if newest is None or found is None:
            raise NotFoundError("no shift has run yet", hint="Run: nightcrew shift")
        if found.report is not None and found.id != newest.id:
            return Report.read(found.report, source=f"the report of {found.id}")  # As it was in that morning.
        return build_report(project, tx, found.id)


def exit_status(report: Report) -> int:
    """The exit status of a shift that left this report: 1 if something waits for a person, else 0."""
    return 1 if report.inbox or report.quarantined else 0


def shifts_before(project: Project, limit: int = 14) -> list[Shift]:
    """The last shifts, newest first."""
    with project.store.read() as tx:
        return shifts.list(tx, limit=limit)


def build_report(project: Project, tx: Tx, shift_id: str) -> Report:
    """Put the report together from what is stored."""
    shift = shifts.get(tx, shift_id)
    ran = sessions.list(tx, shift=shift_id)
    written = [handoff for session in ran for handoff in handoffs.list(tx, session=session.id)]
    aside = tickets.all(tx, states=[State.QUARANTINED])
    left = [row.ticket for session in ran for row in session.tickets if row.outcome in _LEFT]
    by_id = {ticket.id: ticket for ticket in tickets.some(tx, left)}
    used = turns.totals(tx, [session.id for session in ran])
    merged = [one for one in tickets.some(tx, _merged_in(tx, shift)) if one.state is State.DONE]
    notes = [] if project.settings.sandbox.mode != "off" else ["the sandbox was off, by nightcrew.toml"]
    notes += [*_late(tx, shift), *_untold(tx, shift), *_elsewhere(tx, shift), *loreconvo.report_lines(project, tx)]
    notes += forge.notes(tx, shift)
    return Report(
        shift=shift.id,
        started=shift.started,
        ended=shift.ended,
        outcome=shift.outcome or "running",
        sessions=tuple(
            SessionLine(
                session=session.id,
                agent=session.agent,
                tickets=tuple(row.ticket for row in session.tickets),
                turns=used[session.id].turns,
                soft=session.budget.soft,
                hard=session.budget.hard,
                outcome=session.outcome or session.state,
                tokens=used[session.id].usage.tokens,
                dollars=used[session.id].usage.microdollars / 1e6,
            )
            for session in ran
        ),
        handoffs=len(written),
        findings=_severities(written),
        inbox=tuple(
            Waiting(
                id=review.id,
                ticket=review.ticket,
                title=review.title or "(its ticket is not in the database)",
                reason=review.reason,
                severity=Severity(review.severity),
            )
            for review in browsing.review_rows(tx, WAITING)
            if review.severity in set(Severity)
        ),
        deferred=tuple(
            Note(ticket=row.ticket, reason=by_id[row.ticket].note or "not started before the shift stopped")
            for session in ran
            for row in session.tickets
            if row.outcome in _LEFT
        ),
        merged=tuple(Merged(ticket=t.id, title=t.title, head=t.head or "") for t in merged),
        not_checked=(*_baseline_unchecked(tx, shift), *_unchecked(written)),
        checks=tuple(
            CheckLine(ticket=handoff.ticket or "", check=check.name, status=check.status, detail=check.detail)
            for handoff in written
            for check in handoff.checks
        ),
        quarantined=tuple(Note(ticket=ticket.id, reason=ticket.note) for ticket in aside),
        health=tuple(_health(project, tx)),
        notes=tuple(notes),
    )


def _health(project: Project, tx: Tx) -> list[str]:
    """What is wrong with the agents, or in one line that nothing is."""
    try:
        found = health_in(project, tx, tx.now())
    except NightcrewError as error:  # A damaged row is no reason not to end the night.
        return [f"the health of the agents cannot be told: {error}"]
    wrong = [f"{problem.message} Runbook: {problem.runbook}" for one in found for problem in one.problems]
    return wrong or [f"all {len(found)} agents are well"]


def _late(tx: Tx, shift: Shift) -> list[str]:
    """Reviews whose deadline passed before or while the shift ran, and who is asked now."""
    lines = []
    for review in reviews.list(tx, states=[ReviewState.ESCALATED], broken=[]):
        entry = ledger.latest_for(tx, f"review:{review.id}")
        if entry is not None and entry.actor == rules.CLOCK and datetime.fromisoformat(entry.at) >= shift.started:
            lines.append(f"{review.id} passed its deadline; asked now: {review.assigned or 'every reviewer'}")
    return lines


def _untold(tx: Tx, shift: Shift) -> list[str]:
    """Alerts that did not reach everybody they were for."""
    lines = []
    for message in reversed(alert_messages.since(tx, shift.started)):
        if message.problem and message.state in ("waiting", "sending", "failed"):
            what = "the report" if message.event == "report" else "an alert"
            lines.append(f"{what} was not delivered: {message.problem}")
        elif message.problem and message.state == "sent":
            lines.append(f"an alert came by {message.taken_by} only: {message.problem}")
    return lines


def _elsewhere(tx: Tx, shift: Shift) -> list[str]:
    """What was found, or could not be found out, on GitHub."""
    entry = ledger.latest_for(tx, github_reviews.SUBJECT)
    if entry is None or datetime.fromisoformat(entry.at) < shift.started:
        return []
    return [str(line) for line in ledger.data(entry)["lines"]]


def _baseline_unchecked(tx: Tx, shift: Shift) -> list[Unchecked]:
    """What the first night's baseline could not check, if this was the night."""
    entry = ledger.latest_for(tx, "baseline:1")
    at = datetime.fromisoformat(entry.at) if entry else None
    if entry is None or at is None or at < shift.started or (shift.ended is not None and at > shift.ended):
        return []
    missing: dict[str, str] = ledger.data(entry)["not_checked"]
    return [Unchecked(ticket="baseline", check=name, reason=reason) for name, reason in missing.items()]


def _merged_in(tx: Tx, shift: Shift) -> list[str]:
    """The tickets that were merged while the shift ran, in the order of their numbers."""
    found = ledger.subjects_between(tx, "ticket.merge", shift.started, shift.ended)
    return sorted((subject.partition(":")[2] for subject in found), key=lambda name: (len(name), name))


def _severities(written: list[Handoff]) -> dict[str, int]:
    counts = {str(severity): 0 for severity in reversed(Severity)}
    for finding in {f.fingerprint: f for handoff in written for f in handoff.findings}.values():
        counts[finding.severity] += 1
    return counts


def _unchecked(written: list[Handoff]) -> list[Unchecked]:
    return [
        Unchecked(ticket=handoff.ticket or "", check=check.name, reason=check.detail)
        for handoff in written
        for check in handoff.checks
        if check.status == "not_checked"
    ]


def markdown(report: Report) -> str:
    """The report as Markdown."""
    ended = f"{report.ended:%H:%M}" if report.ended else "still running"
    parts = [
        f"# Shift {report.shift}: {report.outcome}",
        f"{report.started:%Y-%m-%d %H:%M} to {ended} UTC. {len(report.sessions)} sessions, {report.handoffs} handoffs.",
        _section("Waits for you", [f"{w.id} ({w.severity}) {w.ticket} {w.title}: {w.reason}" for w in report.inbox]),
        _section("Merged", [f"{m.ticket} {m.title} ({m.head[:12]})" for m in report.merged]),
        _section("Not finished", [f"{n.ticket}: {n.reason}" for n in report.deferred]),
        _section("Quarantined", [f"{n.ticket}: {n.reason}" for n in report.quarantined]),
        _section("Not checked", [f"{u.ticket} {u.check}: {u.reason}" for u in report.not_checked]),
        _section("Checks", [f"{c.ticket} {c.check}: {c.status}. {c.detail}" for c in report.checks]),
        _section(
            "Sessions",
            [f"{s.session} {s.agent}: {', '.join(s.tickets)}; {_used(s)}; {s.outcome}" for s in report.sessions],
        ),
        _section("Findings", [f"{severity}: {count}" for severity, count in report.findings.items() if count]),
        _section("Agent health", list(report.health)),
        _section("Notes", list(report.notes)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _used(line: SessionLine) -> str:
    """Turns against the caps, and what they took where that is known."""
    money = f", ${line.dollars:.2f}" if line.dollars else ""
    took = f", {line.tokens:,} tokens{money}" if line.tokens else ""
    return f"{line.turns} turns of {line.soft}/{line.hard}{took}"


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in lines) if lines else ""
