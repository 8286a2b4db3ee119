"""What the user's side remembers of a repository's ledger, so that a ledger put back to an older state is noticed."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from nightcrew.approvals import private_files
from nightcrew.model.canonical import canonical_json
from nightcrew.model.document import Document
from nightcrew.model.errors import DocumentError, IntegrityError
from nightcrew.model.statement import Sha256, read_json


class LedgerHead(Document):
    """The genesis of a ledger and the last entry that was seen: its sequence number and hash."""

    format: Literal["nightcrew-ledger-head-v1"] = "nightcrew-ledger-head-v1"
    genesis: Sha256
    sequence: int = Field(ge=0, strict=True)
    head: Sha256


class LedgerPin:
    """The last seen head of one ledger, kept in ``genesis.json`` of the repository's trust directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "genesis.json"

    def read(self) -> LedgerHead | None:
        """What was seen last, None if nothing was pinned; raises IntegrityError if the file was damaged."""
        try:
            data = private_files.read(self._path)
        except FileNotFoundError:
            return None
        try:
            return LedgerHead.read(read_json(data, source=str(self._path)), source=str(self._path))
        except DocumentError as error:
            raise IntegrityError(str(error)) from None

    def begin(self, genesis: str) -> None:
        """Pin the hash of the ledger's first entry (sequence 0); again with the same hash, it does nothing.

        Raises IntegrityError if another genesis is pinned.
        """
        private_files.ensure_directory(self._directory)
        with private_files.lock(self._directory):
            seen = self.read()
            if seen is None:
                self._write(LedgerHead(genesis=genesis, sequence=0, head=genesis))
            elif seen.genesis != genesis:
                raise IntegrityError(f"the ledger begins with {genesis[:16]}, but {seen.genesis[:16]} is anchored")

    def follow(self, look: Callable[[LedgerHead], tuple[int, str]]) -> None:
        """Remember the head (number and hash) that ``look`` gives of a ledger that goes on from what was seen last.

        It is called while no other process moves the pin, and has to read the ledger as it is then; if it raises, the
        pin stays. Raises IntegrityError if nothing is pinned, or if the head that it gives was passed before.
        """
        private_files.ensure_directory(self._directory)
        with private_files.lock(self._directory):
            seen = self.read()
            if seen is None:
                raise IntegrityError("no ledger is anchored for this repository", hint="Run: nightcrew init")
            sequence, head = look(seen)
            if sequence < seen.sequence or (sequence == seen.sequence and head != seen.head):
                raise IntegrityError(f"the ledger lost entry {seen.sequence}, which was seen before: it was put back")
            if sequence > seen.sequence:
                self._write(LedgerHead(genesis=seen.genesis, sequence=sequence, head=head))

    def check(self, entry_hash: Callable[[int], str | None]) -> None:
        """Compare with the ledger as it is now; ``entry_hash(sequence)`` gives an entry's hash, None if there is none.

        Raises IntegrityError if the ledger is shorter than what was seen, or differs at its beginning or at the head
        that was seen. A ledger that was never pinned passes.
        """
        seen = self.read()
        if seen is not None:
            self.compare(seen, entry_hash)

    @staticmethod
    def compare(seen: LedgerHead, entry_hash: Callable[[int], str | None]) -> None:
        """As ``check``, with what was seen given."""
        for sequence, expected in ((0, seen.genesis), (seen.sequence, seen.head)):
            actual = entry_hash(sequence)
            if actual is None:
                raise IntegrityError(f"the ledger lost entry {sequence}, which was seen before: it was put back")
            if actual != expected:
                raise IntegrityError(f"entry {sequence} of the ledger is not the one that was seen before")

    def _write(self, seen: LedgerHead) -> None:
        private_files.replace(self._path, canonical_json(seen.plain()) + b"\n")
