"""The chain of reviewers on the disk: its entries, and the pin that makes a removed one noticed."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from nightcrew.approvals import chain, private_files, service
from nightcrew.approvals.memo import Memo, digest_of
from nightcrew.approvals.reviewer import Refused, Reviewer
from nightcrew.model.canonical import canonical_json, sha256_hex
from nightcrew.model.document import Document
from nightcrew.model.errors import ApprovalError, DocumentError, IntegrityError
from nightcrew.model.statement import Sha256, SignerKind, read_json

DAMAGED_HINT = "Find out who changed it; restore the directory from a backup, or remove it and enrol reviewers anew."
_VERIFIED: Memo[tuple[Reviewer, ...]] = Memo(64)
_ENTRY = re.compile(r"[0-9]{4}\.json", re.ASCII)


class ChainPin(Document):
    """How far the chain had come when it was last written; ``first`` and ``last`` are SHA-256 of entries' bytes."""

    format: Literal["nightcrew-reviewer-chain-v1"] = "nightcrew-reviewer-chain-v1"
    count: int = Field(ge=1, le=9999, strict=True)
    first: Sha256
    last: Sha256


class ChainFiles:
    """The chain of one repository: ``reviewers/0001.json`` and so on, and ``chain.json``, in its trust directory."""

    def __init__(self, trust: Path, repository: str) -> None:
        self._trust = trust
        self._repository = repository
        self._directory = trust / repository
        self.where = self._directory / "reviewers"

    def prepare(self) -> None:
        """Make the directories; raises ConfigurationError if others can enter one."""
        for path in (self._trust, self._directory, self.where):
            private_files.ensure_directory(path)

    def begun(self) -> bool:
        """Whether a first reviewer has been enrolled."""
        return self._pin() is not None

    def entries(self) -> tuple[bytes, ...]:
        """The entries as they are stored, their signatures unverified.

        Raises IntegrityError if a file is missing, or lies there without belonging to the chain.
        """
        pin = self._pin()
        entries = self._stored()
        if pin is None and entries:
            raise IntegrityError(
                f"{self.where} holds reviewers, but no first reviewer was enrolled here",
                hint="If an enrolment was interrupted, run it again: nightcrew reviewer add NAME",
            )
        if pin is not None:
            if len(entries) < pin.count:
                raise IntegrityError(f"{self.where} lost entries of its chain", hint=DAMAGED_HINT)
            # Entries past the pin are those of an interrupted write: their signatures are what counts.
            if (sha256_hex(entries[0]), sha256_hex(entries[pin.count - 1])) != (pin.first, pin.last):
                raise IntegrityError(f"{self.where} is not the chain that was enrolled here", hint=DAMAGED_HINT)
        return entries

    def to_extend(self) -> tuple[bytes, ...]:
        """As ``entries``, but what an interrupted first enrolment left is passed over: it is made again."""
        if self.begun():
            return self.entries()
        if len(self._stored()) > 1:  # an interrupted ceremony leaves at most one
            raise IntegrityError(f"{self.where} holds reviewers that nobody enrolled", hint=DAMAGED_HINT)
        return ()

    def verified(self, entries: tuple[bytes, ...]) -> tuple[Reviewer, ...]:
        """Everyone whom ``entries`` enrol; raises IntegrityError naming the entry that breaks the rules.

        A chain that was good is not verified a second time in this process. That is safe because who is enrolled, and
        who was revoked, is a pure function of the three things that the memo goes by: the entries' exact bytes, which
        are read from the disk each time, the repository, and nightcrew's own key. No entry is signed by a review on
        GitHub, the one kind whose signatures can cease to be good. One byte more or less, and all is verified anew;
        what was refused is not remembered.
        """
        service_key_id = self._service_key_id()
        known = (digest_of(entries), self._repository, service_key_id)
        if (found := _VERIFIED.get(known)) is None:
            try:
                found = chain.replay(entries, repository=self._repository, service_key_id=service_key_id)
            except Refused as refused:
                raise IntegrityError(f"{self.where}: {refused}", hint=DAMAGED_HINT) from None
            _VERIFIED.put(known, found)
        return found

    def check_new(self, entries: tuple[bytes, ...], name: str, kind: SignerKind, public_key: bytes) -> None:
        """Raises ApprovalError for a key that must not be enrolled after ``entries``, whoever signs for it."""
        try:
            chain.check_new(self.verified(entries), name, kind, public_key)
        except Refused as refused:
            raise ApprovalError(f"this cannot be signed into the chain of reviewers: {refused}") from None

    def extended(self, entries: tuple[bytes, ...], entry: bytes) -> tuple[Reviewer, ...]:
        """Everyone enrolled after ``entry``, by the rules that it is read with; writes nothing. Raises ApprovalError.

        What would be refused tomorrow is not written today.
        """
        before = self.verified(entries)
        try:
            after = chain.extend(
                before,
                entry,
                repository=self._repository,
                previous=entries[-1] if entries else None,
                service_key_id=self._service_key_id(),
            )
            for new in after[len(before) :]:
                chain.check_new(before, new.name, new.kind, new.public_key)
        except Refused as refused:
            raise ApprovalError(f"this cannot be signed into the chain of reviewers: {refused}") from None
        return after

    def write(self, entries: tuple[bytes, ...], entry: bytes) -> None:
        """Put ``entry`` after ``entries``; the caller holds the lock and has verified it."""
        chained = (*entries, entry)
        private_files.replace(self.where / f"{len(chained):04d}.json", entry)
        pin = ChainPin(count=len(chained), first=sha256_hex(chained[0]), last=sha256_hex(entry))
        private_files.replace(self._directory / "chain.json", canonical_json(pin.plain()) + b"\n")

    def _service_key_id(self) -> str | None:
        return service.service_key_id(self._trust)

    def _stored(self) -> tuple[bytes, ...]:
        if not self.where.exists():
            return ()
        for path in (self._trust, self._directory, self.where):
            private_files.check_directory(path)
        names = sorted(p.name for p in self.where.iterdir() if not p.name.startswith(private_files.TEMPORARY_PREFIX))
        for number, name in enumerate(names, start=1):
            if not _ENTRY.fullmatch(name) or name != f"{number:04d}.json":
                raise IntegrityError(
                    f"{self.where / name} does not belong to the chain of reviewers", hint=DAMAGED_HINT
                )
        return tuple(private_files.read(self.where / name) for name in names)

    def _pin(self) -> ChainPin | None:
        path = self._directory / "chain.json"
        try:
            return ChainPin.read(read_json(private_files.read(path), source=str(path)), source=str(path))
        except FileNotFoundError:
            return None
        except DocumentError as error:
            raise IntegrityError(str(error), hint=DAMAGED_HINT) from None
