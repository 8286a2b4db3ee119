"""Turns: each is charged here before its request is sent, so that no crash lets a session send more than its cap."""

from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import NamedTuple

from sqlalchemy import bindparam, case, func, insert, select, update

from nightcrew.model.errors import BudgetError, UsageError
from nightcrew.model.ticket import Kind
from nightcrew.store import ledger, rows
from nightcrew.store.schema import sessions, tickets, turns
from nightcrew.store.store import Tx


def charge(tx: Tx, session: str, key: str, ticket: str | None, hard: int, *, actor: str = "nightcrew") -> int:
    """Charge one turn to ``session`` and give how many it has used then.

    ``key`` names the request: charged before, it is not charged again. The caller sends the request only once this is
    committed. Raises BudgetError if the session has used ``hard`` turns.
    """
    spent, charged = _used_and_charged(tx, session, key)
    if charged:
        return spent
    if spent >= hard:
        raise BudgetError(f"session {session} has used all {hard} turns of its budget")
    number = spent + 1
    tx.connection.execute(insert(turns).values(session=session, number=number, key=key, ticket=ticket, at=tx.stamp()))
    data = {"number": number, "key": key, "ticket": ticket}
    ledger.append(tx, actor=actor, action="turn.charge", subject=f"session:{session}", data=data)
    return number


class Usage(NamedTuple):
    """What turns took: tokens, and cost by list prices in millionths of a dollar."""

    input_tokens: int = 0
    output_tokens: int = 0
    microdollars: int = 0

    @property
    def tokens(self) -> int:
        """Both ways."""
        return self.input_tokens + self.output_tokens


class Total(NamedTuple):
    """What a session used."""

    turns: int = 0
    usage: Usage = Usage()


def totals(tx: Tx, names: Sequence[str]) -> dict[str, Total]:
    """The turns of each of these sessions, and what they took as far as their answers said."""
    columns = (turns.c.input_tokens, turns.c.output_tokens, turns.c.microdollars)
    sums = [func.coalesce(func.sum(column), 0) for column in columns]
    found = {name: Total() for name in names}
    for start in range(0, len(names), 500):
        query = select(turns.c.session, func.max(turns.c.number), *sums).group_by(turns.c.session)
        for row in tx.connection.execute(query.where(turns.c.session.in_(names[start : start + 500]))):
            found[row[0]] = Total(row[1], Usage(*(int(value) for value in row[2:])))
    return found


class Turn(NamedTuple):
    """One turn as it was charged, and what it took."""

    number: int
    ticket: str | None
    at: datetime
    usage: Usage


def of(tx: Tx, session: str) -> list[Turn]:
    """The turns of a session in their order."""
    query = select(turns).where(turns.c.session == session).order_by(turns.c.number)
    return [
        Turn(
            row.number, row.ticket, rows.from_time(row.at),
            Usage(row.input_tokens or 0, row.output_tokens or 0, row.microdollars or 0),
        )
        for row in tx.connection.execute(query)
    ]  # fmt: skip


def note_usage(tx: Tx, session: str, key: str, usage: Usage) -> None:
    """Note what a charged turn took, once its answer is there."""
    mine = (turns.c.session == session) & (turns.c.key == key)
    tx.connection.execute(update(turns).where(mine).values(usage._asdict()))


def usage(tx: Tx, session: str) -> Usage:
    """What the session's turns took as far as their answers said."""
    columns = (turns.c.input_tokens, turns.c.output_tokens, turns.c.microdollars)
    query = select(*(func.coalesce(func.sum(column), 0) for column in columns)).where(turns.c.session == session)
    return Usage(*(int(value) for value in tx.connection.execute(query).one()))


def used(tx: Tx, session: str) -> int:
    """How many turns were charged to ``session``."""
    query = select(func.max(turns.c.number)).where(turns.c.session == session)
    return tx.connection.execute(query).scalar() or 0


def used_for(tx: Tx, session: str, ticket: str) -> int:
    """How many of the session's turns went to ``ticket``."""
    query = select(func.count()).where(turns.c.session == session, turns.c.ticket == ticket)
    return tx.connection.execute(query).scalar() or 0


def medians(tx: Tx, *, sessions_back: int = 200) -> dict[tuple[str, Kind], int]:
    """The median number of turns a ticket took, rounded, by agent and kind, over the last ended sessions."""
    if sessions_back < 1:
        raise UsageError("sessions_back is at least 1")
    recent = select(sessions.c.id, sessions.c.agent).where(sessions.c.state == "ended")
    last = recent.order_by(sessions.c.ended.desc()).limit(sessions_back).subquery()
    query = (
        select(last.c.agent, tickets.c.kind, func.count())
        .select_from(turns)
        .join(last, last.c.id == turns.c.session)
        .join(tickets, tickets.c.id == turns.c.ticket)
        .group_by(last.c.agent, tickets.c.kind, turns.c.session, turns.c.ticket)
    )
    counts: dict[tuple[str, Kind], list[int]] = {}
    for agent, kind, taken in tx.connection.execute(query):
        counts.setdefault((agent, Kind(kind)), []).append(taken)
    return {group: round(median(taken)) for group, taken in counts.items()}


_USED_AND_CHARGED = select(
    func.coalesce(func.max(turns.c.number), 0),
    func.coalesce(func.max(case((turns.c.key == bindparam("wanted"), 1), else_=0)), 0),
).where(turns.c.session == bindparam("of"))


def _used_and_charged(tx: Tx, session: str, key: str) -> tuple[int, bool]:
    """The turns used, and whether this one is among them."""
    number, charged = tx.connection.execute(_USED_AND_CHARGED, {"of": session, "wanted": key}).one()
    return int(number), bool(charged)
