"""Attempts on what the trust anchor stands on: one person as two, another repository's database, a rewritten ledger."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nightcrew.approvals import (
    PassphraseSigner,
    Pending,
    ScryptParameters,
    TrustAnchor,
    chain,
    chain_files,
    create_key,
    fresh_nonce,
    signer,
    verify_approval,
)
from nightcrew.approvals.github import GithubKey
from nightcrew.approvals.memo import Memo
from nightcrew.approvals.passkey_document import PasskeyKey, to_base64url
from nightcrew.approvals.signer import key_id_of, verify_signature
from nightcrew.approvals.ssh import SshSigner
from nightcrew.crew import reviewers, setup
from nightcrew.crew.project import open_project
from nightcrew.model.errors import ApprovalError, IntegrityError, NotFoundError, UsageError
from nightcrew.model.review import Decision
from nightcrew.model.statement import DigestSet, SignerKind, Subject
from nightcrew.store import ledger
from tests.authenticator import ORIGIN, RP_ID, Authenticator
from tests.faults import crew_repository as crew
from tests.gate import Gate, prepare
from tests.signing import sign_decision

REPOSITORY = "f" * 64
NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
SUBJECTS = (Subject(name="ticket/T-0001", digest=DigestSet(sha256="a" * 64)),)


def clock() -> datetime:
    return NOW


def new_signer() -> PassphraseSigner:
    return create_key("a pass phrase", scrypt=ScryptParameters(n=2**10), clock=clock)[1]


@pytest.fixture(autouse=True)
def forget() -> None:
    """What another test verified is verified again."""
    chain_files._VERIFIED.clear()
    signer._GOOD.clear()


@pytest.fixture
def anchor(tmp_path: Path) -> TrustAnchor:
    return TrustAnchor(tmp_path / "trust")


@pytest.fixture
def ada(anchor: TrustAnchor) -> PassphraseSigner:
    made = new_signer()
    anchor.enrol_first(REPOSITORY, "ada", made, nonce=fresh_nonce(), clock=clock)
    return made


def enrol(anchor: TrustAnchor, name: str, kind: SignerKind, public_key: bytes, by: Any) -> None:
    anchor.enrol(REPOSITORY, name, kind=kind, public_key=public_key, by=by, nonce=fresh_nonce(), clock=clock)


def revoke(anchor: TrustAnchor, name: str, by: Any, key_id: str | None = None) -> None:
    anchor.revoke(REPOSITORY, name, by=by, key_id=key_id, nonce=fresh_nonce(), clock=clock)


# --- One person as two


def account(**changed: str) -> bytes:
    usual = {"api": "https://api.github.com", "repository": "o/r", "login": "grace-h", "token_env": "GITHUB_TOKEN"}
    return GithubKey.read(usual | changed).encode()


SPELLINGS = [
    account(login="Grace-H"),
    account(token_env="OTHER_TOKEN"),
    account(repository="o/another"),
    account(api="https://API.github.com", login="GRACE-H"),
    account(api="https://api.github.com:443"),
    account(api="https://api.github.com/api/v3"),
]


@pytest.mark.parametrize("again", SPELLINGS, ids=[key.decode()[:90] for key in SPELLINGS])
def test_one_account_on_github_is_not_two_people(
    anchor: TrustAnchor, ada: PassphraseSigner, again: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(anchor, "grace", SignerKind.GITHUB, account(), ada)
    with pytest.raises(ApprovalError, match="is grace's already: one person has one name"):
        enrol(anchor, "bob", SignerKind.GITHUB, again, ada)
    assert len(anchor.statements(REPOSITORY)) == 2
    with monkeypatch.context() as patch:  # somebody writes it with a nightcrew that does not ask
        patch.setattr(chain, "_check_key", lambda *_: None)
        enrol(anchor, "bob", SignerKind.GITHUB, again, ada)
    with pytest.raises(IntegrityError, match=r"entry 0003: this account .* is grace's already"):
        anchor.reviewers(REPOSITORY)


def test_an_account_may_change_its_token_and_once_revoked_its_name(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    grace = new_signer()
    enrol(anchor, "grace", SignerKind.PASSPHRASE, grace.public_key, ada)
    enrol(anchor, "grace", SignerKind.GITHUB, account(), grace)
    enrol(anchor, "grace", SignerKind.GITHUB, account(token_env="NEW"), grace)
    enrol(anchor, "linus", SignerKind.GITHUB, account(login="linus"), ada)
    enrol(anchor, "linus-e", SignerKind.GITHUB, account(api="https://example.org/api/v3", login="linus"), ada)
    for key in (account(), account(token_env="NEW")):
        with pytest.raises(ApprovalError, match="is grace's already"):
            enrol(anchor, "bob", SignerKind.GITHUB, account(token_env="X"), ada)
        revoke(anchor, "grace", ada, key_id_of(key))
    enrol(anchor, "bob", SignerKind.GITHUB, account(token_env="X"), ada)


def forms() -> dict[str, tuple[SignerKind, bytes]]:
    """One Ed25519 key in each form that a key can be enrolled in."""
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    raw = public.public_bytes_raw()
    ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    cose = {1: 1, 3: -8, -1: 6, -2: raw}

    def passkey(value: dict[int, Any], origin: str) -> bytes:
        return PasskeyKey(
            cose=to_base64url(cbor2.dumps(value)), credential_id=to_base64url(b"x"), origin=origin, rp_id=RP_ID
        ).encode()

    return {
        "passphrase": (SignerKind.PASSPHRASE, raw),
        "ssh": (SignerKind.SSH, ssh),
        "passkey": (SignerKind.PASSKEY, passkey(cose, ORIGIN)),
        "passkey elsewhere": (SignerKind.PASSKEY, passkey(cose, "http://localhost:9999")),
        "passkey, written otherwise": (SignerKind.PASSKEY, passkey(dict(reversed(cose.items())), ORIGIN)),
    }


@pytest.mark.parametrize("again", list(forms()))
@pytest.mark.parametrize("first", list(forms()))
def test_one_key_in_two_forms_is_not_two_people(
    anchor: TrustAnchor, ada: PassphraseSigner, first: str, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = forms()
    enrol(anchor, "grace", *form[first], ada)
    with pytest.raises(ApprovalError, match="has been enrolled before"):
        enrol(anchor, "bob", *form[again], ada)
    with monkeypatch.context() as patch:
        patch.setattr(chain, "_check_key", lambda *_: None)
        enrol(anchor, "bob", *form[again], ada)
    with pytest.raises(IntegrityError, match=r"entry 0003: .* has been enrolled before"):
        anchor.reviewers(REPOSITORY)


def test_a_key_that_was_revoked_does_not_come_back_in_another_form(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    form, spare = forms(), new_signer()
    enrol(anchor, "grace", *form["ssh"], ada)
    revoke(anchor, "grace", ada)
    enrol(anchor, "ada", SignerKind.PASSPHRASE, spare.public_key, ada)
    for name in ("ada", "bob"):
        with pytest.raises(ApprovalError, match="in another form: it is grace's"):
            enrol(anchor, name, *form["passphrase"], ada)


def test_curves_and_rsa_are_told_by_their_numbers(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    curve = Authenticator()
    numbers = rsa.generate_private_key(65537, 2048).public_key()
    n = numbers.public_numbers().n
    cose = {1: 3, 3: -257, -1: n.to_bytes(256, "big"), -2: b"\x01\x00\x01"}
    pairs: list[tuple[bytes, Any]] = [
        (curve.public_key, curve.private.public_key()),
        (
            PasskeyKey(
                cose=to_base64url(cbor2.dumps(cose)), credential_id=to_base64url(b"r"), origin=ORIGIN, rp_id=RP_ID
            ).encode(),
            numbers,
        ),
    ]
    for number, (passkey, public) in enumerate(pairs):
        ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        enrol(anchor, f"grace{number}", SignerKind.PASSKEY, passkey, ada)
        with pytest.raises(ApprovalError, match="in another form"):
            enrol(anchor, "bob", SignerKind.SSH, ssh, ada)
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    enrol(anchor, "bob", SignerKind.SSH, other.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), ada)


def test_nobody_comes_after_a_revoked_reviewer_under_the_same_name(
    anchor: TrustAnchor, ada: PassphraseSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(anchor, "Bob", SignerKind.PASSPHRASE, new_signer().public_key, ada)
    revoke(anchor, "Bob", ada)
    for name in ("Bob", "bob", "BOB"):
        with pytest.raises(ApprovalError, match="the name Bob is that of a reviewer who was revoked: take another"):
            enrol(anchor, name, SignerKind.PASSPHRASE, new_signer().public_key, ada)
    statement = chain.enrolment(
        REPOSITORY,
        anchor.statements(REPOSITORY)[-1],
        name="bob",
        kind=SignerKind.PASSPHRASE,
        public_key=new_signer().public_key,
        time=NOW,
        nonce=fresh_nonce(),
    )
    with pytest.raises(ApprovalError, match="take another name"):  # prepared by somebody else, then signed
        anchor.append(REPOSITORY, statement, ada)
    with monkeypatch.context() as patch:  # an earlier release wrote such chains: they stay readable
        patch.setattr(chain, "check_new", lambda *_: None)
        anchor.append(REPOSITORY, statement, ada)
    assert [(one.name, one.active) for one in anchor.reviewers(REPOSITORY)] == [
        ("ada", True),
        ("Bob", False),
        ("bob", True),
    ]


# --- Another repository's database


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


def another(gate: Gate) -> Path:
    """A second repository of the same user, prepared."""
    root = gate.home / "another"
    crew.make(root, crew.environment(gate.home))
    setup.initialise(root)
    return root


def identity(root: Path) -> str:
    project = open_project(root)
    try:
        return project.repository_id
    finally:
        project.close()


def copy_state(source: Path, target: Path) -> None:
    for old in target.glob("nightcrew.db*"):
        old.unlink()
    for file in source.glob("nightcrew.db*"):
        shutil.copy(file, target / file.name)


def test_the_database_of_another_repository_does_not_pass_as_this_ones(gate: Gate) -> None:
    other = another(gate)
    before = identity(other)
    gate.reopen()
    copy_state(gate.home / "repo" / ".nightcrew", other / ".nightcrew")
    with pytest.raises(IntegrityError, match="the database was exchanged") as caught:
        identity(other)
    assert "roots.json" in str(caught.value)
    assert before[:16] in str(caught.value)
    assert "take the line of this path out" in (caught.value.hint or "")
    with pytest.raises(IntegrityError, match="the database was exchanged"):
        setup.initialise(other)


def test_a_setting_does_not_lead_to_another_repositorys_database(gate: Gate) -> None:
    other = another(gate)
    identity(other)
    database = gate.home / "repo" / ".nightcrew" / "nightcrew.db"
    settings = other / "nightcrew.toml"
    settings.write_text(f'database_url = "sqlite:///{database}"\n' + settings.read_text())
    with pytest.raises(IntegrityError, match="the database was exchanged"):
        identity(other)


def test_a_ledger_begun_anew_does_not_pass_until_the_user_says_so(gate: Gate) -> None:
    root, before = gate.home / "repo", gate.project.repository_id
    gate.reopen()
    shutil.rmtree(root / ".nightcrew")
    for _ in range(2):
        with pytest.raises(IntegrityError, match="has an empty ledger, but its own begins with"):
            setup.initialise(root)
    roots = gate.home / "config" / "trust" / "roots.json"
    lines = roots.read_text().splitlines(keepends=True)
    roots.write_text("".join(line for line in lines if f'"{root}"' not in line))
    setup.initialise(root)
    assert identity(root) != before


def test_a_repository_may_be_moved_or_reached_by_a_link(gate: Gate) -> None:
    before = gate.project.repository_id
    gate.reopen()
    (gate.home / "repo").rename(gate.home / "moved")
    (gate.home / "link").symlink_to(gate.home / "moved")
    assert identity(gate.home / "link") == before
    roots = json.loads((gate.home / "config" / "trust" / "roots.json").read_text())["roots"]
    assert roots == {str(gate.home / "repo"): before, str(gate.home / "moved"): before}


def test_a_repository_that_an_earlier_release_prepared_is_known_from_now_on(gate: Gate) -> None:
    other = another(gate)
    roots = gate.home / "config" / "trust" / "roots.json"
    roots.unlink()
    identity(other)
    gate.reopen()
    copy_state(gate.home / "repo" / ".nightcrew", other / ".nightcrew")
    with pytest.raises(IntegrityError, match="the database was exchanged"):
        identity(other)
    roots.write_text("{")
    with pytest.raises(IntegrityError, match=r"roots\.json"):
        identity(other)


def test_a_ledger_that_nobody_began_here_is_not_taken_for_the_repositorys(gate: Gate) -> None:
    other = another(gate)
    roots = gate.home / "config" / "trust" / "roots.json"
    roots.unlink()
    shutil.rmtree(gate.home / "config" / "trust" / identity(other))
    roots.unlink(missing_ok=True)
    identity(other)
    assert not roots.exists()


def test_a_path_that_is_no_text_is_known_too(anchor: TrustAnchor, tmp_path: Path) -> None:
    root = tmp_path / "r\udcff"
    anchor.roots().pin(root, "a" * 64)
    anchor.roots().pin(root, "a" * 64)
    assert anchor.roots().of(root) == "a" * 64
    assert anchor.roots().of(tmp_path / "r%FF") is None


# --- A ledger that was rewritten between two looks


def rewritten(gate: Gate, *statements: str) -> None:
    gate.reopen()
    with closing(sqlite3.connect(gate.home / "repo" / ".nightcrew" / "nightcrew.db")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def write(gate: Gate, count: int = 1) -> None:
    with gate.project.store.begin() as tx:
        for number in range(count):
            ledger.append(tx, actor="human", action="note", subject=f"note:{number}", data={})


def pinned(gate: Gate) -> tuple[int, str]:
    seen = gate.project.anchor.ledger(gate.project.repository_id).read()
    assert seen is not None
    return seen.sequence, seen.head


def test_the_pin_follows_a_ledger_that_goes_on(gate: Gate) -> None:
    write(gate, 3)
    gate.project.pin_ledger()
    with gate.project.store.read() as tx:
        head = ledger.head(tx)
    assert head is not None
    assert pinned(gate) == (head.seq, head.hash)
    gate.project.pin_ledger()
    assert pinned(gate) == (head.seq, head.hash)


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        ("DELETE FROM ledger WHERE seq >= {seen}", "lost entry {seen}"),
        ("UPDATE ledger SET hash = 'x' WHERE seq = {seen}", "entry {seen} of the ledger is not the one"),
        ("UPDATE ledger SET data = '{{}}' || ' ' WHERE seq = {after}", "entry {after} of the ledger"),
        ("UPDATE ledger SET seal = hash WHERE seq = {after}", "entry {after} of the ledger"),
        ("DELETE FROM ledger WHERE seq = {after}", "of the ledger"),
    ],
)
def test_a_rewritten_ledger_does_not_become_the_one_that_was_seen(gate: Gate, attack: str, reason: str) -> None:
    write(gate, 2)
    gate.project.pin_ledger()
    before = pinned(gate)
    write(gate, 3)
    numbers = {"seen": before[0], "after": before[0] + 1}
    rewritten(gate, attack.format(**numbers))
    with pytest.raises(IntegrityError, match=reason.format(**numbers)):
        gate.project.pin_ledger()
    assert pinned(gate) == before


def test_a_ledger_put_back_and_written_further_does_not_become_the_one_that_was_seen(gate: Gate) -> None:
    state = gate.home / "repo" / ".nightcrew"
    gate.reopen()
    old = gate.home / "old"
    old.mkdir()
    copy_state(state, old)
    write(gate, 2)
    gate.project.pin_ledger()
    before = pinned(gate)
    gate.reopen()
    copy_state(old, state)
    gate.later(hours=1)
    write(gate, 5)  # sealed by nightcrew itself, and longer than what was seen
    with pytest.raises(IntegrityError, match=f"entry {before[0]} of the ledger is not the one that was seen"):
        gate.project.pin_ledger()
    assert pinned(gate) == before


# --- What is remembered of verifications


@pytest.fixture
def ssh(tmp_path: Path) -> SshSigner:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
    return SshSigner(key)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SignerKind]:
    """The kinds of the signatures that were really verified, in order."""
    found: list[SignerKind] = []

    def counted(kind: SignerKind, verify: Any) -> Any:
        def counting(*given: bytes) -> Any:
            found.append(kind)
            return verify(*given)

        return counting

    monkeypatch.setattr(signer, "_VERIFIERS", {k: counted(k, v) for k, v in signer._VERIFIERS.items()})
    return found


def test_a_good_signature_is_verified_once_and_a_bad_one_each_time(ssh: SshSigner, asked: list[SignerKind]) -> None:
    signature = ssh.sign(b"this")
    for _ in range(3):
        assert verify_signature(SignerKind.SSH, ssh.public_key, b"this", signature)
    assert asked == [SignerKind.SSH]
    for _ in range(3):
        assert not verify_signature(SignerKind.SSH, ssh.public_key, b"that", signature)
    assert len(asked) == 4
    assert not verify_signature(SignerKind.PASSPHRASE, ssh.public_key, b"this", signature)
    assert not verify_signature(SignerKind.SSH, ssh.public_key, b"", b"this" + signature)


def test_github_is_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([True, True, False])
    monkeypatch.setitem(signer._VERIFIERS, SignerKind.GITHUB, lambda *_: next(said))
    assert [verify_signature(SignerKind.GITHUB, account(), b"m", b"s") for _ in range(3)] == [True, True, False]


def test_a_revocation_counts_at_once_though_all_was_verified_before(
    anchor: TrustAnchor, ada: PassphraseSigner, ssh: SshSigner, asked: list[SignerKind]
) -> None:
    enrol(anchor, "grace", ssh.kind, ssh.public_key, ada)
    envelope = sign_decision(
        ssh,
        reviewer="grace",
        repository=REPOSITORY,
        review_id="R-0001",
        subjects=SUBJECTS,
        decision=Decision.APPROVE,
        nonce=fresh_nonce(),
        clock=clock,
    )
    given: dict[str, Any] = {"anchor": anchor, "repository": REPOSITORY, "review_id": "R-0001", "clock": clock}
    verify_approval(envelope, subjects=SUBJECTS, **given)
    once = len(asked)
    for _ in range(5):
        verify_approval(envelope, subjects=SUBJECTS, **given)
    assert len(asked) == once
    changed = (Subject(name="ticket/T-0001", digest=DigestSet(sha256="b" * 64)),)
    with pytest.raises(ApprovalError, match="something else"):
        verify_approval(envelope, subjects=changed, **given)
    revoke(anchor, "grace", ada)
    with pytest.raises(ApprovalError, match="the key of grace was revoked"):
        verify_approval(envelope, subjects=SUBJECTS, **given)


def test_a_changed_chain_is_verified_anew(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    enrol(anchor, "bob", SignerKind.PASSPHRASE, new_signer().public_key, ada)
    assert anchor.reviewers(REPOSITORY) is anchor.reviewers(REPOSITORY)
    shutil.copytree(anchor.directory / REPOSITORY, anchor.directory / ("e" * 64))
    with pytest.raises(IntegrityError, match="entry 0001: it does not follow"):
        anchor.reviewers("e" * 64)
    entry = anchor.directory / REPOSITORY / "reviewers" / "0001.json"
    good = entry.read_bytes()
    for damaged in (good + b"\n", good[:-1], b" " + good):
        entry.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            anchor.reviewers(REPOSITORY)
    entry.write_bytes(good)
    assert len(anchor.reviewers(REPOSITORY)) == 2


def test_a_memo_forgets_what_was_used_longest_ago() -> None:
    memo: Memo[int] = Memo(2)
    for key in (1, 2):
        memo.put(key, key)
    assert memo.get(1) == 1
    memo.put(3, 3)
    assert [memo.get(key) for key in (1, 2, 3)] == [1, None, 3]


# --- A key that somebody else registered under a waiting name


def registered(gate: Gate, name: str, credential_id: bytes) -> Pending:
    made = Authenticator(credential_id=credential_id)
    waits = Pending.of(name, SignerKind.PASSKEY, made.public_key, gate.project.clock)
    gate.project.anchor.keep_pending(gate.project.repository_id, waits)
    return waits


def test_a_key_that_another_registered_under_the_name_is_not_signed_with_it(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, planted = registered(gate, "grace", b"hers"), registered(gate, "grace", b"mallory's")
    monkeypatch.setattr(reviewers, "opened", lambda *_, **__: gate.signers["ada"][0])

    def admit(key_id: str | None = None) -> Any:
        return reviewers.admit(gate.project, "grace", passphrase=lambda _: "", by="ada", key_id=key_id)

    with pytest.raises(UsageError, match="2 keys wait under the name grace") as caught:
        admit()
    assert wanted.key_id[:16] in str(caught.value)
    assert planted.key_id[:16] in str(caught.value)
    assert "--key" in (caught.value.hint or "")
    with pytest.raises(NotFoundError, match="begins with zz"):
        admit("zz")
    assert admit(wanted.key_id[:12]).key_id == wanted.key_id
    keys = gate.project.anchor.keys(gate.project.repository_id, "grace")
    assert [key.key_id for key in keys] == [wanted.key_id]
    assert [one.key_id for one in reviewers.waiting(gate.project)] == [planted.key_id]


def test_the_command_line_says_which_keys_wait(gate: Gate) -> None:
    wanted, planted = registered(gate, "grace", b"hers"), registered(gate, "grace", b"mallory's")
    gate.reopen()
    command = [str(Path(sys.executable).with_name("nightcrew")), "reviewer", "admit", "grace"]
    done = subprocess.run(command, cwd=gate.home / "repo", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    for one in (wanted, planted):
        assert one.key_id[:16] in done.stderr.replace("\n", " ")
    named = [*command, "--key", wanted.key_id[:12]]
    done = subprocess.run(named, cwd=gate.home / "repo", capture_output=True, text=True, timeout=60, check=False)
    assert f"key {wanted.key_id[:16]}" in done.stdout  # shown, and only then signed: here is no key to sign with
    assert planted.key_id[:16] not in done.stdout
    assert done.returncode != 0
