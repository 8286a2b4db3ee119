"""The dashboard's pages: what they show, of an empty project and of a full one, and of text that wants to be more."""

import json
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from starlette.testclient import TestClient
from tests.gate import Gate, prepare

import nightcrew as nc
from nightcrew.crew import report, trail
from nightcrew.crew.hiding import HIDDEN
from nightcrew.model.budget import Budget
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.handoff import Handoff, HandoffKind
from nightcrew.model.severity import Severity
from nightcrew.store import (
    alerts,
    browsing,
    findings,
    handoffs,
    journal,
    ledger,
    outcomes,
    sessions,
    shifts,
    tickets,
    turns,
)
from nightcrew.web.app import create_app

ORIGIN = "http://localhost:8377"
SCRIPT = "<script>alert(1)</script>"
PAGES = (
    "/", "/inbox", "/tickets", "/tickets?view=list", "/tickets?state=open", "/sessions", "/findings", "/pipelines",
    "/records", "/records?state=waiting_retry", "/records?state=in_review", "/ledger", "/alerts", "/settings",
    "/runbooks", "/report", "/reviewers", "/readiness",
)  # fmt: skip


class Web:
    """A project, its server, and a browser that has entered."""

    def __init__(self, gate: Gate, client: TestClient, proof: str) -> None:
        self.gate, self.client, self.proof = gate, client, proof

    def page(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[-400:])
        return answer.text

    def post(self, path: str, body: Any, **headers: str) -> Any:
        sent = {"origin": ORIGIN, "x-csrf-token": self.proof, "sec-fetch-site": "same-origin", **headers}
        return self.client.post(path, json=body, headers={name: value for name, value in sent.items() if value})


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    gate = prepare(tmp_path / "home", monkeypatch)
    token = secrets.token_urlsafe(32)
    app = create_app(gate.project.root, origin=ORIGIN, token=token, open_project=lambda _: gate.project)
    with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as client:
        answer = client.get("/enter", params={"token": token}, follow_redirects=False)
        yield Web(gate, client, answer.headers["location"].removeprefix("/#proof="))
    gate.reopen()


class Amount(BaseModel):
    id: str
    amount: float = Field(gt=0)
    card: Annotated[str, nc.Secret] = ""


def quarantined(web: Web, *keys: str, name: str = "fraud") -> None:
    """A run in which these records break the contract, and one is accepted."""
    pipeline = nc.Pipeline(name, record=Amount, key="id", state=web.gate.project.root)

    @pipeline.step
    def score(record: Amount) -> float:
        return record.amount

    pipeline.run([{"id": "good", "amount": 1.0}, *({"id": key, "amount": -1.0} for key in keys)])
    pipeline.close()


def session(web: Web, *, agent: str = "build", note: str = "", title: str = "Add a page") -> tuple[str, str]:
    """A session that worked one ticket; gives both ids."""
    with web.gate.project.store.begin() as tx:
        ticket = tickets.add(tx, actor="human", title=title)
        name = sessions.create(
            tx, shift=None, agent=agent, manifest="M-1", budget=Budget(soft=3, hard=5), brain="claude",
            tickets=[ticket.id],
        )  # fmt: skip
        sessions.start(tx, name)
        turns.charge(tx, name, f"{ticket.id}/one", ticket.id, 5)
        sessions.end(tx, name, outcome="done", note=note)
    return name, ticket.id


def state_of(web: Web, name: str) -> str:
    pipeline, _, key = name.partition("/")
    with web.gate.project.store.read() as tx:
        found = next(row.id for row in nc_pipelines(tx) if row.name == pipeline)
        return outcomes.get(tx, found, key).state


def nc_pipelines(tx: Any) -> Any:
    from nightcrew.store import runs

    return runs.all_pipelines(tx)


# Nothing, and nothing there


@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_an_empty_project_says_so(web: Web, path: str) -> None:
    text = web.page(path)
    assert "<h1" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/tickets/T-9999", "/tickets/x", "/sessions/S-9999", "/handoffs/H-999999", "/pipelines/none", "/records/a/b",
        "/records?pipeline=none", "/ledger/999999", "/ledger/x", "/ledger/-1", "/alerts/A-9999", "/runbooks/NC-NOTHING",
        "/report?shift=N-9999", "/reviews/R-9999", "/tickets/" + "9" * 3000, "/sessions/%00", "/ledger/" + "9" * 400,
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_clear_404(web: Web, path: str) -> None:
    text = web.page(path, status=404)
    assert "<h1>" in text
    assert "NC-" in text


