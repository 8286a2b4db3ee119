"""nightcrew memory: LoreConvo, and what waits for it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json, table
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from nightcrew.crew.loreconvo import Standing
    from nightcrew.crew.project import Project

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Session records in LoreConvo: what is there, what waits, why."
)
APPS = {"memory": app}


@app.command(epilog="Example: nightcrew memory status")
def status() -> int:
    """Say what is in LoreConvo and what waits. Nothing is started. Exit status 1 if something needs a person."""
    from nightcrew.crew import loreconvo, loreconvo_queue
    from nightcrew.store import memory_sync

    with opened() as project, project.store.read() as tx:
        stands, unsent, own = loreconvo.standing(tx), memory_sync.list(tx, limit=1000), memory_sync.count_own(tx)
    if OPTIONS.json:
        show_json({**_plain(project, stands), "own": own, "queue": [one.plain() for one in unsent]})
        return _exit(stands) if project.settings.memory.loreconvo else 0
    say(f"Own store: {own} {'record' if own == 1 else 'records'}. Search them with: nightcrew recall")
    if not project.settings.memory.loreconvo:
        say("LoreConvo is not used: memory.loreconvo in nightcrew.toml is empty.")
        return 0
    say(f"LoreConvo: {stands.sent} of them, as project {loreconvo_queue.project_name(project)}.")
    if line := stands.line():
        say(line)
    if unsent:
        table(
            ("session", "state", "attempts", "again from", "why"),
            [(one.session, one.state, one.attempts, _when(one.next_at), one.problem) for one in unsent[:20]],
            empty="",
        )
    return _exit(stands)


@app.command(epilog="Example: nightcrew memory sync")
def sync(
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="also records of before LoreConvo was used, which count against its limit; and anew what was sent"
            " under another project name",
        ),
    ] = False,
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="how long it may take")] = 120,
) -> int:
    """Send what waits to LoreConvo now, whatever was decided about it before.

    Exit status 1 if records are left that need a person (no room, refused), 75 if LoreConvo did not answer.
    """
    from nightcrew.crew import loreconvo, loreconvo_queue

    with opened() as project:
        if not loreconvo_queue.is_on(project):
            raise UsageError(
                "LoreConvo is not used here", hint='Write loreconvo = ["loreconvo"] under [memory] in nightcrew.toml.'
            )
        if everything:
            loreconvo_queue.queue_all(project)
        made = loreconvo_queue.send(project, by_hand=True, seconds=seconds)
        with project.store.read() as tx:
            stands = loreconvo.standing(tx)
        project.pin_ledger()
    if OPTIONS.json:
        show_json({**_plain(project, stands), "sent_now": made.sent, "problem": made.problem})
    else:
        say(f"{made.sent} {'record was' if made.sent == 1 else 'records were'} sent to LoreConvo.")
        if line := stands.line() or made.problem:
            say(line)
    return 75 if made.down else _exit(stands)


def _plain(project: "Project", stands: "Standing") -> dict[str, Any]:
    from nightcrew.crew.loreconvo_queue import project_name

    return {
        "loreconvo": list(project.settings.memory.loreconvo),
        "project": project_name(project),
        "sent": stands.sent,
        "waiting": stands.waiting,
        "refused": stands.refused,
        "full": stands.full,
        "why": stands.why,
        "asked_again": stands.again.isoformat() if stands.again else None,
    }


def _when(moment: "datetime | None") -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""


def _exit(stands: "Standing") -> int:
    return 1 if stands.full or stands.refused else 0
