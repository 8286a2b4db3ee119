"""Reviewers and decisions on a real disk: enrol, sign, verify, revoke, and what a crash leaves."""

import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.signing import sign_decision

from nightcrew.approvals import (
    PassphraseSigner,
    ScryptParameters,
    TrustAnchor,
    create_key,
    fresh_nonce,
    open_key,
    private_files,
    read_passphrase,
    service_signer,
    sign_verdict,
    verify_approval,
    verify_verdict,
)
from nightcrew.approvals.passphrase import read_sealed_key
from nightcrew.location import config_directory
from nightcrew.model.errors import (
    ApprovalError,
    ConfigurationError,
    DocumentError,
    IntegrityError,
    NotFoundError,
    UsageError,
)
from nightcrew.model.handoff import Check, Verdict
from nightcrew.model.review import Decision
from nightcrew.model.statement import Envelope, Subject, envelope_of, subject_of, to_base64

FAST = ScryptParameters(n=2**10)
NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
REPOSITORY = "f" * 64
PASSPHRASE = "correct horse battery"
SUBJECTS = subject_of(
    ticket_id="T-0012", ticket_digest="a" * 64, base_commit="b" * 40, head_commit="c" * 40, evidence={"junit": "d" * 64}
)


def clock() -> datetime:
    return NOW


def new_signer() -> PassphraseSigner:
    return create_key(PASSPHRASE, scrypt=FAST, clock=clock)[1]


@pytest.fixture
def anchor(tmp_path: Path) -> TrustAnchor:
    return TrustAnchor(tmp_path / "trust")


@pytest.fixture
def ada(anchor: TrustAnchor) -> PassphraseSigner:
    signer = new_signer()
    anchor.enrol_first(REPOSITORY, "ada", signer, nonce=fresh_nonce(), clock=clock)
    return signer


def enrol(anchor: TrustAnchor, name: str, by: PassphraseSigner) -> PassphraseSigner:
    signer = new_signer()
    anchor.enrol(
        REPOSITORY,
        name,
        kind=signer.kind,
        public_key=signer.public_key,
        by=by,
        nonce=fresh_nonce(),
        clock=clock,
    )
    return signer


def decide(signer: PassphraseSigner, *, reviewer: str = "ada", decision: Decision = Decision.APPROVE) -> Envelope:
    return sign_decision(
        signer,
        reviewer=reviewer,
        repository=REPOSITORY,
        review_id="R-0001",
        subjects=SUBJECTS,
        decision=decision,
        nonce="1" * 32,
        clock=clock,
        comment="read it, line by line",
    )


def test_a_decision_of_an_enrolled_reviewer_verifies_as_bytes_as_object_and_as_envelope(
    anchor: TrustAnchor, ada: PassphraseSigner
) -> None:
    envelope = decide(ada)
    for form in (envelope, envelope.encode(), envelope.plain()):
        approval = verify_approval(
            form, anchor=anchor, repository=REPOSITORY, review_id="R-0001", subjects=SUBJECTS, clock=clock
        )
        assert approval.reviewer == "ada"
        assert approval.signers == ("ada",)
        assert approval.decision is Decision.APPROVE
        assert approval.comment == "read it, line by line"
        assert approval.subjects == SUBJECTS
        assert approval.time == NOW
        assert approval.envelope_sha256 == envelope.sha256()


