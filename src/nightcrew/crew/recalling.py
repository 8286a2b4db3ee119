"""What past sessions left, found for a question or for a ticket, best first: ``model.recalling`` has the weights."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from nightcrew.model import words
from nightcrew.model.errors import NightcrewError
from nightcrew.model.recalling import (
    OTHER_WORD,
    OWN,
    RELATED,
    SAME_FINDING,
    Clues,
    Hit,
    TextScores,
    ranked,
    rarity,
)
from nightcrew.model.record import Recalled
from nightcrew.model.ticket import Ticket
from nightcrew.store import findings, handoffs, records
from nightcrew.store.store import Tx

_BY_TEXT = 100
_BY_LINK = 300
"""Records that are compared at most: those whose words fit best, and the latest of those with a link."""


def find(
    tx: Tx, query: str, limit: int, *, clues: Clues | None = None, since: datetime | None = None
) -> list[Recalled]:
    """Up to ``limit`` records that fit, best first, none written before ``since``, none that the ledger disowns.

    ``query`` is plain text: none of it is read as an operator. Without words, tickets and files in it, and without
    clues, the latest records are given, with a score of 0.
    """
    if limit < 1:
        return []
    wanted, asked = (clues or Clues()).and_of(query), words.asked(query)
    if not asked and not wanted.tickets and not wanted.files:
        latest = records.list(tx, limit=limit + _BY_LINK, since=since, broken=[])
        return _vouched(tx, (Recalled(record=one, score=0.0) for one in latest), limit)
    total = records.count(tx)
    text = _text(tx, asked, total, since)
    by_ticket = records.linked(tx, "ticket", wanted.tickets, since=since)
    by_file = records.linked(tx, "file", wanted.files, since=since)
    tells = {path: rarity(total, len(by_file.get(path, ()))) for path in wanted.files}
    linked = sorted({session for sessions in (*by_ticket.values(), *by_file.values()) for session in sessions})
    candidates = records.some(tx, {*text.best(_BY_TEXT), *linked[-_BY_LINK:]})
    best = ranked(candidates, text=text, clues=wanted, file_rarity=tells, now=tx.now())
    return _vouched(tx, (one for one in best if one.score > 0), limit)


def _vouched(tx: Tx, found: Iterable[Recalled], limit: int) -> list[Recalled]:
    """The first of them that are what nightcrew wrote: who can write rows puts nothing into what an agent reads."""
    return [*islice((one for one in found if records.is_vouched(tx, one.record)), limit)]


def _text(tx: Tx, asked: Iterable[str], total: int, since: datetime | None) -> TextScores:
    """How well records fit the words, counting what else people call a thing for less."""
    scores = TextScores()
    for word in asked:
        own, tells = records.hits(tx, word, total=total, since=since)
        strengths = {hit.session: hit.strength for hit in own}
        for other in sorted(words.others(word)):
            found, _ = records.hits(tx, other, total=total, since=since)
            for hit in found:
                strengths[hit.session] = max(strengths.get(hit.session, 0.0), OTHER_WORD * hit.strength)
        scores.add(tells, (Hit(session, strength) for session, strength in strengths.items()))
    return scores


def clues_of(tx: Tx, ticket: Ticket) -> Clues:
    """What a ticket is linked to, and the files that it is about."""
    linked = dict.fromkeys(_same_finding(tx, ticket), SAME_FINDING)
    linked |= dict.fromkeys(ticket.depends_on, RELATED)
    if (source := _origin(tx, ticket)) is not None:
        linked[source] = RELATED
    linked[ticket.id] = OWN
    return Clues(linked, frozenset(_files(tx, ticket)))


def _same_finding(tx: Tx, ticket: Ticket) -> Iterable[str]:
    for fingerprint in ticket.findings:
        known = findings.find(tx, fingerprint)
        if known is not None and known.ticket is not None:
            yield known.ticket


def _origin(tx: Tx, ticket: Ticket) -> str | None:
    """The ticket whose work brought up this one."""
    if not ticket.origin.startswith("H-"):
        return None
    try:
        return handoffs.get(tx, ticket.origin)[0].ticket
    except NightcrewError:
        return None


def _files(tx: Tx, ticket: Ticket) -> Iterable[str]:
    """Those of its findings, and those that its changes touched so far."""
    for known in findings.list(tx, ticket=ticket.id):
        if known.finding.path:
            yield known.finding.path
    for handoff in handoffs.list(tx, ticket=ticket.id):
        if handoff.change is not None:
            yield from handoff.change.files
