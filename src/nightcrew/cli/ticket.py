"""nightcrew ticket: add, list, show, release, prioritise."""

import sys
from typing import Annotated

import typer

from nightcrew.cli.names import ticket_id, ticket_ids
from nightcrew.cli.output import OPTIONS, clean, opened, say, show_json, table
from nightcrew.model.errors import UsageError
from nightcrew.model.ticket import Kind, Priority, State

app = typer.Typer(add_completion=False, no_args_is_help=True, help="File, list and show the backlog's tickets.")
APPS = {"ticket": app}
MAX_BODY = 1_000_000


@app.command(epilog="Example: nightcrew ticket add 'Sort the imports' --kind chore --command 'ruff check --fix .'")
def add(
    title: Annotated[str, typer.Argument(help="one line")],
    body: Annotated[str, typer.Option(help="what is wanted; - reads standard input")] = "",
    kind: Annotated[Kind, typer.Option(help="what sort of work")] = Kind.FEATURE,
    priority: Annotated[Priority, typer.Option(help="P0 first")] = Priority.P2,
    depends: Annotated[str, typer.Option(metavar="T-1,T-2", help="tickets that must be done first")] = "",
    command: Annotated[str, typer.Option(help="shell line that does the work, run in the sandbox")] = "",
    branch: Annotated[str, typer.Option(help="branch that holds finished work to be checked")] = "",
) -> None:
    """File a ticket."""
    from nightcrew.crew.backlog import add as add_ticket
    from nightcrew.crew.backlog import ticket_row

    with opened() as project:
        ticket = add_ticket(
            project,
            title=title,
            body=_standard_input() if body == "-" else body,
            kind=kind,
            priority=priority,
            depends=ticket_ids(depends),
            command=command or None,
            branch=branch or None,
        )
    if OPTIONS.json:
        show_json(ticket_row(ticket))
    else:
        say(f"{ticket.id} {ticket.title}")


@app.command("list", epilog="Example: nightcrew ticket list --state open,in_review")
def list_(state: Annotated[str, typer.Option(help="only these states, comma-separated")] = "") -> None:
    """List tickets."""
    from nightcrew.crew.backlog import list_tickets, ticket_row

    with opened() as project:
        found = list_tickets(project, _states(state))
    if OPTIONS.json:
        show_json([ticket_row(ticket) for ticket in found])
        return
    rows = [(t.id, t.state, t.priority, t.kind, t.severity, t.title, t.note) for t in found]
    table(
        ("id", "state", "prio", "kind", "severity", "title", "note"),
        rows,
        empty="The backlog is empty. File a ticket with: nightcrew ticket add TITLE",
    )


@app.command(epilog="Example: nightcrew ticket show T-0001")
def show(ticket: str) -> None:
    """Show one ticket with its handoffs, reviews and history."""
    from nightcrew.crew.backlog import show as show_ticket

    with opened() as project:
        view = show_ticket(project, ticket_id(ticket))
    if OPTIONS.json:
        show_json(
            {
                **view.ticket.plain(),
                "handoffs": [handoff.plain() for handoff in view.handoffs],
                "reviews": [review.plain() for review in view.reviews],
                "known_findings": [finding.plain() for finding in view.findings],
                "history": [entry._asdict() for entry in view.history],
            }
        )
        return
    for name, value in view.ticket.plain().items():
        if value not in (None, "", [], False):
            say(f"{name}: {value}")
    for handoff in view.handoffs:
        say(f"\n{handoff.id} {handoff.sender} -> {handoff.to} ({handoff.kind})\n{clean(handoff.done)}")
    say()
    table(("at", "who", "what"), [(e.at, e.actor, e.action) for e in view.history], empty="")


@app.command(epilog="Example: nightcrew ticket release T-0004")
def release(ticket: str) -> None:
    """Put a quarantined or rejected ticket back; a gated one goes to the inbox again."""
    from nightcrew.crew.backlog import release as release_ticket
    from nightcrew.crew.backlog import ticket_row

    with opened() as project:
        released = release_ticket(project, ticket_id(ticket), actor="human")
    if OPTIONS.json:
        show_json(ticket_row(released))
    else:
        say(f"{released.id} is {released.state}")


@app.command(epilog="Example: nightcrew ticket prioritise T-0004 P0")
def prioritise(ticket: str, priority: Priority) -> None:
    """Give a ticket another priority."""
    from nightcrew.crew.backlog import reprioritise, ticket_row

    with opened() as project:
        changed = reprioritise(project, ticket_id(ticket), priority)
    if OPTIONS.json:
        show_json(ticket_row(changed))
    else:
        say(f"{changed.id} is {changed.priority}")


def _standard_input() -> str:
    data = sys.stdin.buffer.read(MAX_BODY + 1)
    if len(data) > MAX_BODY:
        raise UsageError(f"standard input is longer than {MAX_BODY} bytes", hint="A ticket names what is wanted.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8 at byte {error.start}", hint="Give it as UTF-8 text.") from None


def _states(text: str) -> list[State] | None:
    try:
        return [State(word.strip()) for word in text.split(",")] if text else None
    except ValueError:
        raise UsageError(f"no such state in {text!r}", hint=f"States: {', '.join(State)}") from None
