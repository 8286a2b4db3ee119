"""Findings with a place in a file: their code as evidence, their fingerprint, and what is new against base."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.severity import Severity

MAX_FILE = 2_000_000


@dataclass(frozen=True)
class Hit:
    """What a tool said, before it has a fingerprint; ``path`` is relative to the workspace."""

    tool: str
    rule: str
    category: Category
    severity: Severity
    message: str
    path: str | None = None
    line: int | None = None
    end_line: int | None = None
    secret: bool = False
    fixable: bool = False
    breaks_build: bool = False
    confidence: float | None = None


def locate(hits: Iterable[Hit], workspace: Path) -> list[Finding]:
    """Hits as findings, in the order of file and line. The line of a secret is never shown, and not in the fingerprint."""
    sources: dict[str, list[str]] = {}
    seen: Counter[tuple[str, str, str, str]] = Counter()
    found = []
    for hit in sorted(hits, key=lambda h: (h.path or "", h.line or 0, h.tool, h.rule)):
        code = _line(sources, workspace, hit)
        # A secret is told from another by the tool's own hash of it, which is in the message.
        text = hit.message if hit.secret else code
        key = (hit.tool, hit.rule, hit.path or "", text)
        found.append(
            Finding(
                fingerprint=fingerprint(tool=hit.tool, rule=hit.rule, path=hit.path, code=text, occurrence=seen[key]),
                tool=hit.tool,
                rule=hit.rule,
                category=hit.category,
                severity=hit.severity,
                message=_clean(hit.message)[:1000],
                path=hit.path,
                line=hit.line,
                end_line=hit.end_line,
                evidence="" if hit.secret else code[:300],
                fixable=hit.fixable,
                breaks_build=hit.breaks_build,
                confidence=hit.confidence,
            )
        )
        seen[key] += 1
    return found


def new_against(base: Iterable[Finding], head: Iterable[Finding]) -> list[Finding]:
    """Findings of ``head`` whose fingerprint ``base`` does not have."""
    known = {finding.fingerprint for finding in base}
    return [finding for finding in head if finding.fingerprint not in known]


def _line(sources: dict[str, list[str]], workspace: Path, hit: Hit) -> str:
    if hit.path is None or hit.line is None:
        return ""
    if hit.path not in sources:
        sources[hit.path] = _lines(workspace, hit.path)
    lines = sources[hit.path]
    return _clean(lines[hit.line - 1]).strip() if hit.line <= len(lines) else ""


def _lines(workspace: Path, path: str) -> list[str]:
    file = workspace / path
    try:
        inside = file.resolve().is_relative_to(workspace.resolve())
        if not inside or not file.is_file() or file.stat().st_size > MAX_FILE:
            return []
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
