"""nightcrew runbook."""

import sys
from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table

app = typer.Typer(add_completion=False)
APPS = {"runbook": app}


@app.command(epilog="Example: nightcrew runbook NC-BUSY")
def runbook(
    code: Annotated[
        str, typer.Argument(help="code of an error or an alert, or class of a failure, such as permanent.contract")
    ] = "",
    search: Annotated[str, typer.Option(help="list only pages that hold these words")] = "",
) -> None:
    """Show what a failure or an alert means and what to do; without a code, list all pages."""
    from nightcrew.readiness import runbook as runbooks

    if not code:
        found = runbooks.search(search)
        if OPTIONS.json:
            show_json([{"code": page.code, "title": page.title, "kind": page.kind} for page in found])
        else:
            table(("code", "what happened"), [(page.code, page.title) for page in found], empty="No runbook fits.")
        return
    page = runbooks.find(code)
    if OPTIONS.json:
        show_json(page.plain())
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(f"# {page.code}: {page.title}\n\n{page.markdown}"))
    else:
        say(f"# {page.code}: {page.title}\n\n{page.markdown.rstrip()}")
