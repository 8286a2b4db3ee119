"""Running the crew in this process: a whole shift or one agent's session, resumed if an earlier run died."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nightcrew.crew import alerting, measuring, planning
from nightcrew.crew.planning import brain_names
from nightcrew.crew.project import Project
from nightcrew.crew.published import publish_handoffs, write_atomically
from nightcrew.crew.report import Report, latest, markdown
from nightcrew.crew.workspace import workable
from nightcrew.model.errors import BusyError, ConfigurationError, SandboxError, UsageError
from nightcrew.model.manifest import parse
from nightcrew.monitoring import telemetry
from nightcrew.monitoring.pushing import pushing
from nightcrew.store import ledger, locks, manifests, sessions, shifts, turns
from nightcrew.store.store import Tx

if TYPE_CHECKING:
    from nightcrew.engine import Engine, Workflow

LOCK = "shift"
POLL_SECONDS = 0.5
MAX_RUNS = 1000
"""A night may be killed often; what is bounded is how often one ticket's work may die (session.MAX_TRIES)."""


@dataclass(frozen=True)
class Progress:
    """What a running shift is at: agent, ticket, turns used against the caps, seconds since it began."""

    shift: str
    session: str | None
    agent: str | None
    ticket: str | None
    used: int
    soft: int
    hard: int
    elapsed_seconds: float
    message: str


OnProgress = Callable[[Progress], None]


