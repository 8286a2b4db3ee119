"""A shift: one night as a durable workflow. Plan, run sessions, route, merge; until quiet, stopped, or out of time."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from nightcrew.crew import (
    admission,
    answering,
    baseline,
    github_reviews,
    inbox,
    loreconvo_queue,
    measuring,
    merger,
    planning,
    telling,
)
from nightcrew.crew.forge import sync as forge
from nightcrew.crew.planning import brain_names
from nightcrew.crew.project import Project
from nightcrew.crew.published import publish_handoffs
from nightcrew.crew.report import build_report
from nightcrew.model.errors import IntegrityError
from nightcrew.model.manifest import parse
from nightcrew.model.ticket import Event, State
from nightcrew.monitoring import telemetry
from nightcrew.store import manifests, sessions, shifts, tickets
from nightcrew.store.store import Tx

if TYPE_CHECKING:
    from nightcrew.engine import Engine, Workflow

MAX_SESSIONS = 500
T = TypeVar("T")


def shift_body(project: Project, engine: "Engine", session: "Workflow") -> Callable[[str], str]:
    """The durable workflow's function: runs the shift of the given id and gives its outcome."""

    def run(shift_id: str) -> str:
        with telemetry.within(project.repository_id, f"shift:{shift_id}"):
            return night(shift_id)

    def night(shift_id: str) -> str:
        store = project.store
        engine.step("reviews elsewhere", lambda: github_reviews.collect(project))
        engine.step("issues in", lambda: forge.begin(project))
        _look_at_deadlines(project, engine, "before")
        if engine.step("baseline due", lambda: baseline.is_due(project)):
            scanned = engine.step("baseline scan", lambda: baseline.scan(project, shift_id))
            engine.transaction("baseline file", lambda c: baseline.file_findings(project, store.bind(c), scanned))
        outcome = _sessions(project, engine, session, shift_id)
        if outcome == "quiet":
            _answers(project, engine, shift_id)
        _look_at_deadlines(project, engine, "after")
        engine.step("publish", lambda: publish_handoffs(project))
        engine.step("memory elsewhere", lambda: loreconvo_queue.send_in_night(project))
        engine.step("forge out", lambda: forge.end(project))
        engine.transaction("end", lambda c: _end(project, store.bind(c), shift_id, outcome))
        engine.step("pin", project.pin_ledger)
        return outcome

    return run


def _answers(project: Project, engine: "Engine", shift_id: str) -> None:
    """Have the questions answered that reviewers asked back; each is tried once a night."""
    store = project.store
    for number in range(MAX_SESSIONS):
        found = engine.transaction(
            f"question {number}", lambda c: answering.next_question(project, store.bind(c), shift_id)
        )
        if found is None:
            return
        session, question = found["session"], found["question"]
        engine.step(f"write question {number}", partial(_write, project, found["manifest"]))
        made = engine.step(f"answer {number}", partial(answering.answer, project, session, question))
        engine.transaction(f"answered {number}", _on(project, answering.settle, project, session, question, made))


def _look_at_deadlines(project: Project, engine: "Engine", when: str) -> None:
    """Escalate what waited too long and say so at once; the night goes on without it."""
    late = engine.transaction(f"overdue {when}", lambda c: inbox.escalate_overdue(project, project.store.bind(c)))
    if late:
        engine.step(f"alert {when}", lambda: inbox.tell_late(project, late))


def _sessions(project: Project, engine: "Engine", session: "Workflow", shift_id: str) -> str:
    store = project.store
    for number in range(MAX_SESSIONS):
        planned = engine.transaction(f"plan {number}", lambda c: _next(project, store.bind(c), shift_id))
        if planned["outcome"]:
            return str(planned["outcome"])
        engine.step(f"write {number}", partial(_write, project, planned["manifest"]))
        engine.enqueue("sessions", session, planned["session"], planned["session"])
        failed = _wait(engine, planned["session"])
        if failed is not None:
            engine.transaction(f"fail {number}", _on(project, fail_session, planned["session"], failed))
        for ticket in engine.transaction(f"ready {number}", lambda c: merger.ready(store.bind(c))):
            result = engine.step(f"merge {number} {ticket}", partial(merger.try_merge, project, ticket, shift_id))
            engine.transaction(f"merged {number} {ticket}", _on(project, merger.record_merge, ticket, result))
    return "out_of_budget"


