"""A session: one run of one agent over one manifest, as a durable workflow."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from nightcrew.brains import MECHANICAL, Chain, brains
from nightcrew.crew import admission, loreconvo_queue, measuring, memory
from nightcrew.crew.agents import build, qa, security
from nightcrew.crew.delivery import tidy
from nightcrew.crew.desk import Desk, MustStop, place_of
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.planning import brain_names
from nightcrew.crew.project import Project
from nightcrew.crew.published import publish_handoffs
from nightcrew.crew.settle import settle
from nightcrew.model.errors import ApprovalError, IntegrityError, NightcrewError, TransientError
from nightcrew.model.handoff import Check, HandoffKind, Verdict
from nightcrew.model.manifest import Line, Manifest, parse
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Event, State
from nightcrew.monitoring import telemetry
from nightcrew.store import findings, ledger, manifests, sessions, shifts, tickets
from nightcrew.store.store import Tx

if TYPE_CHECKING:
    from nightcrew.engine import Engine

T = TypeVar("T")
MAX_TRIES = 3
DESK_STATE = {"build": State.OPEN, "qa": State.IN_QA, "security": State.IN_SECURITY}


def session_body(project: Project, engine: "Engine") -> Callable[[str], dict[str, Any]]:
    """The durable workflow's function: works the session of the given id, ticket by ticket."""

    def on(function: Callable[..., T], *arguments: Any) -> Callable[[Any], T]:
        return lambda connection: function(project.store.bind(connection), *arguments)

    def run(session_id: str) -> dict[str, Any]:
        opened = engine.transaction("open", on(_open, session_id))
        began = datetime.fromisoformat(opened["started"])
        with telemetry.whole(project.repository_id, *opened["path"], started=began, agent=opened["agent"]) as seen:
            closed = work(session_id, opened)
            seen.set(outcome=closed["outcome"])
        return closed

    def work(session_id: str, opened: dict[str, Any]) -> dict[str, Any]:
        agent, lines = opened["agent"], [Line.read(line, source="manifest") for line in opened["lines"]]
        stopped = ""
        for line in lines:
            stopped = stopped or engine.step(f"look {line.ticket}", partial(_stop_reason, project, session_id)) or ""
            if stopped:
                engine.transaction(f"skip {line.ticket}", on(_skip, session_id, line.ticket, stopped))
                continue
            if not engine.transaction(f"begin {line.ticket}", on(_begin, project, session_id, agent, line)):
                continue
            made = engine.step(f"work {line.ticket}", partial(_work, project, session_id, line))
            handoff = engine.transaction(f"settle {line.ticket}", on(_settle, project, session_id, line.ticket, made))
            engine.step(f"publish {handoff}", partial(publish_handoffs, project, [handoff]))
            engine.step(f"tidy {line.ticket}", partial(tidy, place_of(project, session_id, line.ticket)))
        closed: dict[str, Any] = engine.transaction("close", on(_close, project, session_id, stopped))
        engine.step("memory elsewhere", lambda: loreconvo_queue.send_in_night(project))
        return closed

    return run


def _open(tx: Tx, session_id: str) -> dict[str, Any]:
    session = sessions.start(tx, session_id)
    agent, data = manifests.get(tx, session.manifest)
    manifest: Manifest = parse(data, source=session.manifest)
    lines = [line.plain() for line in manifest.tickets]
    return {"agent": agent, "lines": lines, "path": _path(session), "started": tx.stamp()}


def _stop_reason(project: Project, session_id: str) -> str | None:
    with project.store.read() as tx:
        session = sessions.get(tx, session_id)
        ticket = tickets.get(tx, session.tickets[0].ticket) if session.tickets else None
    if ticket is None:
        return None
    desk = Desk.of(project, session, ticket)
    return desk.stop_reason()


def _begin(tx: Tx, project: Project, session_id: str, agent: str, line: Line) -> bool:
    """Take up one ticket, if it is still what the manifest says: signatures are verified again at this moment."""
    ticket = tickets.get(tx, line.ticket)
    wanted = DESK_STATE.get(agent, State.OPEN)
    building = agent in project.settings.builders
    sessions.set_ticket_now(tx, session_id, line.ticket)
    reason = None
    if ticket.state is not wanted:
        reason = f"is {ticket.state} now"
    elif ticket.work_digest != line.work_digest or (not building and ticket.head != line.head):
        reason = "changed since it was planned"
    else:
        try:
            admission.admits(project, tx, ticket.id)
        except (ApprovalError, IntegrityError) as error:
            reason = str(error)
    if reason is not None:
        sessions.set_ticket_outcome(tx, session_id, line.ticket, outcome="refused")
        _log(tx, session_id, "refuse", line.ticket, reason)
        return False
    if building:
        tickets.apply(tx, ticket.id, Event.START, actor=agent, reason=f"taken up in {session_id}")
    return True


def _skip(tx: Tx, session_id: str, ticket: str, reason: str) -> None:
    sessions.set_ticket_outcome(tx, session_id, ticket, outcome="not_started")
    _log(tx, session_id, "skip", ticket, reason)


