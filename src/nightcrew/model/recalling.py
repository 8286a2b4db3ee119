"""Which session records fit best: text, ticket links, files touched, open questions and age, each with its weight.

Pure: what the database found comes in, an order comes out, the same on every database.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightcrew.model.record import Recalled, SessionRecord, Why

TEXT, TICKETS, FILES, QUESTIONS = 1.0, 0.6, 0.4, 0.05
"""How much each counts that is in [0, 1]: a record of the ticket itself beats all but a very good match of words."""

HALF_LIFE = timedelta(days=45)
FLOOR = 0.7
"""Each half-life takes half of what age can take: a record that is old, but fits, keeps so much of its score."""

OWN, RELATED, SAME_FINDING = 1.0, 0.6, 0.5
"""What a link is worth: to the ticket itself, to one it depends on or came from, to one about the same finding."""

ENOUGH_WORDS = 8

OTHER_WORD = 0.5
"""What another word for the same thing is worth, beside the word itself."""

_TICKET = re.compile(r"\bT-(\d{1,12})\b", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w.@+-])[\w.@+-]+(?:/[\w.@+-]+)+")  # begins where a word does: else its time is quadratic


@dataclass(frozen=True)
class Clues:
    """What is looked for beside words: tickets with the worth of their link in [0, 1], and paths of files."""

    tickets: Mapping[str, float] = field(default_factory=dict)
    files: frozenset[str] = frozenset()

    def and_of(self, query: str) -> "Clues":
        """With the tickets and paths that a query names; where a ticket is the question, those it names are related."""
        worth = RELATED if self.tickets else OWN
        named = {f"T-{int(number):04d}": worth for number in _TICKET.findall(query)}
        return Clues({**named, **self.tickets}, self.files | {*_PATH.findall(query)})


@dataclass(frozen=True)
class Hit:
    """One word of the query in one record: ``strength`` in [0, 1] is how much the record is about it."""

    session: str
    strength: float


def rarity(total: int, having: int) -> float:
    """What a word or file tells that ``having`` of ``total`` records have: BM25's weight, never below 0."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


@dataclass
class TextScores:
    """How well each record fits the words: the share of what the query tells that is found in it."""

    tells: list[float] = field(default_factory=list)
    of: dict[str, float] = field(default_factory=dict)

    def add(self, weight: float, hits: Iterable[Hit]) -> None:
        """Count one word of the query, which tells ``weight``, with the records that have it."""
        self.tells.append(weight)
        for hit in hits:
            self.of[hit.session] = self.of.get(hit.session, 0.0) + weight * hit.strength

    def share(self, session: str) -> float:
        """In [0, 1]. Of a long text the eight words that tell most are enough: it need not be found whole."""
        told = sum(sorted(self.tells, reverse=True)[:ENOUGH_WORDS])
        return min(1.0, self.of.get(session, 0.0) / told) if told else 0.0

    def best(self, most: int) -> list[str]:
        """The sessions that fit best."""
        return sorted(self.of, key=lambda session: (-self.of[session], session))[:most]


def ranked(
    records: Iterable[SessionRecord],
    *,
    text: TextScores,
    clues: Clues,
    file_rarity: Mapping[str, float],
    now: datetime,
) -> list[Recalled]:
    """The records, best first; of two that fit alike the later one, and the order never depends on that of ``records``.

    ``file_rarity`` is what each file of the clues tells: one that every session touches says little.
    """
    wanted = sum(file_rarity.get(path, 0.0) for path in clues.files)
    found = []
    for record in records:
        touched = sum(file_rarity.get(path, 0.0) for path in clues.files.intersection(record.files))
        why = Why(
            text=round(text.share(record.session), 4),
            tickets=max((clues.tickets.get(ticket, 0.0) for ticket in record.tickets), default=0.0),
            files=round(math.sqrt(touched / wanted), 4) if wanted else 0.0,
            questions=bool(record.questions),
            days=max(0, (now - record.created).days),
        )
        found.append(Recalled(record=record, score=round(score(why, now - record.created), 6), why=why))
    return sorted(found, key=lambda one: (one.score, one.record.created, one.record.session), reverse=True)


def score(why: Why, age: timedelta) -> float:
    """The weighted sum of what fits, less what its age takes; 0 if nothing fits."""
    fits = TEXT * why.text + TICKETS * why.tickets + FILES * why.files
    if not fits:
        return 0.0
    return (fits + QUESTIONS * why.questions) * freshness(age)


def freshness(age: timedelta) -> float:
    """In (0.7, 1]."""
    halves = max(age, timedelta()) / HALF_LIFE
    return FLOOR + (1 - FLOOR) * math.exp2(-halves)
