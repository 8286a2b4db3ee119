"""Readings of things as they are, for series and alerts: what waits where, and which agents are not well."""

import logging

from nightcrew.crew.health import KINDS, AgentHealth, health_in
from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError
from nightcrew.model.ticket import State
from nightcrew.pipeline.attending import take_readings
from nightcrew.schedule.due import overdue_seconds
from nightcrew.store import agents, schedules

_LOG = logging.getLogger("nightcrew.monitoring")
DESKS = {"build": State.OPEN, "qa": State.IN_QA, "security": State.IN_SECURITY}
"""The desks at which tickets wait."""


def sample(project: Project) -> list[AgentHealth]:
    """Take one reading and write it; gives the health of the agents. A store that is busy gets it the next time."""
    now, recorder = project.clock(), project.measures.recorder
    try:
        with project.store.read() as tx:
            tickets, (reviews, asked) = agents.waiting(tx), agents.asked(tx)
            found = health_in(project, tx, now)
            overdue = {kept.schedule.name: overdue_seconds(tx, kept) for kept in schedules.list(tx)}
    except NightcrewError:
        return []  # Whatever is damaged is told by who works with it; a reading is not worth a night.
    for desk, state in DESKS.items():
        count, oldest = tickets.get(state, (0, now))
        recorder.gauge("queue.depth", f"desk:{desk}", count)
        recorder.gauge("queue.age", f"desk:{desk}", max(0.0, (now - oldest).total_seconds()))
    recorder.gauge("queue.depth", "desk:human", reviews)
    recorder.gauge("queue.age", "desk:human", max(0.0, (now - (asked or now)).total_seconds()))
    for one in found:
        wrong = {problem.kind for problem in one.problems}
        for kind in KINDS:
            recorder.gauge("health", f"agent:{one.agent}", float(kind in wrong), problem=kind)
    for name, seconds in overdue.items():
        recorder.gauge("schedule.overdue", f"schedule:{name}", seconds)
    project.measures.flush()
    try:
        take_readings(project.store, project.settings, recorder, project.clock)
    except Exception:
        _LOG.warning("readings of the pipelines could not be taken", exc_info=True)  # Those of the crew are.
    return found
