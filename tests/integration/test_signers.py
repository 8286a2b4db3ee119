"""Signers with the real ssh-keygen and ssh-agent, and the trust anchor with several keys a person."""

import base64
import hashlib
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.authenticator import Authenticator
from tests.signing import sign_decision

from nightcrew.approvals import (
    Pending,
    ScryptParameters,
    Signer,
    TrustAnchor,
    create_key,
    fresh_nonce,
    ssh,
    verify_approval,
)
from nightcrew.approvals.pending import MAX_PENDING
from nightcrew.approvals.signer import key_id_of, verify_signature
from nightcrew.approvals.ssh import SshSigner, read_public_key, verify
from nightcrew.model.errors import (
    ApprovalError,
    ConfigurationError,
    DocumentError,
    IntegrityError,
    NotFoundError,
    UsageError,
)
from nightcrew.model.review import Decision
from nightcrew.model.statement import PAYLOAD_TYPE, Envelope, SignerKind, pae, subject_of

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
REPOSITORY = "f" * 64
SUBJECTS = subject_of(ticket_id="T-0012", ticket_digest="a" * 64, base_commit="b" * 40, head_commit="c" * 40)
MESSAGE = pae(PAYLOAD_TYPE, b"what is signed")
KINDS = {
    "ed25519": [],
    "ecdsa": ["-b", "256"],
    "ecdsa384": ["-b", "384"],
    "ecdsa521": ["-b", "521"],
    "rsa": ["-b", "2048"],
}


def clock() -> datetime:
    return NOW


def keygen(path: Path, kind: str = "ed25519", *options: str, passphrase: str = "") -> Path:
    name = kind.rstrip("0123456789") if kind.startswith("ecdsa") else kind
    command = [
        "ssh-keygen",
        "-q",
        "-t",
        name,
        *KINDS[kind],
        *options,
        "-N",
        passphrase,
        "-C",
        "ada@home",
        "-f",
        str(path),
    ]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("keys")
    return {kind: keygen(directory / kind, kind) for kind in KINDS}


# --- SSH


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_of_key_signs_and_verifies_and_nothing_else_does(keys: dict[str, Path], kind: str) -> None:
    signer = SshSigner(keys[kind])
    assert signer.public_key == b" ".join(keys[kind].with_suffix(".pub").read_bytes().split()[:2])
    assert (signer.kind, signer.key_id) == (SignerKind.SSH, key_id_of(signer.public_key))
    signature = signer.sign(MESSAGE)
    assert signature.startswith(b"-----BEGIN SSH SIGNATURE-----\n")
    assert verify(signer.public_key, MESSAGE, signature)
    assert verify_signature(SignerKind.SSH, signer.public_key, MESSAGE, signature)
    assert not verify(signer.public_key, MESSAGE + b"\n", signature)
    assert not verify(signer.public_key, b"", signature)
    other = SshSigner(keys["rsa" if kind != "rsa" else "ed25519"])
    assert not verify(other.public_key, MESSAGE, signature)
    assert not verify(signer.public_key, MESSAGE, other.sign(MESSAGE))


def test_a_signature_for_another_use_of_the_same_key_does_not_count(keys: dict[str, Path]) -> None:
    public_key = read_public_key(keys["ed25519"])
    for namespace in ("git", "file", "nightcrew2", "*"):
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(keys["ed25519"])],
            input=MESSAGE,
            capture_output=True,
            check=True,
        )
        assert not verify(public_key, MESSAGE, done.stdout)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_within_a_signature_voids_it(keys: dict[str, Path], data: st.DataObject) -> None:
    signer = SshSigner(keys["ed25519"])
    text = SIGNED.setdefault("ed25519", signer.sign(MESSAGE))
    blob = bytearray(base64.b64decode(b"".join(text.splitlines()[1:-1])))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    assert not verify(signer.public_key, MESSAGE, armored(bytes(blob)))


SIGNED: dict[str, bytes] = {}


