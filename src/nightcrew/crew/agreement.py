"""Statistics of labelled decisions: agreement per agent and rule, time to decide, thresholds. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import median
from typing import Any

from nightcrew.reliability.calibrate import Calibration, calibrate

_STEPS = (*(step / 20 for step in range(10, 20)), 0.99)
_Z = 1.959964  # 97.5 % of a normal distribution


@dataclass(frozen=True)
class Label:
    """One review that people ended.

    ``rule`` is ``tool rule``. ``overruled``: the reviewer found that the agent was wrong to hold it up: rejected the
    work on a finding as none, or let a change pass in spite of one. ``confidence`` is None where the decision does not
    say whether the finding is one.
    """

    agent: str
    rule: str
    confidence: float | None
    severity: str
    decision: str
    asked: datetime
    decided: datetime
    reviewer: str
    overruled: bool

    @property
    def agreed(self) -> bool:
        """Whether the reviewer found that the agent was right."""
        return not self.overruled


@dataclass(frozen=True)
class Agreement:
    """How often reviewers agreed: a share with its 95 % interval (Wilson 1927), and hours to decide."""

    name: str
    n: int
    agreed: int
    share: float
    low: float
    high: float
    median_hours: float
    p90_hours: float


@dataclass(frozen=True)
class Effect:
    """What a threshold would have done: how many lie at or above it, and how many of these were no findings."""

    threshold: float
    accepted: int
    wrong: int


@dataclass(frozen=True)
class Stats:
    """Everything that ``inbox stats`` says; ``calibration`` is about the reviews whose finding had a confidence."""

    n: int
    agents: list[Agreement]
    rules: list[Agreement]
    thresholds: list[Effect]
    calibration: Calibration

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def stats(labels: Sequence[Label], *, alpha: float = 0.05, delta: float = 0.1) -> Stats:
    """Statistics of ``labels``; ``alpha`` and ``delta`` as for ``calibrate``."""
    sure = [(label.confidence, label.agreed) for label in labels if label.confidence is not None]
    return Stats(
        n=len(labels),
        agents=_by(labels, lambda label: label.agent),
        rules=_by(labels, lambda label: label.rule),
        thresholds=[_effect(step, sure) for step in _STEPS],
        calibration=calibrate(sure, alpha=alpha, delta=delta),
    )


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share; (0, 1) if nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    middle = share + _Z**2 / (2 * n)
    spread = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    whole = 1 + _Z**2 / n
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def _by(labels: Sequence[Label], key: Callable[[Label], str]) -> list[Agreement]:
    groups: dict[str, list[Label]] = {}
    for label in labels:
        groups.setdefault(key(label), []).append(label)
    return [
        _agreement(name, group) for name, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _agreement(name: str, group: Sequence[Label]) -> Agreement:
    agreed = sum(label.agreed for label in group)
    hours = sorted((label.decided - label.asked).total_seconds() / 3600 for label in group)
    low, high = wilson(agreed, len(group))
    p90 = hours[min(len(hours) - 1, math.ceil(0.9 * len(hours)) - 1)]
    return Agreement(name, len(group), agreed, agreed / len(group), low, high, median(hours), p90)


def _effect(threshold: float, labels: Iterable[tuple[float, bool]]) -> Effect:
    above = [right for confidence, right in labels if confidence >= threshold]
    return Effect(threshold, len(above), sum(not right for right in above))
