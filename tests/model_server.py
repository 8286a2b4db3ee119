"""A scripted model on loopback that speaks the real protocols, for tests of what real clients do with it.

Anthropic Messages, OpenAI chat completions and OpenAI Responses, streaming and not. A script is a function from what
was asked to what is answered; it sees the whole conversation, so that an answer depends on the conversation alone and
not on how often the client, or a process that was killed, asked before.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Protocol = Literal["messages", "chat", "responses", "gemini"]


@dataclass(frozen=True)
class Text:
    """The model says something."""

    text: str


@dataclass(frozen=True)
class Call:
    """The model calls a tool. ``raw`` is sent in place of the JSON of ``arguments``."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    raw: str | None = None

    @property
    def json(self) -> str:
        return json.dumps(self.arguments) if self.raw is None else self.raw


@dataclass(frozen=True)
class Reply:
    """An answer: what the model says, or an error by its HTTP ``status``.

    ``fault``: ``cut`` breaks the connection off in the middle, ``drip`` sends a byte every ``delay`` seconds,
    ``silent`` never answers. ``delay``: seconds before the answer begins.
    """

    blocks: Sequence[Text | Call] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    message: str = ""
    kind: str = ""
    fault: Literal["", "cut", "drip", "silent"] = ""
    delay: float = 0.0
    stop: str = ""


def say(*blocks: Text | Call | str) -> Reply:
    """A normal turn."""
    return Reply([Text(block) if isinstance(block, str) else block for block in blocks])


def rate_limited(seconds: float) -> Reply:
    return Reply(
        status=429, headers=(("retry-after", str(seconds)),), message="Too many requests", kind="rate_limit_error"
    )


OVERLOADED = Reply(status=529, message="Overloaded", kind="overloaded_error")
BROKEN = Reply(status=500, message="Internal server error", kind="api_error")


@dataclass(frozen=True)
class Asked:
    """One request: which protocol, its body, its headers, and how many turns the model has had in it."""

    protocol: Protocol
    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    at: float = field(default_factory=time.time)

    @property
    def items(self) -> list[Any]:
        name = {"responses": "input", "gemini": "contents"}.get(self.protocol, "messages")
        found: list[Any] = self.body[name]
        return found if isinstance(found, list) else [{"role": "user", "content": found}]

    @property
    def turn(self) -> int:
        """From 0. In the Responses protocol each call is an item of its own."""
        if self.protocol == "responses":
            return sum(1 for item in self.items if item.get("type") in ("function_call", "custom_tool_call"))
        return sum(1 for item in self.items if item["role"] in ("assistant", "model"))

    @property
    def text(self) -> str:
        """Everything that the model gets to read."""
        return json.dumps(self.body, ensure_ascii=False)

    @property
    def last(self) -> str:
        """The last message, as JSON."""
        return json.dumps(self.items[-1], ensure_ascii=False)

    @property
    def session(self) -> str | None:
        """The nightcrew session that it belongs to, by the prompt's own word."""
        found = re.search(r"Session (S-\d{4,}), ticket", self.text)
        return found[1] if found else None

    @property
    def tools(self) -> list[str]:
        """The names of the tools on offer."""
        given = self.body.get("tools") or []
        if self.protocol == "gemini":
            return [one["name"] for tool in given for one in tool.get("functionDeclarations", [])]
        return [tool.get("name") or tool.get("function", {}).get("name", "") for tool in given]


Script = Callable[[Asked], Reply]


def steps(*replies: Reply) -> Script:
    """Answer turn by turn; after the last, the last again."""

    def script(asked: Asked) -> Reply:
        return replies[min(asked.turn, len(replies) - 1)]

    return script


def summarising(context: int) -> Script:
    """Answers with a summary; a prompt of more than ``context`` tokens is refused, as the real one does."""

    def script(asked: Asked) -> Reply:
        content = asked.body["messages"][-1]["content"]
        tokens = len(content if isinstance(content, str) else json.dumps(content)) // 4
        if tokens > context:
            return too_long(tokens, context)
        return say(f"A summary of {tokens} tokens.")

    return script


