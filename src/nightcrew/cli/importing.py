"""nightcrew import: github, gitlab, jsonl, sarif, junit, todo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json, table
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority

if TYPE_CHECKING:
    from nightcrew.crew.importing.outcome import ImportReport

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Bring in work that is written down elsewhere, as tickets; again, nothing is filed twice.",
)
APPS = {"import": app}
SHOWN = 20
_TOKEN = "GITLAB_TOKEN"  # noqa: S105 - the name of a key

DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")]
Again = Annotated[bool, typer.Option("--again", help="file anew what is done here and still there")]
Label = Annotated[list[str] | None, typer.Option(metavar="LABEL", help="issues with this label; may be repeated")]
KindOption = Annotated[Kind | None, typer.Option(help="what sort of work, where it says none itself")]
PriorityOption = Annotated[Priority | None, typer.Option(help="P0 first, where it says none itself")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="- reads standard input")]


@app.command(epilog="Example: nightcrew import github --label nightcrew --dry-run")
def github(
    label: Label = None, kind: KindOption = None, priority: PriorityOption = None, again: Again = False,
    dry_run: DryRun = False,
) -> int:  # fmt: skip
    """Open issues of the repository in [github] of nightcrew.toml, by label."""
    from nightcrew.crew.importing.github import import_github

    with opened() as project:
        return _show(
            import_github(project, wanted=label or (), kind=kind, priority=priority, again=again, dry_run=dry_run)
        )


@app.command(epilog="Example: nightcrew import gitlab group/project --label nightcrew")
def gitlab(
    project: Annotated[str, typer.Argument(metavar="GROUP/NAME", help="the project")],
    label: Label = None,
    kind: KindOption = None,
    priority: PriorityOption = None,
    api: Annotated[str, typer.Option(help="address of the API")] = "https://gitlab.com/api/v4",
    token: Annotated[str, typer.Option(metavar="NAME", help="name of the token: see nightcrew key")] = _TOKEN,
    again: Again = False,
    dry_run: DryRun = False,
) -> int:
    """Open issues of a GitLab project, by label (default: nightcrew)."""
    from nightcrew.crew.forge.api import Api, token_of
    from nightcrew.crew.importing.gitlab import import_gitlab

    with opened() as here, Api(api.rstrip("/"), token_of(token), scheme="PRIVATE-TOKEN", token_env=token) as asked:
        return _show(
            import_gitlab(
                here, asked, project, wanted=label or ("nightcrew",), kind=kind, priority=priority, again=again,
                dry_run=dry_run,
            )
        )  # fmt: skip


@app.command(epilog="Example: nightcrew import jsonl backlog.jsonl --dry-run")
def jsonl(
    file: FileArgument,
    source: Annotated[str, typer.Option(help="where the lines are from; default: the file's name")] = "",
    kind: KindOption = None,
    priority: PriorityOption = None,
    with_commands: Annotated[
        bool, typer.Option("--with-commands", help="take over commands: the file is yours, the crew will run them")
    ] = False,
    again: Again = False,
    dry_run: DryRun = False,
) -> int:
    """Lines of a file, one a ticket: {"title": ...}; also ref, body, kind, priority, severity, depends, url."""
    from nightcrew.crew.importing.jsonl import import_jsonl

    with opened() as project:
        return _show(
            import_jsonl(
                project, file, source=source, kind=kind, priority=priority, with_commands=with_commands, again=again,
                dry_run=dry_run,
            )
        )  # fmt: skip


@app.command(epilog="Example: nightcrew import sarif semgrep.sarif")
def sarif(
    file: FileArgument,
    category: Annotated[Category, typer.Option(help="what the tool looks for")] = Category.SECURITY,
    priority: PriorityOption = None,
    again: Again = False,
    dry_run: DryRun = False,
) -> int:
    """Findings of a scanner: a ticket for each rule; severe ones wait for a person first."""
    from nightcrew.crew.importing.sarif import import_sarif

    with opened() as project:
        return _show(import_sarif(project, file, category=category, priority=priority, again=again, dry_run=dry_run))


@app.command(epilog="Example: nightcrew import junit results.xml --severity low")
def junit(
    file: FileArgument,
    severity: Annotated[Severity, typer.Option(help="of a failing test")] = Severity.MEDIUM,
    priority: PriorityOption = None,
    again: Again = False,
    dry_run: DryRun = False,
) -> int:
    """Failing tests: a ticket for each file of tests; one that cannot be collected waits for a person first."""
    from nightcrew.crew.importing.junit import import_junit

    with opened() as project:
        return _show(import_junit(project, file, severity=severity, priority=priority, again=again, dry_run=dry_run))


@app.command(epilog="Example: nightcrew import todo src --priority P3")
def todo(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="only below these")] = None,
    kind: KindOption = None,
    priority: PriorityOption = None,
    dry_run: DryRun = False,
) -> int:
    """TODO, FIXME and XXX comments in the files of HEAD; tickets of comments that are gone are set aside."""
    from nightcrew.crew.importing.todo import import_todos

    with opened() as project:
        return _show(import_todos(project, kind=kind, priority=priority, paths=tuple(paths or ()), dry_run=dry_run))


def _show(report: "ImportReport") -> int:
    if OPTIONS.json:
        show_json({**report.plain(), "counts": report.counts})
    else:
        shown = [one for one in report.things if one.what != "unchanged"]
        rows = [(one.what, one.ticket, one.state, one.title or one.ref, one.reason) for one in shown[:SHOWN]]
        if rows:
            table(("what", "ticket", "state", "title", "why"), rows, empty="")
        if len(shown) > SHOWN:
            say(f"and {len(shown) - SHOWN} more: --json lists all")
        for note in report.notes:
            say(f"note: {note}")
        said = ", ".join(f"{count} {what}" for what, count in report.counts.items()) or "nothing there"
        say(f"{report.source}: {said}{' (dry run: nothing was done)' if report.dry_run else ''}")
    return 1 if report.needs_person else 0
