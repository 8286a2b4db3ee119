"""What is new on head against base, by fingerprint."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.severity import Severity


@dataclass(frozen=True)
class Observation:
    """What a tool reported in one place, before it has a fingerprint.

    ``code`` is what identifies the place when lines move: the text of the line, a snippet, or at worst the message.
    """

    tool: str
    rule: str
    category: Category
    severity: Severity
    message: str
    code: str
    path: str | None = None
    line: int | None = None
    end_line: int | None = None
    evidence: str = ""
    confidence: float | None = None
    breaks_build: bool = False
    fixable: bool = False


@dataclass(frozen=True)
class Delta:
    """Findings of head against base: ``new`` (only on head), ``fixed`` (only on base), ``known`` (on both, as on head)."""

    new: tuple[Finding, ...]
    fixed: tuple[Finding, ...]
    known: tuple[Finding, ...]


def to_findings(observations: Iterable[Observation]) -> list[Finding]:
    """Give each observation its fingerprint; equal ones of one file are told apart by their order of lines."""
    seen: Counter[tuple[str, str, str | None, str]] = Counter()
    findings = []
    for item in sorted(observations, key=_place):
        identity = (item.tool, item.rule, item.path, " ".join(item.code.split()))
        findings.append(
            Finding(
                fingerprint=fingerprint(
                    tool=item.tool, rule=item.rule, path=item.path, code=item.code, occurrence=seen[identity]
                ),
                tool=item.tool,
                rule=item.rule,
                category=item.category,
                severity=item.severity,
                message=item.message,
                path=item.path,
                line=item.line,
                end_line=item.end_line if item.line and item.end_line and item.end_line >= item.line else None,
                evidence=item.evidence,
                confidence=item.confidence,
                breaks_build=item.breaks_build,
                fixable=item.fixable,
            )
        )
        seen[identity] += 1
    return findings


def delta(base: Sequence[Finding], head: Sequence[Finding]) -> Delta:
    """Compare as multisets of fingerprints: a finding that base has twice and head three times is new once."""
    left = Counter(finding.fingerprint for finding in base)
    new, known = [], []
    for finding in head:
        if left[finding.fingerprint] > 0:
            left[finding.fingerprint] -= 1
            known.append(finding)
        else:
            new.append(finding)
    fixed = []
    for finding in reversed(base):  # the last ones of equal findings are those that went
        if left[finding.fingerprint] > 0:
            left[finding.fingerprint] -= 1
            fixed.append(finding)
    return Delta(tuple(new), tuple(reversed(fixed)), tuple(known))


def _place(item: Observation) -> tuple[str, int, str, str]:
    return (item.path or "", item.line or 0, item.rule, item.message)
