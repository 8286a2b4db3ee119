"""Lint with ruff: the project's own rules if it has some, else ruff's default ones."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from nightcrew.checks.errors import CheckError, ReportError
from nightcrew.checks.located import Hit, locate
from nightcrew.checks.reports import read_report
from nightcrew.checks.running import OWN_MODULES, Run
from nightcrew.checks.text import read_text
from nightcrew.model.finding import Category, Finding
from nightcrew.model.severity import Severity
from nightcrew.monitoring import telemetry

_LIMIT = 256 * 1024 * 1024


def lint(workspace: Path, *, run: Run, timeout: float) -> list[Finding]:
    """Lint findings of a workspace; raises CheckError if ruff cannot run. ``timeout`` in seconds."""
    options = [] if _has_rules(workspace) else ["--isolated"]
    with telemetry.span("check", check="lint"):
        return locate(map(_hit, ruff(options, workspace, run=run, timeout=timeout)), workspace)


def ruff(options: list[str], workspace: Path, *, run: Run, timeout: float) -> list[dict[str, Any]]:
    """What ``ruff check`` with ``options`` reports, with ``path`` relative to the workspace; raises CheckError."""
    argv = [
        sys.executable,
        *OWN_MODULES,
        "ruff",
        "check",
        "--no-cache",
        "--exit-zero",
        "--no-fix",
        "--output-format",
        "json",
    ]
    # To a file: what a command prints is cut at a limit, and a large repository has more findings than that.
    with tempfile.TemporaryDirectory(prefix="nightcrew-ruff-") as folder:
        report = Path(folder) / "ruff.json"
        ended = run([*argv, "--output-file", str(report), *options, "."], timeout=timeout, writable=[Path(folder)])
        if not ended.ok:
            raise CheckError(f"ruff {'ran out of time' if ended.timed_out else 'failed'}: {ended.tail(300)}")
        rows = _rows(read_report(report, limit=_LIMIT))
    root = workspace.resolve()
    return [{**row, "path": _relative(str(row.get("filename", "")), root)} for row in rows]


def row_line(row: dict[str, Any], key: str = "location") -> int | None:
    """The line of one of ruff's results, from 1, or None."""
    place = row.get(key)
    line = place.get("row") if isinstance(place, dict) else None
    return line if isinstance(line, int) and line >= 1 else None


def _rows(data: bytes) -> list[dict[str, Any]]:
    try:
        rows = json.loads(data or b"null")
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReportError("ruff wrote no JSON")
    return rows


def _has_rules(workspace: Path) -> bool:
    """Whether the project configures ruff. If not, nothing in the folders above or in the user's home may."""
    if any(read_text(workspace, name) is not None for name in ("ruff.toml", ".ruff.toml")):
        return True
    return "[tool.ruff" in (read_text(workspace, "pyproject.toml") or "")


def _relative(name: str, root: Path) -> str:
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_absolute() and path.is_relative_to(root) else path.as_posix()


def _hit(row: dict[str, Any]) -> Hit:
    code = str(row.get("code") or "invalid-syntax")
    broken = code in ("invalid-syntax", "E999")
    fix = row.get("fix")
    return Hit(
        tool="ruff",
        rule=code,
        category=Category.BUILD if broken else Category.LINT,
        severity=Severity.HIGH if broken else Severity.LOW,
        message=f"{code}: {row.get('message')}",
        path=str(row["path"]),
        line=row_line(row),
        end_line=row_line(row, "end_location"),
        fixable=isinstance(fix, dict) and fix.get("applicability") == "safe",
        breaks_build=broken,
        code=str(row.get("message")),
    )
