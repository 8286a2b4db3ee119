"""nightcrew handoff, session, recall, report, schema."""

from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.names import ticket_id
from nightcrew.cli.output import OPTIONS, opened, say, show_json, table

if TYPE_CHECKING:
    from nightcrew.crew.project import Project
    from nightcrew.crew.report import Report

handoff_app = typer.Typer(add_completion=False, no_args_is_help=True, help="List and show handoffs.")
session_app = typer.Typer(add_completion=False, no_args_is_help=True, help="List and show sessions.")
recall_app = typer.Typer(add_completion=False)
report_app = typer.Typer(add_completion=False)
schema_app = typer.Typer(add_completion=False)
APPS = {
    "handoff": handoff_app,
    "session": session_app,
    "recall": recall_app,
    "report": report_app,
    "schema": schema_app,
}


@handoff_app.command("list", epilog="Example: nightcrew handoff list --ticket T-0001")
def list_handoffs(
    ticket: Annotated[str | None, typer.Option(help="only of this ticket")] = None,
    desk: Annotated[str | None, typer.Option(help="only at this desk")] = None,
) -> None:
    """List handoffs."""
    from nightcrew.crew import views

    with opened() as project:
        found = views.list_handoffs(project, ticket_id(ticket) if ticket else None, desk)
    if OPTIONS.json:
        show_json([handoff.plain() for handoff in found])
        return
    rows = [(h.id, h.sender, h.to, h.ticket, h.kind, h.verdict, h.severity) for h in found]
    table(("id", "from", "to", "ticket", "kind", "verdict", "severity"), rows, empty="There are no handoffs yet.")


@handoff_app.command("show", epilog="Example: nightcrew handoff show H-000001")
def show_handoff(handoff: str) -> None:
    """Show one handoff as it was written."""
    from nightcrew.crew import views

    with opened() as project:
        found, data = views.show_handoff(project, handoff)
    if OPTIONS.json:
        show_json({**found.plain(), "done": found.done, "questions": found.questions, "next": found.next})
    else:
        say(data.decode())


@session_app.command("list", epilog="Example: nightcrew session list --shift N-0001")
def list_sessions(shift: Annotated[str | None, typer.Option(help="only of this shift")] = None) -> None:
    """List sessions with their turns against the caps."""
    from nightcrew.crew import views

    with opened() as project:
        found = views.list_sessions(project, shift)
    if OPTIONS.json:
        show_json([views.session_row(session, used) for session, used in found])
        return
    rows = [
        (s.id, s.shift, s.agent, ", ".join(t.ticket for t in s.tickets), used, s.budget.soft, s.budget.hard, s.outcome)
        for s, used in found
    ]
    headings = ("id", "shift", "agent", "tickets", "turns", "soft", "hard", "outcome")
    table(headings, rows, empty="No session has run yet.")


@session_app.command("show", epilog="Example: nightcrew session show S-0001")
def show_session(session: str) -> None:
    """Show one session: what became of each ticket."""
    from nightcrew.crew import views

    with opened() as project:
        found, used = views.show_session(project, session)
    row = views.session_row(found, used)
    if OPTIONS.json:
        show_json(row)
        return
    for name, value in row.items():
        say(f"{name}: {value}")


@recall_app.command(epilog="Example: nightcrew recall 'flaky login test'")
def recall(
    query: Annotated[str, typer.Argument(help="plain words, names of code, tickets, paths; none: the latest")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="records at most")] = 10,
    ticket: Annotated[
        list[str] | None, typer.Option(help="also what is linked to this ticket; may be repeated")
    ] = None,
    file: Annotated[list[str] | None, typer.Option(help="also what touched this file; may be repeated")] = None,
    all: Annotated[bool, typer.Option("--all", help="also records that are too old for an agent's context")] = False,
) -> None:
    """Search what past sessions left for the next, best first."""
    from nightcrew.crew import memory
    from nightcrew.model.recalling import OWN, Clues

    clues = Clues({ticket_id(one): OWN for one in ticket or ()}, frozenset(file or ()))
    with opened() as project:
        found = memory.recall(project, query, limit, clues=clues, stale=all)
        older = 0 if all else memory.stale_fits(project, query, limit, clues=clues)
        days = project.settings.memory.max_age_days
    if OPTIONS.json:
        show_json([{**one.record.plain(), "score": one.score, "why": one.why.plain()} for one in found])
        return
    for one in found:
        say(f"{one.record.session}  {one.record.created:%Y-%m-%d}  {one.record.title}")
        for text in (one.record.summary, *(f"Open: {question}" for question in one.record.questions)):
            say(f"    {shorten(text, 300, placeholder=' ...')}")
    if not found:
        say("Nothing fits.")
    if older:
        records = "1 record that fits is" if older == 1 else f"{older} records that fit are"
        say(f"{records} older than {days} days: --all")


@report_app.command(epilog="Example: nightcrew report --shift N-0001")
def report(
    shift: Annotated[str | None, typer.Option(help="default: the latest")] = None,
    send: Annotated[bool, typer.Option("--send", help="send it to the channels of [notify], too")] = False,
) -> int:
    """The morning report: what happened, what waits for you, what was not checked."""
    from nightcrew.crew.report import latest, markdown

    with opened() as project:
        found = latest(project, shift)
        if send:
            _send(project, found)
    if OPTIONS.json:
        show_json(found.plain())
    else:
        say(markdown(found))
    return 1 if found.inbox or found.quarantined else 0


def _send(project: "Project", report: "Report") -> None:
    from nightcrew.crew import telling
    from nightcrew.model.errors import ConfigurationError, TransientError

    count, delivered = telling.send(project, report)
    if not count:
        raise ConfigurationError(
            "the report was sent to nobody: no channel has an address",
            hint=f"Put addresses under the name {project.settings.notify.urls_env}: nightcrew key add NAME",
        )
    if delivered.problems:
        raise TransientError("; ".join(delivered.problems), hint="It stays in the outbox: see nightcrew alerts list.")


@schema_app.command(epilog="Example: nightcrew schema handoff")
def schema(document: Annotated[str, typer.Argument(help="handoff, manifest, playbook, ...")] = "") -> None:
    """Print the JSON Schema of a document; without a name, list them."""
    from nightcrew.model.schemas import SCHEMAS, json_schema

    if document:
        show_json(json_schema(document))
    elif OPTIONS.json:
        show_json(list(SCHEMAS))
    else:
        say("\n".join(SCHEMAS))
