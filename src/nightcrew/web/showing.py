"""One review, put together for its page and for the API."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from nightcrew.crew import inbox, reviewers
from nightcrew.crew.deciding import MAX_GROUP
from nightcrew.crew.hiding import HIDDEN, hide_lines
from nightcrew.crew.inbox import ReviewView
from nightcrew.crew.project import Project
from nightcrew.crew.workspace import diff_text, read_file
from nightcrew.model.canonical import digest
from nightcrew.model.errors import NightcrewError
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import Check, Handoff
from nightcrew.model.review import WAITING, Decision
from nightcrew.model.statement import SignerKind
from nightcrew.web import code, diff
from nightcrew.web.documents import DecisionOut, EarlierOut, HandoffOut, ReviewOut, ReviewRow
from nightcrew.web.listing import row, rows_of
from nightcrew.web.passkeys import origin_of

_MAX_FILE = 2_000_000
MAX_EXCERPTS = 200
"""Findings of one review that are shown with their code."""


@dataclass(frozen=True)
class Shown:
    """A finding, with the code that it is about if that can be shown."""

    finding: Finding
    lines: Sequence[code.CodeLine]
    why_not: str = ""


@dataclass(frozen=True)
class Person:
    """A reviewer who could decide here: ``passkey`` if one was registered on this page, ``may`` by the playbook."""

    name: str
    may: bool
    passkey: bool
    other_kinds: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """What the review's page shows."""

    view: ReviewView
    row: ReviewRow
    stamp: str
    diff: diff.Diff
    findings: Sequence[Shown]
    notes: dict[tuple[str, int], list[Finding]]
    checks: Sequence[tuple[Handoff, Check]]
    why: Sequence[str]
    people: Sequence[Person]
    group: Sequence[ReviewRow]

    @property
    def waits(self) -> bool:
        """Whether it can be decided now."""
        return self.view.review.state in WAITING and self.view.digest is not None


def page(project: Project, review_id: str, origin: str) -> Page:
    """Everything that the page of a review shows; raises NotFoundError."""
    view = inbox.view(project, review_id)
    patch = _whole_diff(project, view)
    return Page(
        view=view,
        row=row(project, view.review, view.ticket),
        stamp=stamp(view),
        diff=diff.parse(patch),
        findings=_all_shown(project, view),
        notes=_notes(view.findings),
        checks=[(handoff, check) for handoff in reversed(view.handoffs) for check in handoff.checks],
        why=list(_why(project, view)),
        people=people(project, view, origin),
        group=rows_of(project, view.group[: MAX_GROUP - 1]),
    )


def document(project: Project, review_id: str) -> ReviewOut:
    """As the API gives it; raises NotFoundError."""
    view = inbox.view(project, review_id)
    return ReviewOut(
        review=row(project, view.review, view.ticket),
        digest=view.digest,
        problem=view.problem,
        stamp=stamp(view),
        subjects=[dict(subject) for subject in view.review.subjects],
        ticket=view.ticket.plain(),
        findings=view.findings,
        handoffs=[
            HandoffOut(document=one.plain(), done=one.done, questions=one.questions, next=one.next)
            for one in view.handoffs
        ],
        diff=view.diff,
        effects=view.effects,
        approvals_needed=view.needs.approvals,
        may=list(view.needs.may),
        decisions=[
            DecisionOut(decision=one.decision, reviewer=one.reviewer, at=one.at, comment=one.comment)
            for one in view.decisions
        ],
        earlier=[
            EarlierOut(
                review=one.review,
                ticket=one.ticket,
                decision=one.decision,
                reviewer=one.reviewer,
                at=one.at,
                comment=one.comment,
                rule=one.rule,
                same_finding=one.fingerprint is not None,
            )
            for one in view.earlier
        ],
        group=view.group,
    )


def stamp(view: ReviewView) -> str:
    """Stands for everything on the page that can change: a page with another one is out of date."""
    return digest(
        [
            view.digest,
            view.problem,
            view.review.plain(),
            view.ticket.plain(),
            [one.nonce for one in view.decisions],
            [one.id for one in view.handoffs],
            view.needs.plain(),
            view.group,
        ]
    )[:32]


def people(project: Project, view: ReviewView | None, origin: str) -> list[Person]:
    """Who is enrolled and can sign, those with a passkey of this page first."""
    keys: dict[str, list[tuple[SignerKind, str | None]]] = {}
    for one in reviewers.list_reviewers(project):
        if one.active:
            keys.setdefault(one.name, []).append((one.kind, origin_of(one)))
    decisions = view.decisions if view is not None else []
    approved = {one.reviewer for one in decisions if one.decision is Decision.APPROVE}
    found = [
        Person(
            name,
            may=view is None or (view.needs.allows(name) and name not in approved),
            passkey=any(place == origin for _, place in held),
            other_kinds=tuple(sorted({str(kind) for kind, _ in held if kind is not SignerKind.PASSKEY})),
        )
        for name, held in keys.items()
    ]
    return sorted(found, key=lambda one: (not one.passkey, not one.may))


