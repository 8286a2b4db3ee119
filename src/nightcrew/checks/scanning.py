"""Running security scanners: one that cannot run, or not to its end, is *not checked*, never clean."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightcrew.checks.errors import CheckError
from nightcrew.checks.located import Hit, locate
from nightcrew.checks.reports import report_folder
from nightcrew.checks.running import Run
from nightcrew.checks.sarif_in import SarifReport, read_sarif
from nightcrew.checks.text import in_tests
from nightcrew.model.finding import Finding
from nightcrew.monitoring import telemetry

_NOISE = frozenset(f"{letter}{number}" for letter in "SB" for number in (101, 105, 106, 107))


@dataclass(frozen=True)
class ScanResult:
    """What one scanner said of one workspace. ``not_checked`` has a ``reason``, and ``findings`` if it came to some."""

    name: str
    status: Literal["clean", "findings", "not_checked"]
    findings: tuple[Finding, ...] = ()
    reason: str = ""


Scan = Callable[[Path, Run, Path, float], Iterable[Hit]]
"""Scans a workspace: its path, how to run commands there, a folder for files, seconds. Raises CheckError."""


class PartlyCheckedError(CheckError):
    """A scanner did not come to its end; ``hits`` is what it found until then."""

    def __init__(self, reason: str, hits: Iterable[Hit] = ()) -> None:
        super().__init__(reason)
        self.hits = tuple(hits)


def scan(name: str, scanner: Scan, workspace: Path, *, run: Run, temp: Path, timeout: float) -> ScanResult:
    """Run one scanner; nothing is raised for one that cannot run. ``timeout`` in seconds."""
    with telemetry.span("check", check=name) as seen:
        result = _scanned(name, scanner, workspace, run=run, temp=temp, timeout=timeout)
        seen.set(status=result.status, findings=len(result.findings))
    return result


def _scanned(name: str, scanner: Scan, workspace: Path, *, run: Run, temp: Path, timeout: float) -> ScanResult:
    reason = ""
    try:
        hits = tuple(scanner(workspace, run, temp, timeout))
    except PartlyCheckedError as error:
        hits, reason = error.hits, str(error)
    except CheckError as error:
        hits, reason = (), str(error)
    found = tuple(locate((hit for hit in hits if not _is_noise(hit)), workspace))
    if reason:
        return ScanResult(name, "not_checked", found, reason[:1000])
    return ScanResult(name, "findings" if found else "clean", found)


def by_command(name: str, command: Sequence[str]) -> Scan:
    """A scanner that the user configured: a command that writes SARIF to ``{output}``; ``{workspace}`` is its path."""

    def run_it(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
        with report_folder(temp) as folder:
            report = folder / f"{re.sub(r'[^A-Za-z0-9]', '-', name)}.sarif"
            argv = [word.replace("{workspace}", str(workspace)).replace("{output}", str(report)) for word in command]
            # Scanners end with a status of their own when they find something: the report decides.
            return complete(sarif_of(argv, report, workspace, run, timeout, any_status=True))

    return run_it


def sarif_of(
    argv: Sequence[str], report: Path, workspace: Path, run: Run, timeout: float, *, any_status: bool = False
) -> SarifReport:
    """Run a command that writes SARIF to ``report`` and read it; raises CheckError if it does not come to its end."""
    ended = run(argv, timeout=timeout)
    if ended.returncode is None:
        raise CheckError("it ran out of time" if ended.timed_out else "it was stopped")
    if ended.returncode < 0 or ended.returncode in (126, 127):
        raise CheckError(f"it could not run or died ({ended.returncode}): {ended.tail(300)}")
    if not ended.ok and not (any_status and report.is_file()):
        raise CheckError(f"it failed ({ended.returncode}): {ended.tail(300)}")
    return read_sarif(report, workspace)


def complete(report: SarifReport) -> tuple[Hit, ...]:
    """The hits of a report; raises PartlyCheckedError if the tool itself says that it did not finish."""
    if not report.tools:
        raise CheckError("its report has no run, so nothing was scanned")
    if report.failures:
        raise PartlyCheckedError("; ".join(report.failures), report.hits)
    return report.hits


def _is_noise(hit: Hit) -> bool:
    """Asserts and made-up passwords in tests are nine of ten hits on real code; detect-secrets still looks there."""
    return hit.rule in _NOISE and hit.path is not None and in_tests(hit.path)
