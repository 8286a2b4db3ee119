"""A checked range as files for CI: JUnit XML, a summary in Markdown, annotations for the lines of a pull request.

What tools said of the change is data: it is escaped for each of these, and cut, so that it can neither forge a line of
a summary nor give a command to the machine that shows it.
"""

import re
from collections.abc import Iterable
from itertools import islice

from nightcrew.crew.range_check import Decision, RangeReport
from nightcrew.model.finding import Finding
from nightcrew.model.severity import Severity

WORDS: dict[Decision, str] = {
    "passed": "passed",
    "findings": "there are findings to mend",
    "not_checked": "not everything could be checked, and that is no pass",
    "gated": "a person must decide",
}
_SHOWN = 100
_ANNOTATED = 50
_LEVELS = {Severity.INFO: "notice", Severity.LOW: "notice", Severity.MEDIUM: "warning"}
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: RangeReport) -> bytes:
    """The checks as JUnit XML: a test case for each check and each finding, so that any CI shows them."""
    from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

    document = JUnitXml("nightcrew")
    for verdict in report.verdicts:
        suite = TestSuite(verdict.agent)
        for check in (one for one in report.checks if one.agent == verdict.agent):
            case = TestCase(_xml(check.name), classname=f"nightcrew.{verdict.agent}")
            if check.status == "failed":
                case.result = [Failure(_xml(check.detail), check.status)]
            elif check.status == "not_checked":
                case.result = [Error(_xml(check.detail), check.status)]
            suite.add_testcase(case)
        document.add_testsuite(suite)
    suite = TestSuite("findings")
    for finding in report.findings:
        case = TestCase(_xml(f"{finding.rule} {_place(finding)}".strip()), classname=f"nightcrew.{_xml(finding.tool)}")
        if finding.severity is not Severity.INFO:
            case.result = [Failure(_xml(finding.message), str(finding.severity))]
        suite.add_testcase(case)
    document.add_testsuite(suite)
    data: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return data


def markdown(report: RangeReport) -> str:
    """The report in Markdown; what others wrote stands in it as plain text."""
    lines = [
        f"## nightcrew: {WORDS[report.decision]}",
        "",
        f"{len(report.files)} files, `{report.base[:12]}..{report.head[:12]}`",
        "",
    ]
    if report.verdicts:
        lines += ["| agent | verdict | why |", "|---|---|---|"]
        lines += [f"| {one.agent} | {_said(one.verdict)} | {_cell(one.reason)} |" for one in report.verdicts]
        lines += ["", "| check | status | detail |", "|---|---|---|"]
        lines += [
            f"| {one.agent}: {_cell(one.name)} | {_said(one.status)} | {_cell(one.detail)} |" for one in report.checks
        ]
    if report.findings:
        lines += ["", "| severity | finding | place |", "|---|---|---|"]
        worst = sorted(report.findings, key=lambda one: -one.severity.rank)
        lines += [f"| {one.severity} | {_cell(one.message)} | {_cell(_place(one))} |" for one in worst[:_SHOWN]]
        if len(worst) > _SHOWN:
            lines += ["", f"and {len(worst) - _SHOWN} more"]
    lines += ["", *(f"- {_cell(note)}" for note in report.notes)]
    return "\n".join(lines).rstrip() + "\n"


def annotations(report: RangeReport) -> str:
    """The findings as workflow commands of GitHub Actions, which show them at their lines; the worst first."""
    worst = sorted(report.findings, key=lambda one: -one.severity.rank)
    return "".join(f"{line}\n" for line in islice(_annotated(worst), _ANNOTATED))


def _annotated(findings: Iterable[Finding]) -> Iterable[str]:
    for finding in findings:
        places = [("file", finding.path), ("line", finding.line), ("endLine", finding.end_line)]
        where = [f"{name}={_property(str(value))}" for name, value in places if value is not None]
        where.append(f"title={_property(f'{finding.severity}: {finding.tool} {finding.rule}')}")
        yield f"::{_LEVELS.get(finding.severity, 'error')} {','.join(where)}::{_message(finding.message)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _place(finding: Finding) -> str:
    if finding.path is None:
        return ""
    return finding.path if finding.line is None else f"{finding.path}:{finding.line}"


def _said(status: str) -> str:
    return str(status).replace("_", " ")


def _cell(text: str) -> str:
    """Text in a cell of a table: one line, no markup of its own, nobody mentioned."""
    plain = " ".join(text.split())[:500]
    escaped = re.sub(r"([\\`*_{}\[\]<>|~!#])", r"\\\1", plain)
    return escaped.replace("&", "&amp;").replace("@", "@&#8203;").replace("://", ":&#8203;//")


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 has no way to write."""
    return _NOT_IN_XML.sub("\ufffd", text)
