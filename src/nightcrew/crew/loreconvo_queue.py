"""Bringing session records to LoreConvo: queued with the record, sent when the server answers, never lost between.

The queue is in the state database. What LoreConvo takes is marked after it said so; if the process dies between, the
record is sent again under the same id, which LoreConvo takes for the same session.
"""

import logging
import re
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from nightcrew.crew.loreconvo_server import LoreConvoRefused, Server, one_line, talk
from nightcrew.crew.project import Project
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import NightcrewError
from nightcrew.model.record import SessionRecord
from nightcrew.monitoring.redaction import Redaction
from nightcrew.store import memory_sync, records, sessions
from nightcrew.store.memory_sync import Entry
from nightcrew.store.store import Tx

NIGHT_SECONDS = 20.0
"""How long a night waits for LoreConvo at most, each time that it has something for it."""

_MOST = 500
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=6)
_FULL_WAIT = timedelta(days=1)
_TRIES = 5
_SUMMARY, _ITEM, _TITLE, _ITEMS = 15_000, 2_000, 300, 200
"""Characters of a summary, of an item of a list, of a title, and items of a list. LoreConvo cuts at the first two."""

_log = logging.getLogger(__name__)


@dataclass
class Sent:
    """What came of one attempt: how many records were taken, how many wait for what, and what the server said."""

    sent: int = 0
    waiting: int = 0
    full: int = 0
    refused: int = 0
    problem: str = ""
    down: bool = False


@dataclass
class _Taken:
    """What a conversation has achieved so far, whatever ends it."""

    sent: dict[str, str] = field(default_factory=dict)
    full: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    said: str = ""
    at: str = ""
    """The session whose record it has been given last."""


def is_on(project: Project) -> bool:
    """Whether this repository's records go to LoreConvo."""
    return bool(project.settings.memory.loreconvo)


