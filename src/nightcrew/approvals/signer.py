"""What a signer is, and how a signature of each kind is verified: the one seam for kinds of keys.

A new kind adds its name to ``SignerKind``, a class that satisfies ``Signer``, an entry in ``_VERIFIERS`` and, if it
counts or can be checked by itself, a case in ``counter_of`` and ``check_public_key``; nothing else knows kinds apart.
"""

from collections.abc import Callable
from typing import Protocol

from nightcrew.approvals import ed25519
from nightcrew.approvals.memo import Memo, digest_of
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import DocumentError, UsageError
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


def _verify_ssh(public_key: bytes, message: bytes, signature: bytes) -> bool:
    from nightcrew.approvals import ssh

    return ssh.verify(public_key, message, signature)


def _verify_passkey(public_key: bytes, message: bytes, signature: bytes) -> bool:
    from nightcrew.approvals import passkey

    return passkey.verify(public_key, message, signature)


def _verify_github(public_key: bytes, message: bytes, signature: bytes) -> bool:
    from nightcrew.approvals import github

    return github.verify(public_key, message, signature)


# Imported where they are used: each brings a library or the network, and most commands verify none.
_VERIFIERS: dict[SignerKind, Callable[[bytes, bytes, bytes], bool]] = {
    SignerKind.PASSPHRASE: ed25519.verify,
    SignerKind.SSH: _verify_ssh,
    SignerKind.PASSKEY: _verify_passkey,
    SignerKind.GITHUB: _verify_github,
    SignerKind.SERVICE: ed25519.verify,
}

_PURE = frozenset({SignerKind.PASSPHRASE, SignerKind.SSH, SignerKind.PASSKEY})
_GOOD: Memo[bool] = Memo(4096)


def key_id_of(public_key: bytes) -> str:
    """The id that binds to a public key: SHA-256 of its bytes, hexadecimal."""
    return sha256_hex(public_key)


def verify_signature(kind: SignerKind, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is that of the holder of ``public_key`` over ``message``; never raises for bad input.

    A signature of a passphrase's key, an SSH key or a passkey that was good is not verified a second time in this
    process: whether it is good is a pure function of kind, key, message and signature, and the memo goes by the SHA-256
    of the three. It says nothing about the rest, which is asked each time: who the key belongs to, whether it was
    revoked, what the message says, how often the key has signed. What was bad is verified again, and GitHub is asked
    each time: a review can be dismissed. Raises ConfigurationError if what verifies this kind is missing here.
    """
    if kind not in _PURE:
        return _VERIFIERS[kind](public_key, message, signature)
    known = (kind, digest_of((public_key, message, signature)))
    if _GOOD.get(known):
        return True
    good = _VERIFIERS[kind](public_key, message, signature)
    if good:
        _GOOD.put(known, True)
    return good


def counter_of(kind: SignerKind, signature: bytes) -> int:
    """The count of signatures within a signature of a passkey or a security key, 0 if there is none.

    Raises ApprovalError for what is no signature of that kind.
    """
    if kind is SignerKind.PASSKEY:
        from nightcrew.approvals import passkey

        return passkey.counter_of(signature)
    if kind is SignerKind.SSH:
        from nightcrew.approvals import ssh

        return ssh.counter_of(signature)
    return 0


def check_public_key(kind: SignerKind, public_key: bytes) -> None:
    """Raises UsageError for bytes that no signature could verify with; GitHub's are checked by who makes them."""
    try:
        if kind is SignerKind.PASSKEY:
            from nightcrew.approvals.passkey_document import PasskeyKey

            PasskeyKey.decode(public_key)
        elif kind is SignerKind.SSH:
            from nightcrew.approvals.sshsig import parse_public_key

            parse_public_key(public_key)
        elif kind is SignerKind.PASSPHRASE and len(public_key) != ed25519.PUBLIC_KEY_BYTES:
            raise ValueError(f"it has {len(public_key)} bytes, not {ed25519.PUBLIC_KEY_BYTES}")
    except (ValueError, DocumentError) as error:
        raise UsageError(f"this is no public key of the kind {kind.value}: {error}") from None


def raw_material(kind: SignerKind, public_key: bytes) -> bytes:
    """The bytes in which a public key of that kind holds the key itself, empty if it is malformed or holds none."""
    try:
        if kind is SignerKind.PASSKEY:
            from nightcrew.approvals.passkey_document import PasskeyKey, from_base64url

            return from_base64url(PasskeyKey.decode(public_key).cose)
        if kind is SignerKind.SSH:
            from nightcrew.approvals.sshsig import parse_public_key

            return parse_public_key(public_key).blob
    except (ValueError, DocumentError):
        return b""
    return b""


def sign_statement(signer: Signer, statement: Statement) -> Envelope:
    """Sign a statement's one encoding; gives an envelope with one signature."""
    payload = statement.payload()
    return envelope_of(payload, [(signer.key_id, signer.sign(pae(PAYLOAD_TYPE, payload)))])
