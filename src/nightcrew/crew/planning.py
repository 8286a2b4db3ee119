"""The planner at work: the backlog as it is stored, the signatures as they verify now, a manifest as a result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightcrew.crew import admission
from nightcrew.crew.planner import plan
from nightcrew.crew.project import STATE, Project
from nightcrew.crew.published import write_atomically
from nightcrew.crew.settle import ask_again
from nightcrew.model.budget import Budget
from nightcrew.model.errors import ApprovalError, IntegrityError, NotVerifiedError, UsageError
from nightcrew.model.manifest import Manifest, manifest_id, render
from nightcrew.model.ordering import Item
from nightcrew.model.ticket import State, Ticket
from nightcrew.store import manifests, sessions, tickets, turns
from nightcrew.store.store import Tx

CHECKERS = ("qa", "security")
NO_TURNS = {"qa": 0, "security": 0}


@dataclass(frozen=True)
class Planned:
    """A manifest, its id and the bytes of its document."""

    manifest: Manifest
    id: str
    data: bytes


def make_plan(project: Project, agent: str, *, shift: str | None = None) -> Planned:
    """Plan one session of ``agent`` and write the manifest. Raises UsageError for an agent that does not exist."""
    with project.store.begin() as tx:
        planned = plan_in(project, tx, agent, shift=shift)
    publish(project, planned)
    return planned


def publish(project: Project, planned: Planned) -> None:
    """Write the manifest's file for people."""
    write_atomically(project.root / STATE / "manifests" / f"{planned.id}.yaml", planned.data)


def plan_in(project: Project, tx: Tx, agent: str, *, shift: str | None = None) -> Planned:
    """As ``make_plan``, in a transaction of the caller's; the file is not written. Refusals are in the ledger."""
    check_agent(project, agent)
    refused: dict[str, str] = {}
    unapproved: dict[str, str] = {}

    def details(ticket_id: str) -> Ticket:
        return tickets.get(tx, ticket_id)

    def approval(ticket: Ticket) -> str | None:
        try:
            true, review = admission.admits(project, tx, ticket.id)
            for dependency in true.depends_on:
                tickets.verify_row(tx, dependency)
        except (ApprovalError, IntegrityError) as error:
            refused[ticket.id] = str(error)
            if isinstance(error, ApprovalError) and not isinstance(error, NotVerifiedError):
                unapproved[ticket.id] = str(error)
            raise ApprovalError(str(error)) from None
        return review

    manifest = plan(
        agent,
        [Item(*candidate) for candidate in tickets.candidates(tx)],
        budget=budget_of(project, agent),
        playbook=project.playbook,
        playbook_digest=project.playbook_sha256,
        medians=turns.medians(tx),
        details=details,
        approval=approval,
        exclude={**_others(project, tx, agent), **_worked(project, tx, agent, shift)},
        max_tickets=project.settings.limits.max_tickets,
    )
    data = render(manifest)
    for ticket_id, reason in sorted(refused.items()):
        admission.log_refusal(tx, ticket_id, reason, actor="planner", action="plan.refuse")
    for ticket_id, reason in sorted(unapproved.items()):
        ask_again(project, tx, ticket_id, reason)
    return Planned(manifest, manifests.put(tx, agent, data), data)


def agents_of(project: Project) -> tuple[str, ...]:
    """All agents of the crew: those that build, qa and security."""
    return (*project.settings.builders, *CHECKERS)


def check_agent(project: Project, agent: str) -> None:
    """Raises UsageError for an agent that does not exist."""
    known = agents_of(project)
    if agent not in known:
        raise UsageError(f"there is no agent {agent}", hint=f"Agents: {', '.join(known)}")


def _others(project: Project, tx: Tx, agent: str) -> Mapping[str, str]:
    """Open tickets that are for another of the agents that build, by the first word of their title."""
    own = [name for name in project.settings.builders if name != "build"]
    if not own or agent in CHECKERS:
        return {}
    named = {name: tickets.open_with_title(tx, f"{name}:") for name in own}
    if agent == "build":
        return {ticket: f"for the {name} agent" for name, found in named.items() for ticket in found}
    mine = set(named[agent])
    return {ticket: f"not for the {agent} agent" for ticket in tickets.open_with_title(tx, "") if ticket not in mine}


def budget_of(project: Project, agent: str) -> Budget:
    """The caps of an agent's session: its own if set, else the common ones."""
    own = project.settings.agents.get(agent)
    common = project.settings.budget
    return Budget(soft=(own and own.soft) or common.soft, hard=(own and own.hard) or common.hard)


def brain_names(project: Project, agent: str) -> Sequence[str]:
    """The brains that the settings give an agent, in order; the build agent always has one."""
    own = project.settings.agents.get(agent)
    return own.brains if own else (() if agent in CHECKERS else ("mechanical",))


def _worked(project: Project, tx: Tx, agent: str, shift: str | None) -> Mapping[str, str]:
    """Tickets that this shift must not take up again: deferred once, or worked as often as allowed."""
    if shift is None:
        return {}
    worked: dict[str, int] = {}
    excluded: dict[str, str] = {}
    for session in sessions.list(tx, shift=shift):
        if session.agent != agent:
            continue
        for row in session.tickets:
            worked[row.ticket] = worked.get(row.ticket, 0) + 1
            if row.outcome in ("deferred", "failed"):
                excluded[row.ticket] = f"{row.outcome} in this shift"
    limit = project.settings.limits.attempts_per_shift
    many = {ticket: f"worked {count} times in this shift" for ticket, count in worked.items() if count >= limit}
    return {**many, **excluded}


__all__ = [
    "CHECKERS",
    "NO_TURNS",
    "Planned",
    "State",
    "agents_of",
    "brain_names",
    "budget_of",
    "make_plan",
    "manifest_id",
    "plan_in",
    "publish",
]