def run_shift(
    project: Project,
    *,
    agents: Sequence[str] | None = None,
    brain: str | None = None,
    until: datetime | None = None,
    max_minutes: int | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Run one night to its end and give its report. One that died is resumed by the same call.

    ``until`` and ``max_minutes`` end it earlier than ``limits.shift_minutes``. KeyboardInterrupt stops it before the
    next turn, and a second one at once. Raises BusyError if a shift of this repository runs, UsageError for an agent or
    brain that does not exist, IntegrityError if the ledger is not the one that was seen last.
    """
    chosen = tuple(agents or planning.agents_of(project))
    for agent in chosen:
        planning.check_agent(project, agent)
    _check_brains(project, brain)
    workable(project.root)
    project.verify_ledger()
    deadline = _deadline(project, until, max_minutes)
    pushed = pushing(project.store, project.repository_id)
    with _lock(project), pushed, alerting.watched(project), _engine(project) as (engine, shift_workflow, _):
        with project.store.begin() as tx:
            running = shifts.current(tx)
            shift = running or shifts.start(
                tx, agents=chosen, brain=brain, deadline=deadline, sandbox=project.settings.sandbox.mode
            )
            shift_id = shift.id
        with telemetry.whole(project.repository_id, f"shift:{shift_id}", started=shift.started) as seen:
            engine.start(shift_workflow, shift_id, shift_id)
            with _ended_if_broken(project, shift_id):
                _follow(project, engine, shift_id, shift_id, on_progress)
            seen.set(outcome=_outcome(project, shift_id))
        project.measures.flush()
    report = latest(project, shift_id)
    write_atomically(project.state_dir / "reports" / f"{shift_id}.md", markdown(report).encode())
    return report


@contextmanager
def _ended_if_broken(project: Project, shift_id: str) -> Iterator[None]:
    """A shift that broke is ended as that: its workflow will never go on, and the next shift has to begin anew."""
    from nightcrew.crew.shift import fail_shift
    from nightcrew.engine import WorkflowCancelled, WorkflowFailed, WorkflowQuarantined

    try:
        yield
    except (WorkflowFailed, WorkflowQuarantined, WorkflowCancelled) as error:
        with project.store.begin() as tx:
            fail_shift(tx, shift_id, str(error))
        raise


def _outcome(project: Project, shift_id: str) -> str | None:
    with project.store.read() as tx:
        return shifts.get(tx, shift_id).outcome


def _check_brains(project: Project, brain: str | None) -> None:
    """Every brain that may be asked exists, before the night begins; what they need is loaded meanwhile."""
    from nightcrew.brains import check_hosts, settings_of, warm
    from nightcrew.sandbox import available

    everyone = [name for agent in planning.agents_of(project) for name in brain_names(project, agent)]
    names = [brain] if brain else everyone
    try:
        kinds = {name: own.kind for name in names if (own := settings_of(name, project.settings)) is not None}
    except ConfigurationError as error:
        if brain:
            raise UsageError(str(error), hint=error.hint) from None
        raise
    if kinds and project.settings.sandbox.mode == "auto" and not available():
        raise SandboxError("this machine has no sandbox, and a brain with a model does not work without one")
    unpriced = [name for name, kind in kinds.items() if kind != "model"]
    if unpriced and project.settings.budget.dollars is not None:
        raise ConfigurationError(
            f"budget.dollars cannot be held for {', '.join(unpriced)}: its requests have no price that is known",
            hint="Use budget.tokens, budget.minutes or fewer turns for it.",
        )
    check_hosts(names, project.settings)
    warm(names, project.settings)


def run_work(
    project: Project, agent: str, *, manifest: bytes | None = None, on_progress: OnProgress | None = None
) -> Report:
    """Run one session of ``agent`` over ``manifest``, or over a plan made now, as a shift of its own.

    A manifest given by the user is only a choice and an order of tickets: each is checked again when it is taken up.
    """
    planning.check_agent(project, agent)
    _check_brains(project, None)
    workable(project.root)
    project.verify_ledger()
    pushed = pushing(project.store, project.repository_id)
    with _lock(project), pushed, alerting.watched(project), _engine(project) as (engine, _, session_workflow):
        unfinished = _unfinished_work(project, engine, agent)
        if unfinished is None:
            session, shift_id = _begin_work(project, agent, manifest)
        else:
            session, shift_id = unfinished
        with project.store.read() as tx:
            began = shifts.get(tx, shift_id).started
        with telemetry.whole(project.repository_id, f"shift:{shift_id}", started=began) as seen:
            engine.start(session_workflow, session, session)
            outcome = _worked(project, engine, session, shift_id, on_progress)
            seen.set(outcome=outcome)
        with project.store.begin() as tx:
            measuring.shift_ended(tx, shifts.end(tx, shift_id, outcome=outcome))
        project.measures.flush()
        publish_handoffs(project)
        project.pin_ledger()
    return latest(project, shift_id)


def _worked(project: Project, engine: "Engine", session: str, shift_id: str, on_progress: OnProgress | None) -> str:
    """Follow one session to its end; one that broke is ended as that, and its tickets are where they are safe."""
    from nightcrew.crew.shift import fail_session
    from nightcrew.engine import WorkflowCancelled, WorkflowFailed, WorkflowQuarantined

    try:
        _follow(project, engine, session, shift_id, on_progress)
    except (WorkflowFailed, WorkflowQuarantined, WorkflowCancelled) as error:
        with project.store.begin() as tx:
            fail_session(tx, session, str(error))
        return "failed"
    return "done"


def _begin_work(project: Project, agent: str, manifest: bytes | None) -> tuple[str, str]:
    """Plan, and create the session and the shift that it makes up; gives their ids."""
    with project.store.begin() as tx:
        planned = _given(tx, agent, manifest) if manifest else planning.plan_in(project, tx, agent)
        until = _deadline(project, None, None)
        shift = shifts.start(tx, agents=(agent,), deadline=until, sandbox=project.settings.sandbox.mode)
        session = sessions.create(
            tx,
            shift=shift.id,
            agent=agent,
            manifest=planned.id,
            budget=planned.manifest.budget,
            brain=next(iter(brain_names(project, agent)), None),
            tickets=[line.ticket for line in planned.manifest.tickets],
        )
    planning.publish(project, planned)
    return session, shift.id


def _unfinished_work(project: Project, engine: "Engine", agent: str) -> tuple[str, str] | None:
    """The session and shift of a ``work`` of this agent that died; raises BusyError if something else is unfinished."""
    with project.store.read() as tx:
        running = shifts.current(tx)
        found = sessions.list(tx, shift=running.id) if running else []
    if running is None:
        return None
    if engine.status(running.id) is not None or running.agents != (agent,) or len(found) != 1:
        raise BusyError(f"shift {running.id} is unfinished", hint="Run it to its end first: nightcrew shift")
    return found[0].id, running.id


def request_stop(project: Project) -> str | None:
    """Ask the running shift to stop before its next turn; gives its id, or None if none runs."""
    with project.store.begin() as tx:
        running = shifts.current(tx)
        if running is not None:
            shifts.request_stop(tx, running.id)
    return running.id if running else None


def _given(tx: Tx, agent: str, data: bytes) -> planning.Planned:
    parsed = parse(data, source="the manifest")
    if parsed.agent != agent:
        raise UsageError(f"the manifest is for {parsed.agent}, not for {agent}")
    return planning.Planned(parsed, manifests.put(tx, agent, data), data)


def _deadline(project: Project, until: datetime | None, max_minutes: int | None) -> datetime:
    now = project.clock()
    ends = [now + timedelta(minutes=project.settings.limits.shift_minutes)]
    if max_minutes is not None:
        ends.append(now + timedelta(minutes=max_minutes))
    if until is not None:
        ends.append(until)
    return min(ends)


@contextmanager
def _engine(project: Project) -> Iterator[tuple["Engine", "Workflow", "Workflow"]]:
    from nightcrew.crew.session import session_body
    from nightcrew.crew.shift import shift_body
    from nightcrew.engine import Engine

    engine = Engine(database_url=project.database_url, state_dir=project.state_dir)
    session = engine.workflow("session", max_attempts=MAX_RUNS)(session_body(project, engine))
    shift = engine.workflow("shift", max_attempts=MAX_RUNS)(shift_body(project, engine, session))
    engine.queue("sessions", concurrency=1)
    with engine:
        yield engine, shift, session


def _lock(project: Project) -> AbstractContextManager[None]:
    """One shift per repository."""
    return locks.held(project.store, LOCK, hint="Wait for it to end, or end it with: nightcrew stop")


def _follow(
    project: Project, engine: "Engine", workflow_id: str, shift_id: str, on_progress: OnProgress | None
) -> None:
    """Wait for the workflow, telling what it is at; the first Ctrl-C asks it to stop, the second raises."""
    began, told, stopping = time.monotonic(), None, False
    while True:
        try:
            engine.result(workflow_id, timeout_seconds=POLL_SECONDS)
            return
        except TimeoutError:
            project.measures.flush_if_due()
        except KeyboardInterrupt:
            if stopping:
                raise
            stopping = True
            request_stop(project)
        if on_progress is not None:
            now = _progress(project, shift_id, time.monotonic() - began, stopping)
            if told is None or now != told:
                on_progress(now)
            told = now


def _progress(project: Project, shift_id: str, elapsed: float, stopping: bool) -> Progress:
    with project.store.read() as tx:
        running = next((s for s in sessions.list(tx, shift=shift_id) if s.state == "running"), None)
        used = turns.used(tx, running.id) if running else 0
        last = ledger.head(tx)
    between = f"{last.action} {last.subject}" if last and running is None else ""
    message = "stopping before the next turn" if stopping else between
    return Progress(
        shift_id,
        running.id if running else None,
        running.agent if running else None,
        running.ticket_now if running else None,
        used,
        running.budget.soft if running else 0,
        running.budget.hard if running else 0,
        elapsed,
        message,
    )
