"""What is said at the forge: Markdown in which nothing that an agent or an issue wrote can act.

Text of others stands in fences that it cannot end: no mention notifies anybody, no "closes #1" closes anything, no
picture is loaded. Secrets are masked. Evidence of findings stays at home: a pull request may be public.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from nightcrew.crew.forge.checks import Annotation
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Handoff, HandoffKind
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import State, Ticket
from nightcrew.monitoring.redaction import Redaction

LONGEST = 60_000
"""Characters of a body; GitHub takes 65,536."""

_SECTION = 6_000
_FENCE = re.compile(r"`{3,}")
_NAMES = re.compile(r"(?<=[#@])(?=\w)|(?<=\bGH-)(?=\d)|(?<=/issues/)(?=\d)|(?<=/pull/)(?=\d)", re.IGNORECASE)
_STATES = {
    State.OPEN: "waits to be worked",
    State.BUILDING: "is being worked",
    State.IN_QA: "waits for QA",
    State.IN_SECURITY: "waits for the security check",
    State.READY: "passed QA and security and waits to be merged",
    State.DONE: "is done: it passed QA and security",
    State.IN_REVIEW: "waits for a person's decision",
    State.REJECTED: "was turned down by a person",
    State.QUARANTINED: "could not be worked; a person has to look",
}
_LEVELS = {Severity.INFO: "notice", Severity.LOW: "notice", Severity.MEDIUM: "warning"}


def state_in_words(state: State) -> str:
    """What a ticket in this state does, as the rest of a sentence that begins with its id."""
    return _STATES[state]


def title_of(ticket: Ticket) -> str:
    """The title of its pull request."""
    return f"{inert(_masked(ticket.title)[:200])} ({ticket.id})"


def inert(line: str) -> str:
    """A line of others where no fence can be: a title, and the first line of a commit, which closes issues too.

    A space of no width within each mention and each name of an issue: nobody is called and nothing is closed.
    """
    return _NAMES.sub("\u200b", line)


def mark_of(repository: str, ticket: str) -> str:
    """An HTML comment by which a comment of ours is found again; ``repository`` is the ledger's id."""
    return f"<!-- nightcrew {repository[:16]} {ticket} -->"


def body_of(ticket: Ticket, written: Sequence[Handoff], *, closes: Iterable[int], into: str) -> str:
    """The body of a ticket's pull request: where it stands, its checks, and its handoffs, the latest complete."""
    lines = [f"**{ticket.id}** {state_in_words(ticket.state)}.", ""]
    lines += [f"Closes #{number}" for number in closes]
    if ticket.state is State.DONE:
        lines.append(f"Its commit is in the branch `{into}` of the machine that nightcrew runs on.")
    if ticket.state is State.IN_REVIEW:
        lines.append("Nightcrew goes on with it when an enrolled reviewer has decided, here or in its inbox.")
    checks = _table(written)
    head = "\n".join([*lines, "", *checks, "", "## Handoffs", ""])
    parts: list[str] = []
    left = LONGEST - len(head) - 200
    for number, handoff in enumerate(reversed(written)):
        part = _handoff(handoff)
        if len(part) > left:
            parts.append(
                f"*{len(written) - number} earlier handoffs are left out here; see `nightcrew handoff list`.*\n"
            )
            break
        left -= len(part)
        parts.append(part)
    return (
        head + "\n".join(reversed(parts)) + "\n\n*Written by nightcrew. What stands in boxes was written by agents.*\n"
    )


def _table(written: Sequence[Handoff]) -> list[str]:
    """The checks of the last verdict of each desk."""
    latest = {handoff.sender: handoff for handoff in written if handoff.kind is HandoffKind.VERDICT}
    if not latest:
        return []
    rows = ["| desk | check | result | |", "|---|---|---|---|"]
    for desk, handoff in latest.items():
        rows.append(f"| {_cell(desk)} | **verdict** | **{_word(handoff.verdict or 'not_checked')}** | {handoff.id} |")
        rows += [
            f"| {_cell(desk)} | {_cell(check.name)} | {_word(check.status)} | {_cell(check.detail)} |"
            for check in handoff.checks[:40]
        ]
    return rows


