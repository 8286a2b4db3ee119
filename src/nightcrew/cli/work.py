"""nightcrew plan, work, shift, stop."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json
from nightcrew.cli.progress import Follower
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from nightcrew.crew.report import Report

plan_app = typer.Typer(add_completion=False)
work_app = typer.Typer(add_completion=False)
shift_app = typer.Typer(add_completion=False)
stop_app = typer.Typer(add_completion=False)
APPS = {"plan": plan_app, "work": work_app, "shift": shift_app, "stop": stop_app}


@plan_app.command(epilog="Example: nightcrew plan build --output build.yaml")
def plan(
    agent: Annotated[str, typer.Argument(help="build, qa or security")],
    output: Annotated[Path | None, typer.Option(help="write the manifest to this file too")] = None,
) -> None:
    """Write the manifest of an agent's next session: which tickets, in what order, what is left out and why."""
    from nightcrew.crew.planning import make_plan
    from nightcrew.crew.published import write_atomically

    with opened() as project:
        planned = make_plan(project, agent)
    if output is not None:
        write_atomically(output, planned.data)
    if OPTIONS.json:
        show_json({"id": planned.id, **planned.manifest.plain()})
    else:
        say(planned.data.decode())


@work_app.command(epilog="Example: nightcrew work build")
def work(
    agent: Annotated[str, typer.Argument(help="build, qa or security")],
    manifest: Annotated[Path | None, typer.Option(help="a manifest that plan wrote; default: plan now")] = None,
) -> int:
    """Run one session of one agent."""
    from nightcrew.crew.night import run_work

    try:
        data = manifest.read_bytes() if manifest else None
    except OSError as error:
        raise UsageError(f"{manifest} cannot be read: {error.strerror}") from None
    with opened() as project, Follower() as follower:
        report = run_work(project, agent, manifest=data, on_progress=follower)
    return _reported(report)


@shift_app.command(epilog="Example: nightcrew shift --until 06:00")
def shift(
    agent: Annotated[list[str] | None, typer.Option(help="only this agent; may be given again")] = None,
    brain: Annotated[str | None, typer.Option(help="brain of the build agent for this night")] = None,
    until: Annotated[str | None, typer.Option(help="end at this local time, HH:MM")] = None,
    max_minutes: Annotated[int | None, typer.Option(min=1, help="end after this many minutes")] = None,
) -> int:
    """Run one night to its end. After a crash, a kill or Ctrl-C the same command goes on where it was."""
    from nightcrew.crew.night import run_shift

    with opened() as project, Follower() as follower:
        report = run_shift(
            project,
            agents=agent,
            brain=brain,
            until=_next_time(until) if until else None,
            max_minutes=max_minutes,
            on_progress=follower,
        )
    return _reported(report)


@stop_app.command(epilog="Example: nightcrew stop")
def stop() -> None:
    """Stop the running shift before its next turn; what is unfinished stays open."""
    from nightcrew.crew.night import request_stop

    with opened() as project:
        told = request_stop(project)
    if OPTIONS.json:
        show_json({"shift": told})
    else:
        say(f"{told} stops before its next turn." if told else "No shift is running.")


def _reported(report: "Report") -> int:
    from nightcrew.crew.report import exit_status, markdown

    if OPTIONS.json:
        show_json(report.plain())
    else:
        say(markdown(report))
    return exit_status(report)


def _next_time(text: str) -> datetime:
    try:
        hour, minute = (int(part) for part in text.split(":"))
        now = datetime.now().astimezone()
        at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except ValueError:
        raise UsageError(f"{text!r} is not a time", hint="Write it as HH:MM, such as 06:00.") from None
    return at if at > now else at + timedelta(days=1)
