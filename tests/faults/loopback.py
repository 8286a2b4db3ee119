"""A server on loopback that misbehaves as real ones do: each path is one fault."""

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Faulty(BaseHTTPRequestHandler):
    """``/reset``, ``/close``, ``/slow``, ``/status/N``, ``/limited/SECONDS``, ``/limited-until``, ``/flaky/N``."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.calls[self.path] += 1
        _, what, *rest = self.path.split("/")
        if what == "reset":
            # Closing with a linger time of zero sends a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif what == "close":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif what == "slow":
            time.sleep(1.0)
            self.answer(200)
        elif what == "status":
            self.answer(int(rest[0]))
        elif what == "limited":
            self.answer(429, {"Retry-After": rest[0]})
        elif what == "limited-until":
            self.answer(429, {"Retry-After": "Fri, 27 Nov 2026 02:00:30 GMT"})
        elif what == "flaky":
            self.answer(503 if self.server.calls[self.path] <= int(rest[0]) else 200)
        else:
            self.answer(200)

    def answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"score": 0.5}).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    """Counts calls by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Faulty)
        self.calls: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what is tested."""


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
