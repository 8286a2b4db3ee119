"""What people read: numbers with their units, messages made from rules, links to the dashboard."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from nightcrew.model.alerting import AlertRule

_SECONDS = ("seconds", "overdue", "waiting", "overrun", "idle", "age")
_SHARES = ("budget.used", "drift")
_AROUND = timedelta(minutes=30)


def duration(seconds: float) -> str:
    """Seconds as people say them: ``250 ms``, ``1.5 s``, ``12 min``, ``26 h``, ``3 days``."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 72 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def number(rule: AlertRule, value: float | None) -> str:
    """A value of the rule with its unit."""
    if value is None:
        return "nothing"
    if rule.absent is not None or rule.expected_by or rule.statistic == "age":
        return duration(value)
    if rule.statistic == "share" or rule.metric in _SHARES:
        return f"{value * 100:.3g} %"
    if rule.statistic == "change":
        return f"{value:.0f} %"
    if rule.metric.endswith(_SECONDS) and rule.statistic not in ("count", "rate"):
        return duration(value)
    return f"{value:.4g}"


def told(rule: AlertRule, subject: str, value: float | None, words: Mapping[str, str]) -> str:
    """The sentence of an alert: the rule's own, or one that says what is compared."""
    limit = rule.above if rule.above is not None else rule.below
    said = {
        "subject": subject,
        "value": number(rule, value),
        "threshold": number(rule, limit),
        "window": duration(rule.window * 60),
        "before": duration((rule.before or rule.window) * 60),
        **words,
    }
    text = rule.message or _made(rule)
    for name, word in said.items():
        text = text.replace(f"{{{name}}}", word)
    return "".join(one if one.isprintable() else " " for one in text)


def link(start: datetime, end: datetime, subject: str) -> str:
    """The path of the dashboard's timeline of that time, with some of what came before."""
    moments = {"from": start - max(_AROUND, end - start), "to": max(end, start + _AROUND)}
    asked = {name: f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for name, moment in moments.items()}
    return "/timeline?" + urlencode({**asked, "subject": subject})


def at(moment: datetime) -> str:
    """A local time as people read it."""
    return f"{moment:%a %Y-%m-%d %H:%M}"


def _made(rule: AlertRule) -> str:
    if rule.expected_by:
        return f"no {rule.metric} of {{subject}} since {{since}}; expected by {{deadline}}"
    if rule.absent is not None:
        return f"no {rule.metric} of {{subject}} for {{value}}"
    if rule.objective is not None:
        return "{subject} burns the budget of its objective ({objective}) {rate} times as fast as it may, over {window}"
    side = "above" if rule.above is not None else "below"
    what = f"{rule.statistic} of {rule.metric}" if rule.statistic != "last" else rule.metric
    if rule.statistic == "share":
        what = f"{rule.metric} as a part of {rule.of}"
    if rule.statistic == "change":
        what = f"the change of {rule.change_of} of {rule.metric}"
    return f"{what} of {{subject}} is {{value}}, {side} {{threshold}}"