def in_words(at: datetime, now: datetime) -> str:
    """A moment relative to now, such as ``in 3 hours`` or ``2 days ago``."""
    span = abs(at - now)
    for unit, size in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if (count := int(span / size)) >= (2 if unit != "minute" else 1):
            words = f"{count} {unit}" + ("s" if count != 1 else "")
            return f"in {words}" if at > now else f"{words} ago"
    return "now"


def lasted(started: datetime, ended: datetime) -> str:
    """How long something took, in words."""
    minutes = round((ended - started) / timedelta(minutes=1))
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _why(project: Project, view: ReviewView) -> Iterator[str]:
    """Which gate asks for a person, in words."""
    gate = project.playbook.gates.severity
    if view.review.breaks_build:
        yield "It breaks the build: the playbook always asks a person then."
    if view.review.severity.at_least(gate):
        yield f"Its severity is {view.review.severity}: the playbook asks a person from {gate} on."
    if any(one.category is Category.PROTECTED_PATH for one in view.findings):
        yield "It touches a protected path."
    needs = view.needs
    if needs.approvals > 1:
        yield f"{needs.approvals} different people have to approve it."
    if needs.may:
        yield f"The playbook lets only {', '.join(needs.may)} decide it."


def _all_shown(project: Project, view: ReviewView) -> list[Shown]:
    """The findings with their code; of very many the first have it, and the page stays a page."""
    hidden = inbox.secret_lines(view.findings)
    files: dict[str, str | None] = {}
    shown = [_shown(project, view, finding, files, hidden) for finding in view.findings[:MAX_EXCERPTS]]
    return shown + [Shown(finding, [], "Its code is not shown here.") for finding in view.findings[MAX_EXCERPTS:]]


def _shown(
    project: Project,
    view: ReviewView,
    finding: Finding,
    files: dict[str, str | None],
    hidden: Mapping[str, Collection[int]],
) -> Shown:
    if finding.path is None or finding.line is None:
        return Shown(finding, [])
    if finding.category is Category.SECRET:
        return Shown(finding, [], "The code is not shown here: it holds a secret.")
    if finding.path not in files:
        files[finding.path] = _text_of(project, view, finding.path, hidden.get(finding.path, ()))
    text = files[finding.path]
    if text is None:
        return Shown(finding, [], "The code cannot be shown: the file is not there any more, or it is no text.")
    return Shown(finding, code.excerpt(text, finding.path, finding.line, finding.end_line or finding.line))


def _text_of(project: Project, view: ReviewView, path: str, hidden: Collection[int]) -> str | None:
    """A file as the review is about it, without the lines that hold a secret; None if it cannot be shown."""
    commit = view.ticket.head or view.ticket.base
    try:
        commit = commit or project.git.ref("HEAD")
        data = _content(project.root, commit, path) if commit else None
    except NightcrewError:
        return None
    if data is None or len(data) > _MAX_FILE or b"\0" in data:
        return None
    lines = data.decode("utf-8", "replace").split("\n")
    return "\n".join(HIDDEN if number in hidden else line for number, line in enumerate(lines, 1))


@lru_cache(maxsize=64)
def _content(root: Path, commit: str, path: str) -> bytes | None:
    """A file of a commit, which never changes: to ask git for it costs several processes."""
    data = read_file(root, commit, path)
    return data if data is None or len(data) <= _MAX_FILE else data[: _MAX_FILE + 1]


def _notes(findings: Sequence[Finding]) -> dict[tuple[str, int], list[Finding]]:
    """Findings by the line that they are about, to be shown in the change."""
    notes: dict[tuple[str, int], list[Finding]] = {}
    for finding in findings:
        if finding.path and finding.line:
            notes.setdefault((finding.path, finding.line), []).append(finding)
    return notes


def _whole_diff(project: Project, view: ReviewView) -> str:
    """The change; the inbox gives the beginning of a large one, a page shows more of it."""
    if not view.diff.rstrip("\n").endswith(" left out ...]") or not (view.ticket.base and view.ticket.head):
        return view.diff
    patch = diff_text(project.root, view.ticket.base, view.ticket.head, limit=diff.MAX_DIFF)
    return hide_lines(patch, inbox.secret_lines(view.findings))


__all__ = ["Page", "Person", "Shown", "document", "in_words", "lasted", "page", "people", "stamp"]
