"""Findings of other tools as tickets: those that are not known, one ticket for each group, the severe ones gated."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from nightcrew.crew import admission
from nightcrew.crew.importing.filing import file_all
from nightcrew.crew.importing.imported import Imported, one_line
from nightcrew.crew.importing.outcome import ACTOR, ENDED_HERE, KEPT, UNCHANGED, UPDATED, Filed
from nightcrew.crew.importing.steps import AT_ONCE, Step
from nightcrew.crew.project import Project
from nightcrew.crew.settle import ask_for_work
from nightcrew.model.canonical import digest
from nightcrew.model.finding import Category, Finding
from nightcrew.model.severity import highest
from nightcrew.model.ticket import ENDED, Event, Kind, Priority, State, Ticket
from nightcrew.store import findings, tickets
from nightcrew.store.findings import FindingState, KnownFinding
from nightcrew.store.store import Tx

SHOWN = 50
"""So many findings stand in a ticket's body; all of them belong to it."""

_PRIORITY = {"critical": Priority.P0, "high": Priority.P1, "medium": Priority.P2}
_KINDS = {
    Category.LINT: Kind.CHORE,
    Category.COVERAGE: Kind.CHORE,
    Category.REGRESSION: Kind.BUG,
    Category.BUILD: Kind.BUG,
}
GroupOf = Callable[[Finding], tuple[str, str]]
_Group = tuple[tuple[str, str], list[Finding]]


def found_steps(
    project: Project,
    found: Iterable[Finding],
    group_of: GroupOf,
    *,
    priority: Priority | None = None,
    again: bool = False,
) -> Iterator[Step]:
    """Steps that file the findings that are not known yet.

    ``group_of`` gives (source, name): those of one pair become one ticket, or one for each 500 of them. A finding that
    is known is noted as seen, and may raise the severity of its ticket. One that a person called a false positive, or
    accepted, stays so. One whose ticket is done is told, and filed anew with ``again``.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in {one.fingerprint: one for one in found}.values():
        groups.setdefault(group_of(finding), []).append(finding)
    parts = [
        (key, group[start : start + AT_ONCE])
        for key, group in sorted(groups.items())
        for start in range(0, len(group), AT_ONCE)
    ]
    some: list[_Group] = []
    for part in parts:
        some.append(part)
        if sum(len(group) for _, group in some) >= AT_ONCE:
            yield partial(_file_found, project, some, priority=priority, again=again)
            some = []
    if some:
        yield partial(_file_found, project, some, priority=priority, again=again)


def _file_found(
    project: Project, groups: list[_Group], tx: Tx, *, priority: Priority | None, again: bool
) -> list[Filed]:
    done: list[Filed] = []
    items = []
    for (source, name), group in groups:
        said = {finding.fingerprint: _seen(project, tx, finding, again=again) for finding in group}
        done += [filed for filed in said.values() if filed is not None]
        new = [finding for finding in group if said[finding.fingerprint] is None]
        if new:
            items.append(_ticket_of(source, name, new, priority))
    return [*done, *file_all(project, tx, items, again=again)]


def _seen(project: Project, tx: Tx, finding: Finding, *, again: bool) -> Filed | None:
    known = findings.find(tx, finding.fingerprint)
    return None if known is None else _known(project, tx, finding, known, again=again)


def _known(project: Project, tx: Tx, finding: Finding, known: KnownFinding, *, again: bool) -> Filed | None:
    """What is said of a finding that is known; None if it is to be filed all the same."""
    ref = finding.fingerprint
    aside = known.state in (FindingState.ACCEPTED, FindingState.FALSE_POSITIVE)
    if aside and findings.is_said(tx, ref, known.state):
        reason = f"a person said: {known.state.replace('_', ' ')}"
        return Filed(ref=ref, what=ENDED_HERE, ticket=known.ticket, title=finding.message[:300], reason=reason)
    owner = next(iter(tickets.some(tx, [known.ticket] if known.ticket else [])), None)
    if owner is None:
        return None
    if owner.state in ENDED:
        if again and owner.state is State.DONE:
            return None
        reason = f"{owner.id} is {owner.state}, and it was reported again"
        return Filed(ref=ref, what=ENDED_HERE, ticket=owner.id, title=owner.title, state=owner.state, reason=reason)
    findings.record(tx, finding, ticket=owner.id, actor=ACTOR)
    what, reason = _raise(project, tx, owner, finding), ""
    if what != UNCHANGED:
        reason = f"reported again as {finding.severity}"
        owner = tickets.get(tx, owner.id)
    return Filed(ref=ref, what=what, ticket=owner.id, title=owner.title, state=owner.state, reason=reason)


def _raise(project: Project, tx: Tx, owner: Ticket, finding: Finding) -> str:
    """Let a ticket that nobody works rise to the finding's severity, and go to the inbox if that is at the gate now."""
    severity = finding.severity.raised_to(owner.severity)
    breaks = owner.breaks_build or finding.breaks_build
    if (severity, breaks) == (owner.severity, owner.breaks_build):
        return UNCHANGED
    if owner.state is not State.OPEN:
        return KEPT  # the next import raises it
    tickets.verify_row(tx, owner.id)
    was = admission.is_gated(project, owner)
    raised = tickets.edit(tx, owner.id, actor=ACTOR, changes={"severity": severity, "breaks_build": breaks})
    if admission.is_gated(project, raised) and not was:
        reason = f"{finding.tool} {finding.rule} was reported again as {finding.severity}"[:500]
        raised = tickets.apply(tx, owner.id, Event.GATE, actor=ACTOR, reason=reason)
        ask_for_work(project, tx, raised, reason)
    return UPDATED


def _ticket_of(source: str, name: str, group: list[Finding], priority: Priority | None) -> Imported:
    worst = max(group, key=lambda finding: (finding.breaks_build, finding.severity.rank))
    severity = highest(finding.severity for finding in group)
    return Imported.of(
        source=source[:200],
        ref=f"{name[:400]}#{digest(sorted(finding.fingerprint for finding in group))[:12]}",
        title=_title(group, worst),
        body=_body(group),
        kind=_KINDS.get(worst.category, Kind.SECURITY),
        priority=priority or _PRIORITY.get(severity or "", Priority.P3),
        severity=severity,
        breaks_build=any(finding.breaks_build for finding in group),
        findings=tuple(group),
    )


def _title(group: list[Finding], worst: Finding) -> str:
    said = worst.message if worst.rule in worst.message else f"{worst.rule}: {worst.message}"
    if len(group) == 1:
        where = f" in {worst.path}" if worst.path else ""
        return one_line(f"{worst.tool}{where}, {said}", 200)
    places = len({finding.path for finding in group})
    return one_line(f"{len(group)} x {worst.tool} in {places} file{'s' * (places > 1)}, {said}", 200)


def _body(group: list[Finding]) -> str:
    ordered = sorted(group, key=lambda one: (-one.severity.rank, one.path or "", one.line or 0))
    lines = [f"- {_place(finding)}{one_line(finding.message, 1000)}" for finding in ordered[:SHOWN]]
    if len(group) > SHOWN:
        lines.append(f"- and {len(group) - SHOWN} more")
    return "\n".join(lines)


def _place(finding: Finding) -> str:
    if finding.path is None:
        return ""
    return f"{finding.path}:{finding.line} " if finding.line else f"{finding.path} "
