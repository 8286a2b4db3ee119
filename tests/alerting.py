"""A store with measures and a clock that the test moves; a webhook and a mail server on loopback."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nightcrew.monitoring.alerts.evaluate import Evaluation
from nightcrew.monitoring.alerts.watch import Watcher
from nightcrew.monitoring.metrics import Recorder
from nightcrew.store import alert_messages, alerts, ledger
from nightcrew.store.alert_messages import Message
from nightcrew.store.alerts import Alert
from nightcrew.store.store import Store

KEY = b"k" * 32
START = datetime(2026, 1, 5, 7, 0, 30, tzinfo=UTC)


@dataclass
class Webhook:
    """Keeps what it was sent; answers ``status``."""

    port: int = 0
    status: int = 200
    seconds: float = 0.0
    got: list[dict[str, Any]] = field(default_factory=list)
    begun: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address as apprise reads it."""
        return f"json://127.0.0.1:{self.port}/hook-5f3a7c"

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.got]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One that runs meanwhile."""
    made = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.begun.append(message)
            time.sleep(made.seconds)
            if made.status < 300:
                made.got.append(message)
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mail:
    """Keeps the mails that it took."""

    port: int = 0
    got: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address as apprise reads it."""
        return f"mailto://127.0.0.1:{self.port}?mode=insecure&from=night@example.com&to=ada@example.com"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(envelope.content.decode())
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[Mail]:
    """A real SMTP server that runs meanwhile."""
    from aiosmtpd.controller import Controller

    with socket.socket() as probe:  # It connects to its own port to see that it runs, and so must know it.
        probe.bind(("127.0.0.1", 0))
        made = Mail(probe.getsockname()[1])
    controller = Controller(made, hostname="127.0.0.1", port=made.port)
    controller.start()
    try:
        yield made
    finally:
        controller.stop()


@dataclass
class Bench:
    """A store in ``home``, its clock, a recorder, and the watcher of it."""

    home: Path
    url: str = ""
    now: datetime = START

    def __post_init__(self) -> None:
        self.state = self.home / ".nightcrew"
        self.state.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.url or f"sqlite:///{self.state}/nightcrew.db", seal_key=KEY, clock=lambda: self.now)
        self.recorder = Recorder(lambda: self.now)
        self.watcher = self.another()

    def another(self) -> Watcher:
        """Another one that watches the same store."""
        return Watcher(self.store, self.state)

    def settings(self, text: str) -> None:
        (self.home / "nightcrew.toml").write_text(text)

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def records(self, accepted: int, failed: int = 0, pipeline: str = "fraud") -> None:
        """Measure records of a pipeline."""
        subject = f"pipeline:{pipeline}"
        if accepted:
            self.recorder.count("records", subject, accepted, state="accepted")
        if failed:
            self.recorder.count("records", subject, failed, state="waiting_retry")
            self.recorder.count("errors", subject, failed, **{"class": "transient.timeout"})
        self.recorder.flush(self.store)

    def count(self, name: str, subject: str, value: float = 1, **labels: str) -> None:
        self.recorder.count(name, subject, value, **labels)
        self.recorder.flush(self.store)

    def gauge(self, name: str, subject: str, value: float, **labels: str) -> None:
        self.recorder.gauge(name, subject, value, **labels)
        self.recorder.flush(self.store)

    def look(self) -> Evaluation:
        """One evaluation."""
        return self.watcher.look()

    @property
    def open(self) -> list[Alert]:
        with self.store.read() as tx:
            return alerts.open_ones(tx)

    @property
    def firing(self) -> list[str]:
        """The rules that fire."""
        return [one.rule for one in self.open if one.state != "pending"]

    @property
    def outbox(self) -> list[Message]:
        """Every message, oldest first."""
        with self.store.read() as tx:
            return [*reversed(alert_messages.list(tx))]

    def actions(self) -> list[str]:
        """What the ledger has of alerts."""
        with self.store.read() as tx:
            return [entry.action for entry in ledger.entries(tx) if entry.action.startswith("alert.")]

    def close(self) -> None:
        self.store.close()
