"""nightcrew export: sarif, junit, html, jsonl."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from nightcrew.cli.names import ticket_id
from nightcrew.cli.output import OPTIONS, opened, say, show_json

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Write out what the crew knows, for other tools and for people."
)
APPS = {"export": app}
STANDARD_OUTPUT = Path("-")

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="file to write; - is standard output")]
Shift = Annotated[str | None, typer.Option(help="only of this shift")]


@app.command(epilog="Example: nightcrew export sarif --output findings.sarif")
def sarif(
    output: Output = STANDARD_OUTPUT,
    ticket: Annotated[str | None, typer.Option(help="only of this ticket")] = None,
    fixed: Annotated[bool, typer.Option("--fixed", help="also what is mended, as absent")] = False,
) -> None:
    """Findings as SARIF 2.1.0; false positives and accepted ones are in it as suppressed."""
    from nightcrew.crew.exporting.sarif import export_sarif

    with opened() as project:
        data = export_sarif(project, ticket=ticket_id(ticket) if ticket else None, fixed=fixed)
        _write([data], output, lambda text: json.loads(text))


@app.command(epilog="Example: nightcrew export junit --shift N-0001 --output checks.xml")
def junit(output: Output = STANDARD_OUTPUT, shift: Shift = None) -> None:
    """What QA and security checked, as JUnit XML: a suite for each ticket; what was not checked is an error in it."""
    from nightcrew.crew.exporting.junit import export_junit

    with opened() as project:
        _write([export_junit(project, shift=shift)], output, lambda text: {"junit": text.decode()})


@app.command(epilog="Example: nightcrew export html --output report.html")
def html(
    output: Output = STANDARD_OUTPUT,
    shift: Annotated[str | None, typer.Option(help="default: the latest")] = None,
) -> None:
    """The morning report as one page that needs nothing else, readable on a phone; secrets are masked."""
    from nightcrew.crew.exporting.html import export_html

    with opened() as project:
        _write([export_html(project, shift)], output, lambda text: {"html": text.decode()})


@app.command(epilog="Example: nightcrew export jsonl --only ticket,finding --output crew.jsonl")
def jsonl(
    output: Output = STANDARD_OUTPUT,
    only: Annotated[str, typer.Option(metavar="TYPE,TYPE", help="only these types of lines; default: all")] = "",
) -> None:
    """Tickets, handoffs, findings, reviews, sessions, records and the ledger as JSON lines: exact, nothing masked."""
    from nightcrew.crew.exporting.jsonl import export_jsonl

    with opened() as project:
        lines = export_jsonl(project, tuple(name.strip() for name in only.split(",") if name.strip()))
        _write(lines, output, lambda text: [json.loads(line) for line in text.splitlines()])


def _write(chunks: Iterable[bytes], output: Path, document: Any) -> None:
    """Write it; with --json, standard output has one document: of what was written, or of the file it went to."""
    from nightcrew.crew.exporting.output import write_out

    if output == STANDARD_OUTPUT:
        if OPTIONS.json:
            show_json(document(b"".join(chunks)))
        else:
            write_out(chunks, output)
        return
    count = write_out(chunks, output)
    if OPTIONS.json:
        show_json({"output": str(output), "bytes": count})
    else:
        say(f"wrote {output}: {count:,} bytes")
