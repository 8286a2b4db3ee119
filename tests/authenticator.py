"""A passkey in software: makes what a browser and an authenticator would, honest or with one thing wrong."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from nightcrew.approvals.passkey import (
    PasskeyAssertion,
    PasskeyKey,
    challenge_of,
    from_base64url,
    signature_of,
    to_base64url,
)
from nightcrew.approvals.signer import key_id_of
from nightcrew.model.statement import SignerKind

ORIGIN, RP_ID = "http://localhost:8377", "localhost"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One passkey (ES256); also a Signer, so that it can stand wherever a key of another kind does."""

    origin: str = ORIGIN
    rp_id: str = RP_ID
    credential_id: bytes = b"credential-of-the-tests"
    counter: int = 0
    counts: bool = True
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def kind(self) -> SignerKind:
        return SignerKind.PASSKEY

    @property
    def key_id(self) -> str:
        return key_id_of(self.public_key)

    @property
    def public_key(self) -> bytes:
        return PasskeyKey(
            cose=to_base64url(self.cose()),
            credential_id=to_base64url(self.credential_id),
            origin=self.origin,
            rp_id=self.rp_id,
        ).encode()

    def sign(self, pae: bytes) -> bytes:
        return signature_of(self.get(pae))

    def assertion(self, pae: bytes, **wrong: Any) -> PasskeyAssertion:
        return PasskeyAssertion(self.public_key, signature_of(self.get(pae, **wrong)))

    def cose(self) -> bytes:
        point = self.private.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})

    def raw(self, message: bytes) -> bytes:
        """The private key's signature."""
        return self.private.sign(message, ec.ECDSA(SHA256()))

    def get(
        self,
        pae: bytes,
        *,
        flags: int = PRESENT | VERIFIED,
        type_: str = "webauthn.get",
        origin: str | None = None,
        rp_id: str | None = None,
        counter: int | None = None,
        client: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What ``navigator.credentials.get`` gives, as ``toJSON()``."""
        self.counter += self.counts
        data = self._data(rp_id, flags, self.counter if counter is None else counter)
        challenge = to_base64url(challenge_of(pae))
        client_data = self._client_data(type_, challenge, origin, client)
        signature = self.raw(data + hashlib.sha256(client_data).digest())
        return self._credential(
            {
                "authenticatorData": to_base64url(data),
                "clientDataJSON": to_base64url(client_data),
                "signature": to_base64url(signature),
                "userHandle": to_base64url(b"user"),
            }
        )

    def create(
        self,
        challenge: str,
        *,
        flags: int = PRESENT | VERIFIED,
        type_: str = "webauthn.create",
        origin: str | None = None,
        rp_id: str | None = None,
        client: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What ``navigator.credentials.create`` gives, as ``toJSON()``; ``challenge`` is that of the options."""
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + self.cose()
        data = self._data(rp_id, flags | ATTESTED, self.counter) + attested
        return self._credential(
            {
                "attestationObject": to_base64url(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
                "clientDataJSON": to_base64url(self._client_data(type_, challenge, origin, client)),
                "transports": ["internal"],
            }
        )

    def _data(self, rp_id: str | None, flags: int, counter: int) -> bytes:
        return hashlib.sha256((rp_id or self.rp_id).encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big")

    def _client_data(self, type_: str, challenge: str, origin: str | None, client: dict[str, Any] | None) -> bytes:
        value = {"type": type_, "challenge": challenge, "origin": origin or self.origin, "crossOrigin": False}
        return json.dumps(value | (client or {}), separators=(",", ":")).encode()

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        identity = to_base64url(self.credential_id)
        return {
            "id": identity,
            "rawId": identity,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }


def changed(signature: bytes, name: str, change: Any) -> bytes:
    """A passkey's signature with one of its parts changed by ``change(bytes)``, everything else as it was."""
    value = json.loads(signature)
    value[name] = to_base64url(change(from_base64url(value[name])))
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