def test_the_order_of_subjects_does_not_matter(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    verify_approval(
        decide(ada),
        anchor=anchor,
        repository=REPOSITORY,
        review_id="R-0001",
        subjects=SUBJECTS[::-1],
        clock=clock,
    )


def test_a_rejection_verifies_as_a_rejection_only(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    def verify(decision: Decision) -> None:
        verify_approval(
            decide(ada, decision=Decision.REJECT),
            anchor=anchor,
            repository=REPOSITORY,
            review_id="R-0001",
            subjects=SUBJECTS,
            clock=clock,
            decision=decision,
        )

    verify(Decision.REJECT)
    with pytest.raises(ApprovalError, match="the decision signed is reject, not approve"):
        verify(Decision.APPROVE)


def test_an_escalation_names_the_next_reviewer(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    envelope = sign_decision(
        ada,
        reviewer="ada",
        repository=REPOSITORY,
        review_id="R-0001",
        subjects=SUBJECTS,
        decision=Decision.ESCALATE,
        nonce=fresh_nonce(),
        clock=clock,
        escalate_to="bob",
        policy_sha256="e" * 64,
    )
    approval = verify_approval(
        envelope,
        anchor=anchor,
        repository=REPOSITORY,
        review_id="R-0001",
        subjects=SUBJECTS,
        clock=clock,
        decision=Decision.ESCALATE,
    )
    assert (approval.escalate_to, approval.policy_sha256) == ("bob", "e" * 64)


def test_a_decision_verifies_again_and_again_with_its_nonce_used_in_its_own_review(
    anchor: TrustAnchor, ada: PassphraseSigner
) -> None:
    for used_by in (None, "R-0001"):
        verify_approval(
            decide(ada),
            anchor=anchor,
            repository=REPOSITORY,
            review_id="R-0001",
            subjects=SUBJECTS,
            clock=clock,
            used_nonces={"1" * 32: used_by}.get,
        )


def test_two_reviewers_can_sign_one_decision_and_one_bad_signature_spoils_it(
    anchor: TrustAnchor, ada: PassphraseSigner
) -> None:
    bob, eve = enrol(anchor, "bob", ada), new_signer()
    envelope = decide(ada)

    def with_second(signer: PassphraseSigner, message: bytes) -> Envelope:
        signed = [(ada.key_id, envelope.signatures[0].value()), (signer.key_id, signer.sign(message))]
        return envelope_of(envelope.body(), signed)

    def verify(form: Envelope) -> tuple[str, ...]:
        return verify_approval(
            form, anchor=anchor, repository=REPOSITORY, review_id="R-0001", subjects=SUBJECTS, clock=clock
        ).signers

    assert verify(with_second(bob, envelope.signed_bytes())) == ("ada", "bob")
    with pytest.raises(ApprovalError, match="the signature of bob does not verify"):
        verify(with_second(bob, b"something else"))
    with pytest.raises(ApprovalError, match="no enrolled reviewer has the key"):
        verify(with_second(eve, envelope.signed_bytes()))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_of_payload_or_signature_voids_the_decision(
    anchor: TrustAnchor, ada: PassphraseSigner, data: st.DataObject
) -> None:
    envelope = decide(ada)
    body, signature = bytearray(envelope.body()), bytearray(envelope.signatures[0].value())
    target = data.draw(st.sampled_from([body, signature]))
    position = data.draw(st.integers(0, len(target) - 1))
    target[position] ^= data.draw(st.integers(1, 255))
    forged = envelope_of(bytes(body), [(ada.key_id, bytes(signature))])
    with pytest.raises(ApprovalError, match="the signature of ada does not verify"):
        verify_approval(
            forged, anchor=anchor, repository=REPOSITORY, review_id="R-0001", subjects=SUBJECTS, clock=clock
        )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_character_of_the_envelope_voids_the_decision(
    anchor: TrustAnchor, ada: PassphraseSigner, data: st.DataObject
) -> None:
    encoded = bytearray(decide(ada).encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ApprovalError):
        verify_approval(
            bytes(encoded), anchor=anchor, repository=REPOSITORY, review_id="R-0001", subjects=SUBJECTS, clock=clock
        )


def test_reviewers_are_listed_with_who_enrolled_them_and_revocations(
    anchor: TrustAnchor, ada: PassphraseSigner
) -> None:
    bob = enrol(anchor, "bob", ada)
    enrol(anchor, "cyd", bob)
    revoked = anchor.revoke(REPOSITORY, "bob", by=ada, nonce=fresh_nonce(), clock=clock, reason="left")
    assert revoked.key_id == bob.key_id
    assert revoked.revoked == NOW
    listed = [(r.name, r.enrolled_by, r.active) for r in anchor.reviewers(REPOSITORY)]
    assert listed == [("ada", ("ada",), True), ("bob", ("ada",), False), ("cyd", ("bob",), True)]
    with pytest.raises(NotFoundError, match="enrolled: ada, cyd"):
        anchor.reviewer(REPOSITORY, "bob")


def test_a_key_is_replaced_under_the_same_name_before_its_revocation(
    anchor: TrustAnchor, ada: PassphraseSigner
) -> None:
    bob = enrol(anchor, "bob", ada)
    with pytest.raises(ApprovalError, match="already a reviewer named BOB"):
        enrol(anchor, "BOB", ada)
    fresh = enrol(anchor, "bob", bob)
    anchor.revoke(REPOSITORY, "bob", by=ada, key_id=bob.key_id, nonce=fresh_nonce(), clock=clock)
    assert anchor.reviewer(REPOSITORY, "bob").key_id == fresh.key_id
    anchor.revoke(REPOSITORY, "bob", by=ada, nonce=fresh_nonce(), clock=clock)
    with pytest.raises(ApprovalError, match="take another name"):
        enrol(anchor, "bob", ada)


def test_the_last_reviewer_is_not_revoked(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    with pytest.raises(ApprovalError, match="only reviewer"):
        anchor.revoke(REPOSITORY, "ada", by=ada, nonce=fresh_nonce(), clock=clock)
    assert anchor.reviewer(REPOSITORY, "ada").active


def test_before_the_first_there_is_nobody(anchor: TrustAnchor) -> None:
    assert anchor.reviewers(REPOSITORY) == ()
    assert not anchor.begun(REPOSITORY)
    with pytest.raises(NotFoundError, match="nobody"):
        anchor.reviewer(REPOSITORY, "ada")
    with pytest.raises(ApprovalError, match="no first reviewer"):
        enrol(anchor, "bob", new_signer())


@pytest.mark.parametrize("name", ["", "../ada", "a b", "x" * 65, "ada\n", "-ada"])
def test_a_name_that_is_not_one_enrols_nobody(anchor: TrustAnchor, name: str) -> None:
    with pytest.raises(DocumentError, match="reviewer"):
        anchor.enrol_first(REPOSITORY, name, new_signer(), nonce=fresh_nonce(), clock=clock)
    assert not anchor.begun(REPOSITORY)


@pytest.mark.parametrize("repository", ["", "..", "keys", "a/b", "a.b", "a\n"])
def test_a_repository_id_cannot_lead_elsewhere(anchor: TrustAnchor, repository: str) -> None:
    with pytest.raises(ValueError, match="repository id"):
        anchor.reviewers(repository)


def test_everything_is_private_whatever_the_umask(anchor: TrustAnchor) -> None:
    before = os.umask(0)
    try:
        sealed, signer = create_key(PASSPHRASE, scrypt=FAST, clock=clock)
        anchor.keep_key(sealed)
        anchor.enrol_first(REPOSITORY, "ada", signer, nonce=fresh_nonce(), clock=clock)
        anchor.ledger(REPOSITORY).begin("9" * 64)
        service_signer(anchor.directory)
    finally:
        os.umask(before)
    paths = [anchor.directory, *anchor.directory.rglob("*")]
    assert len(paths) >= 9
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_an_interrupted_write_is_taken_up_again(
    anchor: TrustAnchor, ada: PassphraseSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = private_files.replace

    def stop_before_the_pin(path: Path, data: bytes) -> None:
        if path.name == "chain.json":
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(private_files, "replace", stop_before_the_pin)
    with pytest.raises(KeyboardInterrupt):
        enrol(anchor, "bob", ada)
    monkeypatch.undo()
    assert [reviewer.name for reviewer in anchor.reviewers(REPOSITORY)] == ["ada", "bob"]
    enrol(anchor, "cyd", ada)
    assert [reviewer.name for reviewer in anchor.reviewers(REPOSITORY)] == ["ada", "bob", "cyd"]


def test_an_interrupted_ceremony_enrols_nobody_and_can_be_repeated(
    anchor: TrustAnchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = private_files.replace
    monkeypatch.setattr(
        private_files, "replace", lambda path, data: write(path, data) if path.name != "chain.json" else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        anchor.enrol_first(REPOSITORY, "ada", new_signer(), nonce=fresh_nonce(), clock=clock)
    monkeypatch.undo()
    with pytest.raises(IntegrityError, match="no first reviewer was enrolled here"):
        anchor.reviewers(REPOSITORY)
    anchor.enrol_first(REPOSITORY, "ada", new_signer(), nonce=fresh_nonce(), clock=clock)
    assert anchor.reviewer(REPOSITORY, "ada").active


def test_a_temporary_file_that_a_crash_left_is_ignored(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    (anchor.directory / REPOSITORY / "reviewers" / ".tmp-0002.json-00").write_bytes(b"half a fi")
    assert [reviewer.name for reviewer in anchor.reviewers(REPOSITORY)] == ["ada"]


def run_all(targets: list[Callable[[], object]]) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target) for target in targets]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_processes_enrolling_at_once_lose_nobody(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    names = [f"r{number}" for number in range(6)]
    run_all([lambda name=name: enrol(anchor, name, ada) for name in names])  # type: ignore[misc]
    assert sorted(reviewer.name for reviewer in anchor.reviewers(REPOSITORY)) == ["ada", *names]


def test_processes_making_the_service_key_at_once_get_one_key(anchor: TrustAnchor, tmp_path: Path) -> None:
    def note(number: int) -> None:
        (tmp_path / f"key-{number}").write_text(service_signer(anchor.directory).key_id)

    run_all([lambda number=number: note(number) for number in range(6)])  # type: ignore[misc]
    assert {(tmp_path / f"key-{number}").read_text() for number in range(6)} == {anchor.service_key_id()}


def test_a_sealed_key_opens_with_its_passphrase_and_signs_as_before(anchor: TrustAnchor) -> None:
    sealed, signer = create_key(PASSPHRASE, scrypt=FAST, clock=clock)
    path = anchor.keep_key(sealed)
    assert PASSPHRASE.encode() not in path.read_bytes()
    opened = open_key(anchor.sealed_key(signer.key_id), PASSPHRASE)
    assert opened == signer
    assert opened.sign(b"x") == signer.sign(b"x")
    assert "_seed" not in repr(opened)
    with pytest.raises(NotFoundError, match="no private key"):
        anchor.sealed_key("0" * 64)


def test_the_default_cost_is_128_mib() -> None:
    cost = ScryptParameters()
    assert (cost.n, cost.r, cost.p) == (2**17, 8, 1)
    sealed, signer = create_key(PASSPHRASE, clock=clock)
    assert open_key(read_sealed_key(sealed.encode(), source="key"), PASSPHRASE) == signer


def test_a_passphrase_typed_on_another_keyboard_opens_the_key() -> None:
    sealed, signer = create_key("Zürich Bahnhof", scrypt=FAST, clock=clock)
    assert open_key(sealed, "Zu\u0308rich Bahnhof") == signer


def test_a_short_passphrase_makes_no_key() -> None:
    with pytest.raises(UsageError, match="fewer than 8"):
        create_key("seven77", scrypt=FAST, clock=clock)


def test_a_passphrase_comes_from_the_named_file_before_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    named = {"NIGHTCREW_PASSPHRASE_FILE": str(path)}
    for stored, expected in (("secret\n", "secret"), ("secret\r\n", "secret"), ("two\n\n", "two\n"), (" x ", " x ")):
        path.write_text(stored, newline="")
        assert read_passphrase(None, environment=named) == expected
    assert read_passphrase(lambda text: f"typed at {text}", environment={}) == "typed at Passphrase: "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_passphrase_file_that_others_can_reach_is_refused_with_a_hint(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "passphrase"
    path.write_text("secret word")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="open to other users") as caught:
        read_passphrase(None, environment={"NIGHTCREW_PASSPHRASE_FILE": str(path)})
    assert f"chmod 600 '{path}'" in caught.value.hint


def test_a_passphrase_can_come_through_a_pipe() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"secret\n")
    os.close(writer)
    try:
        named = {"NIGHTCREW_PASSPHRASE_FILE": f"/dev/fd/{reader}"}
        assert read_passphrase(None, environment=named) == "secret"
    finally:
        os.close(reader)


def test_without_a_passphrase_the_error_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nobody to ask") as caught:
        read_passphrase(None, environment={})
    assert "NIGHTCREW_PASSPHRASE_FILE" in caught.value.hint
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_passphrase(None, environment={"NIGHTCREW_PASSPHRASE_FILE": str(tmp_path / "missing")})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_passphrase(None, environment={"NIGHTCREW_PASSPHRASE_FILE": str(tmp_path)})
    with pytest.raises(ConfigurationError, match="empty"):
        read_passphrase(lambda text: "", environment={})
    for content, reason in ((b"x" * 5000, "longer"), (b"\xff\xfe", "UTF-8")):
        path = tmp_path / "odd"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigurationError, match=reason):
            read_passphrase(None, environment={"NIGHTCREW_PASSPHRASE_FILE": str(path)})


def test_the_anchor_lies_in_the_users_configuration_directory() -> None:
    assert config_directory({"HOME": "/home/ada"}) == Path("/home/ada/.config/nightcrew")
    assert config_directory({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == Path("/x/nightcrew")
    assert config_directory({"HOME": "/h", "XDG_CONFIG_HOME": "x"}) == Path("/h/.config/nightcrew")
    chosen = {"HOME": "/h", "XDG_CONFIG_HOME": "/x", "NIGHTCREW_CONFIG_DIR": "/c"}
    assert config_directory(chosen) == Path("/c")
    assert TrustAnchor.of_user(chosen).directory == Path("/c/trust")
    with pytest.raises(ConfigurationError, match="absolute"):
        config_directory({"NIGHTCREW_CONFIG_DIR": "config"})


def test_an_anchor_inside_the_repository_is_refused(tmp_path: Path) -> None:
    anchor = TrustAnchor(tmp_path / "repository" / "config" / "trust")
    anchor.require_outside(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="lies inside"):
        anchor.require_outside(tmp_path / "other", tmp_path / "repository")
    (tmp_path / "link").symlink_to(tmp_path / "repository")
    with pytest.raises(ConfigurationError, match="lies inside"):
        TrustAnchor(tmp_path / "link" / "trust").require_outside(tmp_path / "repository")


def test_a_ledger_put_back_to_an_older_state_is_noticed(anchor: TrustAnchor) -> None:
    ledger = [f"{number:064x}" for number in range(10)]
    pin = anchor.ledger(REPOSITORY)
    pin.check(lambda sequence: None)  # nothing pinned yet
    with pytest.raises(IntegrityError, match="no ledger is anchored"):
        pin.follow(lambda seen: (1, ledger[1]))
    pin.begin(ledger[0])
    pin.begin(ledger[0])
    pin.follow(lambda seen: (7, ledger[7]))
    with pytest.raises(IntegrityError, match="lost entry 7"):
        pin.follow(lambda seen: (5, ledger[5]))
    seen = pin.read()
    assert seen is not None
    assert (seen.genesis, seen.sequence, seen.head) == (ledger[0], 7, ledger[7])

    def entries(stored: list[str]) -> Callable[[int], str | None]:
        return lambda sequence: stored[sequence] if sequence < len(stored) else None

    pin.check(entries(ledger))
    with pytest.raises(IntegrityError, match="lost entry 7"):
        pin.check(entries(ledger[:6]))
    with pytest.raises(IntegrityError, match=r"entry 7 .* not the one"):
        pin.check(entries([*ledger[:7], "a" * 64]))
    with pytest.raises(IntegrityError, match="entry 0"):
        pin.check(entries(["a" * 64, *ledger[1:]]))
    with pytest.raises(IntegrityError, match="lost entry 7"):
        pin.follow(lambda seen: (7, "a" * 64))
    with pytest.raises(IntegrityError, match="anchored"):
        pin.begin("a" * 64)
    (anchor.directory / REPOSITORY / "genesis.json").write_text("{}")
    with pytest.raises(IntegrityError, match="genesis"):
        pin.read()


def verdict_of(anchor: TrustAnchor, subjects: tuple[Subject, ...] = SUBJECTS) -> Envelope:
    return sign_verdict(
        service_signer(anchor.directory),
        repository=REPOSITORY,
        desk="qa",
        session="S-0001",
        verdict=Verdict.FAILED,
        checks=[Check(name="pytest", status="failed", detail="2 regressions")],
        subjects=subjects,
        clock=clock,
    )


def test_a_verdict_verifies_for_exactly_its_commit(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    envelope = verdict_of(anchor)
    read = verify_verdict(envelope.encode(), anchor=anchor, repository=REPOSITORY, desk="qa", subjects=SUBJECTS)
    assert (read.verdict, read.session, read.checks[0].name) == (Verdict.FAILED, "S-0001", "pytest")
    pushed = subject_of(base_commit="b" * 40, head_commit="e" * 40)
    for repository, desk, subjects, reason in (
        (REPOSITORY, "qa", pushed, "commit/head was cccccccccccc and is eeeeeeeeeeee"),
        (REPOSITORY, "security", SUBJECTS, "one of qa"),
        ("e" * 64, "qa", SUBJECTS, "one of qa"),
    ):
        with pytest.raises(IntegrityError, match=reason):
            verify_verdict(envelope, anchor=anchor, repository=repository, desk=desk, subjects=subjects)


def test_a_verdict_that_nightcrew_did_not_sign_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    def refused(envelope: Envelope, reason: str) -> None:
        with pytest.raises(IntegrityError, match=reason):
            verify_verdict(envelope, anchor=anchor, repository=REPOSITORY, desk="qa", subjects=SUBJECTS)

    refused(decide(ada), "no key of its own")
    envelope = verdict_of(anchor)
    refused(envelope_of(envelope.body(), [(ada.key_id, ada.sign(envelope.signed_bytes()))]), "own key, and by it alone")
    changed = envelope.body().replace(b'"verdict":"failed"', b'"verdict":"passed"')
    refused(envelope_of(changed, [(anchor.service_key_id() or "", envelope.signatures[0].value())]), "does not verify")
    refused(envelope.model_copy(update={"payloadType": "text/plain"}), "payload type")
    service = service_signer(anchor.directory)
    decision = decide(ada)
    refused(envelope_of(decision.body(), [(service.key_id, service.sign(decision.signed_bytes()))]), "not a verdict")
    refused(envelope.model_copy(update={"payload": "?"}), "cannot be read")


def test_a_clock_a_little_behind_accepts_and_one_far_behind_refuses(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    def verify(behind: timedelta) -> None:
        verify_approval(
            decide(ada),
            anchor=anchor,
            repository=REPOSITORY,
            review_id="R-0001",
            subjects=SUBJECTS,
            clock=lambda: NOW - behind,
        )

    verify(timedelta(minutes=5))
    with pytest.raises(ApprovalError, match="lies in the future"):
        verify(timedelta(minutes=5, microseconds=1))


def test_importing_approvals_loads_no_database_no_engine_and_no_cryptography() -> None:
    code = (
        "import sys, nightcrew.approvals\n"
        "print([m for m in ('sqlalchemy', 'dbos', 'cryptography', 'nightcrew.store', 'nightcrew.engine')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_sealed_key_file_and_public_key_are_plain_base64(anchor: TrustAnchor) -> None:
    sealed, signer = create_key(PASSPHRASE, scrypt=FAST, clock=clock)
    assert sealed.public_key == to_base64(signer.public_key)
    assert read_sealed_key(sealed.encode(), source="key") == sealed
