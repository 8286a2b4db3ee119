"""Reading JUnit XML, the format in which test runners of any language report.

The file is written by code under test, so it is hostile until read: document types (the way of entity bombs and
external entities) are refused, and so are files above a limit.
"""

import xml.parsers.expat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import junitparser

from nightcrew.checks.errors import ReportError
from nightcrew.checks.reports import read_report
from nightcrew.checks.text import plain_text

LIMIT = 50 * 1024 * 1024
"""Reports above this many bytes are refused."""


class Status(StrEnum):
    """How one test ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"

    @property
    def bad(self) -> bool:
        """Whether the test failed or could not be carried out."""
        return self in (Status.FAILED, Status.ERROR)


_WORST_FIRST = (Status.ERROR, Status.FAILED, Status.SKIPPED, Status.PASSED)


@dataclass(frozen=True)
class Case:
    """One test's result; ``file`` as the runner names it, if it does; ``seconds`` as it measured."""

    classname: str
    name: str
    status: Status
    message: str = ""
    seconds: float = 0.0
    file: str | None = None


def read_junit(path: Path, *, limit: int = LIMIT) -> list[Case]:
    """The cases of the JUnit XML file ``path``, at most ``limit`` bytes. Raises ReportError."""
    data = read_report(path, limit=limit)
    return parse_junit(data, source=path.name, limit=limit)


def parse_junit(data: bytes, *, source: str = "JUnit XML", limit: int = LIMIT) -> list[Case]:
    """The cases of a JUnit XML document in its order; one reported twice (call and teardown) has the worse status.

    Raises ReportError for what is too large, empty, not XML, cut short, not JUnit, or declares a document type.
    """
    if len(data) > limit:
        raise ReportError(f"{source}: larger than {limit // 1024**2} MiB")
    if not data.strip():
        raise ReportError(f"{source}: empty")
    _check_xml(data, source)
    try:
        document = junitparser.JUnitXml.fromstring(data)
        found = [_case(case) for case in _walk(document)]
    except RecursionError:
        raise ReportError(f"{source}: nested too deeply") from None
    except Exception as error:  # junitparser raises what its parser and its conversions raise
        raise ReportError(f"{source}: not JUnit XML: {plain_text(str(error), limit=200)}") from None
    return list(_merged(found))


def _check_xml(data: bytes, source: str) -> None:
    parser = xml.parsers.expat.ParserCreate()

    def refuse(name: str, system: str | None, public: str | None, internal: bool) -> None:
        del name, system, public, internal
        raise ReportError(f"{source}: declares a document type, which is refused")

    depth = 0

    def enter(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        del name, attributes
        depth += 1
        if depth > 100:
            raise ReportError(f"{source}: nested too deeply")

    def leave(name: str) -> None:
        nonlocal depth
        del name
        depth -= 1

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = enter
    parser.EndElementHandler = leave
    try:
        parser.Parse(data, True)
    except (xml.parsers.expat.ExpatError, ValueError, LookupError) as error:  # the latter two of odd encodings
        raise ReportError(f"{source}: not XML: {plain_text(str(error), limit=200)}") from None


def _walk(node: Any) -> Iterator[Any]:
    for child in node:
        if isinstance(child, junitparser.TestCase):
            yield child
        elif isinstance(child, junitparser.TestSuite):
            yield from _walk(child)
    if isinstance(node, junitparser.TestSuite):
        for suite in node.testsuites():  # type: ignore[no-untyped-call]
            yield from _walk(suite)


def _case(case: Any) -> Case:
    status, message = Status.PASSED, ""
    for result in case:
        found = _status(result)
        if found is not None and _WORST_FIRST.index(found) < _WORST_FIRST.index(status):
            status = found
            message = "\n".join(part for part in (result.message, result.text) if part)
    return Case(
        classname=plain_text(case.classname or "", limit=1000),
        name=plain_text(case.name or "unnamed", limit=2000),
        status=status,
        message=plain_text(message),
        seconds=_seconds(case),
        file=plain_text(case._elem.get("file") or "", limit=1000) or None,
    )


def _status(result: Any) -> Status | None:
    if isinstance(result, junitparser.Error):
        return Status.ERROR
    if isinstance(result, junitparser.Failure):
        return Status.FAILED
    return Status.SKIPPED if isinstance(result, junitparser.Skipped) else None


def _seconds(case: Any) -> float:
    try:
        value = float(case._elem.get("time") or 0)
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e9 else 0.0


def _merged(cases: list[Case]) -> Iterator[Case]:
    by_name: dict[tuple[str | None, str, str], Case] = {}
    for case in cases:
        key = (case.file, case.classname, case.name)
        other = by_name.get(key)
        if other is None or _WORST_FIRST.index(case.status) < _WORST_FIRST.index(other.status):
            by_name[key] = case
    yield from by_name.values()
