"""Links: which ticket stands for which thing of another place, so that nothing is brought in twice."""

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from nightcrew.store import ledger, rows
from nightcrew.store.schema_outside import links
from nightcrew.store.store import Tx

_AT_ONCE = 500


@dataclass(frozen=True)
class Link:
    """``ticket`` stands for ``ref`` of ``source``, which people read at ``url``; ``doc``: what was taken over of it."""

    source: str
    ref: str
    ticket: str
    url: str
    doc: dict[str, Any]
    created: datetime
    updated: datetime


def put(
    tx: Tx, *, source: str, ref: str, ticket: str, url: str = "", doc: Mapping[str, Any], actor: str = "import"
) -> None:
    """Link a thing with a ticket, or say anew what was taken over of it. Raises DocumentError for text that is none."""
    rows.storable(f"{source}{ref}{url}", where=f"a link to {source[:100]}")
    known = get(tx, source, ref)
    values = {"ticket": ticket, "url": url, "doc": rows.to_json(dict(doc)), "updated": tx.stamp()}
    if known is None:
        tx.connection.execute(insert(links).values(source=source, ref=ref, created=values["updated"], **values))
    else:
        same = (links.c.source == source) & (links.c.ref == ref)
        tx.connection.execute(update(links).where(same).values(**values))
    if known is None or known.ticket != ticket:
        data = {"source": source, "ref": ref, "ticket": ticket, "url": url}
        ledger.append(tx, actor=actor, action="link.put", subject=f"link:{ticket}", data=data)


def get(tx: Tx, source: str, ref: str) -> Link | None:
    """The link of one thing, None if it was never brought in."""
    row = tx.connection.execute(select(links).where(links.c.source == source, links.c.ref == ref)).mappings().first()
    return None if row is None else _link(row)


def some(tx: Tx, source: str, refs: Iterable[str]) -> dict[str, Link]:
    """The links of those of ``refs`` that were brought in, by ref."""
    wanted = builtins.list(dict.fromkeys(refs))
    found: dict[str, Link] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        names = wanted[start : start + _AT_ONCE]
        query = select(links).where(links.c.source == source, links.c.ref.in_(names))
        found.update((row["ref"], _link(row)) for row in tx.connection.execute(query).mappings())
    return found


def list(tx: Tx, *, source: str | None = None, ticket: str | None = None) -> builtins.list[Link]:
    """Links, oldest first: of one source, or of one ticket, if given."""
    query = select(links).order_by(links.c.created, links.c.source, links.c.ref)
    if source is not None:
        query = query.where(links.c.source == source)
    if ticket is not None:
        query = query.where(links.c.ticket == ticket)
    return [_link(row) for row in tx.connection.execute(query).mappings()]


def _link(row: Mapping[Any, Any]) -> Link:
    where = f"the link of {row['ticket']}"
    doc = rows.from_json(row["doc"], where=where)
    times = rows.from_time(row["created"]), rows.from_time(row["updated"])
    return Link(row["source"], row["ref"], row["ticket"], row["url"], doc if isinstance(doc, dict) else {}, *times)
