"""Running a project's own tests on a workspace, with proof that it is the workspace's code that they import."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nightcrew.checks.errors import CheckError, ReportError
from nightcrew.checks.imports import import_roots, prove, variables
from nightcrew.checks.project import Detected
from nightcrew.checks.python import Environment
from nightcrew.checks.reports import report_folder
from nightcrew.checks.results import Case, read_results
from nightcrew.checks.running import Run
from nightcrew.checks.text import plain_text
from nightcrew.monitoring import telemetry
from nightcrew.sandbox import Completed

COMMAND = "the test command itself"
"""The id of the case that stands for the command's own exit status, where no single test explains it."""

_MISSING = (126, 127)


@dataclass(frozen=True)
class TestRun:
    """What a run of the tests came to.

    ``outcome``: ``ran``; ``no_tests``; ``broken`` (does not import, start or collect); ``timeout``; ``not_run``
    (nothing is known, ``reason`` says why). ``exit_only``: the runner gave no results of single tests.
    ``uncollected``: files that pytest could not collect, ``unimportable``: packages of the project that do not import,
    both with the reason.
    """

    __test__ = False

    outcome: str
    cases: dict[str, Case] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    log: str = ""
    exit_only: bool = False
    uncollected: dict[str, str] = field(default_factory=dict)
    unimportable: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many tests passed, failed, had an error, were skipped."""
        counted = Counter(case.status for case in self.cases.values())
        return {name: counted.get(name, 0) for name in ("passed", "failed", "error", "skipped")}

    def words(self) -> str:
        """The run in a few words."""
        if self.outcome not in ("ran", "broken") or (self.outcome == "broken" and not self.cases):
            return f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        parts = [f"{number} {name}" for name, number in self.counts.items() if number]
        parts += [f"{len(self.uncollected)} files not collected"] if self.uncollected else []
        return ", ".join(parts) or self.reason


def run_tests(
    workspace: Path,
    detected: Detected,
    environment: Environment | None,
    *,
    run: Run,
    temp: Path,
    timeout: float,
    command: str = "",
    junit: str = "",
    only: Sequence[str] = (),
    network: bool = False,
) -> TestRun:
    """Run the tests of ``workspace``; ``only`` these ids if given. ``timeout`` in seconds, for the whole run.

    ``command`` is the user's own shell line, ``junit`` a glob in the workspace for the JUnit XML that it writes. A run
    that cannot be made is an outcome; nothing is raised.
    """
    with telemetry.span("check", check="tests") as seen:
        try:
            roots: tuple[Path, ...] = ()
            unimportable: dict[str, str] = {}
            if environment is not None:
                roots = import_roots(workspace, detected, environment, run=run, temp=temp, timeout=timeout)
                unimportable = prove(workspace, detected, environment, roots, run=run)
            if command or environment is None:
                argv = ["/bin/sh", "-c", command] if command else list(detected.test or ())
                if not argv:
                    return TestRun("no_tests", reason="no way to run tests was found; name one in [checks] test")
                setting = _command_setting(environment, roots)
                readable = environment.readable if environment else ()
                ran = _by_command(workspace, argv, setting, readable, run, timeout, junit, network)
            else:
                ran = _by_pytest(environment, roots, run, temp, timeout, only, network)
        except CheckError as error:
            return TestRun("not_run", reason=str(error))
        seen.set(outcome=ran.outcome)
    return replace(ran, unimportable=unimportable)


def _by_pytest(
    environment: Environment,
    roots: Sequence[Path],
    run: Run,
    temp: Path,
    timeout: float,
    only: Sequence[str],
    network: bool,
) -> TestRun:
    with report_folder(temp) as folder:
        report = folder / "junit.xml"
        argv = [str(environment.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        # xunit1 names the file of each test, from which its id is made; every test runs, whatever addopts say.
        argv += ["-o", "junit_family=xunit1", "--maxfail=0", "--continue-on-collection-errors", *only]
        ended = run(argv, environment=variables(roots), timeout=timeout, readable=environment.readable, network=network)
        return _pytest_outcome(ended, report, timeout)


def _pytest_outcome(ended: Completed, report: Path, timeout: float) -> TestRun:
    """By pytest's exit codes: 0 passed, 1 failed, 2 interrupted, 3 internal error, 4 usage, 5 no tests."""
    log = plain_text(ended.tail())
    if (unfinished := _unfinished(ended, timeout, log)) is not None:
        return unfinished
    if ended.returncode == 1 and "No module named pytest" in log:
        return TestRun("not_run", reason="pytest is not installed in the environment of the tests", log=log)
    try:
        results = read_results(report)
    except ReportError as error:
        if ended.returncode == 5:
            return TestRun("no_tests", seconds=ended.seconds, reason="pytest found no tests", log=log)
        # It ended with success and yet left no readable report: nothing is known, and that is no pass.
        outcome = "not_run" if ended.ok else "broken"
        reason = str(error) if ended.ok else _death(ended) or _last(log) or str(error)
        return TestRun(outcome, seconds=ended.seconds, reason=reason, log=log)
    cases, uncollected = results.cases, results.uncollected
    if not cases and not uncollected and ended.returncode == 5:
        return TestRun("no_tests", seconds=ended.seconds, reason="pytest found no tests", log=log)
    if ended.returncode not in (0, 1) or not cases:
        reason = next(iter(f"{name}: {why}" for name, why in uncollected.items()), "") or _death(ended) or _last(log)
        return TestRun("broken", cases, ended.seconds, reason, log, uncollected=uncollected)
    if ended.returncode == 1 and not uncollected:
        cases = _with_command(cases, log)
    return TestRun("ran", cases, ended.seconds, log=log, uncollected=uncollected)


