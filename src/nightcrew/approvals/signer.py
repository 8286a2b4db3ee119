"""What a signer is, and how a signature of each kind is verified: the one seam for kinds of keys.

A new kind (an SSH key, a passkey) adds its name to ``SignerKind``, a class that satisfies ``Signer`` and one entry in
``_VERIFIERS``; nothing else knows kinds apart.
"""

from collections.abc import Callable
from typing import Protocol

from nightcrew.approvals import ed25519
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.statement import PAYLOAD_TYPE, Envelope, SignerKind, Statement, envelope_of, pae


class Signer(Protocol):
    """Holds a private key and signs with it."""

    @property
    def kind(self) -> SignerKind:
        """What holds the key; decides how its signatures are verified."""
        ...

    @property
    def key_id(self) -> str:
        """``key_id_of(public_key)``."""
        ...

    @property
    def public_key(self) -> bytes:
        """The public key, in the encoding of its kind (Ed25519: the 32 bytes of RFC 8032)."""
        ...

    def sign(self, pae: bytes) -> bytes:
        """Sign a DSSE pre-authentication encoding; gives the signature in the encoding of this kind."""
        ...


_VERIFIERS: dict[SignerKind, Callable[[bytes, bytes, bytes], bool]] = {
    SignerKind.PASSPHRASE: ed25519.verify,
    SignerKind.SERVICE: ed25519.verify,
}


def key_id_of(public_key: bytes) -> str:
    """The id that binds to a public key: SHA-256 of its bytes, hexadecimal."""
    return sha256_hex(public_key)


def verify_signature(kind: SignerKind, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is that of the holder of ``public_key`` over ``message``; never raises for bad input."""
    return _VERIFIERS[kind](public_key, message, signature)


def sign_statement(signer: Signer, statement: Statement) -> Envelope:
    """Sign a statement's one encoding; gives an envelope with one signature."""
    payload = statement.payload()
    return envelope_of(payload, [(signer.key_id, signer.sign(pae(PAYLOAD_TYPE, payload)))])
