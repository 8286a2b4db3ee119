"""The passkey signer: a reviewer signs in the browser with one touch (Web Authentication, Level 3).

The challenge is the SHA-256 of what is signed, so that a passkey's assertion is a signature over exactly that. The
address of the inbox page is bound to the key when it is enrolled: a page at another address, another port of this
machine included, collects no signature that counts. The authenticator must have verified the person each time.

The ``webauthn`` library verifies; here are the checks that it leaves to its caller, and the one encoding of keys and
signatures (see ``passkey_document``). It costs some 120 ms to import, so it is imported where it is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from nightcrew.approvals.passkey_document import PasskeyKey, PasskeySignature, from_base64url, to_base64url
from nightcrew.approvals.reviewer import Reviewer
from nightcrew.approvals.signer import key_id_of
from nightcrew.model.errors import ApprovalError, DocumentError, UsageError
from nightcrew.model.statement import SignerKind, read_json

__all__ = [
    "ALGORITHMS",
    "PasskeyAssertion",
    "PasskeyKey",
    "PasskeySignature",
    "assertion_options",
    "challenge_of",
    "counter_of",
    "from_base64url",
    "read_registration",
    "registration_options",
    "signature_of",
    "signing_key",
    "to_base64url",
    "verify",
]

ALGORITHMS = (-8, -7, -257)
"""What a passkey may sign with: EdDSA (Ed25519), ES256 and RS256, by their numbers in the COSE registry."""

_MIN_RSA_BITS = 2048
_COUNTER = slice(33, 37)  # of authenticator data: 32 bytes of hash, one of flags, four of counter
_TIMEOUT_MS = 5 * 60 * 1000  # WebAuthn, section 15.1: the default when the person has to be verified


@dataclass(frozen=True)
class PasskeyAssertion:
    """A signer whose one signature was made already, in the browser: over exactly what was prepared for it."""

    public_key: bytes
    signature: bytes

    @property
    def kind(self) -> SignerKind:
        """Always passkey."""
        return SignerKind.PASSKEY

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key."""
        return key_id_of(self.public_key)

    def sign(self, pae: bytes) -> bytes:
        """The signature; raises ApprovalError if it was made over something else."""
        if not verify(self.public_key, pae, self.signature):
            raise ApprovalError(
                "the passkey's signature does not stand for this",
                hint="Open the page again and sign what it shows now.",
            )
        return self.signature


