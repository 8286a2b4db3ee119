"""The trust anchor: who may decide, kept in the user's configuration directory where no agent can write.

Layout, directories of mode 0700 and files of mode 0600::

    trust/
      service.json                     nightcrew's own key
      keys/<key id>.json               sealed private keys
      <repository id>/
        genesis.json                   the ledger's genesis and last seen head
        chain.json                     how long the chain of reviewers is, its first and last entry
        reviewers/0001.json, ...       the chain: signed enrolments and revocations, one DSSE envelope each

A reviewer exists because a chain of signatures leads to the first one, who was enrolled in a ceremony on first use;
the whole chain is verified on every read. ``chain.json`` makes a removed revocation noticed. Whoever can write all of
this directory is the user; the signatures are for everything less than that.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from nightcrew.approvals import chain, private_files, service
from nightcrew.approvals.ledger_pin import LedgerPin
from nightcrew.approvals.location import config_directory
from nightcrew.approvals.passphrase import SealedKey, read_sealed_key
from nightcrew.approvals.reviewer import Refused, Reviewer
from nightcrew.approvals.signer import Signer, sign_statement
from nightcrew.model.canonical import canonical_json, sha256_hex
from nightcrew.model.clock import Clock
from nightcrew.model.document import Document
from nightcrew.model.errors import ApprovalError, ConfigurationError, DocumentError, IntegrityError, NotFoundError
from nightcrew.model.statement import EnrolmentStatement, RevocationStatement, Sha256, SignerKind, read_json

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_ENTRY = re.compile(r"[0-9]{4}\.json", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DAMAGED_HINT = "Find out who changed it; restore the directory from a backup, or remove it and enrol reviewers anew."


class ChainPin(Document):
    """How far the chain had come when it was last written; ``first`` and ``last`` are SHA-256 of entries' bytes."""

    format: Literal["nightcrew-reviewer-chain-v1"] = "nightcrew-reviewer-chain-v1"
    count: int = Field(ge=1, le=9999, strict=True)
    first: Sha256
    last: Sha256