@pytest.mark.parametrize("path", PAGES[1:])
def test_an_address_that_makes_no_sense_is_as_if_it_were_not_there(web: Web, path: str) -> None:
    session(web)
    for query in (
        "state=none&severity=bad&kind=?&priority=9&page=-1&before=%00&after=~&first=-3", "before=" + "9" * 5000,
        "q=" + "x" * 20000, "q=%25_%5C%27%22", "before=~~~&after=9999999999999999999999~x", "action=%F0%9F%92%A9",
    ):  # fmt: skip
        assert web.client.get(f"{path}?{query}").status_code == 200, query


# Text of agents


@pytest.mark.parametrize(
    "text", [SCRIPT, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "\u202ehidden\u200b\x1b[31m"]
)
def test_hostile_text_is_text_on_every_page(web: Web, text: str) -> None:
    name, ticket = session(web, note=f"note {text}", title=f"Title {text}")
    mark = fingerprint(tool="t", rule="r", path="p", code=text)
    finding = Finding(
        fingerprint=mark, tool=f"tool {text}", rule="R1", category=Category.REVIEW, severity=Severity.HIGH,
        message=f"message {text}", path=f"src/{text}.py", line=1,
    )  # fmt: skip
    with web.gate.project.store.begin() as tx:
        findings.record(tx, finding, ticket=ticket)
        journal.put(tx, name, ticket, "answer 0001", {"parts": [{"part_kind": "text", "content": f"said {text}"}]})
        journal.put(tx, name, ticket, f"tool {text}", f"got {text}")
        ledger.append(tx, actor=f"actor {text}", action="note.made", subject=f"ticket:{ticket}", data={"x": text})
        document = Handoff.read(
            {
                "id": "H-000001", "from": "build", "to": "qa", "ticket": ticket, "session": name,
                "kind": HandoffKind.WORK, "created": tx.now(), "done": f"done {text}",
                "next": f"[x](javascript:{text})",
            },
            source="test",
        )  # fmt: skip
        handoffs.put(tx, document)
        alerts.fire(
            tx,
            alerts.add(
                tx, rule=f"rule {text}", subject=f"pipeline:{text}", severity=Severity.HIGH, value=1.0,
                message=f"alert {text}", query={"path": "javascript:alert(1)"}, runbook="AL-X",
            ).id,
        )  # fmt: skip
        last = ledger.head(tx)
    assert last is not None
    paths = (
        *PAGES, f"/tickets/{ticket}", f"/sessions/{name}", "/handoffs/H-000001", "/alerts/A-0001",
        f"/ledger/{last.seq}", f"/ledger?subject=ticket:{ticket}", f"/tickets?q={SCRIPT}",
        f"/sessions?agent={SCRIPT}&q={SCRIPT}",
        f"/ledger?subject={SCRIPT}&action={SCRIPT}", f"/records?pipeline=&kind={SCRIPT}", f"/runbooks?q={SCRIPT}",
    )  # fmt: skip
    for path in paths:
        page = web.page(path)
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert "javascript:alert" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL), path
        assert not re.search("[\u202e\u200b\x1b]", page), path
        assert " 49" not in page or "{{" not in text, path
    assert "said " in web.page(f"/sessions/{name}")


# What is shown


def test_the_board_holds_tickets_by_desk_and_leads_to_each(web: Web) -> None:
    _, ticket = session(web, title="Pay in euros")
    web.gate.review("A key lies in the code")
    board = web.page("/tickets")
    assert "Pay in euros" in board
    assert f'href="/tickets/{ticket}"' in board
    assert "Waits for you" in board
    assert "Pay in euros" not in web.page("/tickets?q=key+lies")
    assert "Pay in euros" in web.page("/tickets?q=PAY+IN")
    assert "Pay in euros" not in web.page("/tickets?state=in_review")
    story = web.page(f"/tickets/{ticket}")
    for word in ("Pay in euros", "S-0001", "ticket.add"):
        assert word in story