def _handoff(handoff: Handoff) -> str:
    """One handoff, folded; the summary says which."""
    verdict = f", {_word(handoff.verdict)}" if handoff.verdict else ""
    way = f"{_name(handoff.sender)} to {_name(handoff.to)}"
    parts = [f"<details><summary>{handoff.id}: {way}, {handoff.kind}{verdict}</summary>", ""]
    for heading, text in (
        ("What was done", handoff.done),
        ("Open questions", handoff.questions),
        ("Next", handoff.next),
    ):
        if text.strip():
            parts += [f"**{heading}**", "", boxed(text), ""]
    if handoff.findings:
        parts += ["**Findings**", "", boxed("\n".join(map(_finding, handoff.findings[:50]))), ""]
    return "\n".join([*parts, "</details>", ""])


def boxed(text: str, limit: int = _SECTION) -> str:
    """Text of others in a fence longer than any in it, masked and cut."""
    inner = _masked(text).strip()
    if len(inner) > limit:
        inner = f"{inner[:limit]}\n[... cut: {len(inner):,} characters]"
    longest = max((len(found) for found in _FENCE.findall(inner)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{inner}\n{fence}"


def summary_of(handoff: Handoff) -> tuple[str, str]:
    """Title and summary of a verdict's check."""
    failed = [check.name for check in handoff.checks if check.status == "failed"]
    open_ = [check.name for check in handoff.checks if check.status == "not_checked"]
    said = [f"failed: {', '.join(failed)}"] if failed else []
    said += [f"not checked: {', '.join(open_)}"] if open_ else []
    if handoff.findings:
        said.append(f"{len(handoff.findings)} finding{'s' if len(handoff.findings) > 1 else ''}")
    title = "; ".join(said) or f"{len(handoff.checks)} checks passed"
    rows = [
        f"| {_cell(check.name)} | {_word(check.status)} | {_cell(check.detail)} |" for check in handoff.checks[:100]
    ]
    table = "\n".join(["| check | result | |", "|---|---|---|", *rows])
    return _masked(title)[:250], f"{table}\n\n{boxed(handoff.done)}\n"[:LONGEST]


def annotations_of(findings: Iterable[Finding]) -> list[Annotation]:
    """The findings that are at a line of a file, as annotations; without their evidence."""
    return [
        Annotation.read(
            {
                "path": finding.path,
                "line": finding.line,
                "level": _LEVELS.get(finding.severity, "failure"),
                "title": f"{finding.severity} {finding.tool} {finding.rule}"[:255],
                "message": _masked(finding.message)[:2000],
            },
            source=f"finding {finding.fingerprint}",
        )
        for finding in findings
        if finding.path and finding.line
    ]


def _finding(finding: Finding) -> str:
    place = f"{finding.path}:{finding.line}" if finding.path and finding.line else finding.path or "no place"
    return f"{finding.severity} {finding.tool} {finding.rule} at {place}: {' '.join(finding.message.split())[:300]}"


def _name(desk: str) -> str:
    """The name of a desk within HTML."""
    return re.sub(r"[^A-Za-z0-9 _-]", "", desk)


def _word(status: str) -> str:
    return str(status).replace("_", " ")


def _cell(text: str) -> str:
    """One line of text of others within a table, as code: there Markdown takes nothing for more than it is."""
    line = " ".join(_masked(text).replace("`", "'").split())[:300]
    return f"`{line.replace('|', chr(92) + '|')}`" if line else ""


@cache
def _redaction() -> Redaction:
    return Redaction()


def _masked(text: str) -> str:
    return _redaction().text(text)
