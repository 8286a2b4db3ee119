"""Attempts to be approved without a person: each is really made, and each is refused with its reason."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightcrew.approvals import (
    PassphraseSigner,
    Reviewer,
    ScryptParameters,
    SealedKey,
    Signer,
    TrustAnchor,
    create_key,
    fresh_nonce,
    open_key,
    service_signer,
    verify_approval,
)
from nightcrew.approvals import chain as rules
from nightcrew.approvals.passphrase import read_sealed_key
from nightcrew.approvals.reviewer import Refused, signers_of
from nightcrew.approvals.signer import sign_statement
from nightcrew.model.canonical import canonical_json, sha256_hex
from nightcrew.model.errors import ApprovalError, ConfigurationError, IntegrityError
from nightcrew.model.review import Decision
from nightcrew.model.statement import (
    PAYLOAD_TYPE,
    Envelope,
    SignerKind,
    Subject,
    envelope_of,
    pae,
    read_envelope,
    subject_of,
    to_base64,
)
from tests.signing import sign_decision

FAST = ScryptParameters(n=2**10)
NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
REPOSITORY, OTHER_REPOSITORY = "f" * 64, "e" * 64
PASSPHRASE = "correct horse battery"
NONCE = "1" * 32


def subjects_for(*, ticket: str = "T-0012", head: str = "c" * 40, handoff: str = "9" * 64) -> tuple[Subject, ...]:
    return subject_of(
        ticket_id=ticket,
        ticket_digest=sha256_hex(ticket.encode()),
        handoff_id="H-000001",
        handoff_sha256=handoff,
        base_commit="b" * 40,
        head_commit=head,
        evidence={"junit": "d" * 64},
    )


SUBJECTS = subjects_for()


def clock() -> datetime:
    return NOW


def new_signer() -> PassphraseSigner:
    return create_key(PASSPHRASE, scrypt=FAST, clock=clock)[1]


def decide(
    signer: Signer,
    *,
    reviewer: str = "ada",
    review_id: str = "R-0001",
    repository: str = REPOSITORY,
    subjects: tuple[Subject, ...] = SUBJECTS,
    decision: Decision = Decision.APPROVE,
    nonce: str = NONCE,
) -> Envelope:
    return sign_decision(
        signer,
        reviewer=reviewer,
        repository=repository,
        review_id=review_id,
        subjects=subjects,
        decision=decision,
        nonce=nonce,
        clock=clock,
    )


@pytest.fixture
def anchor(tmp_path: Path) -> TrustAnchor:
    return TrustAnchor(tmp_path / "trust")


@pytest.fixture
def ada(anchor: TrustAnchor) -> PassphraseSigner:
    signer = new_signer()
    anchor.enrol_first(REPOSITORY, "ada", signer, nonce=fresh_nonce(), clock=clock)
    return signer


@pytest.fixture
def bob(anchor: TrustAnchor, ada: PassphraseSigner) -> PassphraseSigner:
    signer = new_signer()
    enrol(anchor, "bob", signer, by=ada)
    return signer


def enrol(anchor: TrustAnchor, name: str, signer: Signer, *, by: Signer, kind: SignerKind | None = None) -> None:
    anchor.enrol(
        REPOSITORY,
        name,
        kind=kind or signer.kind,
        public_key=signer.public_key,
        by=by,
        nonce=fresh_nonce(),
        clock=clock,
    )


def chain_directory(anchor: TrustAnchor) -> Path:
    return anchor.directory / REPOSITORY / "reviewers"


def plant(path: Path, data: bytes) -> None:
    """Write as somebody would who knows the layout and the modes."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)


def refused(
    anchor: TrustAnchor,
    envelope: Any,
    reason: str,
    *,
    subjects: tuple[Subject, ...] = SUBJECTS,
    used_nonces: Callable[[str], str | None] | None = None,
) -> None:
    with pytest.raises(ApprovalError, match=reason) as caught:
        verify_approval(
            envelope,
            anchor=anchor,
            repository=REPOSITORY,
            review_id="R-0001",
            subjects=subjects,
            clock=clock,
            used_nonces=used_nonces,
        )
    assert "R-0001" in str(caught.value)
    assert caught.value.exit_status == 3


# --- Signatures moved to where they were not made for


