"""Failing tests of a JUnit XML file: a ticket for each file of tests, gated where tests do not even collect."""

from collections.abc import Iterator
from pathlib import Path

from nightcrew.checks.junit import LIMIT, parse_junit
from nightcrew.checks.results import Case, Results, results_of
from nightcrew.checks.text import masked, plain_text, relative_path
from nightcrew.crew.importing.files import read
from nightcrew.crew.importing.found import found_steps
from nightcrew.crew.importing.outcome import ImportReport
from nightcrew.crew.importing.steps import run
from nightcrew.crew.project import Project
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Priority

SOURCE = "junit"
_SHOWN = 500


def import_junit(
    project: Project,
    path: Path,
    *,
    severity: Severity = Severity.MEDIUM,
    priority: Priority | None = None,
    again: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """File the tests that fail in the JUnit XML file ``path``; raises ReportError if it is not one.

    ``severity`` is that of a failing test. A file of tests that cannot be collected breaks the build.
    """
    results = results_of(parse_junit(read(path, limit=LIMIT), source=path.name))
    found = [*_failing(results, severity), *_uncollected(results)]
    groups = {finding.fingerprint: group for group, finding in found}
    notes = [] if results.cases or results.uncollected else ["it holds no test"]
    steps = found_steps(
        project,
        [one for _, one in found],
        lambda one: (SOURCE, groups[one.fingerprint]),
        priority=priority,
        again=again,
    )
    return run(project, SOURCE, steps, dry_run=dry_run, notes=notes)


def _failing(results: Results, severity: Severity) -> Iterator[tuple[str, Finding]]:
    for case in results.cases.values():
        if case.status in ("failed", "error"):
            yield _finding(case, "fails", severity, f"{case.id} fails: {case.message}")


def _uncollected(results: Results) -> Iterator[tuple[str, Finding]]:
    for name, reason in results.uncollected.items():
        case = Case(name, "error", reason)
        yield _finding(case, "breaks-build", Severity.HIGH, f"{name} does not collect: {reason}", breaks=True)


def _finding(case: Case, rule: str, severity: Severity, message: str, *, breaks: bool = False) -> tuple[str, Finding]:
    """The finding and what it is grouped by: the file of the test, else its class."""
    first = case.id.split("::")[0]
    path = relative_path(first) if "/" in first or first.endswith(".py") else None
    finding = Finding(
        fingerprint=fingerprint(tool=SOURCE, rule=rule, path=path, code=case.id),
        tool=SOURCE,
        rule=rule,
        category=Category.BUILD if breaks else Category.REGRESSION,
        severity=severity,
        message=_safe(message),
        path=path,
        evidence=_safe(case.message),
        breaks_build=breaks,
    )
    return path or first or "tests", finding


def _safe(text: str) -> str:
    return plain_text(masked(text[:2000]), limit=_SHOWN)