def remote_id(project: Project, session: str) -> str:
    """The id under which LoreConvo knows a session: always the same one, and that of no other repository."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"nightcrew:{project.repository_id}:{session}"))


def project_name(project: Project) -> str:
    """What LoreConvo calls this repository: as set, or its folder's name in the form of LoreConvo's identifiers."""
    if given := project.settings.memory.project.strip(" _"):  # Of other names LoreConvo makes none at all.
        return given
    name = re.sub(r"[^a-z0-9]+", "_", project.root.name.lower()).strip("_") or "repository"
    return (name if name[0].isalpha() else f"_{name}")[:64]


def queue_record(project: Project, tx: Tx, session: str) -> None:
    """Have the record of a session sent, if LoreConvo is used; in the transaction that writes the record."""
    if is_on(project):
        _queue(project, tx, session)


def queue_all(project: Project) -> int:
    """Queue the records of before LoreConvo was used, and those that it has under another project; gives how many."""
    with project.store.begin() as tx:
        return sum(_queue(project, tx, session) for session in memory_sync.recorded(tx))


def _queue(project: Project, tx: Tx, session: str) -> bool:
    return memory_sync.queue(tx, session, remote=remote_id(project, session), project=project_name(project))


def send_in_night(project: Project) -> dict[str, Any]:
    """``send`` for the middle of a night: whatever goes wrong with it, the night goes on."""
    try:
        return send(project).__dict__
    except Exception as error:  # It is another program's trouble, or the next transaction meets it as well.
        _log.warning("session records could not be sent to LoreConvo: %s", error)
        return Sent(problem=f"{type(error).__name__}: {error}").__dict__


def send(project: Project, *, by_hand: bool = False, seconds: float = NIGHT_SECONDS) -> Sent:
    """Send what is due, for at most ``seconds``; gives what came of it. ``by_hand`` tries everything that waits.

    A server that does not answer is no error here: the records wait, longer each time.
    """
    if not is_on(project):
        return Sent()
    if by_hand:
        with project.store.begin() as tx:
            memory_sync.at_once(tx)
    with project.store.read() as tx:
        due = [(entry, _payload(project, tx, entry)) for entry in memory_sync.due(tx, limit=_MOST)]
    if not due:
        return _standing(project, Sent())
    taken, broke = _Taken(), None
    try:
        talk(project, lambda server: _send_each(server, due, taken), seconds=seconds)
    except NightcrewError as error:
        broke = error
    with project.store.begin() as tx:
        down = _settle(tx, [entry for entry, _ in due], taken, broke)
    problem = str(broke) if broke else taken.said
    return _standing(project, Sent(sent=len(taken.sent), problem=problem, down=down))


async def _send_each(server: Server, due: list[tuple[Entry, dict[str, Any]]], taken: _Taken) -> None:
    for entry, payload in due:
        if taken.full and entry.sent is None:
            taken.full.append(entry.session)  # Full is full: it is not asked for each.
            continue
        taken.at = entry.session
        try:
            answer = await server.call("save_session", **payload)
        except LoreConvoRefused as error:
            taken.refused[entry.session] = str(error)
            continue
        status = answer.get("status") if isinstance(answer, dict) else None
        if status == "saved" and answer.get("session_id") == entry.remote:
            taken.sent[entry.session] = entry.sha256
        elif status == "limit_reached":
            taken.full.append(entry.session)
            taken.said = taken.said or _said(answer)
        else:
            taken.refused[entry.session] = f"LoreConvo answers: {_said(answer)}"


def _settle(tx: Tx, due: list[Entry], taken: _Taken, broke: NightcrewError | None) -> bool:
    """Write down what came of it; gives whether records are left because the server did not answer."""
    now = tx.now()
    memory_sync.took(tx, taken.sent)
    tries = {entry.session: entry.attempts + 1 for entry in due}
    done = {*taken.sent, *taken.full, *taken.refused}
    if broke is not None and taken.sent and taken.at not in done and tries[taken.at] >= _TRIES:
        # It takes others and breaks off at this one, again and again: that is this one's fault.
        taken.refused[taken.at] = str(broke)
    for session, problem in taken.refused.items():
        again = now + _wait(tries[session]) if tries[session] < _TRIES else None
        memory_sync.refused(tx, session, problem=problem, again=again)
    memory_sync.postpone(tx, taken.full, "full", problem=taken.said, again=now + _FULL_WAIT)
    if broke is None:
        return False
    left = [name for name in tries if name not in {*done, *taken.refused}]
    again = now + _wait(max((tries[name] for name in left), default=1))
    at = taken.at if taken.at in left else ""
    memory_sync.postpone(tx, left, "down", problem=str(broke), again=again, broke_at=at)
    return bool(left)


def _wait(attempt: int) -> timedelta:
    """How long it is left alone after so many attempts."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * (1 << min(max(attempt - 1, 0), 16)))


def _standing(project: Project, made: Sent) -> Sent:
    with project.store.read() as tx:
        counts = memory_sync.counts(tx)
    made.waiting = counts["waiting"] + counts["down"]
    made.full, made.refused = counts["full"], counts["refused"]
    return made


def _payload(project: Project, tx: Tx, entry: Entry) -> dict[str, Any]:
    """A record in LoreConvo's words, without secrets: other programs read there."""
    record = records.get(tx, entry.session)
    assert record is not None  # noqa: S101 - the queue holds sessions with records only
    session = sessions.get(tx, entry.session)
    masked = Redaction().text
    return {
        "session_id": entry.remote,
        "title": masked(record.title)[:_TITLE],
        "surface": "custom",
        "summary": _cut(masked(record.summary), _SUMMARY),
        "decisions": [_cut(masked(one), _ITEM) for one in record.decisions[:_ITEMS]],
        "artifacts": [_cut(masked(one), _ITEM) for one in record.files[:_ITEMS]],
        "open_questions": [_cut(masked(one), _ITEM) for one in dict.fromkeys(record.questions[:_ITEMS])],
        "tags": _tags(record),
        "project": project_name(project),
        "start_date": isoformat(session.started or record.created),
        "end_date": isoformat(session.ended or record.created),
    }


def _tags(record: SessionRecord) -> list[str]:
    shift = [f"shift:{record.shift}"] if record.shift else []
    tickets = [f"ticket:{one}" for one in record.tickets[:50]]
    return ["nightcrew", f"agent:{record.agent}", f"session:{record.session}", *shift, *tickets]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 6]} [...]"


def _said(answer: object) -> str:
    """What an answer says of itself, on one line."""
    return one_line(answer.get("error") or answer.get("status") or answer if isinstance(answer, dict) else answer)
