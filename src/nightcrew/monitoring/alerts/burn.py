"""Burn rate: how fast the part that may fail under an objective is used up.

The multi-window, multi-burn-rate rules of B. Beyer et al. (ed.), "The Site Reliability Workbook", O'Reilly 2018,
chapter 5 "Alerting on SLOs", table 5-8: a long window says that it matters, a short one that it still goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nightcrew.model.alerting import AlertRule
from nightcrew.model.severity import Severity
from nightcrew.monitoring import query
from nightcrew.store.series import MINUTE
from nightcrew.store.store import Tx

_DAY_MINUTES = 24 * 60
_LATER = Severity.MEDIUM
"""The severity, at most, of what burns slowly: it can wait for working hours."""


@dataclass(frozen=True)
class Pair:
    """Two windows in minutes, the part of the whole budget used up in the long one, whether it is urgent."""

    long: int
    short: int
    budget: float
    urgent: bool

    def rate(self, days: float) -> float:
        """The burn rate that uses up this part of the budget of ``days``; 1 would just use all of it up in time."""
        return max(1.0, self.budget * days * _DAY_MINUTES / self.long)


PAIRS = (Pair(60, 5, 0.02, True), Pair(360, 30, 0.05, True), Pair(4320, 360, 0.10, False))
"""For 30 days: 1 h and 5 min at 14.4, 6 h and 30 min at 6, 3 days and 6 h at 1."""


@dataclass(frozen=True)
class Burn:
    """The burn rate found, over which time, whether it is too fast."""

    rate: float | None
    too_fast: bool
    start: datetime
    end: datetime
    severity: Severity | None
    words: Mapping[str, str]


def look(tx: Tx, rule: AlertRule, subject: str, labels: Mapping[str, str], now: datetime) -> Burn:
    """The first pair that burns too fast in both of its windows, else what the shortest pair says."""
    end = datetime.fromtimestamp(-(-now.timestamp() // MINUTE) * MINUTE, UTC)
    rates: dict[int, float | None] = {}

    def burnt(minutes: int) -> float | None:
        if minutes not in rates:
            rates[minutes] = _rate(tx, rule, subject, labels, end, minutes)
        return rates[minutes]

    for pair in PAIRS:
        limit = pair.rate(rule.objective_days)
        long = burnt(pair.long)
        if long is None or long <= limit:
            continue
        short = burnt(pair.short)
        if short is not None and short > limit:
            slow = None if pair.urgent or _LATER.at_least(rule.severity) else _LATER
            return Burn(long, True, end - timedelta(minutes=pair.long), end, slow, _words(rule, pair, long))
    first = PAIRS[0]
    return Burn(burnt(first.long), False, end - timedelta(minutes=first.long), end, None, {})


def _rate(
    tx: Tx, rule: AlertRule, subject: str, labels: Mapping[str, str], end: datetime, minutes: int
) -> float | None:
    start = end - timedelta(minutes=minutes)
    whole = query.window(tx, rule.of, subject, start, end, **rule.of_labels).total
    if whole < rule.min_count or whole <= 0:
        return None
    counted = query.window(tx, rule.metric, subject, start, end, **labels).total / whole
    bad = counted if rule.counts == "bad" else max(0.0, 1 - counted)
    return bad / (1 - (rule.objective or 0.0))


def _words(rule: AlertRule, pair: Pair, rate: float) -> Mapping[str, str]:
    return {
        "objective": f"{(rule.objective or 0.0) * 100:g} %",
        "rate": f"{rate:.1f}",
        "window": f"{pair.long // 60} h" if pair.long < 1440 else f"{pair.long // 1440} days",
        "budget": f"{pair.budget * 100:g} %",
    }
