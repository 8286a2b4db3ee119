"""Statements and envelopes: one encoding each, everything else refused."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightcrew.model.canonical import canonical_json, digest
from nightcrew.model.errors import DocumentError
from nightcrew.model.handoff import Check, Verdict
from nightcrew.model.review import Decision
from nightcrew.model.statement import (
    MAX_JSON_BYTES,
    MAX_SIGNATURES,
    PAYLOAD_TYPE,
    ApprovalPredicate,
    ApprovalStatement,
    DigestSet,
    EnrolmentPredicate,
    EnrolmentStatement,
    Envelope,
    RevocationPredicate,
    RevocationStatement,
    SignerKind,
    Subject,
    VerdictPredicate,
    VerdictStatement,
    envelope_of,
    from_base64,
    pae,
    read_envelope,
    read_json,
    read_statement,
    subject_digest,
    subject_of,
    to_base64,
)

TIME = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
SHA = "a" * 64
COMMIT = "b" * 40
NONCE = "0" * 32

moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)
commits = st.text("0123456789abcdef", min_size=40, max_size=40)
nonces = st.text("0123456789abcdef", min_size=32, max_size=64)
characters = st.characters(codec="utf-8")
texts = st.text(characters, max_size=60)
identifiers = st.text(characters, min_size=1, max_size=40)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", fullmatch=True)
digests = st.one_of(
    st.builds(DigestSet, sha256=hexes),
    st.builds(DigestSet, gitCommit=commits),
    st.builds(DigestSet, sha256=hexes, gitCommit=commits),
)
subjects = st.lists(
    st.builds(Subject, name=identifiers, digest=digests), min_size=1, max_size=5, unique_by=lambda subject: subject.name
).map(tuple)
decisions = st.sampled_from([Decision.APPROVE, Decision.REJECT])
approvals = st.builds(
    ApprovalPredicate,
    repository=identifiers,
    review_id=identifiers,
    decision=decisions,
    reviewer=names,
    time=moments,
    nonce=nonces,
    comment=texts,
    policy_sha256=st.none() | hexes,
)
checks = st.builds(Check, name=identifiers, status=st.sampled_from(["passed", "failed", "not_checked"]), detail=texts)
verdicts = st.builds(
    VerdictPredicate,
    repository=identifiers,
    desk=identifiers,
    session=identifiers,
    verdict=st.sampled_from(Verdict),
    time=moments,
    checks=st.lists(checks, max_size=3).map(tuple),
)
enrolments = st.builds(
    EnrolmentPredicate,
    reviewer=names,
    key_id=hexes,
    public_key=st.binary(max_size=64).map(to_base64),
    kind=st.sampled_from(SignerKind),
    time=moments,
    nonce=nonces,
)
revocations = st.builds(RevocationPredicate, key_id=hexes, reason=texts, time=moments, nonce=nonces)
statements = st.one_of(
    st.builds(ApprovalStatement, subject=subjects, predicate=approvals),
    st.builds(VerdictStatement, subject=subjects, predicate=verdicts),
    st.builds(EnrolmentStatement, subject=subjects, predicate=enrolments),
    st.builds(RevocationStatement, subject=subjects, predicate=revocations),
)


def approval() -> ApprovalStatement:
    return ApprovalStatement(
        subject=subject_of(head_commit=COMMIT),
        predicate=ApprovalPredicate(
            repository="r", review_id="R-0001", decision=Decision.APPROVE, reviewer="ada", time=TIME, nonce=NONCE
        ),
    )


def test_pae_is_that_of_the_dsse_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_not_characters() -> None:
    assert pae("é", "ü€".encode()) == "DSSEv1 2 é 5 ü€".encode()


@given(st.text(max_size=20), st.binary(max_size=40), st.text(max_size=20), st.binary(max_size=40))
def test_pae_is_injective(kind: str, payload: bytes, other_kind: str, other_payload: bytes) -> None:
    assert (pae(kind, payload) == pae(other_kind, other_payload)) == ((kind, payload) == (other_kind, other_payload))


def test_a_statement_is_the_in_toto_statement_v1() -> None:
    assert json.loads(approval().payload()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "commit/head", "digest": {"gitCommit": COMMIT}}],
        "predicateType": "urn:nightcrew:approval:v1",
        "predicate": {
            "repository": "r",
            "review_id": "R-0001",
            "decision": "approve",
            "reviewer": "ada",
            "time": "2026-01-31T02:00:00.000000Z",
            "nonce": NONCE,
            "comment": "",
        },
    }


@given(statements)
def test_every_statement_survives_writing_and_reading(statement: Any) -> None:
    assert read_statement(statement.payload()) == statement


@given(statements, st.lists(st.tuples(hexes, st.binary(min_size=1, max_size=80)), min_size=1, max_size=3))
def test_every_envelope_survives_writing_and_reading(statement: Any, signatures: list[tuple[str, bytes]]) -> None:
    envelope = envelope_of(statement.payload(), list(dict(signatures).items()))
    assert read_envelope(envelope.encode()) == envelope
    assert envelope.body() == statement.payload()
    assert envelope.signed_bytes() == pae(PAYLOAD_TYPE, statement.payload())


def changed(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(approval().payload())
    for path, new in changes.items():
        *parents, last = path.split("__")
        place = value
        for part in parents:
            place = place[part]
        place[last] = new
    return value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"extra": 1}, "extra"),
        ({"predicate__approved": True}, "approved"),
        ({"predicate__escalate_to": None}, "canonical"),
        ({"predicate__escalate_to": "bob"}, "only an escalation"),
        ({"predicate__decision": "approved"}, "decision"),
        ({"predicate__time": 1769824800}, "time"),
        ({"predicate__time": "2026-01-31T02:00:00Z"}, "time"),
        ({"predicate__time": "2026-01-31T03:00:00.000000+01:00"}, "time"),
        ({"predicate__time": "2026-13-31T02:00:00.000000Z"}, "time"),
        ({"predicate__nonce": "short"}, "nonce"),
        ({"predicate__reviewer": "../ada"}, "reviewer"),
        ({"predicate__review_id": 1}, "review_id"),
        ({"predicateType": "urn:nightcrew:approval:v2"}, "predicateType|tag"),
        ({"predicateType": "urn:nightcrew:verdict:v1"}, "desk"),
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "_type"),
        ({"subject": []}, "subject"),
        ({"subject": [{"name": "x", "digest": {}}]}, "needs a digest"),
        ({"subject": [{"name": "x", "digest": {"sha256": SHA.upper()}}]}, "sha256"),
        ({"subject": [{"name": "x", "digest": {"md5": "0" * 32}}]}, "md5"),
        ({"subject": [{"name": "x", "digest": {"sha256": SHA}}, {"name": "x", "digest": {"sha256": SHA}}]}, "one name"),
    ],
)
def test_a_statement_that_is_not_exactly_ours_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read_statement(canonical_json(changed(**change)))


@pytest.mark.parametrize("missing", ["_type", "predicateType", "subject", "predicate"])
def test_a_statement_without_a_field_is_refused(missing: str) -> None:
    value = changed()
    del value[missing]
    with pytest.raises(DocumentError):
        read_statement(canonical_json(value))


def test_another_encoding_of_the_same_statement_is_refused() -> None:
    value = changed()
    for payload in (json.dumps(value).encode(), canonical_json(value) + b"\n", b" " + canonical_json(value)):
        with pytest.raises(DocumentError, match="canonical"):
            read_statement(payload)


def test_duplicate_keys_are_refused_at_any_depth() -> None:
    payload = approval().payload().replace(b'"decision":"approve"', b'"decision":"reject","decision":"approve"')
    with pytest.raises(DocumentError, match="duplicate key"):
        read_statement(payload)
    with pytest.raises(DocumentError, match="duplicate key"):
        read_envelope(b'{"payload":"","payload":"e30=","payloadType":"x","signatures":[]}')


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b"\xff",
        b'{"a":NaN}',
        b"1" * 5000,
        b"\xef\xbb\xbf{}",
        b'{"a":1}{"b":2}',
        b'{"a":"' + b"x" * MAX_JSON_BYTES + b'"}',
    ],
    ids=["empty", "deep", "not-utf8", "nan", "huge-number", "bom", "two-values", "too-long"],
)
def test_json_that_is_not_strict_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentError):
        read_json(data, source="test")


def test_a_lone_surrogate_is_refused() -> None:
    payload = approval().payload().replace(b'"comment":""', rb'"comment":"\ud800"')
    with pytest.raises(DocumentError):
        read_statement(payload)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_a_document_error(data: bytes) -> None:
    for read in (read_statement, read_envelope):
        with pytest.raises(DocumentError):
            read(data)


@pytest.mark.parametrize("text", ["YQ", "YR==", "YQ==\n", " YQ==", "YQ===", "_-8=", "é", "Y Q=="])
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(DocumentError):
        from_base64(text, source="test")


@given(st.binary(max_size=64))
def test_base64_survives_writing_and_reading(data: bytes) -> None:
    assert to_base64(data) == base64.b64encode(data).decode()
    assert from_base64(to_base64(data), source="test") == data


def test_an_envelope_with_unknown_or_doubtful_signatures_is_refused() -> None:
    good = {"keyid": SHA, "sig": "YWJj"}
    base = {"payload": "e30=", "payloadType": PAYLOAD_TYPE}
    for signatures in (
        [],
        [good, good],
        [good | {"cert": "x"}],
        [{"sig": "YWJj"}],
        [{"keyid": "", "sig": "YWJj"}],
        [{"keyid": f"{i:064x}", "sig": "YWJj"} for i in range(MAX_SIGNATURES + 1)],
    ):
        with pytest.raises(DocumentError):
            read_envelope(base | {"signatures": signatures})
    assert isinstance(read_envelope(base | {"signatures": [good]}), Envelope)


def test_subjects_name_everything_that_is_given_and_nothing_else() -> None:
    given_all = subject_of(
        ticket_id="T-0012",
        ticket_digest=SHA,
        handoff_id="H-000001",
        handoff_sha256=SHA,
        base_commit=COMMIT,
        head_commit=COMMIT,
        evidence={"junit.xml": SHA},
    )
    assert [subject.name for subject in given_all] == [
        "commit/base",
        "commit/head",
        "evidence/junit.xml",
        "handoff/H-000001",
        "ticket/T-0012",
    ]
    finding = subject_of(ticket_id="T-0012", ticket_digest=SHA, evidence={"scan.sarif": SHA})
    assert [subject.name for subject in finding] == ["evidence/scan.sarif", "ticket/T-0012"]
    assert subject_of() == ()


def test_an_evidence_cannot_pass_for_a_commit_or_a_ticket() -> None:
    names = {subject.name for subject in subject_of(head_commit=COMMIT, evidence={"commit/head": SHA, "../x": SHA})}
    assert names == {"commit/head", "evidence/commit/head", "evidence/../x"}


def test_an_id_goes_with_its_digest() -> None:
    with pytest.raises(ValueError, match="ticket"):
        subject_of(ticket_id="T-0012")
    with pytest.raises(ValueError, match="handoff"):
        subject_of(handoff_sha256=SHA)


def test_a_digest_that_is_not_one_is_refused() -> None:
    for wrong in ("b" * 39, "B" * 40, "HEAD", "b" * 40 + "\n"):
        with pytest.raises(DocumentError, match="gitCommit"):
            subject_of(head_commit=wrong)


@given(subjects, st.randoms())
def test_subject_digest_depends_on_the_subjects_not_their_order(given_: tuple[Subject, ...], random: Any) -> None:
    shuffled = list(given_)
    random.shuffle(shuffled)
    assert subject_digest(shuffled) == subject_digest(given_)
    assert subject_digest(given_[1:]) != subject_digest(given_)


def test_subject_digest_is_over_canonical_json() -> None:
    assert subject_digest(subject_of(head_commit=COMMIT)) == digest(
        [{"name": "commit/head", "digest": {"gitCommit": COMMIT}}]
    )


def test_times_are_kept_in_utc_and_naive_ones_refused() -> None:
    local = TIME.astimezone(timezone(timedelta(hours=2)))
    predicate = RevocationPredicate(key_id=SHA, time=local, nonce=NONCE)
    assert predicate.plain()["time"] == "2026-01-31T02:00:00.000000Z"
    with pytest.raises(DocumentError, match="time"):
        RevocationPredicate.read({"key_id": SHA, "time": datetime(2026, 1, 31), "nonce": NONCE}, source="test")