def test_a_list_of_tickets_goes_on_from_page_to_page_without_a_gap(web: Web) -> None:
    with web.gate.project.store.begin() as tx:
        for number in range(browsing.PAGE * 2 + 3):
            tickets.add(tx, actor="human", title=f"Ticket {number}")
    path, seen = "/tickets?view=list", list[str]()
    for _ in range(3):
        page = web.page(path)
        seen += re.findall(r'data-open href="/tickets/(T-\d+)"', page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert path == ""
    assert seen == [f"T-{number:04d}" for number in range(browsing.PAGE * 2 + 3, 0, -1)]


def test_a_session_is_replayed_with_its_turns_and_without_its_secrets(web: Web) -> None:
    name, ticket = session(web, note="ended well")
    with web.gate.project.store.begin() as tx:
        said = {"parts": [
            {"part_kind": "text", "content": "I look first"},
            {"part_kind": "tool-call", "tool_name": "read", "args": '{"path": "settings.py"}'},
        ]}  # fmt: skip
        journal.put(tx, name, ticket, "answer 0001", said)
        journal.put(
            tx, name, ticket, "tool read 1", "API_KEY = 'sk-ant-0123456789abcdefghij'\npassword: hunter22hunter"
        )
        journal.put(tx, name, ticket, "tool-begun read 1", True)
    page = web.page(f"/sessions/{name}")
    for word in ("Turn 1", "I look first", "calls read", "ended well", "1 of 3/5"):
        assert word in page
    assert "sk-ant-0123456789" not in page
    assert "hunter22" not in page
    assert page.index("Turn 1") < page.index("Answer 1")
    listed = web.page("/sessions")
    assert "1 of 3/5" in listed
    assert name not in web.page("/sessions?agent=qa")


def test_a_line_that_a_finding_calls_a_secret_is_not_in_the_replay(web: Web) -> None:
    name, ticket = session(web)
    root = web.gate.project.root
    code = next(path for path in root.rglob("*.py") if ".nightcrew" not in path.parts)
    line = next(number for number, text in enumerate(code.read_text().split("\n"), 1) if len(text.strip()) > 8)
    text = code.read_text().split("\n")[line - 1].strip()
    finding = Finding(
        fingerprint="a" * 32, tool="detect-secrets", rule="key", category=Category.SECRET, severity=Severity.HIGH,
        message="a key", path=str(code.relative_to(root)), line=line,
    )  # fmt: skip
    with web.gate.project.store.begin() as tx:
        findings.record(tx, finding, ticket=ticket)
        journal.put(tx, name, ticket, "tool read 1", f"before\n{text}\nafter")
        journal.put(
            tx, name, ticket, "answer 0001", {"parts": [{"tool_name": "write", "args": json.dumps({"text": text})}]}
        )
    page = web.page(f"/sessions/{name}")
    assert HIDDEN in page
    assert text not in page


def test_pipelines_show_sums_that_add_up_and_lead_to_what_is_open(web: Web) -> None:
    quarantined(web, "bad-1", "bad-2")
    page = web.page("/pipelines")
    assert "fraud" in page
    assert re.search(r"<b>2</b> quarantined", page)
    one = web.page("/pipelines/fraud")
    assert "does not add up" not in one
    assert "card" in one  # named as never shown
    queue = web.page("/records?state=quarantined&pipeline=fraud&kind=permanent.contract")
    assert "fraud/bad-1" in queue
    assert "fraud/good" not in queue
    assert "fraud/bad-1" in web.page("/records/fraud/bad-1")


def test_the_queue_goes_on_from_page_to_page(web: Web) -> None:
    quarantined(web, *(f"bad-{number}" for number in range(120)))
    path, seen = "/records?state=quarantined", list[str]()
    while path:
        page = web.page(path)
        seen += re.findall(r'name="record" value="([^"]+)"', page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == len(set(seen)) == 120


# Releasing and discarding


def test_quarantine_is_released_and_discarded_and_the_ledger_says_so(web: Web) -> None:
    quarantined(web, "bad-1", "bad-2", "bad-3")
    assert web.post("/api/records/release", {"records": ["fraud/bad-1"]}).json() == {"count": 1}
    said = {"records": ["fraud/bad-2", "fraud/bad-3"], "reason": "test records"}
    assert web.post("/api/records/discard", said).json() == {"count": 2}
    assert [state_of(web, f"fraud/bad-{n}") for n in (1, 2, 3)] == ["waiting_retry", "discarded", "discarded"]
    assert "test records" in web.page("/records?state=discarded")
    actions = {entry.action for entry in trail.page(web.gate.project).entries}
    assert {"outcomes.released", "outcomes.discarded"} <= actions
    web.gate.project.check_ledger()


def test_only_what_is_in_quarantine_leaves_it(web: Web) -> None:
    quarantined(web, "bad-1")
    for path in ("/api/records/release", "/api/records/discard"):
        assert web.post(path, {"records": ["fraud/good"]}).status_code == 409
        assert web.post(path, {"records": ["fraud/none"]}).status_code == 404
        assert web.post(path, {"records": []}).status_code == 422
        assert web.post(path, {"records": ["fraud/bad-1"], "signed": True}).status_code == 422
    assert state_of(web, "fraud/bad-1") == "quarantined"


@pytest.mark.parametrize(
    "wrong", [{"x-csrf-token": ""}, {"origin": "https://evil.example"}, {"x-csrf-token": "0" * 64}]
)
def test_another_page_releases_and_silences_nothing(web: Web, wrong: dict[str, str]) -> None:
    quarantined(web, "bad-1")
    for path, body in (
        ("/api/records/release", {"records": ["fraud/bad-1"]}), ("/api/records/discard", {"records": ["fraud/bad-1"]}),
        ("/api/alerts/ack", {"alerts": ["A-0001"]}), ("/api/alerts/silence", {"rule": "*", "minutes": 60}),
        ("/api/alerts/unsilence", {"silence": "SL-0001"}),
    ):  # fmt: skip
        assert web.post(path, body, **wrong).status_code == 403
    assert state_of(web, "fraud/bad-1") == "quarantined"


def test_a_record_that_a_gate_holds_cannot_be_released_past_it(web: Web) -> None:
    pipeline = nc.Pipeline("drafts", record=Amount, key="id", state=web.gate.project.root)

    @pipeline.step
    def draft(record: Amount) -> float:
        return record.amount

    @pipeline.gate
    def human(_record: Amount, _amount: float) -> str | None:
        return "a person reads it first"

    pipeline.run([{"id": "held", "amount": 2.0}])
    pipeline.close()
    assert web.post("/api/records/release", {"records": ["drafts/held"]}).status_code == 409
    assert state_of(web, "drafts/held") == "in_review"


# Alerts


def test_an_alert_is_acknowledged_and_silenced(web: Web) -> None:
    with web.gate.project.store.begin() as tx:
        made = alerts.add(
            tx, rule="pipeline-errors", subject="pipeline:fraud", severity=Severity.HIGH, value=0.3,
            message="30 % of the records fail", query={"path": "/timeline?from=1"}, runbook="AL-ERRORS",
        )  # fmt: skip
        alerts.fire(tx, made.id)
    assert "30 % of the records fail" in web.page("/alerts")
    assert "30 % of the records fail" in web.page("/")
    assert 'href="/timeline?from=1"' in web.page(f"/alerts/{made.id}")
    assert web.post("/api/alerts/ack", {"alerts": [made.id], "comment": "mine"}).json() == {"count": 1}
    assert "human looks after it" in web.page("/alerts")
    assert web.post("/api/alerts/silence", {"rule": "pipeline-*", "minutes": 60, "comment": "known"}).status_code == 200
    assert "silenced" in web.page(f"/alerts/{made.id}")
    assert web.post("/api/alerts/unsilence", {"silence": "SL-0001"}).status_code == 200
    assert "Nothing is silenced" in web.page("/alerts")
    assert web.post("/api/alerts/silence", {"rule": "x", "minutes": 0}).status_code == 422
    assert web.post("/api/alerts/ack", {"alerts": ["A-9999"]}).status_code == 404


def test_an_alerts_own_runbook_and_its_subject_lead_where_they_say(web: Web) -> None:
    quarantined(web)
    with web.gate.project.store.begin() as tx:
        made = alerts.add(
            tx, rule="drift", subject="pipeline:fraud feature=amount", severity=Severity.MEDIUM, value=0.3,
            message="it drifts", query={}, runbook="https://wiki.example/drift?a=1",
        )  # fmt: skip
        alerts.fire(tx, made.id)
    for path in ("/alerts", f"/alerts/{made.id}"):
        page = web.page(path)
        assert 'href="https://wiki.example/drift?a=1"' in page
        assert "/runbooks/https" not in page
    assert 'href="/pipelines/fraud"' in web.page(f"/alerts/{made.id}")
    assert 'href="/timeline?subject=pipeline:fraud"' in web.page("/pipelines/fraud")


def test_a_key_in_the_text_of_a_failure_is_not_shown(web: Web) -> None:
    pipeline = nc.Pipeline("leaky", key="id", state=web.gate.project.root)

    @pipeline.step(retry=None)
    def call(record: dict[str, Any]) -> str:
        raise ValueError("refused: password=hunter2-and-more sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789")

    pipeline.run([{"id": "one"}])
    pipeline.close()
    for path in ("/records?state=quarantined", "/records/leaky/one", "/timeline?subject=pipeline:leaky"):
        page = web.page(path)
        assert "hunter2" not in page
        assert "abcdefghijklmnop" not in page


def test_the_report_in_the_browser_has_what_the_text_has(web: Web) -> None:
    with web.gate.project.store.begin() as tx:
        shifts.start(tx, agents=("build",), deadline=web.gate.now, sandbox="auto")
    page = web.page("/report")
    for line in report.latest(web.gate.project).health:
        assert line in page


# The ledger


def test_the_last_entry_leads_to_no_next_one(web: Web) -> None:
    last = trail.last(web.gate.project)
    assert 'rel="next"' not in web.page(f"/ledger/{last}")
    assert 'rel="next"' in web.page(f"/ledger/{last - 1}")


def test_the_ledger_is_found_by_subject_and_action_and_each_entry_is_checked(web: Web) -> None:
    _, ticket = session(web)
    for query in (f"subject={ticket}", f"subject=ticket:{ticket}", f"subject={ticket.lower()}", "action=ticket.add"):
        page = web.page(f"/ledger?{query}")
        assert "ticket.add" in page
        assert "session.start" not in re.sub(r"<select.*?</select>", "", page, flags=re.DOTALL)
    assert "fits its hash and its seal" in web.page("/ledger/1")


def test_a_ledger_that_was_changed_is_told_on_its_page(web: Web) -> None:
    session(web)
    assert "fits" in web.page("/ledger")
    with web.gate.project.store.begin() as tx:
        tx.connection.exec_driver_sql("UPDATE ledger SET actor = 'mallory' WHERE seq = 2")
    web.gate.later(minutes=11)
    page = web.page("/ledger")
    for thread in threading.enumerate():
        if thread.name == "ledger-check":
            thread.join()
    page = web.page("/ledger")
    assert "does not fit" in page
    assert "does not fit its hash" in web.page("/ledger/2")


# Settings


def test_settings_say_what_holds_and_where_it_comes_from_and_no_secret(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_KEY", "sk-ant-not-for-anybody")
    settings = web.gate.project.root / "nightcrew.toml"
    settings.write_text(
        '[budget]\nsoft = 7\nhard = 9\n[brains.it]\nkind = "model"\nmodel = "anthropic:claude"\nkey_env = "CREW_KEY"\n'
    )
    web.gate.reopen()
    page = web.page("/settings")
    row = next(line for line in page.split("\n") if "<code>soft</code>" in line and "<code>7</code>" in line)
    assert "nightcrew.toml" in row
    assert "set in this environment" in page
    assert "sk-ant-not-for-anybody" not in page


# Weight


def test_own_files_are_kept_by_the_browser_and_asked_for_again(web: Web) -> None:
    first = web.client.get("/static/dashboard.css")
    assert first.headers["cache-control"] == "no-cache"
    again = web.client.get("/static/dashboard.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
