"""nightcrew init, doctor."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from nightcrew.crew.ci import Written

init_app = typer.Typer(add_completion=False)
doctor_app = typer.Typer(add_completion=False)
APPS = {"init": init_app, "doctor": doctor_app}


@init_app.command(epilog="Example: nightcrew init --yes --ci github")
def init(
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    ci: Annotated[str, typer.Option(help="write workflows for this CI too: github")] = "",
    pipeline: Annotated[
        str, typer.Option(metavar="APP.py:NAME", help="propose what would make this pipeline ready, and nothing else")
    ] = "",
    sample: Annotated[
        str, typer.Option("--input", metavar="FILE", help="with --pipeline: records to make its contract from")
    ] = "",
) -> int:
    """Prepare the repository: .nightcrew/, nightcrew.toml, the ledger. Again, it makes only what is missing.

    With --ci github it writes two workflows into .github/workflows: nightcrew.yml, a shift every night, and
    nightcrew-gate.yml, a gate for pull requests. One that is there and differs stays as it is: the difference is shown,
    and the exit status is 1.

    With --pipeline it prepares nothing: it proposes, as a diff to accept, a contract from the records of --input,
    guards for calls that have none, and alert thresholds from the last week's records. It writes them if you say yes
    (or --yes); the exit status is 1 if they are not taken. The code is read, not run.
    """
    if pipeline:
        from nightcrew.cli.proposing import propose_for

        return propose_for(pipeline, sample, yes=yes)
    if sample:
        raise UsageError("--input goes with --pipeline")
    from nightcrew.crew.setup import initialise

    if ci not in ("", "github"):
        raise UsageError(f"there is no workflow for {ci!r}", hint="Written is: --ci github")

    if not (yes or OPTIONS.json or sys.stdin.isatty()):
        raise UsageError("init asks before it writes, and there is nobody to ask", hint="Run: nightcrew init --yes")
    if not yes and not OPTIONS.json and not typer.confirm("Write .nightcrew/ and nightcrew.toml here?", default=True):
        raise typer.Exit(0)
    report = initialise(OPTIONS.repo)
    workflows = _workflows(report.root) if ci else []
    status = 1 if any(one.state == "different" for one in workflows) else 0
    if OPTIONS.json:
        told = {"root": report.root, "created": report.created, "detected": report.detected, "notes": report.notes}
        if workflows:
            told["ci"] = [vars(one) for one in workflows]
        show_json(told)
        return status
    say(f"{report.root} is prepared." if report.created else f"{report.root} was prepared already.")
    for name in report.created:
        say(f"  wrote {name}")
    for name, value in report.detected.items():
        say(f"  {name}: {value}")
    for note in report.notes:
        say(f"  note: {note}")
    if workflows:
        _say_workflows(workflows)
    else:
        say("Next: nightcrew ticket add TITLE, then nightcrew shift")
    return status


def _workflows(root: Path) -> "list[Written]":
    from nightcrew.crew.ci import write_github
    from nightcrew.crew.project import read_settings

    return write_github(root, read_settings(root))


def _say_workflows(workflows: "list[Written]") -> None:
    for one in workflows:
        if one.state != "different":
            say(f"  {one.state}: {one.path}")
    different = [one for one in workflows if one.state == "different"]
    for one in different:
        say(f"{one.path} is there and differs; it was not touched. What would change:\n\n{one.diff}")
    if different:
        say("To take it: move yours away and run nightcrew init --ci github again.")
        return
    say("Next: make a key that seals the crew's state, then commit and push the workflows:")
    say("  openssl rand -hex 32 | gh secret set NIGHTCREW_STATE_KEY")


@doctor_app.command(epilog="Example: nightcrew doctor")
def doctor() -> int:
    """Look at this machine and this repository, and say what every setting is."""
    from nightcrew.crew.doctor import diagnose
    from nightcrew.crew.project import read_settings
    from nightcrew.model.errors import NightcrewError
    from nightcrew.model.settings import describe

    found = diagnose(OPTIONS.repo)
    try:
        values = read_settings(OPTIONS.repo).plain()
    except NightcrewError:
        values = {}
    settings = [(name, _value(values, name), default, text) for name, default, text in describe()]
    if OPTIONS.json:
        show_json(
            {
                "checks": [vars(diagnosis) for diagnosis in found],
                "settings": [
                    {"name": name, "value": value, "default": default, "does": text}
                    for name, value, default, text in settings
                ],
            }
        )
    else:
        table(("", "what", "found", "do"), [(d.status, d.name, d.detail, d.hint) for d in found], empty="")
        say()
        rows = [
            (name, value, "" if str(value) == default else default, text) for name, value, default, text in settings
        ]
        table(("setting", "value", "default", "what it does"), rows, empty="")
    return 1 if any(diagnosis.status == "error" for diagnosis in found) else 0


def _value(values: dict[str, object], name: str) -> object:
    found: object = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return "" if found is None else found
