"""What people read: numbers with their units, messages made from rules, links to the dashboard."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from nightcrew.model.alerting import AlertRule

_SECONDS = ("seconds", "overdue", "waiting", "overrun", "idle", "age")
_SHARES = ("budget.used", "drift")
_AROUND = timedelta(minutes=30)
_NAME = 60
_TEXT = 240
_KEY = 200
_PLAIN = re.compile(r"[\w.:/@#%+*=-]{1,60}")


def named(name: str) -> str:
    """A name that comes from data, such as that of a field: as it is if it is a word, else on one line, cut, quoted."""
    if _PLAIN.fullmatch(name):
        return name
    return f'"{_cut(name, _NAME)}"'


def subject(of: str) -> str:
    """The subject of an alert as people read it: ``pipeline:fraud feature="the field"``."""
    whole, _, part = of.partition(" ")
    label, equals, value = part.partition("=")
    return f"{named(whole)} {named(label)}{equals}{named(value) if value else ''}" if part else named(whole)


def key(of: str) -> str:
    """What tells alerts of one rule apart: the subject itself, of a very long one the beginning and a hash."""
    plain = of if of.isprintable() else "".join(one if one.isprintable() else "?" for one in of)
    if plain == of and len(of) <= _KEY:
        return of
    return f"{plain[: _KEY - 20]}#{hashlib.sha256(of.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


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


def told(rule: AlertRule, about: str, value: float | None, words: Mapping[str, str]) -> str:
    """The sentence of an alert: the rule's own, or one that says what is compared. What is filled in is cut."""
    limit = rule.above if rule.above is not None else rule.below
    said = {
        "subject": subject(about),
        "value": number(rule, value),
        "threshold": number(rule, limit),
        "window": duration(rule.window * 60),
        "before": duration((rule.before or rule.window) * 60),
        **{name: _cut(word, _TEXT) for name, word in words.items()},
    }
    text = re.sub(r"\{([^{}]+)\}", lambda found: said.get(found[1], found[0]), rule.message or _made(rule))
    return "".join(one if one.isprintable() else " " for one in text)


def link(start: datetime, end: datetime, about: str) -> str:
    """The path of the dashboard's timeline of that time, with some of what came before."""
    moments = {"from": start - max(_AROUND, end - start), "to": max(end, start + _AROUND)}
    asked = {name: f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for name, moment in moments.items()}
    return "/timeline?" + urlencode({**asked, "subject": about})


def at(moment: datetime) -> str:
    """A local time as people read it."""
    return f"{moment:%a %Y-%m-%d %H:%M}"


def _cut(text: str, length: int) -> str:
    """On one line, and not longer."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text[: 4 * length]).split())
    return line if len(line) <= length else line[: length - 3] + "..."


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
