"""A passkey's public key and signature as documents with one encoding each: what is enrolled, and what is stored."""

import base64
import binascii
import re
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from nightcrew.model.canonical import canonical_json
from nightcrew.model.document import Document
from nightcrew.model.errors import DocumentError
from nightcrew.model.statement import read_json

_T = TypeVar("_T", bound=Document)
_ORIGIN = re.compile(r"(https?)://([a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[1-9][0-9]{0,4})?", re.ASCII)


def to_base64url(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5), as in WebAuthn's JSON."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Decode what ``to_base64url`` gives; raises ValueError for any other spelling of the same bytes."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
    if to_base64url(data) != text:
        raise ValueError("not canonical base64url")
    return data


def _check_base64url(text: str) -> str:
    from_base64url(text)
    return text


Base64Url = Annotated[str, Field(min_length=1, max_length=8192), AfterValidator(_check_base64url)]


class PasskeyKey(Document):
    """A passkey's public half: the COSE key, the credential's id, and the page that it signs on."""

    cose: Base64Url
    credential_id: Annotated[Base64Url, Field(max_length=1364)]  # 1023 bytes: WebAuthn, "Credential ID"
    origin: str = Field(max_length=300)
    rp_id: str = Field(min_length=1, max_length=253)
    v: Literal[1] = 1

    @model_validator(mode="after")
    def _browser_would_allow_it(self) -> Self:
        match = _ORIGIN.fullmatch(self.origin)
        if match is None:
            raise ValueError("the origin is not of the form https://host or http://localhost:port")
        scheme, host = match[1], match[2]
        if scheme == "http" and host != "localhost":
            raise ValueError("passkeys work over https only, or on http://localhost")
        if host != self.rp_id and not host.endswith(f".{self.rp_id}"):
            raise ValueError("the origin's host is not within the relying party's id")
        return self

    @classmethod
    def decode(cls, public_key: bytes) -> Self:
        """Read what a reviewer is enrolled with; raises DocumentError unless it is in its canonical encoding."""
        return _decode(cls, public_key, "passkey")

    def encode(self) -> bytes:
        """What a reviewer is enrolled with."""
        return canonical_json(self.plain())


class PasskeySignature(Document):
    """An assertion, as the browser gave it."""

    authenticator_data: Base64Url
    client_data: Base64Url
    signature: Base64Url

    @classmethod
    def decode(cls, signature: bytes) -> Self:
        """Read a signature's bytes; raises DocumentError unless they are in their canonical encoding."""
        return _decode(cls, signature, "passkey signature")

    def encode(self) -> bytes:
        """The signature's bytes."""
        return canonical_json(self.plain())


def _decode(kind: type[_T], data: bytes, source: str) -> _T:
    read = kind.read(read_json(data, source=source), source=source)
    if canonical_json(read.plain()) != data:
        raise DocumentError(f"{source}: not in its canonical encoding")
    return read
