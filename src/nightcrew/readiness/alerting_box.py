"""Two boxes that settings decide: whether alerts reach a person, and whether each leads to a runbook."""

import fnmatch
from pathlib import Path

from nightcrew.model.settings import Settings
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.monitoring.alerts.defaults import OWN_RULE, rules_of, runbook_of
from nightcrew.monitoring.alerts.routing import addresses, files_tickets, routes_of
from nightcrew.readiness import runbook
from nightcrew.readiness.looks import Look

_ALWAYS = ("disk:*", "channel:*", "desk:human")


def look_at_alerts(look: Look, settings: Settings, subjects: tuple[str, ...], root: Path | None) -> None:
    """Rules with thresholds for these subjects, and a channel that takes their messages."""
    rules = [rule for rule in rules_of(settings) if any(_about(rule.subject, one) for one in subjects)]
    if rules:
        look.setting(f"{len(rules)} alert rules: {', '.join(rule.name for rule in rules)}")
    else:
        look.gap("every alert rule about it is off", "Switch some on again: [alerts] disabled", SETTINGS_FILE)
    taken: list[str] = []
    problems: list[str] = []
    for rule in rules:
        for route in routes_of(settings, rule.severity, rule):
            for channel in route:
                found = addresses(settings, channel, root=root)
                if files_tickets(settings, channel) or found.urls:
                    taken.append(channel)
                else:
                    problems.append(f"{channel}: {found.problem}" if found.problem else f"{channel} has no address")
    if taken:
        look.setting(f"messages go to {', '.join(dict.fromkeys(taken))}")
    elif rules:
        look.gap(
            f"nobody is told when one fires ({'; '.join(dict.fromkeys(problems)) or 'there is no channel'})",
            f"Name an address in the variable {settings.notify.urls_env}, or a [[channel]]; try: nightcrew alerts test",
            SETTINGS_FILE,
        )


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
