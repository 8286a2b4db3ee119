"""nightcrew alone: last night, and what waits."""

from typing import TYPE_CHECKING

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json

if TYPE_CHECKING:
    from nightcrew.crew.last_night import LastNight

app = typer.Typer(add_completion=False)
APPS = {"overview": app}
_SHOWN = 5
_LONGEST = 160


@app.command(epilog="Example: nightcrew")
def overview() -> int:
    """Say what happened last night and what waits for a person."""
    from nightcrew.crew.last_night import last_night

    with opened() as project:
        found = last_night(project)
    if OPTIONS.json:
        show_json(found.plain())
    else:
        _told(found)
    return 1 if found.needs_you else 0


def _told(found: "LastNight") -> None:
    say(_shift(found))
    _list("Merged", [f"{one.ticket} {one.text}" for one in found.merged])
    _list("Not finished", [f"{one.ticket} {one.text}" for one in found.not_finished])
    _list(
        "Waits for you", [f"{one.id} ({one.severity}) {one.ticket} {one.title}: {one.reason}" for one in found.waiting]
    )
    _list("In quarantine", [f"{one.ticket} {one.text}" for one in found.quarantined])
    _list("Alerts", list(found.firing))
    _list("Notes", list(found.notes))
    say()
    counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(found.tickets.items()))
    say(f"Tickets: {counts or 'none'}")
    if found.next_run is not None:
        run = found.next_run
        say(f"Next run: {run.local:%a %Y-%m-%d %H:%M %Z} ({run.schedule}), {run.due:%H:%M} UTC")
    else:
        say("Next run: none is scheduled (nightcrew schedule install --at 02:00)")
    say(f"Next: {_next(found)}; all commands: nightcrew --help")


def _shift(found: "LastNight") -> str:
    if found.shift is None or found.started is None:
        return "No shift has run yet."
    end = f"to {found.ended:%H:%M}" if found.ended else "and still running"
    said = [
        f"{len(found.merged)} merged",
        f"{len(found.not_finished)} not finished" if found.not_finished else "",
        f"{found.not_checked} not checked" if found.not_checked else "",
    ]
    outcome = found.outcome.replace("_", " ")
    return f"Shift {found.shift}, {found.started:%Y-%m-%d %H:%M} {end} UTC: {outcome}; {', '.join(filter(None, said))}."


def _next(found: "LastNight") -> str:
    if found.waiting:
        return "nightcrew inbox, or nightcrew serve"
    if found.quarantined:
        return f"nightcrew ticket show {found.quarantined[0].ticket}"
    if found.shift is not None:
        return "nightcrew report"
    return "nightcrew shift" if found.tickets else "nightcrew ticket add TITLE"


def _list(title: str, lines: list[str]) -> None:
    if not lines:
        return
    say(f"\n{title} ({len(lines)}):")
    for line in lines[:_SHOWN]:
        whole = " ".join(line.split())
        say(f"  {whole if len(whole) <= _LONGEST else whole[: _LONGEST - 3] + '...'}")
    if len(lines) > _SHOWN:
        say(f"  and {len(lines) - _SHOWN} more")