def armored(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = b"".join(text[at : at + 70] + b"\n" for at in range(0, len(text), 70))
    return b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n"


@pytest.mark.parametrize(
    "injected",
    [
        b"\n*",
        b"\nnightcrew ",
        b'\nnightcrew namespaces="nightcrew" ',
        b" ",
        b"\0",
        b"\r",
        b",",
        b'" cert-authority ',
    ],
)
def test_nothing_can_be_put_into_what_ssh_keygen_trusts(keys: dict[str, Path], injected: bytes) -> None:
    mallory = SshSigner(keys["ed25519"])
    signature = mallory.sign(MESSAGE)
    victim = read_public_key(keys["ecdsa"])
    for public_key in (
        victim + injected + mallory.public_key,
        injected + mallory.public_key,
        mallory.public_key + injected,
        b"cert-authority " + mallory.public_key,
    ):
        assert not verify(public_key, MESSAGE, signature)


@pytest.mark.parametrize(
    "public_key", [b"", b"ssh-ed25519 AAAA", b"\xff\xfe", b"k" * 32, b"ssh-ed25519 " + b"A" * 100_000]
)
def test_a_malformed_key_verifies_nothing(keys: dict[str, Path], public_key: bytes) -> None:
    assert not verify(public_key, MESSAGE, SshSigner(keys["ed25519"]).sign(MESSAGE))


@pytest.mark.parametrize("signature", [b"", b"\0" * 100, b"-----BEGIN SSH SIGNATURE-----\n", b"A" * 100_000])
def test_a_malformed_signature_does_not_verify(keys: dict[str, Path], signature: bytes) -> None:
    assert not verify(read_public_key(keys["ed25519"]), MESSAGE, signature)


def test_a_signature_in_another_spelling_does_not_verify(keys: dict[str, Path]) -> None:
    signer = SshSigner(keys["ed25519"])
    signature = signer.sign(MESSAGE)
    head, *lines, end = signature.splitlines()
    rewrapped = b"\n".join(
        [head, b"".join(lines)[:64], b"".join(lines)[64:128], b"".join(lines)[128:198], b"".join(lines)[198:], end, b""]
    )
    for other in (signature.replace(b"\n", b"\r\n"), signature + b"\n", b"\n" + signature, rewrapped):
        assert not verify(signer.public_key, MESSAGE, other)


def test_a_weak_key_is_neither_read_nor_verified_with(tmp_path: Path) -> None:
    weak = tmp_path / "weak"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(weak)], check=True, timeout=60)
    with pytest.raises(UsageError, match="1024 bits is too weak"):
        read_public_key(weak.with_suffix(".pub"))
    public_key = b" ".join(weak.with_suffix(".pub").read_bytes().split()[:2])
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "nightcrew", "-f", str(weak)],
        input=MESSAGE,
        capture_output=True,
        check=True,
    )
    assert not verify(public_key, MESSAGE, done.stdout)


def test_the_public_key_is_found_beside_the_private_one_or_within_it(keys: dict[str, Path], tmp_path: Path) -> None:
    expected = read_public_key(keys["ed25519"].with_suffix(".pub"))
    assert read_public_key(keys["ed25519"]) == expected
    alone = tmp_path / "id"
    shutil.copy(keys["ed25519"], alone)
    assert read_public_key(alone) == expected
    signer = SshSigner(alone)
    assert verify(expected, MESSAGE, signer.sign(MESSAGE))
    locked = keygen(tmp_path / "locked", passphrase="correct horse")
    in_file = locked.with_suffix(".pub").read_bytes()
    locked.with_suffix(".pub").unlink()
    assert in_file.startswith(read_public_key(locked))


