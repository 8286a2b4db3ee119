"""Lint with ruff: the project's own rules if it has some, else ruff's default ones."""

import json
import sys
from pathlib import Path

from nightcrew.checks.located import Hit, locate
from nightcrew.checks.running import CheckError, Run
from nightcrew.model.finding import Category, Finding
from nightcrew.model.severity import Severity


def lint(workspace: Path, *, run: Run, timeout: float) -> list[Finding]:
    """Lint findings of a workspace; raises CheckError if ruff cannot run. ``timeout`` in seconds."""
    return locate(map(_hit, ruff(["--select-default"], workspace, run=run, timeout=timeout)), workspace)


def ruff(options: list[str], workspace: Path, *, run: Run, timeout: float) -> list[dict[str, object]]:
    """What ruff reports, with paths relative to the workspace; raises CheckError."""
    extra = [option for option in options if option != "--select-default"]
    argv = [sys.executable, "-m", "ruff", "check", "--no-cache", "--exit-zero", "--output-format", "json", "--no-fix"]
    ended = run([*argv, *extra, "."], timeout=timeout)
    if not ended.ok:
        raise CheckError(f"ruff {'ran out of time' if ended.timed_out else 'failed'}: {ended.tail(300)}")
    try:
        rows = json.loads(ended.stdout)
    except ValueError:
        raise CheckError("ruff printed more than can be read" if ended.truncated else "ruff printed no JSON") from None
    root = str(workspace.resolve())
    return [{**row, "path": _relative(str(row["filename"]), root)} for row in rows]


def _relative(name: str, root: str) -> str:
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_absolute() and path.is_relative_to(root) else path.as_posix()


def _hit(row: dict[str, object]) -> Hit:
    code = str(row.get("code") or "invalid-syntax")
    broken = code in ("invalid-syntax", "E999") or row.get("code") is None
    fix = row.get("fix")
    location = row.get("location")
    return Hit(
        tool="ruff",
        rule=code,
        category=Category.BUILD if broken else Category.LINT,
        severity=Severity.HIGH if broken else Severity.LOW,
        message=f"{code}: {row.get('message')}",
        path=str(row["path"]),
        line=int(location["row"]) if isinstance(location, dict) else None,
        fixable=isinstance(fix, dict) and fix.get("applicability") == "safe",
    )
