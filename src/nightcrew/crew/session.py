"""A session: one run of one agent over one manifest, as a durable workflow."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightcrew.brains import Brain, MechanicalBrain
from nightcrew.crew import memory
from nightcrew.crew.agents import build, qa, security
from nightcrew.crew.delivery import ticket_branch
from nightcrew.crew.desk import Desk, MustStop
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.project import Project
from nightcrew.crew.published import publish_handoffs
from nightcrew.crew.settle import settle
from nightcrew.model.errors import ApprovalError, ConfigurationError, IntegrityError, NightcrewError, TransientError
from nightcrew.model.handoff import Check, HandoffKind, Verdict
from nightcrew.model.manifest import Line, Manifest, parse
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Event, State
from nightcrew.store import findings, ledger, manifests, sessions, tickets

if TYPE_CHECKING:
    from nightcrew.engine import Engine

DESK_STATE = {"build": State.OPEN, "qa": State.IN_QA, "security": State.IN_SECURITY}


def session_body(project: Project, engine: "Engine") -> Callable[[str], dict[str, Any]]:
    """The durable workflow's function: works the session of the given id, ticket by ticket."""

    def run(session_id: str) -> dict[str, Any]:
        store = project.store
        opened = engine.transaction("open", lambda c: _open(store.bind(c), session_id))
        agent, lines = opened["agent"], [Line.read(line, source="manifest") for line in opened["lines"]]
        stopped = ""
        for line in lines:
            stopped = stopped or (engine.step(f"look {line.ticket}", lambda: _stop_reason(project, session_id)) or "")
            if stopped:
                engine.transaction(f"skip {line.ticket}", lambda c, t=line.ticket: _skip(store.bind(c), session_id, t, stopped))
                continue
            begun = engine.transaction(
                f"begin {line.ticket}", lambda c, n=line: _begin(project, c, session_id, agent, n)
            )
            if not begun:
                continue
            made = engine.step(f"work {line.ticket}", lambda n=line: _work(project, session_id, n).plain())
            handoff = engine.transaction(
                f"settle {line.ticket}",
                lambda c, m=made, t=line.ticket: settle(
                    project, store.bind(c), session_id, t, Outcome.read(m, source="outcome")
                ),
            )
            engine.step(f"publish {handoff}", lambda h=handoff: publish_handoffs(project, [h]))
        return engine.transaction("close", lambda c: _close(project, c, session_id, stopped))  # type: ignore[no-any-return]

    return run


def _open(tx: Any, session_id: str) -> dict[str, Any]:
    session = sessions.start(tx, session_id)
    agent, data = manifests.get(tx, session.manifest)
    manifest: Manifest = parse(data, source=session.manifest)
    return {"agent": agent, "lines": [line.plain() for line in manifest.tickets]}


def _stop_reason(project: Project, session_id: str) -> str | None:
    with project.store.read() as tx:
        session = sessions.get(tx, session_id)
        ticket = tickets.get(tx, session.tickets[0].ticket) if session.tickets else None
    if ticket is None:
        return None
    desk = _desk(project, session, ticket, None)
    return desk.stop_reason()


def _begin(project: Project, connection: Any, session_id: str, agent: str, line: Line) -> bool:
    """Take up one ticket, if it is still what the manifest says: signatures are verified again at this moment."""
    from nightcrew.crew import admission

    tx = project.store.bind(connection)
    ticket = tickets.get(tx, line.ticket)
    wanted = DESK_STATE.get(agent, State.OPEN)
    sessions.set_ticket_now(tx, session_id, line.ticket)
    reason = None
    if ticket.state is not wanted:
        reason = f"is {ticket.state} now"
    elif ticket.work_digest != line.work_digest or (agent != "build" and ticket.head != line.head):
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
    if agent == "build":
        tickets.apply(tx, ticket.id, Event.START, actor=agent, reason=f"taken up in {session_id}")
    return True


def _skip(tx: Any, session_id: str, ticket: str, reason: str) -> None:
    sessions.set_ticket_outcome(tx, session_id, ticket, outcome="not_started")
    _log(tx, session_id, "skip", ticket, reason)


def _log(tx: Any, session_id: str, what: str, ticket: str, reason: str) -> None:
    data = {"ticket": ticket, "reason": reason}
    ledger.append(tx, actor="crew", action=f"session.{what}", subject=f"session:{session_id}", data=data)


def _work(project: Project, session_id: str, line: Line) -> Outcome:
    """One ticket's work, wherever it ends: an error becomes an outcome that says so, never a lost ticket."""
    with project.store.read() as tx:
        session = sessions.get(tx, session_id)
        ticket = tickets.get(tx, line.ticket)
        known = [found.finding for found in findings.list(tx, ticket=ticket.id)]
        context = memory.context_for(project, tx, session.agent, ticket)
    desk = _desk(project, session, ticket, line)
    try:
        if session.agent == "build":
            return build.work(desk, brain_of(project, session), known, context)
        if session.agent == "qa":
            return qa.work(desk)
        return security.work(desk)
    except (MustStop, TransientError) as error:
        return Outcome(kind=HandoffKind.DEFERRAL, done=f"The work had to stop: {error}", next="Take it up again.")
    except (NightcrewError, OSError) as error:
        return _failed(session.agent, error)


def _failed(agent: str, error: Exception) -> Outcome:
    """A failure that trying again does not mend: build's ticket is quarantined, a check was not made, and says so."""
    text = f"The work failed: {error}"
    if agent == "build":
        code = error.code if isinstance(error, NightcrewError) else "NC-OS"
        return Outcome(kind=HandoffKind.DEFERRAL, done=text, next="Mend the cause, then release the ticket.", failure=code)
    check = Check(name=agent, status="not_checked", detail=str(error)[:2000])
    return Outcome(
        kind=HandoffKind.VERDICT, verdict=Verdict.NOT_CHECKED, severity=Severity.HIGH, done=text, checks=(check,)
    )


def _desk(project: Project, session: Any, ticket: Any, line: Line | None) -> Desk:
    return Desk(
        project=project,
        session=session.id,
        agent=session.agent,
        shift=session.shift,
        ticket=ticket,
        line=line,
        hard=session.budget.hard,
        place=project.work_dir / "workspaces" / f"{session.id}-{ticket.id}",
    )


def brain_of(project: Project, session: Any) -> Brain:
    """The brain that the session was given; raises ConfigurationError for one that does not exist."""
    brains: Mapping[str, Brain] = {"mechanical": MechanicalBrain()}
    names: Sequence[str] = [session.brain] if session.brain else project.settings.agents[session.agent].brains
    for name in names:
        if name in brains:
            return brains[name]
    raise ConfigurationError(f"there is no brain named {', '.join(names)}", hint=f"Brains: {', '.join(brains)}")


def _close(project: Project, connection: Any, session_id: str, stopped: str) -> dict[str, Any]:
    tx = project.store.bind(connection)
    session = sessions.get(tx, session_id)
    memory.leave_record(tx, session)
    outcome = "stopped" if stopped else "done"
    sessions.end(tx, session_id, outcome=outcome, note=stopped)
    return {"outcome": outcome, "tickets": {row.ticket: row.outcome for row in session.tickets}}


__all__ = ["session_body", "ticket_branch"]