def challenge_of(pae: bytes) -> bytes:
    """The challenge that makes an assertion a signature over ``pae``."""
    return sha256(pae).digest()


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is an assertion by that passkey over ``message``, on its page, the person verified.

    False, too, for anything malformed. Its counter is not compared: it rises with later signatures, and this one is to
    verify then as well (see ``counter_of``).
    """
    from webauthn import verify_authentication_response
    from webauthn.helpers.structs import AuthenticationCredential, AuthenticatorAssertionResponse

    try:
        key, given = PasskeyKey.decode(public_key), PasskeySignature.decode(signature)
        credential_id, client_data = from_base64url(key.credential_id), from_base64url(given.client_data)
        _check_client_data(client_data, type_="webauthn.get", challenge=challenge_of(message), origin=key.origin)
        _check_cose_key(from_base64url(key.cose))
        verify_authentication_response(
            credential=AuthenticationCredential(
                id=key.credential_id,
                raw_id=credential_id,
                response=AuthenticatorAssertionResponse(
                    client_data_json=client_data,
                    authenticator_data=from_base64url(given.authenticator_data),
                    signature=from_base64url(given.signature),
                ),
            ),
            expected_challenge=challenge_of(message),
            expected_rp_id=key.rp_id,
            expected_origin=key.origin,
            credential_public_key=from_base64url(key.cose),
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except Exception:  # whatever the parsers of JSON, CBOR and keys make of bytes that are malformed
        return False
    return True


def counter_of(signature: bytes) -> int:
    """How many signatures the authenticator says it has made; 0 if it does not count. Raises ApprovalError."""
    try:
        data = from_base64url(PasskeySignature.decode(signature).authenticator_data)
    except DocumentError as error:
        raise ApprovalError(str(error)) from None
    if len(data) < _COUNTER.stop:
        raise ApprovalError("the passkey's authenticator data ends too early")
    return int.from_bytes(data[_COUNTER], "big")


def signature_of(credential: Mapping[str, Any]) -> bytes:
    """The signature in what the browser gives (``credential.toJSON()``, parsed); raises ApprovalError if malformed."""
    response = credential.get("response")
    if credential.get("type") != "public-key" or not isinstance(response, Mapping):
        raise ApprovalError("the browser sent no passkey's assertion")
    value = {
        "authenticator_data": response.get("authenticatorData"),
        "client_data": response.get("clientDataJSON"),
        "signature": response.get("signature"),
    }
    try:
        return PasskeySignature.read(value, source="passkey's assertion").encode()
    except DocumentError as error:
        raise ApprovalError(str(error)) from None


def registration_options(
    rp_id: str, rp_name: str, user_name: str, user_id: bytes, challenge: bytes, exclude: Sequence[bytes | str] = ()
) -> dict[str, Any]:
    """What ``navigator.credentials.create`` is asked, as JSON; ``exclude`` are ids of credentials he has already.

    ``user_id`` is 1 to 64 bytes that stand for the person on the authenticator, ``challenge`` at least 16 random ones.
    """
    return {
        "rp": {"id": rp_id, "name": rp_name},
        "user": {"id": to_base64url(user_id), "name": user_name, "displayName": user_name},
        "challenge": to_base64url(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        "timeout": _TIMEOUT_MS,
        "excludeCredentials": [_descriptor(i if isinstance(i, str) else to_base64url(i)) for i in exclude],
        "authenticatorSelection": {
            "residentKey": "preferred",
            "requireResidentKey": False,
            "userVerification": "required",
        },
        "attestation": "none",  # who made the authenticator proves nothing that we ask
    }


def read_registration(credential: Mapping[str, Any] | str, *, challenge: bytes, origin: str, rp_id: str) -> bytes:
    """The public key in what the browser gives for a new passkey (``credential.toJSON()``), to be enrolled.

    Raises ApprovalError unless the passkey was made for ``challenge`` on the page at ``origin``, the person verified.
    """
    from webauthn import verify_registration_response
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    try:
        value = read_json(credential.encode(), source="passkey") if isinstance(credential, str) else dict(credential)
        client_data = from_base64url(value["response"]["clientDataJSON"])
        _check_client_data(client_data, type_="webauthn.create", challenge=challenge, origin=origin)
        made = verify_registration_response(
            credential=value,
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=origin,
            require_user_verification=True,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(algorithm) for algorithm in ALGORITHMS],
        )
        _check_cose_key(made.credential_public_key)
        if value["id"] != to_base64url(made.credential_id):
            raise ValueError("the credential's id is not the one that the authenticator gave")
        blob = PasskeyKey.read(
            {
                "cose": to_base64url(made.credential_public_key),
                "credential_id": to_base64url(made.credential_id),
                "origin": origin,
                "rp_id": rp_id,
            },
            source="passkey",
        )
    except Exception as error:  # whatever the parsers of JSON, CBOR and keys make of what a page sent
        raise ApprovalError(
            f"this passkey cannot be registered: {error or type(error).__name__}",
            hint="Register it again; the authenticator has to ask for a PIN, a fingerprint or a face.",
        ) from None
    return blob.encode()


def assertion_options(keys: Sequence[Reviewer], pae: bytes, *, origin: str | None = None) -> dict[str, Any]:
    """What ``navigator.credentials.get`` is asked, as JSON, for a signature over ``pae`` by one of ``keys``.

    Keys of other kinds, and with ``origin`` those enrolled on another page, are left out. Raises UsageError if none is
    left, or if they are of more than one relying party.
    """
    read = [PasskeyKey.decode(key.public_key) for key in keys if key.kind is SignerKind.PASSKEY and key.active]
    usable = [key for key in read if origin is None or key.origin == origin]
    places = {key.rp_id for key in usable}
    if len(places) != 1:
        raise UsageError(
            "no passkey is enrolled for this page" if not places else "the passkeys are enrolled for different pages",
            hint=f"Open the inbox at the address where the passkey was registered: {_origins(read)}",
        )
    return {
        "challenge": to_base64url(challenge_of(pae)),
        "timeout": _TIMEOUT_MS,
        "rpId": places.pop(),
        "allowCredentials": [_descriptor(key.credential_id) for key in usable],
        "userVerification": "required",
    }


def signing_key(keys: Sequence[Reviewer], credential: Mapping[str, Any]) -> Reviewer:
    """Which of ``keys`` the browser says it signed with (its ``id``), unverified; raises ApprovalError if none."""
    for key in keys:
        if key.kind is SignerKind.PASSKEY and key.active:
            try:
                known = PasskeyKey.decode(key.public_key).credential_id
            except DocumentError:
                continue
            if known == credential.get("id"):
                return key
    raise ApprovalError("the passkey that signed is not one of this reviewer's")


def _check_client_data(client_data: bytes, *, type_: str, challenge: bytes, origin: str) -> None:
    """What the browser says of the ceremony (WebAuthn, "CollectedClientData"); raises ValueError, DocumentError.

    A page inside a frame of another site's page signs nothing: the person would not see what.
    """
    value = read_json(client_data, source="client data")
    if not isinstance(value, dict):
        raise ValueError("the client data is no object")
    for field, expected in (("type", type_), ("challenge", to_base64url(challenge)), ("origin", origin)):
        if value.get(field) != expected:
            raise ValueError(f"its {field} is not the one expected")
    if value.get("crossOrigin", False) is not False or "topOrigin" in value:
        raise ValueError("it was made inside a frame of another site's page")


def _check_cose_key(cose: bytes) -> None:
    """Raises ValueError, or what the library raises, unless it is a key for one of ALGORITHMS, strong enough."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography

    decoded = decode_credential_public_key(cose)
    if decoded.alg not in ALGORITHMS:
        raise ValueError(f"its algorithm {decoded.alg} is not accepted")
    key = decoded_public_key_to_cryptography(decoded)
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        raise ValueError(f"an RSA key of {key.key_size} bits is too weak")


def _descriptor(credential_id: str) -> dict[str, str]:
    return {"type": "public-key", "id": credential_id}


def _origins(keys: Sequence[PasskeyKey]) -> str:
    return ", ".join(sorted({key.origin for key in keys})) or "none is registered yet"