def test_the_decision_of_another_review_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    refused(anchor, decide(ada, review_id="R-0002"), "signed for review R-0002")


def test_a_signature_copied_under_another_payload_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    theirs, wanted = decide(ada, review_id="R-0002"), decide(new_signer())
    copied = envelope_of(wanted.body(), [(ada.key_id, theirs.signatures[0].value())])
    refused(anchor, copied, "the signature of ada does not verify")


def test_the_decision_of_another_repository_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    anchor.enrol_first(OTHER_REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    refused(anchor, decide(ada, repository=OTHER_REPOSITORY), "signed for another repository")


def test_the_approval_of_an_earlier_commit_is_void_after_a_push(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    pushed = subjects_for(head="e" * 40)
    refused(anchor, decide(ada), "commit/head was cccccccccccc and is eeeeeeeeeeee", subjects=pushed)


def test_a_changed_handoff_voids_the_approval(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    refused(anchor, decide(ada), "handoff/H-000001 was 999", subjects=subjects_for(handoff="8" * 64))


def test_the_approval_of_another_ticket_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    other = subjects_for(ticket="T-0013")
    refused(
        anchor, decide(ada), "ticket/T-0012 was signed and is not here; ticket/T-0013 was not signed", subjects=other
    )


def test_an_approval_of_less_or_of_more_than_what_is_here_is_refused(
    anchor: TrustAnchor, ada: PassphraseSigner
) -> None:
    refused(anchor, decide(ada, subjects=SUBJECTS[1:]), "commit/base was not signed")
    refused(anchor, decide(ada), "commit/base was signed and is not here", subjects=SUBJECTS[1:])
    refused(anchor, decide(ada), "is not here", subjects=())


def test_a_rejection_does_not_pass_for_an_approval(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    for decision in (Decision.REJECT, Decision.ESCALATE):
        refused(anchor, decide(ada, decision=decision), f"the decision signed is {decision.value}")
    rejection = decide(ada, decision=Decision.REJECT)
    edited = rejection.body().replace(b'"reject"', b'"approve"')
    refused(anchor, envelope_of(edited, [(ada.key_id, rejection.signatures[0].value())]), "does not verify")


def test_a_nonce_used_in_another_review_is_a_replay(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    refused(anchor, decide(ada), "its nonce was used in review R-0007", used_nonces={NONCE: "R-0007"}.get)


def test_a_reviewer_cannot_sign_in_the_name_of_another(
    anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner
) -> None:
    refused(anchor, decide(bob, reviewer="ada"), "it names ada, but is signed by bob")


def test_an_enrolment_does_not_pass_for_an_approval(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    refused(anchor, (chain_directory(anchor) / "0001.json").read_bytes(), "type urn:nightcrew:enrolment:v1, not a dec")


def test_an_approval_does_not_pass_for_an_enrolment(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    plant(chain_directory(anchor) / "0002.json", decide(ada).encode())
    with pytest.raises(IntegrityError, match=r"0002: a statement of type urn:nightcrew:approval:v1 enrols"):
        anchor.reviewers(REPOSITORY)


# --- Keys that are nobody's


def test_a_key_that_nobody_enrolled_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    refused(anchor, decide(new_signer()), "no enrolled reviewer has the key")


def test_a_signature_under_the_id_of_a_reviewers_key_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    eve = new_signer()
    forged = decide(eve)
    refused(anchor, envelope_of(forged.body(), [(ada.key_id, forged.signatures[0].value())]), "does not verify")


def test_with_nobody_enrolled_nothing_is_approved(anchor: TrustAnchor) -> None:
    refused(anchor, decide(new_signer()), "no enrolled reviewer")


def test_nightcrews_own_key_approves_nothing(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    refused(anchor, decide(service_signer(anchor.directory)), "nightcrew's own key, which decides nothing")


def test_nightcrews_own_key_beside_a_reviewers_spoils_the_approval(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    service, envelope = service_signer(anchor.directory), decide(ada)
    both = [
        (ada.key_id, envelope.signatures[0].value()),
        (service.key_id, service.sign(envelope.signed_bytes())),
    ]
    refused(anchor, envelope_of(envelope.body(), both), "nightcrew's own key")


def test_nightcrews_own_key_cannot_become_a_reviewers(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    service = service_signer(anchor.directory)
    for kind in (SignerKind.SERVICE, SignerKind.PASSPHRASE):  # as what it is, and disguised
        with pytest.raises(ApprovalError, match="no person holds"):
            enrol(anchor, "robot", service, by=ada, kind=kind)
    with pytest.raises(ApprovalError, match="no person holds"):
        anchor.enrol_first(OTHER_REPOSITORY, "robot", service, nonce=fresh_nonce(), clock=clock)
    assert [reviewer.name for reviewer in anchor.reviewers(REPOSITORY)] == ["ada"]
    assert not anchor.begun(OTHER_REPOSITORY)


def test_a_key_of_another_nightcrew_is_no_persons_either(
    anchor: TrustAnchor, ada: PassphraseSigner, tmp_path: Path
) -> None:
    foreign = service_signer(tmp_path / "elsewhere")
    with pytest.raises(ApprovalError, match="no person holds"):
        enrol(anchor, "robot", foreign, by=ada)
    listed = Reviewer("robot", foreign.key_id, foreign.kind, foreign.public_key, NOW, ("ada",))
    with pytest.raises(Refused, match="of kind service, which no person holds"):
        signers_of(decide(foreign, reviewer="robot"), [listed], None)


def test_a_reviewer_whose_key_does_not_fit_its_id_signs_nothing(ada: PassphraseSigner) -> None:
    eve = new_signer()
    forged = envelope_of(decide(eve).body(), [(ada.key_id, decide(eve).signatures[0].value())])
    listed = Reviewer("ada", ada.key_id, ada.kind, eve.public_key, NOW, ("ada",))
    with pytest.raises(Refused, match="not the one that was enrolled"):
        signers_of(forged, [listed], None)


def test_nightcrews_own_key_cannot_enrol_or_revoke(anchor: TrustAnchor, bob: PassphraseSigner) -> None:
    service = service_signer(anchor.directory)
    with pytest.raises(ApprovalError, match="nightcrew's own key"):
        enrol(anchor, "eve", new_signer(), by=service)
    with pytest.raises(ApprovalError, match="nightcrew's own key"):
        anchor.revoke(REPOSITORY, "bob", by=service, nonce=fresh_nonce(), clock=clock)


# --- The chain of reviewers


def test_a_second_first_reviewer_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    with pytest.raises(ApprovalError, match="one of them has to sign"):
        anchor.enrol_first(REPOSITORY, "eve", new_signer(), nonce=fresh_nonce(), clock=clock)


def test_a_reviewer_cannot_enrol_himself(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    eve = new_signer()
    with pytest.raises(ApprovalError, match="no enrolled reviewer has the key"):
        enrol(anchor, "eve", eve, by=eve)
    refused(anchor, decide(eve, reviewer="eve"), "no enrolled reviewer")


def self_enrolment(anchor: TrustAnchor, eve: Signer, *, previous: bytes | None) -> bytes:
    statement = rules.enrolment(
        REPOSITORY,
        previous,
        name="eve",
        kind=eve.kind,
        public_key=eve.public_key,
        time=NOW,
        nonce=fresh_nonce(),
    )
    return sign_statement(eve, statement).encode()


def assert_anchor_refuses(anchor: TrustAnchor, eve: Signer, reason: str) -> None:
    """Nobody is listed and nothing verifies, even for honest reviewers, until a person has looked."""
    with pytest.raises(IntegrityError, match=reason):
        anchor.reviewers(REPOSITORY)
    with pytest.raises(IntegrityError, match=reason):
        verify_approval(
            decide(eve, reviewer="eve"),
            anchor=anchor,
            repository=REPOSITORY,
            review_id="R-0001",
            subjects=SUBJECTS,
            clock=clock,
        )


@pytest.mark.parametrize("linked", [True, False])
def test_a_reviewer_file_put_in_by_hand_is_refused_and_reported(
    anchor: TrustAnchor, ada: PassphraseSigner, linked: bool
) -> None:
    eve = new_signer()
    previous = anchor.statements(REPOSITORY)[-1] if linked else None
    plant(chain_directory(anchor) / "0002.json", self_enrolment(anchor, eve, previous=previous))
    reason = "entry 0002: no enrolled reviewer has the key" if linked else "entry 0002: it does not follow"
    assert_anchor_refuses(anchor, eve, reason)


@pytest.mark.parametrize("name", ["0003.json", "eve.json", "0002.json.bak", "１.json"])
def test_a_file_outside_the_chains_order_is_reported(anchor: TrustAnchor, ada: PassphraseSigner, name: str) -> None:
    eve = new_signer()
    plant(chain_directory(anchor) / name, self_enrolment(anchor, eve, previous=None))
    assert_anchor_refuses(anchor, eve, "does not belong to the chain")


def test_a_first_reviewer_put_in_by_hand_before_the_ceremony_approves_nothing(anchor: TrustAnchor) -> None:
    eve = new_signer()
    chain_directory(anchor).mkdir(parents=True, mode=0o700)
    for directory in (anchor.directory, anchor.directory / REPOSITORY):
        directory.chmod(0o700)
    plant(chain_directory(anchor) / "0001.json", self_enrolment(anchor, eve, previous=None))
    assert_anchor_refuses(anchor, eve, "no first reviewer was enrolled here")
    plant(chain_directory(anchor) / "0002.json", b"{}")
    with pytest.raises(IntegrityError, match="nobody enrolled"):
        anchor.enrol_first(REPOSITORY, "ada", new_signer(), nonce=fresh_nonce(), clock=clock)


def test_the_first_reviewer_cannot_be_replaced(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    eve = new_signer()
    plant(chain_directory(anchor) / "0001.json", self_enrolment(anchor, eve, previous=None))
    assert_anchor_refuses(anchor, eve, "not the chain that was enrolled here")


def test_a_swapped_public_key_is_refused(anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner) -> None:
    eve = new_signer()
    path = chain_directory(anchor) / "0002.json"
    envelope = read_envelope(path.read_bytes())
    statement = json.loads(envelope.body())
    for key_id in (bob.key_id, eve.key_id):  # with the id left as it was, and changed to fit
        statement["predicate"] |= {"public_key": to_base64(eve.public_key), "key_id": key_id}
        body = canonical_json(statement)
        swapped = envelope_of(body, [(ada.key_id, envelope.signatures[0].value())]).encode()
        plant(path, swapped)
        assert_anchor_refuses(anchor, eve, "not the chain that was enrolled here")
        # Whoever also brings the pin into line still has no signature.
        pin = anchor.directory / REPOSITORY / "chain.json"
        plant(pin, canonical_json(json.loads(pin.read_bytes()) | {"last": sha256_hex(swapped)}))
        assert_anchor_refuses(anchor, eve, "entry 0002: (the key id is not|it does not follow)")


def test_a_swapped_key_with_everything_else_made_to_fit_still_lacks_the_signature(
    anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner
) -> None:
    eve = new_signer()
    first, second = anchor.statements(REPOSITORY)
    mine = read_envelope(self_enrolment(anchor, eve, previous=first))
    forged = envelope_of(mine.body(), [(ada.key_id, read_envelope(second).signatures[0].value())]).encode()
    plant(chain_directory(anchor) / "0002.json", forged)
    pin = anchor.directory / REPOSITORY / "chain.json"
    plant(pin, canonical_json(json.loads(pin.read_bytes()) | {"last": sha256_hex(forged)}))
    assert_anchor_refuses(anchor, eve, "entry 0002: the signature of ada does not verify")


def test_an_enrolment_of_another_repository_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    eve = new_signer()
    anchor.enrol_first(OTHER_REPOSITORY, "ada", ada, nonce=fresh_nonce(), clock=clock)
    anchor.enrol(
        OTHER_REPOSITORY,
        "eve",
        kind=eve.kind,
        public_key=eve.public_key,
        by=ada,
        nonce=fresh_nonce(),
        clock=clock,
    )
    copied = (anchor.directory / OTHER_REPOSITORY / "reviewers" / "0002.json").read_bytes()
    plant(chain_directory(anchor) / "0002.json", copied)
    assert_anchor_refuses(anchor, eve, "does not follow the entry before it in this repository")


def test_a_repositorys_whole_trust_directory_copied_to_another_is_refused(
    anchor: TrustAnchor, ada: PassphraseSigner
) -> None:
    shutil.copytree(anchor.directory / REPOSITORY, anchor.directory / OTHER_REPOSITORY)
    with pytest.raises(IntegrityError, match="entry 0001: it does not follow"):
        anchor.reviewers(OTHER_REPOSITORY)


def test_a_revoked_reviewers_unused_approval_is_void(
    anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner
) -> None:
    envelope = decide(bob, reviewer="bob")
    arguments: dict[str, Any] = {
        "anchor": anchor,
        "repository": REPOSITORY,
        "review_id": "R-0001",
        "subjects": SUBJECTS,
        "clock": clock,
    }
    verify_approval(envelope, **arguments)
    anchor.revoke(REPOSITORY, "bob", by=ada, nonce=fresh_nonce(), clock=clock, reason="laptop stolen")
    refused(anchor, envelope, "the key of bob was revoked on 2026-01-31T02:00:00.000000Z")


def test_a_revoked_reviewer_enrols_and_revokes_nobody_and_does_not_come_back(
    anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner
) -> None:
    anchor.revoke(REPOSITORY, "bob", by=ada, nonce=fresh_nonce(), clock=clock)
    enrol(anchor, "cyd", new_signer(), by=ada)
    with pytest.raises(ApprovalError, match="the key of bob was revoked"):
        enrol(anchor, "eve", new_signer(), by=bob)
    with pytest.raises(ApprovalError, match="the key of bob was revoked"):
        anchor.revoke(REPOSITORY, "ada", by=bob, nonce=fresh_nonce(), clock=clock)
    with pytest.raises(ApprovalError, match="has been enrolled before"):
        enrol(anchor, "bob2", bob, by=ada)


def test_a_removed_revocation_is_noticed(anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner) -> None:
    anchor.revoke(REPOSITORY, "bob", by=ada, nonce=fresh_nonce(), clock=clock)
    (chain_directory(anchor) / "0003.json").unlink()
    assert_anchor_refuses(anchor, bob, "lost entries of its chain")


def test_a_revocation_cut_out_of_the_middle_is_noticed_even_with_the_pin_rewritten(
    anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner
) -> None:
    anchor.revoke(REPOSITORY, "bob", by=ada, nonce=fresh_nonce(), clock=clock)
    enrol(anchor, "cyd", new_signer(), by=ada)
    (chain_directory(anchor) / "0004.json").rename(chain_directory(anchor) / "0003.json")
    pin = anchor.directory / REPOSITORY / "chain.json"
    plant(pin, canonical_json(json.loads(pin.read_bytes()) | {"count": 3}))
    assert_anchor_refuses(anchor, bob, "entry 0003: it does not follow")


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b'{"count":0}', b"[" * 50_000])
def test_a_damaged_pin_is_reported(anchor: TrustAnchor, ada: PassphraseSigner, content: bytes) -> None:
    plant(anchor.directory / REPOSITORY / "chain.json", content)
    assert_anchor_refuses(anchor, ada, r"chain\.json")


def test_a_removed_pin_does_not_open_a_new_ceremony_unseen(
    anchor: TrustAnchor, ada: PassphraseSigner, bob: PassphraseSigner
) -> None:
    (anchor.directory / REPOSITORY / "chain.json").unlink()
    assert_anchor_refuses(anchor, ada, "no first reviewer was enrolled here")
    with pytest.raises(IntegrityError, match="nobody enrolled"):
        anchor.enrol_first(REPOSITORY, "eve", new_signer(), nonce=fresh_nonce(), clock=clock)


def test_a_chain_reached_through_a_link_is_refused(anchor: TrustAnchor, ada: PassphraseSigner, tmp_path: Path) -> None:
    entry = chain_directory(anchor) / "0001.json"
    entry.rename(tmp_path / "elsewhere.json")
    entry.symlink_to(tmp_path / "elsewhere.json")
    assert_anchor_refuses(anchor, ada, "cannot be read as a plain file")


def test_a_named_pipe_in_a_files_place_does_not_hang_the_check(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    entry = chain_directory(anchor) / "0001.json"
    entry.unlink()
    os.mkfifo(entry, 0o600)
    assert_anchor_refuses(anchor, ada, "not a plain file")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_trust_file_that_others_can_reach_is_refused_with_a_hint(
    anchor: TrustAnchor, ada: PassphraseSigner, mode: int
) -> None:
    for path in (chain_directory(anchor) / "0001.json", anchor.directory / REPOSITORY / "chain.json"):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="open to other users") as caught:
            anchor.reviewers(REPOSITORY)
        assert f"chmod 600 '{path}'" in caught.value.hint
        path.chmod(0o600)
    assert anchor.reviewer(REPOSITORY, "ada").active


def test_a_trust_directory_that_others_can_enter_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    for path in (anchor.directory, anchor.directory / REPOSITORY, chain_directory(anchor)):
        path.chmod(0o770)
        with pytest.raises(ConfigurationError, match="mode 0770"):
            anchor.reviewers(REPOSITORY)
        path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_trust_file_of_another_user_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    os.chown(chain_directory(anchor) / "0001.json", 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        anchor.reviewers(REPOSITORY)


# --- Payloads made to be read in two ways; each is really signed by the reviewer's key


def signed_by(signer: Signer, payload: bytes) -> Envelope:
    return envelope_of(payload, [(signer.key_id, signer.sign(pae(PAYLOAD_TYPE, payload)))])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"decision":"approve"', b'"decision":"reject","decision":"approve"', "duplicate key"),
        (b'"comment":""', b'"comment":"","approved":true', "approved"),
        (b'"comment":""', b'"comment":"","escalate_to":null', "canonical"),
        (b'"comment":"",', b"", "canonical"),
        (b'{"_type"', b' {"_type"', "canonical"),
        (b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v2", "_type"),
        (b"approval:v1", b"approval:v2", "predicateType|tag"),
    ],
)
def test_an_ambiguous_payload_is_refused_though_its_signature_holds(
    anchor: TrustAnchor, ada: PassphraseSigner, old: bytes, new: bytes, reason: str
) -> None:
    payload = decide(ada).body()
    assert payload.count(old) == 1
    refused(anchor, signed_by(ada, payload.replace(old, new)), reason)


def test_a_signature_under_another_payload_type_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    payload = decide(ada).body()
    other = "application/json"
    envelope = envelope_of(payload, [(ada.key_id, ada.sign(pae(other, payload)))])
    refused(anchor, envelope.plain() | {"payloadType": other}, "payload type is application/json")
    refused(anchor, envelope, "does not verify")


def test_the_bare_payload_signed_without_its_encoding_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    payload = decide(ada).body()
    refused(anchor, envelope_of(payload, [(ada.key_id, ada.sign(payload))]), "does not verify")


def test_an_envelope_made_to_be_read_in_two_ways_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    envelope = decide(ada)
    good = envelope.plain()
    signature = good["signatures"][0]
    doubled = envelope.encode().replace(b'{"payload":', b'{"payload":"e30=","payload":')
    refused(anchor, doubled, "duplicate key")
    refused(anchor, good | {"approved": True}, "approved")
    refused(anchor, good | {"signatures": []}, "signatures")
    refused(anchor, good | {"signatures": [signature, signature]}, "by one key")
    refused(anchor, good | {"signatures": [signature | {"cert": ""}]}, "cert")
    refused(anchor, good | {"signatures": [{"sig": signature["sig"]}]}, "keyid")
    refused(anchor, good | {"signatures": [signature | {"sig": signature["sig"].rstrip("=")}]}, "base64")
    refused(anchor, good | {"signatures": [signature | {"sig": signature["sig"] + "\n"}]}, "base64")
    refused(anchor, good | {"payload": good["payload"] + "="}, "base64")
    refused(anchor, b"approved", "JSON")


def test_a_malleable_or_empty_signature_is_refused(anchor: TrustAnchor, ada: PassphraseSigner) -> None:
    envelope = decide(ada)
    value = envelope.signatures[0].value()
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(value[32:], "little") + order  # the same residue: RFC 8032 wants it refused
    for forged in (value[:32] + scalar.to_bytes(32, "little"), value + b"\0", value[:63], bytes(64)):
        refused(anchor, envelope_of(envelope.body(), [(ada.key_id, forged)]), "does not verify")


# --- The sealed key


@pytest.fixture
def sealed() -> SealedKey:
    return create_key(PASSPHRASE, scrypt=FAST, clock=clock)[0]


def test_a_wrong_passphrase_opens_nothing_and_says_so(sealed: SealedKey) -> None:
    for wrong in ("correct horse batterz", "", PASSPHRASE + " ", PASSPHRASE.upper()):
        with pytest.raises(ApprovalError, match="the passphrase is wrong"):
            open_key(sealed, wrong)


def edited(key: SealedKey, /, **changes: Any) -> bytes:
    return canonical_json(key.plain() | changes)


def test_any_changed_field_of_the_sealed_key_is_noticed(sealed: SealedKey) -> None:
    other = create_key(PASSPHRASE, scrypt=FAST, clock=clock)[0]
    changes: list[dict[str, Any]] = [{name: getattr(other, name)} for name in ("salt", "nonce", "sealed")]
    changes += [
        {"public_key": other.public_key},
        {"public_key": other.public_key, "key_id": other.key_id},
        {"created": "2026-01-31T02:00:01.000000Z"},
        {"scrypt": {"n": 2**11, "r": 8, "p": 1}},
    ]
    for change in changes:
        with pytest.raises(ApprovalError, match="has been changed"):
            open_key(read_sealed_key(edited(sealed, **change), source="key"), PASSPHRASE)


def test_any_flipped_bit_of_the_sealed_seed_is_noticed(sealed: SealedKey) -> None:
    from nightcrew.model.statement import from_base64

    data = from_base64(sealed.sealed, source="test")
    for position in range(0, len(data) * 8, 7):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(ApprovalError):
            open_key(sealed.model_copy(update={"sealed": to_base64(bytes(flipped))}), PASSPHRASE)


@pytest.mark.parametrize(
    "cost",
    [
        {"n": 2**30, "r": 8, "p": 1},
        {"n": 2**20, "r": 32, "p": 1},
        {"n": 2**17, "r": 8, "p": 10**6},
        {"n": 2**17, "r": 10**9, "p": 1},
        {"n": 10**400, "r": 8, "p": 1},
        {"n": 2**17 + 1, "r": 8, "p": 1},
        {"n": 2, "r": 8, "p": 1},
        {"n": -(2**17), "r": 8, "p": 1},
        {"n": "131072", "r": 8, "p": 1},
        {"n": 2**17, "r": 8, "p": 1, "maxmem": 0},
    ],
)
def test_a_key_file_that_asks_for_too_much_is_refused_before_it_is_obeyed(
    sealed: SealedKey, cost: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError, match="scrypt"):
        read_sealed_key(edited(sealed, scrypt=cost), source="key")


def test_a_key_file_that_is_not_one_is_refused(sealed: SealedKey) -> None:
    for data in (b"", b"{}", edited(sealed, kdf="none"), edited(sealed, cipher="none"), edited(sealed, extra=1)):
        with pytest.raises(IntegrityError):
            read_sealed_key(data, source="key")
    for change in ({"nonce": ""}, {"salt": "YQ=="}, {"sealed": "?"}):
        with pytest.raises(IntegrityError):
            open_key(read_sealed_key(edited(sealed, **change), source="key"), PASSPHRASE)


def test_another_reviewers_key_file_in_a_keys_place_is_refused(anchor: TrustAnchor, sealed: SealedKey) -> None:
    other = create_key(PASSPHRASE, scrypt=FAST, clock=clock)[0]
    path = anchor.keep_key(sealed)
    plant(path, other.encode())
    with pytest.raises(IntegrityError, match="holds another key"):
        anchor.sealed_key(sealed.key_id)


def test_private_keys_that_others_can_read_are_refused(anchor: TrustAnchor, sealed: SealedKey) -> None:
    path = anchor.keep_key(sealed)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="open to other users"):
        anchor.sealed_key(sealed.key_id)
    service_signer(anchor.directory)
    (anchor.directory / "service.json").chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to other users"):
        service_signer(anchor.directory)


def test_a_damaged_service_key_is_reported_not_replaced(anchor: TrustAnchor) -> None:
    service_signer(anchor.directory)
    path = anchor.directory / "service.json"
    stored = json.loads(path.read_bytes())
    for content in (b"", canonical_json(stored | {"public_key": to_base64(new_signer().public_key)})):
        plant(path, content)
        with pytest.raises(IntegrityError, match=r"service\.json"):
            service_signer(anchor.directory)
        assert path.read_bytes() == content


def test_a_key_is_never_overwritten_by_another_under_its_id(anchor: TrustAnchor, sealed: SealedKey) -> None:
    path = anchor.keep_key(sealed)
    before = path.read_bytes()
    anchor.keep_key(sealed.model_copy(update={"sealed": "AAAA"}))
    assert path.read_bytes() == before
