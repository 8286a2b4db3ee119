"""What LoreConvo remembers of this repository, read back for an agent; and how it stands, for people.

Its other sessions of the same project are found too: what was decided in a chat by day is known to the crew by night.
Everything that it gives is data that others wrote: bounded, masked, and fenced by who puts it into a prompt.
"""

import functools
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from nightcrew.brains import Piece
from nightcrew.crew.loreconvo_queue import is_on, project_name, remote_id
from nightcrew.crew.loreconvo_server import Server, located, talk
from nightcrew.crew.project import Project
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import ConfigurationError, NightcrewError
from nightcrew.monitoring.redaction import Redaction
from nightcrew.reliability import Breaker
from nightcrew.store import memory_sync
from nightcrew.store.memory_sync import Entry
from nightcrew.store.store import Tx

READ_SECONDS = 10.0
"""How long a session waits at most for what LoreConvo remembers."""

_WORD = re.compile(r"[^\W_]+(?:[-_.][^\W_]+)*")
_TICKET = re.compile(r"T-[0-9]{4,12}")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a about all an and any are as at be by can do does for from has have how in into is it its no not of off on "
        "or out so that the their then there this to up use used was we what when where which who why will with",
    )
)
_ENDINGS = ("ings", "ing", "ies", "ied", "es", "ed", "s", "y")
_WORDS, _HITS, _PIECE = 12, 50, 4_000
"""Words of a query that are looked for, hits that are looked at for each, and characters of one piece."""
_TEXT = 20_000
"""Characters of one text of an answer that are looked at: more than a piece may have."""
_FEW = 5
"""A word that so few sessions have tells enough alone; of others a session needs two."""

_log = logging.getLogger(__name__)


def context(project: Project, query: str, limit: int, *, without: Collection[str] = ()) -> list[Piece]:
    """Up to ``limit`` of LoreConvo's sessions that fit ``query``, best first; empty if it is off or does not answer.

    ``without`` names sessions of the crew whose own records the caller has already.
    """
    if not is_on(project) or limit < 1:
        return []
    with project.store.read() as tx:
        if memory_sync.paused(tx):
            return []
    breaker = _breaker(project.root)
    if not breaker.allow():
        return []
    known = {remote_id(project, session) for session in without}
    try:
        found = talk(project, functools.partial(_search, project, query, limit, known), seconds=READ_SECONDS)
    except NightcrewError as error:  # The crew's own memory does without it.
        breaker.failed()
        _log.warning("LoreConvo was not asked for what it remembers: %s", error)
        return []
    breaker.succeeded()
    return [*_within(project.settings.memory.characters, map(_piece, found))]


@functools.cache
def _breaker(root: Path) -> Breaker:
    """Not to wait for it anew at each ticket of a night."""
    return Breaker(f"loreconvo {root}", failures=1, reset=600.0)


async def _search(
    project: Project, query: str, limit: int, known: Collection[str], server: Server
) -> list[dict[str, Any]]:
    """The sessions that fit best, whole.

    LoreConvo finds what has all words of a query, so each word is asked for on its own, and a session's score is the
    sum of its words' rarity. Its get_context_for is not used: that has no filter by project, and one repository's
    sessions are no business of another's agents.
    """
    asked, hits = words_of(query), Counter[str]()
    scores: dict[str, float] = {}
    dates: dict[str, str] = {}
    sure: set[str] = set()
    after = isoformat(project.clock() - timedelta(days=project.settings.memory.max_age_days))
    for word in asked:
        answer = await server.call(
            "search_sessions", query=word, project=project_name(project), limit=_HITS, after=after
        )
        named = {
            str(one["id"]): str(one.get("date", "")) for one in answer if isinstance(one, dict) and one.get("id")
        } if isinstance(answer, list) else {}  # fmt: skip
        dates |= named
        for name in named:
            scores[name] = scores.get(name, 0.0) + 1 / len(named)
            hits[name] += 1
        if _TICKET.fullmatch(word) or len(named) <= _FEW:
            sure |= named.keys()
    enough = 1 if len(asked) <= 2 else 2
    ranked = sorted(
        (name for name in scores if name not in known and (hits[name] >= enough or name in sure)),
        key=lambda name: (scores[name], dates[name]),
        reverse=True,
    )
    found: list[dict[str, Any]] = []
    for name in ranked[: 3 * limit]:
        one = await server.call("get_session", session_id=name)
        if isinstance(one, dict) and one.get("id") == name and _is_here(project, one):
            found.append(one)
        if len(found) == limit:
            break
    return found


def words_of(query: str) -> list[str]:
    """What of a query LoreConvo is asked for: its telling words without their endings, each once."""
    found = (word if _TICKET.fullmatch(word) else _stem(word.lower()) for word in _WORD.findall(query))
    return list(dict.fromkeys(word for word in found if len(word) > 2 and word not in _COMMON))[:_WORDS]


def _stem(word: str) -> str:
    """So short that LoreConvo, which takes short words for beginnings of words, finds the word's other forms."""
    if not word.isalpha() or word in _COMMON:
        return word
    ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 4), "")
    stem = word[: len(word) - len(ending)] if not word.endswith("ss") else word
    return f"{stem}*" if len(stem) > 10 else stem


