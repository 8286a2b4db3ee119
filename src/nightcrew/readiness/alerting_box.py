"""Two boxes that settings decide: whether alerts reach a person, and whether each leads to a runbook."""

import fnmatch
from pathlib import Path

from nightcrew.model.settings import Settings
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.monitoring.alerts.defaults import OWN_RULE, rules_of, runbook_of
from nightcrew.monitoring.alerts.routing import addresses, files_tickets, routes_of
from nightcrew.readiness import runbook
from nightcrew.readiness.looks import Look

_SHOWN = 3
_ALWAYS = ("disk:*", "channel:*", "desk:human")


def look_at_alerts(look: Look, settings: Settings, subjects: tuple[str, ...], root: Path | None) -> None:
    """Rules with thresholds for these subjects, and a channel that takes their messages."""
    rules = [rule for rule in rules_of(settings) if any(_about(rule.subject, one) for one in subjects)]
    if rules:
        look.setting(f"{len(rules)} alert rules: {', '.join(rule.name for rule in rules)}")
    else:
        look.gap("every alert rule about it is off", "Switch some on again: [alerts] disabled", SETTINGS_FILE)
    taken: list[str] = []
    untold: list[str] = []
    problems: list[str] = []
    for rule in rules:
        told, silent = False, list[str]()
        for channel in dict.fromkeys(name for route in routes_of(settings, rule.severity, rule) for name in route):
            found = addresses(settings, channel, root=root)
            if files_tickets(settings, channel) or found.urls:
                taken.append(channel)
                told = True
            else:
                silent.append(f"the channel {channel}: {found.problem or 'it has no address'}")
        if not told:
            untold.append(rule.name)
            problems += silent
    if taken:
        look.setting(f"messages go to {', '.join(dict.fromkeys(taken))}")
    if untold:
        what = "an alert fires" if not taken else f"{untold[0]} fires" if len(untold) == 1 else f"{_some(untold)} fire"
        look.gap(
            f"nobody is told when {what} ({'; '.join(dict.fromkeys(problems)) or 'there is no channel'})",
            f"Name an address in the variable {settings.notify.urls_env}, or a [[channel]]; try: nightcrew alerts test",
            SETTINGS_FILE,
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def look_at_runbooks(look: Look, settings: Settings) -> None:
    """A runbook for each failure that nightcrew tells apart, and for each alert that can fire."""
    pages = runbook.codes()
    failures = [code for code in pages if code.startswith("FC-")]
    look.code(f"{len(failures)} classes of failure, each with a runbook: nightcrew runbook")
    rules = rules_of(settings)
    for rule in rules:
        code = runbook_of(rule)
        if code == OWN_RULE:
            look.gap(f"the alert {rule.name} names no runbook", "Write one, and name it: runbook = ...", SETTINGS_FILE)
        elif "://" not in code and "/" not in code and not runbook.exists(code):
            look.gap(f"the runbook {code} of the alert {rule.name} does not exist", "Name one that does", SETTINGS_FILE)
    look.setting(f"{len(rules)} alerts name their runbook" if not look.gaps else f"{len(rules)} alerts")


def _about(pattern: str, subject: str) -> bool:
    return fnmatch.fnmatch(subject, pattern) or pattern in _ALWAYS or subject == pattern
