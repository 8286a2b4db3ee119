"""The one way from a coding agent to its model: a proxy on loopback that charges each request before it passes it on.

The agent runs in a sandbox without a network, with a token that only this proxy knows in place of a key. So it cannot
send a request that was not charged, its own retries included; it cannot read the key; and it can reach nothing else.
"""

import contextlib
import hmac
import http.client
import json
import os
import re
import secrets
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from nightcrew.brains.passable import is_counting, is_question, is_request, without_reach
from nightcrew.brains.protocol import MustStop, Spent, Turns
from nightcrew.model.errors import BudgetError, NightcrewError, UsageError
from nightcrew.monitoring import telemetry
from nightcrew.reliability import Failure, FailureClass, classify
from nightcrew.sandbox import relay

MAX_BODY = 64 << 20
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "host", "content-length", "authorization", "x-api-key", "accept-encoding",
    }
)  # fmt: skip
_INPUT = (b"input_tokens", b"prompt_tokens", b"cache_creation_input_tokens", b"cache_read_input_tokens")
_USAGE = re.compile(
    rb'"(input_tokens|output_tokens|prompt_tokens|completion_tokens|cache_creation_input_tokens|cache_read_input_tokens)"'
    rb"\s*:\s*(\d{1,9})(?!\d)"
)
_AT_ONCE = 16
_MANY_REQUESTS = 429
_ERRORS = 400
_WAITING = 128  # Connections not accepted yet; of more than Python's 5 at once some would be reset.
_LINGER_SECONDS = 10.0


@dataclass
class Seen:
    """What the proxy saw: why it would pass on nothing more, and the last failure of the service."""

    over: BudgetError | MustStop | None = None
    failure: Failure | None = None
    requests: int = 0
    failed_in_a_row: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Meter:
    """A proxy for one task; use it as a context manager. ``upstream`` is the service's address, ``key`` its key.

    ``token`` is what the agent must present; ``port`` the TCP port on 127.0.0.1; ``directory`` holds the unix socket
    through which a sandbox reaches it (see ``sandbox.relay``). ``ended`` is told of each charged request how many
    seconds it took, and its failure.
    """

    def __init__(
        self,
        turns: Turns,
        *,
        upstream: str,
        key: str,
        place: Path,
        timeout_seconds: float,
        ended: Callable[[float, FailureClass | None], None] = lambda _seconds, _failure: None,
    ) -> None:
        self.seen = Seen()
        self.room = threading.BoundedSemaphore(_AT_ONCE)
        self.token = f"nightcrew-{secrets.token_urlsafe(24)}"
        self.directory = place / "meter"
        self.turns = turns
        self._ended = ended
        self.upstream: SplitResult = urlsplit(upstream.rstrip("/"))
        self.key = key
        self.timeout = timeout_seconds
        self.within = telemetry.here()
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Begin to listen."""
        self.directory.mkdir(parents=True, exist_ok=True)
        tcp = _TcpServer(("127.0.0.1", 0), _TcpHandler)
        tcp.meter = self
        self.port: int = tcp.server_address[1]
        self._serve(tcp)
        if hasattr(os, "pidfd_open"):  # Linux: sandboxes have a network of their own there.
            self._serve(self._unix())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._closing.close()

    @property
    def url(self) -> str:
        """The service's address as the agent is given it."""
        return f"http://127.0.0.1:{self.port}{self.upstream.path}"

    def _unix(self) -> "_UnixServer":
        (self.directory / relay.SOCKET).unlink(missing_ok=True)
        # A socket's path has at most 107 bytes; through the folder's descriptor any place will do.
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            server = _UnixServer(f"/proc/self/fd/{folder}/{relay.SOCKET}", _Handler)
        finally:
            os.close(folder)
        server.meter = self
        return server

    def _serve(self, server: "_TcpServer | _UnixServer") -> None:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="meter", daemon=True)
        thread.start()
        self._closing.callback(thread.join)
        self._closing.callback(server.server_close)
        self._closing.callback(server.shutdown)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request presents the token: another process of this machine cannot spend the budget."""
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self.token.encode())

    def charge(self) -> str:
        """Charge one request; gives its name. Raises BudgetError or MustStop, and then for good."""
        with self.seen.lock:
            if self.seen.over is not None:
                raise self.seen.over
            name = f"request {self.seen.requests + 1} {uuid.uuid4().hex[:12]}"
            try:
                self.turns.charge(name)
            except (BudgetError, MustStop) as error:
                self.seen.over = error
                raise
            self.seen.requests += 1
            return name

    def answered(self, status: int, headers: Mapping[str, str], body: bytes, seconds: float) -> None:
        """Note how the service answered a charged request, after how many seconds."""
        self.turns.alive()
        if status < _ERRORS:
            self.seen.failed_in_a_row = 0
            self._ended(seconds, None)
            return
        self.seen.failed_in_a_row += 1
        self.seen.failure = classify(_Refused(status, headers, body))
        self._ended(seconds, self.seen.failure.kind)

    def unreachable(self, error: Exception, seconds: float | None) -> None:
        """Note that the service did not answer; ``seconds`` is None for a request that was not charged."""
        self.seen.failed_in_a_row += 1
        self.seen.failure = classify(error)
        if seconds is not None:
            self._ended(seconds, self.seen.failure.kind)


class _Refused(Exception):
    """An answer of the service that is an error, in the form in which errors are classified."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(_message_of(body) or f"the model's service answered {status}")
        self.status_code = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        reset = self.headers.get("anthropic-ratelimit-unified-reset", "")
        if status == _MANY_REQUESTS and reset.isdigit() and "retry-after" not in self.headers:
            self.retry_after = max(0.0, int(reset) - time.time())


