"""What the labels of an issue say: its kind, its priority and its severity, as people usually spell them."""

import re
from collections.abc import Iterable

from nightcrew.model.severity import Severity, highest
from nightcrew.model.ticket import Kind, Priority

_KINDS = (
    (Kind.SECURITY, re.compile(r"\b(security|vulnerability|cve)\b")),
    (Kind.BUG, re.compile(r"\b(bug|defect|regression|crash|incident)\b")),
    (Kind.CHORE, re.compile(r"\b(chore|maintenance|docs?|documentation|refactor(ing)?|dependenc(y|ies)|tech debt)\b")),
    (Kind.FEATURE, re.compile(r"\b(feature|enhancement)\b")),
)
_PRIORITIES = (
    (Priority.P0, re.compile(r"\b(p0|(priority|prio) (0|critical|urgent|blocker)|urgent|blocker)\b")),
    (Priority.P1, re.compile(r"\b(p1|(priority|prio) (1|high))\b")),
    (Priority.P2, re.compile(r"\b(p2|(priority|prio) (2|medium|normal))\b")),
    (Priority.P3, re.compile(r"\b(p3|(priority|prio) (3|4|low))\b")),
)
_SEVERITIES = (
    (Severity.CRITICAL, re.compile(r"\b(severity|sev) ?(1|critical)\b")),
    (Severity.HIGH, re.compile(r"\b(severity|sev) ?(2|high)\b")),
    (Severity.MEDIUM, re.compile(r"\b(severity|sev) ?(3|medium|moderate)\b")),
    (Severity.LOW, re.compile(r"\b(severity|sev) ?(4|low)\b")),
)
_BETWEEN = re.compile(r"[^a-z0-9]+")


def kind_of(labels: Iterable[str]) -> Kind | None:
    """The kind that the labels name, None if they name none; security before bug before chore before feature."""
    said = _words(labels)
    return next((kind for kind, pattern in _KINDS if any(pattern.search(label) for label in said)), None)


def priority_of(labels: Iterable[str]) -> Priority | None:
    """The most urgent priority that labels name (``P1``, ``priority::high``, ``urgent``), None if they name none."""
    said = _words(labels)
    return next((prio for prio, pattern in _PRIORITIES if any(pattern.search(label) for label in said)), None)


def severity_of(labels: Iterable[str]) -> Severity | None:
    """The highest severity that the labels name (``severity::2``, ``severity: high``), None if they name none."""
    said = _words(labels)
    return highest(severity for severity, pattern in _SEVERITIES if any(pattern.search(label) for label in said))


def _words(labels: Iterable[str]) -> list[str]:
    """Each label in lower case with a space for whatever stands between its words."""
    return [_BETWEEN.sub(" ", label.lower()).strip() for label in labels]
