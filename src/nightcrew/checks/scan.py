"""Security scanners: the built-in ones and any command that writes SARIF. One that cannot run is not checked, never clean."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightcrew.checks.linting import ruff
from nightcrew.checks.located import Hit, locate
from nightcrew.checks.running import CheckError, Run
from nightcrew.checks.sarif_in import read_sarif
from nightcrew.model.finding import Category, Finding
from nightcrew.model.severity import Severity

_TEST_PATH = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")
_RUFF_HIGH = {
    "S102",
    "S103",
    "S106",
    "S107",
    "S202",
    "S301",
    "S307",
    "S323",
    "S501",
    "S502",
    "S506",
    "S602",
    "S604",
    "S605",
}
# Entropy plugins are left out: on real code they are nearly all noise. The keyword plugin needs a quoted value.
_SECRET_PLUGINS_OFF = ("Base64HighEntropyString", "HexHighEntropyString", "KeywordDetector")


@dataclass(frozen=True)
class ScanResult:
    """What one scanner said of one workspace. ``not_checked`` has a ``reason``."""

    name: str
    status: Literal["clean", "findings", "not_checked"]
    findings: tuple[Finding, ...] = ()
    reason: str = ""


Scan = Callable[[Path, Run, Path, float], Iterable[Hit]]
"""Scans a workspace: its path, how to run commands there, a folder for files, seconds. Raises CheckError."""


def scan(name: str, scanner: Scan, workspace: Path, *, run: Run, temp: Path, timeout: float) -> ScanResult:
    """Run one scanner; nothing is raised for one that cannot run. ``timeout`` in seconds."""
    try:
        hits = [hit for hit in scanner(workspace, run, temp, timeout) if not _is_noise(hit)]
    except CheckError as error:
        return ScanResult(name, "not_checked", reason=str(error)[:1000])
    found = tuple(locate(hits, workspace))
    return ScanResult(name, "findings" if found else "clean", found)


def bandit(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
    """bandit, through its SARIF formatter."""
    report = temp / f"bandit-{workspace.name}.sarif"
    argv = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "--format", "sarif", "--exit-zero"]
    _write(run, [*argv, "--output", str(report), "."], report, timeout)
    return read_sarif(report, workspace)


def ruff_s(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
    """Ruff's S rules (flake8-bandit), without the project's own configuration, which could switch them off."""
    rows = ruff(["--isolated", "--select", "S"], workspace, run=run, timeout=timeout)
    for row in rows:
        code, location = row.get("code"), row.get("location")
        if isinstance(code, str) and code.startswith("S"):
            yield Hit(
                tool="ruff-s",
                rule=code,
                category=Category.SECURITY,
                severity=Severity.HIGH if code in _RUFF_HIGH else Severity.MEDIUM if code != "S101" else Severity.LOW,
                message=f"{code}: {row.get('message')}",
                path=str(row["path"]),
                line=int(location["row"]) if isinstance(location, dict) else None,
            )


def detect_secrets(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
    """detect-secrets without its entropy plugins. What it found is named by its kind and hash, never by its value."""
    del temp
    off = [word for plugin in _SECRET_PLUGINS_OFF for word in ("--disable-plugin", plugin)]
    argv = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "--no-verify", *off]
    ended = run([*argv, "--exclude-files", r"(^|/)\.git/", "."], timeout=timeout)
    if not ended.ok:
        raise CheckError(f"detect-secrets {'ran out of time' if ended.timed_out else 'failed'}")
    try:
        results = json.loads(ended.stdout)["results"]
    except (ValueError, KeyError):
        raise CheckError("detect-secrets printed no results") from None
    return [
        Hit(
            tool="detect-secrets",
            rule=str(found["type"]),
            category=Category.SECRET,
            severity=Severity.HIGH,
            message=f"{found['type']} in the code (SHA-1 of it: {str(found['hashed_secret'])[:12]})",
            path=path.removeprefix("./"),
            line=found.get("line_number"),
            secret=True,
        )
        for path, rows in results.items()
        for found in rows
    ]


def by_command(name: str, command: Sequence[str]) -> Scan:
    """A scanner that the user configured: a command that writes SARIF to ``{output}``."""

    def run_it(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
        report = temp / f"{re.sub(r'[^A-Za-z0-9]', '-', name)}-{workspace.name}.sarif"
        argv = [word.replace("{workspace}", str(workspace)).replace("{output}", str(report)) for word in command]
        _write(run, argv, report, timeout, any_status=True)
        return read_sarif(report, workspace)

    return run_it


BUILT_IN: dict[str, Scan] = {"bandit": bandit, "ruff-s": ruff_s, "detect-secrets": detect_secrets}


def configured(names: Sequence[str], commands: Sequence[tuple[str, Sequence[str]]]) -> dict[str, Scan]:
    """The scanners that the settings name; one that does not exist is not checked, with the reason."""

    def unknown(name: str) -> Scan:
        def refuse(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
            raise CheckError(f"there is no built-in scanner {name}; there are {', '.join(BUILT_IN)}")

        return refuse

    chosen = {name: BUILT_IN.get(name) or unknown(name) for name in names}
    return chosen | {name: by_command(name, command) for name, command in commands}


def _write(run: Run, argv: Sequence[str], report: Path, timeout: float, *, any_status: bool = False) -> None:
    report.unlink(missing_ok=True)
    ended = run(argv, timeout=timeout)
    if ended.returncode is None:
        raise CheckError(f"{argv[0].rsplit('/', 1)[-1]} {'ran out of time' if ended.timed_out else 'was stopped'}")
    if not ended.ok and not (any_status and report.exists()):
        raise CheckError(f"it failed ({ended.returncode}): {ended.tail(300)}")


def _is_noise(hit: Hit) -> bool:
    """Asserts in tests are nine of ten hits on real code, and are what tests are made of."""
    return hit.rule in ("S101", "B101") and hit.path is not None and _TEST_PATH.search(hit.path) is not None
