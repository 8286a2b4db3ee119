"""The QA agent: the project's own tests and lint on head against base. It never edits the code under test."""

from functools import partial

from nightcrew.brains import Chain, Context
from nightcrew.checks.linting import lint
from nightcrew.checks.located import new_against
from nightcrew.checks.regressions import Comparison, compare, findings, to_rerun
from nightcrew.checks.running import CheckError
from nightcrew.checks.suite import TestRun, run_tests
from nightcrew.crew.agents.checking import Checkout, checkout, environment_of
from nightcrew.crew.agents.remembered import remembered
from nightcrew.crew.agents.review import review, words
from nightcrew.crew.delivery import ticket_branch
from nightcrew.crew.desk import Desk
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.workspace.repository import worktrees_on
from nightcrew.model.errors import IntegrityError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Change, Check, HandoffKind, Verdict
from nightcrew.model.severity import highest
from nightcrew.reliability import FailureClass


def work(desk: Desk, brain: Chain | None, context: Context) -> Outcome:
    """Check the ticket's commit; gives a verdict with the findings, never a pass of what was not run.

    With a ``brain`` the change is also read. Tests that it adds become part of the commit if they pass; one that fails
    is a finding.
    """
    ticket = desk.ticket
    if ticket.base is None or ticket.head is None:
        raise IntegrityError(f"{ticket.id} is at the QA desk without a commit")
    tests, linted, found = _by_tools(desk, ticket.base, ticket.head)
    checks, head, seen = [tests, *linted], ticket.head, None
    if brain is not None:
        seen = review(desk, brain, context, checks, found)
        found += seen.findings
        checks.append(seen.check)
        if seen.tests is not None and tests.status == "passed":
            tried, linted, again = _by_tools(desk, ticket.base, seen.tests.head)
            if tried.status == "passed":
                head, tests = _taken(desk, seen.tests.head), tried
                checks = [tests, *linted, seen.check]
                found += _shown_by(again, found)
            else:
                found += _shown_by(again, found)
    return Outcome(
        kind=HandoffKind.VERDICT,
        verdict=_verdict(tests, found),
        severity=highest(finding.severity for finding in found),
        breaks_build=any(finding.breaks_build for finding in found),
        findings=tuple(found),
        checks=tuple(checks),
        brain=None if seen is None else seen.brain,
        change=Change(branch=f"nightcrew/{ticket.id}", base=ticket.base, head=head),
        done=words(checks, "" if seen is None else seen.said),
        next="Mend the findings." if found else "Check this commit for security.",
    )


def _by_tools(desk: Desk, base_commit: str, head_commit: str) -> tuple[Check, list[Check], list[Finding]]:
    """What tests and lint say of ``head_commit`` against ``base_commit``."""
    with checkout(desk, "base", base_commit) as base, checkout(desk, "head", head_commit) as head:
        tests, compared = _tests(desk, base, head)
        linted, new = _lint(desk, base, head)
    found = findings(compared) if compared else []
    return tests, linted, desk.without_false_positives([*found, *new])


def _shown_by(again: list[Finding], before: list[Finding]) -> list[Finding]:
    """What QA's own tests show beyond what was known. That they do not even run says nothing of the change."""
    known = {one.fingerprint for one in before}
    return [one for one in again if one.fingerprint not in known and not one.breaks_build]


def _taken(desk: Desk, head: str) -> str:
    """Bring the ticket's branch forward to ``head``, which has QA's tests on top; gives it.

    A branch that somebody has committed to, or is working on, stays as it is: the commit has a ref of its own.
    """
    git, ref = desk.project.git, f"refs/heads/{ticket_branch(desk.ticket.id)}"
    now = git.ref(ref)
    free = not worktrees_on(git, ticket_branch(desk.ticket.id))
    if free and now != head and (now is None or git.is_ancestor(now, head)):
        git.update_refs((ref, head, now or git.zero))
    return head


def _verdict(tests: Check, found: list[Finding]) -> Verdict:
    if tests.status == "not_checked":
        return Verdict.NOT_CHECKED
    blocking = [finding for finding in found if finding.severity != "info"]
    return Verdict.FAILED if blocking or tests.status == "failed" else Verdict.PASSED


def _tests(desk: Desk, base: Checkout, head: Checkout) -> tuple[Check, Comparison | None]:
    runs: list[TestRun] = []
    for side in (base, head):
        runs.append(_run(desk, side))
        desk.check_stop()
    before, after = runs
    if after.outcome == "not_run" or (after.outcome in ("no_tests", "broken", "timeout") and before.outcome != "ran"):
        return Check(name="tests", status="not_checked", detail=f"head: {after.words()}; base: {before.words()}"), None
    if after.exit_only and before.counts["failed"] and after.counts["failed"]:
        return Check(name="tests", status="not_checked", detail="the test command fails on base too"), None
    suspects = to_rerun(before, after)
    again = _run(desk, head, suspects) if suspects else None
    compared = compare(before, after, again)
    bad = compared.regressions or compared.new_failing or compared.breaks_build
    detail = f"head: {after.words()}; base: {before.words()}; {compared.words()}"
    if compared.already_failing:
        detail += f" ({', '.join(compared.already_failing[:5])})"
    if after.exit_only:
        detail += "; the runner gives no results of single tests"
    return Check(name="tests", status="failed" if bad else "passed", detail=detail), compared


def _run(desk: Desk, side: Checkout, only: tuple[str, ...] = ()) -> TestRun:
    settings = desk.project.settings
    try:
        detected, environment = environment_of(desk, side)
    except CheckError as error:
        return TestRun("not_run", reason=str(error))
    tests = partial(
        run_tests,
        side.path,
        detected,
        environment,
        run=side.run,
        temp=side.temp,
        timeout=60 * settings.limits.test_minutes,
        command=settings.checks.test,
        junit=settings.checks.junit,
        only=only,
        network=settings.checks.network,
    )
    look = partial(desk.project.measures.check, "tests", tests, _unmade)
    if only or environment is None or not environment.lasting:
        return look()
    what = f"tests in {environment.key}"
    return remembered(desk, what, side.workspace.base, TestRun, look, keep=lambda done: done.outcome == "ran")


def _unmade(ran: TestRun) -> FailureClass | None:
    """Why a run of the tests says nothing, for measures."""
    return {"timeout": FailureClass.TIMEOUT, "not_run": FailureClass.BUG}.get(ran.outcome)


def _lint(desk: Desk, base: Checkout, head: Checkout) -> tuple[list[Check], list[Finding]]:
    if not desk.project.settings.checks.lint:
        return [], []
    timeout = 60 * desk.project.settings.limits.scanner_minutes
    try:
        before, after = (
            remembered(
                desk,
                "lint",
                side.workspace.base,
                list[Finding],
                partial(
                    desk.project.measures.check,
                    "lint",
                    partial(lint, side.path, run=side.run, timeout=timeout),
                    lambda _: None,
                ),
                keep=lambda _: True,
            )
            for side in (base, head)
        )
    except CheckError as error:
        return [Check(name="lint", status="not_checked", detail=str(error)[:1000])], []
    new = new_against(before, after)
    detail = f"{len(after)} findings on head, {len(before)} on base, {len(new)} new"
    return [Check(name="lint", status="failed" if new else "passed", detail=detail)], new
