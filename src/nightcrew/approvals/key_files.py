"""Sealed private keys on the disk, one file each, shared by all repositories of a user."""

import re
from pathlib import Path

from nightcrew.approvals import private_files
from nightcrew.approvals.chain_files import DAMAGED_HINT
from nightcrew.approvals.passphrase import SealedKey, read_sealed_key
from nightcrew.model.errors import IntegrityError, NotFoundError

_KEY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


class KeyFiles:
    """The keys in ``keys/<key id>.json`` of the trust directory."""

    def __init__(self, trust: Path) -> None:
        self._trust = trust

    def keep(self, sealed: SealedKey) -> Path:
        """Store a sealed private key under its id; gives the file. A key that is there already is left alone."""
        private_files.ensure_directory(self._trust)
        path = self._path(sealed.key_id)
        private_files.ensure_directory(path.parent)
        private_files.create(path, sealed.encode())
        return path

    def read(self, key_id: str) -> SealedKey:
        """The sealed key of that id; raises NotFoundError, IntegrityError if it is damaged or is another key."""
        path = self._path(key_id)
        try:
            sealed = read_sealed_key(private_files.read(path), source=str(path))
        except FileNotFoundError:
            raise NotFoundError(
                f"there is no private key {key_id[:16]} on this machine",
                hint="Decide on the machine where the reviewer was enrolled, or enrol a key of this one.",
            ) from None
        if sealed.key_id != key_id:
            raise IntegrityError(f"{path} holds another key", hint=DAMAGED_HINT)
        return sealed

    def _path(self, key_id: str) -> Path:
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError(f"not a key id: {key_id!r}")
        return self._trust / "keys" / f"{key_id}.json"
