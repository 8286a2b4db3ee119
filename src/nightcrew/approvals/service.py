"""nightcrew's own key: it signs verdicts, so that an auditor can tell them from what an agent wrote.

It is not sealed, since nobody is awake to open it; therefore it can never stand for a person. Its kind enrols nobody,
and its key id is refused wherever a reviewer's signature is asked for, even if somebody enrols it under another kind.
"""

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from nightcrew.approvals import ed25519, private_files
from nightcrew.approvals.signer import key_id_of
from nightcrew.model.canonical import canonical_json
from nightcrew.model.document import Document
from nightcrew.model.errors import DocumentError, IntegrityError
from nightcrew.model.statement import SignerKind, from_base64, read_json, to_base64


class ServiceKeyFile(Document):
    """``service.json``: the private seed and its public key, base64."""

    format: Literal["nightcrew-service-key-v1"] = "nightcrew-service-key-v1"
    public_key: str = Field(max_length=100)
    seed: str = Field(max_length=100, repr=False)


@dataclass(frozen=True)
class ServiceSigner:
    """nightcrew's own signer; ``repr`` does not show the seed."""

    public_key: bytes
    _seed: bytes = field(repr=False)

    @property
    def kind(self) -> SignerKind:
        """Always service."""
        return SignerKind.SERVICE

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key."""
        return key_id_of(self.public_key)

    def sign(self, pae: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return ed25519.sign(self._seed, pae)


def service_signer(directory: Path, *, randomness: Callable[[int], bytes] = os.urandom) -> ServiceSigner:
    """The key of nightcrew from the trust directory, made on first use; two processes at once get the same one.

    Raises IntegrityError if the file was damaged, ConfigurationError if other users can read it.
    """
    private_files.ensure_directory(directory)
    path = directory / "service.json"
    if not path.exists():
        seed = randomness(ed25519.SEED_BYTES)
        made = ServiceKeyFile(public_key=to_base64(ed25519.public_key_of(seed)), seed=to_base64(seed))
        private_files.create(path, canonical_json(made.plain()) + b"\n")
    public_key, seed = _read(path)
    if len(seed) != ed25519.SEED_BYTES or ed25519.public_key_of(seed) != public_key:
        raise IntegrityError(f"{path}: the public key is not that of the private key")
    return ServiceSigner(public_key, seed)


def service_public_key(directory: Path) -> bytes | None:
    """The public key of nightcrew, None while it has none; raises as ``service_signer``."""
    try:
        return _read(directory / "service.json")[0]
    except FileNotFoundError:
        return None


def service_key_id(directory: Path) -> str | None:
    """The id of nightcrew's key, None while it has none; raises as ``service_signer``."""
    public_key = service_public_key(directory)
    return None if public_key is None else key_id_of(public_key)


def _read(path: Path) -> tuple[bytes, bytes]:
    source = str(path)
    try:
        stored = ServiceKeyFile.read(read_json(private_files.read(path), source=source), source=source)
        return from_base64(stored.public_key, source=source), from_base64(stored.seed, source=source)
    except DocumentError as error:
        raise IntegrityError(
            str(error),
            hint="Put it back from a backup: with another key nothing can be added to the ledgers that it sealed.",
        ) from None


def sealing_key(signer: ServiceSigner) -> bytes:
    """The key (32 bytes) that seals ledger entries, derived from nightcrew's own: it lies where no sandbox reaches."""
    return hmac.digest(signer._seed, b"nightcrew ledger seal v1", "sha256")
