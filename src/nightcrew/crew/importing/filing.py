"""Filing what was brought in: each thing once, whoever brings it and however often.

A thing that is known is compared field by field with what was taken over last: what changed there is changed here,
unless a person changed that field here, or somebody works on the ticket now.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from nightcrew.crew import admission
from nightcrew.crew.importing.imported import Imported
from nightcrew.crew.importing.outcome import (
    ACTOR,
    CREATED,
    ENDED_HERE,
    KEPT,
    REFUSED,
    UNCHANGED,
    UPDATED,
    WITHDRAWN,
    Filed,
)
from nightcrew.crew.project import Project
from nightcrew.crew.settle import ask_for_work
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import NightcrewError
from nightcrew.model.review import WAITING
from nightcrew.model.ticket import ENDED, Event, State, Ticket
from nightcrew.store import findings, links, reviews, tickets
from nightcrew.store.links import Link
from nightcrew.store.store import Tx

_FIELDS = ("title", "body", "kind", "priority")
_STILL = (State.OPEN, State.IN_REVIEW)
"""States in which nobody works on a ticket."""


def file_all(
    project: Project,
    tx: Tx,
    items: Iterable[Imported],
    *,
    actor: str = ACTOR,
    again: bool = False,
    coming: Collection[tuple[str, str]] = (),
) -> list[Filed]:
    """File or update a ticket for each of ``items``; nothing is raised for one that does not fit.

    A thing whose ticket is done or rejected is left alone; with ``again`` one whose ticket is done is filed anew.
    ``depends`` that name things of the same source become the tickets of those, whatever the order; one that is
    neither known nor among ``coming`` (source, ref) is told.
    """
    listed = [*items]
    by_source: dict[str, list[str]] = {}
    for item in listed:
        by_source.setdefault(item.source, []).extend((item.ref, *item.depends))
    known = {
        (source, ref): link for source, refs in by_source.items() for ref, link in links.some(tx, source, refs).items()
    }
    done: list[Filed] = []
    for item in listed:
        try:
            with tx.connection.begin_nested():
                done.append(_file(project, tx, item, known.get((item.source, item.ref)), actor=actor, again=again))
        except NightcrewError as error:
            done.append(Filed(ref=item.ref, what=REFUSED, title=item.title, reason=str(error)))
    tickets_of = {key: link.ticket for key, link in known.items()}
    tickets_of.update(
        ((item.source, item.ref), one.ticket) for item, one in zip(listed, done, strict=True) if one.ticket is not None
    )
    return [_with_depends(tx, item, one, tickets_of, coming, actor) for item, one in zip(listed, done, strict=True)]


def withdraw(tx: Tx, source: str, gone: Mapping[str, str], *, actor: str = ACTOR) -> list[Filed]:
    """Set aside the tickets of things that are no more there (ref: why), so that nobody works them: quarantine.

    One that is being worked, or that has ended, is left as it is. A thing that comes back is put back when it is filed.
    """
    done = []
    for ref, link in links.some(tx, source, gone).items():
        try:
            ticket = tickets.verify_row(tx, link.ticket)
        except NightcrewError as error:
            done.append(Filed(ref=ref, what=REFUSED, ticket=link.ticket, reason=str(error)))
            continue
        if ticket.state not in _STILL:
            continue
        reason = gone[ref]
        _void_waiting(tx, ticket, reason)
        ticket = tickets.apply(tx, ticket.id, Event.QUARANTINE, actor=actor, reason=reason, note=reason[:500])
        doc = {**link.doc, "withdrawn": ticket.note}
        links.put(tx, source=source, ref=ref, ticket=ticket.id, url=link.url, doc=doc, actor=actor)
        done.append(_filed(ref, WITHDRAWN, ticket, reason))
    return done


def live(tx: Tx, source: str) -> dict[str, str]:
    """The things of ``source`` whose tickets nobody works and that have not ended: ref and ticket."""
    found = {link.ticket: link.ref for link in links.list(tx, source=source)}
    return {found[one.id]: one.id for one in tickets.some(tx, found) if one.state in _STILL}


def _file(project: Project, tx: Tx, item: Imported, link: Link | None, *, actor: str, again: bool) -> Filed:
    if link is None:
        return _create(project, tx, item, actor)
    ticket = tickets.verify_row(tx, link.ticket)
    if ticket.state in ENDED:
        if again and ticket.state is State.DONE:
            return _create(project, tx, item, actor)
        return _filed(item.ref, ENDED_HERE, ticket, f"{ticket.id} is {ticket.state}")
    if ticket.state is State.QUARANTINED and ticket.note and ticket.note == link.doc.get("withdrawn"):
        return _put_back(project, tx, item, link, ticket, actor)
    changes = _changes(item, link, ticket)
    if not changes:
        return _filed(item.ref, UNCHANGED, ticket)
    if ticket.state not in _STILL or _waits_with_work(tx, ticket):
        return _filed(item.ref, KEPT, ticket, f"{ticket.id} is {ticket.state}; it is updated when nobody works on it")
    return _update(project, tx, item, ticket, changes, actor)


def _create(project: Project, tx: Tx, item: Imported, actor: str) -> Filed:
    gated = _is_gated(project, item)
    ticket = tickets.add(
        tx,
        actor=actor,
        title=item.title,
        body=_body(item),
        kind=item.kind,
        priority=item.priority,
        severity=item.severity,
        breaks_build=item.breaks_build,
        state=State.IN_REVIEW if gated else State.OPEN,
        command=item.command,
        origin=f"import:{item.source}",
        findings=[finding.fingerprint for finding in item.findings],
    )
    for finding in item.findings:
        findings.record(tx, finding, ticket=ticket.id, actor=actor)
        findings.give(tx, finding.fingerprint, ticket.id, actor=actor)
    _link(tx, item, ticket, actor)
    if gated:
        why = "it breaks the build" if item.breaks_build else f"its severity is {item.severity}"
        ask_for_work(project, tx, ticket, f"brought in from {item.source}, and {why}"[:500])
    return _filed(item.ref, CREATED, ticket)


def _update(project: Project, tx: Tx, item: Imported, ticket: Ticket, changes: dict[str, Any], actor: str) -> Filed:
    """Change the ticket. What was signed or is asked for stands for the old text: it is asked for anew."""
    before = ticket
    ticket = tickets.edit(tx, ticket.id, actor=actor, changes=changes)
    _link(tx, item, ticket, actor)
    asked = before.state is State.IN_REVIEW or item.by_stranger or admission.is_gated(project, ticket)
    if asked and ticket.work_digest != before.work_digest:
        reason = f"it was changed in {item.source}"
        _void_waiting(tx, ticket, reason)
        if ticket.state is State.OPEN:
            ticket = tickets.apply(tx, ticket.id, Event.GATE, actor=actor, reason=reason)
        ask_for_work(project, tx, ticket, reason[:500])
        ticket = tickets.get(tx, ticket.id)
    return _filed(item.ref, UPDATED, ticket, ", ".join(sorted(changes)))


def _put_back(project: Project, tx: Tx, item: Imported, link: Link, ticket: Ticket, actor: str) -> Filed:
    """Of a ticket that was set aside because its thing was gone: take it up again, with what changed meanwhile."""
    changes = {**_changes(item, link, ticket), "note": "", "base": None, "head": None}
    reason = f"it is there again in {item.source}"
    before = ticket
    ticket = tickets.apply(tx, ticket.id, Event.RELEASE, actor=actor, reason=reason, **changes)
    _link(tx, item, ticket, actor)
    changed = item.by_stranger and ticket.work_digest != before.work_digest
    if changed or admission.is_gated(project, ticket):
        ticket = tickets.apply(tx, ticket.id, Event.GATE, actor=actor, reason=reason)
        ask_for_work(project, tx, ticket, reason[:500])
        ticket = tickets.get(tx, ticket.id)
    return _filed(item.ref, UPDATED, ticket, reason)


def _changes(item: Imported, link: Link, ticket: Ticket) -> dict[str, Any]:
    """What changed there and was not changed here; severity and 'breaks the build' only rise."""
    taken = link.doc.get("taken", {})
    wanted, marks = _values(item), _marks(item)
    here = {"title": ticket.title, "body": ticket.body, "kind": ticket.kind, "priority": ticket.priority}
    changes: dict[str, Any] = {
        name: wanted[name]
        for name in _FIELDS
        if marks[name] != taken.get(name) and _mark(here[name]) in (taken.get(name), marks[name])
    }
    severity = item.severity if ticket.severity is None else ticket.severity.raised_to(item.severity)
    if severity is not ticket.severity:
        changes["severity"] = severity
    if item.breaks_build and not ticket.breaks_build:
        changes["breaks_build"] = True
    return changes


def _with_depends(
    tx: Tx,
    item: Imported,
    filed: Filed,
    tickets_of: Mapping[tuple[str, str], str],
    coming: Collection[tuple[str, str]],
    actor: str,
) -> Filed:
    """Say which tickets must be done first; refs that were not brought in are told, since nobody else would."""
    if not item.depends or filed.what not in (CREATED, UPDATED, UNCHANGED) or filed.ticket is None:
        return filed
    found = {ref: tickets_of.get((item.source, ref)) for ref in item.depends}
    ticket = tickets.get(tx, filed.ticket)
    new = [name for name in found.values() if name is not None and name not in ticket.depends_on and name != ticket.id]
    if new and ticket.state in _STILL:
        tickets.edit(tx, ticket.id, actor=actor, changes={"depends_on": (*ticket.depends_on, *dict.fromkeys(new))})
        if filed.what == UNCHANGED:
            filed = filed.model_copy(update={"what": UPDATED, "reason": "depends_on"})
    if missing := [ref for ref, name in found.items() if name is None and (item.source, ref) not in coming]:
        said = f"depends on what was not brought in: {', '.join(missing)}"[:500]
        filed = filed.model_copy(update={"reason": f"{filed.reason}; {said}".lstrip("; ")})
    return filed


def _is_gated(project: Project, item: Imported) -> bool:
    gate = project.playbook.gates.severity
    return item.breaks_build or (item.severity is not None and item.severity.at_least(gate))


def _waits_with_work(tx: Tx, ticket: Ticket) -> bool:
    """Whether a person is asked about work that was done on the ticket as it is: a change of it, or a question."""
    waiting = [review for review in reviews.list(tx, ticket=ticket.id, broken=[]) if review.state in WAITING]
    return any(review.handoff is not None or review.on_approve is not Event.APPROVE_WORK for review in waiting)


def _void_waiting(tx: Tx, ticket: Ticket, reason: str) -> None:
    for review in reviews.list(tx, ticket=ticket.id, broken=[]):
        if review.state in WAITING:
            reviews.void(tx, review.id, reason=reason[:500], actor=ACTOR)


def _body(item: Imported) -> str:
    return f"{item.body}\n\nFrom: {item.url}".strip() if item.url and item.url not in item.body else item.body


def _values(item: Imported) -> dict[str, Any]:
    return {"title": item.title, "body": _body(item), "kind": item.kind, "priority": item.priority}


def _marks(item: Imported) -> dict[str, str]:
    return {name: _mark(value) for name, value in _values(item).items()}


def _mark(text: str) -> str:
    """Short for a text, to see whether it changed."""
    return sha256_hex(str(text).encode())[:16]


def _link(tx: Tx, item: Imported, ticket: Ticket, actor: str) -> None:
    doc = {"taken": _marks(item)}
    links.put(tx, source=item.source, ref=item.ref, ticket=ticket.id, url=item.url, doc=doc, actor=actor)


def _filed(ref: str, what: str, ticket: Ticket, reason: str = "") -> Filed:
    return Filed(ref=ref, what=what, ticket=ticket.id, title=ticket.title, state=ticket.state, reason=reason)