def _log(tx: Tx, session_id: str, what: str, ticket: str, reason: str) -> None:
    data = {"ticket": ticket, "reason": reason}
    ledger.append(tx, actor="crew", action=f"session.{what}", subject=f"session:{session_id}", data=data)


def _work(project: Project, session_id: str, line: Line) -> dict[str, Any]:
    tries = _count_try(project, session_id, line.ticket)
    if tries > MAX_TRIES:
        text = f"The process died {MAX_TRIES} times while this ticket was worked."
        then = "See what kills it, then release the ticket."
        return Outcome(kind=HandoffKind.DEFERRAL, done=text, next=then, failure="NC-CRASH-LOOP").plain()
    with project.store.read() as tx:
        path = _path(sessions.get(tx, session_id))
    with telemetry.within(project.repository_id, *path), telemetry.span("ticket", ticket=line.ticket) as seen:
        outcome = _worked(project, session_id, line)
        seen.set(handoff=outcome.kind, verdict=outcome.verdict, brain=outcome.brain)
        if outcome.failure:
            seen.failed(outcome.failure)
    return outcome.plain()


def _path(session: sessions.Session) -> list[str]:
    """Where a session is in its trace."""
    return [*([f"shift:{session.shift}"] if session.shift else []), f"session:{session.id}"]


def _count_try(project: Project, session_id: str, ticket: str) -> int:
    """Count the runs of this piece of work: only the death of the process makes more than one."""
    subject = f"try:{session_id}/{ticket}"
    with project.store.begin() as tx:
        before = sum(1 for _ in ledger.entries(tx, subject=subject))
        ledger.append(tx, actor="crew", action="session.try", subject=subject, data={"number": before + 1})
    return before + 1


def _worked(project: Project, session_id: str, line: Line) -> Outcome:
    """One ticket's work, wherever it ends: an error becomes an outcome that says so, never a lost ticket."""
    with project.store.read() as tx:
        session = sessions.get(tx, session_id)
        ticket = tickets.get(tx, line.ticket)
        known = [found.finding for found in findings.list(tx, ticket=ticket.id)]
        context = memory.context_for(project, tx, session.agent, ticket)
        later = _allotted_after(tx, session, line)
        shift = shifts.get(tx, session.shift) if session.shift else None
    desk = Desk.of(project, session, ticket, line, later)
    names = [shift.brain] if shift is not None and shift.brain else brain_names(project, session.agent)
    if any(name != MECHANICAL for name in names):  # the mechanical brain reads none of it
        context = memory.with_elsewhere(project, ticket, context)
    try:
        with project.measures.at(desk):
            if session.agent in project.settings.builders:
                return build.work(desk, Chain([*brains(names, project.settings)]), known, context)
            reading = [name for name in names if name != MECHANICAL]
            reader = Chain([*brains(reading, project.settings)]) if reading else None
            check = qa.work if session.agent == "qa" else security.work
            return check(desk, reader, context)
    except (MustStop, TransientError) as error:
        return Outcome(kind=HandoffKind.DEFERRAL, done=f"The work had to stop: {error}", next="Take it up again.")
    except Exception as error:  # One ticket's fault is that ticket's outcome, whatever it is: the others go on.
        return _failed(session.agent, error)


def _failed(agent: str, error: Exception) -> Outcome:
    """A failure that trying again does not mend: build's ticket is quarantined, a check was not made, and says so."""
    text = f"The work failed: {type(error).__name__}: {error}".encode("utf-8", "replace").decode()
    if agent not in ("qa", "security"):
        code = error.code if isinstance(error, NightcrewError) else "NC-OS" if isinstance(error, OSError) else "NC-BUG"
        return Outcome(
            kind=HandoffKind.DEFERRAL, done=text, next="Mend the cause, then release the ticket.", failure=code
        )
    check = Check(name=agent, status="not_checked", detail=str(error)[:2000])
    return Outcome(
        kind=HandoffKind.VERDICT, verdict=Verdict.NOT_CHECKED, severity=Severity.HIGH, done=text, checks=(check,)
    )


def _allotted_after(tx: Tx, session: sessions.Session, line: Line) -> int:
    """Turns that the manifest allots to the tickets behind ``line``."""
    _, data = manifests.get(tx, session.manifest)
    manifest: Manifest = parse(data, source=session.manifest)
    names = [one.ticket for one in manifest.tickets]
    behind = manifest.tickets[names.index(line.ticket) + 1 :] if line.ticket in names else ()
    return sum(one.turns for one in behind)


def _settle(tx: Tx, project: Project, session_id: str, ticket: str, made: dict[str, Any]) -> str:
    return settle(project, tx, session_id, ticket, Outcome.read(made, source="outcome"))


def _close(tx: Tx, project: Project, session_id: str, stopped: str) -> dict[str, Any]:
    session = sessions.get(tx, session_id)
    memory.leave_record(tx, session)
    loreconvo_queue.queue_record(project, tx, session_id)
    outcome = "stopped" if stopped else "done"
    measuring.session_ended(tx, sessions.end(tx, session_id, outcome=outcome, note=stopped))
    return {"outcome": outcome, "tickets": {row.ticket: row.outcome for row in session.tickets}}