def _by_command(
    workspace: Path,
    argv: Sequence[str],
    setting: Mapping[str, str],
    readable: Sequence[Path],
    run: Run,
    timeout: float,
    junit: str,
    network: bool,
) -> TestRun:
    for stale in _reports(workspace, junit):  # a report that was committed is not this run's
        stale.unlink(missing_ok=True)
    ended = run(argv, environment=setting, timeout=timeout, readable=readable, network=network)
    log = plain_text(ended.tail())
    if (unfinished := _unfinished(ended, timeout, log)) is not None:
        return unfinished
    if ended.returncode in _MISSING:
        return TestRun("not_run", reason=f"{shlex.join(argv)[:100]}: {_last(log)}", log=log)
    cases: dict[str, Case] = {}
    for path in _reports(workspace, junit):
        cases |= read_results(path).cases
    if cases:
        return TestRun("ran", cases if ended.ok else _with_command(cases, log), ended.seconds, log=log)
    if junit and ended.ok:
        return TestRun("not_run", seconds=ended.seconds, reason=f"no test results were written to {junit}", log=log)
    whole = Case(COMMAND, "passed" if ended.ok else "failed", _last(log))
    return TestRun("ran", {whole.id: whole}, ended.seconds, log=log, exit_only=True)


def _unfinished(ended: Completed, timeout: float, log: str) -> TestRun | None:
    if ended.timed_out:
        return TestRun("timeout", seconds=ended.seconds, reason=f"not done after {timeout:.0f} seconds", log=log)
    return TestRun("not_run", seconds=ended.seconds, reason="stopped", log=log) if ended.returncode is None else None


def _with_command(cases: dict[str, Case], log: str) -> dict[str, Case]:
    """With a case for the command's status if it failed though no test did (a coverage threshold, a crash at exit)."""
    if any(case.status in ("failed", "error") for case in cases.values()):
        return cases
    return cases | {COMMAND: Case(COMMAND, "failed", _last(log))}


def _command_setting(environment: Environment | None, roots: Sequence[Path]) -> dict[str, str]:
    """For a command of the user: the project's environment active, and the workspace's code first."""
    if environment is None:
        return {}
    folder = environment.python.parent
    path = f"{folder}:/usr/local/bin:/usr/bin:/bin"
    return {**variables(roots), "VIRTUAL_ENV": str(folder.parent), "PATH": path}


def _reports(workspace: Path, junit: str) -> list[Path]:
    if not junit:
        return []
    try:
        found = sorted(workspace.glob(junit))
    except (ValueError, NotImplementedError):
        raise CheckError(f"[checks] junit: {junit!r} is not a glob in the workspace") from None
    root = workspace.resolve()
    return [path for path in found if path.parent.resolve().is_relative_to(root) and not path.is_dir()]


def _death(ended: Completed) -> str:
    code = ended.returncode or 0
    return f"the test run died from signal {-code}" if code < 0 else ""


def _last(log: str) -> str:
    lines = [line.strip(" =") for line in log.splitlines() if line.strip(" =")]
    errors = [line for line in lines if line.startswith(("E ", "ERROR"))]
    return (errors or lines or [""])[0 if errors else -1][:300]