def _message_of(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:500]
    except (ValueError, KeyError, TypeError):
        return ""


class _TcpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = _WAITING
    meter: Meter

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that goes away in the middle of an answer is no error of ours."""


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = _WAITING
    meter: Meter

    def handle_error(self, request: Any, client_address: Any) -> None:
        """See above."""

    def get_request(self) -> tuple[Any, Any]:
        """A unix socket has no address to show; the handler wants one."""
        return self.socket.accept()[0], ("agent", 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_TcpServer | _UnixServer"
    timeout = 600

    def do_POST(self) -> None:
        """Charge and pass on a request to a model."""
        if not self._admitted():
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self._refuse(413, "invalid_request_error", "a body of a stated length, of at most 64 MiB, is needed")
            return
        with self.server.meter.room:
            body = self.rfile.read(int(length))
            path = self._own_path()
            if not is_request(path) and not is_counting(path):
                self._refuse(404, "not_found_error", "only requests to a model are passed on")
                return
            try:
                passed = without_reach(body)
            except UsageError as error:
                self._refuse(400, "invalid_request_error", f"nightcrew: {error}")
                return
            self._pass_on(passed, charged=is_request(path))

    def do_GET(self) -> None:
        """Pass on a question about models."""
        if not self._admitted():
            return
        if is_question(self._own_path()):
            with self.server.meter.room:
                self._pass_on(b"", charged=False)
        else:
            self._refuse(404, "not_found_error", "only requests to a model are passed on")

    def do_HEAD(self) -> None:
        """Agents look whether somebody is there."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _own_path(self) -> str:
        """The path without the service's own prefix and without a query."""
        path, prefix = self.path.partition("?")[0], self.server.meter.upstream.path
        return path.removeprefix(prefix) if path.startswith(prefix) else ""

    def _admitted(self) -> bool:
        if self.server.meter.admits({name.lower(): value for name, value in self.headers.items()}):
            return True
        self._refuse(401, "authentication_error", "this address serves one session of nightcrew alone")
        return False

    def _pass_on(self, body: bytes, *, charged: bool) -> None:
        meter = self.server.meter
        name = ""
        if charged:
            try:
                name = meter.charge()
            except NightcrewError as error:
                self._refuse(403, "permission_error", f"nightcrew: {error}")
                return
        asked = _told(meter, self._own_path(), body) if charged and telemetry.is_on() else {}
        traced = telemetry.span("chat", **asked) if asked else contextlib.nullcontext(None)
        self._sent = time.monotonic()
        try:
            with telemetry.under(meter.within), traced as self._span, _connected(meter) as connection:
                connection.request(self.command, self.path, body or None, _headers(self.headers, meter))
                self._give_back(connection.getresponse(), name)
        except (OSError, http.client.HTTPException) as error:
            meter.unreachable(error, time.monotonic() - self._sent if charged else None)
            if not self._begun:
                self._refuse(502, "api_error", f"the model's service did not answer: {type(error).__name__}")
            self.close_connection = True

    _begun = False
    _sent = 0.0
    _span: telemetry.Span | None = None

    def _give_back(self, response: http.client.HTTPResponse, name: str) -> None:
        """Pass the answer on: whole if its length is known, as it comes if not.

        What it took is noted before the agent has the end of it. One that breaks off does so for the agent too.
        """
        whole = response.read() if response.length is not None else None
        self._begun = True
        self.send_response(response.status)
        for header, value in response.getheaders():
            if header.lower() not in _HOP_BY_HOP:
                self.send_header(header, value)
        if whole is not None:
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self._note(response, name, _spent(_counted(whole, {})), whole)
            self._write(whole)
        else:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._note(response, name, self._streamed(response), b"")
            self._write(b"0\r\n\r\n")
        self._begun = False

    def _streamed(self, response: http.client.HTTPResponse) -> Spent:
        took: dict[bytes, int] = {}
        tail = b""
        while data := response.read1(1 << 16):
            self._write(b"%x\r\n%b\r\n" % (len(data), data))
            self.server.meter.turns.alive()
            _counted(tail + data, took)
            tail = data[-64:]
        return _spent(took)

    def _write(self, data: bytes) -> None:
        """To the agent, if it still listens: that it does not is no failure of the service, whose answer is counted."""
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _note(self, response: http.client.HTTPResponse, name: str, took: Spent, body: bytes) -> None:
        if self._span is not None:
            self._span.set(
                **{
                    "gen_ai.usage.input_tokens": took.input_tokens, "gen_ai.usage.output_tokens": took.output_tokens,
                    "http.response.status_code": response.status,
                }
            )  # fmt: skip
            if response.status >= _ERRORS:
                self._span.failed(str(response.status))
        if name:
            self.server.meter.turns.spent(name, took)
            seconds = time.monotonic() - self._sent
            self.server.meter.answered(response.status, dict(response.getheaders()), body, seconds)

    def _refuse(self, status: int, kind: str, message: str) -> None:
        """Answer with an error, and close: a body that was not read must not be taken for the next request."""
        self.close_connection = True
        data = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def finish(self) -> None:
        """Read on until the agent closes: a close over bytes not read resets, and an answer is lost (RFC 9112, 9.6)."""
        super().finish()
        until = time.monotonic() + _LINGER_SECONDS
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left := until - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(1 << 16):
                    break

    def log_message(self, *_: Any) -> None:
        """What is asked is in the journal and the ledger, not in a log."""


