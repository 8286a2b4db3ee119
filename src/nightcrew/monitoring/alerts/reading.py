"""What a rule finds now: of each subject a sample, with the value, whether it is too much, and the query behind it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from nightcrew.model.alerting import AlertRule, Statistic
from nightcrew.model.errors import IntegrityError
from nightcrew.model.settings import Settings
from nightcrew.model.severity import Severity
from nightcrew.monitoring import query
from nightcrew.monitoring.alerts import absence, burn
from nightcrew.monitoring.alerts.probes import Probe, Reading
from nightcrew.monitoring.alerts.words import key, link, named, told
from nightcrew.monitoring.query import Window
from nightcrew.store import series
from nightcrew.store.series import MINUTE, Series
from nightcrew.store.store import Tx

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_GROWING: frozenset[Statistic] = frozenset({"sum", "count", "rate"})
"""What grows while a minute goes on: of one that has only begun there is too little."""

_SETTLE = timedelta(seconds=5)
"""A minute is complete when it ended this long ago: writers write once a second."""


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


class _Measured(NamedTuple):
    """A value and its window; ``enough``: whether it is of a size that matters (``at_least``)."""

    value: float | None
    start: datetime
    end: datetime
    enough: bool = True


@dataclass(frozen=True)
class _Target:
    """One of the things that a rule looks at: ``subject`` and ``labels`` of the series, ``key`` of the alert."""

    subject: str
    labels: Mapping[str, str]
    key: str
    value_of_by: str = ""


def samples(
    tx: Tx, rule: AlertRule, now: datetime, settings: Settings, probes: Mapping[str, Probe]
) -> Iterator[Sample]:
    """Of each subject that the rule is about and that is known."""
    if rule.metric in probes:
        yield from _probed(rule, now, probes[rule.metric](tx, settings))
        return
    zone = settings.alerts.timezone
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
            yield _compared(rule, target, _measured(tx, rule, target, now))


def ending(now: datetime, minutes: float) -> tuple[datetime, datetime]:
    """The window of so many minutes that ends now, in whole minutes: the one that has begun belongs to it."""
    end = datetime.fromtimestamp(-(-now.timestamp() // MINUTE) * MINUTE, UTC)
    return end - timedelta(minutes=minutes), end


def whole_minutes(now: datetime, minutes: float) -> tuple[datetime, datetime]:
    """The window of so many minutes that ends with the last minute that is complete."""
    end = datetime.fromtimestamp((now - _SETTLE).timestamp() // MINUTE * MINUTE, UTC)
    return end - timedelta(minutes=minutes), end


def statistic(window: Window, name: Statistic) -> float | None:
    """One number of a window, None if nothing was measured in it. Raises IntegrityError if nothing of it is legible."""
    if not window.count:
        return None
    if name in _QUANTILES:
        if window.numbers is None and window.damaged:
            raise IntegrityError(f"what was measured from {window.start:%Y-%m-%d %H:%M} UTC on is damaged")
        return window.quantile(_QUANTILES[name])
    values: dict[str, float | None] = {
        "mean": window.mean, "max": window.high, "min": window.low, "count": float(window.count),
        "sum": window.total, "rate": window.rate, "last": window.last,
    }  # fmt: skip
    return values[name]


def _probed(rule: AlertRule, now: datetime, readings: Iterable[Reading]) -> Iterator[Sample]:
    worst: dict[str, Reading] = {}
    for reading in readings:
        if _fits(reading.subject, rule.subject):
            name = key(f"{reading.subject} {reading.part}".strip())
            known = worst.get(name, reading)
            is_worse = reading.value < known.value if rule.below is not None else reading.value > known.value
            worst[name] = reading if is_worse else known
    for name, reading in worst.items():
        found = _Measured(reading.value, reading.since or now, now)
        yield _compared(rule, _Target(reading.subject, {}, name), found, {"detail": reading.detail})


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
        return _Target(one.subject, rule.labels, key(one.subject))
    return _Target(one.subject, {**rule.labels, rule.by: chosen}, key(f"{one.subject} {rule.by}={chosen}"), chosen)


def _measured(tx: Tx, rule: AlertRule, target: _Target, now: datetime) -> _Measured:
    grows = rule.statistic in _GROWING or (rule.statistic == "change" and rule.change_of in _GROWING)
    # Too little is only found of what is complete; too much as soon as it is there.
    complete = grows and rule.below is not None
    start, end = (whole_minutes if complete else ending)(now, rule.window)
    if rule.statistic == "age":
        numbers = absence.numbers_of(tx, rule.metric, target.subject, target.labels)
        seen = series.latest(tx, numbers)
        return _Measured(None if seen is None else max(0.0, now.timestamp() - seen), start, end)
    window = query.window(tx, rule.metric, target.subject, start, end, **target.labels)
    if rule.statistic == "share":
        whole = query.window(tx, rule.of, target.subject, start, end, **rule.of_labels).total
        share = window.total / whole if whole and whole >= rule.min_count else None
        return _Measured(share, start, end, window.total >= (rule.at_least or 0.0))
    if rule.statistic in _GROWING and rule.min_count == 1 and (complete or not window.count):
        numbers = absence.numbers_of(tx, rule.metric, target.subject, target.labels)
        first = series.earliest(tx, numbers)
        if first is None or (complete and first >= start.timestamp()):
            return _Measured(None, start, end)  # It began within the window: there is not yet a window of it.
        if not window.count:
            return _Measured(0.0, start, end)
    if window.count < rule.min_count:
        return _Measured(None, start, end)
    if rule.statistic != "change":
        return _Measured(statistic(window, rule.statistic), start, end)
    return _changed(tx, rule, target, window, start, end)


def _changed(tx: Tx, rule: AlertRule, target: _Target, window: Window, start: datetime, end: datetime) -> _Measured:
    began = start - timedelta(minutes=rule.before or rule.window)
    earlier = query.window(tx, rule.metric, target.subject, began, start, **target.labels)
    before, after = statistic(earlier, rule.change_of), statistic(window, rule.change_of)
    if rule.change_of in ("sum", "count") and before is not None:
        before *= window.seconds / earlier.seconds
    if before is None or after is None or before <= 0 or earlier.count < rule.min_count:
        return _Measured(None, start, end)
    return _Measured(100 * (after / before - 1), start, end, max(after, before) >= (rule.at_least or 0.0))


def _compared(
    rule: AlertRule, target: _Target, found: _Measured, words: Mapping[str, str] = MappingProxyType({})
) -> Sample:
    value = found.value
    limit = rule.above if rule.above is not None else rule.below
    assert limit is not None  # noqa: S101 - other rules are looked at elsewhere
    clear = limit if rule.clear is None else rule.clear
    if value is None or not found.enough:
        breached, over = False, True
    elif rule.above is not None:
        breached, over = value > limit, value <= clear
    else:
        breached, over = value < limit, value >= clear
    return _sample(rule, target, value, breached, over, found.start, found.end, words)


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
    by = {rule.by: named(target.value_of_by)} if rule.by else {}
    message = told(rule, target.subject, value, {**words, **by})
    return Sample(rule, target.key, value, breached, over, severity or rule.severity, message, asked)


def broken(rule: AlertRule, subject: str, problem: str, now: datetime) -> Sample:
    """That a rule could not be looked at, told as an alert of ``rule``."""
    return _sample(rule, _Target(subject, {}, subject), 1.0, True, False, now, now, {"problem": problem})


def _fits(subject: str, wanted: str) -> bool:
    return subject.startswith(wanted[:-1]) if wanted.endswith("*") else subject == wanted
