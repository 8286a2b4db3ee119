"""Severity of a finding: an ordered scale that only rises."""

from collections.abc import Iterable
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is, from ``info`` to ``critical``."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position on the scale, 0 (info) to 4 (critical)."""
        return _RANK[self]

    def at_least(self, other: "Severity") -> bool:
        """Whether this is as severe as ``other`` or more."""
        return self.rank >= other.rank

    def raised_to(self, other: "Severity | None") -> "Severity":
        """The more severe of the two; nothing lowers a severity (invariant 3)."""
        return self if other is None or self.rank >= other.rank else other


_RANK = {severity: rank for rank, severity in enumerate(Severity)}


def highest(severities: Iterable[Severity]) -> Severity | None:
    """The most severe of ``severities``, or None if there is none."""
    return max(severities, key=lambda severity: severity.rank, default=None)
