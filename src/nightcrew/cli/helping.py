"""nightcrew help, man."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli import COMMANDS
from nightcrew.cli.output import OPTIONS, say, show_json
from nightcrew.model.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from nightcrew.cli.manual import Page

help_app = typer.Typer(add_completion=False)
man_app = typer.Typer(add_completion=False)
APPS = {"help": help_app, "man": man_app}


@help_app.command("help", epilog="Example: nightcrew help ticket add")
def help_(command: Annotated[list[str] | None, typer.Argument(help="a command, or words of it")] = None) -> None:
    """Show the manual page of a command, or what a code of an error means; without one, of nightcrew."""
    from nightcrew.cli import manual

    page = _page(tuple(command or ()))
    if page is None:
        return
    if OPTIONS.json:
        show_json(page.plain())
    elif sys.stdout.isatty():
        import pydoc
        import shutil

        pydoc.pager(manual.text(page, width=shutil.get_terminal_size().columns, bold=True))
    else:
        say(manual.text(page).rstrip())


@man_app.command(epilog="Example: nightcrew man --output ~/.local/share/man/man1")
def man(output: Annotated[Path, typer.Option(help="the folder that the pages go to")]) -> None:
    """Write a manual page for each command into a folder of man pages; then: man nightcrew-shift."""
    from nightcrew.cli import manual
    from nightcrew.cli.described import described
    from nightcrew.crew.published import write_atomically

    date, written = _date(), []
    for page in (manual.main_page(), *(manual.page_of(described(name)) for name in COMMANDS)):
        path = output / f"{page.name}.1"
        write_atomically(path, manual.roff(page, date).encode())
        path.chmod(0o644)
        written.append(path)
    if OPTIONS.json:
        show_json({"written": written})
    else:
        say(f"{len(written)} pages are in {output}.")


def _page(words: tuple[str, ...]) -> "Page | None":
    from nightcrew.cli import manual
    from nightcrew.cli.described import find

    if not words:
        return manual.main_page()
    try:
        return manual.page_of(find(words))
    except NotFoundError:
        if not _show_runbook(words):
            raise
        return None


def _show_runbook(words: tuple[str, ...]) -> bool:
    """Whether the one word is a code that has a runbook, which is shown then."""
    from nightcrew.cli.runbook import runbook
    from nightcrew.readiness import runbook as runbooks

    if len(words) != 1 or not runbooks.exists(words[0]):
        return False
    runbook(words[0])
    return True


def _date() -> datetime:
    """The day that the pages name: today, or what a reproducible build says it is."""
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        return datetime.fromtimestamp(int(told), UTC) if told else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"SOURCE_DATE_EPOCH is no time: {told[:40]!r}", hint="Give seconds since 1970.") from None
