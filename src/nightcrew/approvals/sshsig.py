"""The formats of OpenSSH that we read ourselves: public keys and SSHSIG signatures. No signature is verified here.

Sources: RFC 4253 section 6.6 and RFC 5656 section 3.1 (public keys), and of the OpenSSH sources ``PROTOCOL.sshsig``,
``PROTOCOL.u2f`` (keys on security keys) and ``PROTOCOL.key`` (private key files). We read less than they allow: one key
and one signature have one encoding.
"""

import base64
import binascii
import re
from dataclasses import dataclass

NAMESPACE = "nightcrew"
"""A signature made for another use of the same key (git, files, e-mail) carries another namespace."""

MIN_RSA_BITS = 2048
MAX_BYTES = 8192
"""Of an armored signature or of a public key; the longest real ones (RSA of 16384 bits) are shorter."""

_CURVES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}  # bytes of an uncompressed point
_ED25519 = "ssh-ed25519"
_RSA = "ssh-rsa"
_SK_ED25519 = "sk-ssh-ed25519@openssh.com"
_SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
KEY_TYPES = (_ED25519, *(f"ecdsa-sha2-{curve}" for curve in _CURVES), _SK_ED25519, _SK_ECDSA, _RSA)

_SIGNATURE_TYPES = {_RSA: ("rsa-sha2-256", "rsa-sha2-512")}  # SHA-1 is out; every other key signs under its own type
_USER_PRESENT = 0x01
_PUBLIC_KEY = re.compile(rb"([a-z0-9@.-]{1,64}) ([A-Za-z0-9+/]{1,7000}={0,2})")
_ARMOR = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n((?:[A-Za-z0-9+/=]{1,70}\n)+)-----END SSH SIGNATURE-----\n", re.ASCII
)


class MalformedError(ValueError):
    """The bytes are not what they should be; the message says how."""


@dataclass(frozen=True)
class PublicKey:
    """A public key: its type, and its encoding for the wire."""

    type: str
    blob: bytes

    @property
    def on_hardware(self) -> bool:
        """Whether a security key holds the private half."""
        return self.type in (_SK_ED25519, _SK_ECDSA)

    def encode(self) -> bytes:
        """``type base64``: what a reviewer is enrolled with."""
        return self.type.encode() + b" " + base64.b64encode(self.blob)


@dataclass(frozen=True)
class SshSignature:
    """What an SSHSIG blob says of itself; ``counter`` is a security key's, 0 for other keys."""

    blob: bytes
    public_key: bytes
    namespace: bytes
    type: str
    user_present: bool
    counter: int

    def armor(self) -> bytes:
        """The one text form, as ssh-keygen writes it."""
        text = base64.b64encode(self.blob)
        lines = b"".join(text[start : start + 70] + b"\n" for start in range(0, len(text), 70))
        return b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n"


def parse_public_key(text: bytes) -> PublicKey:
    """Read ``type base64`` without a comment; raises MalformedError for any other spelling, type or a weak key."""
    match = _PUBLIC_KEY.fullmatch(text)
    if match is None:
        raise MalformedError("it is not of the form: type base64")
    name = match[1].decode()
    if name not in KEY_TYPES:
        raise MalformedError(f"keys of type {name} are not accepted, only {', '.join(KEY_TYPES)}")
    key = PublicKey(name, _from_base64(match[2]))
    if key.encode() != text:
        raise MalformedError("its base64 is not the canonical one")
    key_itself(key)
    return key


def key_itself(key: PublicKey) -> bytes:
    """The number that makes it this key: 32 bytes of Ed25519, the x coordinate of a curve's point, the modulus of RSA.

    Raises MalformedError for a blob that is no key of its type, and for a weak key.
    """
    fields = _Fields(key.blob)
    if fields.string() != key.type.encode():
        raise MalformedError("its type is not the one inside it")
    if key.type == _RSA:
        itself = _modulus(exponent=fields.string(), modulus=fields.string())
    elif key.type in (_ED25519, _SK_ED25519):
        itself = fields.string()
        if len(itself) != 32:
            raise MalformedError("an Ed25519 key has 32 bytes")
    else:
        itself = _x_coordinate(fields, key.type)
    if key.on_hardware:
        fields.string()  # the application, "ssh:" by default
    fields.end()
    return itself


def parse_signature(text: bytes) -> SshSignature:
    """Read an armored signature; raises MalformedError."""
    match = _ARMOR.fullmatch(text) if len(text) <= MAX_BYTES else None
    if match is None:
        raise MalformedError("it is not an armored SSH signature")
    blob = _from_base64(match[1].replace(b"\n", b""))
    fields = _Fields(blob)
    if fields.take(6) != b"SSHSIG" or fields.number() != 1:
        raise MalformedError("it is not an SSH signature of version 1")
    public_key, namespace, reserved, hashed_with = (fields.string() for _ in range(4))
    if reserved or hashed_with not in (b"sha256", b"sha512"):
        raise MalformedError("it was made in a way that is not known")
    inner = _Fields(fields.string())
    fields.end()
    name = inner.string().decode("ascii", "replace")
    inner.string()
    flags, counter = (inner.byte(), inner.number()) if name in (_SK_ED25519, _SK_ECDSA) else (0, 0)
    inner.end()
    return SshSignature(blob, public_key, namespace, name, bool(flags & _USER_PRESENT), counter)


def fits(key: PublicKey, signature: SshSignature) -> bool:
    """Whether the signature claims to be by ``key``, for nightcrew, in a way we accept, and with a touch if it has one.

    ssh-keygen verifies a signature of a security key that nobody touched; we do not accept it.
    """
    return (
        signature.public_key == key.blob
        and signature.namespace == NAMESPACE.encode()
        and signature.type in _SIGNATURE_TYPES.get(key.type, (key.type,))
        and (signature.user_present or not key.on_hardware)
    )


def public_half(private_key_file: bytes) -> PublicKey | None:
    """The public key that an OpenSSH private key file carries unencrypted, None if the file is of another format."""
    match = re.search(
        rb"-----BEGIN OPENSSH PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----", private_key_file
    )
    if match is None:
        return None
    fields = _Fields(_from_base64(b"".join(match[1].split())))
    if fields.take(15) != b"openssh-key-v1\0":
        return None
    for _ in ("cipher", "key derivation", "its options"):
        fields.string()
    if fields.number() != 1:
        return None
    blob = fields.string()
    return parse_public_key(PublicKey(_Fields(blob).string().decode("ascii", "replace"), blob).encode())


def _x_coordinate(fields: "_Fields", name: str) -> bytes:
    curve = fields.string().decode("ascii", "replace")
    if f"ecdsa-sha2-{curve}" not in name:
        raise MalformedError("its curve is not that of its type")
    point = fields.string()
    if len(point) != _CURVES.get(curve) or point[0] != 4:
        raise MalformedError("its point is not an uncompressed one of its curve")
    return point[1 : 1 + len(point) // 2]


def _modulus(*, exponent: bytes, modulus: bytes) -> bytes:
    for number in (exponent, modulus):
        if not number or number[0] & 0x80 or (number[0] == 0 and not (len(number) > 1 and number[1] & 0x80)):
            raise MalformedError("a number in it is negative, or longer than it need be")
    bits = int.from_bytes(modulus, "big").bit_length()
    if bits < MIN_RSA_BITS:
        raise MalformedError(f"an RSA key of {bits} bits is too weak: at least {MIN_RSA_BITS} are needed")
    return modulus


class _Fields:
    """Reads the fields of RFC 4251, section 5, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise MalformedError("it ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise MalformedError("it goes on after its end")


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise MalformedError("its base64 is broken") from None
