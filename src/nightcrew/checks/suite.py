"""Running a project's own tests on a workspace, with proof that it is the workspace's code that they import."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nightcrew.checks.project import Detected
from nightcrew.checks.python import Environment
from nightcrew.checks.results import Case, read_results
from nightcrew.checks.running import CheckError, Run

_PROBE = """
import importlib, json, sys
out = {}
for name in json.loads(sys.argv[1]):
    try:
        module = importlib.import_module(name)
        out[name] = getattr(module, "__file__", None) or list(module.__path__)[0]
    except BaseException as error:
        out[name] = "!" + type(error).__name__ + ": " + str(error)[:300]
sys.stdout.write("\\nPROBE" + json.dumps(out))
"""


@dataclass(frozen=True)
class TestRun:
    """What a run of the tests came to.

    ``outcome``: ``ran``; ``no_tests``; ``broken`` (does not import, start or collect); ``timeout``; ``not_run`` (nothing
    is known, ``reason`` says why). ``exit_only``: the runner gave no results of single tests.
    """

    __test__ = False

    outcome: str
    cases: dict[str, Case] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    log: str = ""
    exit_only: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """How many tests passed, failed, had an error, were skipped."""
        counted = Counter(case.status for case in self.cases.values())
        return {name: counted.get(name, 0) for name in ("passed", "failed", "error", "skipped")}

    def words(self) -> str:
        """The run in a few words."""
        if self.outcome not in ("ran", "broken") or (self.outcome == "broken" and not self.cases):
            return f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        return ", ".join(f"{number} {name}" for name, number in self.counts.items() if number) or self.reason


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

    ``command`` is the user's own shell line. A run that cannot be made is an outcome; nothing is raised.
    """
    if command or environment is None:
        argv = ["/bin/sh", "-c", command] if command else list(detected.test or ())
        if not argv:
            return TestRun("no_tests", reason="no way to run tests was found; name one in [checks] test")
        return _by_command(workspace, argv, environment, run, timeout, junit, network)
    return _by_pytest(workspace, detected, environment, run, temp, timeout, only, network)


def _by_pytest(
    workspace: Path,
    detected: Detected,
    environment: Environment,
    run: Run,
    temp: Path,
    timeout: float,
    only: Sequence[str],
    network: bool,
) -> TestRun:
    try:
        roots = _roots(workspace, detected, environment, run, temp, timeout)
        unproven = _prove(detected, environment, run, roots)
    except CheckError as error:
        return TestRun("not_run", reason=str(error))
    if unproven is not None:
        return unproven
    report = temp / f"junit-{workspace.name}.xml"
    report.unlink(missing_ok=True)
    argv = [str(environment.python), "-m", "pytest", f"--junitxml={report}", "-o", "junit_family=xunit1"]
    ended = run(
        [*argv, "-p", "no:cacheprovider", "-q", *only],
        environment=_variables(roots),
        timeout=timeout,
        readable=environment.readable,
        network=network,
    )
    if ended.returncode is None:
        reason = f"not done after {timeout:.0f} seconds" if ended.timed_out else "stopped"
        return TestRun("timeout" if ended.timed_out else "not_run", seconds=ended.seconds, reason=reason)
    if ended.returncode == 5:
        return TestRun("no_tests", seconds=ended.seconds, reason="pytest found no tests")
    log = ended.tail()
    if "No module named pytest" in log and ended.returncode == 1:
        return TestRun("not_run", reason="pytest is not installed in the environment of the tests", log=log)
    try:
        cases = read_results(report)
    except CheckError as error:
        outcome = "broken" if ended.returncode in (2, 3, 4) else "not_run"
        return TestRun(outcome, seconds=ended.seconds, reason=_last(log) or str(error), log=log)
    outcome = "broken" if ended.returncode in (2, 3, 4) else "ran"
    return TestRun(outcome, cases, ended.seconds, _last(log) if outcome == "broken" else "", log)


