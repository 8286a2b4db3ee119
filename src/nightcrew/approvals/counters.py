"""How many signatures each passkey and security key has made, as far as was seen: a copy of one falls behind.

Source: Web Authentication Level 3, "Signature Counter Considerations".
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from nightcrew.approvals import private_files
from nightcrew.model.canonical import canonical_json
from nightcrew.model.document import Document
from nightcrew.model.errors import ApprovalError, DocumentError, IntegrityError
from nightcrew.model.statement import Sha256, read_json


class Counts(Document):
    """The last count seen of each key, by its id; keys that do not count are left out."""

    format: Literal["nightcrew-sign-counters-v1"] = "nightcrew-sign-counters-v1"
    counts: dict[Sha256, int] = Field(default_factory=dict)


class SignCounters:
    """The counts of one repository's reviewers, in ``counters.json``; who changes them holds the directory's lock."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "counters.json"

    def of(self, key_id: str) -> int:
        """The last count seen of a key, 0 if it never counted; raises IntegrityError if the file was damaged."""
        return self._read().counts.get(key_id, 0)

    def advance(self, key_id: str, count: int) -> None:
        """Remember a later count; raises ApprovalError for one that does not rise, unless the key never counted."""
        counts = dict(self._read().counts)
        seen = counts.get(key_id, 0)
        if count == seen == 0:
            return
        if count <= seen:
            raise ApprovalError(
                f"the key {key_id[:16]} signed with the count {count}, but had signed with {seen} before",
                hint="The signature is an old one, or somebody has a copy of the key: sign again, or revoke the key.",
            )
        changed = Counts(counts={**counts, key_id: count})
        private_files.replace(self._path, canonical_json(changed.plain()) + b"\n")

    def _read(self) -> Counts:
        try:
            return Counts.read(
                read_json(private_files.read(self._path), source=str(self._path)), source=str(self._path)
            )
        except FileNotFoundError:
            return Counts()
        except DocumentError as error:
            raise IntegrityError(str(error), hint="Restore the file from a backup.") from None
