"""nightcrew reviewer: add, list, revoke."""

from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json, table

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who may decide.")
APPS = {"reviewer": app}
By = Annotated[str | None, typer.Option(help="the enrolled reviewer who signs")]


@app.command(epilog="Example: nightcrew reviewer add ada --passphrase")
def add(
    name: str,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="a key sealed by a passphrase (the default)")] = True,
    by: By = None,
) -> None:
    """Enrol a reviewer: the first by himself, each later one signed by an enrolled one."""
    del passphrase  # The only signer there is so far.
    from nightcrew.cli.ask import passphrase as ask
    from nightcrew.crew.reviewers import add as enrol

    with opened() as project:
        reviewer = enrol(project, name, passphrase=ask, by=by)
    if OPTIONS.json:
        show_json({"name": reviewer.name, "key_id": reviewer.key_id, "kind": reviewer.kind})
    else:
        say(f"{reviewer.name} may decide now (key {reviewer.key_id[:16]}).")


@app.command("list", epilog="Example: nightcrew reviewer list")
def list_() -> None:
    """List everyone ever enrolled; the chain of signatures is verified."""
    from nightcrew.crew.reviewers import list_reviewers

    with opened() as project:
        found = list_reviewers(project)
    if OPTIONS.json:
        show_json([{"name": r.name, "key_id": r.key_id, "kind": r.kind, "active": r.active} for r in found])
        return
    rows = [(r.name, r.kind, "active" if r.active else "revoked", r.key_id[:16]) for r in found]
    table(("name", "kind", "state", "key"), rows, empty="Nobody is enrolled. Run: nightcrew reviewer add NAME")


@app.command(epilog="Example: nightcrew reviewer revoke ada --by grace")
def revoke(name: str, by: By = None) -> None:
    """Revoke a reviewer: approvals of his that were not used are void."""
    from nightcrew.cli.ask import passphrase as ask
    from nightcrew.crew.reviewers import revoke as revoke_reviewer

    with opened() as project:
        revoke_reviewer(project, name, by=by, passphrase=ask)
    if OPTIONS.json:
        show_json({"name": name, "active": False})
    else:
        say(f"{name} is revoked.")
