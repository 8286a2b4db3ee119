"""Head against base: what a change broke, what was broken before, and what only sometimes passes."""

from dataclasses import dataclass

from nightcrew.checks.results import Case
from nightcrew.checks.suite import TestRun
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

    def words(self) -> str:
        """The comparison in a few words."""
        parts = [
            f"{len(found)} {name}"
            for name, found in (
                ("regressions", self.regressions),
                ("new tests fail", self.new_failing),
                ("flaky", self.flaky),
                ("failed before too", self.already_failing),
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
    return tuple(sorted(case.id for case in failing if _status(base, case.id) not in _BAD))


def compare(base: TestRun, head: TestRun, again: TestRun | None = None) -> Comparison:
    """Compare the runs; ``again`` is a second run of ``to_rerun`` on head: what passes in it is flaky."""
    suspects = to_rerun(base, head)
    passed_again = {name for name in suspects if again is not None and _status(again, name) == "passed"}
    if head.exit_only:
        suspects = tuple(c.id for c in head.cases.values() if c.status in _BAD and _status(base, c.id) not in _BAD)
    worse = [head.cases[name] for name in suspects if name not in passed_again]
    return Comparison(
        regressions=tuple(case for case in worse if case.id in base.cases),
        flaky=tuple(sorted(passed_again)),
        already_failing=tuple(
            sorted(c.id for c in head.cases.values() if c.status in _BAD and _status(base, c.id) in _BAD)
        ),
        new_failing=tuple(case for case in worse if case.id not in base.cases),
        removed=tuple(sorted(set(base.cases) - set(head.cases))) if head.outcome == "ran" else (),
        breaks_build=_broken(base, head),
    )


def findings(compared: Comparison) -> list[Finding]:
    """What a person or the build agent has to know of a comparison. A regression is high: it worked before."""
    found = [
        _finding(case, "regression", Severity.HIGH, f"{case.id} passed on base and fails on head: {case.message}")
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
    if compared.breaks_build is not None:
        found.append(
            Finding(
                fingerprint=fingerprint(tool="tests", rule="breaks-build", path=None, code=compared.breaks_build),
                tool="tests",
                rule="breaks-build",
                category=Category.BUILD,
                severity=Severity.HIGH,
                message=f"the tests ran on base and do not start on head: {compared.breaks_build}",
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


def _broken(base: TestRun, head: TestRun) -> str | None:
    if head.outcome == "broken" and base.outcome in ("ran", "no_tests"):
        return head.reason or "it does not collect"
    if head.outcome == "timeout" and base.outcome == "ran":
        return head.reason
    return "no test is left" if head.outcome == "no_tests" and base.outcome == "ran" else None
