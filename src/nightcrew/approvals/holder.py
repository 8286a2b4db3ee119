"""Who stands behind a key, as far as the key itself tells: two forms of one key, or of one account, are one person.

Nobody can see that two unrelated keys lie in one pocket: that is for the reviewer to know who signs the enrolment.
"""

from functools import lru_cache
from urllib.parse import urlsplit

from nightcrew.model.errors import DocumentError
from nightcrew.model.statement import SignerKind

_MODULUS = -1
_X = -2
_RSA = 3


@lru_cache(maxsize=4096)
def holder_of(kind: SignerKind, public_key: bytes) -> str | None:
    """What is the same for every form of one key or of one account; None for what is malformed, or nightcrew's.

    Of an Ed25519 key it is the 32 bytes, of an elliptic curve's the x coordinate, of RSA the modulus, whichever format
    they are in; of a review on GitHub the host and port that is asked and the login, in small letters as GitHub
    compares them. Which repository is asked, and with whose token, makes nobody another person.
    """
    try:
        if kind is SignerKind.GITHUB:
            return _account(public_key)
        itself = _key_itself(kind, public_key)
    except (ValueError, DocumentError):
        return None
    return f"key {itself.lstrip(bytes(1)).hex()}" if itself else None


def _account(public_key: bytes) -> str:
    from nightcrew.approvals.github import GithubKey
    from nightcrew.approvals.github_api import origin_of

    key = GithubKey.read(public_key)
    _, host, port = origin_of(urlsplit(key.api))
    return f"account {key.login.lower()} at {host.rstrip('.')}:{port}"


def _key_itself(kind: SignerKind, public_key: bytes) -> bytes:
    if kind is SignerKind.SSH:
        from nightcrew.approvals.sshsig import key_itself, parse_public_key

        return key_itself(parse_public_key(public_key))
    if kind is SignerKind.PASSKEY:
        from nightcrew.approvals.passkey_document import PasskeyKey, from_base64url

        return _of_cose(from_base64url(PasskeyKey.decode(public_key).cose))
    return public_key if kind is SignerKind.PASSPHRASE else b""


def _of_cose(cose: bytes) -> bytes:
    """The key in a COSE_Key (RFC 9052 section 7; RFC 9053 section 7 for curves, RFC 8230 section 4 for RSA)."""
    import cbor2  # webauthn reads keys with it, so what it makes of them is what signatures are verified with

    try:
        value = cbor2.loads(cose)
        found = value[_MODULUS if value[1] == _RSA else _X]
    except Exception as error:  # whatever the parser makes of bytes that are malformed
        raise ValueError(f"not a COSE key: {error}") from None
    if not isinstance(found, bytes):
        raise ValueError("not a COSE key: its number is no byte string")
    return found
