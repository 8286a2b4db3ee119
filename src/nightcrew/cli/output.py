"""Printing: one JSON document for machines, tables for people. Text of others is data: control characters are shown."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightcrew.crew.project import Project


@dataclass
class Options:
    """What every command has."""

    json: bool = False
    debug: bool = False
    log_json: bool = False
    repo: Path = Path()


OPTIONS = Options()


@contextmanager
def opened() -> "Iterator[Project]":
    """The repository that the command works on."""
    from nightcrew.crew.project import open_project

    project = open_project(OPTIONS.repo)
    try:
        yield project
    finally:
        project.close()


def clean(text: object) -> str:
    """Text with every control character but newline and tab made visible, so that it cannot drive the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in str(text))


def show_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def say(text: str = "") -> None:
    """Print text for people."""
    sys.stdout.write(clean(text) + "\n")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table, or ``empty`` if there are no rows."""
    listed = [[("" if cell is None else clean(cell)).replace("\n", " ") for cell in row] for row in rows]
    if not listed:
        say(empty)
        return
    if not sys.stdout.isatty():
        widths = [max(len(row[i]) for row in [list(headings), *listed]) for i in range(len(headings))]
        for row in [list(headings), *listed]:
            say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in listed:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def error_line(message: str, hint: str, runbook: str = "") -> str:
    """An error for people: what happened, then what to do, then the command that tells more."""
    first = " ".join(clean(message).split())
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    mark = "\x1b[31merror:\x1b[0m" if coloured else "error:"
    return f"{mark} {first}\n" + (f"  {clean(hint)}\n" if hint else "") + (f"  Runbook: {runbook}\n" if runbook else "")
