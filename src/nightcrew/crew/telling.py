"""The morning report as a message: by mail, Slack and whatever else apprise knows, short enough for a phone."""

import re
from collections.abc import Iterable, Iterator, Sequence

from nightcrew.checks.text import plain_text
from nightcrew.crew.project import Project
from nightcrew.crew.report import Report
from nightcrew.model.alerting import DEFAULT_CHANNEL
from nightcrew.monitoring.alerts.delivery import Delivered, deliver
from nightcrew.monitoring.alerts.routing import addresses, files_tickets
from nightcrew.monitoring.redaction import Redaction
from nightcrew.store import alert_messages, ledger
from nightcrew.store.store import Tx

MOST_LINES = 6
"""Of one part of the report; of what is left out, the number is told."""

_LONGEST = 110
_WITHIN_SECONDS = 20.0
_CALLS = re.compile(r"(?<!\w)@(?=\w)|<(?=\S)|\](?=\()")
"""What chats make more of than text: a title of others must not call a channel, nor hide where a link leads."""


def needs_you(report: Report) -> bool:
    """Whether the report has something for a person to do."""
    unwell = any("Runbook:" in line for line in report.health)
    return bool(report.inbox or report.quarantined or unwell or report.outcome in ("failed", "out_of_budget"))


def tell(project: Project, tx: Tx, report: Report, *, asked: bool = False) -> int:
    """Put the report in the outbox, once for each channel that it goes to; gives how many.

    It goes there in the transaction that ends the shift, so that a crash neither loses nor doubles it. Nothing happens
    if ``[notify] report`` says so, unless a person ``asked``, or if there is no address. A report waits for no quiet
    hours: it comes when the shift ends.
    """
    when = project.settings.notify.report
    if not asked and (when == "never" or (when == "needs_you" and not needs_you(report))):
        return 0
    channels = [name for name in _channels(project) if _leads_anywhere(project, name)]
    mask = Redaction()
    title, body = mask.text(title_of(project, report)), mask.text(body_of(project, report))
    for channel in channels:
        alert_messages.add(tx, alerts=(), event="report", title=title, body=body, route=[channel])
    if channels:
        data = {"channels": channels, "title": title}
        ledger.append(tx, actor="nightcrew", action="report.send", subject=f"shift:{report.shift}", data=data)
    return len(channels)


def send(project: Project, report: Report) -> tuple[int, Delivered]:
    """Send a report now, whatever the settings say of when; gives to how many channels, and what became of it."""
    with project.store.begin() as tx:
        count = tell(project, tx, report, asked=True)
    return count, deliver(project.store, project.settings, root=project.root, within=_WITHIN_SECONDS)


def title_of(project: Project, report: Report) -> str:
    """One line: what waits comes first, for a lock screen shows no more."""
    counts = [
        _count(len(report.inbox), "waits for you", "wait for you"),
        _count(len(report.quarantined), "in quarantine", "in quarantine"),
        _count(len(report.merged), "merged", "merged"),
        _count(len(report.deferred), "not finished", "not finished"),
    ]
    said = ", ".join(part for part in counts if part) or "nothing to do"
    ended = "" if report.outcome == "quiet" else f"{_words(report.outcome)}: "
    return f"[{project.root.name}] {ended}{said}"


def body_of(project: Project, report: Report) -> str:
    """The rest in short lines of plain text, without tables: what waits, what is done, what is not."""
    to = f"-{report.ended:%H:%M}" if report.ended else ", still running"
    parts = [
        [f"Shift {report.shift}, {report.started:%Y-%m-%d %H:%M}{to} UTC"],
        _part("Waits for you", (f"{w.id} {w.severity}: {w.ticket} {w.title}. {w.reason}" for w in report.inbox)),
        _part("In quarantine", (f"{n.ticket} {n.reason}" for n in report.quarantined)),
        _part("Merged", (f"{m.ticket} {m.title}" for m in report.merged)),
        _part("Not finished", (f"{n.ticket} {n.reason}" for n in report.deferred)),
        _part("Not checked", dict.fromkeys(f"{u.check}: {u.reason}" for u in report.not_checked)),
        _part("Agents", (line for line in report.health if "Runbook:" in line)),
        _part("Notes", report.notes),
        [_cost(report)],
        [_where(project)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _channels(project: Project) -> Sequence[str]:
    return project.settings.notify.report_to or (DEFAULT_CHANNEL,)


def _leads_anywhere(project: Project, channel: str) -> bool:
    if files_tickets(project.settings, channel):
        return False  # A report is no work to do.
    found = addresses(project.settings, channel, root=project.root)
    return bool(found.urls) or found.problem is not None


def _part(title: str, lines: Iterable[str]) -> list[str]:
    listed = [*lines]
    shown = [_short(line) for line in listed[:MOST_LINES]]
    more = [f"and {len(listed) - MOST_LINES} more"] if len(listed) > MOST_LINES else []
    return [f"{title}:", *shown, *more] if listed else []


def _short(line: str) -> str:
    text = _CALLS.sub("\\g<0>\u200b", " ".join(plain_text(line).split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}" if number else ""


def _cost(report: Report) -> str:
    turns = sum(line.turns for line in report.sessions)
    tokens, dollars = sum(line.tokens for line in report.sessions), sum(line.dollars for line in report.sessions)
    return ", ".join(_costs(len(report.sessions), turns, tokens, dollars))


def _costs(sessions: int, turns: int, tokens: int, dollars: float) -> Iterator[str]:
    yield f"{sessions} {'session' if sessions == 1 else 'sessions'}"
    yield f"{turns} {'turn' if turns == 1 else 'turns'}"
    if tokens:
        yield f"{tokens:,} tokens"
    if dollars:
        yield f"${dollars:.2f}"


def _where(project: Project) -> str:
    url = project.settings.alerts.url
    return f"{url}/inbox" if url else "nightcrew report, nightcrew inbox"


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")
