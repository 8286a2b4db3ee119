"""nightcrew demo."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.cli.progress import Follower

if TYPE_CHECKING:
    from nightcrew.crew.demo import Demo

app = typer.Typer(add_completion=False)
APPS = {"demo": app}


@app.command(epilog="Example: nightcrew demo /tmp/demo")
def demo(
    directory: Annotated[Path | None, typer.Argument(help="a new folder; default: a temporary one, kept")] = None,
    inbox: Annotated[bool, typer.Option("--inbox", help="stop after the first night: you decide what waits")] = False,
) -> int:
    """Build a small real repository, run two shifts with an approval between them, and explain what happened."""
    from nightcrew.crew.demo import play

    with Follower(only_live=True) as follower:
        played = play(directory, follower.quiet if OPTIONS.json else follower.say, follower, decide=not inbox)
    if OPTIONS.json:
        show_json(
            {
                "repository": played.repository,
                "environment": played.environment,
                "reports": [report.plain() for report in played.reports],
                "decisions": [{"review": r, "decision": d, "reason": why} for r, d, why in played.decisions],
                "tickets": [ticket.plain() for ticket in played.tickets],
                "audit": played.audit.plain(),
            }
        )
    else:
        _explain(played)
    return 0 if played.audit.ok else 3


def _explain(played: "Demo") -> None:
    rows = [(ticket.id, ticket.state, ticket.severity, ticket.title, ticket.note) for ticket in played.tickets]
    table(("id", "state", "severity", "title", "note"), rows, empty="")
    fits = "everything fits" if played.audit.ok else f"{len(played.audit.broken)} things do not fit"
    if not played.decisions:
        _invite(played)
        return
    say(f"\nThe ledger has {played.audit.entries} entries: {fits}.")
    say("The ticket and the note that order agents to approve everything changed nothing: only a signature approves.")
    say("The working tree and main are as they were; merged work is on nightcrew/integration.\n\nLook around:")
    _go_there(played)
    for command in ("report", "inbox --all", "handoff list", "ticket show T-0004", "audit show", "recall prices"):
        say(f"  nightcrew {command}")
    say("  git log --oneline --graph nightcrew/integration")


def _invite(played: "Demo") -> None:
    say("\nIt is morning, and this waits for you. Enrol yourself with a passkey in the browser, and decide:")
    _go_there(played)
    say("  nightcrew serve")
    say("  nightcrew shift        # the second night: what you approved goes on, and only that")


def _go_there(played: "Demo") -> None:
    exported = " ".join(f"{name}={shlex.quote(value)}" for name, value in played.environment.items())
    say(f"  export {exported}")
    say(f"  cd {shlex.quote(str(played.repository))}")
