"""Ed25519 (RFC 8032) over raw bytes: 32-byte seeds and public keys, 64-byte signatures.

``cryptography`` costs some 50 ms to import, so it is imported where it is used.
"""

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32


def public_key_of(seed: bytes) -> bytes:
    """The public key that belongs to a private seed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    """Sign ``message`` with a private seed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is valid; False, too, for a key or a signature that is malformed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
