"""Bytes under a key of the user's: for state that must lie where others can read, such as a cache of CI."""

import hashlib
import os

from nightcrew.model.errors import IntegrityError, UsageError

MAGIC = b"nightcrew-sealed-v1\n"
SHORTEST = 20
_SALT, _NONCE = 16, 12


def seal(data: bytes, key: str) -> bytes:
    """``data`` encrypted and authenticated (AES-256-GCM under scrypt of ``key``). Raises UsageError for a short key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(key) < SHORTEST:
        raise UsageError(
            f"the key has fewer than {SHORTEST} characters", hint="Make one, for example: openssl rand -hex 32"
        )
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return MAGIC + salt + nonce + AESGCM(_derived(key, salt)).encrypt(nonce, data, MAGIC)


def unseal(sealed: bytes, key: str) -> bytes:
    """What ``seal`` was given; raises IntegrityError for another key, or if a single bit is not as it was."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head = len(MAGIC)
    if not sealed.startswith(MAGIC) or len(sealed) < head + _SALT + _NONCE:
        raise IntegrityError(
            "this is no sealed state of nightcrew", hint="Give the file that nightcrew state save wrote."
        )
    salt, nonce = sealed[head : head + _SALT], sealed[head + _SALT : head + _SALT + _NONCE]
    try:
        return AESGCM(_derived(key, salt)).decrypt(nonce, sealed[head + _SALT + _NONCE :], MAGIC)
    except InvalidTag:
        raise IntegrityError(
            "the sealed state does not open: another key, or the file was damaged or changed",
            hint="Give the key that it was saved with.",
        ) from None


def _derived(key: str, salt: bytes) -> bytes:
    return hashlib.scrypt(key.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=64 << 20, dklen=32)
