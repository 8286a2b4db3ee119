"""nightcrew sync."""

from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json, table

sync_app = typer.Typer(add_completion=False)
APPS = {"sync": sync_app}


@sync_app.command(epilog="Example: nightcrew sync --dry-run")
def sync(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and change nothing")] = False,
) -> int:
    """Bring GitHub up to date as a shift does: issues in; branches, pull requests, checks and states out.

    What failed before is tried again. Exit status 1 if something is left over.
    """
    from nightcrew.crew.forge.sync import sync as bring

    with opened() as project:
        found = bring(project, dry_run=dry_run)
    if OPTIONS.json:
        show_json({"dry_run": dry_run, **found.plain()})
    else:
        if found.issues:
            say("Issues: " + ", ".join(f"{count} {word}" for word, count in found.issues.items()))
        rows = [(one["subject"], one["kind"], one["state"], one["problem"]) for one in found.waiting]
        if not dry_run:
            say(f"{len(found.done)} done, {len(rows)} left.")
        table(
            ("ticket", "what", "state", "problem"),
            rows,
            empty="Nothing would be done." if dry_run else "GitHub is up to date.",
        )
        for line in (*found.withheld, *found.problems):
            say(f"  {line}")
    return 1 if found.problems or (found.waiting and not dry_run) else 0