def _piece(found: dict[str, Any]) -> Piece:
    """A session as an agent reads it; its source says only what has the form that it should have."""
    lists = (("Decisions", "decisions"), ("Open questions", "open_questions"), ("Files", "artifacts"))
    parts = [_text(found.get("title")), _text(found.get("summary"))]
    for heading, key in lists:
        listed = found.get(key)
        if isinstance(listed, list) and listed:
            parts.append(f"{heading}:\n" + "\n".join(f"- {_text(one)}" for one in listed[:30]))
    text = Redaction().text("\n".join(part for part in parts if part))
    if len(text) > _PIECE:
        text = f"{text[:_PIECE]}\n[... cut: {len(text):,} characters]"
    return Piece(_source(found), text)


def _is_here(project: Project, found: dict[str, Any]) -> bool:
    """Whether a session is of this project; one of a crew, of this repository: folders may have the same name."""
    name, crew = str(found.get("project")), _crew_session(found)
    return _canonical(name) == _canonical(project_name(project)) and (
        not crew or found.get("id") == remote_id(project, crew)
    )


def _canonical(name: str) -> str:
    """A project's name as LoreConvo compares it."""
    return re.sub("_+", "_", name.strip().lower()).strip("_")


def _crew_session(found: dict[str, Any]) -> str:
    """The session of a crew, this one or another repository's, whose record it is; empty for anybody else's."""
    tags = found.get("tags")
    named = (re.fullmatch(r"session:(S-[0-9]{4,12})", str(tag)) for tag in (tags if isinstance(tags, list) else ()))
    return next((one[1] for one in named if one), "")


def _source(found: dict[str, Any]) -> str:
    day = re.match(r"\d{4}-\d\d-\d\d", str(found.get("start_date", "")))
    of = f" of {day[0]}" if day else ""
    if crew := _crew_session(found):
        return f"record of session {crew}{of}, from LoreConvo"
    name = re.match(r"[0-9A-Za-z-]{1,64}", str(found.get("id", "")))
    surface = re.fullmatch(r"[a-z]{1,20}", str(found.get("surface", "")))
    return f"LoreConvo session {name[0] if name else '?'}{of}" + (f", surface {surface[0]}" if surface else "")


def _within(most: int, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """As many as fit into so many characters, in their order."""
    for piece in pieces:
        most -= len(piece.text) + len(piece.source)
        if most < 0:
            return
        yield piece


def _text(value: object) -> str:
    """One text of an answer, without control characters; nothing for what is no text."""
    return "".join(c for c in value[:_TEXT] if c.isprintable() or c in "\n\t") if isinstance(value, str) else ""


@dataclass(frozen=True)
class Standing:
    """How many records are there and how many are not, why, and when LoreConvo is asked again."""

    sent: int
    waiting: int
    refused: int
    why: str = ""
    again: datetime | None = None
    full: bool = False

    def line(self) -> str:
        """What waits, in one line; empty if nothing does."""
        parts = []
        if self.waiting:
            what = "1 session record waits" if self.waiting == 1 else f"{self.waiting} session records wait"
            when = f"; asked again from {self.again:%Y-%m-%d %H:%M} UTC on" if self.again else ""
            parts.append(f"{what} for LoreConvo: {self.why or 'not sent yet'}{when}.")
        if self.refused:
            what = "1 session record was" if self.refused == 1 else f"{self.refused} session records were"
            parts.append(f"{what} refused by LoreConvo: nightcrew memory status")
        return " ".join([*parts, "The crew's own memory has them."]) if parts else ""


def standing(tx: Tx) -> Standing:
    """How the queue stands."""
    counts, unsent = memory_sync.counts(tx), memory_sync.list(tx)
    held: Entry | None = next((one for one in unsent if one.state == "full"), None)
    held = held or next((one for one in unsent if one.state == "down"), None)
    return Standing(
        sent=counts["sent"],
        waiting=counts["waiting"] + counts["down"] + counts["full"],
        refused=counts["refused"],
        why=held.problem if held else next((one.problem for one in unsent if one.problem), ""),
        again=held.next_at if held else None,
        full=counts["full"] > 0,
    )


def report_lines(project: Project, tx: Tx) -> list[str]:
    """What the morning report says of it: nothing while all is there, or LoreConvo is not used."""
    line = standing(tx).line() if is_on(project) else ""
    return [line] if line else []


def look(project: Project) -> tuple[bool, str, str]:
    """Whether LoreConvo answers and everything is there, what it says, and what to do if not; starts it for that."""
    program = project.settings.memory.loreconvo[0]
    try:
        where = located(program, project.root)
        version, tier, total = talk(project, _ask_about, seconds=READ_SECONDS)
    except NightcrewError as error:
        return False, str(error), error.hint
    with project.store.read() as tx:
        stands = standing(tx)
    has = f"version {version}, {tier}, sessions: {total} in all, {stands.sent} of this repository; {where}"
    if stands.full:
        return (
            False,
            f"{has}. {stands.line()}",
            "Make room in LoreConvo, then run: nightcrew memory sync",
        )
    if stands.waiting or stands.refused:
        return False, f"{has}. {stands.line()}", "Run: nightcrew memory sync"
    return True, has, ""


async def _ask_about(server: Server) -> tuple[str, str, str]:
    info, tier, stats = [await server.call(tool) for tool in ("get_server_info", "get_tier", "get_stats")]
    if not (isinstance(info, dict) and isinstance(tier, dict) and isinstance(stats, dict)):
        raise ConfigurationError("what answers is not LoreConvo")
    licence = "licensed" if tier.get("is_pro") is True else "free tier (50 sessions)"
    return _word(info.get("product_version")), licence, _word(stats.get("total_sessions"))


def _word(value: object) -> str:
    return (re.match(r"[\w.+-]{1,40}", str(value)) or ["?"])[0]