def test_a_file_without_one_usable_key_is_refused_with_a_hint(keys: dict[str, Path], tmp_path: Path) -> None:
    public = keys["ed25519"].with_suffix(".pub").read_text()
    path = tmp_path / "key.pub"
    for content, reason in (
        ("", "holds 0 keys"),
        (public + public, "holds 2 keys"),
        ("hello world\n", "not accepted|form"),
        ("ssh-dss AAAAB3NzaC1kc3M=\n", "ssh-dss are not accepted"),
        ('command="x" ' + public, "form|not accepted"),
        ("x" * 100_000, "too long"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "does not carry"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "cannot be used|not carry"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=reason) as caught:
            read_public_key(path)
        assert caught.value.hint
    path.write_text("# a comment\n\n" + public)
    assert read_public_key(path) == read_public_key(keys["ed25519"])
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            SshSigner(missing)


def test_a_private_key_beside_the_public_key_of_another_signs_nothing(keys: dict[str, Path], tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copy(keys["ed25519"], mixed)
    shutil.copy(keys["ecdsa"].with_suffix(".pub"), tmp_path / "mixed.pub")
    with pytest.raises(ApprovalError):
        SshSigner(mixed).sign(MESSAGE)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = tmp_path / "agent.sock"
    started = subprocess.run(
        ["ssh-agent", "-s", "-a", str(socket)], capture_output=True, text=True, check=True, timeout=30
    )
    match = re.search(r"SSH_AGENT_PID=(\d+)", started.stdout)
    assert match is not None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    os.kill(int(match[1]), signal.SIGTERM)


def unlocked(path: Path, passphrase: str, tmp_path: Path) -> None:
    """Put a key into the agent, its passphrase given by a program."""
    asked = tmp_path / "askpass"
    asked.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
    asked.chmod(0o700)
    environment = os.environ | {"SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":none"}
    subprocess.run(["ssh-add", "-q", str(path)], env=environment, check=True, timeout=30, stdin=subprocess.DEVNULL)


def test_a_key_in_ssh_agent_signs_by_its_public_file_alone(agent: None, tmp_path: Path) -> None:
    locked = keygen(tmp_path / "locked", passphrase="correct horse")
    unlocked(locked, "correct horse", tmp_path)
    locked.unlink()
    signer = SshSigner(locked.with_suffix(".pub"))
    assert verify(signer.public_key, MESSAGE, signer.sign(MESSAGE))


def test_a_key_that_nobody_unlocks_signs_nothing_and_says_so(
    agent: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = keygen(tmp_path / "locked", passphrase="correct horse")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    for path in (locked, locked.with_suffix(".pub")):
        with pytest.raises(ApprovalError, match="ssh-keygen did not sign") as caught:
            SshSigner(path).sign(MESSAGE)
        assert "ssh-add -l" in caught.value.hint


def test_a_passphrase_is_asked_for_on_the_terminal(tmp_path: Path) -> None:
    """As a person would be: the signer runs under a terminal, and the passphrase is typed there."""
    import pty
    import sys

    locked = keygen(tmp_path / "locked", passphrase="correct horse")
    code = (
        "import sys; from pathlib import Path; from nightcrew.approvals.ssh import SshSigner, verify\n"
        "s = SshSigner(Path(sys.argv[1])); g = s.sign(b'm'); print('VERIFIED', verify(s.public_key, b'm', g))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "DISPLAY"))}
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", code, str(locked)], environment)
    shown = b""
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        while b"passphrase" not in shown:
            shown += screen.read(1024)
        screen.write(b"correct horse\n")
        while b"VERIFIED" not in shown or not shown.endswith(b"\n"):
            shown += screen.read(1024)
    os.waitpid(child, 0)
    assert b"VERIFIED True" in shown


class SecurityKey:
    """An ed25519-sk key in software (PROTOCOL.u2f), to sign as a security key would that nobody touched."""

    kind = SignerKind.SSH

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self._application = b"ssh:"
        self.flags, self.counter = 0x01, 0
        name = b"sk-ssh-ed25519@openssh.com"
        self._blob = field(name) + field(self._private.public_key().public_bytes_raw()) + field(self._application)
        self.public_key = name + b" " + base64.b64encode(self._blob)
        self.key_id = key_id_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        self.counter += 1
        inner = (
            b"SSHSIG" + field(b"nightcrew") + field(b"") + field(b"sha512") + field(hashlib.sha512(message).digest())
        )
        state = bytes([self.flags]) + struct.pack(">I", self.counter)
        signed = hashlib.sha256(self._application).digest() + state + hashlib.sha256(inner).digest()
        signature = field(b"sk-ssh-ed25519@openssh.com") + field(self._private.sign(signed)) + state
        head = b"SSHSIG" + struct.pack(">I", 1) + field(self._blob)
        return armored(head + field(b"nightcrew") + field(b"") + field(b"sha512") + field(signature))


def field(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def accepted_by_openssh(public_key: bytes, signature: bytes, tmp_path: Path) -> bool:
    (tmp_path / "allowed").write_bytes(b"nightcrew " + public_key + b"\n")
    (tmp_path / "signature").write_bytes(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "nightcrew", "-n", "nightcrew", "-s", "signature"]
    return subprocess.run(command, input=MESSAGE, capture_output=True, cwd=tmp_path, check=False).returncode == 0


def test_a_security_key_that_nobody_touched_does_not_count_though_openssh_accepts_it(tmp_path: Path) -> None:
    key = SecurityKey()
    assert verify(key.public_key, MESSAGE, key.sign(MESSAGE))
    key.flags = 0
    untouched = key.sign(MESSAGE)
    assert accepted_by_openssh(key.public_key, untouched, tmp_path)
    assert not verify(key.public_key, MESSAGE, untouched)


def test_without_ssh_keygen_nothing_is_signed_and_nothing_is_taken_for_a_bad_signature(
    keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = SshSigner(keys["ed25519"])
    signature = signer.sign(MESSAGE)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert verify(signer.public_key, MESSAGE, signature)  # the system's own is found whatever the path says
    monkeypatch.setattr(ssh, "_SYSTEM_PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="not installed"):
        verify(signer.public_key, MESSAGE, signature)
    with pytest.raises(ConfigurationError, match="not installed"):
        signer.sign(MESSAGE)


def planted(directory: Path, text: str) -> None:
    (directory / "ssh-keygen").write_text(f"#!/bin/sh\n{text}\n")
    (directory / "ssh-keygen").chmod(0o755)


def test_an_ssh_keygen_that_an_agent_planted_decides_nothing(
    keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(tmp_path, "exit 0")
    public_key, forged = read_public_key(keys["ed25519"]), SshSigner(keys["ed25519"]).sign(b"something else")
    monkeypatch.chdir(tmp_path)
    for path in (f".:{os.environ['PATH']}", f":{os.environ['PATH']}", f"{tmp_path}:{os.environ['PATH']}"):
        monkeypatch.setenv("PATH", path)
        assert not verify(public_key, MESSAGE, forged)
    monkeypatch.setattr(ssh, "_SYSTEM_PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", ".:")
    with pytest.raises(ConfigurationError, match="not installed"):
        verify(public_key, MESSAGE, forged)


def test_an_ssh_keygen_that_cannot_verify_is_reported_as_such(
    keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = SshSigner(keys["ed25519"])
    signature = signer.sign(MESSAGE)
    monkeypatch.setattr(ssh, "_SYSTEM_PATH", str(tmp_path))
    for text, reason in (
        ("echo 'unknown option -- Y' >&2; exit 1", r"exit status 1\): unknown option"),
        ("kill -9 $$", "exit status -9"),
        ("exec sleep 60", "did not answer"),
    ):
        monkeypatch.setattr(ssh, "_VERIFY_SECONDS", 1 if "sleep" in text else 30)
        planted(tmp_path, text)
        with pytest.raises(ConfigurationError, match=reason):
            verify(signer.public_key, MESSAGE, signature)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ssh, "_SYSTEM_PATH", "/nowhere")
    planted(tmp_path, "/bin/cat >/dev/null; echo hello")
    with pytest.raises(ApprovalError, match="no signature"):
        signer.sign(MESSAGE)


def test_many_verify_at_once(keys: dict[str, Path]) -> None:
    signer = SshSigner(keys["ed25519"])
    signature = signer.sign(MESSAGE)
    before = len(list(Path("/dev/fd").iterdir()))
    messages = [MESSAGE if number % 2 else b"another" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda message: verify(signer.public_key, message, signature), messages))
    assert found == [message == MESSAGE for message in messages]
    assert len(list(Path("/dev/fd").iterdir())) == before


# --- The trust anchor with several keys a person


@pytest.fixture
def anchor(tmp_path: Path) -> TrustAnchor:
    return TrustAnchor(tmp_path / "trust")


def enrol(anchor: TrustAnchor, name: str, key: Any, *, by: Signer) -> None:
    anchor.enrol(REPOSITORY, name, kind=key.kind, public_key=key.public_key, by=by, nonce=fresh_nonce(), clock=clock)


def decide(signer: Signer, reviewer: str) -> Envelope:
    return sign_decision(
        signer,
        reviewer=reviewer,
        repository=REPOSITORY,
        review_id="R-0001",
        subjects=SUBJECTS,
        decision=Decision.APPROVE,
        nonce=fresh_nonce(),
        clock=clock,
    )


def verified(anchor: TrustAnchor, envelope: Envelope) -> tuple[str, ...]:
    return verify_approval(
        envelope, anchor=anchor, repository=REPOSITORY, review_id="R-0001", subjects=SUBJECTS, clock=clock
    ).signers


def test_a_reviewer_decides_with_any_of_his_keys_of_any_kind(anchor: TrustAnchor, keys: dict[str, Path]) -> None:
    ssh_key, passkey = SshSigner(keys["ed25519"]), Authenticator()
    passphrase = create_key("correct horse", scrypt=ScryptParameters(n=2**10), clock=clock)[1]
    anchor.enrol_first(REPOSITORY, "ada", ssh_key, nonce=fresh_nonce(), clock=clock)
    enrol(anchor, "ada", passkey, by=ssh_key)
    enrol(anchor, "ada", passphrase, by=passkey)
    for key in (ssh_key, passkey, passphrase):
        assert verified(anchor, decide(key, "ada")) == ("ada",)
    assert [one.kind.value for one in anchor.keys(REPOSITORY, "ada")] == ["ssh", "passkey", "passphrase"]
    assert anchor.reviewer(REPOSITORY, "ada").key_id == ssh_key.key_id
    with pytest.raises(NotFoundError, match=r"no reviewer is named bob \(enrolled: ada\)"):
        anchor.keys(REPOSITORY, "bob")


def test_a_key_is_rotated_and_what_the_old_one_signed_is_void(anchor: TrustAnchor, keys: dict[str, Path]) -> None:
    old, new = SshSigner(keys["ed25519"]), SshSigner(keys["ecdsa"])
    anchor.enrol_first(REPOSITORY, "ada", old, nonce=fresh_nonce(), clock=clock)
    envelope = decide(old, "ada")
    verified(anchor, envelope)
    enrol(anchor, "ada", new, by=old)
    gone = anchor.revoke(REPOSITORY, "ada", by=new, key_id=old.key_id, nonce=fresh_nonce(), clock=clock)
    assert (gone.key_id, gone.active) == (old.key_id, False)
    with pytest.raises(ApprovalError, match="the key of ada was revoked"):
        verified(anchor, envelope)
    assert verified(anchor, decide(new, "ada")) == ("ada",)
    with pytest.raises(NotFoundError, match="ada has no active key"):
        anchor.revoke(REPOSITORY, "ada", by=new, key_id=old.key_id, nonce=fresh_nonce(), clock=clock)
    with pytest.raises(ApprovalError, match="only reviewer"):
        anchor.revoke(REPOSITORY, "ada", by=new, nonce=fresh_nonce(), clock=clock)


def test_a_reviewer_is_revoked_with_all_his_keys_by_one_signature(anchor: TrustAnchor, keys: dict[str, Path]) -> None:
    ada, bob, spare = Authenticator(), SshSigner(keys["ed25519"]), Authenticator(credential_id=b"spare")
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    enrol(anchor, "bob", bob, by=ada)
    enrol(anchor, "bob", spare, by=bob)
    envelopes = [decide(key, "bob") for key in (bob, spare)]
    before = len(anchor.statements(REPOSITORY))
    anchor.revoke(REPOSITORY, "bob", by=ada, nonce=fresh_nonce(), clock=clock, reason="left")
    assert len(anchor.statements(REPOSITORY)) == before + 1
    for envelope in envelopes:
        with pytest.raises(ApprovalError, match="the key of bob was revoked"):
            verified(anchor, envelope)


def test_no_reviewer_can_decide_as_another(anchor: TrustAnchor, keys: dict[str, Path]) -> None:
    ada, bob, mallory = Authenticator(), SshSigner(keys["ed25519"]), SshSigner(keys["ecdsa"])
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    enrol(anchor, "bob", bob, by=ada)
    with pytest.raises(ApprovalError, match="only a key of ada can sign"):
        enrol(anchor, "ada", mallory, by=bob)
    with pytest.raises(ApprovalError, match="it names ada, but is signed by bob"):
        verified(anchor, decide(bob, "ada"))


@pytest.mark.parametrize(
    ("kind", "public_key"),
    [(SignerKind.SSH, b"ssh-ed25519 AAAA"), (SignerKind.PASSKEY, b"{}"), (SignerKind.PASSPHRASE, b"short")],
)
def test_what_is_no_key_is_not_enrolled(anchor: TrustAnchor, kind: SignerKind, public_key: bytes) -> None:
    ada = Authenticator()
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    with pytest.raises(UsageError, match="no public key"):
        anchor.enrol(REPOSITORY, "bob", kind=kind, public_key=public_key, by=ada, nonce=fresh_nonce(), clock=clock)
    assert len(anchor.statements(REPOSITORY)) == 1


def test_the_first_reviewer_is_enrolled_by_a_passkey_in_two_steps(anchor: TrustAnchor) -> None:
    ada = Authenticator()
    statement = anchor.prepare_enrolment(
        REPOSITORY, "ada", kind=ada.kind, public_key=ada.public_key, nonce=fresh_nonce(), clock=clock
    )
    assert not anchor.begun(REPOSITORY)
    made = ada.assertion(pae(PAYLOAD_TYPE, statement.payload()))
    assert anchor.append(REPOSITORY, statement, made).name == "ada"
    with pytest.raises(ApprovalError, match="does not follow any more"):
        anchor.append(REPOSITORY, statement, made)


def test_what_was_signed_in_the_browser_is_refused_if_the_chain_moved_meanwhile(
    anchor: TrustAnchor, keys: dict[str, Path]
) -> None:
    ada, bob = Authenticator(), SshSigner(keys["ed25519"])
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    enrol(anchor, "bob", bob, by=ada)
    statement = anchor.prepare_revocation(REPOSITORY, "bob", nonce=fresh_nonce(), clock=clock)
    made = ada.assertion(pae(PAYLOAD_TYPE, statement.payload()))
    enrol(anchor, "bob", SshSigner(keys["ecdsa"]), by=bob)  # a key that the person who signed has not seen
    with pytest.raises(ApprovalError, match="does not follow any more"):
        anchor.append(REPOSITORY, statement, made)
    fresh = anchor.prepare_revocation(REPOSITORY, "bob", nonce=fresh_nonce(), clock=clock)
    with pytest.raises(ApprovalError, match="does not stand for this"):
        anchor.append(REPOSITORY, fresh, made)
    anchor.append(REPOSITORY, fresh, ada.assertion(pae(PAYLOAD_TYPE, fresh.payload())))
    assert [one.name for one in anchor.reviewers(REPOSITORY) if one.active] == ["ada"]


def test_a_person_who_is_asked_to_sign_does_not_hold_up_others(anchor: TrustAnchor, keys: dict[str, Path]) -> None:
    ada, bob = Authenticator(), Authenticator(credential_id=b"bob")

    class Slow(Authenticator):
        """Somebody else works with the trust directory while this person thinks."""

        def sign(self, pae: bytes) -> bytes:
            if not anchor.begun(REPOSITORY) or len(anchor.statements(REPOSITORY)) < 3:
                enrol(anchor, "bob", bob, by=ada)
                anchor.ledger(REPOSITORY).begin("9" * 64)
            return super().sign(pae)

    slow = Slow(credential_id=b"slow")
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    enrol(anchor, "ada", slow, by=ada)
    enrol(anchor, "cyd", SshSigner(keys["ed25519"]), by=slow)
    assert [one.name for one in anchor.reviewers(REPOSITORY)] == ["ada", "ada", "bob", "cyd"]


# --- Counters


def test_a_count_that_does_not_rise_is_refused_and_a_key_that_does_not_count_is_not(anchor: TrustAnchor) -> None:
    counting, silent = "1" * 64, "2" * 64
    assert anchor.counter(REPOSITORY, counting) == 0
    for count in (1, 2, 7):
        anchor.advance_counter(REPOSITORY, counting, count)
    for count in (7, 3, 1, 0):
        with pytest.raises(ApprovalError, match=f"signed with the count {count}, but had signed with 7 before"):
            anchor.advance_counter(REPOSITORY, counting, count)
    for _ in range(3):
        anchor.advance_counter(REPOSITORY, silent, 0)
    assert (anchor.counter(REPOSITORY, counting), anchor.counter(REPOSITORY, silent)) == (7, 0)
    path = anchor.directory / REPOSITORY / "counters.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for content in (b"{}x", b'{"counts":{"x":1}}', b""):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"counters\.json"):
            anchor.counter(REPOSITORY, counting)


def test_a_copy_of_a_passkey_that_fell_behind_enrols_nobody(anchor: TrustAnchor, keys: dict[str, Path]) -> None:
    ada = Authenticator(counter=10)
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    assert anchor.counter(REPOSITORY, ada.key_id) == 11
    copy = Authenticator(private=ada.private, counter=5)
    assert copy.key_id == ada.key_id
    with pytest.raises(ApprovalError, match="signed with the count 6"):
        enrol(anchor, "eve", SshSigner(keys["ed25519"]), by=copy)
    assert [one.name for one in anchor.reviewers(REPOSITORY)] == ["ada"]
    enrol(anchor, "bob", SshSigner(keys["ed25519"]), by=ada)


def test_a_security_key_counts_too(anchor: TrustAnchor) -> None:
    key = SecurityKey()
    anchor.enrol_first(REPOSITORY, "ada", key, nonce=fresh_nonce(), clock=clock)
    assert anchor.counter(REPOSITORY, key.key_id) == 1


def test_an_old_signature_still_verifies_after_later_ones(anchor: TrustAnchor) -> None:
    ada = Authenticator()
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    first = decide(ada, "ada")
    decide(ada, "ada")
    anchor.advance_counter(REPOSITORY, ada.key_id, 40)
    assert verified(anchor, first) == ("ada",)


# --- Keys that wait


def test_a_key_that_waits_is_kept_listed_and_dropped_and_decides_nothing(anchor: TrustAnchor) -> None:
    ada, bob = Authenticator(), Authenticator(credential_id=b"bob")
    anchor.enrol_first(REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    assert anchor.pending(REPOSITORY) == ()
    waiting = Pending.of("bob", bob.kind, bob.public_key, clock)
    anchor.keep_pending(REPOSITORY, waiting)
    anchor.keep_pending(REPOSITORY, waiting)
    assert anchor.pending(REPOSITORY) == (waiting,)
    assert (waiting.key(), waiting.key_id) == (bob.public_key, bob.key_id)
    with pytest.raises(ApprovalError, match="no enrolled reviewer has the key"):
        verified(anchor, decide(bob, "bob"))
    for path in (anchor.directory / REPOSITORY / "pending").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    enrol(anchor, waiting.name, bob, by=ada)
    for _ in range(2):
        anchor.drop_pending(REPOSITORY, bob.key_id)
    assert anchor.pending(REPOSITORY) == ()


def test_what_waits_is_checked_when_it_is_kept_and_when_it_is_read(anchor: TrustAnchor) -> None:
    key = Authenticator()
    with pytest.raises(DocumentError, match="name"):
        Pending.of("../eve", key.kind, key.public_key, clock)
    with pytest.raises(UsageError, match="no public key"):
        anchor.keep_pending(REPOSITORY, Pending.of("eve", SignerKind.PASSKEY, b"{}", clock))
    with pytest.raises(ValueError, match="not a key id"):
        anchor.drop_pending(REPOSITORY, "../../chain")
    anchor.keep_pending(REPOSITORY, Pending.of("eve", key.kind, key.public_key, clock))
    (path,) = (anchor.directory / REPOSITORY / "pending").iterdir()
    other = Pending.of("eve", key.kind, Authenticator().public_key, clock)
    for content in (b"{}", other.model_dump_json().encode()):
        path.write_bytes(content)
        with pytest.raises(IntegrityError):
            anchor.pending(REPOSITORY)


def test_not_more_keys_wait_than_a_person_can_read(anchor: TrustAnchor) -> None:
    for number in range(MAX_PENDING):
        key = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")).public_key().public_bytes_raw()
        anchor.keep_pending(REPOSITORY, Pending.of("eve", SignerKind.PASSPHRASE, key, clock))
    with pytest.raises(UsageError, match="wait already"):
        anchor.keep_pending(REPOSITORY, Pending.of("eve", SignerKind.PASSPHRASE, b"k" * 32, clock))
    assert len(anchor.pending(REPOSITORY)) == MAX_PENDING
