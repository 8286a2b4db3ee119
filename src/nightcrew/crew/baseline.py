"""The first night of a repository: what is there already becomes the baseline, in one go, grouped by rule."""

from collections import defaultdict
from typing import Any

from nightcrew.checks.doubles import without_doubles
from nightcrew.checks.linting import lint
from nightcrew.checks.running import CheckError
from nightcrew.crew.agents.checking import checkout
from nightcrew.crew.agents.security import scan_all
from nightcrew.crew.delivery import integration_head, tidy
from nightcrew.crew.desk import Desk
from nightcrew.crew.project import Project
from nightcrew.crew.settle import ask_for_work
from nightcrew.model.budget import Budget
from nightcrew.model.finding import Category, Finding
from nightcrew.model.routing import state_of_finding
from nightcrew.model.severity import Severity, highest
from nightcrew.model.ticket import Kind, Priority, State, Ticket
from nightcrew.store import findings, ledger, tickets
from nightcrew.store.store import Tx

ACTION = "baseline.take"
SUBJECT = "baseline:1"
SHOWN = 50
_PRIORITY = {Severity.CRITICAL: Priority.P0, Severity.HIGH: Priority.P1, Severity.MEDIUM: Priority.P2}


def is_due(project: Project) -> bool:
    """Whether this repository has no baseline yet."""
    with project.store.read() as tx:
        return ledger.latest_for(tx, SUBJECT) is None


def scan(project: Project, shift_id: str) -> dict[str, Any]:
    """Lint and scan the commit that work starts from; gives the commit, the findings, and what was not checked."""
    ticket = Ticket(id="T-0000", title="the baseline", created=project.clock())
    desk = Desk(
        project=project,
        session=shift_id,
        agent="security",
        shift=shift_id,
        ticket=ticket,
        line=None,
        budget=Budget(soft=1, hard=1),
        place=project.work_dir / "workspaces" / f"{shift_id}-baseline",
    )
    commit = integration_head(desk)
    found: list[Finding] = []
    unchecked: dict[str, str] = {}
    with checkout(desk, "head", commit) as at:
        for name, result in scan_all(desk, at):
            found += result.findings
            if result.status == "not_checked":
                unchecked[name] = result.reason
        try:
            timeout = 60 * project.settings.limits.scanner_minutes
            found += project.measures.check("lint", lambda: lint(at.path, run=at.run, timeout=timeout), lambda _: None)
        except CheckError as error:
            unchecked["lint"] = str(error)
    tidy(desk.place)
    return {
        "commit": commit,
        "findings": [finding.plain() for finding in without_doubles(found)],
        "not_checked": unchecked,
    }


def file_findings(project: Project, tx: Tx, scanned: dict[str, Any]) -> list[str]:
    """File the findings as tickets, one for each tool and rule; those at or above the gate go to the inbox first."""
    grouped: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for value in scanned["findings"]:
        finding = Finding.read(value, source="baseline")
        grouped[finding.tool, finding.rule].append(finding)
    filed = [_file(project, tx, group) for _, group in sorted(grouped.items())]
    ledger.append(
        tx,
        actor="security",
        action=ACTION,
        subject=SUBJECT,
        data={
            "commit": scanned["commit"],
            "findings": len(scanned["findings"]),
            "tickets": filed,
            "not_checked": scanned["not_checked"],
        },
    )
    return filed


def _file(project: Project, tx: Tx, group: list[Finding]) -> str:
    worst = max(group, key=lambda finding: finding.severity.rank)
    severity = highest(finding.severity for finding in group) or Severity.INFO
    state = max((state_of_finding(finding, project.playbook) for finding in group), key=lambda s: s is State.IN_REVIEW)
    ticket = tickets.add(
        tx,
        actor="security",
        title=_title(group, worst),
        body=_body(group),
        kind=Kind.CHORE if worst.category is Category.LINT else Kind.SECURITY,
        priority=_PRIORITY.get(severity, Priority.P3),
        severity=severity,
        breaks_build=any(finding.breaks_build for finding in group),
        state=state,
        origin="baseline",
        findings=[finding.fingerprint for finding in group],
    )
    for finding in group:
        findings.record(tx, finding, ticket=ticket.id)
    if state is State.IN_REVIEW:
        reason = f"{len(group)} findings of {worst.tool} {worst.rule} were there on the first night"
        ask_for_work(project, tx, ticket, reason)
    return ticket.id


def _title(group: list[Finding], worst: Finding) -> str:
    places = len({finding.path for finding in group})
    text = worst.message if worst.message.startswith(worst.rule) else f"{worst.rule}: {worst.message}"
    return " ".join(f"{len(group)} x {worst.tool} in {places} files, {text}".split())[:200]


def _body(group: list[Finding]) -> str:
    lines = [f"- {finding.path}:{finding.line} {finding.message}" for finding in group[:SHOWN]]
    if len(group) > SHOWN:
        lines.append(f"- and {len(group) - SHOWN} more")
    return "\n".join(lines)
