"""Messages to people: real apprise, real HTTP to a server on loopback."""

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from nightcrew.monitoring import notify
from nightcrew.monitoring.notify import MAX_BODY, MAX_TITLE

USER, PASSWORD, HOOK, HEADER = "ada-7d", "hunter2hunter2", "hook-5f3a7c", "tok-9b1c22"


@dataclass
class Receiver:
    """A webhook: keeps what it got; answers ``status``, after ``seconds``."""

    port: int = 0
    status: int = 200
    seconds: float = 0.0
    got: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{HOOK}?+X-Token={HEADER}"


@contextmanager
def serving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.got.append((self.path, dict(self.headers), body))
            time.sleep(receiver.seconds)
            self.send_response(receiver.status)
            # A server may say back what it was sent.
            self.end_headers()
            self.wfile.write(f"{self.path} {HEADER}".encode())

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as running:
        yield running


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every log record of every library, as a user sees them who asks for all."""
    for name in ("", "apprise", "urllib3"):
        caplog.set_level(1, logger=name)
    return caplog


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        for secret in (PASSWORD, HOOK, HEADER, f"{USER}:", f"{USER}@"):
            assert secret not in text


def test_each_address_gets_the_message_in_plain_text(receiver: Receiver) -> None:
    text = "R-0001 waits.\n<b>bold</b> & *stars* \\n :smile: é\n"
    with serving() as second:
        assert notify([receiver.url, second.url], "Review waits", text) == []
        assert len(second.got) == 1
    [(path, headers, body)] = receiver.got
    assert path == f"/{HOOK}"
    assert headers["X-Token"] == HEADER
    assert headers["Authorization"] == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert body["title"] == "Review waits"
    assert body["message"].strip() == text.strip()


def test_no_address_is_no_problem_and_loads_nothing() -> None:
    program = (
        "import sys; from nightcrew.monitoring import notify; print(notify([], 'a', 'b'), 'apprise' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["[]", "False"]


def test_long_messages_are_cut_and_say_so(receiver: Receiver) -> None:
    assert notify([receiver.url], "t" * 1000, "b" * 100_000) == []
    [(_, _, body)] = receiver.got
    assert len(body["title"]) == MAX_TITLE
    assert body["title"].endswith("t...")
    assert len(body["message"]) == MAX_BODY
    assert body["message"].endswith("The rest is cut; see the report.")
    receiver.got.clear()
    assert notify([receiver.url], "t" * MAX_TITLE, "b" * MAX_BODY) == []
    assert receiver.got[0][2]["message"] == "b" * MAX_BODY


def test_a_server_that_refuses_is_a_problem_without_its_secrets(
    receiver: Receiver, logged: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.status = 500
    with serving() as second:
        problems = notify([receiver.url, second.url], "t", "b")
        assert len(second.got) == 1, "the others get the message all the same"
    assert problems == [f"address 1, JSON at json://127.0.0.1:{receiver.port}, did not take the message (status 500)"]
    assert_no_secret(*problems, logged.text, *capfd.readouterr())


def test_a_server_that_is_down_is_a_problem_without_its_secrets(
    receiver: Receiver, logged: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    down = receiver.url.replace(str(receiver.port), "9")
    problems = notify([down, receiver.url], "t", "b")
    assert problems == ["address 1, JSON at json://127.0.0.1:9, did not take the message"]
    assert len(receiver.got) == 1
    assert_no_secret(*problems, logged.text, *capfd.readouterr())


def test_nothing_is_logged_of_a_message_that_arrives(
    receiver: Receiver, logged: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert notify([receiver.url], "t", "b") == []
    assert_no_secret(logged.text, *capfd.readouterr())


def test_a_server_that_does_not_answer_holds_up_nobody(receiver: Receiver) -> None:
    receiver.seconds = 3.0
    begun = time.monotonic()
    [problem] = notify([receiver.url.replace("?", "?rto=0.3&")], "t", "b")
    assert time.monotonic() - begun < 2.5
    assert "did not take the message" in problem
    assert_no_secret(problem)


@contextmanager
def hanging() -> Iterator[str]:
    """The address of a server that takes a message and answers one byte at a time, without an end."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while not ended.wait(0.05):
                    self.wfile.write(b"a")

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_address[1]}/{HOOK}"
    finally:
        ended.set()
        server.shutdown()
        thread.join()


@pytest.mark.timeout(60)
def test_a_server_that_answers_without_an_end_is_left_to_itself_and_the_others_get_the_message(
    receiver: Receiver, logged: pytest.LogCaptureFixture
) -> None:
    with hanging() as url:
        problems = notify([url, receiver.url], "t", "b", within=1.0)
        assert problems == ["address 1 did not come to an end in time"]
        assert len(receiver.got) == 1
        problems = notify([url, receiver.url], "t", "b", within=1.0)
        assert problems == ["address 1 is still busy with a message before this one"]
        assert len(receiver.got) == 2
    assert_no_secret(*problems, logged.text)


@pytest.mark.parametrize(
    "url",
    [
        "",
        HOOK,
        f"nonsense://{HOOK}",
        f"slack://{HOOK}",
        f"json://:99999999/{HOOK}",
        f"https://example.invalid:x/{HOOK}",
        f"/{HOOK}\n",
    ],
)
def test_what_is_no_address_is_a_problem_that_does_not_show_it(
    receiver: Receiver, logged: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], url: str
) -> None:
    problems = notify([url, receiver.url], "t", "b")
    assert problems == ["address 1 is not one that apprise can read; nothing was sent to it"]
    assert len(receiver.got) == 1
    assert_no_secret(*problems, logged.text, *capfd.readouterr())


def test_a_plugin_that_raises_is_a_problem_and_the_others_get_the_message(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise import Apprise

    send = Apprise.notify

    def broken(self: Apprise, *args: Any, **kwargs: Any) -> Any:
        if ":9/" in self.urls()[0]:
            raise RuntimeError(f"cannot reach {self.urls()[0]}")
        return send(self, *args, **kwargs)

    monkeypatch.setattr(Apprise, "notify", broken)
    problems = notify([receiver.url.replace(str(receiver.port), "9"), receiver.url], "t", "b")
    assert problems == ["address 1, JSON at json://127.0.0.1:9, failed with RuntimeError"]
    assert len(receiver.got) == 1


def test_without_apprise_every_message_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    [problem] = notify([f"json://127.0.0.1:9/{HOOK}", "json://127.0.0.1:9/x"], "t", "b")
    assert "2 addresses" in problem
    assert "not installed" in problem
    assert_no_secret(problem)


def test_a_program_that_uses_apprise_for_itself_keeps_its_logs(
    receiver: Receiver, logged: pytest.LogCaptureFixture
) -> None:
    from apprise import Apprise

    assert notify([receiver.url], "t", "b") == []
    logged.clear()
    receiver.status = 500
    own = Apprise()
    own.add(f"json://127.0.0.1:{receiver.port}/own")
    assert not own.notify("b")
    assert "Failed to send JSON" in logged.text
