"""The passphrase signer: an Ed25519 key sealed by a passphrase, for machines with neither passkeys nor SSH keys.

The passphrase goes through scrypt (RFC 7914) to a key for AES-256-GCM, which seals the private seed and authenticates
everything else in the file, so that no field of it can be changed unseen.
"""

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import Field, model_validator

from nightcrew.approvals import ed25519
from nightcrew.approvals.signer import key_id_of
from nightcrew.model.canonical import canonical_json
from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.document import Document
from nightcrew.model.errors import ApprovalError, DocumentError, IntegrityError, UsageError
from nightcrew.model.statement import Moment, Sha256, SignerKind, from_base64, read_json, to_base64

MIN_PASSPHRASE_LENGTH = 8
"""In characters; asked of new passphrases only."""

MAX_SCRYPT_BYTES = 512 << 20
"""Most memory that opening a key file may take: a file that asks for more is refused, not obeyed."""

_SALT_BYTES = 16
_NONCE_BYTES = 12  # SP 800-38D: the length that GCM takes as it is


class ScryptParameters(Document):
    """The cost of one guess: ``n`` (a power of two), ``r`` and ``p`` of RFC 7914; memory is ``128 * n * r`` bytes.

    The default is OWASP's first recommendation: 128 MiB, a few tenths of a second.
    """

    n: int = Field(default=2**17, ge=2**10, strict=True)
    r: int = Field(default=8, ge=8, le=32, strict=True)
    p: int = Field(default=1, ge=1, le=4, strict=True)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.n & (self.n - 1):
            raise ValueError("n is not a power of two")
        if 128 * self.n * self.r > MAX_SCRYPT_BYTES:
            raise ValueError(f"needs more than {MAX_SCRYPT_BYTES >> 20} MiB of memory")
        return self


class SealedKey(Document):
    """A key file. ``salt``, ``nonce``, ``sealed`` and ``public_key`` are base64."""

    format: Literal["nightcrew-sealed-key-v1"] = "nightcrew-sealed-key-v1"
    key_id: Sha256
    public_key: str = Field(max_length=100)
    created: Moment
    kdf: Literal["scrypt"] = "scrypt"
    scrypt: ScryptParameters
    salt: str = Field(max_length=100)
    cipher: Literal["AES-256-GCM"] = "AES-256-GCM"
    nonce: str = Field(max_length=100)
    sealed: str = Field(max_length=200)

    def encode(self) -> bytes:
        """The file's bytes."""
        return canonical_json(self.plain()) + b"\n"

    def authenticated(self) -> bytes:
        """What the seal binds besides the seed: every other field."""
        return canonical_json({name: value for name, value in self.plain().items() if name != "sealed"})


@dataclass(frozen=True)
class PassphraseSigner:
    """An opened key. It lives in memory only; ``repr`` does not show it."""

    public_key: bytes
    _seed: bytes = field(repr=False)

    @property
    def kind(self) -> SignerKind:
        """Always passphrase."""
        return SignerKind.PASSPHRASE

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key."""
        return key_id_of(self.public_key)

    def sign(self, pae: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return ed25519.sign(self._seed, pae)


def create_key(
    passphrase: str,
    *,
    scrypt: ScryptParameters | None = None,
    clock: Clock = system_clock,
    randomness: Callable[[int], bytes] = os.urandom,
) -> tuple[SealedKey, PassphraseSigner]:
    """Make a new key: the file to keep, and the signer, opened. ``randomness(count)`` gives that many secret bytes.

    Raises UsageError for a passphrase of fewer than MIN_PASSPHRASE_LENGTH characters.
    """
    if len(passphrase) < MIN_PASSPHRASE_LENGTH:
        raise UsageError(
            f"the passphrase has fewer than {MIN_PASSPHRASE_LENGTH} characters",
            hint="Take a longer one: four or five random words are easy to remember and hard to guess.",
        )
    seed = randomness(ed25519.SEED_BYTES)
    public_key = ed25519.public_key_of(seed)
    unsealed = SealedKey(
        key_id=key_id_of(public_key),
        public_key=to_base64(public_key),
        created=clock(),
        scrypt=scrypt or ScryptParameters(),
        salt=to_base64(randomness(_SALT_BYTES)),
        nonce=to_base64(randomness(_NONCE_BYTES)),
        sealed="",
    )
    return unsealed.model_copy(update={"sealed": to_base64(_seal(unsealed, passphrase, seed))}), PassphraseSigner(
        public_key, seed
    )


def read_sealed_key(data: bytes, *, source: str) -> SealedKey:
    """Read a key file's bytes; raises IntegrityError if they are not one, or ask for too much memory to open."""
    try:
        return SealedKey.read(read_json(data, source=source), source=source)
    except DocumentError as error:
        raise IntegrityError(str(error), hint="Restore the key file from a backup, or enrol a new key.") from None


def open_key(sealed: SealedKey, passphrase: str) -> PassphraseSigner:
    """Open a key file. Takes as long as its scrypt parameters ask.

    Raises ApprovalError for a wrong passphrase (a changed file looks the same), IntegrityError for a file whose parts
    cannot belong together.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, ciphertext = _part(sealed.nonce, "nonce", _NONCE_BYTES), _part(sealed.sealed, "sealed")
    try:
        seed = AESGCM(_sealing_key(sealed, passphrase)).decrypt(nonce, ciphertext, sealed.authenticated())
    except InvalidTag:
        raise ApprovalError(
            "the passphrase is wrong, or the key file has been changed",
            hint="Type it again; if you are sure of it, restore the key file from a backup or enrol a new key.",
        ) from None
    public_key = ed25519.public_key_of(seed)
    if to_base64(public_key) != sealed.public_key or key_id_of(public_key) != sealed.key_id:
        raise IntegrityError("the key file names a public key that is not that of its private key")
    return PassphraseSigner(public_key, seed)


def _seal(unsealed: SealedKey, passphrase: str, seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = _part(unsealed.nonce, "nonce", _NONCE_BYTES)
    return AESGCM(_sealing_key(unsealed, passphrase)).encrypt(nonce, seed, unsealed.authenticated())


def _sealing_key(sealed: SealedKey, passphrase: str) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    salt, cost = _part(sealed.salt, "salt", _SALT_BYTES), sealed.scrypt
    # Keyboards and files spell the same letters differently (NFC, NFD): RFC 8265, OpaqueString.
    secret = unicodedata.normalize("NFC", passphrase).encode(errors="surrogateescape")
    return Scrypt(salt=salt, length=32, n=cost.n, r=cost.r, p=cost.p).derive(secret)


def _part(text: str, name: str, length: int | None = None) -> bytes:
    try:
        data = from_base64(text, source=f"key file: {name}")
    except DocumentError as error:
        raise IntegrityError(str(error)) from None
    if length is not None and len(data) != length:
        raise IntegrityError(f"key file: {name} has {len(data)} bytes, not {length}")
    return data
