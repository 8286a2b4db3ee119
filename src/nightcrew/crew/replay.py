"""What an agent did in one session, in the order of time: turns, answers, tools, handoffs, entries of the ledger."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightcrew.crew.hiding import hide_text, secret_texts
from nightcrew.crew.project import Project
from nightcrew.store import agents, browsing, handoffs, journal, ledger, sessions, turns
from nightcrew.store.sessions import Session
from nightcrew.store.store import Tx
from nightcrew.store.turns import Usage

MOMENTS = 100
"""Moments on one page."""
MAX_TEXT = 6000
_CHARGES = "turn.charge"
_RANK = {"ledger": 0, "turn": 1, "answer": 2, "tool": 3, "note": 4, "handoff": 5}


@dataclass(frozen=True)
class Moment:
    """One thing that happened; ``parts`` are texts with what each of them is, ``refers`` an id to follow."""

    at: datetime
    kind: str
    title: str
    ticket: str | None = None
    parts: Sequence[tuple[str, str]] = ()
    refers: str = ""


@dataclass(frozen=True)
class Replay:
    """A page of a session's moments; ``first`` is the place of the first one among ``count``."""

    session: Session
    used: int
    usage: Usage
    moments: Sequence[Moment]
    first: int
    count: int
    titles: Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """A session in a list, with the turns that it was charged."""

    session: Session
    used: int


def listed(
    project: Project, *, before: str | None = None, text: str | None = None, **wanted: str | None
) -> tuple[list[Line], str | None, list[str]]:
    """A page of sessions, newest first, where the next page begins, and the agents that there are."""
    with project.store.read() as tx:
        ids = browsing.session_ids(tx, before=before, limit=browsing.PAGE + 1, text=text, **wanted)
        shown, following = browsing.cut(ids)
        used = browsing.turns_used(tx, shown)
        found = [Line(one, used.get(one.id, 0)) for one in sessions.some(tx, shown)]
        return found, following, browsing.agents_of_sessions(tx)


def replay(project: Project, session_id: str, *, first: int = 0) -> Replay:
    """What happened in a session, from moment ``first`` (from 0) on. Raises NotFoundError."""
    with project.store.read() as tx:
        session = sessions.get(tx, session_id)
        moments = sorted(_moments(tx, session), key=lambda one: (one.at, _RANK[one.kind]))
        first = min(max(0, first), max(0, (len(moments) - 1) // MOMENTS * MOMENTS))
        page = moments[first : first + MOMENTS]
        secret = secret_texts(project, tx, [row.ticket for row in session.tickets])
        return Replay(
            session=session,
            used=turns.used(tx, session_id),
            usage=turns.usage(tx, session_id),
            moments=[_shown(moment, secret) for moment in page],
            first=first,
            count=len(moments),
            titles=browsing.titles(tx, [row.ticket for row in session.tickets]),
        )


def _moments(tx: Tx, session: Session) -> Iterator[Moment]:
    for entry in ledger.entries(tx, subject=f"session:{session.id}"):
        if entry.action != _CHARGES:
            yield _entry(entry)
    for turn in turns.of(tx, session.id):
        took = f"{turn.usage.tokens:,} tokens" if turn.usage.tokens else ""
        yield Moment(turn.at, "turn", f"Turn {turn.number}", turn.ticket, [("", took)] if took else ())
    for kept in journal.of(tx, session.id):
        if kept.key.startswith("tool-begun ") or kept.key == agents.ALIVE:
            continue
        yield _kept(kept)
    for handoff in handoffs.list(tx, session=session.id):
        said = handoff.verdict or handoff.kind
        parts = [("done", handoff.done), ("open questions", handoff.questions), ("next", handoff.next)]
        title = f"Handoff to {handoff.to}: {str(said).replace('_', ' ')}"
        yield Moment(handoff.created, "handoff", title, handoff.ticket, [one for one in parts if one[1]], handoff.id)


def _entry(entry: ledger.Entry) -> Moment:
    data = ledger.data(entry)
    parts = [(name, _text(value)) for name, value in data.items() if value not in (None, "", [])]
    title = entry.action.replace(".", " ").replace("_", " ").capitalize()
    return Moment(datetime.fromisoformat(entry.at), "ledger", title, data.get("ticket"), parts, f"entry:{entry.seq}")


def _kept(kept: journal.Kept) -> Moment:
    """What a brain kept: its answers, what tools gave back, and notes of its own. All of it is data."""
    if kept.key.startswith("answer ") and isinstance(kept.value, Mapping):
        parts = [*_answer(kept.value)]
        return Moment(kept.at, "answer", f"Answer {kept.key[7:].lstrip('0')}", kept.ticket, parts)
    if kept.key.startswith("tool "):
        name = kept.key[5:].partition(" ")[0]
        return Moment(kept.at, "tool", "What a tool gave back", kept.ticket, [(name, _text(kept.value))])
    return Moment(kept.at, "note", f"Noted: {kept.key}", kept.ticket, [("", _text(kept.value))])


def _answer(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found = value.get("parts")
    for part in found if isinstance(found, list) else []:
        if not isinstance(part, Mapping):
            continue
        if part.get("tool_name"):
            yield f"calls {part['tool_name']}", _text(part.get("args"))
        else:
            label = "thinks" if part.get("part_kind") == "thinking" else "says"
            yield label, _text(part.get("content"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, default=str)


def _shown(moment: Moment, secret: frozenset[str]) -> Moment:
    parts = [(label, _cut(hide_text(text, secret))) for label, text in moment.parts]
    return Moment(moment.at, moment.kind, moment.title, moment.ticket, parts, moment.refers)


def _cut(text: str) -> str:
    left = len(text) - MAX_TEXT
    return text if left <= 0 else f"{text[:MAX_TEXT]}\n[... {left:,} more characters]"
