"""Ids that count up: ``T-0001``, ``H-000001``."""

from sqlalchemy import insert, select, update

from nightcrew.store.schema import counters
from nightcrew.store.store import Tx


def next_id(tx: Tx, prefix: str, *, width: int = 4) -> str:
    """The next id with ``prefix``, its number padded to ``width`` digits; never given twice once committed."""
    number = _last(tx, prefix) + 1
    _remember(tx, prefix, number)
    return f"{prefix}-{number:0{width}d}"


def reserve(tx: Tx, identifier: str) -> None:
    """Make sure that ``next_id`` will not give ``identifier`` (``PREFIX-NUMBER``), which somebody chose."""
    prefix, _, number = identifier.rpartition("-")
    if int(number) > _last(tx, prefix):
        _remember(tx, prefix, int(number))


def _last(tx: Tx, prefix: str) -> int:
    return tx.connection.execute(select(counters.c.value).where(counters.c.name == prefix)).scalar() or 0


def _remember(tx: Tx, prefix: str, number: int) -> None:
    changed = tx.connection.execute(update(counters).where(counters.c.name == prefix).values(value=number))
    if changed.rowcount == 0:
        tx.connection.execute(insert(counters).values(name=prefix, value=number))
