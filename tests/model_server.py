"""A scripted model on loopback that speaks the Messages protocol, for tests of what real clients do with it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Messages(BaseHTTPRequestHandler):
    server: "ModelServer"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        self.server.requests.append(text)
        tokens = len(text) // 4
        if self.server.overloaded > 0:
            self.server.overloaded -= 1
            self.answer(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        elif tokens > self.server.context:
            message = f"prompt is too long: {tokens} tokens > {self.server.context} maximum"
            self.answer(400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}})
        else:
            self.answer(
                200,
                {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "model": body["model"],
                    "content": [{"type": "text", "text": f"A summary of {tokens} tokens."}],
                    "stop_reason": "end_turn",
                    "stop_sequence": None,
                    "usage": {"input_tokens": tokens, "output_tokens": 8},
                },
            )

    def answer(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class ModelServer(ThreadingHTTPServer):
    """Answers ``/v1/messages``; a prompt of more than ``context`` tokens is refused, as the real one does."""

    daemon_threads = True

    def __init__(self, context: int) -> None:
        super().__init__(("127.0.0.1", 0), _Messages)
        self.context = context
        self.overloaded = 0
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def model_server(context: int = 120_000) -> Iterator[ModelServer]:
    server = ModelServer(context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
