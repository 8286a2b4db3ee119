"""Head against base: what a change broke, what was broken before, and what only sometimes passes."""

from collections.abc import Sequence
from dataclasses import dataclass

from nightcrew.checks.results import Case
from nightcrew.checks.suite import COMMAND, TestRun
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.severity import Severity

_BAD = ("failed", "error")


@dataclass(frozen=True)
class Comparison:
    """Tests by what became of them from base to head; ids, sorted."""

    regressions: tuple[Case, ...]
    flaky: tuple[str, ...]
    already_failing: tuple[str, ...]
    new_failing: tuple[Case, ...]
    removed: tuple[str, ...]
    breaks_build: str | None
    fixed: tuple[str, ...] = ()
    newly_skipped: tuple[str, ...] = ()

    def words(self) -> str:
        """The comparison in a few words."""
        parts = [
            f"{len(found)} {name}"
            for name, found in (
                ("regressions", self.regressions),
                ("new tests fail", self.new_failing),
                ("flaky", self.flaky),
                ("failed before too", self.already_failing),
                ("fixed", self.fixed),
                ("no longer run", self.newly_skipped),
                ("tests removed", self.removed),
            )
            if found
        ]
        return "; ".join(parts) or "nothing became worse"


def to_rerun(base: TestRun, head: TestRun) -> tuple[str, ...]:
    """Tests that fail on head and did not on base: worth running once more."""
    if head.outcome != "ran" or head.exit_only:
        return ()
    failing = (case for case in head.cases.values() if case.status in _BAD)
    return tuple(sorted(c.id for c in failing if c.id != COMMAND and _status(base, c.id) not in _BAD))


def compare(base: TestRun, head: TestRun, again: TestRun | None = None) -> Comparison:
    """Compare the runs; ``again`` is a second run of ``to_rerun`` on head: what passes in it is flaky."""
    suspects = to_rerun(base, head)
    passed_again = {name for name in suspects if again is not None and _status(again, name) == "passed"}
    failing = sorted(case.id for case in head.cases.values() if case.status in _BAD)
    worse = [head.cases[name] for name in failing if _status(base, name) not in _BAD and name not in passed_again]
    ran = head.outcome == "ran" and base.outcome == "ran"
    # A file that does not collect takes its tests along: they are not removed.
    lost = {name for name in base.cases if name.split("::")[0] in head.uncollected}
    known = base.outcome == "ran" and not base.exit_only
    return Comparison(
        regressions=tuple(case for case in worse if case.id in base.cases or case.id == COMMAND),
        flaky=tuple(sorted(passed_again)),
        already_failing=tuple(name for name in failing if _status(base, name) in _BAD),
        new_failing=tuple(case for case in worse if case.id not in base.cases and case.id != COMMAND),
        removed=tuple(sorted(set(base.cases) - set(head.cases) - lost - {COMMAND})) if ran and known else (),
        breaks_build=_broken(base, head),
        fixed=tuple(sorted(_moved(base, head, _BAD, "passed"))) if ran else (),
        newly_skipped=tuple(sorted(_moved(base, head, ("passed",), "skipped"))) if ran else (),
    )


def findings(compared: Comparison) -> list[Finding]:
    """What a person or the build agent has to know of a comparison. A regression is high: it worked before."""
    found = [
        _finding(case, "regression", Severity.HIGH, f"{case.id} did not fail on base and fails on head: {case.message}")
        for case in compared.regressions
    ]
    found += [
        _finding(case, "new-test-fails", Severity.MEDIUM, f"{case.id} is new and fails: {case.message}")
        for case in compared.new_failing
    ]
    found += [
        _finding(Case(name, "flaky"), "flaky", Severity.INFO, f"{name} failed once and passed once on head")
        for name in compared.flaky
    ]
    found += [
        _finding(
            Case(name, "skipped"), "no-longer-run", Severity.MEDIUM, f"{name} passed on base and is skipped on head"
        )
        for name in compared.newly_skipped
    ]
    if compared.breaks_build is not None:
        found.append(
            Finding(
                fingerprint=fingerprint(tool="tests", rule="breaks-build", path=None, code=compared.breaks_build),
                tool="tests",
                rule="breaks-build",
                category=Category.BUILD,
                severity=Severity.HIGH,
                message=f"this worked on base and does not on head: {compared.breaks_build}"[:1000],
                breaks_build=True,
            )
        )
    return found


def _finding(case: Case, rule: str, severity: Severity, message: str) -> Finding:
    path = case.id.split("::")[0] if "::" in case.id and case.id.split("::")[0].endswith(".py") else None
    return Finding(
        fingerprint=fingerprint(tool="tests", rule=rule, path=path, code=case.id),
        tool="tests",
        rule=rule,
        category=Category.REGRESSION,
        severity=severity,
        message=message[:1000],
        path=path,
        evidence=case.message,
    )


def _status(run: TestRun, name: str) -> str | None:
    case = run.cases.get(name)
    return case.status if case else None


def _moved(base: TestRun, head: TestRun, before: Sequence[str], after: str) -> list[str]:
    return [name for name, case in head.cases.items() if case.status == after and _status(base, name) in before]


def _broken(base: TestRun, head: TestRun) -> str | None:
    """Why head does not install, import, start or collect although base does, or None."""
    if base.outcome not in ("ran", "no_tests"):
        return None
    for what, before, after in (
        ("does not import", base.unimportable, head.unimportable),
        ("does not collect", base.uncollected, head.uncollected),
    ):
        new = [f"{name} {what}: {why}" for name, why in sorted(after.items()) if name not in before]
        if new:
            return "; ".join(new[:5])
    if head.outcome == "broken":
        return head.reason or "the tests do not start"
    if base.outcome != "ran":
        return None
    return head.reason if head.outcome == "timeout" else "no test is left" if head.outcome == "no_tests" else None