class TrustAnchor:
    """The reviewers of each repository, their sealed keys, and the last seen heads of the ledgers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()

    @classmethod
    def of_user(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The anchor in the user's configuration directory (see ``location.config_directory``)."""
        return cls(config_directory(environment) / "trust")

    def require_outside(self, *places: Path) -> None:
        """Raises ConfigurationError if the anchor lies within one of ``places`` (a repository, a state directory)."""
        for place in places:
            if self.directory.resolve().is_relative_to(place.resolve()):
                raise ConfigurationError(
                    f"the trust anchor {self.directory} lies inside {place}, where agents' work ends up",
                    hint="Set NIGHTCREW_CONFIG_DIR to a directory outside every repository.",
                )

    def service_key_id(self) -> str | None:
        """The id of nightcrew's own key, None while it has none."""
        return service.service_key_id(self.directory)

    def ledger(self, repository: str) -> LedgerPin:
        """What was last seen of the repository's ledger."""
        return LedgerPin(self._of(repository))

    def begun(self, repository: str) -> bool:
        """Whether a first reviewer has been enrolled."""
        return self._pin(repository) is not None

    def reviewers(self, repository: str) -> tuple[Reviewer, ...]:
        """Everyone ever enrolled, revoked ones too, in order; empty before the first. Verifies the whole chain.

        Raises IntegrityError, naming the file and the reason, if anything was added, changed or removed by hand.
        """
        return self._verified(repository, self.statements(repository))

    def reviewer(self, repository: str, name: str) -> Reviewer:
        """The active reviewer of that name; raises NotFoundError, or IntegrityError as ``reviewers``."""
        active = [reviewer for reviewer in self.reviewers(repository) if reviewer.active]
        for reviewer in active:
            if reviewer.name == name:
                return reviewer
        known = ", ".join(reviewer.name for reviewer in active) or "nobody"
        raise NotFoundError(
            f"no reviewer is named {name} (enrolled: {known})", hint=f"Run: nightcrew reviewer add {name}"
        )

    def statements(self, repository: str) -> tuple[bytes, ...]:
        """The chain's envelopes as they are stored, for an auditor or the ledger; their signatures are not verified.

        Raises IntegrityError if a file is missing, or lies there without belonging to the chain.
        """
        pin = self._pin(repository)
        entries = self._entries(repository)
        where = self._of(repository) / "reviewers"
        if pin is None and entries:
            raise IntegrityError(
                f"{where} holds reviewers, but no first reviewer was enrolled here",
                hint="If an enrolment was interrupted, run it again: nightcrew reviewer add NAME",
            )
        if pin is not None:
            if len(entries) < pin.count:
                raise IntegrityError(f"{where} lost entries of its chain", hint=_DAMAGED_HINT)
            # Entries past the pin are those of an interrupted write: their signatures are what counts.
            if (sha256_hex(entries[0]), sha256_hex(entries[pin.count - 1])) != (pin.first, pin.last):
                raise IntegrityError(f"{where} is not the chain that was enrolled here", hint=_DAMAGED_HINT)
        return entries

    def enrol_first(self, repository: str, name: str, signer: Signer, *, nonce: str, clock: Clock) -> Reviewer:
        """Enrol the first reviewer, by his own signature: trust on first use, in a ceremony that a person watches.

        ``nonce`` is 32 to 64 random hexadecimal digits. Raises ApprovalError if somebody was enrolled before or the key
        is not a person's, DocumentError for a name that is not one.
        """
        where = self._prepare(repository)
        with private_files.lock(self._of(repository)):
            if self.begun(repository):
                raise ApprovalError(
                    "this repository has reviewers: one of them has to sign the enrolment of another",
                    hint="Run: nightcrew reviewer add NAME, signed by an enrolled reviewer.",
                )
            if len(self._entries(repository)) > 1:  # an interrupted ceremony leaves at most one
                raise IntegrityError(f"{where} holds reviewers that nobody enrolled", hint=_DAMAGED_HINT)
            statement = chain.enrolment(
                repository,
                None,
                name=name,
                kind=signer.kind,
                public_key=signer.public_key,
                time=clock(),
                nonce=nonce,
            )
            return self._append(repository, (), statement, signer)[-1]

    def enrol(
        self, repository: str, name: str, *, kind: SignerKind, public_key: bytes, by: Signer, nonce: str, clock: Clock
    ) -> Reviewer:
        """Enrol another reviewer's public key, signed by ``by``, who is one already.

        Raises ApprovalError if ``by`` is not an active reviewer, or the name or key is taken or not a person's;
        IntegrityError as ``reviewers``.
        """
        self._prepare(repository)
        with private_files.lock(self._of(repository)):
            entries = self.statements(repository)
            if not entries:
                raise ApprovalError("no first reviewer is enrolled yet", hint="Run: nightcrew reviewer add NAME")
            statement = chain.enrolment(
                repository, entries[-1], name=name, kind=kind, public_key=public_key, time=clock(), nonce=nonce
            )
            return self._append(repository, entries, statement, by)[-1]

    def revoke(self, repository: str, name: str, *, by: Signer, nonce: str, clock: Clock, reason: str = "") -> Reviewer:
        """Revoke the active reviewer of that name, signed by ``by``; gives the reviewer as revoked.

        From then on no signature of that key verifies, whatever time it claims: what was used stands, the rest is void.
        Raises NotFoundError; ApprovalError if ``by`` is not an active reviewer, or nobody would be left.
        """
        self._prepare(repository)
        with private_files.lock(self._of(repository)):
            entries = self.statements(repository)
            reviewers = self._verified(repository, entries)
            target = self.reviewer(repository, name)
            if sum(reviewer.active for reviewer in reviewers) == 1:
                raise ApprovalError(
                    f"{name} is the only reviewer: nobody could decide, or enrol anybody, afterwards",
                    hint="Enrol the new key first (under another name), then revoke this one with it.",
                )
            statement = chain.revocation(
                repository, entries[-1], key_id=target.key_id, reason=reason, time=clock(), nonce=nonce
            )
            after = self._append(repository, entries, statement, by)
            return next(reviewer for reviewer in after if reviewer.key_id == target.key_id)

    def keep_key(self, sealed: SealedKey) -> Path:
        """Store a sealed private key under its id; gives the file. A key that is there already is left alone."""
        private_files.ensure_directory(self.directory)
        path = self._key_path(sealed.key_id)
        private_files.ensure_directory(path.parent)
        private_files.create(path, sealed.encode())
        return path

    def sealed_key(self, key_id: str) -> SealedKey:
        """The sealed key of that id; raises NotFoundError, IntegrityError if it is damaged or is another key."""
        path = self._key_path(key_id)
        try:
            sealed = read_sealed_key(private_files.read(path), source=str(path))
        except FileNotFoundError:
            raise NotFoundError(
                f"there is no private key {key_id[:16]} on this machine",
                hint="Decide on the machine where the reviewer was enrolled, or enrol a key of this one.",
            ) from None
        if sealed.key_id != key_id:
            raise IntegrityError(f"{path} holds another key", hint=_DAMAGED_HINT)
        return sealed

    def _append(
        self,
        repository: str,
        entries: tuple[bytes, ...],
        statement: EnrolmentStatement | RevocationStatement,
        signer: Signer,
    ) -> tuple[Reviewer, ...]:
        entry = sign_statement(signer, statement).encode()
        before = self._verified(repository, entries)
        try:
            # By the rules that it is read with: what would be refused tomorrow is not written today.
            after = chain.extend(
                before,
                entry,
                repository=repository,
                previous=entries[-1] if entries else None,
                service_key_id=self.service_key_id(),
            )
        except Refused as refused:
            raise ApprovalError(f"this cannot be signed into the chain of reviewers: {refused}") from None
        chained = (*entries, entry)
        private_files.replace(self._of(repository) / "reviewers" / f"{len(chained):04d}.json", entry)
        pin = ChainPin(count=len(chained), first=sha256_hex(chained[0]), last=sha256_hex(entry))
        private_files.replace(self._of(repository) / "chain.json", canonical_json(pin.plain()) + b"\n")
        return after

    def _verified(self, repository: str, entries: tuple[bytes, ...]) -> tuple[Reviewer, ...]:
        try:
            return chain.replay(entries, repository=repository, service_key_id=self.service_key_id())
        except Refused as refused:
            where = self._of(repository) / "reviewers"
            raise IntegrityError(f"{where}: {refused}", hint=_DAMAGED_HINT) from None

    def _entries(self, repository: str) -> tuple[bytes, ...]:
        directory = self._of(repository) / "reviewers"
        if not directory.exists():
            return ()
        for path in (self.directory, directory.parent, directory):
            private_files.check_directory(path)
        names = sorted(p.name for p in directory.iterdir() if not p.name.startswith(private_files.TEMPORARY_PREFIX))
        for number, name in enumerate(names, start=1):
            if not _ENTRY.fullmatch(name) or name != f"{number:04d}.json":
                raise IntegrityError(
                    f"{directory / name} does not belong to the chain of reviewers", hint=_DAMAGED_HINT
                )
        return tuple(private_files.read(directory / name) for name in names)

    def _pin(self, repository: str) -> ChainPin | None:
        path = self._of(repository) / "chain.json"
        try:
            return ChainPin.read(read_json(private_files.read(path), source=str(path)), source=str(path))
        except FileNotFoundError:
            return None
        except DocumentError as error:
            raise IntegrityError(str(error), hint=_DAMAGED_HINT) from None

    def _prepare(self, repository: str) -> Path:
        directory = self._of(repository) / "reviewers"
        for path in (self.directory, directory.parent, directory):
            private_files.ensure_directory(path)
        return directory

    def _of(self, repository: str) -> Path:
        if not _REPOSITORY.fullmatch(repository) or repository == "keys":
            raise ValueError(f"not a repository id: {repository!r}")
        return self.directory / repository

    def _key_path(self, key_id: str) -> Path:
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError(f"not a key id: {key_id!r}")
        return self.directory / "keys" / f"{key_id}.json"
