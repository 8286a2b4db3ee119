"""Test results by test id: what a runner's JUnit XML says, under the names that the runner itself would take."""

import re
from dataclasses import dataclass
from pathlib import Path

from nightcrew.checks import junit
from nightcrew.checks.errors import ReportError
from nightcrew.checks.running import CheckError


@dataclass(frozen=True)
class Case:
    """One test: its id (as the runner would take it), its status and the first line of its message."""

    id: str
    status: str  # passed, failed, error, skipped
    message: str = ""


def read_results(path: Path) -> dict[str, Case]:
    """The tests of a JUnit XML file by id; raises CheckError if it is missing, too large or not one."""
    if not path.exists():
        raise CheckError("the test runner wrote no JUnit XML")
    try:
        cases = junit.read_junit(path)
    except ReportError as error:
        raise CheckError(str(error)) from None
    found = (Case(_id(case), str(case.status), _first(case.message)) for case in cases)
    return {case.id: case for case in found}


def _first(message: str) -> str:
    return next((line for line in message.splitlines() if line.strip()), "")[:500]


def _id(case: junit.Case) -> str:
    """Pytest's own node id, from the file that xunit1 names; else class and name."""
    if not case.file:
        return f"{case.classname}::{case.name}" if case.classname else case.name
    module = re.sub(r"\.py$", "", case.file).replace("/", ".")
    inner = case.classname.removeprefix(module).strip(".")
    return "::".join([case.file, *(part for part in inner.split(".") if part), case.name])
