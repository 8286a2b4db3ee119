"""The security agent: every scanner on head against base, and rules on what the change touches. It never edits."""

from collections.abc import Iterator
from functools import partial

from nightcrew.brains import Chain, Context
from nightcrew.checks.doubles import without_doubles
from nightcrew.checks.located import locate, new_against
from nightcrew.checks.scan import ScanResult, configured, scan
from nightcrew.checks.touched import dependencies, protected, submodules
from nightcrew.crew.agents.checking import Checkout, checkout
from nightcrew.crew.agents.remembered import remembered
from nightcrew.crew.agents.review import review, words
from nightcrew.crew.desk import Desk
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.workspace import changed_paths, diff
from nightcrew.model.errors import IntegrityError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Change, Check, HandoffKind, Verdict
from nightcrew.model.severity import highest
from nightcrew.reliability import FailureClass


def work(desk: Desk, brain: Chain | None, context: Context) -> Outcome:
    """Check the ticket's commit; a scanner that could not run is named, and if none could, nothing was checked.

    With a ``brain`` the change is also read, for what scanners cannot see.
    """
    ticket, project = desk.ticket, desk.project
    if ticket.base is None or ticket.head is None:
        raise IntegrityError(f"{ticket.id} is at the security desk without a commit")
    paths = changed_paths(project.root, ticket.base, ticket.head)
    with checkout(desk, "base", ticket.base) as base, checkout(desk, "head", ticket.head) as head:
        checks, found = _scan(desk, base, head)
        changes = diff(project.root, ticket.base, ticket.head)
        by_rule = [*protected(paths, project.playbook.gates.protected_paths), *dependencies(changes)]
        by_rule += submodules(changes)
        found += locate(by_rule, head.path)
    found = desk.without_false_positives(without_doubles(found))
    ran = [check for check in checks if check.status != "not_checked"]
    seen = None
    if brain is not None:
        seen = review(desk, brain, context, checks, found)
        found += seen.findings
        checks.append(seen.check)
    verdict = Verdict.NOT_CHECKED if not ran else Verdict.FAILED if found else Verdict.PASSED
    return Outcome(
        kind=HandoffKind.VERDICT,
        verdict=verdict,
        severity=highest(finding.severity for finding in found),
        findings=tuple(found),
        checks=tuple(checks),
        brain=None if seen is None else seen.brain,
        change=Change(branch=f"nightcrew/{ticket.id}", base=ticket.base, head=ticket.head),
        done=words(checks, "" if seen is None else seen.said),
        next="Mend the findings." if found else "Merge this commit.",
    )


def _scan(desk: Desk, base: Checkout, head: Checkout) -> tuple[list[Check], list[Finding]]:
    checks: list[Check] = []
    found: list[Finding] = []
    for (name, after), (_, before) in zip(scan_all(desk, head), scan_all(desk, base), strict=True):
        desk.check_stop()
        missing = next((side.reason for side in (after, before) if side.status == "not_checked"), None)
        if missing is not None:
            checks.append(Check(name=name, status="not_checked", detail=missing))
            # What head has is reported although base is unknown: better twice than not at all.
            found += after.findings
            continue
        new = new_against(before.findings, after.findings)
        detail = f"{len(after.findings)} findings on head, {len(before.findings)} on base, {len(new)} new"
        checks.append(Check(name=name, status="failed" if new else "passed", detail=detail))
        found += new
    return checks, found


def scan_all(desk: Desk, at: Checkout) -> Iterator[tuple[str, ScanResult]]:
    """Every configured scanner on one checkout, with its result."""
    settings = desk.project.settings
    commands = [(scanner.name, scanner.command) for scanner in settings.scanner]
    for name, scanner in configured(settings.checks.scanners, commands, network=settings.checks.network).items():
        timeout = 60 * settings.limits.scanner_minutes
        scanned = partial(scan, name, scanner, at.path, run=at.run, temp=at.temp, timeout=timeout)
        look = partial(desk.project.measures.check, name, scanned, _unmade)
        yield (
            name,
            remembered(
                desk, f"scan {name}", at.workspace.base, ScanResult, look, keep=lambda r: r.status != "not_checked"
            ),
        )


def _unmade(result: ScanResult) -> FailureClass | None:
    """Why a scan says nothing, for measures."""
    if result.status != "not_checked":
        return None
    return FailureClass.TIMEOUT if "ran out of time" in result.reason else FailureClass.BUG
