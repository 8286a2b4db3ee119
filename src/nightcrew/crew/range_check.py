"""QA and security on a range of commits, without a ticket: the gate of a pull request, or a look before a push.

It is what the two agents do at their desks, by tools alone, and the playbook decides what it means as it does at
night. Nothing is filed and nobody is asked: the answer is the report.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from nightcrew.brains import Context
from nightcrew.crew.agents import qa, security
from nightcrew.crew.delivery import tidy
from nightcrew.crew.desk import Desk
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.project import Project
from nightcrew.crew.workspace import changed_paths, resolve
from nightcrew.model.budget import Budget
from nightcrew.model.document import Document
from nightcrew.model.errors import RepositoryError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import HUMAN, Change, Handoff, Verdict
from nightcrew.model.routing import route
from nightcrew.model.ticket import State, Ticket

Decision = Literal["passed", "findings", "not_checked", "gated"]
_WORST_FIRST: tuple[Decision, ...] = ("gated", "not_checked", "findings", "passed")
_DESKS = (("qa", State.IN_QA, qa.work), ("security", State.IN_SECURITY, security.work))
_TICKET = "T-0000"


class RangeCheck(Document):
    """What one check said; ``agent`` is whose check it is."""

    agent: str
    name: str
    status: Literal["passed", "failed", "not_checked"]
    detail: str = ""


class AgentVerdict(Document):
    """What one agent says of the range, and what the playbook makes of it, with the reason."""

    agent: str
    verdict: Verdict
    decision: Decision
    reason: str


class RangeReport(Document):
    """A range of commits, checked: ``base`` (exclusive) is where it parts from what it was compared with.

    ``decision`` is the worst of the agents': ``passed``; ``findings`` to mend; ``not_checked``, which is no pass;
    ``gated``: high, critical, a protected path or a broken build, so that a person must decide.
    """

    base: str
    head: str
    files: tuple[str, ...]
    decision: Decision
    verdicts: tuple[AgentVerdict, ...] = ()
    checks: tuple[RangeCheck, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def check_range(
    project: Project, base: str = "", head: str = "HEAD", *, on_progress: Callable[[str], None] = lambda _: None
) -> RangeReport:
    """Check the commits of ``head`` that ``base`` (default: the default branch) does not have.

    Raises RepositoryError if there is no such commit, or if the two do not part at one commit that this clone has.
    """
    head_commit = resolve(project.root, head)
    base_commit = _parted(project, _base(project, base), head_commit)
    files = tuple(changed_paths(project.root, base_commit, head_commit))
    notes = _notes(project, head_commit)
    if not files:
        return RangeReport(base=base_commit, head=head_commit, files=(), decision="passed", notes=notes)
    folder = project.work_dir / "workspaces"
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="range-", dir=folder))
    change = Change(branch=head[:300], base=base_commit, head=head_commit, files=files)
    made: list[tuple[str, Outcome, AgentVerdict]] = []
    try:
        for agent, state, work in _DESKS:
            on_progress(f"{agent} checks {len(files)} files, {base_commit[:12]}..{head_commit[:12]}")
            ticket = Ticket(
                id=_TICKET, title=head[:300], state=state, base=base_commit, head=head_commit, created=project.clock()
            )
            outcome = work(_desk(project, agent, ticket, place), None, Context())
            made.append((agent, outcome, _verdict(project, agent, ticket, outcome, change)))
    finally:
        project.measures.flush()
        tidy(place)
    checks = tuple(
        RangeCheck(agent=agent, name=check.name, status=check.status, detail=check.detail)
        for agent, outcome, _ in made
        for check in outcome.checks
    )
    decisions = [one.decision for _, _, one in made]
    if any(check.status == "not_checked" for check in checks):
        # At night the others' word counts then. Here a stranger could have made the one scanner fail that sees it.
        decisions.append("not_checked")
    return RangeReport(
        base=base_commit,
        head=head_commit,
        files=files,
        decision=min(decisions, key=_WORST_FIRST.index),
        verdicts=tuple(one for _, _, one in made),
        checks=checks,
        findings=tuple(finding for _, outcome, _ in made for finding in outcome.findings),
        notes=notes,
    )


def _base(project: Project, base: str) -> str:
    """The commit to compare with; by default what the remote has of the default branch, else that branch itself."""
    if base:
        return resolve(project.root, base)
    branch = project.repository().default_branch
    for name in (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}"):
        if (found := project.git.ref(name)) is not None:
            return found
    raise RepositoryError(f"there is no branch {branch} to compare with", hint="Name a commit: --base REF")


def _parted(project: Project, base: str, head: str) -> str:
    """The one commit at which the two part; with several, no difference shows all that a merge would bring."""
    if project.repository().shallow:
        raise RepositoryError(
            "in a shallow clone it cannot be known where two commits part",
            hint="Fetch the whole history: git fetch --unshallow; in CI, fetch-depth: 0.",
        )
    found = project.git.data("merge-base", "--all", base, head)
    parted = found.text.split()
    if found.status != 0 or not parted:
        raise RepositoryError(
            f"{base[:12]} and {head[:12]} have no commit in common", hint="Name another commit: --base REF"
        )
    if len(parted) > 1:
        raise RepositoryError(
            f"{base[:12]} and {head[:12]} part at {len(parted)} commits, and none of them shows the whole change",
            hint="Merge the base into the branch, and check it again.",
        )
    return parted[0]


def _notes(project: Project, head: str) -> tuple[str, ...]:
    state = project.repository()
    notes = [] if project.settings.sandbox.mode != "off" else ["the sandbox was off, by nightcrew.toml"]
    if state.dirty and state.head == head:
        notes.append("what is not committed was not checked")
    return tuple(notes)


def _desk(project: Project, agent: str, ticket: Ticket, place: Path) -> Desk:
    return Desk(
        project=project,
        session=place.name,
        agent=agent,
        shift=None,
        ticket=ticket,
        line=None,
        budget=Budget(soft=1, hard=1),
        place=place,
    )


def _verdict(project: Project, agent: str, ticket: Ticket, outcome: Outcome, change: Change) -> AgentVerdict:
    """What the playbook makes of an outcome, by the same function that routes a handoff at night."""
    verdict = outcome.verdict or Verdict.NOT_CHECKED
    handoff = Handoff(
        id="H-000000",
        sender=agent,
        to=agent,
        ticket=ticket.id,
        session=ticket.id,
        kind=outcome.kind,
        verdict=verdict,
        severity=outcome.severity,
        breaks_build=outcome.breaks_build,
        change=change,
        checks=outcome.checks,
        findings=outcome.findings,
        created=project.clock(),
    )
    way = route(handoff, ticket, project.playbook)
    gate = project.playbook.gates.severity
    serious = outcome.breaks_build or any(one.breaks_build or one.severity.at_least(gate) for one in outcome.findings)
    decision: Decision = "passed"
    if way.desk == HUMAN:
        decision = "not_checked" if verdict is Verdict.NOT_CHECKED and not serious else "gated"
    elif way.desk == "build":
        decision = "findings"
    return AgentVerdict(agent=agent, verdict=verdict, decision=decision, reason=way.reason)
