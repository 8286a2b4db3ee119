"""A scripted model on loopback, for drills of the crew: it speaks Anthropic's Messages protocol, and is asked for real.

A script is a function from what was asked to what is answered. It sees the whole conversation, so that its answer need
not depend on how often a process that was killed asked before.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nightcrew.model.clock import system_clock

_SESSION = re.compile(r"Session (S-\d{4,}), ticket (T-\d{4,})")


@dataclass(frozen=True)
class Reply:
    """What the model answers: a call of a tool, words, or a refusal by its HTTP ``status``."""

    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    status: int = 200
    kind: str = ""
    retry_after: int | None = None


def call(tool: str, **arguments: Any) -> Reply:
    """Call a tool."""
    return Reply(tool=tool, arguments=arguments)


def finish(done: str, *, finished: bool = True) -> Reply:
    """End the work on a ticket."""
    return call("finish", finished=finished, done=done)


def report(done: str) -> Reply:
    """End a review with nothing found."""
    return call("finish", findings=[], done=done)


@dataclass(frozen=True)
class Asked:
    """One request."""

    body: Mapping[str, Any]
    at: datetime

    @property
    def turn(self) -> int:
        """How many answers the model has given in it, from 0."""
        return sum(1 for message in self.body["messages"] if message["role"] == "assistant")

    @property
    def text(self) -> str:
        """All that the model gets to read, as JSON."""
        return json.dumps(self.body, ensure_ascii=False)

    @property
    def first(self) -> str:
        """The text of the first message: what it is asked to do."""
        return said(self.body["messages"][0]["content"])

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return str(self.body["model"])

    @property
    def session(self) -> str:
        """The session that it belongs to, by the words of the prompt; empty if it says none."""
        found = _SESSION.search(said(self.body.get("system", "")))
        return found[1] if found else ""

    @property
    def reviews(self) -> bool:
        """Whether a change is to be looked at, not made: such a work ends with findings."""
        tools = {tool["name"]: tool for tool in self.body.get("tools", [])}
        return "findings" in json.dumps(tools.get("finish", {}))


def said(content: Any) -> str:
    """The text in a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, dict))


Script = Callable[[Asked], Reply]


class Model(ThreadingHTTPServer):
    """Answers by its script; ``asked`` are the requests, ``refused`` how many were not answered."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.asked: list[Asked] = []
        self.refused = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed goes away in the middle: nothing to say."""


@contextmanager
def model(script: Script) -> Iterator[Model]:
    """A model that answers while the context lasts."""
    server = Model(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Model

    def do_POST(self) -> None:
        """A request to the model."""
        asked = Asked(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))), system_clock())
        self.server.asked.append(asked)
        reply = self.server.script(asked)
        if reply.status == 200:
            self._send(200, _message(asked, reply))
            return
        self.server.refused += 1
        error = {"type": reply.kind, "message": reply.text}
        self._send(reply.status, {"type": "error", "error": error}, reply.retry_after)

    def _send(self, status: int, value: Mapping[str, Any], retry_after: int | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def _message(asked: Asked, reply: Reply) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": reply.text}
    if reply.tool:
        identifier = f"toolu_{asked.turn:04d}"
        block = {"type": "tool_use", "id": identifier, "name": reply.tool, "input": dict(reply.arguments)}
    return {
        "id": f"msg_{asked.turn:04d}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [block],
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": len(asked.text) // 4, "output_tokens": 8},
    }
