"""nightcrew drift: what is not like it was; comparing files; the references that pipelines are compared with."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from nightcrew.monitoring.drift import DriftReport
    from nightcrew.pipeline.state import State

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What is not like it was, and what it is held to.")
reference_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="What pipelines are compared with: list, save, reset."
)
app.add_typer(reference_app, name="reference")
APPS = {"drift": app}

Subject = Annotated[str | None, typer.Option("--subject", help="such as pipeline:fraud; pipeline:* is all of them")]


@app.command(epilog="Example: nightcrew drift show --subject pipeline:fraud")
def show(
    subject: Subject = None,
    every: Annotated[bool, typer.Option("--all", help="also what is over")] = False,
    days: Annotated[float, typer.Option(min=0, max=3660, help="with --all: so many days back")] = 7.0,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="at most so many")] = 50,
) -> int:
    """Show what has drifted: which feature, how far, since when. Exit status 1 if something drifts now."""
    from nightcrew.store import drifts

    with _Opened() as state, state.store.read() as tx:
        start = datetime.now(UTC) - timedelta(days=days) if every else None
        found = drifts.list(tx, subject=subject, open_only=not every, start=start, limit=limit)
    now = [one for one in found if one.until is None]
    if OPTIONS.json:
        show_json([one.plain() for one in found])
        return 1 if now else 0
    rows = [
        (one.subject, one.message, f"{one.since:%Y-%m-%d %H:%M}", f"{one.until:%Y-%m-%d %H:%M}" if one.until else "")
        for one in found
    ]
    table(("subject", "what moved", "since (UTC)", "until (UTC)"), rows, empty="Nothing drifts.")
    return 1 if now else 0


@app.command(epilog="Example: nightcrew drift check today.jsonl --reference last-month.jsonl")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a .jsonl, .csv or .parquet file with records")],
    reference: Annotated[str, typer.Option("--reference", help="a file with the records to compare with")],
    leave_out: Annotated[list[str] | None, typer.Option(help="a field to leave out; may be given again")] = None,
    rate: Annotated[float, typer.Option(help="probability (0..1) of a false alarm, all features together")] = 0.001,
) -> int:
    """Compare the records of two files; exit status 1 if something moved."""
    from nightcrew.monitoring.drift import Drift

    drift = Drift.from_records(_records(reference), leave_out=leave_out or (), rate=rate)
    report = drift.check(_records(file))
    if OPTIONS.json:
        show_json(_plain(report))
        return 1 if report else 0
    rows = [
        (one.feature, one.effect.text, f"{one.found.p:.1g}", f"{100 * one.effect.moved:.1f} %") for one in report.moved
    ]
    table(("feature", "what moved", "p", "of values"), rows, empty="Nothing moved.")
    say(f"{len(report.tested)} features of {report.values:,} records compared.")
    if report.untested:
        say(f"Too few values to say anything: {', '.join(report.untested)}")
    return 1 if report else 0


@reference_app.command("list", epilog="Example: nightcrew drift reference list")
def reference_list(subject: Subject = None) -> None:
    """List the references: learned at first (fixed), rolling, and saved ones."""
    from nightcrew.store import drifts

    with _Opened() as state, state.store.read() as tx:
        found = drifts.references(tx, subject)
    if OPTIONS.json:
        show_json([{"subject": r.subject, "name": r.name, "created": r.created, "sha256": r.sha256} for r in found])
        return
    rows = [(r.subject, r.name, f"{r.created:%Y-%m-%d %H:%M}", r.sha256[:12]) for r in found]
    table(
        ("subject", "name", "since (UTC)", "sha256"), rows, empty="There is no reference yet: one is learned at first."
    )


@reference_app.command(
    "save",
    epilog="Example: nightcrew drift reference save june --subject pipeline:fraud --from 2026-06-01 --to 2026-07-01",
)
def reference_save(
    name: Annotated[str, typer.Argument(help="what to call it; nightcrew.toml: [drift] reference = NAME")],
    subject: Annotated[str, typer.Option(help="such as pipeline:fraud")],
    start: Annotated[datetime, typer.Option("--from", help="from this time on (UTC)")],
    end: Annotated[datetime, typer.Option("--to", help="up to this time (UTC)")],
) -> None:
    """Save what was measured in a time as a reference."""
    from nightcrew.monitoring.drift.references import save

    with _Opened() as state:
        with state.store.begin() as tx:
            profile = save(tx, subject, name, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), actor="human")
        state.pin()
    if OPTIONS.json:
        show_json({"subject": subject, "name": name, "features": profile.features})
    else:
        say(f"Saved {name} of {subject}: {len(profile.features)} features.")
        say(f'Use it with this in nightcrew.toml: [drift] reference = "{name}"')


@reference_app.command("reset", epilog="Example: nightcrew drift reference reset --subject pipeline:fraud")
def reference_reset(
    subject: Annotated[str, typer.Option(help="such as pipeline:fraud")],
    name: Annotated[str | None, typer.Option(help="forget this saved one instead of the learned one")] = None,
) -> None:
    """Accept what is now: forget the learned reference, and learn another from what comes from now on."""
    from nightcrew.monitoring.drift.looking import reset
    from nightcrew.store import drifts

    with _Opened() as state:
        with state.store.begin() as tx:
            if name is None:
                reset(tx, subject, actor="human")
            else:
                drifts.remove_reference(tx, subject, name, actor="human")
        state.pin()
    if OPTIONS.json:
        show_json({"subject": subject, "forgotten": name or "learned"})
    else:
        say(f"Forgot {name or 'the learned reference'} of {subject}.")


class _Opened:
    def __enter__(self) -> "State":
        from nightcrew.pipeline.state import find_state

        self.state = find_state(OPTIONS.repo)
        if not self.state.exists():
            raise UsageError("no pipeline has run here yet", hint="Run: nightcrew run APP.py:NAME --input FILE")
        return self.state

    def __exit__(self, *_: object) -> None:
        self.state.close()


def _records(given: str) -> list[Any]:
    from nightcrew.monitoring.drift.files import parsed
    from nightcrew.pipeline.sources import Source, open_source

    source = open_source(given)
    if not isinstance(source, Source):
        raise UsageError(f"{given} cannot be compared")
    return parsed((record for _, record in source.read()), text=Path(given).suffix.lower() in (".csv", ".tsv"))


def _plain(report: "DriftReport") -> dict[str, Any]:
    return {
        "moved": [
            {
                "feature": one.feature, "measure": one.found.measure, "effect": one.effect.size,
                "unit": one.effect.unit, "of_values": one.effect.moved, "statistic": one.found.statistic,
                "p": one.found.p, "adjusted": one.found.adjusted, "message": one.effect.text,
            }
            for one in report.moved
        ],
        "tested": list(report.tested), "untested": report.untested, "records": report.values,
    }  # fmt: skip
