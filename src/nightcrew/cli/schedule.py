"""nightcrew schedule."""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json, table
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from nightcrew.crew.project import Project
    from nightcrew.crew.scheduling import Prepared, Shown
    from nightcrew.model.scheduling import Schedule
    from nightcrew.store.firings import Firing

schedule_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Shifts that run by themselves: when, and what became of them."
)
APPS = {"schedule": schedule_app}
NIGHTLY = "nightly"
Name = Annotated[str, typer.Argument(help="name of the schedule")]


@schedule_app.command("install", epilog="Example: nightcrew schedule install --at 02:00 --days mon-fri --until 06:00")
def install(
    at: Annotated[list[str], typer.Option(help="time of day, HH:MM; several with commas, or given again")],
    name: Annotated[str, typer.Option(help="its name, to have several")] = NIGHTLY,
    days: Annotated[str, typer.Option(help="such as mon-fri, sat,sun, weekdays, weekend")] = "daily",
    zone: Annotated[str, typer.Option(help="time zone of the times, as Europe/Berlin; default: the machine's")] = "",
    agent: Annotated[list[str] | None, typer.Option(help="only this agent; may be given again")] = None,
    brain: Annotated[str, typer.Option(help="brain of the build agent")] = "",
    until: Annotated[str, typer.Option(help="end at this time of day, HH:MM")] = "",
    max_minutes: Annotated[int | None, typer.Option(min=1, help="end after this many minutes")] = None,
    jitter: Annotated[int, typer.Option(min=0, max=720, help="begin up to this many minutes later")] = 0,
    backend: Annotated[
        str, typer.Option(help="what calls it: launchd, systemd, cron, in-process; default: what the machine has")
    ] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show what would be installed, and change nothing")
    ] = False,
) -> int:
    """Have shifts of this repository run at set times; again with the same name changes it."""
    from nightcrew.crew import scheduling
    from nightcrew.model.scheduling import NAME, Schedule, days_of, times_of

    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a schedule", hint="Small letters, digits and -, at most 40.")
    if until:
        times_of([until])
    values = {
        "name": name,
        "at": times_of(at),
        "days": days_of(days),
        "zone": zone,
        "agents": tuple(agent or ()),
        "brain": brain,
        "until": until,
        "max_minutes": max_minutes,
        "jitter_minutes": jitter,
    }
    asked = Schedule.read(values, source="the schedule")
    with opened() as project:
        prepared = scheduling.prepare(project, asked, backend=backend, given=os.environ)
        if dry_run:
            return _show_files(project, prepared)
        done = scheduling.install(project, prepared)
    if OPTIONS.json:
        left_out, written = [*done.left_out], [str(path) for path in done.files]
        show_json({**done.shown.plain(), "written": written, "left_out": left_out})
    else:
        say(f"Schedule {name} is installed with {done.shown.schedule.backend}.")
        for path in done.files:
            say(f"  wrote {path}")
        say()
        _say_schedule(done.shown)
        _say_warnings(done.left_out)
    return 1 if done.shown.status.warnings or done.shown.warnings else 0


@schedule_app.command("show", epilog="Example: nightcrew schedule show")
def show(name: Annotated[str | None, typer.Argument(help="one schedule; default: all")] = None) -> int:
    """Each schedule: whether it is in place, its next runs and last outcomes, the environment a run sees, its log."""
    from nightcrew.crew import scheduling

    with opened() as project:
        found = [scheduling.show(project, one) for one in ([name] if name else scheduling.names(project))]
    if OPTIONS.json:
        show_json([one.plain() for one in found])
    elif not found:
        say("No schedule. Install one with: nightcrew schedule install --at 02:00")
    else:
        for index, one in enumerate(found):
            if index:
                say()
            _say_schedule(one)
    return 1 if any(not one.status.installed or not one.status.enabled for one in found) else 0


@schedule_app.command("remove", epilog="Example: nightcrew schedule remove nightly")
def remove(name: Name = NIGHTLY) -> None:
    """Have a schedule called no more; its history stays."""
    from nightcrew.crew import scheduling

    with opened() as project:
        scheduling.remove(project, name)
    if OPTIONS.json:
        show_json({"removed": name})
    else:
        say(f"Schedule {name} is removed.")


@schedule_app.command("run-now", epilog="Example: nightcrew schedule run-now nightly")
def run_now(name: Name = NIGHTLY) -> int:
    """Run a schedule's shift now, as it runs at night: same agents, brain, limits and environment."""
    from nightcrew.cli.progress import Follower
    from nightcrew.crew import scheduled

    with opened() as project:
        with Follower() as follower:
            firing = scheduled.run_now(project, name, on_progress=follower)
        return _say_run(project, [firing])


