"""The built-in scanners: bandit, ruff's S rules, detect-secrets and pip-audit.

What an agent writes cannot switch them off: comments that silence a scanner (``nosec``, ``noqa``, ``pragma: allowlist
secret``) and configuration in the checkout are not heeded. What was silenced before is on
base too, so that it is not new.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nightcrew.checks.errors import CheckError
from nightcrew.checks.linting import row_line, ruff
from nightcrew.checks.located import Hit
from nightcrew.checks.reports import read_report, report_folder
from nightcrew.checks.running import OWN_MODULES, Run
from nightcrew.checks.scanning import (
    PartlyCheckedError,
    Scan,
    ScanResult,
    by_command,
    complete,
    sarif_of,
    scan,
)
from nightcrew.checks.text import inside
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity

__all__ = ["BUILT_IN", "Scan", "ScanResult", "configured", "pip_audit", "scan"]

_RUFF_HIGH = frozenset(
    "S102 S103 S106 S107 S202 S301 S307 S323 S501 S502 S506 S602 S604 S605".split()  # noqa: SIM905 - a table
)
_PASSWORD_RULES = frozenset({"105", "106", "107"})
# Entropy and keyword plugins are left out: on real code they are nearly all noise, and take most of the time. Passwords
# given by name are the business of bandit's and ruff's rules 105 to 107.
_SECRET_PLUGINS_OFF = ("Base64HighEntropyString", "HexHighEntropyString", "KeywordDetector", "IPPublicDetector")
_ALLOWLIST_FILTER = "detect_secrets.filters.allowlist.is_line_allowlisted"


def bandit(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
    """bandit, through its SARIF formatter."""
    with report_folder(temp) as folder:
        report, settings = folder / "bandit.sarif", folder / "bandit.ini"
        settings.write_text("[bandit]\n")  # else it takes a file .bandit of the checkout
        argv = [sys.executable, *OWN_MODULES, "bandit", "--quiet", "--recursive", "--format", "sarif", "--exit-zero"]
        # Its own list of what it leaves out holds words, and each file with such a word in its path.
        argv += ["--ignore-nosec", "--exclude", "./.git/*", "--ini", str(settings), "--output", str(report), "."]
        hits = complete(sarif_of(argv, report, workspace, run, timeout))
    return [_hide_password(hit) for hit in hits]


def ruff_s(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
    """Ruff's S rules (flake8-bandit)."""
    del temp
    options = ["--isolated", "--ignore-noqa", "--no-respect-gitignore", "--exclude", ".git", "--select", "S"]
    for row in ruff(options, workspace, run=run, timeout=timeout):
        code = row.get("code")
        if isinstance(code, str) and code.startswith("S"):
            yield _hide_password(
                Hit(
                    tool="ruff-s",
                    rule=code,
                    category=Category.SECURITY,
                    severity=_ruff_severity(code),
                    message=f"{code}: {row.get('message')}",
                    path=str(row["path"]),
                    line=row_line(row),
                    end_line=row_line(row, "end_location"),
                )
            )


