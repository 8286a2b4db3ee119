"""nightcrew reviewer: add, admit, list, revoke."""

from pathlib import Path
from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json, table
from nightcrew.model.errors import UsageError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who may decide.")
APPS = {"reviewer": app}
By = Annotated[str | None, typer.Option(help="the enrolled reviewer who signs")]
ByKey = Annotated[Path | None, typer.Option(help="the SSH key that signs, if it is not in ~/.ssh")]


@app.command(epilog="Example: nightcrew reviewer add ada --ssh ~/.ssh/id_ed25519")
def add(
    name: str,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="a new key sealed by a passphrase (the default)")
    ] = False,
    ssh: Annotated[Path | None, typer.Option(help="an SSH key; a .pub file takes it from the agent or a token")] = None,
    passkey: Annotated[bool, typer.Option("--passkey", help="say how to register a passkey in the browser")] = False,
    github: Annotated[
        str | None, typer.Option(metavar="LOGIN", help="count this login's pull-request reviews as approvals")
    ] = None,
    repository: Annotated[str, typer.Option(help="OWNER/NAME on GitHub, with --github")] = "",
    token_env: Annotated[str, typer.Option(help="environment variable with the token, with --github")] = "GITHUB_TOKEN",  # noqa: S107 - its name
    api: Annotated[str, typer.Option(help="address of the API, with --github")] = "https://api.github.com",
    by: By = None,
    by_key: ByKey = None,
) -> None:
    """Enrol a key: the first reviewer's by itself, another's signed by an enrolled one, a further one by one's own."""
    from nightcrew.cli.ask import passphrase as ask
    from nightcrew.crew import reviewers, rules

    kind_is_said = passphrase or ssh is not None or passkey or github is not None
    if sum((passphrase, ssh is not None, passkey, github is not None)) > 1:
        raise UsageError("take one of --passphrase, --ssh, --passkey, --github")
    if passkey:
        say(
            f"A passkey is registered in the browser. Run: nightcrew serve\n"
            f"Then open Reviewers, type the name {name}, and touch the key."
        )
        return
    with opened() as project:
        if not kind_is_said and name in rules.people(project):
            raise UsageError(
                f"{name} is enrolled already", hint="For a further key say which: --passphrase, --ssh KEY or --passkey."
            )
        if github is not None:
            enrolled = reviewers.add_github(
                project, name, github, repository=repository, token_env=token_env, api=api, passphrase=ask, by=by,
                by_key=by_key,
            )  # fmt: skip
        else:
            enrolled = reviewers.add(project, name, passphrase=ask, by=by, ssh=ssh, by_key=by_key)
    if OPTIONS.json:
        show_json({"name": enrolled.name, "key_id": enrolled.key_id, "kind": enrolled.kind})
    else:
        say(f"{enrolled.name} may decide now ({enrolled.kind} key {enrolled.key_id[:16]}).")


@app.command(epilog="Example: nightcrew reviewer admit grace --key 3f2a --by ada")
def admit(
    name: str,
    key: Annotated[str | None, typer.Option(help="first digits of the key's id, if several wait")] = None,
    by: By = None,
    by_key: ByKey = None,
) -> None:
    """Sign the enrolment of a passkey that was registered in the browser and waits for it."""
    from nightcrew.cli.ask import passphrase as ask
    from nightcrew.crew import reviewers

    with opened() as project:
        one = reviewers.to_admit(project, name, key)
        if not OPTIONS.json:
            say(f"{name}: {one.kind} key {one.key_id[:16]}, registered {one.created:%Y-%m-%d %H:%M} UTC")
        # The whole id: a key that is registered meanwhile is not the one that was shown.
        enrolled = reviewers.admit(project, name, passphrase=ask, by=by, by_key=by_key, key_id=one.key_id)
    if OPTIONS.json:
        show_json([{"name": enrolled.name, "key_id": enrolled.key_id, "kind": enrolled.kind}])
    else:
        say(f"{name} may decide now.")


@app.command("list", epilog="Example: nightcrew reviewer list")
def list_() -> None:
    """List every key ever enrolled; the chain of signatures is verified."""
    from nightcrew.crew.reviewers import list_reviewers, waiting

    with opened() as project:
        found = list_reviewers(project)
        pending = waiting(project)
    if OPTIONS.json:
        show_json(
            [
                *({"name": r.name, "key_id": r.key_id, "kind": r.kind, "active": r.active} for r in found),
                *({"name": p.name, "key_id": p.key_id, "kind": p.kind, "active": False} for p in pending),
            ]
        )
        return
    rows = [(r.name, r.kind, "active" if r.active else "revoked", r.key_id[:16]) for r in found]
    rows += [(p.name, p.kind, f"waits: nightcrew reviewer admit {p.name}", p.key_id[:16]) for p in pending]
    table(("name", "kind", "state", "key"), rows, empty="Nobody is enrolled. Run: nightcrew reviewer add NAME")


@app.command(epilog="Example: nightcrew reviewer revoke ada --key 3f2a --by grace")
def revoke(
    name: str,
    key: Annotated[str | None, typer.Option(help="first digits of the key's id; default: all of this reviewer")] = None,
    by: By = None,
    by_key: ByKey = None,
) -> None:
    """Revoke a reviewer, or one key: approvals that were not used are void."""
    from nightcrew.cli.ask import passphrase as ask
    from nightcrew.crew.reviewers import revoke as revoke_reviewer

    with opened() as project:
        revoke_reviewer(project, name, by=by, passphrase=ask, key_id=key, by_key=by_key)
    if OPTIONS.json:
        show_json({"name": name, "key": key, "active": False})
    else:
        say(f"{name} is revoked." if key is None else f"The key {key} of {name} is revoked.")
