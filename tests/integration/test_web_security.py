"""The inbox's server against whoever asks: other hosts, other pages, no session, too much, and text of agents."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient
from tests.authenticator import Authenticator
from tests.faults import crew_repository as crew
from tests.gate import Gate, prepare

import nightcrew as nc
from nightcrew.approvals import fresh_nonce
from nightcrew.model.errors import ConfigurationError, UsageError
from nightcrew.model.review import ReviewState
from nightcrew.model.statement import PAYLOAD_TYPE, from_base64, pae
from nightcrew.model.ticket import Event, State
from nightcrew.store import ledger, reviews, tickets
from nightcrew.web.app import create_app
from nightcrew.web.headers import SECURITY_HEADERS
from nightcrew.web.markup import markdown, visible
from nightcrew.web.problems import Problem
from nightcrew.web.serving import listening, origin_of
from nightcrew.web.sessions import IDLE_SECONDS, LINK_SECONDS, Sessions

ORIGIN = "http://localhost:8377"
PAGES = (
    "/", "/inbox", "/reviews/R-0001", "/reviews/R-9999",
    "/records/a/b", "/reviewers", "/report", "/nowhere", "/tickets",
    "/tickets?view=list", "/tickets/T-0001", "/sessions", "/sessions/S-0001", "/findings", "/handoffs/H-000001",
    "/pipelines", "/pipelines/none", "/records", "/ledger", "/ledger/1", "/settings", "/runbooks", "/alerts",
)  # fmt: skip
DATA = ("/api/reviews", "/api/reviews/R-0001", "/api/events", "/openapi.json")
SCRIPT = "<script>alert(1)</script>"


@dataclass
class Web:
    """A browser without the manners of one: it sends what the test says."""

    gate: Gate
    token: str
    client: TestClient
    proof: str = ""

    def enter(self) -> "Web":
        answer = self.client.get("/enter", params={"token": self.token}, follow_redirects=False)
        assert answer.status_code == 303
        self.proof = answer.headers["location"].removeprefix("/#proof=")
        return self

    def post(self, path: str, body: Any, **headers: str) -> Any:
        sent = {"origin": ORIGIN, "x-csrf-token": self.proof, "sec-fetch-site": "same-origin", **headers}
        kept = {name: value for name, value in sent.items() if value}
        return self.client.post(path, json=body, headers=kept)

    def decide(self, review: str, key: Authenticator, **more: Any) -> Any:
        digest = self.client.get(f"/api/reviews/{review}").json()["digest"]
        wanted = {"reviews": [{"id": review, "digest": digest}], "decision": "approve", "reviewer": "ada", **more}
        prepared = self.post("/api/decisions/prepare", wanted)
        if prepared.status_code != 200:
            return prepared
        payload = prepared.json()["payload"]
        credential = key.get(pae(PAYLOAD_TYPE, from_base64(payload, source="test")))
        return self.post("/api/decisions", {"payload": payload, "credential": credential})


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    gate = prepare(tmp_path / "home", monkeypatch)
    gate.review()
    token = secrets.token_urlsafe(32)
    app = create_app(gate.project.root, origin=ORIGIN, token=token, open_project=lambda _: gate.project)
    with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as client:
        yield Web(gate, token, client)
    gate.reopen()


def passkey_of(web: Web, name: str = "ada") -> Authenticator:
    """A passkey enrolled for ``name``, signed by the key that the gate has."""
    key = Authenticator(credential_id=secrets.token_bytes(16))
    web.gate.project.anchor.enrol(
        web.gate.project.repository_id, name, kind=key.kind, public_key=key.public_key,
        by=web.gate.signers["ada"][0], nonce=fresh_nonce(), clock=web.gate.project.clock,
    )  # fmt: skip
    return key


def state(web: Web, review: str) -> ReviewState:
    with web.gate.project.store.read() as tx:
        return reviews.get(tx, review).state


# Who is let in


@pytest.mark.parametrize("path", [*PAGES, *DATA])
def test_nothing_is_told_without_a_session(web: Web, path: str) -> None:
    answer = web.client.get(path)
    assert answer.status_code == 401
    assert "A key lies in the code" not in answer.text
    assert "repo" not in answer.text.replace("report", "")
    if path.startswith("/api"):
        assert answer.json()["error"]["code"] == "NC-SESSION"


def test_a_link_opens_one_session_once(web: Web) -> None:
    web.enter()
    assert web.client.get("/").status_code == 200
    web.client.cookies.clear()
    again = web.client.get("/enter", params={"token": web.token}, follow_redirects=False)
    assert again.status_code == 403
    assert "set-cookie" not in again.headers
    assert "Enter in the terminal" in again.text
    assert web.client.get("/").status_code == 401


@pytest.mark.parametrize("token", ["", "x", "é" * 50])
def test_a_wrong_link_opens_nothing(web: Web, token: str) -> None:
    assert web.client.get("/enter", params={"token": token}).status_code == 403
    assert web.enter().client.get("/").status_code == 200


def test_a_browser_that_looks_ahead_does_not_use_up_the_link(web: Web) -> None:
    ahead = web.client.get("/enter", params={"token": web.token}, headers={"sec-purpose": "prefetch;prerender"})
    assert ahead.status_code == 403
    assert web.client.head("/enter", params={"token": web.token}).status_code == 405
    web.enter()


def test_a_link_followed_from_another_page_leads_on_from_a_page_of_ours(web: Web) -> None:
    answer = web.client.get("/enter", params={"token": web.token}, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})  # fmt: skip  # noqa: E501
    assert answer.status_code == 200
    assert re.search(r'content="0; url=/#proof=[0-9a-f]{64}"', answer.text)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(web: Web) -> None:
    answer = web.client.get("/enter", params={"token": web.token}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"nightcrew_session_\d+=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Strict", cookie)


def test_over_tls_the_cookie_is_bound_to_the_host(web: Web) -> None:
    token = secrets.token_urlsafe(32)
    app = create_app(
        web.gate.project.root, origin="https://crew.example", token=token, open_project=lambda _: web.gate.project
    )
    client = TestClient(app, base_url="https://crew.example")
    answer = client.get("/enter", params={"token": token}, follow_redirects=False)
    assert re.fullmatch(
        r"__Host-nightcrew_session=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict; Secure", answer.headers["set-cookie"]
    )
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"host": "crew.example:443"}).status_code == 200


def test_two_cookies_of_the_name_count_as_none(web: Web) -> None:
    web.enter()
    (name,) = web.client.cookies
    session = web.client.cookies[name]
    web.client.cookies.clear()
    assert web.client.get("/", headers={"cookie": f'prefs={{"a": 1}}; {name}={session}'}).status_code == 200
    doubled = [("cookie", f"{name}={session}"), ("cookie", f"{name}=planted")]
    assert web.client.get("/", headers=doubled).status_code == 401


def test_a_session_ends_when_it_is_idle_and_a_link_when_it_is_old() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    old = sessions.new_link()
    now[0] += LINK_SECONDS + 1
    assert sessions.enter(old) is None
    session = sessions.enter(sessions.new_link())
    assert session is not None
    now[0] += IDLE_SECONDS - 1
    assert sessions.find(session.id) is session
    now[0] += IDLE_SECONDS + 1
    assert sessions.find(session.id) is None
    with pytest.raises(ValueError, match="256 bits"):
        sessions.add_link("short")


# Which host, which page


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8377", "localhost", "localhost:8378", "127.0.0.1:8377", "localhost.:8377"]
)
def test_another_host_name_is_refused(web: Web, host: str) -> None:
    """DNS rebinding: the page of evil.example, whose name leads to 127.0.0.1 now, has its own host in the request."""
    web.enter()
    for path in ("/", "/api/reviews", "/static/style.css", "/enter"):
        answer = web.client.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert "A key lies" not in answer.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": ""},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "https://localhost:8377"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"x-csrf-token": ""},
        {"x-csrf-token": "0" * 64},
    ],
    ids=str,
)
def test_a_request_that_is_not_of_our_page_changes_nothing(web: Web, wrong: dict[str, str]) -> None:
    web.enter()
    for path in ("/api/decisions", "/api/decisions/prepare", "/api/passkeys", "/api/enrolments", "/nowhere"):
        answer = web.post(path, {}, **wrong)
        assert answer.status_code == 403, path
        assert answer.json()["error"]["code"] in ("NC-ORIGIN", "NC-CSRF") if path.startswith("/api") else True
    assert state(web, "R-0001") is ReviewState.PENDING


def test_the_proof_of_one_session_does_not_serve_another(web: Web) -> None:
    web.enter()
    other = web.proof
    web.client.cookies.clear()
    web.token = web.client.app.state.server.sessions.new_link()  # type: ignore[attr-defined]
    web.enter()
    assert web.proof != other
    assert web.post("/api/passkeys/options", {"reviewer": "eve"}, **{"x-csrf-token": other}).status_code == 403


def test_a_stolen_cookie_does_not_lead_to_the_proof(web: Web) -> None:
    """Browsers send the cookies of localhost to every port of it."""
    web.enter()
    for path in (*PAGES, "/api/reviews", "/api/reviews/R-0001", "/openapi.json"):
        answer = web.client.get(path)
        assert web.proof not in answer.text + str(answer.headers)


def test_a_form_of_another_page_is_no_json(web: Web) -> None:
    web.enter()
    sent = {"origin": ORIGIN, "x-csrf-token": web.proof}
    answer = web.client.post("/api/passkeys/options", data={"reviewer": "eve"}, headers=sent)
    assert answer.status_code == 422
    answer = web.client.post("/api/passkeys/options", content=b'{"reviewer": "eve"}', headers=sent)
    assert answer.status_code == 422


# What every answer carries


@pytest.mark.parametrize("path", [*PAGES, "/api/reviews", "/openapi.json", "/static/style.css", "/static/nowhere"])
@pytest.mark.parametrize("inside", [True, False])
def test_every_answer_carries_the_headers(web: Web, path: str, inside: bool) -> None:
    if inside:
        web.enter()
    answers = [web.client.get(path), web.client.head(path), web.client.request("PUT", path)]
    answers += [web.client.get(path, headers={"host": "evil"}), web.client.post(path)]
    for answer in answers:
        ours = path == "/static/style.css" and answer.is_success  # may be kept, if asked for again each time
        for name, value in {**SECURITY_HEADERS, **({"cache-control": "no-cache"} if ours else {})}.items():
            assert answer.headers.get_list(name) == [value], (answer.status_code, name)
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert "x-powered-by" not in answer.headers


def test_the_policy_allows_no_inline_script_and_no_frame(web: Web) -> None:
    policy = web.client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    for loose in ("unsafe", "*", "http:", "https:", "blob:"):
        assert loose not in policy


def test_no_page_has_inline_script_style_or_anything_from_elsewhere(web: Web) -> None:
    web.enter()
    for path in PAGES:
        text = web.client.get(path).text
        assert not re.search(r"<script(?![^>]*\ssrc=\"/static/)", text), path
        assert not re.search(r"\s(style|on[a-z]+)\s*=", re.sub(r"&[a-z#0-9]+;", "", text)), path
        for target in re.findall(r'\s(?:src|href|action)="([^"]*)"', text):
            assert target.startswith(("/", "#")), (path, target)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_not_answered(web: Web, method: str) -> None:
    web.enter()
    for path in ("/", "/api/reviews", "/enter", "/static/style.css"):
        answer = web.client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"]


def test_pages_answer_head_without_a_body(web: Web) -> None:
    answer = web.enter().client.head("/")
    assert answer.status_code == 200
    assert answer.content == b""


def test_a_body_that_is_too_long_is_refused_before_it_is_read(web: Web) -> None:
    web.enter()
    long = {"reviewer": "a" * 300_000}
    assert web.post("/api/passkeys/options", long).status_code == 413
    headers = {"origin": ORIGIN, "x-csrf-token": web.proof, "content-type": "application/json"}

    def chunks() -> Iterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    assert web.client.post("/api/passkeys/options", content=chunks(), headers=headers).status_code == 413
    for length in ("-1", "9" * 400, "1e3"):
        answer = web.client.post("/api/reviews", headers={**headers, "content-length": length})
        assert answer.status_code == 413


def test_signing_is_tried_a_bounded_number_of_times(web: Web) -> None:
    web.enter()
    answers = [web.post("/api/decisions", {"payload": "AAAA", "credential": {}}) for _ in range(21)]
    assert {answer.status_code for answer in answers[:20]} == {422}
    assert answers[20].status_code == 429
    assert 0 < int(answers[20].headers["retry-after"]) <= 60
    assert web.client.get("/").status_code == 200


def test_documentation_that_loads_scripts_from_elsewhere_is_off(web: Web) -> None:
    web.enter()
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert web.client.get(path).status_code == 404
    document = web.client.get("/openapi.json").json()
    assert set(document["paths"]["/api/decisions"]["post"]["security"][0]) == {"session", "proof"}


def test_an_unexpected_error_tells_a_number_and_nothing_else(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web.enter()

    def broken(*_: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("nightcrew.web.listing.listed", broken)
    for path in ("/inbox", "/api/reviews"):
        monkeypatch.setattr("nightcrew.web.api.listed", broken)
        answer = web.client.get(path)
        assert answer.status_code == 500
        assert "inside" not in answer.text
        assert "Traceback" not in answer.text
        number = re.search(r"error ([0-9a-f]{8})", answer.text)
        assert number is not None
        assert number[1] in caplog.text
        assert answer.headers["x-frame-options"] == "DENY"


def test_errors_have_their_status_and_say_what_to_do(web: Web) -> None:
    web.enter()
    missing = web.client.get("/api/reviews/R-9999")
    assert missing.status_code == 404
    assert missing.json() == Problem(404, "NC-NOT-FOUND", "there is no review R-9999", "List them with: nightcrew inbox").plain()  # fmt: skip  # noqa: E501
    assert web.client.get("/reviews/R-9999").status_code == 404
    assert web.client.get("/reviews/..%2f..%2fetc").status_code == 404
    assert web.client.get("/static/..%2f..%2fapp.py").status_code == 404
    assert web.client.get("/api/reviews?severity=bad").status_code == 422
    assert web.client.get("/inbox?severity=bad&page=-1&state=%00").status_code == 200
    nobody = web.post("/api/decisions/prepare", {"reviews": [{"id": "R-0001", "digest": "0" * 64}], "decision": "approve", "reviewer": "eve"})  # fmt: skip  # noqa: E501
    assert nobody.status_code == 404


# What agents write


HOSTILE = (
    f"{SCRIPT}<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</title></textarea></style><script>alert(1)</script>",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_script_in_a_title_and_in_what_a_scanner_says_is_text(web: Web, text: str) -> None:
    web.enter()
    review = web.gate.review(f"Title {text}", rule=f"B1 {text}", path=f"src/{text.replace('/', '_')}.py")
    for path in (
        "/",
        "/inbox",
        f"/reviews/{review.id}",
        "/inbox?q=" + "script",
        "/report",
        "/tickets",
        "/ledger",
        "/findings",
    ):
        page = web.client.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<svg onload" not in page
        assert " onmouseover='" not in page.replace("&#39;", "")
        assert "Title 49" not in page
    assert "Title " in web.client.get(f"/reviews/{review.id}").text


def test_what_was_searched_for_is_text(web: Web) -> None:
    web.enter()
    page = web.client.get("/inbox", params={"q": f'"{SCRIPT}', "desk": SCRIPT}).text
    assert SCRIPT not in page


def test_script_in_a_change_and_in_a_handoff_is_text(web: Web) -> None:
    env, repo = crew.environment(web.gate.home), web.gate.project.root
    base = crew.git(repo, "rev-parse", "HEAD", env=env)
    (repo / "page.py").write_text(f'X = "{SCRIPT}"\n# \u202e hidden \x1b[31m\n')
    (repo / "<b>.html").write_text(f"{SCRIPT}\n" * 500)
    crew.git(repo, "add", ".", env=env)
    crew.git(repo, "commit", "-qm", "Hostile", env=env)
    head = crew.git(repo, "rev-parse", "HEAD", env=env)
    review = web.gate.review("With a change")
    with web.gate.project.store.begin() as tx:
        tickets.edit(tx, review.ticket, actor="human", changes={"base": base, "head": head, "body": f"{SCRIPT} ![i](http://e.example/i.png)"})  # fmt: skip  # noqa: E501
        tx.connection.exec_driver_sql(
            f"UPDATE reviews SET on_approve = '{Event.APPROVE_CHANGE.value}' WHERE id = '{review.id}'"
        )
    page = web.enter().client.get(f"/reviews/{review.id}").text
    assert SCRIPT not in page
    assert "&lt;b&gt;.html" in page
    assert "[U+202E]" in page
    assert "[U+001B]" in page
    assert "\u202e" not in page
    assert "e.example/i.png" in page
    assert '<img src="http' not in page
    big = re.search(r'<details class="file"( open)?>\s*<summary><code class="path">&lt;b&gt;.html', page)
    assert big is not None
    assert big[1] is None


@pytest.mark.parametrize(
    ("text", "never"),
    [
        (SCRIPT, "<script"),
        ("[x](javascript:alert(1))", "<a "),
        ("[x](data:text/html,x)", "<a "),
        ("[x](//evil.example)", "<a "),
        ("[x](/enter?token=a)", "<a "),
        ("![x](http://evil.example/x.png)", "<img"),
        ("![x](data:image/png;base64,AA)", "<img"),
        ('<http://a.example/"onx=1>', ' onx="'),
        ('[x](http://a.example "t\' onclick=1")', "onclick"),
        ("<style>*{}</style><a href=x>", "<style"),
        ("# A heading of the page", "<h1"),
    ],
)
def test_markdown_of_agents_is_made_harmless(text: str, never: str) -> None:
    assert never not in markdown(text)


def test_links_of_agents_show_where_they_lead() -> None:
    made = markdown("[your bank](https://evil.example/login)")
    assert 'rel="noopener noreferrer nofollow"' in made
    assert 'your bank</a> <span class="target">(https://evil.example/login)</span>' in made


def test_what_hides_text_is_shown() -> None:
    assert visible("a\u202eb\u2066c\x00\x1b\u200b\r\nd\te") == "a[U+202E]b[U+2066]c[U+0000][U+001B][U+200B]\r\nd\te"


# What is signed


def test_a_passkey_decides_and_only_over_what_was_seen(web: Web) -> None:
    web.enter()
    key = passkey_of(web)
    stale = {"reviews": [{"id": "R-0001", "digest": "0" * 64}]}
    changed = web.decide("R-0001", key, **stale)
    assert changed.status_code == 409
    assert "changed since" in changed.json()["error"]["message"]
    assert state(web, "R-0001") is ReviewState.PENDING
    decided = web.decide("R-0001", key, comment="seen")
    assert decided.status_code == 200
    assert decided.json()["reviews"][0]["state"] == "approved"
    assert state(web, "R-0001") is ReviewState.APPROVED


def test_a_session_alone_decides_nothing(web: Web) -> None:
    """Whoever has cookie and proof, an agent say, still has no passkey: what it sends is refused, and remembered."""
    web.enter()
    key = passkey_of(web)
    forger = Authenticator(credential_id=key.credential_id)
    refused = web.decide("R-0001", forger)
    assert refused.status_code == 403
    assert state(web, "R-0001") is ReviewState.PENDING
    with web.gate.project.store.read() as tx:
        assert "decision.refuse" in [entry.action for entry in ledger.entries(tx, subject="refusal:R-0001")]


def test_a_signature_made_on_a_page_at_another_port_counts_nowhere(web: Web) -> None:
    web.enter()
    key = passkey_of(web)
    digest = web.client.get("/api/reviews/R-0001").json()["digest"]
    wanted = {"reviews": [{"id": "R-0001", "digest": digest}], "decision": "approve", "reviewer": "ada"}
    payload = web.post("/api/decisions/prepare", wanted).json()["payload"]
    elsewhere = key.get(pae(PAYLOAD_TYPE, from_base64(payload, source="test")), origin="http://localhost:9999")
    assert web.post("/api/decisions", {"payload": payload, "credential": elsewhere}).status_code == 403
    assert state(web, "R-0001") is ReviewState.PENDING


def test_one_signature_decides_a_group(web: Web) -> None:
    web.enter()
    key = passkey_of(web)
    other = web.gate.review("Another key", path="other.py")
    shown = [web.client.get(f"/api/reviews/{one}").json() for one in ("R-0001", other.id)]
    assert shown[0]["group"] == [other.id]
    both = [{"id": one["review"]["id"], "digest": one["digest"]} for one in shown]
    answer = web.decide("R-0001", key, reviews=both)
    assert [one["state"] for one in answer.json()["reviews"]] == ["approved", "approved"]


def test_a_new_persons_passkey_waits_and_nobody_enrols_himself(web: Web) -> None:
    web.enter()
    passkey_of(web)
    eve = Authenticator(credential_id=b"eve")
    options = web.post("/api/passkeys/options", {"reviewer": "eve"}).json()
    assert options["standing"] == "other"
    made = eve.create(options["publicKey"]["challenge"])
    registered = web.post("/api/passkeys", {"reviewer": "eve", "credential": made})
    assert registered.json()["state"] == "waits"
    assert (
        web.post("/api/passkeys", {"reviewer": "eve", "credential": made}).status_code == 403
    )  # its challenge is used
    prepared = web.post("/api/enrolments/prepare", {"key_id": registered.json()["key_id"], "by": "ada"}).json()
    own = eve.get(pae(PAYLOAD_TYPE, from_base64(prepared["payload"], source="test")))
    assert web.post("/api/enrolments", {"payload": prepared["payload"], "credential": own}).status_code == 403
    assert "eve" not in {one.name for one in web.gate.project.anchor.reviewers(web.gate.project.repository_id)}


def test_a_passkey_admits_one_that_waits(web: Web) -> None:
    web.enter()
    ada, grace = passkey_of(web), Authenticator(credential_id=b"grace")
    options = web.post("/api/passkeys/options", {"reviewer": "grace"}).json()
    made = grace.create(options["publicKey"]["challenge"])
    registered = web.post("/api/passkeys", {"reviewer": "grace", "credential": made}).json()
    prepared = web.post("/api/enrolments/prepare", {"key_id": registered["key_id"], "by": "ada"}).json()
    signed = ada.get(pae(PAYLOAD_TYPE, from_base64(prepared["payload"], source="test")))
    answer = web.post("/api/enrolments", {"payload": prepared["payload"], "credential": signed})
    assert answer.json()["reviewer"] == "grace"
    page = web.client.get("/reviewers").text
    assert "grace" in page
    assert "Wait for a signature" not in page


class Draft(BaseModel):
    id: str
    text: str


def held(web: Web, *keys: str) -> None:
    """Records of a pipeline that its gate holds."""
    drafts = nc.Pipeline("drafts", record=Draft, key="id", state=web.gate.project.root)

    @drafts.step
    def draft(record: Draft) -> str:
        return record.text.upper()

    @drafts.gate
    def human(_record: Draft, _text: str) -> str | None:
        return f"a person reads it first {SCRIPT}"

    drafts.run([Draft(id=key, text=f"Text {SCRIPT}") for key in keys])


def test_a_record_that_a_gate_holds_is_shown_and_decided(web: Web) -> None:
    web.enter()
    key = passkey_of(web)
    held(web, "plain", "with/slash & <b>")
    rows = web.client.get("/api/reviews", params={"kind": "record"}).json()["records"]
    assert {one["name"] for one in rows} == {"drafts/plain", "drafts/with/slash & <b>"}
    for link in re.findall(r'href="(/records/[^"]+)"', web.client.get("/inbox").text):
        page = web.client.get(link)
        assert page.status_code == 200
        assert "What would go on" in page.text
        assert "TEXT" in page.text
        assert SCRIPT not in page.text
        assert SCRIPT.upper() not in page.text
    wanted = {"records": [{"name": one["name"], "digest": one["digest"]} for one in rows]}
    stale = {"records": [{**wanted["records"][0], "digest": "0" * 64}]}
    common = {"decision": "approve", "reviewer": "ada"}
    assert web.post("/api/decisions/prepare", {**stale, **common}).status_code == 409
    payload = web.post("/api/decisions/prepare", {**wanted, **common}).json()["payload"]
    credential = key.get(pae(PAYLOAD_TYPE, from_base64(payload, source="test")))
    names = [one["name"] for one in rows]
    fewer = web.post("/api/decisions", {"payload": payload, "credential": credential, "records": names[:1]})
    assert fewer.status_code == 403
    done = web.post("/api/decisions", {"payload": payload, "credential": credential, "records": names})
    assert done.json() == {"reviews": [], "records": 2}
    assert web.client.get("/api/reviews", params={"kind": "record"}).json()["records"] == []


# Where it listens


def test_it_listens_on_both_loopback_addresses_and_nowhere_else() -> None:
    """A browser may take either for localhost: on the one that is free another program could pose as the inbox."""
    with listening(0) as (sockets, port):
        addresses = {one.getsockname()[0] for one in sockets}
        assert addresses in ({"127.0.0.1", "::1"}, {"127.0.0.1"})
        assert {one.getsockname()[1] for one in sockets} == {port}
        with pytest.raises(ConfigurationError, match="taken by another program"), listening(port):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_program_on_the_other_loopback_address_is_noticed() -> None:
    with socket.socket(socket.AF_INET6) as squatter:
        try:
            squatter.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        squatter.listen()
        with pytest.raises(ConfigurationError, match="::1 is taken"), listening(squatter.getsockname()[1]):
            pass


def test_the_origin_is_this_machine_or_an_address_with_tls() -> None:
    assert origin_of(None, 8377) == ORIGIN
    assert origin_of("https://Crew.Example/", 1) == "https://crew.example"
    assert origin_of("https://crew.example:443", 1) == "https://crew.example"
    assert origin_of("https://crew.example:8443", 1) == "https://crew.example:8443"
    for wrong in (
        "http://crew.example",
        "crew.example",
        "https://",
        "https://a/b",
        "https://u@a",
        "https://a?b",
        "https://a:x",
    ):
        with pytest.raises(UsageError):
            origin_of(wrong, 1)


def test_the_command_serves_until_it_is_interrupted(web: Web) -> None:
    served = subprocess.Popen(
        [*crew.NIGHTCREW, "serve", "--json", "--port", "0"],
        cwd=web.gate.project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert served.stdin is not None
    assert served.stdout is not None
    try:
        link = json.loads(served.stdout.readline())["url"]
        origin = link.partition("/enter")[0]
        assert httpx.get(f"{origin}/").status_code == 401
        entered = httpx.get(link)
        assert entered.status_code == 303
        assert httpx.get(link).status_code == 403
        served.stdin.write("\n")
        served.stdin.flush()
        fresh = json.loads(served.stdout.readline())["url"]
        cookie = httpx.get(fresh).headers["set-cookie"].partition(";")[0]
        assert "A key lies" in httpx.get(f"{origin}/", headers={"cookie": cookie}).text
        with httpx.stream("GET", f"{origin}/api/events", headers={"cookie": cookie}) as events:
            lines = events.iter_lines()
            assert next(line for line in lines if line.startswith("data:"))
            web.gate.review("Another one", path="z.py")
            assert next(line for line in lines if line.startswith("event:")) == "event: changed"
            taken = crew.nightcrew(
                web.gate.project.root, "serve", "--port", origin.rpartition(":")[2], env=dict(os.environ)
            )
            assert taken.returncode == 4
            assert "--port" in taken.stderr
            served.send_signal(signal.SIGINT)
            assert list(lines) is not None  # the stream ends, and does not hold the server up
        assert served.wait(10) == 0
    finally:
        served.kill()
        served.communicate()


def test_the_page_reads_without_javascript(web: Web) -> None:
    web.enter()
    page = web.client.get("/reviews/R-0001").text
    for told in (
        "A key lies in the code",
        "bandit",
        "B105",
        "settings.py",
        "KEY = ",
        "90 % sure",
        "Deadline",
    ):
        assert told in page
    assert "nightcrew inbox approve R-0001" in page
    assert "A key lies in the code" in web.client.get("/inbox").text


def test_the_list_is_filtered(web: Web) -> None:
    web.enter()
    web.gate.review("Worse", severity="critical", path="b.py")
    found = web.client.get("/api/reviews").json()
    assert [one["severity"] for one in found["reviews"]] == ["critical", "high"]
    assert found["counts"] == {"critical": 1, "high": 1}
    only = web.client.get("/api/reviews", params={"severity": "high", "q": "KEY LIES"}).json()
    assert [one["id"] for one in only["reviews"]] == ["R-0001"]
    assert web.client.get("/api/reviews", params={"state": "approved"}).json()["total"] == 0
    assert json.loads(web.client.get("/api/reviews", params={"kind": "record"}).text)["reviews"] == []
    assert State.IN_REVIEW in web.client.get("/api/reviews/R-0001").json()["ticket"]["state"]