def detect_secrets(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
    """detect-secrets without its entropy plugins. What it found is named by its kind, never by its value or hash."""
    del temp
    off = [word for plugin in _SECRET_PLUGINS_OFF for word in ("--disable-plugin", plugin)]
    argv = [sys.executable, *OWN_MODULES, "detect_secrets", "scan", "--all-files", "--no-verify", *off]
    argv += ["--disable-filter", _ALLOWLIST_FILTER, "--exclude-files", r"(^|/)\.git/"]
    ended = run([*argv, "."], timeout=timeout)
    if not ended.ok:
        raise CheckError(f"detect-secrets {'ran out of time' if ended.timed_out else 'failed'}")
    if ended.truncated:
        raise CheckError("detect-secrets printed more than can be read")
    try:
        rows = [(str(path), row) for path, rows in json.loads(ended.stdout)["results"].items() for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckError("detect-secrets printed no results") from None
    return [
        Hit(
            tool="detect-secrets",
            rule=str(row.get("type")),
            category=Category.SECRET,
            severity=Severity.HIGH,
            message=f"{row.get('type')}: a secret is in the code; it must be revoked, since history keeps it",
            path=path.removeprefix("./"),
            line=row["line_number"] if isinstance(row.get("line_number"), int) and row["line_number"] > 0 else None,
            secret=True,
        )
        for path, row in rows
    ]


def pip_audit(*, network: bool) -> Scan:
    """pip-audit on the requirements files (else the project) of a checkout, against the advisory database of PyPI.

    Without ``network`` there is no database, so nothing is checked; and a dependency that it skips is not checked,
    although pip-audit then ends with 0 and says that there are no known vulnerabilities.
    """

    def run_it(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
        if not network:
            raise CheckError("the advisory database is on the network, which [checks] network does not allow")
        hits: list[Hit] = []
        skipped: list[str] = []
        for path, arguments in _audited(workspace):
            with report_folder(temp) as folder:
                report = folder / "pip-audit.json"
                argv = [sys.executable, *OWN_MODULES, "pip_audit", "--progress-spinner", "off", "--format", "json"]
                argv += ["--output", str(report), *arguments]
                safe = {"PYTHONSAFEPATH": "1"}  # for the pip that it starts, too
                ended = run(argv, environment=safe, timeout=timeout, network=True)
                if ended.returncode not in (0, 1) or not report.is_file():
                    how = "ran out of time" if ended.timed_out else "failed"
                    raise PartlyCheckedError(f"pip-audit {how} on {path}: {ended.tail(300)}", hits)
                found, missed = audit_report(read_report(report, limit=64 * 1024**2), path)
            hits += found
            skipped += missed
        if skipped:
            raise PartlyCheckedError(f"not audited: {', '.join(skipped[:10])}; {len(skipped)} in all", hits)
        return hits

    return run_it


def audit_report(data: bytes, path: str) -> tuple[list[Hit], list[str]]:
    """The vulnerabilities in a pip-audit JSON report, and the names that it skipped; raises CheckError."""
    hits, skipped = [], []
    try:
        for dependency in json.loads(data)["dependencies"]:
            if "skip_reason" in dependency:
                skipped.append(str(dependency["name"]))
            hits += [_vulnerability(dependency, one, path) for one in dependency.get("vulns", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckError("pip-audit wrote no report") from None
    return hits, skipped


def configured(
    names: Sequence[str], commands: Sequence[tuple[str, Sequence[str]]], *, network: bool = False
) -> dict[str, Scan]:
    """The scanners that the settings name; one that does not exist is not checked, with the reason."""
    built_in = BUILT_IN | {"pip-audit": pip_audit(network=network)}

    def unknown(name: str) -> Scan:
        def refuse(workspace: Path, run: Run, temp: Path, timeout: float) -> Iterable[Hit]:
            del workspace, run, temp, timeout
            raise CheckError(f"there is no built-in scanner {name}; there are {', '.join(built_in)}")

        return refuse

    chosen = {name: built_in.get(name) or unknown(name) for name in names}
    return chosen | {name: by_command(name, command) for name, command in commands}


BUILT_IN: dict[str, Scan] = {"bandit": bandit, "ruff-s": ruff_s, "detect-secrets": detect_secrets}


def _ruff_severity(code: str) -> Severity:
    """Ruff has no severities; the high ones are those that bandit calls high, or that run what they are given."""
    return Severity.HIGH if code in _RUFF_HIGH else Severity.LOW if code == "S101" else Severity.MEDIUM


def _hide_password(hit: Hit) -> Hit:
    """Bandit's message for a hardcoded password quotes it."""
    if hit.rule[1:] not in _PASSWORD_RULES:
        return hit
    return replace(hit, message=f"{hit.rule}: a password seems to be written in the code", code="", secret=True)


def _audited(workspace: Path) -> Iterator[tuple[str, list[str]]]:
    listed = [path.name for path in sorted(workspace.glob("requirements*.txt")) if inside(workspace, path.name)]
    for name in listed:
        yield name, ["--requirement", name]
    if not listed and inside(workspace, "pyproject.toml"):
        yield "pyproject.toml", ["."]


def _vulnerability(dependency: dict[str, Any], one: dict[str, Any], path: str) -> Hit:
    fixed = ", ".join(str(version) for version in one.get("fix_versions", []))
    name = f"{dependency['name']} {dependency.get('version', '')}".strip()
    return Hit(
        tool="pip-audit",
        rule=str(one["id"]),
        category=Category.DEPENDENCY,
        severity=Severity.HIGH,
        message=f"{name} is vulnerable ({one['id']}); {'fixed in ' + fixed if fixed else 'no fix is known'}",
        path=path,
        code=f"{dependency['name']} {one['id']}",
    )
