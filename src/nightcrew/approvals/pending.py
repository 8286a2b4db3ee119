"""Keys that were registered and wait for an enrolled reviewer to sign their enrolment: until then they are nobody's."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field

from nightcrew.approvals import private_files
from nightcrew.approvals.signer import check_public_key, key_id_of
from nightcrew.model.canonical import canonical_json
from nightcrew.model.clock import Clock
from nightcrew.model.document import Document
from nightcrew.model.errors import DocumentError, IntegrityError, UsageError
from nightcrew.model.statement import Moment, ReviewerName, SignerKind, from_base64, read_json, to_base64

MAX_PENDING = 64
"""So that a page that registers again and again fills no disk and no list."""

_KEY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Pending(Document):
    """A key that waits; ``public_key`` is base64 of the encoding of its kind."""

    name: ReviewerName
    kind: SignerKind
    public_key: str = Field(max_length=4096)
    created: Moment

    @classmethod
    def of(cls, name: str, kind: SignerKind, public_key: bytes, clock: Clock) -> Self:
        """Raises DocumentError for a name that is not one."""
        value = {"name": name, "kind": kind, "public_key": to_base64(public_key), "created": clock()}
        return cls.read(value, source=f"key of {name}")

    def key(self) -> bytes:
        """The public key's bytes; raises DocumentError."""
        return from_base64(self.public_key, source="public key")

    @property
    def key_id(self) -> str:
        """``key_id_of(key())``."""
        return key_id_of(self.key())


class PendingKeys:
    """The waiting keys of one repository: ``pending/<key id>.json`` in its trust directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "pending"

    def keep(self, pending: Pending) -> None:
        """Store a key, one of the same id replaced; raises UsageError if it is no key, or MAX_PENDING wait already."""
        check_public_key(pending.kind, pending.key())
        private_files.ensure_directory(self._directory.parent)
        private_files.ensure_directory(self._directory)
        path = self._path(pending.key_id)
        if not path.exists() and len(self._paths()) >= MAX_PENDING:
            raise UsageError(f"{MAX_PENDING} keys wait already", hint="See them with: nightcrew reviewer list")
        private_files.replace(path, canonical_json(pending.plain()) + b"\n")

    def all(self) -> tuple[Pending, ...]:
        """Those who wait, the oldest first; raises IntegrityError for a file that was damaged."""
        return tuple(sorted((self._read(path) for path in self._paths()), key=lambda one: (one.created, one.key_id)))

    def drop(self, key_id: str) -> None:
        """Forget a key; nothing happens if it does not wait."""
        self._path(key_id).unlink(missing_ok=True)

    def _read(self, path: Path) -> Pending:
        try:
            read = Pending.read(read_json(private_files.read(path), source=str(path)), source=str(path))
            if path.name != f"{read.key_id}.json":
                raise DocumentError(f"{path}: holds another key")
        except DocumentError as error:
            raise IntegrityError(str(error), hint=f"Remove the file and register the key again: {path}") from None
        return read

    def _paths(self) -> list[Path]:
        if not self._directory.exists():
            return []
        private_files.check_directory(self._directory)
        return sorted(
            path for path in self._directory.iterdir() if not path.name.startswith(private_files.TEMPORARY_PREFIX)
        )

    def _path(self, key_id: str) -> Path:
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError(f"not a key id: {key_id!r}")
        return self._directory / f"{key_id}.json"
