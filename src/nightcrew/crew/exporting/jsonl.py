"""Everything as JSON lines, for other tools and other repositories: exact, so not masked, and read as of one moment."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from nightcrew import __version__
from nightcrew.crew.importing.jsonl import EXPORT
from nightcrew.crew.project import Project
from nightcrew.crew.views import session_row
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import UsageError
from nightcrew.store import findings, handoffs, ledger, records, reviews, sessions, tickets, turns
from nightcrew.store.store import Tx

_PAGE = 1000


def export_jsonl(project: Project, only: tuple[str, ...] = ()) -> Iterator[bytes]:
    """A line that says what this is, then a line for each thing, its ``type`` said; ``only``: names of ``TYPES``.

    A row that does not hold what it should is a line of type ``problem``. Raises UsageError for a type that is none.
    """
    if unknown := sorted(set(only) - set(TYPES)):
        raise UsageError(f"there is no type {', '.join(unknown)}", hint=f"Types: {', '.join(TYPES)}")
    return _lines(project, only or tuple(TYPES))


def _lines(project: Project, wanted: tuple[str, ...]) -> Iterator[bytes]:
    header = {
        "type": "export",
        "schema": EXPORT,
        "repository": project.repository_id,
        "name": project.root.name,
        "created": isoformat(project.clock()),
        "version": __version__,
    }
    yield _line(header)
    with project.store.read() as tx:
        for name, each in TYPES.items():
            if name in wanted:
                for value in each(tx):
                    yield _line({"type": name, **value})


def _tickets(tx: Tx) -> Iterator[dict[str, Any]]:
    start, problems = 0, list[str]()
    while True:
        page = tickets.all(tx, limit=_PAGE, offset=start, broken=problems)
        yield from (ticket.plain() for ticket in page)
        yield from _told(problems)
        start += _PAGE
        if len(page) + len(problems) < _PAGE:
            return
        problems.clear()


def _handoffs(tx: Tx) -> Iterator[dict[str, Any]]:
    problems: list[str] = []
    for session in sessions.list(tx):
        for handoff in handoffs.list(tx, session=session.id, broken=problems):
            sections = {"done": handoff.done, "questions": handoff.questions, "next": handoff.next}
            yield {**handoff.plain(), **sections}
    yield from _told(problems)


def _findings(tx: Tx) -> Iterator[dict[str, Any]]:
    problems: list[str] = []
    for known in findings.list(tx, broken=problems):
        times = {"first_seen": isoformat(known.first_seen), "last_seen": isoformat(known.last_seen)}
        yield {**known.finding.plain(), "ticket": known.ticket, "state": known.state.value, **times}
    yield from _told(problems)


def _reviews(tx: Tx) -> Iterator[dict[str, Any]]:
    problems: list[str] = []
    yield from (review.plain() for review in reviews.list(tx, broken=problems))
    yield from _told(problems)


def _sessions(tx: Tx) -> Iterator[dict[str, Any]]:
    for session in sessions.list(tx):
        times = {
            name: isoformat(moment) if (moment := getattr(session, name)) else None
            for name in ("created", "started", "ended")
        }
        yield {**session_row(session, turns.used(tx, session.id)), **times}


def _records(tx: Tx) -> Iterator[dict[str, Any]]:
    problems: list[str] = []
    yield from (record.plain() for record in records.list(tx, broken=problems))
    yield from _told(problems)


def _told(problems: list[str]) -> Iterator[dict[str, Any]]:
    return ({"type": "problem", "problem": problem} for problem in problems)


def _entries(tx: Tx) -> Iterator[dict[str, Any]]:
    yield from (entry._asdict() for entry in ledger.entries(tx))


TYPES: dict[str, Callable[[Tx], Iterator[dict[str, Any]]]] = {
    "ticket": _tickets,
    "handoff": _handoffs,
    "finding": _findings,
    "review": _reviews,
    "session": _sessions,
    "record": _records,
    "entry": _entries,
}
"""The types of lines, in their order; ``entry`` is one of the ledger."""


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace") + b"\n"
