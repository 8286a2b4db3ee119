"""Telling people at once what cannot wait for the morning report; what was told stands in the ledger."""

import os
from collections.abc import Sequence

from nightcrew.crew.project import Project
from nightcrew.store import ledger

SUBJECT = "alert"
"""What the ledger calls alerts."""


def alert(project: Project, title: str, lines: Sequence[str]) -> list[str]:
    """Send one message to the addresses in the environment variable that ``[notify] urls_env`` names.

    Gives the problems, one line each, and never raises for a service that fails. Without addresses nothing is sent;
    the ledger has the alert in any case.
    """
    urls = os.environ.get(project.settings.notify.urls_env, "").split()
    problems: list[str] = []
    if urls:
        from nightcrew.monitoring.notify import notify

        problems = notify(urls, title, "\n".join(lines))
    data = {"title": title, "lines": [*lines], "sent_to": len(urls) - len(problems), "problems": problems}
    with project.store.begin() as tx:
        ledger.append(tx, actor="nightcrew", action="alert.send", subject=SUBJECT, data=data)
    return problems