def _wait(engine: "Engine", session_id: str) -> str | None:
    """Wait for a session; what it failed of, or None. The shift goes on: one broken session does not end the night."""
    from nightcrew.engine import WorkflowCancelled, WorkflowFailed, WorkflowQuarantined

    try:
        engine.result(session_id)
    except (WorkflowFailed, WorkflowQuarantined, WorkflowCancelled) as error:
        return str(error)
    return None


def _next(project: Project, tx: Tx, shift_id: str) -> dict[str, Any]:
    """Decide what comes next: the outcome if the shift is over, else a session of the first agent that has work."""
    shift = shifts.get(tx, shift_id)
    over = None
    if shift.stop_requested:
        over = "stopped"
    elif shift.deadline is not None and tx.now() >= shift.deadline:
        over = "out_of_time"
    if over is not None:
        return {"outcome": over}
    for agent in ("security", "qa", *project.settings.builders):  # What is nearest to done comes first.
        if agent not in shift.agents:
            continue
        planned = planning.plan_in(project, tx, agent, shift=shift_id)
        if planned.manifest.tickets:
            brain = shift.brain or next(iter(brain_names(project, agent)), None)
            session = sessions.create(
                tx,
                shift=shift_id,
                agent=agent,
                manifest=planned.id,
                budget=planned.manifest.budget,
                brain=brain,
                tickets=[line.ticket for line in planned.manifest.tickets],
            )
            return {"outcome": None, "session": session, "manifest": planned.id}
    return {"outcome": "quiet"}


def _write(project: Project, manifest: str) -> None:
    with project.store.read() as tx:
        _, data = manifests.get(tx, manifest)
    planning.publish(project, planning.Planned(parse(data, source=manifest), manifest, data))


def _on(project: Project, function: Callable[..., T], *arguments: Any) -> Callable[[Any], T]:
    """``function`` of a transaction and ``arguments``, for the engine, which gives a connection."""
    return lambda connection: function(project.store.bind(connection), *arguments)


def fail_session(tx: Tx, session_id: str, error: str) -> None:
    """Put the tickets of a session that broke where they are safe: taken-up ones in quarantine, with the reason."""
    for row in sessions.get(tx, session_id).tickets:
        if row.outcome is not None:
            continue
        reason = f"session {session_id} broke: {error}"
        if tickets.get(tx, row.ticket).state is State.BUILDING and _is_genuine(tx, row.ticket, reason):
            tickets.apply(tx, row.ticket, Event.QUARANTINE, actor="shift", reason=reason, note=reason[:500])
        sessions.set_ticket_outcome(tx, session_id, row.ticket, outcome="failed")
    measuring.session_ended(tx, sessions.end(tx, session_id, outcome="failed", note=error[:500]))


def fail_shift(tx: Tx, shift_id: str, error: str) -> None:
    """End a shift whose own workflow broke, and what is open of its sessions."""
    for session in sessions.list(tx, shift=shift_id):
        if session.state != "ended":
            fail_session(tx, session.id, error)
    measuring.shift_ended(tx, shifts.end(tx, shift_id, outcome="failed"))


def _is_genuine(tx: Tx, ticket: str, reason: str) -> bool:
    """Whether the row is what the ledger says; one that is not stays as it is: to move it would be to vouch for it."""
    try:
        tickets.verify_row(tx, ticket)
    except IntegrityError as damage:
        admission.log_refusal(tx, ticket, f"{reason}; {damage}", actor="shift", action="settle.refuse")
        return False
    return True


def _end(project: Project, tx: Tx, shift_id: str, outcome: str) -> None:
    measuring.shift_ended(tx, shifts.end(tx, shift_id, outcome=outcome))
    report = build_report(project, tx, shift_id)
    shifts.set_report(tx, shift_id, report.plain())
    telling.tell(project, tx, report)
