"""What the database has to say to an audit: counts, and every row that the ledger does not vouch for."""

from collections.abc import Iterator

from sqlalchemy import func, select

from nightcrew.model.errors import NightcrewError
from nightcrew.store import handoffs, manifests, records, reviews, schema, tickets
from nightcrew.store.metadata import metadata
from nightcrew.store.store import Tx

_COUNTED = ("tickets", "manifests", "shifts", "sessions", "turns", "handoffs", "findings", "reviews", "records")


def counts(tx: Tx) -> dict[str, int]:
    """How many rows each table of documents has, and ``ledger`` how many entries."""
    tables = {name: metadata.tables[name] for name in (*_COUNTED, "quarantine", "ledger")}
    return {
        name: tx.connection.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in tables.items()
    }


def problems(tx: Tx) -> Iterator[tuple[str, str]]:
    """(``noun:id``, what is wrong) for every ticket, review, record, handoff and manifest that is not what was written.

    Rows that the ledger knows and that are gone are among them.
    """
    yield from _reviews(tx)
    yield from _records(tx)
    checks = (("ticket", schema.tickets, tickets.verify_row), ("handoff", schema.handoffs, handoffs.verify))
    for noun, table, check in (*checks, ("manifest", schema.manifests, manifests.get)):
        present = list(tx.connection.execute(select(table.c.id)).scalars())
        for name in present:
            try:
                check(tx, name)
            except NightcrewError as error:
                yield f"{noun}:{name}", str(error)
        for name in _written(tx, noun) - set(present):
            yield f"{noun}:{name}", "the ledger knows it and its row is gone"


def _reviews(tx: Tx) -> Iterator[tuple[str, str]]:
    """Reviews whose row is not what the ledger says was asked for, or what became of it."""
    present = set(tx.connection.execute(select(schema.reviews.c.id)).scalars())
    for name in sorted(_written(tx, "review") - present):
        yield f"review:{name}", "the ledger knows it and its row is gone"
    for name in sorted(present):
        try:
            reviews.verify_row(tx, name)
        except NightcrewError as error:
            yield f"review:{name}", str(error)


def _records(tx: Tx) -> Iterator[tuple[str, str]]:
    """Session records that nightcrew did not write so, and those that are gone."""
    present = set(tx.connection.execute(select(schema.records.c.session)).scalars())
    wrote = select(schema.ledger.c.subject).where(schema.ledger.c.action == "record.write").distinct()
    written = {subject.split(":", 1)[1] for subject in tx.connection.execute(wrote).scalars()}
    for name in sorted(written - present):
        yield f"record:{name}", "the ledger knows it and its row is gone"
    for name in sorted(present):
        try:
            records.verify(tx, name)
        except NightcrewError as error:
            yield f"record:{name}", str(error)


def _written(tx: Tx, noun: str) -> set[str]:
    """The ids that the ledger says were made."""
    column = schema.ledger.c.subject
    query = select(column).where(column.startswith(f"{noun}:")).distinct()
    return {subject.split(":", 1)[1] for subject in tx.connection.execute(query).scalars()}
