"""GitHub reviews as signatures: over real HTTP, against a scripted API with GitHub's documented answers."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.github_server import Fault, Github, Pull, Review, github_server
from tests.signing import sign_decision

from nightcrew.approvals import ServiceSigner, github_api, sign_verdict
from nightcrew.approvals.decide import fresh_nonce
from nightcrew.approvals.github import DEFAULT_API, GithubKey, GithubReview, GithubSigner, find, payload_of, verify
from nightcrew.approvals.reviewer import Refused, Reviewer, signers_of
from nightcrew.approvals.signer import verify_signature
from nightcrew.model.canonical import canonical_json
from nightcrew.model.errors import ApprovalError, DocumentError
from nightcrew.model.handoff import Verdict
from nightcrew.model.review import Decision
from nightcrew.model.statement import PAYLOAD_TYPE, Envelope, SignerKind, pae, subject_of

HEAD, OLDER, BASE = "a" * 40, "b" * 40, "c" * 40
VARIABLE = "NIGHTCREW_TEST_GITHUB_TOKEN"
NOW = datetime(2026, 1, 31, 2, tzinfo=UTC)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Github]:
    monkeypatch.setattr(github_api, "_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(github_api, "_silent_until", {})
    # A proxy that answers nothing: what goes to loopback must not go through it.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with github_server() as running:
        monkeypatch.setenv(VARIABLE, running.token)
        yield running


@pytest.fixture
def key(server: Github) -> GithubKey:
    return GithubKey(api=server.url, repository=server.repository, login="ada", token_env=VARIABLE)


def review(number: int, state: Any = "APPROVED", commit: str | None = HEAD, login: str = "ada", **more: Any) -> Review:
    return Review(number, login, state, commit, submitted_at=f"2026-01-31T02:{number:02}:00Z", **more)


def envelope(signer: GithubSigner, *, head: str | None = HEAD, decision: Decision = Decision.APPROVE) -> Envelope:
    subjects = subject_of(ticket_id="T-0001", ticket_digest="d" * 64, base_commit=BASE, head_commit=head)
    return sign_decision(
        signer,
        reviewer="ada",
        repository="r",
        review_id="R-0001",
        subjects=subjects,
        decision=decision,
        nonce=fresh_nonce(),
        clock=lambda: signer.review.submitted_at,
    )


def named(key: GithubKey, pull: int = 7, number: int = 1) -> GithubSigner:
    """A signer that names a review, whether there is one or not: what a forger can write."""
    return GithubSigner(key, GithubReview(pull, number, NOW.replace(minute=number % 60), key.login, "", "", "main"))


def counts(signer: GithubSigner, **how: Any) -> bool:
    signed = envelope(signer, **how)
    return verify(signer.public_key, signed.signed_bytes(), signed.signatures[0].value())


# --- What counts ----------------------------------------------------------------------------------------------------


def test_an_approval_of_exactly_this_commit_is_found_and_counts(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1, body="Fine by me.")], base="release"))
    found = find(key, HEAD)
    assert found == GithubReview(
        pull=7,
        review=1,
        submitted_at=datetime(2026, 1, 31, 2, 1, tzinfo=UTC),
        login="ada",
        html_url="https://github.com/octo-org/hello.world/pull/7#pullrequestreview-1",
        body="Fine by me.",
        base="release",
    )
    signer = GithubSigner(key, found)
    assert json.loads(signer.sign(b"")) == {"pull": 7, "review": 1}
    assert counts(signer)
    signed = envelope(signer)
    assert verify_signature(
        SignerKind.GITHUB, signer.public_key, signed.signed_bytes(), signed.signatures[0].value()
    ), "the registered verifier is this one"
    assert signed.signatures[0].keyid == signer.key_id
    assert signer.kind is SignerKind.GITHUB


def test_a_review_counts_as_the_signature_of_the_person_it_was_enrolled_for(server: Github, key: GithubKey) -> None:
    given = review(1)
    server.add(Pull(7, HEAD, [given]))
    ada = Reviewer("ada", named(key).key_id, SignerKind.GITHUB, key.encode(), NOW, ("grace",))
    signed = envelope(named(key))
    assert signers_of(signed, [ada], None) == (ada,)
    given.state = "DISMISSED"
    with pytest.raises(Refused, match="the signature of ada does not verify"):
        signers_of(signed, [ada], None)
    server.fail(Fault(status=401, message="Bad credentials"))
    with pytest.raises(ApprovalError, match="nothing was admitted"):
        signers_of(signed, [ada], None)


def test_an_approval_dated_otherwise_than_the_review_does_not_count(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    signer = named(key)
    assert counts(signer)
    later = replace(signer, review=replace(signer.review, submitted_at=NOW.replace(hour=9)))
    assert not counts(later), "an old approval cannot be passed off as one that came after the question"


def test_each_request_carries_the_headers_github_asks_for(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    assert counts(named(key))
    assert find(key, HEAD)
    for asked in server.asked:
        assert asked.headers["authorization"] == f"Bearer {server.token}"
        assert asked.headers["accept"] == "application/vnd.github+json"
        assert asked.headers["x-github-api-version"] == "2022-11-28"
        assert asked.headers["user-agent"] == "nightcrew"
    assert {asked.path.rsplit("/", 1)[-1] for asked in server.asked} == {"pulls", "reviews", "1"}


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ([review(1), review(2, "COMMENTED")], 1),
        ([review(1), review(2, "PENDING")], 1),
        ([review(1, "CHANGES_REQUESTED", OLDER), review(2)], 2),
        ([review(1, "DISMISSED"), review(2)], 2),
        ([review(1), review(2, "CHANGES_REQUESTED", login="grace")], 1),
        ([review(1, login="ADA")], 1),
    ],
    ids=["comment after", "draft after", "objection before", "dismissed before", "objection of another", "case"],
)
def test_what_does_not_take_an_approval_back(server: Github, key: GithubKey, said: list[Review], number: int) -> None:
    server.add(Pull(7, HEAD, said))
    found = find(key, HEAD)
    assert found is not None
    assert found.review == number
    assert counts(GithubSigner(key, found))


@pytest.mark.parametrize(
    "said",
    [
        [],
        [review(1, commit=OLDER)],
        [review(1, commit=None)],
        [review(1, "DISMISSED")],
        [review(1, "COMMENTED")],
        [review(1, "PENDING")],
        [review(1), review(2, "CHANGES_REQUESTED")],
        [review(1), review(2, "CHANGES_REQUESTED", OLDER)],
        [review(1), review(2, "DISMISSED")],
        [review(1), review(2, commit=OLDER)],
        [review(1, login="mallory")],
        [review(1, login="ada-lovelace")],
        [review(1, type="Bot")],
        [review(1, ghost=True)],
    ],
    ids=[
        "no review",
        "another commit",
        "a commit that is gone",
        "dismissed",
        "a comment",
        "not submitted",
        "objection after",
        "objection on another commit after",
        "later approval dismissed",
        "later approval of another commit",
        "another person",
        "a longer login",
        "a program",
        "an account that is gone",
    ],
)
def test_what_is_no_approval_of_this_commit_by_this_person(server: Github, key: GithubKey, said: list[Review]) -> None:
    server.add(Pull(7, HEAD, said))
    assert find(key, HEAD) is None
    assert not counts(named(key)), "nor does a signature count that names it all the same"


def test_only_open_pull_requests_that_end_in_the_commit_are_looked_at(server: Github, key: GithubKey) -> None:
    server.add(Pull(5, HEAD, [review(1)], state="closed"))
    server.add(Pull(6, OLDER, [review(2)]))
    assert find(key, HEAD) is None
    server.add(Pull(7, HEAD, [review(3)]))
    found = find(key, HEAD)
    assert found is not None
    assert (found.pull, found.review) == (7, 3)


def test_a_commit_that_was_never_pushed_has_no_review(server: Github, key: GithubKey) -> None:
    assert find(key, HEAD) is None
    assert len(server.asked) == 1


def test_find_wants_the_full_name_of_a_commit(key: GithubKey) -> None:
    for head in ("main", "a" * 39, HEAD + "\n", "../../user"):
        with pytest.raises(ValueError, match="full commit name"):
            find(key, head)


# --- What stops counting, and forgeries -----------------------------------------------------------------------------


def test_an_approval_dismissed_after_it_was_collected_counts_no_longer(server: Github, key: GithubKey) -> None:
    given = review(1)
    server.add(Pull(7, HEAD, [given]))
    found = find(key, HEAD)
    assert found is not None
    assert counts(GithubSigner(key, found))
    given.state = "DISMISSED"
    assert not counts(GithubSigner(key, found))


def test_a_dismissal_between_the_list_and_the_review_is_seen(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    dismissed = {"id": 1, "user": {"login": "ada", "type": "User"}, "state": "DISMISSED", "html_url": "x"}
    dismissed |= {"commit_id": HEAD}
    server.fail(Fault("raw", path="/reviews/1", raw=json.dumps(dismissed).encode()))
    assert not counts(named(key))
    server.fail(Fault(status=404, path="/reviews/1", message="Not Found"))
    assert not counts(named(key))
    assert counts(named(key))


def test_a_signature_counts_for_no_other_commit_decision_or_statement(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    server.commits.add(OLDER)
    assert not counts(named(key), head=OLDER)
    server.asked.clear()
    assert not counts(named(key), head=None)
    for decision in (Decision.REJECT, Decision.ESCALATE):
        assert not counts(named(key), decision=decision)
    service = ServiceSigner(b"\0" * 32, b"\1" * 32)
    verdict = sign_verdict(
        service,
        repository="r",
        desk="qa",
        session="s",
        verdict=Verdict.PASSED,
        checks=(),
        subjects=subject_of(head_commit=HEAD),
        clock=lambda: NOW,
    )
    assert not verify(key.encode(), verdict.signed_bytes(), named(key).sign(b""))
    assert server.asked == [], "GitHub is not asked for what could not count"


def test_a_signature_that_names_another_review_does_not_count(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1), review(2, login="grace")]))
    server.add(Pull(8, OLDER, [review(3, commit=OLDER)]))
    assert not counts(named(key, number=2))
    assert not counts(named(key, number=4))
    assert not counts(named(key, pull=8, number=3))
    assert not counts(named(key, pull=8, number=1))
    assert counts(named(key))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"pull":7}',
        b'{"pull":7,"review":1,"x":1}',
        b'{"pull":7, "review":1}',
        b'{"review":1,"pull":7}',
        b'{"pull":7,"pull":7,"review":1}',
        b'{"pull":"7","review":1}',
        b'{"pull":7.0,"review":1}',
        b'{"pull":true,"review":1}',
        b'{"pull":-7,"review":1}',
        b'{"pull":0,"review":1}',
        b'{"pull":"../../../user","review":1}',
        b'{"pull":7,"review":99999999999999999999}',
        b"[" * 100_000,
    ],
)
def test_another_spelling_of_a_signature_does_not_count(server: Github, key: GithubKey, signature: bytes) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    assert not verify(key.encode(), envelope(named(key)).signed_bytes(), signature)
    assert server.asked == []


def test_bytes_that_are_no_key_or_no_approval_do_not_count(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    signer = named(key)
    message, signature = envelope(signer).signed_bytes(), signer.sign(b"")
    payload = payload_of(message)[1]
    assert verify(key.encode(), message, signature)
    for public_key in (b"", b"{}", key.encode() + b"\n", json.dumps(key.plain()).encode(), b"\0" * 32):
        assert not verify(public_key, message, signature)
    for wrong in (b"", payload, message + b" ", message[:-1], pae("text/plain", payload), pae(PAYLOAD_TYPE, b"{}")):
        assert not verify(key.encode(), wrong, signature)


def test_a_signature_that_names_an_approval_before_the_last_does_not_count(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1), review(2)]))
    assert not counts(named(key, number=1))
    assert counts(named(key, number=2))


# --- Pages ----------------------------------------------------------------------------------------------------------


def test_the_last_page_decides(server: Github, key: GithubKey) -> None:
    server.page_size = 2
    said = [review(n, "COMMENTED", login="grace") for n in range(1, 9)]
    server.add(Pull(7, HEAD, [review(10), *said]))
    assert counts(named(key, number=10))
    server.pulls[0].reviews.append(review(11, "CHANGES_REQUESTED"))
    assert not counts(named(key, number=10))
    assert find(key, HEAD) is None
    pages = [asked.query.get("page", ["1"])[0] for asked in server.asked if asked.path.endswith("/reviews")]
    assert pages == ["1", "2", "3", "4", "5"] * 3
    assert server.asked[0].query["per_page"] == ["100"]


def test_more_pages_than_are_read_are_an_error_and_not_an_approval(server: Github, key: GithubKey) -> None:
    server.page_size = 1
    server.add(Pull(7, HEAD, [review(1), *(review(n, "COMMENTED") for n in range(2, 12))]))
    with pytest.raises(ApprovalError, match="more than 10 pages"):
        find(key, HEAD)
    with pytest.raises(ApprovalError, match="more than 10 pages"):
        counts(named(key))


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.2:{port}/x",
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:1/x",
        "http://u@127.0.0.1:{port}/x",
        "file:///etc/passwd",
        "/x",
        "http://127.0.0.1:bad/x",
    ],
)
def test_a_next_page_elsewhere_is_not_fetched(server: Github, key: GithubKey, link: str) -> None:
    server.page_size = 1
    server.next_link = link.format(port=server.url.rsplit(":", 1)[1])
    server.add(Pull(7, HEAD, [review(1), review(2)]))
    with pytest.raises(ApprovalError, match="next page on another server"):
        find(key, HEAD)
    assert len(server.asked) == 2


# --- Faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, times=2),
        Fault(status=502, times=2, headers={"Retry-After": "0"}),
        Fault(status=429, headers={"Retry-After": "1"}, message="You have exceeded a secondary rate limit."),
        Fault("reset", times=2),
        Fault("cut", times=2),
    ],
    ids=["500", "502", "rate limit of a second", "reset", "cut"],
)
def test_what_passes_is_tried_again(server: Github, key: GithubKey, fault: Fault) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    server.fail(fault)
    assert find(key, HEAD)
    server.fail(replace(fault))
    assert counts(named(key))


@pytest.mark.parametrize(
    ("fault", "tries", "says", "hint"),
    [
        (Fault(status=500, times=9), 3, "500", "again later"),
        (Fault("reset", times=9), 3, "no answer came|connection ended", "network"),
        (Fault("cut", times=9), 3, "connection ended", "network"),
        (Fault(status=503, times=9, headers={"Retry-After": "6"}), 1, "503", "again later"),
        (
            Fault(status=403, times=9, headers={"X-RateLimit-Remaining": "0"}, message="API rate limit exceeded"),
            1,
            r"403 \(API rate limit exceeded\)",
            "rate limit",
        ),
        (
            Fault(status=403, times=9, message="You have exceeded a secondary rate limit."),
            1,
            "403",
            "rate limit",
        ),
        (Fault(status=429, times=9, headers={"Retry-After": "60"}), 1, "429", "in 60 seconds"),
        (
            Fault(status=403, times=9, message="Resource not accessible by personal access token"),
            1,
            "403",
            "may read its pull requests",
        ),
        (Fault(status=404, times=9, message="Not Found"), 1, "404", "repository's name"),
        (Fault("raw", raw=b"<html>", times=9), 1, "something else than GitHub documents", "proxy"),
        (Fault("raw", raw=b"{}", times=9), 1, "something else than GitHub documents", "proxy"),
        (Fault("raw", raw=b'[{"id":"1"}]', times=9), 1, "something else than GitHub documents", "proxy"),
        (Fault("raw", raw=b"[" * 1_000_000, times=9), 1, "something else than GitHub documents", "proxy"),
        (Fault("raw", raw=b" " * (5 << 20) + b"[]", times=9), 1, "too long", "proxy"),
        (Fault(status=301, times=9, headers={"Location": "http://127.0.0.2/x"}), 1, "redirects to another", "proxy"),
        (Fault(status=302, times=9, headers={"Location": "file:///etc/passwd"}), 1, "302", "proxy"),
    ],
)
def test_an_answer_that_does_not_come_is_an_error_and_never_an_approval(
    server: Github, key: GithubKey, fault: Fault, tries: int, says: str, hint: str
) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    server.fail(fault)
    for ask in (lambda: find(key, HEAD), lambda: counts(named(key))):
        server.fail(replace(fault))
        server.asked.clear()
        with pytest.raises(ApprovalError, match=says) as caught:
            ask()
        assert len(server.asked) == tries
        assert hint in caught.value.hint
        assert "nothing was admitted" in str(caught.value)
        assert f"{server.url} was asked for /repos/octo-org/hello.world/" in str(caught.value)
        assert server.token not in str(caught.value) + caught.value.hint


def test_a_silent_server_does_not_hold_up_the_shift(
    server: Github, key: GithubKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_api, "TIMEOUT_SECONDS", 0.2)
    server.fail(Fault("silent", seconds=1.0, times=9))
    with pytest.raises(ApprovalError, match="no answer came in time"):
        find(key, HEAD)
    assert len(server.asked) == 1
    with pytest.raises(ApprovalError, match="no answer a moment ago"):
        counts(named(key))
    assert len(server.asked) == 1, "each further approval would wait as long"


def test_a_server_that_was_silent_is_asked_again_later(
    server: Github, key: GithubKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_api, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(github_api, "SILENCE_SECONDS", 0.1)
    server.add(Pull(7, HEAD, [review(1)]))
    server.fail(Fault("silent", seconds=0.5))
    with pytest.raises(ApprovalError):
        find(key, HEAD)
    time.sleep(0.15)
    assert find(key, HEAD)


def test_a_server_that_sends_a_byte_at_a_time_does_not_hold_up_the_shift(
    server: Github, key: GithubKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    monkeypatch.setattr(github_api, "ANSWER_SECONDS", 0.2)
    server.fail(Fault("drip", seconds=0.02))
    with pytest.raises(ApprovalError, match="no answer came in time"):
        find(key, HEAD)


def test_a_server_that_is_down_is_an_error(key: GithubKey, monkeypatch: pytest.MonkeyPatch) -> None:
    down = key.model_copy(update={"api": "http://127.0.0.1:9"})
    with pytest.raises(ApprovalError, match=r"no answer came .*refused"):
        find(down, HEAD)
    unknown = key.model_copy(update={"api": "https://no-such-host.invalid"})
    with pytest.raises(ApprovalError, match="no answer came"):
        find(unknown, HEAD)


def test_the_redirect_of_a_renamed_repository_is_followed_on_the_same_server(server: Github, key: GithubKey) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    moved = f"{server.url}/repos/{server.repository}/pulls/7/reviews"
    server.fail(Fault(status=301, path="/reviews", headers={"Location": moved}, message="Moved Permanently"))
    assert find(key, HEAD)
    server.fail(Fault(status=301, path="/reviews", headers={"Location": moved}, times=99))
    with pytest.raises(ApprovalError, match="301"):
        find(key, HEAD)


def test_the_token_goes_to_no_other_server(server: Github, key: GithubKey) -> None:
    seen: list[str] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(str(self.headers))
            self.send_error(404)

    other = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        elsewhere = f"http://127.0.0.1:{other.server_address[1]}/x"
        server.add(Pull(7, HEAD, [review(1), review(2)]))
        server.fail(Fault(status=307, headers={"Location": elsewhere}))
        with pytest.raises(ApprovalError):
            find(key, HEAD)
        server.page_size, server.next_link = 1, elsewhere
        with pytest.raises(ApprovalError):
            find(key, HEAD)
    finally:
        other.shutdown()
        other.server_close()
        thread.join()
    assert seen == []


# --- The token ------------------------------------------------------------------------------------------------------


def test_a_wrong_token_is_an_error_that_does_not_show_it(
    server: Github, key: GithubKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    monkeypatch.setenv(VARIABLE, "ghp_wrong")
    with pytest.raises(ApprovalError, match=r"401 \(Bad credentials\)") as caught:
        counts(named(key))
    assert VARIABLE in caught.value.hint
    assert "ghp_wrong" not in str(caught.value) + caught.value.hint
    server.fail(Fault(status=403, message="no access for ghp_wrong\x1b[2J\n"))
    with pytest.raises(ApprovalError, match=r"no access for \*\*\* \[2J") as caught:
        find(key, HEAD)
    assert "ghp_wrong" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "  ", "ghp_a b", "ghp_secret\r\nX-Evil: 1", "ghp_sécret"])
def test_without_a_token_github_is_not_asked(
    server: Github, key: GithubKey, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(VARIABLE)
    else:
        monkeypatch.setenv(VARIABLE, value)
    for ask in (lambda: find(key, HEAD), lambda: counts(named(key))):
        with pytest.raises(ApprovalError, match=f"{VARIABLE}.*nothing was admitted") as caught:
            ask()
        assert "cret" not in str(caught.value) + caught.value.hint
    assert server.asked == []


def test_white_space_around_a_token_is_no_part_of_it(
    server: Github, key: GithubKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(Pull(7, HEAD, [review(1)]))
    monkeypatch.setenv(VARIABLE, f" {server.token}\n")
    assert find(key, HEAD)


# --- The key, and the encoding that is signed -----------------------------------------------------------------------


def test_a_key_has_one_encoding_and_holds_no_secret() -> None:
    key = GithubKey(repository="octo-org/hello.world", login="ada", token_env="GITHUB_TOKEN")
    assert key.api == DEFAULT_API
    assert json.loads(key.encode()) == {
        "api": "https://api.github.com",
        "login": "ada",
        "repository": "octo-org/hello.world",
        "token_env": "GITHUB_TOKEN",
        "v": 1,
    }
    assert key.encode() == canonical_json(key.plain())
    assert GithubKey.read(key.encode()) == GithubKey.read(key.plain()) == key


@pytest.mark.parametrize(
    "api",
    [
        "https://api.github.com",
        "https://github.example.com/api/v3",
        "https://github.example.com:8443/api/v3",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://[::1]:80",
    ],
)
def test_addresses_that_a_token_may_go_to(api: str) -> None:
    assert GithubKey(api=api, repository="o/r", login="ada", token_env="T").api == api


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api", "http://api.github.com"),
        ("api", "http://127.0.0.1.evil.example"),
        ("api", "http://localhost.evil.example"),
        ("api", "http://127.0.0.1@evil.example"),
        ("api", "https://user:secret@api.github.com"),
        ("api", "https://api.github.com/"),
        ("api", "https://api.github.com?x"),
        ("api", "https://api.github.com#x"),
        ("api", "https://api.github.com\n"),
        ("api", "https://api.github.com/a b"),
        ("api", "https://"),
        ("api", "https://api.github.com:port"),
        ("api", "https://" + "a" * 64),
        ("api", "https://[::1"),
        ("api", "file:///etc/passwd"),
        ("api", "ftp://127.0.0.1"),
        ("api", ""),
        ("repository", "r"),
        ("repository", "o/r/x"),
        ("repository", "o/.."),
        ("repository", "../r"),
        ("repository", "o/r?x"),
        ("repository", "o/r\n"),
        ("login", ""),
        ("login", "ada/x"),
        ("login", "dependabot[bot]"),
        ("token_env", "A=B"),
        ("token_env", "1A"),
        ("token_env", ""),
        ("v", 2),
        ("more", "x"),
    ],
)
def test_keys_that_are_refused(field: str, value: object) -> None:
    plain = {"api": DEFAULT_API, "repository": "o/r", "login": "ada", "token_env": "T", "v": 1} | {field: value}
    with pytest.raises(DocumentError):
        GithubKey.read(plain)
    with pytest.raises(DocumentError):
        GithubKey.read(canonical_json(plain))


@given(st.text(max_size=30), st.binary(max_size=300))
def test_a_signed_encoding_gives_its_payload_back(payload_type: str, payload: bytes) -> None:
    assert payload_of(pae(payload_type, payload)) == (payload_type, payload)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"DSSEv1 3 abc " + rest))
@example(b"DSSEv1 03 abc 0 ")
@example(b"DSSEv1 3 abc 00 ")
@example(b"DSSEv1 3 abc +1 x")
@example(b"DSSEv1 3 abc 1 xy")
@example(b"DSSEv1 3 abc 9 x")
@example(b"DSSEv1 3 abc  1 x")
@example(b"DSSEv1 2 abc 1 x")
@example(b"DSSEv1 1 \xff 1 x")
@example(b"DSSEv1 99999999999 a 1 x")
def test_only_a_signed_encoding_is_read_as_one(data: bytes) -> None:
    try:
        payload_type, payload = payload_of(data)
    except DocumentError:
        return
    assert pae(payload_type, payload) == data
