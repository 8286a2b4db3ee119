"""Manifests: the bytes that the planner wrote, under an id made from them."""

from sqlalchemy import insert, select

from nightcrew.model.errors import IntegrityError, NotFoundError
from nightcrew.model.manifest import manifest_id
from nightcrew.store import ledger
from nightcrew.store.schema import manifests
from nightcrew.store.store import Tx


def put(tx: Tx, agent: str, body: bytes, *, actor: str = "planner") -> str:
    """Store a manifest and give its id; the same bytes again change nothing."""
    name = manifest_id(body)
    if tx.connection.execute(select(manifests.c.id).where(manifests.c.id == name)).scalar() is None:
        tx.connection.execute(insert(manifests).values(id=name, agent=agent, body=body, created=tx.stamp()))
        ledger.append(tx, actor=actor, action="manifest.write", subject=f"manifest:{name}", data={"agent": agent})
    return name


def get(tx: Tx, manifest: str) -> tuple[str, bytes]:
    """(agent, bytes); raises NotFoundError, IntegrityError if the bytes are not those that the id names."""
    row = tx.connection.execute(select(manifests).where(manifests.c.id == manifest)).first()
    if row is None:
        raise NotFoundError(f"there is no manifest {manifest}")
    if manifest_id(row.body) != manifest:
        raise IntegrityError(f"what is stored as {manifest} is not that manifest")
    return row.agent, row.body
