"""Findings with a place in a file: their code as evidence, their fingerprint, and what is new against base."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nightcrew.checks.text import masked, plain_text, read_text
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.severity import Severity

MAX_FILE = 2_000_000
_MASKED = 2_000


@dataclass(frozen=True)
class Hit:
    """What a tool said, before it has a fingerprint; ``path`` is relative to the workspace.

    ``code`` identifies the place where the source cannot be read. ``secret``: the line holds one and is never shown.
    """

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
    code: str = ""


def locate(hits: Iterable[Hit], workspace: Path) -> list[Finding]:
    """Hits as findings, in the order of file and line; equal ones of one file are told apart by that order.

    The line of a secret is not shown, and what looks like a credential is blotted out of every other line.
    """
    sources: dict[str, list[str]] = {}
    seen: Counter[tuple[str, str, str, str]] = Counter()
    found = []
    for hit in sorted(hits, key=lambda h: (h.path or "", h.line or 0, h.tool, h.rule, h.message)):
        code = _line(sources, workspace, hit) or hit.code
        text = " ".join(code.split()) or hit.message
        if hit.secret:
            text = _seal(hit.path or "", text)
        key = (hit.tool, hit.rule, hit.path or "", text)
        found.append(
            Finding(
                fingerprint=fingerprint(tool=hit.tool, rule=hit.rule, path=hit.path, code=text, occurrence=seen[key]),
                tool=hit.tool,
                rule=hit.rule,
                category=hit.category,
                severity=hit.severity,
                message=_shown(hit.message, limit=1000),
                path=hit.path,
                line=hit.line,
                end_line=hit.end_line if hit.line and hit.end_line and hit.end_line >= hit.line else None,
                evidence="" if hit.secret else evidence_of(code),
                fixable=hit.fixable,
                breaks_build=hit.breaks_build,
                confidence=hit.confidence,
            )
        )
        seen[key] += 1
    return found


def evidence_of(line: str) -> str:
    """A line of code as a finding shows it: masked and cut."""
    return _shown(line.strip(), limit=300)


def _shown(text: str, *, limit: int) -> str:
    """``text`` masked and cut. It is cut before as well: masking a line of megabytes would take hours.

    The quotes end a value that the cut left open, so that it is masked.
    """
    whole = text if len(text) <= _MASKED else text[:_MASKED] + "\"'"
    return plain_text(masked(whole), limit=limit)


def new_against(base: Iterable[Finding], head: Iterable[Finding]) -> list[Finding]:
    """Findings of ``head`` whose fingerprint ``base`` does not have.

    Equal findings differ in the occurrence that is part of the fingerprint, so that one more of them is new.
    """
    known = {finding.fingerprint for finding in base}
    return [finding for finding in head if finding.fingerprint not in known]


@lru_cache(maxsize=4096)
def _seal(path: str, code: str) -> str:
    """A slow hash of a line that holds a secret: from the fingerprint, nobody can try out short passwords quickly."""
    return hashlib.pbkdf2_hmac("sha256", code.encode("utf-8", "replace"), path.encode("utf-8", "replace"), 50_000).hex()


def _line(sources: dict[str, list[str]], workspace: Path, hit: Hit) -> str:
    if hit.path is None or hit.line is None:
        return ""
    if hit.path not in sources:
        text = read_text(workspace, hit.path, limit=MAX_FILE)
        # Not splitlines: tools count the lines of an editor, and a form feed does not end one.
        sources[hit.path] = [] if text is None else text.replace("\r\n", "\n").split("\n")
    lines = sources[hit.path]
    return lines[hit.line - 1] if hit.line <= len(lines) else ""
