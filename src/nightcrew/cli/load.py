"""nightcrew load."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from nightcrew.readiness.load.curve import Step
    from nightcrew.readiness.load.running import Load
    from nightcrew.readiness.target import Target

load_app = typer.Typer(add_completion=False)
APPS = {"load": load_app}
_BAR = 24


@load_app.command(epilog="Example: nightcrew load app.py:fraud --input transactions.jsonl --rising")
def load(
    target: Annotated[
        str, typer.Argument(metavar="APP.py:NAME", help="the pipeline: a file, or a module, and its name there")
    ],
    input_: Annotated[
        Path | None, typer.Option("--input", help="records to drive it with, again and again: .jsonl, .csv, .parquet")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="records a second: this rate, and no other")] = None,
    rising: Annotated[bool, typer.Option("--rising", help="rise until it no longer keeps up (the default)")] = False,
    start: Annotated[float, typer.Option("--from", min=0.001, help="records a second to begin with")] = 10.0,
    to: Annotated[float | None, typer.Option(min=0.001, help="records a second to end with at most")] = None,
    factor: Annotated[float, typer.Option(min=1.05, max=10, help="by what the rate rises each time")] = 2.0,
    seconds: Annotated[float, typer.Option(min=0.5, help="how long each rate is held")] = 5.0,
    total: Annotated[float, typer.Option(min=1, help="seconds for all rates together")] = 180.0,
    limit: Annotated[
        float | None, typer.Option(min=0.001, help="seconds from arrival to stored outcome that 99 of 100 must keep")
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(min=0, help="exit with 1 unless it holds so many records a second")
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="let the steps reach the network: calls are really made, and cost")
    ] = False,
    stand_in_seconds: Annotated[
        float, typer.Option(min=0, help="how long what stands in for a step without its network takes")
    ] = 0.0,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="a file or folder that the code reads and that is not to be copied; may be given again"),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="name of an environment variable that the code needs; may be given again")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave the copy where it is, to look at")] = False,
    history: Annotated[bool, typer.Option("--history", help="list the load tests that were run, newest first")] = False,
    show: Annotated[bool, typer.Option("--show", help="show the curve of the last load test again")] = False,
) -> int:
    """Drive a copy of a pipeline at a set or rising rate, find the rate that it holds, and keep the curve."""
    from nightcrew.readiness.drills.place import Given
    from nightcrew.readiness.load import running
    from nightcrew.readiness.load.curve import Plan
    from nightcrew.readiness.target import resolve

    if rate is not None and rising:
        raise UsageError("--rate and --rising exclude each other", hint="--from is where a rising rate begins.")
    if to is not None and to < start and rate is None:
        raise UsageError("--to is below --from")
    found = resolve(target, OPTIONS.repo)
    if history or show:
        return _history(found) if history else _last(found)
    plan = (
        Plan(rate=start, factor=factor, seconds=seconds, limit=limit, most=to, total=total)
        if rate is None
        else Plan(rate=rate, factor=1.0, seconds=seconds, limit=limit, total=max(total, 2 * seconds))
    )
    given = Given(
        None if input_ is None else input_.absolute(), tuple(path.absolute() for path in data or ()),
        tuple(env or ()), network,
    )  # fmt: skip
    made = running.run(
        found, plan, given=given, stand_in_seconds=stand_in_seconds, keep=keep, tell=_tell, seen=_seen
    )  # fmt: skip
    made = running.keep_load(found, made)
    if OPTIONS.json:
        show_json(made.plain())
    else:
        _show(made)
    if made.ended_by == running.INTERRUPTED:
        return 130
    wanted = max(rate or 0.0, at_least or 0.0)
    return 0 if made.knee is not None and made.knee >= wanted else 1


def _tell(text: str) -> None:
    if not OPTIONS.json:
        sys.stderr.write(f"  {text}\n")


def _seen(step: "Step") -> None:
    _tell(f"{_number(step.rate)}/s: " + (f"holds, p99 {_time(step.p99)}" if step.held else step.why_not))


def _show(made: "Load") -> None:
    slowest = max((step.p99 for step in made.steps), default=0.0)
    rows = [_row(step, slowest) for step in sorted(made.steps, key=lambda step: step.rate)]
    headings = ("arrive/s", "stored/s", "p50", "p95", "p99", "slowest", "at a time", "not well", "holds", "p99")
    table(headings, rows, empty="No rate was tried to its end.")
    say()
    for line in _said(made):
        say(line)


def _row(step: "Step", slowest: float) -> tuple[str, ...]:
    bar = "#" * max(1, round(_BAR * step.p99 / slowest)) if slowest else ""
    return (
        _number(step.rate), _number(step.throughput), _time(step.p50), _time(step.p95), _time(step.p99),
        _time(step.slowest), f"{step.at_a_time:.1f}", f"{step.worse:.1%}", "yes" if step.held else "NO", bar,
    )  # fmt: skip


def _said(made: "Load") -> list[str]:
    found = []
    if made.knee is None:
        found.append("No rate held.")
    elif not made.plan.rising:
        found.append(f"It holds {_number(made.knee)} records/s.")
    elif made.why_no_more:
        found.append(f"Knee: it holds {_number(made.knee)} records/s.")
    else:
        found.append(f"No knee was met: it holds {_number(made.knee)} records/s, the highest rate tried.")
    if made.missed is not None:
        found.append(f"It does not hold {_number(made.missed.rate)}/s: {made.missed.why_not}.")
    found.append(f"The most that it stored at any rate: {_number(made.capacity)} records/s.")
    if made.limit is not None:
        found.append(f"A rate holds if waits do not rise, p99 is within {_time(made.limit)}, and no more fail.")
    if made.in_review:
        found.append(
            f"{made.in_review:.0%} were held for a person: this is what it takes in, not what people get through."
        )
    if made.ended_by:
        found.append(f"Ended early: {made.ended_by}.")
    if made.stood_in:
        found.append(f"Not the real thing: {made.stood_in}.")
    if made.entry is not None:
        found.append(f"Kept as entry {made.entry} of the ledger.")
    return found


def _history(target: "Target") -> int:
    from nightcrew.readiness.load.running import history

    found = history(target, 50)
    if OPTIONS.json:
        show_json([{**run.doc, "entry": run.entry} for run in found])
        return 0
    rows = [(f"{run.started:%Y-%m-%d %H:%M}", *_summed(run.doc), run.entry) for run in found]
    table(("when (UTC)", "knee/s", "most/s", "why no more", "entry"), rows, empty="No load test was run yet.")
    return 0


def _last(target: "Target") -> int:
    from nightcrew.readiness.load.running import Load, history

    found = history(target, 1)
    if OPTIONS.json:
        show_json({**found[0].doc, "entry": found[0].entry} if found else None)
    elif found:
        say(f"{found[0].started:%Y-%m-%d %H:%M} UTC")
        _show(Load.of(found[0]))
    else:
        say("No load test was run yet.")
    return 0


def _summed(doc: Any) -> tuple[str, str, str]:
    knee = doc["knee"]
    return "none" if knee is None else _number(knee), _number(doc["capacity"]), doc["why_no_more"]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
