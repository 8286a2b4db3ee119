"""Signers without a file or a process: formats are read strictly, passkeys verify for exactly what was signed."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.authenticator import ORIGIN, PRESENT, RP_ID, VERIFIED, Authenticator, changed

from nightcrew.approvals import chain
from nightcrew.approvals.passkey import (
    PasskeyKey,
    assertion_options,
    challenge_of,
    counter_of,
    from_base64url,
    read_registration,
    registration_options,
    signature_of,
    signing_key,
    to_base64url,
    verify,
)
from nightcrew.approvals.reviewer import Refused, Reviewer, signers_of
from nightcrew.approvals.signer import check_public_key, key_id_of, raw_material, sign_statement, verify_signature
from nightcrew.approvals.signer import counter_of as counter_of_kind
from nightcrew.approvals.sshsig import MalformedError, fits, parse_public_key, parse_signature
from nightcrew.model.canonical import canonical_json
from nightcrew.model.errors import ApprovalError, DocumentError, UsageError
from nightcrew.model.statement import HUMAN_KINDS, SignerKind, envelope_of

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
REPOSITORY = "f" * 64
NONCE = "1" * 32
PAE = b"DSSEv1 28 application/vnd.in-toto+json 4 this"
CHALLENGE = b"c" * 32


# --- SSH: the formats


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def ssh_key(type_: str, *fields: bytes) -> bytes:
    blob = string(type_.encode()) + b"".join(string(field) for field in fields)
    return type_.encode() + b" " + base64.b64encode(blob)


ED25519 = ssh_key("ssh-ed25519", b"k" * 32)
SK_ED25519 = ssh_key("sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:")


def ssh_signature(
    key: bytes = ED25519,
    *,
    namespace: bytes = b"nightcrew",
    hashed: bytes = b"sha512",
    inner: bytes | None = None,
    version: int = 1,
    reserved: bytes = b"",
    more: bytes = b"",
) -> bytes:
    type_, blob = key.split(b" ")[0], base64.b64decode(key.split(b" ")[1])
    inner = string(type_) + string(b"s" * 64) if inner is None else inner
    body = b"SSHSIG" + struct.pack(">I", version) + string(blob) + string(namespace) + string(reserved)
    text = base64.b64encode(body + string(hashed) + string(inner) + more)
    lines = b"".join(text[at : at + 70] + b"\n" for at in range(0, len(text), 70))
    return b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n"


@pytest.mark.parametrize(
    "key",
    [
        ED25519,
        SK_ED25519,
        ssh_key("ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"p" * 64),
        ssh_key("ecdsa-sha2-nistp384", b"nistp384", b"\x04" + b"p" * 96),
        ssh_key("ecdsa-sha2-nistp521", b"nistp521", b"\x04" + b"p" * 132),
        ssh_key("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\x04" + b"p" * 64, b"ssh:nightcrew"),
        ssh_key("ssh-rsa", b"\x01\x00\x01", b"\x00\x80" + b"n" * 255),
    ],
)
def test_keys_of_the_accepted_types_are_read_and_written_back(key: bytes) -> None:
    assert parse_public_key(key).encode() == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"", "form"),
        (ED25519 + b" ada@home", "form"),
        (ED25519 + b"\n", "form"),
        (ED25519 + b"\nnightcrew ssh-ed25519 " + ED25519.split()[1], "form"),
        (b'namespaces="git" ' + ED25519, "form"),
        (b"cert-authority " + ED25519, "form"),
        (ED25519.replace(b" ", b"  "), "form"),
        (ED25519[:-4], "ends too early"),
        (b"ssh-ed25519 AAA", "base64|early"),
        (ssh_key("ssh-dss", b"p"), "type ssh-dss are not accepted"),
        (ssh_key("ssh-ed25519-cert-v01@openssh.com", b"k" * 32), "not accepted"),
        (b"ssh-rsa " + ED25519.split()[1], "not the one inside"),
        (ssh_key("ssh-ed25519", b"k" * 31), "32 bytes"),
        (ssh_key("ssh-ed25519", b"k" * 32, b""), "after its end"),
        (ssh_key("sk-ssh-ed25519@openssh.com", b"k" * 32), "early"),
        (ssh_key("ecdsa-sha2-nistp256", b"nistp384", b"\x04" + b"p" * 96), "curve"),
        (ssh_key("ecdsa-sha2-nistp256", b"nistp256", b"\x02" + b"p" * 32), "point"),
        (ssh_key("ecdsa-sha2-nistp256", b"", b""), "point"),
        (ssh_key("ssh-rsa", b"\x01\x00\x01", b"\x00\x80" + b"n" * 127), "1024 bits is too weak"),
        (ssh_key("ssh-rsa", b"\x01\x00\x01", b"\x00\x00\x80" + b"n" * 255), "longer than it need be"),
        (ssh_key("ssh-rsa", b"\x01\x00\x01", b"\x80" + b"n" * 255), "negative"),
    ],
)
def test_any_other_spelling_type_or_weak_key_is_refused(key: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_public_key(key)
    with pytest.raises(UsageError, match="no public key of the kind ssh"):
        check_public_key(SignerKind.SSH, key)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode()))
def test_a_key_that_is_read_is_one_line_without_options(data: bytes) -> None:
    for text in (data, b"ssh-ed25519 " + base64.b64encode(data), ED25519 + data):
        try:
            read = parse_public_key(text)
        except MalformedError:
            continue
        assert read.encode() == text
        assert len(text.split()) == 2
        assert b"\n" not in text


def test_a_signature_is_read_with_what_it_claims() -> None:
    read = parse_signature(ssh_signature())
    assert (read.type, read.namespace, read.user_present, read.counter) == ("ssh-ed25519", b"nightcrew", False, 0)
    assert read.armor() == ssh_signature()
    assert fits(parse_public_key(ED25519), read)


def on_key(flags: int, counter: int = 7) -> bytes:
    inner = string(b"sk-ssh-ed25519@openssh.com") + string(b"s" * 64) + bytes([flags]) + struct.pack(">I", counter)
    return ssh_signature(SK_ED25519, inner=inner)


def test_a_signature_of_a_security_key_fits_only_if_it_was_touched() -> None:
    key = parse_public_key(SK_ED25519)
    assert fits(key, parse_signature(on_key(PRESENT)))
    assert fits(key, parse_signature(on_key(PRESENT | VERIFIED)))
    for flags in (0, VERIFIED):
        assert not fits(key, parse_signature(on_key(flags)))
    assert counter_of_kind(SignerKind.SSH, on_key(PRESENT, 7)) == 7
    assert counter_of_kind(SignerKind.SSH, ssh_signature()) == 0
    with pytest.raises(ApprovalError, match="no SSH signature"):
        counter_of_kind(SignerKind.SSH, b"?")


@pytest.mark.parametrize(
    "signature",
    [
        ssh_signature(namespace=b"git"),
        ssh_signature(namespace=b"nightcrew\0"),
        ssh_signature(ssh_key("ssh-ed25519", b"o" * 32)),
        ssh_signature(inner=string(b"ssh-rsa") + string(b"s" * 64)),
        ssh_signature(inner=string(b"rsa-sha2-256") + string(b"s" * 64)),
    ],
)
def test_a_signature_for_another_use_by_another_key_or_of_another_type_does_not_fit(signature: bytes) -> None:
    assert not fits(parse_public_key(ED25519), parse_signature(signature))


def test_an_rsa_key_signs_with_sha_2_only() -> None:
    rsa_key = ssh_key("ssh-rsa", b"\x01\x00\x01", b"\x00\x80" + b"n" * 255)
    for type_, good in ((b"rsa-sha2-256", True), (b"rsa-sha2-512", True), (b"ssh-rsa", False)):
        signature = ssh_signature(rsa_key, inner=string(type_) + string(b"s" * 256))
        assert fits(parse_public_key(rsa_key), parse_signature(signature)) is good


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        ssh_signature()[:-1],
        ssh_signature() + b"\n",
        ssh_signature().replace(b"\n", b"\r\n"),
        ssh_signature(version=2),
        ssh_signature(reserved=b"x"),
        ssh_signature(hashed=b"sha1"),
        ssh_signature(more=b"x"),
        ssh_signature(inner=string(b"ssh-ed25519")),
        ssh_signature(inner=string(b"ssh-ed25519") + string(b"s" * 64) + b"\x01"),
        ssh_signature(inner=b"\xff\xff\xff\xff"),
        ssh_signature(inner=string(b"ssh-ed25519") + string(b"s" * 9000)),
        ssh_signature().replace(b"U1NIU0lH", b"U1NIU0l="),
    ],
)
def test_what_is_no_ssh_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_signature(signature)


# --- Passkeys: signing


@pytest.fixture(scope="module")
def passkey() -> Authenticator:
    return Authenticator()


def test_a_passkeys_signature_verifies_for_what_was_signed_and_nothing_else(passkey: Authenticator) -> None:
    signature = passkey.sign(PAE)
    assert verify(passkey.public_key, PAE, signature)
    assert verify_signature(SignerKind.PASSKEY, passkey.public_key, PAE, signature)
    assert not verify(passkey.public_key, PAE + b" ", signature)
    assert not verify(Authenticator().public_key, PAE, signature)


def test_an_assertion_stands_in_for_the_signer_over_exactly_what_was_prepared(passkey: Authenticator) -> None:
    made = passkey.assertion(PAE)
    assert (made.kind, made.key_id) == (SignerKind.PASSKEY, passkey.key_id)
    assert made.sign(PAE) == made.signature
    with pytest.raises(ApprovalError, match="does not stand for this"):
        made.sign(PAE + b"!")


@pytest.mark.parametrize(
    "wrong",
    [
        {"flags": PRESENT},
        {"flags": VERIFIED},
        {"flags": 0},
        {"origin": "http://localhost:8000"},
        {"origin": "http://localhost"},
        {"origin": "https://localhost:8377"},
        {"origin": "http://evil.localhost:8377"},
        {"rp_id": "example.org"},
        {"type_": "webauthn.create"},
        {"type_": "payment.get"},
        {"client": {"crossOrigin": True}},
        {"client": {"crossOrigin": "false"}},
        {"client": {"crossOrigin": None}},
        {"client": {"crossOrigin": 0}},
        {"client": {"topOrigin": "https://evil.example"}},
        {"client": {"challenge": to_base64url(challenge_of(b"another statement"))}},
        {"client": {"challenge": to_base64url(challenge_of(PAE)) + "="}},
        {"client": {"challenge": None}},
        {"client": {"origin": [ORIGIN]}},
    ],
    ids=str,
)
def test_an_assertion_with_one_thing_wrong_does_not_verify(passkey: Authenticator, wrong: dict[str, Any]) -> None:
    assert not verify(passkey.public_key, PAE, signature_of(passkey.get(PAE, **wrong)))


def test_what_a_browser_may_add_to_the_client_data_does_no_harm(passkey: Authenticator) -> None:
    hint = {"other_keys_can_be_added_here": "do not compare clientDataJSON against a template"}
    assert verify(passkey.public_key, PAE, signature_of(passkey.get(PAE, client=hint)))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_of_an_assertion_voids_it(data: st.DataObject) -> None:
    passkey = SIGNED[0]
    name = data.draw(st.sampled_from(["authenticator_data", "client_data", "signature"]))

    def flip(part: bytes) -> bytes:
        at = data.draw(st.integers(0, len(part) - 1))
        return part[:at] + bytes([part[at] ^ data.draw(st.integers(1, 255))]) + part[at + 1 :]

    assert not verify(passkey.public_key, PAE, changed(SIGNED[1], name, flip))


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10_000), by=st.integers(1, 255))
def test_any_changed_byte_of_the_stored_signature_voids_it(at: int, by: int) -> None:
    stored = bytearray(SIGNED[1])
    stored[at % len(stored)] ^= by
    assert not verify(SIGNED[0].public_key, PAE, bytes(stored))


_SIGNER = Authenticator()
SIGNED = (_SIGNER, _SIGNER.sign(PAE))


@pytest.mark.parametrize(
    "respell",
    [
        lambda value: json.dumps(value).encode(),
        lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True, indent=1).encode(),
        lambda value: canonical_json(value) + b"\n",
        lambda value: canonical_json(dict(value, signature=value["signature"] + "==")),
        lambda value: canonical_json(dict(value, more=1)),
        lambda value: canonical_json(value).replace(b'{"auth', b'{"signature":"","auth'),
        lambda value: canonical_json(value).replace(b"authenticator", b"\\u0061uthenticator"),
        lambda value: canonical_json([value]),
        lambda value: b"",
        lambda value: b"\xff",
        lambda value: b"[" * 100_000,
    ],
)
def test_a_signature_in_another_spelling_does_not_verify(respell: Callable[[Any], bytes]) -> None:
    passkey, signature = SIGNED
    assert verify(passkey.public_key, PAE, signature)
    assert not verify(passkey.public_key, PAE, respell(json.loads(signature)))


def test_the_client_data_is_read_in_one_way_only(passkey: Authenticator) -> None:
    def twice(client_data: bytes) -> bytes:
        return client_data.replace(b'{"type"', b'{"origin":"http://evil.example","type"')

    credential = passkey.get(PAE)
    credential["response"]["clientDataJSON"] = to_base64url(
        twice(from_base64url(credential["response"]["clientDataJSON"]))
    )
    assert not verify(passkey.public_key, PAE, signature_of(credential))


def test_the_count_of_signatures_is_read(passkey: Authenticator) -> None:
    signature = signature_of(passkey.get(PAE, counter=41))
    assert counter_of(signature) == counter_of_kind(SignerKind.PASSKEY, signature) == 41
    for malformed in (b"{}", changed(signature, "authenticator_data", lambda data: data[:36])):
        with pytest.raises(ApprovalError):
            counter_of(malformed)
    assert counter_of_kind(SignerKind.PASSPHRASE, b"s" * 64) == 0


# --- Passkeys: the public key


def keyed(**change: Any) -> bytes:
    return canonical_json(json.loads(Authenticator().public_key) | change)


@pytest.mark.parametrize(
    ("public_key", "reason"),
    [
        (keyed(origin="http://example.org", rp_id="example.org"), "https only"),
        (keyed(origin="http://127.0.0.1:8377", rp_id="127.0.0.1"), "https only"),
        (keyed(origin="https://example.org/", rp_id="example.org"), "form"),
        (keyed(origin="https://user@example.org", rp_id="example.org"), "form"),
        (keyed(origin="https://evilexample.org", rp_id="example.org"), "not within"),
        (keyed(rp_id="example.org"), "not within"),
        (keyed(cose="a b"), "base64url"),
        (keyed(v=2), "v"),
        (keyed(v=True), "canonical"),
        (keyed(extra=1), "extra"),
        (Authenticator().public_key + b" ", "canonical"),
        (b"x" * 32, "JSON"),
    ],
)
def test_a_passkey_that_no_browser_would_make_is_refused(public_key: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        PasskeyKey.decode(public_key)
    with pytest.raises(UsageError, match="no public key of the kind passkey"):
        check_public_key(SignerKind.PASSKEY, public_key)
    assert not verify(public_key, PAE, SIGNED[1])


def test_a_passkey_for_a_host_signs_on_its_subdomains() -> None:
    key = Authenticator(origin="https://inbox.example.org", rp_id="example.org")
    assert PasskeyKey.decode(key.public_key).encode() == key.public_key
    assert verify(key.public_key, PAE, key.sign(PAE))


@dataclass
class RsaAuthenticator(Authenticator):
    """A passkey that signs with RSA."""

    bits: int = 2048
    algorithm: int = -257
    digest: HashAlgorithm = field(default_factory=SHA256)

    def __post_init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=self.bits)

    def cose(self) -> bytes:
        numbers = self.rsa.public_key().public_numbers()
        modulus = numbers.n.to_bytes(self.bits // 8, "big")
        return cbor2.dumps({1: 3, 3: self.algorithm, -1: modulus, -2: b"\x01\x00\x01"})

    def raw(self, message: bytes) -> bytes:
        return self.rsa.sign(message, PKCS1v15(), self.digest)


@pytest.mark.parametrize(
    ("bits", "algorithm", "digest", "good"),
    [(2048, -257, SHA256(), True), (1024, -257, SHA256(), False), (2048, -259, SHA512(), False)],
)
def test_a_weak_key_or_an_algorithm_that_was_not_asked_for_does_not_verify(
    bits: int, algorithm: int, digest: HashAlgorithm, good: bool
) -> None:
    key = RsaAuthenticator(bits=bits, algorithm=algorithm, digest=digest)
    assert verify(key.public_key, PAE, key.sign(PAE)) is good


# --- Passkeys: the ceremonies


def register(passkey: Authenticator, **wrong: Any) -> bytes:
    return read_registration(
        passkey.create(to_base64url(CHALLENGE), **wrong), challenge=CHALLENGE, origin=ORIGIN, rp_id=RP_ID
    )


def test_a_registered_passkey_is_the_one_that_signs(passkey: Authenticator) -> None:
    assert register(passkey) == passkey.public_key
    as_text = json.dumps(passkey.create(to_base64url(CHALLENGE)))
    assert read_registration(as_text, challenge=CHALLENGE, origin=ORIGIN, rp_id=RP_ID) == passkey.public_key


@pytest.mark.parametrize(
    "wrong",
    [
        {"flags": PRESENT},
        {"flags": VERIFIED},
        {"origin": "http://localhost:8000"},
        {"rp_id": "example.org"},
        {"type_": "webauthn.get"},
        {"client": {"crossOrigin": True}},
        {"client": {"topOrigin": "https://evil.example"}},
        {"client": {"challenge": to_base64url(b"d" * 32)}},
    ],
    ids=str,
)
def test_a_registration_with_one_thing_wrong_is_refused(passkey: Authenticator, wrong: dict[str, Any]) -> None:
    with pytest.raises(ApprovalError, match="cannot be registered"):
        register(passkey, **wrong)


def test_a_registration_under_another_credentials_id_is_refused(passkey: Authenticator) -> None:
    other = to_base64url(b"another credential")
    credential = passkey.create(to_base64url(CHALLENGE)) | {"id": other, "rawId": other}
    with pytest.raises(ApprovalError, match="id is not the one that the authenticator gave"):
        read_registration(credential, challenge=CHALLENGE, origin=ORIGIN, rp_id=RP_ID)


def without(credential: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in credential.items() if key != name}


@pytest.mark.parametrize("name", ["id", "rawId", "type", "response"])
def test_a_registration_that_lacks_something_is_refused(passkey: Authenticator, name: str) -> None:
    credential = passkey.create(to_base64url(CHALLENGE))
    broken: list[Any] = [without(credential, name), credential | {name: "other"}, credential | {name: 7}, "?", "[]", ""]
    for value in broken:
        with pytest.raises(ApprovalError, match="cannot be registered"):
            read_registration(value, challenge=CHALLENGE, origin=ORIGIN, rp_id=RP_ID)


def test_the_browser_is_asked_to_verify_the_person_when_a_passkey_is_made() -> None:
    options = registration_options(RP_ID, "nightcrew", "ada", b"ada", CHALLENGE, [b"had-already", to_base64url(b"too")])
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert options["challenge"] == to_base64url(CHALLENGE)
    assert [one["id"] for one in options["excludeCredentials"]] == [to_base64url(b"had-already"), to_base64url(b"too")]
    assert {one["alg"] for one in options["pubKeyCredParams"]} == {-7, -8, -257}
    json.dumps(options)


def reviewer(signer: Any, name: str = "ada", revoked: datetime | None = None) -> Reviewer:
    return Reviewer(name, signer.key_id, signer.kind, signer.public_key, NOW, (name,), revoked)


def test_the_browser_is_asked_for_one_of_the_reviewers_passkeys_over_what_is_signed(passkey: Authenticator) -> None:
    other = Authenticator(credential_id=b"second")
    gone = Authenticator(credential_id=b"gone")
    ssh = Reviewer("ada", key_id_of(ED25519), SignerKind.SSH, ED25519, NOW, ("ada",))
    keys = [ssh, reviewer(passkey), reviewer(other), reviewer(gone, revoked=NOW)]
    options = assertion_options(keys, PAE)
    assert options["challenge"] == to_base64url(challenge_of(PAE))
    assert [one["id"] for one in options["allowCredentials"]] == [
        to_base64url(passkey.credential_id),
        to_base64url(b"second"),
    ]
    assert (options["userVerification"], options["rpId"]) == ("required", RP_ID)
    json.dumps(options)
    assert signing_key(keys, other.get(PAE)).key_id == other.key_id
    for stranger in (gone, Authenticator(credential_id=b"nobody")):
        with pytest.raises(ApprovalError, match="not one of this reviewer's"):
            signing_key(keys, stranger.get(PAE))


def test_a_page_where_no_passkey_was_registered_says_where_one_was(passkey: Authenticator) -> None:
    public = Authenticator(origin="https://inbox.example.org", rp_id="inbox.example.org")
    keys = [reviewer(passkey), reviewer(public)]
    with pytest.raises(UsageError, match="different pages"):
        assertion_options(keys, PAE)
    assert assertion_options(keys, PAE, origin="https://inbox.example.org")["rpId"] == "inbox.example.org"
    with pytest.raises(UsageError, match="no passkey is enrolled for this page") as caught:
        assertion_options(keys, PAE, origin="http://localhost:9999")
    assert "http://localhost:8377, https://inbox.example.org" in caught.value.hint


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"type": "public-key"},
        {"type": "public-key", "response": []},
        {"type": "password", "response": {}},
        {"type": "public-key", "response": {"authenticatorData": 1, "clientDataJSON": "e30", "signature": "AA"}},
        {"type": "public-key", "response": {"authenticatorData": "e30", "clientDataJSON": "e30=", "signature": "AA"}},
        {"type": "public-key", "response": {"authenticatorData": "e30", "clientDataJSON": "e31", "signature": "AB"}},
        {
            "type": "public-key",
            "response": {"authenticatorData": "a" * 10_000, "clientDataJSON": "e30", "signature": "AA"},
        },
    ],
)
def test_a_malformed_assertion_gives_no_signature(credential: dict[str, Any]) -> None:
    with pytest.raises(ApprovalError):
        signature_of(credential)


@given(st.binary(max_size=100))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = to_base64url(data)
    assert from_base64url(text) == data
    for other in (text + "=", text + "\n", " " + text):
        with pytest.raises(ValueError, match="base64url"):
            from_base64url(other)


# --- The chain's rules


class Chain:
    """A chain in memory, extended by the rules."""

    def __init__(self, service_key_id: str | None = None) -> None:
        self.entries: list[bytes] = []
        self.reviewers: tuple[Reviewer, ...] = ()
        self.service_key_id = service_key_id

    @property
    def previous(self) -> bytes | None:
        return self.entries[-1] if self.entries else None

    def extend(self, entry: bytes) -> None:
        self.reviewers = chain.extend(
            self.reviewers,
            entry,
            repository=REPOSITORY,
            previous=self.previous,
            service_key_id=self.service_key_id,
        )
        self.entries.append(entry)

    def enrol(self, name: str, key: Any, by: Any) -> None:
        statement = chain.enrolment(
            REPOSITORY, self.previous, name=name, kind=key.kind, public_key=key.public_key, time=NOW, nonce=NONCE
        )
        self.extend(sign_statement(by, statement).encode())

    def revoke(self, *keys: Any, by: Any) -> None:
        assert self.previous is not None
        statement = chain.revocation(
            REPOSITORY,
            self.previous,
            key_ids=[key.key_id for key in keys],
            reason="",
            time=NOW,
            nonce=NONCE,
        )
        self.extend(sign_statement(by, statement).encode())

    def active(self) -> list[tuple[str, str]]:
        return [(one.name, one.key_id) for one in self.reviewers if one.active]


class GithubKey:
    """Enrolled like another, but it can sign no statement: a review on GitHub covers a commit only."""

    kind = SignerKind.GITHUB
    public_key = b'{"login":"ada"}'
    key_id = key_id_of(public_key)

    def sign(self, pae: bytes) -> bytes:
        return b'{"pull":1,"review":1}'


def many(count: int) -> list[Authenticator]:
    return [Authenticator(credential_id=f"passkey-{number}".encode()) for number in range(count)]


def test_a_person_adds_a_second_key_and_revokes_the_first_with_it() -> None:
    first, second = many(2)
    held = Chain()
    held.enrol("ada", first, by=first)
    held.enrol("ada", second, by=first)
    assert held.active() == [("ada", first.key_id), ("ada", second.key_id)]
    held.revoke(first, by=second)
    assert held.active() == [("ada", second.key_id)]
    with pytest.raises(Refused, match="the key of ada was revoked"):
        held.enrol("ada", Authenticator(), by=first)
    assert chain.replay(held.entries, repository=REPOSITORY, service_key_id=None) == held.reviewers


def test_nobody_adds_a_key_under_anothers_name() -> None:
    ada, bob, eve = many(3)
    held = Chain()
    held.enrol("ada", ada, by=ada)
    held.enrol("bob", bob, by=ada)
    for name in ("bob", "BOB", "Bob"):
        with pytest.raises(Refused, match="already a reviewer named"):
            held.enrol(name, eve, by=ada)
    with pytest.raises(Refused, match="no enrolled reviewer has the key"):
        held.enrol("bob", eve, by=eve)
    with pytest.raises(Refused, match="already a reviewer named BOB, written bob"):
        held.enrol("BOB", eve, by=bob)
    held.enrol("bob", eve, by=bob)
    assert [name for name, _ in held.active()] == ["ada", "bob", "bob"]


def test_a_revoked_key_admits_no_other_under_its_name() -> None:
    ada, bob, spare, eve = many(4)
    held = Chain()
    held.enrol("ada", ada, by=ada)
    held.enrol("bob", bob, by=ada)
    held.enrol("bob", spare, by=bob)
    held.revoke(bob, by=spare)
    with pytest.raises(Refused, match="was revoked"):
        held.enrol("bob", eve, by=bob)
    with pytest.raises(Refused, match="enrolled before"):
        held.enrol("bob", bob, by=spare)


def test_all_keys_of_a_person_are_revoked_by_one_statement() -> None:
    ada, one, two, three = many(4)
    held = Chain()
    held.enrol("ada", ada, by=ada)
    held.enrol("bob", one, by=ada)
    held.enrol("bob", two, by=one)
    held.enrol("bob", three, by=two)
    with pytest.raises(Refused, match="more than one reviewer"):
        held.revoke(one, ada, by=ada)
    held.revoke(one, two, three, by=ada)
    assert held.active() == [("ada", ada.key_id)]
    with pytest.raises(Refused, match="to revoke"):
        held.revoke(two, by=ada)


def test_the_last_key_that_can_enrol_is_not_revoked() -> None:
    first, second = many(2)
    held = Chain()
    held.enrol("ada", first, by=first)
    held.enrol("ada", second, by=first)
    held.enrol("gil", GithubKey(), by=first)
    with pytest.raises(Refused, match="leaves nobody"):
        held.revoke(first, second, by=first)
    held.revoke(first, by=first)
    with pytest.raises(Refused, match="leaves nobody"):
        held.revoke(second, by=second)


def test_a_review_on_github_is_neither_the_first_nor_a_signature_in_the_chain() -> None:
    ada, eve = many(2)
    held = Chain()
    with pytest.raises(Refused, match="kind github enrols and revokes nobody"):
        held.enrol("gil", GithubKey(), by=GithubKey())
    held.enrol("ada", ada, by=ada)
    held.enrol("gil", GithubKey(), by=ada)
    refused = "kind github enrols and revokes nobody"
    for name in ("eve", "gil"):
        with pytest.raises(Refused, match=refused):
            held.enrol(name, eve, by=GithubKey())
    with pytest.raises(Refused, match=refused):
        held.revoke(ada, by=GithubKey())


def test_nightcrews_own_key_wrapped_up_as_another_kind_is_refused() -> None:
    ada = Authenticator()
    raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    held = Chain(service_key_id=key_id_of(raw))
    held.enrol("ada", ada, by=ada)
    cose = cbor2.dumps({1: 1, 3: -8, -1: 6, -2: raw})
    disguises = [
        (SignerKind.SSH, ssh_key("ssh-ed25519", raw)),
        (SignerKind.SSH, ssh_key("sk-ssh-ed25519@openssh.com", raw, b"ssh:")),
        (SignerKind.PASSKEY, keyed(cose=to_base64url(cose))),
        (SignerKind.PASSPHRASE, raw),
    ]
    for kind, public_key in disguises:
        robot = Reviewer("robot", key_id_of(public_key), kind, public_key, NOW, ())
        with pytest.raises(Refused, match="no person holds"):
            held.enrol("robot", robot, by=ada)
    assert raw_material(SignerKind.SSH, b"?") == raw_material(SignerKind.PASSKEY, b"?") == b""


def test_two_signatures_by_two_keys_of_one_person_are_one_persons() -> None:
    first, second = many(2)
    statement = chain.enrolment(
        REPOSITORY, None, name="eve", kind=first.kind, public_key=first.public_key, time=NOW, nonce=NONCE
    )
    signed = [sign_statement(key, statement).signatures[0] for key in (first, second)]
    both = envelope_of(statement.payload(), [(one.keyid, one.value()) for one in signed])
    signers = signers_of(both, [reviewer(first), reviewer(second)], None)
    assert [one.name for one in signers] == ["ada", "ada"]


def test_every_kind_but_nightcrews_own_is_a_persons() -> None:
    assert set(SignerKind) - HUMAN_KINDS == {SignerKind.SERVICE}


def test_a_public_key_of_a_wrong_length_is_refused() -> None:
    check_public_key(SignerKind.PASSPHRASE, b"k" * 32)
    with pytest.raises(UsageError, match="31 bytes, not 32"):
        check_public_key(SignerKind.PASSPHRASE, b"k" * 31)