def _by_command(
    workspace: Path,
    argv: Sequence[str],
    environment: Environment | None,
    run: Run,
    timeout: float,
    junit: str,
    network: bool,
) -> TestRun:
    variables = {}
    readable: Sequence[Path] = ()
    if environment is not None:
        variables = {"VIRTUAL_ENV": str(environment.python.parent.parent)}
        readable = environment.readable
        argv = ["/usr/bin/env", f"PATH={environment.python.parent}:/usr/local/bin:/usr/bin:/bin", *argv]
    ended = run(argv, environment=variables, timeout=timeout, readable=readable, network=network)
    if ended.returncode is None:
        return TestRun(
            "timeout", seconds=ended.seconds, reason=f"{shlex.join(argv)[:100]}: not done after {timeout:.0f} s"
        )
    cases: dict[str, Case] = {}
    if junit:
        try:
            for path in sorted(workspace.glob(junit)):
                cases |= read_results(path)
        except CheckError as error:
            return TestRun("not_run", seconds=ended.seconds, reason=str(error), log=ended.tail())
    if cases:
        return TestRun("ran", cases, ended.seconds, log=ended.tail())
    whole = Case("the whole suite", "passed" if ended.ok else "failed", _last(ended.tail()))
    return TestRun("ran", {whole.id: whole}, ended.seconds, log=ended.tail(), exit_only=True)


def _roots(
    workspace: Path, detected: Detected, environment: Environment, run: Run, temp: Path, timeout: float
) -> tuple[Path, ...]:
    """Where the code under test is imported from; a project with compiled parts is built from this workspace first."""
    source = workspace / detected.source
    if not detected.native:
        return (source, workspace) if source != workspace else (workspace,)
    built = temp / f"built-{workspace.name}"
    argv = [str(environment.python), "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--upgrade"]
    ended = run(
        [*argv, "--target", str(built), str(workspace)],
        environment=_index(),
        timeout=timeout,
        readable=environment.readable,
        network=True,
    )
    if not ended.ok:
        raise CheckError(f"the compiled parts could not be built: {ended.tail(400)}")
    return (built,)


def _index() -> dict[str, str]:
    from nightcrew.checks.python import _index as index

    return index()


def _prove(detected: Detected, environment: Environment, run: Run, roots: Sequence[Path]) -> TestRun | None:
    """None if every package of the project is imported from this workspace; else the run that cannot be."""
    if not detected.packages:
        return None
    argv = [str(environment.python), "-c", _PROBE, json.dumps(detected.packages)]
    ended = run(argv, environment=_variables(roots), timeout=120, readable=environment.readable)
    _, marker, answer = ended.stdout.decode("utf-8", "replace").rpartition("\nPROBE")
    try:
        found = json.loads(answer) if marker else {}
    except ValueError:
        found = {}
    if not found:
        return TestRun("not_run", reason=f"the environment cannot run Python: {ended.tail(300)}")
    failed = {name: where[1:] for name, where in found.items() if where.startswith("!")}
    if failed:
        name, why = next(iter(failed.items()))
        return TestRun("broken", reason=f"{name} does not import: {why}")
    for name, where in found.items():
        if not any(Path(where).resolve().is_relative_to(root.resolve()) for root in roots):
            return TestRun(
                "not_run",
                reason=f"the tests would import {name} from {where}, not from the commit under test; "
                "an installed copy hides it",
            )
    return None


def _variables(roots: Sequence[Path]) -> dict[str, str]:
    return {"PYTHONPATH": ":".join(str(root) for root in roots), "PYTHONDONTWRITEBYTECODE": "1"}


def _last(log: str) -> str:
    lines = [line.strip(" =") for line in log.splitlines() if line.strip(" =")]
    errors = [line for line in lines if line.startswith(("E ", "ERROR"))]
    return (errors or lines or [""])[0 if errors else -1][:300]
