"""Routing: where a handoff goes and what it does to its ticket, as one pure function of the rules."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from nightcrew.model.finding import Finding
from nightcrew.model.handoff import HUMAN, Handoff, HandoffKind, Verdict
from nightcrew.model.playbook import Match, Playbook
from nightcrew.model.severity import Severity, highest
from nightcrew.model.ticket import Event, State, Ticket

MERGE = "merge"
_PASSES = ("qa", "security")
_AFTER_APPROVAL = {"qa": Event.APPROVE_TO_SECURITY, "security": Event.APPROVE_CHANGE}


class Route(NamedTuple):
    """Where a handoff goes: the desk, what happens to the ticket, why, how severe, and what an approval would do."""

    desk: str
    event: Event
    reason: str
    severity: Severity | None
    on_approve: Event | None


def route(handoff: Handoff, ticket: Ticket, playbook: Playbook) -> Route:
    """Where ``handoff`` goes. The gate comes first, before any rule of the playbook, and no rule removes it."""
    severity = highest([s for s in (handoff.severity, *(finding.severity for finding in handoff.findings)) if s])
    reason = _gate(handoff, playbook, severity)
    if reason is not None:
        raised = (severity or Severity.HIGH).raised_to(ticket.severity)
        if handoff.breaks_build or any(finding.breaks_build for finding in handoff.findings):
            raised = raised.raised_to(Severity.HIGH)
        return Route(HUMAN, Event.GATE, reason, raised, _on_approve(handoff, ticket))
    return _pass_on(handoff, playbook, severity)


def state_of_finding(finding: Finding, playbook: Playbook) -> State:
    """Where a finding about code at large begins as a ticket: open, or with a human first."""
    gated = finding.breaks_build or finding.severity.at_least(playbook.gates.severity)
    return State.IN_REVIEW if gated else State.OPEN


def _gate(handoff: Handoff, playbook: Playbook, severity: Severity | None) -> str | None:
    """Why a human must decide, or None."""
    if handoff.breaks_build or any(finding.breaks_build for finding in handoff.findings):
        worst = next((finding for finding in handoff.findings if finding.breaks_build), None)
        return "breaks the build" + (f": {worst.message}" if worst else "")
    if severity is not None and severity.at_least(playbook.gates.severity):
        named = [f for f in handoff.findings if f.severity.at_least(playbook.gates.severity)]
        return _named(named) if named else f"{handoff.sender} says it is {severity}"
    if handoff.kind is HandoffKind.DEFERRAL and not handoff.findings:
        return None
    if handoff.verdict is Verdict.NOT_CHECKED or (handoff.kind is HandoffKind.VERDICT and handoff.verdict is None):
        return f"{handoff.sender} could not check it"
    if handoff.kind is HandoffKind.QUESTION:
        return f"{handoff.sender} asks a question"
    if handoff.verdict is Verdict.PASSED and (handoff.sender not in _PASSES or handoff.kind is not HandoffKind.VERDICT):
        return f"{handoff.sender} passed it, and only a verdict of QA or security can"
    return next((rule.reason for rule in playbook.routes if _fits(rule.when, handoff, severity)), None)


def _named(findings: list[Finding]) -> str:
    first = findings[0]
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{first.severity} {first.category}: {first.message}{more}"[:500]


def _fits(when: Match, handoff: Handoff, severity: Severity | None) -> bool:
    files = handoff.change.files if handoff.change else ()
    checks = (
        when.kind is None or when.kind is handoff.kind,
        when.sender is None or when.sender == handoff.sender,
        when.verdict is None or when.verdict is handoff.verdict,
        when.severity_at_least is None or (severity is not None and severity.at_least(when.severity_at_least)),
        when.category is None or any(finding.category is when.category for finding in handoff.findings),
        when.path is None or any(fnmatchcase(path, when.path) for path in files),
    )
    return all(checks)


def _on_approve(handoff: Handoff, ticket: Ticket) -> Event:
    return _AFTER_APPROVAL.get(handoff.sender, Event.APPROVE_WORK) if ticket.head else Event.APPROVE_WORK


def _pass_on(handoff: Handoff, playbook: Playbook, severity: Severity | None) -> Route:
    if handoff.kind is HandoffKind.DEFERRAL:
        return Route(handoff.sender, Event.DEFER, "not finished", severity, None)
    if handoff.kind is HandoffKind.WORK:
        return Route("qa", Event.SUBMIT, "work to check", severity, None)
    blocking = [finding for finding in handoff.findings if finding.severity.at_least(playbook.block_from)]
    said = handoff.severity is not None and handoff.severity.at_least(playbook.block_from)
    if handoff.verdict is Verdict.PASSED and not blocking and not said:
        if handoff.sender == "qa":
            return Route("security", Event.PASS_QA, "passed QA", severity, None)
        return Route(MERGE, Event.PASS_SECURITY, "passed security", severity, None)
    reason = f"{len(blocking)} findings to mend" if blocking else f"{handoff.sender} did not pass it"
    return Route("build", Event.SEND_BACK, reason, severity, None)
