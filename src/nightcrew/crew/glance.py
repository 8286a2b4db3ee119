"""Last night at a glance: what the report says, what waits, what is wrong, how the pipelines and the agents stand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightcrew.crew import inbox
from nightcrew.crew.planning import agents_of
from nightcrew.crew.project import Project
from nightcrew.crew.report import Report
from nightcrew.model.errors import NightcrewError, NotFoundError
from nightcrew.model.review import WAITING
from nightcrew.model.scheduling import Occurrence
from nightcrew.pipeline import queues
from nightcrew.pipeline.queues import PipelineLine
from nightcrew.schedule import due
from nightcrew.store import browsing, sessions
from nightcrew.store.sessions import Session
from nightcrew.store.store import Tx

_LOOKED_BACK = 60
"""Sessions, the latest, in which the last one of each agent is looked for."""


@dataclass(frozen=True)
class AgentLine:
    """How an agent did last: its last session, None if it has had none lately."""

    name: str
    session: str | None
    outcome: str
    at: datetime | None
    used: int
    soft: int
    hard: int
    ticket_now: str | None


@dataclass(frozen=True)
class Glance:
    """Everything on the first page; ``report`` is None before the first shift, ``problem`` says why it is not there."""

    report: Report | None
    problem: str
    reviews: int
    held: int
    pipelines: Sequence[PipelineLine]
    agents: Sequence[AgentLine]
    tickets: Mapping[str, int]
    next: tuple[str, Occurrence] | None = None

    @property
    def waiting_retry(self) -> int:
        """Records that wait for their next try."""
        return sum(one.states.get("waiting_retry", 0) for one in self.pipelines)

    @property
    def quarantined(self) -> int:
        """Records in quarantine."""
        return sum(one.states.get("quarantined", 0) for one in self.pipelines)


def glance(project: Project, last: Callable[[], Report]) -> Glance:
    """What somebody wants to know first; ``last`` gives the last report."""
    found, problem = _report(last)
    inbox.waiting_count(project)  # escalates what is overdue
    pipelines = queues.lines(project.store)
    with project.store.read() as tx:
        count, _ = browsing.waiting_reviews(tx, WAITING)
        return Glance(
            report=found,
            problem=problem,
            reviews=count,
            held=sum(one.states.get("in_review", 0) for one in pipelines),
            pipelines=pipelines,
            agents=_agents(project, tx),
            tickets=browsing.ticket_counts(tx),
            next=next_shift(tx),
        )


def next_shift(tx: Tx) -> tuple[str, Occurrence] | None:
    """The schedule that is due next, by name, and when; None if there is none that can be read."""
    try:
        found = due.next_run(tx)
    except NightcrewError:
        return None
    return None if found is None else (found[0].name, found[1])


def _report(last: Callable[[], Report]) -> tuple[Report | None, str]:
    try:
        return last(), ""
    except NotFoundError:
        return None, ""
    except NightcrewError as error:  # One damaged document must not take the whole page with it.
        return None, str(error)


def _agents(project: Project, tx: Tx) -> list[AgentLine]:
    names = browsing.session_ids(tx, limit=_LOOKED_BACK)
    used = browsing.turns_used(tx, names)
    last: dict[str, Session] = {}
    for one in sessions.some(tx, names):  # the newest first
        last.setdefault(one.agent, one)
    lines = []
    for name in dict.fromkeys([*agents_of(project), *sorted(last)]):
        if name not in last:
            lines.append(AgentLine(name, None, "", None, 0, 0, 0, None))
            continue
        one = last[name]
        at = one.ended or one.started or one.created
        outcome, budget = one.outcome or one.state, one.budget
        lines.append(
            AgentLine(name, one.id, outcome, at, used.get(one.id, 0), budget.soft, budget.hard, one.ticket_now)
        )
    return lines
