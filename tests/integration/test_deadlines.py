"""A review that nobody decides in time: the next is asked, people are told, the night does the rest of its work."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.gate import Gate, prepare

from nightcrew.crew import backlog, inbox, report
from nightcrew.crew.night import run_shift
from nightcrew.model.review import ReviewState
from nightcrew.model.ticket import State
from nightcrew.store import ledger, tickets

pytestmark = pytest.mark.timeout(200)


class Listener(HTTPServer):
    """Somebody's alert channel."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.heard: list[dict[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    (made.home / "repo" / "nightcrew.toml").write_text("[checks]\nlint = false\n")
    made.enrol("grace")
    made.playbook("  reviewers: [ada, grace]")
    yield made
    made.reopen()


@pytest.fixture(params=[200, 500])
def channel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    server = Listener(request.param)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("NIGHTCREW_NOTIFY", f"json://127.0.0.1:{server.server_address[1]}/secret-path")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_expired_review_escalates_alerts_and_the_rest_is_done(gate: Gate, channel: Listener) -> None:
    review = gate.review()
    ticket = backlog.add(gate.project, title="Say what it is", command="printf 'A thing.\\n' > ABOUT.md")
    gate.later(hours=25)
    shift = run_shift(gate.project)
    assert shift.outcome == "quiet"
    with gate.project.store.read() as tx:
        assert tickets.get(tx, ticket.id).state is State.DONE
        assert tickets.get(tx, review.ticket).state is State.IN_REVIEW
        sent = [entry for entry in ledger.entries(tx, subject="alert") if entry.action == "alert.send"]
    (waiting,) = inbox.pending(gate.project)
    assert (waiting.state, waiting.assigned) == (ReviewState.ESCALATED, "grace")
    assert review.id in channel.heard[0]["message"]
    assert "grace" in channel.heard[0]["message"]
    data = ledger.data(sent[0])
    assert data["sent_to"] == (1 if channel.status == 200 else 0)
    assert "secret-path" not in json.dumps(data)
    notes = report.latest(gate.project).notes
    assert [note for note in notes if review.id in note]
    undelivered = [note for note in notes if note.startswith("an alert was not delivered: ")]
    assert len(undelivered) == (0 if channel.status == 200 else 1), "an alert that nobody got is not silent"
    assert "secret-path" not in "".join(notes)


def test_night_without_a_channel_says_it_in_the_report(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTCREW_NOTIFY", raising=False)
    review = gate.review()
    gate.later(hours=25)
    run_shift(gate.project)
    (note,) = [note for note in report.latest(gate.project).notes if review.id in note]
    assert note == f"{review.id} passed its deadline; asked now: grace"