class _TcpHandler(_Handler):
    disable_nagle_algorithm = True  # Headers and body are two writes: with it, each answer would wait 40 ms.


def _counted(data: bytes, took: dict[bytes, int]) -> dict[bytes, int]:
    """Usage as it goes by, in any of the protocols: the largest figure of each kind is the last."""
    for kind, number in _USAGE.findall(data):
        took[kind] = max(took.get(kind, 0), int(number))
    return took


def _spent(took: dict[bytes, int]) -> Spent:
    into = sum(took.get(kind, 0) for kind in _INPUT)
    return Spent(into, max(took.get(b"output_tokens", 0), took.get(b"completion_tokens", 0)))


def _told(meter: Meter, path: str, body: bytes) -> dict[str, telemetry.Value]:
    """What is told of a request in its span: which model of whom, nothing of what is said."""
    try:
        model = json.loads(body).get("model")
    except (ValueError, AttributeError):
        model = None
    return {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic" if "messages" in path else "openai",
        "gen_ai.request.model": str(model)[:200] if model else None, "server.address": meter.upstream.hostname,
    }  # fmt: skip


def _headers(given: Any, meter: Meter) -> dict[str, str]:
    """The agent's headers with the true key in place of the token; answers come uncompressed, so that we can count."""
    kept = {name: value for name, value in given.items() if name.lower() not in _HOP_BY_HOP}
    bearer = "authorization" in {name.lower() for name in given}
    if meter.key.startswith("sk-ant-oat"):  # A subscription's token is a bearer token, and says so.
        beta = next((kept.pop(name) for name in list(kept) if name.lower() == "anthropic-beta"), "")
        kept["anthropic-beta"] = ",".join(filter(None, [beta, "oauth-2025-04-20"]))
        bearer = True
    return {**kept, **({"Authorization": f"Bearer {meter.key}"} if bearer else {"x-api-key": meter.key})}


@contextlib.contextmanager
def _connected(meter: Meter) -> Iterator[http.client.HTTPConnection]:
    """A connection to the service, by the proxy of the environment if there is one."""
    to = meter.upstream
    host, port = to.hostname or "", to.port
    proxy = None if proxy_bypass(host) else getproxies().get(to.scheme)
    through = urlsplit(proxy) if proxy and host not in ("127.0.0.1", "localhost", "::1") else None
    first = (through.hostname or "", through.port) if through else (host, port)
    connection: http.client.HTTPConnection
    if to.scheme == "https":
        connection = http.client.HTTPSConnection(*first, timeout=meter.timeout, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(*first, timeout=meter.timeout)
    if through:
        connection.set_tunnel(host, port or (443 if to.scheme == "https" else 80))
    try:
        yield connection
    finally:
        connection.close()


__all__ = ["Meter"]