def too_long(tokens: int, context: int) -> Reply:
    message = f"prompt is too long: {tokens} tokens > {context} maximum"
    return Reply(status=400, message=message, kind="invalid_request_error")


class ModelServer(ThreadingHTTPServer):
    """Answers by its script and keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.overloaded = 0
        self.asked: list[Asked] = []
        self.others: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def requests(self) -> list[Any]:
        """The last message's content of each request."""
        return [asked.items[-1]["content"] for asked in self.asked]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what is tested."""


@contextmanager
def model_server(context: int = 120_000, script: Script | None = None) -> Iterator[ModelServer]:
    server = ModelServer(script or summarising(context))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


_PATHS: dict[str, Protocol] = {
    "/messages": "messages",
    "/chat/completions": "chat",
    "/responses": "responses",
    ":generateContent": "gemini",
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer

    def do_GET(self) -> None:
        self.server.others.append(self.path)
        self._send(404, {"error": {"message": "nothing here", "type": "not_found_error"}})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        protocol = next((found for end, found in _PATHS.items() if path.endswith(end)), None)
        if protocol is None:
            self.server.others.append(self.path)
            if path.endswith("/count_tokens"):
                self._send(200, {"input_tokens": len(data) // 4})
            else:
                self._send(404, {"error": {"message": "nothing here", "type": "not_found_error"}})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(protocol, json.loads(data), headers, self.path)
        self.server.asked.append(asked)
        if self.server.overloaded > 0:
            self.server.overloaded -= 1
            self._answer(asked, OVERLOADED)
        else:
            self._answer(asked, self.server.script(asked))

    def _answer(self, asked: Asked, reply: Reply) -> None:
        time.sleep(reply.delay if reply.fault != "drip" else 0)
        if reply.fault == "silent":
            with suppress(OSError):
                self.connection.recv(1)
            self.close_connection = True
            return
        if reply.status != 200:
            error = {"type": reply.kind or "api_error", "message": reply.message}
            body: dict[str, Any] = (
                {"type": "error", "error": error} if asked.protocol == "messages" else {"error": error}
            )
            if asked.protocol == "gemini":
                body = {"error": {"code": reply.status, "message": reply.message, "status": "UNAVAILABLE"}}
            self._send(reply.status, body, reply.headers)
            return
        tokens = len(asked.text) // 4
        write = {"messages": messages_body, "chat": chat_body, "responses": responses_body, "gemini": gemini_body}[
            asked.protocol
        ]
        body = write(asked, reply, tokens)
        if not asked.body.get("stream"):
            self._send(200, body, reply.headers, reply)
            return
        stream = {"messages": messages_events, "chat": chat_events, "responses": responses_events}[asked.protocol]
        self._stream(list(stream(body)), reply)

    def _send(
        self, status: int, value: dict[str, Any], headers: Sequence[tuple[str, str]] = (), reply: Reply | None = None
    ) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, content in (("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers):
            self.send_header(name, content)
        self.end_headers()
        if reply is None or not reply.fault:
            if self.command != "HEAD":
                self.wfile.write(data)
        elif reply.fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(reply.delay)

    def _stream(self, events: list[str], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for number, event in enumerate(events):
            if reply.fault == "cut" and number >= len(events) // 2:
                return
            self.wfile.write(event.encode())
            self.wfile.flush()
            if reply.fault == "drip":
                time.sleep(reply.delay)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


# --- Anthropic Messages ---------------------------------------------------------------------------------------------


def messages_body(asked: Asked, reply: Reply, tokens: int) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for number, block in enumerate(reply.blocks):
        if isinstance(block, Text):
            content.append({"type": "text", "text": block.text})
        else:
            value = json.loads(block.json) if block.raw is None else block.raw
            identifier = f"toolu_{asked.turn:04d}_{number}"
            content.append({"type": "tool_use", "id": identifier, "name": block.name, "input": value})
    calls = any(isinstance(block, Call) for block in reply.blocks)
    return {
        "id": f"msg_{asked.turn:04d}",
        "type": "message",
        "role": "assistant",
        "model": asked.body["model"],
        "content": content,
        "stop_reason": reply.stop or ("tool_use" if calls else "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": tokens, "output_tokens": 8},
    }


def messages_events(body: dict[str, Any]) -> Iterator[str]:
    def event(kind: str, **data: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"

    usage = {"input_tokens": body["usage"]["input_tokens"], "output_tokens": 1}
    yield event("message_start", message={**body, "content": [], "stop_reason": None, "usage": usage})
    for index, block in enumerate(body["content"]):
        if block["type"] == "text":
            yield event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            delta: dict[str, Any] = {"type": "text_delta", "text": block["text"]}
        else:
            given = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
            yield event("content_block_start", index=index, content_block={**block, "input": {}})
            delta = {"type": "input_json_delta", "partial_json": given}
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    ended = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": body["usage"]["output_tokens"]})
    yield event("message_stop")


# --- OpenAI chat completions ----------------------------------------------------------------------------------------


def chat_body(asked: Asked, reply: Reply, tokens: int) -> dict[str, Any]:
    said = "".join(block.text for block in reply.blocks if isinstance(block, Text))
    calls = [
        {
            "id": f"call_{asked.turn:04d}_{number}",
            "type": "function",
            "function": {"name": block.name, "arguments": block.json},
        }
        for number, block in enumerate(reply.blocks)
        if isinstance(block, Call)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": said or None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return {
        "id": f"chatcmpl-{asked.turn:04d}",
        "object": "chat.completion",
        "created": 1_795_737_600,
        "model": asked.body["model"],
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": reply.stop or ("tool_calls" if calls else "stop"),
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 8, "total_tokens": tokens + 8},
    }


def chat_events(body: dict[str, Any]) -> Iterator[str]:
    choice = body["choices"][0]
    base = {**body, "object": "chat.completion.chunk"}
    usage = base.pop("usage")

    def chunk(delta: dict[str, Any], reason: str | None = None) -> str:
        one = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return f"data: {json.dumps({**base, 'choices': [one]})}\n\n"

    message = choice["message"]
    yield chunk({"role": "assistant", "content": message["content"] or ""})
    for index, call in enumerate(message.get("tool_calls", [])):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, choice["finish_reason"])
    yield f"data: {json.dumps({**base, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


# --- Gemini ---------------------------------------------------------------------------------------------------------


def gemini_body(asked: Asked, reply: Reply, tokens: int) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"text": block.text}
        if isinstance(block, Text)
        else {"functionCall": {"id": f"fc_{asked.turn:04d}_{number}", "name": block.name, "args": block.arguments}}
        for number, block in enumerate(reply.blocks)
    ]
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": tokens, "candidatesTokenCount": 8, "totalTokenCount": tokens + 8},
        "modelVersion": "gemini-3-pro",
        "responseId": f"r{asked.turn:04d}",
    }


# --- OpenAI Responses -----------------------------------------------------------------------------------------------


def responses_body(asked: Asked, reply: Reply, tokens: int) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    for number, block in enumerate(reply.blocks):
        name = f"{asked.turn:04d}_{number}"
        if isinstance(block, Text):
            content = [{"type": "output_text", "text": block.text, "annotations": []}]
            output.append(
                {"type": "message", "id": f"msg_{name}", "role": "assistant", "status": "completed", "content": content}
            )
        else:
            output.append(
                {
                    "type": "function_call",
                    "id": f"fc_{name}",
                    "call_id": f"call_{name}",
                    "name": block.name,
                    "arguments": block.json,
                    "status": "completed",
                }
            )
    return {
        "id": f"resp_{asked.turn:04d}",
        "object": "response",
        "created_at": 1_795_737_600,
        "model": asked.body["model"],
        "status": "completed",
        "output": output,
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 8,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens + 8,
        },
    }


def responses_events(body: dict[str, Any]) -> Iterator[str]:
    def event(kind: str, **data: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"

    yield event("response.created", response={**body, "status": "in_progress", "output": [], "usage": None})
    for index, item in enumerate(body["output"]):
        yield event("response.output_item.added", output_index=index, item={**item, "status": "in_progress"})
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=body)
