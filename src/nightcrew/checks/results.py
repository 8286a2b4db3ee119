"""Test results by test id: what a runner's JUnit XML says, under the names that the runner itself would take."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nightcrew.checks import junit
from nightcrew.checks.errors import ReportError


@dataclass(frozen=True)
class Case:
    """One test: its id (as the runner would take it), its status and the first line of its message."""

    id: str
    status: str  # passed, failed, error, skipped
    message: str = ""


@dataclass(frozen=True)
class Results:
    """What a report says: tests by id, and files that could not be collected with the reason (pytest's only)."""

    cases: dict[str, Case]
    uncollected: dict[str, str]


def read_results(path: Path) -> Results:
    """The tests of a JUnit XML file; raises ReportError if it is missing, too large or not one."""
    try:
        cases = junit.read_junit(path)
    except OSError as error:  # code under test put something else there, such as a directory
        raise ReportError(f"{path.name}: cannot be read: {error.strerror}") from None
    return results_of(cases)


def results_of(cases: Iterable[junit.Case]) -> Results:
    """The tests of a report that is read, by id."""
    found = Results({}, {})
    for case in cases:
        if _is_collection(case):
            found.uncollected[case.file or case.name] = _reason(case.message)
        else:
            name = _id(case)
            found.cases[name] = Case(name, str(case.status), _first(case.message))
    return found


def _is_collection(case: junit.Case) -> bool:
    """Pytest reports a file that it cannot collect as a case without a class (``_pytest/junitxml.py``)."""
    return not case.classname and case.status.bad and case.message.startswith("collection failure")


def _reason(message: str) -> str:
    errors = [line[2:].strip() for line in message.splitlines() if line.startswith("E ")]
    return (errors[-1] if errors else _first(message.removeprefix("collection failure").strip()))[:500]


def _first(message: str) -> str:
    return next((line for line in message.splitlines() if line.strip()), "")[:500]


def _id(case: junit.Case) -> str:
    """Pytest's own node id, from the file that xunit1 names; else class and name."""
    if not case.file:
        return f"{case.classname}::{case.name}" if case.classname else case.name
    module = case.file.removesuffix(".py").replace("/", ".")
    inner = case.classname.removeprefix(module).strip(".")
    return "::".join([case.file, *(part for part in inner.split(".") if part), case.name])
