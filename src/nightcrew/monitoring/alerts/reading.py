"""What a rule finds now: of each subject a sample, with the value, whether it is too much, and the query behind it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from nightcrew.model.alerting import AlertRule, Statistic
from nightcrew.model.severity import Severity
from nightcrew.monitoring import query
from nightcrew.monitoring.alerts import absence, burn
from nightcrew.monitoring.alerts.probes import Probe, Reading
from nightcrew.monitoring.alerts.words import link, told
from nightcrew.monitoring.query import Window
from nightcrew.store import series
from nightcrew.store.series import MINUTE, Series
from nightcrew.store.store import Tx

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Sample:
    """What one rule finds of one subject. ``value`` None: nothing was measured, which is not too much."""

    rule: AlertRule
    subject: str
    value: float | None
    breached: bool
    over: bool
    severity: Severity
    message: str
    query: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Target:
    """One of the things that a rule looks at: ``subject`` and ``labels`` of the series, ``key`` of the alert."""

    subject: str
    labels: Mapping[str, str]
    key: str
    value_of_by: str = ""


def samples(tx: Tx, rule: AlertRule, now: datetime, zone: str, probes: Mapping[str, Probe]) -> Iterator[Sample]:
    """Of each subject that the rule is about and that is known."""
    if rule.metric in probes:
        yield from _probed(tx, rule, now, probes[rule.metric])
        return
    for target in _targets(tx, rule):
        if rule.expected_by or rule.absent is not None:
            found = absence.look(tx, rule, target.subject, target.labels, now, rule.timezone or zone)
            if found is not None:
                yield _sample(
                    rule, target, found.value, found.missing, not found.missing, found.start, now, found.words
                )
        elif rule.objective is not None:
            burnt = burn.look(tx, rule, target.subject, target.labels, now)
            yield _sample(
                rule, target, burnt.rate, burnt.too_fast, not burnt.too_fast, burnt.start, burnt.end, burnt.words,
                severity=burnt.severity,
            )  # fmt: skip
        else:
            value, start, end = _measured(tx, rule, target, now)
            yield _compared(rule, target, value, start, end)


def ending(now: datetime, minutes: float) -> tuple[datetime, datetime]:
    """The window of so many minutes that ends now, in whole minutes: the one that has begun belongs to it."""
    end = datetime.fromtimestamp(-(-now.timestamp() // MINUTE) * MINUTE, UTC)
    return end - timedelta(minutes=minutes), end


def statistic(window: Window, name: Statistic) -> float | None:
    """One number of a window, None if nothing was measured in it."""
    if not window.count:
        return None
    if name in _QUANTILES:
        return window.quantile(_QUANTILES[name])
    values: dict[str, float | None] = {
        "mean": window.mean, "max": window.high, "min": window.low, "count": float(window.count),
        "sum": window.total, "rate": window.rate, "last": window.last,
    }  # fmt: skip
    return values[name]


def _probed(tx: Tx, rule: AlertRule, now: datetime, probe: Probe) -> Iterator[Sample]:
    worst: dict[str, Reading] = {}
    for reading in probe(tx):
        if _fits(reading.subject, rule.subject):
            key = f"{reading.subject} {reading.part}".strip()
            known = worst.get(key, reading)
            is_worse = reading.value < known.value if rule.below is not None else reading.value > known.value
            worst[key] = reading if is_worse else known
    for key, reading in worst.items():
        target = _Target(reading.subject, {}, key)
        yield _compared(rule, target, reading.value, reading.since or now, now, {"detail": reading.detail})


def _targets(tx: Tx, rule: AlertRule) -> Iterator[_Target]:
    if not rule.by and not rule.subject.endswith("*"):
        yield _Target(rule.subject, rule.labels, rule.subject)
        return
    seen = set()
    # A part may not have been measured yet where there is a whole: then it is none of it.
    of_whole = bool(rule.of) and not rule.by
    metric, wanted = (rule.of, rule.of_labels) if of_whole else (rule.metric, rule.labels)
    for one in query.catalogue(tx, name=metric, subject=rule.subject):
        labels = dict(one.labels)
        if any(labels.get(name) != value for name, value in wanted.items()):
            continue
        chosen = labels.get(rule.by, "") if rule.by else ""
        if rule.by and not chosen:
            continue
        target = (one.subject, chosen)
        if target not in seen:
            seen.add(target)
            yield _target(rule, one, chosen)


def _target(rule: AlertRule, one: Series, chosen: str) -> _Target:
    if not rule.by:
        return _Target(one.subject, rule.labels, one.subject)
    return _Target(one.subject, {**rule.labels, rule.by: chosen}, f"{one.subject} {rule.by}={chosen}", chosen)


def _measured(tx: Tx, rule: AlertRule, target: _Target, now: datetime) -> tuple[float | None, datetime, datetime]:
    start, end = ending(now, rule.window)
    if rule.statistic == "age":
        numbers = absence.numbers_of(tx, rule.metric, target.subject, target.labels)
        seen = series.latest(tx, numbers)
        return (None if seen is None else max(0.0, now.timestamp() - seen)), start, end
    window = query.window(tx, rule.metric, target.subject, start, end, **target.labels)
    if rule.statistic == "share":
        whole = query.window(tx, rule.of, target.subject, start, end, **rule.of_labels).total
        return (window.total / whole if whole and whole >= rule.min_count else None), start, end
    if not window.count and rule.min_count == 1 and rule.statistic in ("sum", "count", "rate"):
        known = absence.numbers_of(tx, rule.metric, target.subject, target.labels)
        return (0.0 if known else None), start, end
    if window.count < rule.min_count:
        return None, start, end
    if rule.statistic != "change":
        return statistic(window, rule.statistic), start, end
    began = start - timedelta(minutes=rule.before or rule.window)
    earlier = query.window(tx, rule.metric, target.subject, began, start, **target.labels)
    before, after = statistic(earlier, rule.change_of), statistic(window, rule.change_of)
    if rule.change_of in ("sum", "count") and before is not None:
        before *= window.seconds / earlier.seconds
    if before is None or after is None or before <= 0 or earlier.count < rule.min_count:
        return None, start, end
    return 100 * (after / before - 1), start, end


def _compared(
    rule: AlertRule,
    target: _Target,
    value: float | None,
    start: datetime,
    end: datetime,
    words: Mapping[str, str] = MappingProxyType({}),
) -> Sample:
    limit = rule.above if rule.above is not None else rule.below
    assert limit is not None  # noqa: S101 - other rules are looked at elsewhere
    clear = limit if rule.clear is None else rule.clear
    if value is None:
        breached, over = False, True
    elif rule.above is not None:
        breached, over = value > limit, value <= clear
    else:
        breached, over = value < limit, value >= clear
    return _sample(rule, target, value, breached, over, start, end, words)


def _sample(
    rule: AlertRule,
    target: _Target,
    value: float | None,
    breached: bool,
    over: bool,
    start: datetime,
    end: datetime,
    words: Mapping[str, str],
    severity: Severity | None = None,
) -> Sample:
    asked = {
        "metric": rule.metric, "subject": target.subject, "labels": dict(target.labels), "statistic": rule.statistic,
        "start": start.isoformat(), "end": end.isoformat(), "value": value,
        "threshold": rule.above if rule.above is not None else rule.below, "path": link(start, end, target.subject),
    }  # fmt: skip
    if rule.of:
        asked |= {"of": rule.of, "of_labels": dict(rule.of_labels)}
    if rule.statistic == "change":
        asked |= {"change_of": rule.change_of, "before": rule.before or rule.window}
    by = {rule.by: target.value_of_by} if rule.by else {}
    message = told(rule, target.subject, value, {**words, **by})
    return Sample(rule, target.key, value, breached, over, severity or rule.severity, message, asked)


def broken(rule: AlertRule, subject: str, problem: str, now: datetime) -> Sample:
    """That a rule could not be looked at, told as an alert of ``rule``."""
    return _sample(rule, _Target(subject, {}, subject), 1.0, True, False, now, now, {"problem": problem})


def _fits(subject: str, wanted: str) -> bool:
    return subject.startswith(wanted[:-1]) if wanted.endswith("*") else subject == wanted
