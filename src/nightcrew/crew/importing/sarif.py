"""Findings of a scanner's SARIF file: a ticket for each tool and rule."""

from pathlib import Path

from nightcrew.checks.doubles import without_doubles
from nightcrew.checks.located import locate
from nightcrew.checks.sarif_in import LIMIT, parse_sarif
from nightcrew.crew.importing.files import read
from nightcrew.crew.importing.found import found_steps
from nightcrew.crew.importing.outcome import ImportReport
from nightcrew.crew.importing.steps import run
from nightcrew.crew.project import Project
from nightcrew.model.finding import Category
from nightcrew.model.ticket import Priority


def import_sarif(
    project: Project,
    path: Path,
    *,
    category: Category = Category.SECURITY,
    priority: Priority | None = None,
    again: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """File what the SARIF 2.1.0 file ``path`` reports about this repository. Raises ReportError if it is not one.

    Paths are taken as relative to the repository, and lines from the files as they lie there now.
    """
    report = parse_sarif(read(path, limit=LIMIT), project.root, category=category, source=path.name)
    found = without_doubles(locate(report.hits, project.root))
    notes = [f"the tool says that it did not finish: {reason}" for reason in report.failures]
    if not report.tools:
        notes.append("it holds no run, so nothing was scanned")
    steps = found_steps(project, found, lambda one: (f"sarif:{one.tool}", one.rule), priority=priority, again=again)
    source = f"sarif:{', '.join(dict.fromkeys(report.tools))}"[:200]
    return run(project, source, steps, dry_run=dry_run, notes=notes)
