"""Attacks on the inbox by pages in the reviewer's own browser: real Chromium, real pages, the reviewer signed in.

The attacker's pages lie on another port of localhost, which is the same *site*: cookies that are SameSite go along.
"""

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from nightcrew.approvals import sign_statement
from nightcrew.approvals.passkey import PasskeyAssertion, challenge_of, signature_of, to_base64url
from nightcrew.crew import deciding, planning
from nightcrew.model.errors import ApprovalError
from nightcrew.model.manifest import parse
from nightcrew.model.review import Decision, Review
from nightcrew.model.statement import PAYLOAD_TYPE, SignerKind, envelope_of, pae
from nightcrew.store import ledger
from tests.browser import authenticator, chromium, free_port, served
from tests.gate import Gate, prepare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

SCRIPT = "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'><svg onload='window.owned=1'>"


class _Pages(BaseHTTPRequestHandler):
    pages: dict[str, str]

    def do_GET(self) -> None:
        body = self.pages.get(self.path, "").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def attacker(pages: dict[str, str]) -> Iterator[str]:
    """The attacker's own pages, on localhost too."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Pages", (_Pages,), {"pages": pages}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Desk:
    """A reviewer at the browser, signed in and with a passkey, and a review that waits."""

    def __init__(self, gate: Gate, review: Review, browser: Browser, page: Page, origin: str) -> None:
        self.gate, self.review, self.browser, self.page, self.origin = gate, review, browser, page, origin

    def still_waits(self) -> None:
        self.gate.reopen()
        planned = parse(planning.make_plan(self.gate.project, "build").data, source="plan")
        assert self.review.ticket not in [line.ticket for line in planned.tickets]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    gate = prepare(tmp_path / "home", monkeypatch)
    review = gate.review(title=f"Leak {SCRIPT}")
    gate.reopen()
    with chromium() as browser, served(gate.home / "repo", os.environ) as link:
        origin = link.partition("/enter")[0]
        page = browser.new_context().new_page()
        page.goto(link)
        authenticator(page)
        yield Desk(gate, review, browser, page, origin)
    gate.reopen()


def test_page_on_another_port_cannot_change_or_read_anything(desk: Desk) -> None:
    evil = """
    <form id=f method=post action="ORIGIN/api/decisions/prepare" enctype="text/plain">
    <input name='{"reviews":[{"id":"R-0001","digest":"x"}],"decision":"approve","reviewer":"ada","comment":"'
     value='"}'></form>
    <script>
    window.tried = (async () => {
      const said = [];
      const json = {"Content-Type": "application/json", "X-CSRF-Token": "guess"};
      for (const [headers, mode] of [[{}, "no-cors"], [{"Content-Type": "text/plain"}, "no-cors"], [json, "cors"]]) {
        try {
          const answer = await fetch("ORIGIN/api/decisions/prepare",
            {method: "POST", credentials: "include", mode, headers, body: "{}"});
          said.push(answer.type + answer.status);
        } catch (error) { said.push("refused"); }
      }
      try { said.push(await (await fetch("ORIGIN/api/reviews", {credentials: "include"})).text()); }
      catch (error) { said.push("unreadable"); }
      return said;
    })();
    </script>
    """
    with attacker({"/": evil.replace("ORIGIN", desk.origin)}) as address:
        page = desk.page.context.new_page()
        statuses: list[int] = []
        page.on("response", lambda one: statuses.append(one.status) if "/api/decisions" in one.url else None)
        page.goto(address)
        said = page.evaluate("window.tried")
        assert said[-1] == "unreadable"
        page.evaluate("document.getElementById('f').submit()")
        page.wait_for_url(f"{desk.origin}/**")
        assert statuses, "the requests came there"
        assert set(statuses) <= {400, 401, 403, 405, 415, 422}, statuses
        assert 403 in statuses
    desk.still_waits()


def test_foreign_name_that_resolves_to_this_machine_gets_nothing(desk: Desk) -> None:
    port = desk.origin.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost.", "evil.localhost"):
        answer = desk.page.context.new_page().goto(f"http://{host}:{port}/api/reviews")
        assert answer is not None
        assert answer.status in (400, 421), host
        assert desk.review.id not in answer.text()
    desk.still_waits()


def test_inbox_cannot_be_framed(desk: Desk) -> None:
    page = f'<iframe id=it src="{desk.origin}/reviews/{desk.review.id}" width=900 height=900></iframe>'
    with attacker({"/": page}) as address:
        tab = desk.page.context.new_page()
        tab.goto(address)
        tab.wait_for_timeout(500)
        frames = [frame for frame in tab.frames if frame.parent_frame is not None]
        assert all(desk.review.id not in frame.content() for frame in frames)


def test_text_of_agents_runs_nowhere(desk: Desk) -> None:
    for path in (
        "/",
        "/inbox",
        f"/reviews/{desk.review.id}",
        "/report",
        "/reviewers",
        f"/inbox?q={SCRIPT}",
        "/tickets",
    ):
        desk.page.goto(desk.origin + path)
        desk.page.wait_for_timeout(100)
        assert desk.page.evaluate("window.owned") is None, path
        if desk.review.id in path or path == "/":
            assert "window.owned" in desk.page.locator("main").inner_text(), "it is shown, as text"


def test_passkey_touched_on_the_attackers_page_counts_nowhere(desk: Desk) -> None:
    """The attacker shows a page of their own on localhost, gets a touch there, and has the database to put it in."""
    page = desk.page
    page.goto(desk.origin + "/reviewers")
    page.get_by_label("Name").fill("grace")
    page.get_by_role("button", name="Register a passkey").click()
    expect(page.get_by_text("waits for the signature")).to_be_visible()
    desk.gate.reopen()
    project = desk.gate.project
    (waits,) = project.anchor.pending(project.repository_id)
    project.anchor.enrol(
        project.repository_id, "grace", kind=SignerKind.PASSKEY, public_key=waits.key(), by=desk.gate.signers["ada"][0],
        nonce="0" * 32, clock=project.clock,
    )  # fmt: skip
    statement = deciding.prepare(project, [desk.review.id], Decision.APPROVE, reviewer="grace")
    (key,) = project.anchor.keys(project.repository_id, "grace")
    blob = json.loads(key.public_key)
    challenge = to_base64url(challenge_of(pae(PAYLOAD_TYPE, statement.payload())))
    with attacker({"/": "<p>Free cake</p>"}) as address:
        page.goto(address)  # the same tab, so that the same authenticator is at hand
        credential = page.evaluate(
            """async ([challenge, id]) => {
              const plain = (text) => atob(text.replaceAll("-", "+").replaceAll("_", "/"));
              const bytes = (text) => Uint8Array.from(plain(text), c => c.charCodeAt(0));
              const got = await navigator.credentials.get({publicKey: {
                challenge: bytes(challenge), rpId: "localhost", userVerification: "required",
                allowCredentials: [{type: "public-key", id: bytes(id)}]}});
              return got.toJSON();
            }""",
            [challenge, blob["credential_id"]],
        )
    assert json.loads(base64.urlsafe_b64decode(credential["response"]["clientDataJSON"] + "=="))["origin"] == address
    with pytest.raises(ApprovalError, match="does not stand for this"):
        sign_statement(PasskeyAssertion(key.public_key, signature_of(credential)), statement)
    stolen = envelope_of(statement.payload(), [(key.key_id, signature_of(credential))])  # by the attacker's own hand
    with pytest.raises(ApprovalError, match="does not verify"):
        deciding.finish(project, stolen)
    with project.store.read() as tx:
        refused = [entry.action for entry in ledger.entries(tx, subject=f"refusal:{desk.review.id}")]
    assert refused == ["decision.refuse"]
    desk.still_waits()


def test_assertion_is_used_once(desk: Desk) -> None:
    page = desk.page
    other = desk.gate.review(title="Another one")
    desk.gate.reopen()
    page.goto(desk.origin + "/reviewers")
    page.get_by_label("Name").fill("grace")
    page.get_by_role("button", name="Register a passkey").click()
    expect(page.get_by_text("waits for the signature")).to_be_visible()
    project = desk.gate.project
    (waits,) = project.anchor.pending(project.repository_id)
    project.anchor.enrol(
        project.repository_id, "grace", kind=SignerKind.PASSKEY, public_key=waits.key(), by=desk.gate.signers["ada"][0],
        nonce="0" * 32, clock=project.clock,
    )  # fmt: skip
    sent: list[dict[str, Any]] = []

    def heard(request: Request) -> None:
        if request.url.endswith("/api/decisions"):
            sent.append(dict(request.post_data_json or {}))

    page.on("request", heard)
    page.goto(f"{desk.origin}/reviews/{desk.review.id}")
    page.locator("#decide input[value=approve]").check(force=True)
    page.locator("#decide button.sign").click()
    page.wait_for_url(lambda url: desk.review.id not in url)
    page.goto(f"{desk.origin}/reviews/{other.id}")
    (replayed,) = sent
    again: Callable[[dict[str, Any]], Any] = lambda body: page.evaluate(  # noqa: E731
        """async (body) => {
          const answer = await fetch("/api/decisions", {method: "POST", body: JSON.stringify(body),
            headers: {"content-type": "application/json", "x-csrf-token": localStorage.getItem("nightcrew-proof")}});
          return [answer.status, await answer.text()];
        }""",
        body,
    )
    status, text = again(replayed)
    assert status in (403, 409, 422), text
    payload = json.loads(base64.b64decode(replayed["payload"]))
    payload["predicate"]["review_id"] = other.id
    forged = base64.b64encode(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).decode()
    status, text = again({**replayed, "payload": forged})
    assert status in (403, 409, 422), text
    desk.review = other
    desk.still_waits()


def test_another_port_is_another_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passkey signs where it was registered; at another address the page says so and offers no signature."""
    gate = prepare(tmp_path / "home", monkeypatch)
    review = gate.review()
    gate.reopen()
    first, second = free_port(), free_port()
    with chromium() as browser:
        page = browser.new_page()
        with served(gate.home / "repo", os.environ, port=first) as link:
            page.goto(link)
            authenticator(page)
            page.goto(f"http://localhost:{first}/reviewers")
            page.get_by_label("Name").fill("grace")
            page.get_by_role("button", name="Register a passkey").click()
            expect(page.get_by_text("waits for the signature")).to_be_visible()
        project = gate.project
        (waits,) = project.anchor.pending(project.repository_id)
        project.anchor.enrol(
            project.repository_id, "grace", kind=SignerKind.PASSKEY, public_key=waits.key(), by=gate.signers["ada"][0],
            nonce="0" * 32, clock=project.clock,
        )  # fmt: skip
        gate.reopen()
        with served(gate.home / "repo", os.environ, port=second) as link:
            page.goto(link)
            page.goto(f"http://localhost:{second}/reviewers")
            expect(page.get_by_text("it signs there, not here")).to_be_visible()
            page.goto(f"http://localhost:{second}/reviews/{review.id}")
            expect(page.locator("#decide")).to_contain_text("No passkey is registered on this page yet")
