"""nightcrew init, doctor."""

import sys
from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import UsageError

init_app = typer.Typer(add_completion=False)
doctor_app = typer.Typer(add_completion=False)
APPS = {"init": init_app, "doctor": doctor_app}


@init_app.command(epilog="Example: nightcrew init --yes")
def init(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Prepare the repository: .nightcrew/, nightcrew.toml, the ledger. Again, it makes only what is missing."""
    from nightcrew.crew.setup import initialise

    if not (yes or OPTIONS.json or sys.stdin.isatty()):
        raise UsageError("init asks before it writes, and there is nobody to ask", hint="Run: nightcrew init --yes")
    if not yes and not OPTIONS.json and not typer.confirm("Write .nightcrew/ and nightcrew.toml here?", default=True):
        raise typer.Exit(0)
    report = initialise(OPTIONS.repo)
    if OPTIONS.json:
        show_json({"root": report.root, "created": report.created, "detected": report.detected, "notes": report.notes})
        return
    say(f"{report.root} is prepared." if report.created else f"{report.root} was prepared already.")
    for name in report.created:
        say(f"  wrote {name}")
    for name, value in report.detected.items():
        say(f"  {name}: {value}")
    for note in report.notes:
        say(f"  note: {note}")
    say("Next: nightcrew ticket add TITLE, then nightcrew shift")


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
