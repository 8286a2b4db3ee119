"""The backlog as people see and change it."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nightcrew.crew import admission
from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError, PolicyError, UsageError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Handoff
from nightcrew.model.review import Review
from nightcrew.model.ticket import Event, Kind, Priority, State, Ticket
from nightcrew.store import findings, handoffs, ledger, reviews, tickets

MCP = "mcp"
"""Origin of tickets that programs filed through MCP, and who the ledger says did."""
MAX_FROM_PROGRAMS = 200
"""Unfinished tickets of that origin: a program that goes round in circles does not bury the backlog."""


@dataclass(frozen=True)
class TicketView:
    """One ticket with everything that is known of it; ``history`` is its entries in the ledger."""

    ticket: Ticket
    handoffs: list[Handoff]
    reviews: list[Review]
    findings: list[Finding]
    history: list[ledger.Entry]


def add(
    project: Project,
    *,
    title: str,
    body: str = "",
    kind: Kind = Kind.FEATURE,
    priority: Priority = Priority.P2,
    depends: Iterable[str] = (),
    command: str | None = None,
    branch: str | None = None,
) -> Ticket:
    """File a person's ticket. Raises UsageError for a dependency on itself, DocumentError for text that does not fit.

    A dependency that does not exist yet is allowed (the planner names it until it does).
    """
    wanted = tuple(dict.fromkeys(depends))
    with project.store.begin() as tx:
        ticket = tickets.add(
            tx,
            actor="human",
            title=title,
            body=body,
            kind=kind,
            priority=priority,
            depends_on=wanted,
            command=command,
            branch=branch,
        )
        if ticket.id in wanted:
            raise UsageError(f"{ticket.id} would depend on itself", hint="Leave it out of --depends.")
    return ticket


def add_from_program(
    project: Project, *, title: str, body: str, kind: Kind, priority: Priority, depends: Iterable[str], program: str
) -> tuple[Ticket, bool]:
    """File a ticket for a program that speaks MCP; gives it, and whether it is new: the same again is not filed twice.

    It holds no command and no branch: those come from a person's own terminal only. Raises NotFoundError for a
    dependency that does not exist, PolicyError if MAX_FROM_PROGRAMS such tickets are neither done nor rejected,
    DocumentError for text that does not fit.
    """
    wanted = tuple(dict.fromkeys(depends))
    with project.store.begin() as tx:
        unfinished = tickets.some(tx, tickets.open_from(tx, MCP))
        for one in unfinished:
            if (one.title, one.body, one.kind) == (title.strip(), body, kind):
                return one, False
        if len(unfinished) >= MAX_FROM_PROGRAMS:
            raise PolicyError(
                f"{len(unfinished)} tickets that programs filed are unfinished, which is the most there may be",
                hint="A person looks through them first: nightcrew ticket list",
            )
        for name in wanted:
            tickets.get(tx, name)
        ticket = tickets.add(
            tx,
            actor=MCP,
            title=title,
            body=body,
            kind=kind,
            priority=priority,
            depends_on=wanted,
            origin=MCP,
            note=f"filed through MCP by {program}",
        )
    return ticket, True


def list_tickets(project: Project, states: Iterable[State] | None = None) -> list[Ticket]:
    """Tickets in the order of their numbers."""
    with project.store.read() as tx:
        return tickets.all(tx, states=states)


def show(project: Project, ticket_id: str) -> TicketView:
    """One ticket; raises NotFoundError."""
    with project.store.read() as tx:
        ticket = tickets.get(tx, ticket_id)
        return TicketView(
            ticket,
            handoffs.list(tx, ticket=ticket_id),
            reviews.list(tx, ticket=ticket_id),
            [known.finding for known in findings.list(tx, ticket=ticket_id)],
            list(ledger.entries(tx, subject=f"ticket:{ticket_id}")),
        )


def readable(project: Project, ids: Iterable[str]) -> dict[str, Ticket]:
    """Those of the tickets whose rows can be read, by id."""
    found = {}
    with project.store.read() as tx:
        for name in ids:
            with contextlib.suppress(NightcrewError):
                found[name] = tickets.get(tx, name)
    return found


def release(project: Project, ticket_id: str, actor: str) -> Ticket:
    """Put a quarantined or rejected ticket back. A gated one goes to the inbox again: releasing approves nothing."""
    from nightcrew.crew.settle import ask_for_work

    with project.store.begin() as tx:
        tickets.verify_row(tx, ticket_id)
        ticket = tickets.apply(tx, ticket_id, Event.RELEASE, actor=actor, note="released", base=None, head=None)
        if admission.is_gated(project, ticket):
            reason = "released by a person; it is still gated"
            ticket = tickets.apply(tx, ticket_id, Event.GATE, actor="router", reason=reason)
            ask_for_work(project, tx, ticket, reason)
        return tickets.get(tx, ticket_id)


def reprioritise(project: Project, ticket_id: str, priority: Priority) -> Ticket:
    """Give a ticket another priority; raises NotFoundError."""
    with project.store.begin() as tx:
        tickets.verify_row(tx, ticket_id)
        return tickets.edit(tx, ticket_id, actor="human", changes={"priority": priority})


def ticket_row(ticket: Ticket) -> dict[str, Any]:
    """A ticket as ``ticket list --json`` gives it."""
    plain = ticket.plain()
    names = ("id", "title", "kind", "priority", "severity", "state", "depends_on", "origin", "note")
    return {name: plain[name] for name in names}
