"""A channel of alerts on this machine: it takes messages, and keeps what they said."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from nightcrew.readiness.drills.protocol import NotApplicable


class Listener:
    """Answers on a port of the loopback while it is entered; ``received`` are the bodies, in order.

    Raises NotApplicable in a sandbox that has no loopback.
    """

    def __init__(self, port: int = 0) -> None:
        received: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                received.append(self.rfile.read(length).decode("utf-8", "replace"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self.received = received
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except PermissionError:
            why = "the sandbox of this machine, which permits no namespaces, refuses even the loopback, where a channel"
            raise NotApplicable(f"{why} would answer") from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """Where it answers."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def dead_port() -> int:
    """A port of the loopback where nothing answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
