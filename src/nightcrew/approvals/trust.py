"""The trust anchor: who may decide, kept in the user's configuration directory where no agent can write.

Layout, directories of mode 0700 and files of mode 0600::

    trust/
      service.json                     nightcrew's own key
      roots.json                       which ledger belongs to the repository at which path
      keys/<key id>.json               sealed private keys
      <repository id>/
        genesis.json                   the ledger's genesis and last seen head
        chain.json                     how long the chain of reviewers is, its first and last entry
        reviewers/0001.json, ...       the chain: signed enrolments and revocations, one DSSE envelope each
        counters.json                  how often passkeys and security keys have signed
        pending/<key id>.json          keys that wait for the signature of a reviewer

A reviewer exists because a chain of signatures leads to the first one, who was enrolled in a ceremony on first use;
the whole chain is verified on every read. ``chain.json`` makes a removed revocation noticed. Whoever can write all of
this directory is the user; the signatures are for everything less than that.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from nightcrew.approvals import chain, private_files, service
from nightcrew.approvals.chain_files import ChainFiles
from nightcrew.approvals.counters import SignCounters
from nightcrew.approvals.key_files import KeyFiles
from nightcrew.approvals.ledger_pin import LedgerPin
from nightcrew.approvals.passphrase import SealedKey
from nightcrew.approvals.pending import Pending, PendingKeys
from nightcrew.approvals.reviewer import Reviewer
from nightcrew.approvals.roots import RootPins
from nightcrew.approvals.signer import Signer, check_public_key, counter_of, sign_statement
from nightcrew.location import config_directory
from nightcrew.model.clock import Clock
from nightcrew.model.errors import ApprovalError, ConfigurationError, NotFoundError
from nightcrew.model.statement import EnrolmentStatement, RevocationStatement, SignerKind

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_TRIES = 20


class _ChainMovedError(ApprovalError):
    """Somebody else wrote into the chain in between."""


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

    def roots(self) -> RootPins:
        """Which ledger belongs to which repository on this machine."""
        return RootPins(self.directory)

    def begun(self, repository: str) -> bool:
        """Whether a first reviewer has been enrolled."""
        return self._chain(repository).begun()

    def reviewers(self, repository: str) -> tuple[Reviewer, ...]:
        """Every key ever enrolled, revoked ones too, in order; empty before the first. Verifies the whole chain.

        Raises IntegrityError, naming the file and the reason, if anything was added, changed or removed by hand.
        """
        files = self._chain(repository)
        return files.verified(files.entries())

    def keys(self, repository: str, name: str) -> tuple[Reviewer, ...]:
        """The active keys of the reviewer of that name, at least one.

        Raises NotFoundError, or IntegrityError as ``reviewers``.
        """
        active = [reviewer for reviewer in self.reviewers(repository) if reviewer.active]
        if found := tuple(reviewer for reviewer in active if reviewer.name == name):
            return found
        known = ", ".join(dict.fromkeys(reviewer.name for reviewer in active)) or "nobody"
        raise NotFoundError(
            f"no reviewer is named {name} (enrolled: {known})", hint=f"Run: nightcrew reviewer add {name}"
        )

    def reviewer(self, repository: str, name: str) -> Reviewer:
        """The first active key of the reviewer of that name; raises as ``keys``."""
        return self.keys(repository, name)[0]

    def statements(self, repository: str) -> tuple[bytes, ...]:
        """The chain's envelopes as they are stored, for an auditor or the ledger; their signatures are not verified.

        Raises IntegrityError if a file is missing, or lies there without belonging to the chain.
        """
        return self._chain(repository).entries()

    def enrol_first(self, repository: str, name: str, signer: Signer, *, nonce: str, clock: Clock) -> Reviewer:
        """Enrol the first reviewer, by his own signature: trust on first use, in a ceremony that a person watches.

        ``nonce`` is 32 to 64 random hexadecimal digits. Raises ApprovalError if somebody was enrolled before or the key
        is not a person's, DocumentError for a name that is not one.
        """
        if self.begun(repository):
            raise ApprovalError(
                "this repository has reviewers: one of them has to sign the enrolment of another",
                hint="Run: nightcrew reviewer add NAME, signed by an enrolled reviewer.",
            )
        statement = self.prepare_enrolment(
            repository, name, kind=signer.kind, public_key=signer.public_key, nonce=nonce, clock=clock
        )
        return self.append(repository, statement, signer)

    def enrol(
        self, repository: str, name: str, *, kind: SignerKind, public_key: bytes, by: Signer, nonce: str, clock: Clock
    ) -> Reviewer:
        """Enrol another public key, signed by ``by``: an active reviewer's, of the same name if that is taken.

        Raises ApprovalError if ``by`` may not do that, or the key is taken or not a person's; UsageError for bytes
        that are no key; IntegrityError as ``reviewers``.
        """
        if not self.begun(repository) and not self.statements(repository):
            raise ApprovalError("no first reviewer is enrolled yet", hint="Run: nightcrew reviewer add NAME")
        return self._sign_in(
            repository,
            lambda: self.prepare_enrolment(
                repository, name, kind=kind, public_key=public_key, nonce=nonce, clock=clock
            ),
            by,
        )

    def revoke(
        self,
        repository: str,
        name: str,
        *,
        by: Signer,
        nonce: str,
        clock: Clock,
        reason: str = "",
        key_id: str | None = None,
    ) -> Reviewer:
        """Revoke one active key of the reviewer of that name, or all of them, with one signature of ``by``.

        Gives the (first) key as revoked. From then on no signature of it verifies, whatever time it claims: what was
        used stands, the rest is void. Raises NotFoundError; ApprovalError if ``by`` is not an active reviewer, or
        nobody would be left who could enrol another.
        """
        return self._sign_in(
            repository,
            lambda: self.prepare_revocation(repository, name, nonce=nonce, clock=clock, reason=reason, key_id=key_id),
            by,
        )

    def prepare_enrolment(
        self, repository: str, name: str, *, kind: SignerKind, public_key: bytes, nonce: str, clock: Clock
    ) -> EnrolmentStatement:
        """The statement that enrols a key next, to be signed and given to ``append``.

        Before the first reviewer it is the one that this key signs itself. Raises DocumentError for a name that is not
        one, UsageError for bytes that are no key, ApprovalError for a key, an account or a name that is taken,
        IntegrityError as ``reviewers``.
        """
        check_public_key(kind, public_key)
        files = self._chain(repository)
        entries = files.to_extend()
        previous = entries[-1] if entries else None
        statement = chain.enrolment(
            repository, previous, name=name, kind=kind, public_key=public_key, time=clock(), nonce=nonce
        )
        files.check_new(entries, name, kind, public_key)
        return statement

    def prepare_revocation(
        self, repository: str, name: str, *, nonce: str, clock: Clock, reason: str = "", key_id: str | None = None
    ) -> RevocationStatement:
        """The statement that revokes one active key of a reviewer, or all, to be signed and given to ``append``.

        Raises NotFoundError; ApprovalError if nobody would be left who could enrol another.
        """
        files = self._chain(repository)
        entries = files.entries()
        targets = [key for key in self.keys(repository, name) if key_id in (None, key.key_id)]
        if not targets:
            raise NotFoundError(f"{name} has no active key {(key_id or '')[:16]}", hint="Run: nightcrew reviewer list")
        if not chain.can_sign(reviewer for reviewer in files.verified(entries) if reviewer not in targets):
            raise ApprovalError(
                f"{name} is the only reviewer who can sign: nobody could enrol or revoke anybody afterwards",
                hint="Enrol another key first, then revoke this one with it.",
            )
        key_ids = [target.key_id for target in targets]
        return chain.revocation(repository, entries[-1], key_ids=key_ids, reason=reason, time=clock(), nonce=nonce)

    def append(self, repository: str, statement: EnrolmentStatement | RevocationStatement, signer: Signer) -> Reviewer:
        """Sign what was prepared and put it into the chain; gives the key as enrolled or revoked.

        Raises ApprovalError if the chain has changed since it was prepared, or its rules refuse the statement.
        """
        # Signed before the lock is taken: a person who is asked for a touch must not keep the night's work waiting.
        envelope = sign_statement(signer, statement)
        files = self._chain(repository)
        files.prepare()
        with private_files.lock(self._of(repository)):
            entries = files.to_extend()
            if not chain.follows(statement, repository, entries[-1] if entries else None):
                raise _ChainMovedError(
                    "the chain of reviewers has changed since this was prepared: it does not follow any more",
                    hint="Do it again, on what is there now.",
                )
            entry = envelope.encode()
            after = files.extended(entries, entry)
            for signature in envelope.signatures:
                count = counter_of(signer.kind, signature.value())
                SignCounters(self._of(repository)).advance(signature.keyid, count)
            files.write(entries, entry)
        return next(reviewer for reviewer in after if reviewer.key_id == statement.predicate.key_id)

    def counter(self, repository: str, key_id: str) -> int:
        """The last count of signatures seen of a key, 0 if it does not count; see ``signer.counter_of``."""
        return SignCounters(self._of(repository)).of(key_id)

    def advance_counter(self, repository: str, key_id: str, count: int) -> None:
        """Remember the count of a signature that is used now; raises ApprovalError if it does not rise.

        A key that does not count always says 0, which is fine until it has counted once.
        """
        directory = self._made(repository)
        with private_files.lock(directory):
            SignCounters(directory).advance(key_id, count)

    def keep_pending(self, repository: str, pending: Pending) -> None:
        """Store a key that waits for a reviewer's signature; raises UsageError if it is none, or too many wait."""
        directory = self._made(repository)
        with private_files.lock(directory):
            PendingKeys(directory).keep(pending)

    def pending(self, repository: str) -> tuple[Pending, ...]:
        """The keys that wait for a reviewer's signature, the oldest first; raises IntegrityError if one was damaged."""
        return PendingKeys(self._of(repository)).all()

    def drop_pending(self, repository: str, key_id: str) -> None:
        """Forget a key that waits; nothing happens if it does not."""
        PendingKeys(self._of(repository)).drop(key_id)

    def keep_key(self, sealed: SealedKey) -> Path:
        """Store a sealed private key under its id; gives the file. A key that is there already is left alone."""
        return KeyFiles(self.directory).keep(sealed)

    def sealed_key(self, key_id: str) -> SealedKey:
        """The sealed key of that id; raises NotFoundError, IntegrityError if it is damaged or is another key."""
        return KeyFiles(self.directory).read(key_id)

    def _sign_in(
        self,
        repository: str,
        prepare: Callable[[], EnrolmentStatement | RevocationStatement],
        signer: Signer,
    ) -> Reviewer:
        for _ in range(_TRIES):
            with suppress(_ChainMovedError):  # another process was faster
                return self.append(repository, prepare(), signer)
        return self.append(repository, prepare(), signer)

    def _chain(self, repository: str) -> ChainFiles:
        self._of(repository)
        return ChainFiles(self.directory, repository)

    def _made(self, repository: str) -> Path:
        directory = self._of(repository)
        for path in (self.directory, directory):
            private_files.ensure_directory(path)
        return directory

    def _of(self, repository: str) -> Path:
        if not _REPOSITORY.fullmatch(repository) or repository == "keys":
            raise ValueError(f"not a repository id: {repository!r}")
        return self.directory / repository
