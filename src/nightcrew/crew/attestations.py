"""Verdicts and decisions as files of their own, with the public keys, for an auditor's own tools (DSSE, in-toto)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nightcrew.approvals import Reviewer
from nightcrew.crew.admission import VERDICT_ACTION
from nightcrew.crew.project import Project
from nightcrew.crew.published import write_atomically
from nightcrew.model.canonical import canonical_json
from nightcrew.model.statement import SignerKind
from nightcrew.store import ledger, reviews, tickets


class Attestation(NamedTuple):
    """One signed statement: the file's name and the DSSE envelope as JSON."""

    name: str
    envelope: bytes


def attestations(project: Project, ticket_id: str) -> list[Attestation]:
    """Everything signed about a ticket, verdicts first; raises NotFoundError."""
    with project.store.read() as tx:
        tickets.get(tx, ticket_id)
        found = []
        for entry in ledger.entries(tx, subject=f"verdict:{ticket_id}"):
            if entry.action == VERDICT_ACTION:
                data = ledger.data(entry)
                name = f"{ticket_id}.{entry.seq}.{data['desk']}.verdict.dsse.json"
                found.append(Attestation(name, canonical_json(data["envelope"])))
        for review in reviews.list(tx, ticket=ticket_id):
            for number, signed in enumerate(reviews.decisions(tx, review.id), start=1):
                name = f"{ticket_id}.{review.id}.{number}.{signed.decision}.dsse.json"
                found.append(Attestation(name, signed.envelope.encode()))
        return found


def export(project: Project, ticket_id: str, folder: Path) -> list[Path]:
    """Write a ticket's attestations and every public key into ``folder``; gives the files."""
    written = []
    for name, data in [*attestations(project, ticket_id), *_keys(project)]:
        write_atomically(folder / name, data)
        written.append(folder / name)
    return written


def plain(project: Project, ticket_id: str) -> list[dict[str, Any]]:
    """A ticket's attestations as JSON values."""
    return [{"name": one.name, "envelope": json.loads(one.envelope)} for one in attestations(project, ticket_id)]


def _keys(project: Project) -> Iterator[tuple[str, bytes]]:
    yield f"keys/nightcrew.{project.service.key_id}.pem", pem(project.service.public_key)
    for reviewer in project.anchor.reviewers(project.repository_id):
        yield f"keys/{reviewer.name}.{reviewer.key_id}.{_SUFFIX[reviewer.kind]}", _public(reviewer)


_SUFFIX = {
    SignerKind.PASSPHRASE: "pem",
    SignerKind.SSH: "pub",
    SignerKind.PASSKEY: "passkey.json",
    SignerKind.GITHUB: "github.json",
}


def _public(reviewer: Reviewer) -> bytes:
    return pem(reviewer.public_key) if reviewer.kind is SignerKind.PASSPHRASE else reviewer.public_key + b"\n"


def pem(public_key: bytes) -> bytes:
    """An Ed25519 public key as other tools read it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
