"""What QA and security checked, as JUnit XML: a suite for each ticket, a case for each check of its last verdicts."""

import re
from io import BytesIO

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from nightcrew.checks.text import plain_text
from nightcrew.crew.project import Project
from nightcrew.model.handoff import Check, Handoff
from nightcrew.model.ticket import Ticket
from nightcrew.monitoring.redaction import Redaction
from nightcrew.store import handoffs, sessions, shifts, tickets

_NO_XML = re.compile("[\ufffe\uffff]")


def export_junit(project: Project, *, shift: str | None = None) -> bytes:
    """The last checks of each ticket by each desk, of one shift if given. Raises NotFoundError.

    A check that could not be made is an error, never passed or skipped: who reads the file must not take it for clean.
    """
    redaction = Redaction()
    last: dict[str, dict[str, Handoff]] = {}
    with project.store.read() as tx:
        if shift is not None:
            shifts.get(tx, shift)
        for session in sessions.list(tx, shift=shift):
            for handoff in handoffs.list(tx, session=session.id):
                if handoff.ticket is not None and handoff.checks:
                    last.setdefault(handoff.ticket, {})[handoff.sender] = handoff
        known = {ticket.id: ticket for ticket in tickets.some(tx, sorted(last))}
    document = JUnitXml("nightcrew")
    for name in sorted(last, key=lambda one: (len(one), one)):
        document.add_testsuite(_suite(name, known.get(name), last[name], redaction))
    document.update_statistics()  # type: ignore[no-untyped-call]
    stream = BytesIO()
    document.write(stream)
    return stream.getvalue()


def _suite(name: str, ticket: Ticket | None, by_desk: dict[str, Handoff], redaction: Redaction) -> TestSuite:
    suite = TestSuite(_text(f"{name} {ticket.title if ticket else ''}".strip(), redaction))
    for desk, handoff in by_desk.items():
        suite.timestamp = f"{handoff.created:%Y-%m-%dT%H:%M:%S}"
        for check in handoff.checks:
            suite.add_testcase(_case(name, desk, handoff, check, redaction))
    return suite


def _case(name: str, desk: str, handoff: Handoff, check: Check, redaction: Redaction) -> TestCase:
    case = TestCase(_text(check.name, redaction), classname=_text(f"{name}.{desk}", redaction), time=0.0)
    detail = _text(check.detail, redaction)
    at = f"{handoff.id}, commit {handoff.change.head}" if handoff.change else handoff.id
    if check.status == "failed":
        case.result = [Failure(detail[:500], "failed")]
        case.result[0].text = f"{detail}\n{at}"
    elif check.status == "not_checked":
        case.result = [Error(f"not checked: {detail}"[:500], "not_checked")]
    else:
        case.system_out = f"{detail}\n{at}".strip()
    return case


def _text(text: str, redaction: Redaction) -> str:
    return _NO_XML.sub("", plain_text(redaction.text(text)))
