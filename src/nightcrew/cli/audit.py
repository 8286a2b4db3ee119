"""nightcrew audit: verify, show, export."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.names import ticket_id
from nightcrew.cli.output import OPTIONS, opened, say, show_json, table
from nightcrew.model.errors import IntegrityError, RepositoryError, UsageError

if TYPE_CHECKING:
    from nightcrew.crew.project import Project
    from nightcrew.pipeline.state import State

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Verify, show and export the ledger.")
APPS = {"audit": app}


@contextmanager
def _audited() -> "Iterator[Project | State]":
    """The nearest state that has a ledger: the crew's of this repository, or one that only pipelines keep theirs in."""
    from nightcrew.crew.project import find_root
    from nightcrew.pipeline.state import find_state

    state = find_state(OPTIONS.repo)
    try:
        top = find_root(OPTIONS.repo).resolve()
    except RepositoryError:
        top = None
    if state.directory.parent == top or not state.exists():
        with opened() as project:
            yield project
        return
    try:
        yield state
    finally:
        state.close()


@app.command(epilog="Example: nightcrew audit verify")
def verify() -> int:
    """Check ledger, database, files, reviewers and the remembered head against each other."""
    from nightcrew.crew.audit import verify as check
    from nightcrew.crew.audit import verify_state
    from nightcrew.pipeline.state import State

    with _audited() as found:
        report = verify_state(found) if isinstance(found, State) else check(found)
    if OPTIONS.json:
        show_json({**report.plain(), **({} if report.ok else {"code": IntegrityError.code})})
    else:
        say(
            f"{report.entries} entries: {'everything fits' if report.ok else f'{len(report.broken)} things do not fit'}"
        )
        if report.broken:
            table(("entry", "where", "problem"), [(b.seq, b.where, b.problem) for b in report.broken], empty="")
            say(f"What to do: nightcrew runbook {IntegrityError.code}")
    return 0 if report.ok else 3


@app.command(epilog="Example: nightcrew audit show --subject ticket:T-0001")
def show(
    limit: Annotated[int, typer.Option(min=1, help="the last so many entries")] = 50,
    subject: Annotated[str | None, typer.Option(help="only about this, such as ticket:T-0001")] = None,
    number: Annotated[int | None, typer.Option("--entry", min=1, help="only this one, all of it")] = None,
) -> None:
    """Show the last entries: who did what to what, when."""
    from nightcrew.crew.audit import entry
    from nightcrew.crew.audit import show as last

    with _audited() as of:
        found = last(of, limit=limit, subject=subject) if number is None else [entry(of, number)]
    if OPTIONS.json:
        show_json([one._asdict() for one in found])
    elif number is not None:
        for name, value in found[0]._asdict().items():
            say(f"{name:<8} {value}")
    else:
        table(
            ("entry", "at", "who", "what", "subject", "data"),
            [(e.seq, e.at[:19], e.actor, e.action, e.subject, e.data[:100]) for e in found],
            empty="There are no entries.",
        )


@app.command(epilog="Example: nightcrew audit export > ledger.jsonl")
def export() -> None:
    """Write all entries as JSON lines, each as it was hashed; with --json as one array."""
    from nightcrew.crew.audit import export as lines

    with _audited() as found:
        if OPTIONS.json:
            show_json([json.loads(line) for line in lines(found)])
            return
        for line in lines(found):
            sys.stdout.buffer.write(line)


@app.command(epilog="Example: nightcrew audit attestations T-0001 --output attestations")
def attestations(
    ticket: str,
    output: Annotated[Path | None, typer.Option(help="folder for the envelopes and the public keys")] = None,
) -> None:
    """Write the signed verdicts and decisions about a ticket, with the keys to check them, for other tools."""
    from nightcrew.crew import attestations as signed

    with opened() as project:
        name = ticket_id(ticket)
        if output is None or OPTIONS.json:
            show_json(signed.plain(project, name))
        if output is not None:
            files = signed.export(project, name, output)
            if not OPTIONS.json:
                say(f"{len(files)} files in {output}; keys/ holds the public keys.")


@app.command(epilog="Example: nightcrew audit prove fraud/tx-17 > proof.json")
def prove(record: Annotated[str, typer.Argument(metavar="KEY | PIPELINE/KEY")]) -> None:
    """Print a proof that a record's outcome is in the ledger, which a stranger can check with a short script."""
    from nightcrew.pipeline.overview import prove as proof_of
    from nightcrew.pipeline.state import find_state

    state = find_state(OPTIONS.repo)
    if not state.exists():
        raise UsageError("no pipeline has run here yet", hint="Run: nightcrew run APP.py:NAME --input FILE")
    try:
        show_json(proof_of(state.store, record))
    finally:
        state.close()
