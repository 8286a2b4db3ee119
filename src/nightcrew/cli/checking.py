"""nightcrew check."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, clean, opened, say, show_json, table

if TYPE_CHECKING:
    from nightcrew.crew.range_check import RangeReport

app = typer.Typer(add_completion=False)
APPS = {"check": app}
_STATUS = {"passed": 0, "findings": 1, "not_checked": 1, "gated": 3}


@app.command(epilog="Example: nightcrew check --base main --sarif findings.sarif")
def check(
    base: Annotated[str, typer.Option(help="what it is compared with; default: the default branch")] = "",
    head: Annotated[str, typer.Option(help="the commit, branch or tag that is checked")] = "HEAD",
    sarif: Annotated[Path | None, typer.Option(help="write the findings to this file as SARIF 2.1.0")] = None,
    junit: Annotated[Path | None, typer.Option(help="write checks and findings to this file as JUnit XML")] = None,
    summary: Annotated[Path | None, typer.Option(help="write the report to this file in Markdown")] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="write the findings to this file as commands of GitHub Actions")
    ] = None,
) -> int:
    """Have QA and security look at commits, as they would at night, by tools alone; nothing is filed.

    What counts is what head has and base has not. The exit status is 0 if both pass; 1 if there are findings to mend,
    or something could not be checked; 3 if a person must decide: high or critical, a protected path, a broken build.
    """
    from nightcrew.checks.sarif_write import write_sarif
    from nightcrew.crew import range_files
    from nightcrew.crew.range_check import check_range

    with opened() as project:
        report = check_range(project, base, head, on_progress=_told)
    if sarif is not None:
        sarif.write_bytes(write_sarif(report.findings))
    if junit is not None:
        junit.write_bytes(range_files.junit(report))
    if summary is not None:
        summary.write_bytes(range_files.markdown(report).encode("utf-8", "replace"))
    if annotations is not None:
        annotations.write_bytes(range_files.annotations(report).encode("utf-8", "replace"))
    if OPTIONS.json:
        show_json(report.plain())
    else:
        _shown(report)
    return _STATUS[report.decision]


def _told(text: str) -> None:
    if not OPTIONS.json:
        sys.stderr.write(clean(text) + "\n")


def _shown(report: "RangeReport") -> None:
    from nightcrew.crew.range_files import WORDS

    if not report.files:
        say(f"{report.head[:12]} has nothing that {report.base[:12]} has not.")
        return
    rows = [(one.agent, one.name, one.status, one.detail) for one in report.checks]
    table(("agent", "check", "status", "detail"), rows, empty="")
    if report.findings:
        say()
        worst = sorted(report.findings, key=lambda one: -one.severity.rank)
        places = [(one, f"{one.path or ''}:{one.line or ''}".strip(":")) for one in worst]
        found = [(one.severity, one.tool, place, one.message) for one, place in places]
        table(("severity", "tool", "place", "what was found"), found, empty="")
    say()
    for note in report.notes:
        say(f"note: {note}")
    for one in report.verdicts:
        say(f"{one.agent}: {one.verdict.replace('_', ' ')} ({one.reason})")
    say(f"{report.base[:12]}..{report.head[:12]}: {WORDS[report.decision]}.")