@schedule_app.command("history", epilog="Example: nightcrew schedule history --limit 10")
def history(
    name: Annotated[str | None, typer.Argument(help="one schedule; default: all")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many at most")] = 20,
) -> None:
    """What schedules did, newest first: when each was due, what became of it, which shift it ran."""
    from nightcrew.crew import scheduling

    with opened() as project:
        found = scheduling.history(project, name, limit=limit)
    if OPTIONS.json:
        show_json([one.plain() for one in found])
    else:
        table(_HISTORY, map(_history_row, found), empty="No schedule has run yet.")


@schedule_app.command("fire", hidden=True, epilog="Example: nightcrew schedule fire nightly")
def fire(name: Name = NIGHTLY) -> int:
    """Run what is due of a schedule, if anything is: what the machine's scheduler calls. It may be called too often."""
    import signal

    from nightcrew.cli.progress import Follower
    from nightcrew.crew import scheduled

    # Who ends a run without a terminal (a shutdown, launchd, schedule serve) sends this: it means what Ctrl-C means.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with opened() as project:
        with Follower() as follower:
            done = scheduled.fire(project, name, on_progress=follower)
        return _say_run(project, done)


@schedule_app.command("serve", epilog="Example: nightcrew schedule serve")
def serve() -> None:
    """Call the schedules that are installed with --backend in-process, until this process is ended."""
    from nightcrew.crew.scheduler import serve as serve_schedules

    with opened() as project:
        if not OPTIONS.json:
            say(f"Calling the schedules of {project.root} at their times. Ctrl-C ends it.")
            sys.stdout.flush()
        serve_schedules(project)


_HISTORY = ("schedule", "due (UTC)", "what became of it", "exit", "shift", "took", "")


def _history_row(one: "Firing") -> tuple[object, ...]:
    from nightcrew.monitoring.alerts.words import duration

    ran = one.ended is not None and one.state in ("done", "failed")
    took = duration((one.ended - one.started).total_seconds()) if one.ended and ran else ""
    note = "; ".join(filter(None, ("by hand" if one.cause == "hand" else "", one.detail)))
    return one.schedule, _utc(one.due), _became(one), one.exit_status, one.shift, took, note


def _became(one: "Firing") -> str:
    outcome = (one.outcome or "").replace("_", " ")
    return one.state if one.state in ("running", "missed", "overlapped") else f"{one.state}: {outcome}"


def _say_run(project: "Project", done: "list[Firing]") -> int:
    """Print what was run as ``nightcrew shift`` does, and give its exit status; nothing if nothing was due."""
    from nightcrew.crew.report import markdown
    from nightcrew.crew.scheduled import report_of

    if OPTIONS.json:
        show_json([one.plain() for one in done])
    for one in done if not OPTIONS.json else ():
        say(f"{one.schedule}, due {_utc(one.due)} UTC: {_became(one)}" + (f" ({one.detail})" if one.detail else ""))
        report = report_of(project, one)
        if report is not None:
            say(markdown(report))
    return max((one.exit_status or 0 for one in done), default=0)


def _show_files(project: "Project", prepared: "Prepared") -> int:
    from nightcrew.crew.scheduling import backend_of

    files = backend_of(project, prepared.schedule).files(prepared.job)
    if OPTIONS.json:
        texts = {str(path): data.decode("utf-8", "replace") for path, data in files.items()}
        shown = {**prepared.schedule.plain(), "environment": prepared.environment}
        show_json({"schedule": shown, "files": texts, "left_out": [*prepared.warnings]})
        return 0
    say(f"Nothing is changed. With {prepared.schedule.backend} an install would write:")
    for path, data in files.items():
        say(f"\n{path}:\n{data.decode('utf-8', 'replace')}")
    if not files:
        say("no file: nightcrew schedule serve calls it")
    _say_warnings(prepared.warnings)
    return 0


def _say_schedule(one: "Shown") -> None:
    schedule, status = one.schedule, one.status
    state = (
        "in place" if status.installed and status.enabled else "NOT IN PLACE" if not status.installed else "NOT IN USE"
    )
    say(f"{schedule.name}: {_times(schedule)} ({one.zone})")
    say(f"  runs         {_what(schedule)}")
    say(f"  called by    {schedule.backend}: {state}, {status.detail}")
    for index, run in enumerate(one.next):
        note = f"  ({run.note})" if run.note else ""
        local = f"{run.local:%a %Y-%m-%d %H:%M} {run.local.tzname()}"
        say(f"  {'next' if not index else '':<12} {local}, {_utc(run.due)} UTC{note}")
    for index, firing in enumerate(one.last):
        more = f" {firing.shift}" if firing.shift else ""
        detail = f" ({firing.detail})" if firing.detail else ""
        say(f"  {'last' if not index else '':<12} {_utc(firing.due)} UTC: {_became(firing)}{more}{detail}")
    say(f"  log          {one.job.log}")
    for index, (variable, value) in enumerate(one.environment.items()):
        say(f"  {'environment' if not index else '':<12} {variable}={value}")
    for index, key in enumerate(one.keys):
        say(f"  {'keys' if not index else '':<12} {key.name}: {key.place} {key.detail}".rstrip())
    _say_warnings([*status.warnings, *one.warnings])


def _say_warnings(warnings: Iterable[str]) -> None:
    for warning in warnings:
        say(f"  WARNING      {warning}")


def _times(schedule: "Schedule") -> str:
    days = "daily" if len(schedule.days) == 7 else ",".join(schedule.days)
    jitter = f", up to {schedule.jitter_minutes} minutes later" if schedule.jitter_minutes else ""
    return f"{days} at {', '.join(schedule.at)}{jitter}"


def _what(schedule: "Schedule") -> str:
    parts = [f"only {', '.join(schedule.agents)}" if schedule.agents else "the whole shift"]
    parts += [f"brain {schedule.brain}"] if schedule.brain else []
    parts += [f"until {schedule.until}"] if schedule.until else []
    parts += [f"at most {schedule.max_minutes} minutes"] if schedule.max_minutes else []
    return ", ".join(parts)


def _utc(moment: "datetime") -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
