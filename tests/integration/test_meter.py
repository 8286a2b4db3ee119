"""The one way from a coding agent to its model: what it passes on, what it charges, what it never does."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.brain_task import Purse
from tests.model_server import OVERLOADED, Call, ModelServer, Reply, model_server, rate_limited, say

from nightcrew.brains.meter import Meter
from nightcrew.model.errors import BudgetError
from nightcrew.reliability import FailureClass
from nightcrew.sandbox import relay

BODY = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server(script=lambda asked: say("hi")) as server:
        yield server


@pytest.fixture
def purse() -> Purse:
    return Purse(hard=3)


@pytest.fixture
def meter(server: ModelServer, purse: Purse, tmp_path: Path) -> Iterator[Meter]:
    deep = tmp_path / ("a folder whose path is longer than a unix socket's may be " * 3)
    with Meter(purse, upstream=server.url, key="sk-true", place=deep, timeout_seconds=2) as meter:
        yield meter


def ask(
    meter: Meter, path: str = "/v1/messages", *, token: str | None = None, method: str = "POST", **body: Any
) -> tuple[int, Any, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", meter.port, timeout=10)
    headers = {"x-api-key": meter.token if token is None else token, "Content-Type": "application/json"}
    connection.request(method, path, json.dumps({**BODY, **body}) if method == "POST" else None, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    is_json = data.startswith(b"{")
    return answer.status, json.loads(data) if is_json else data.decode(), answer


def test_request_is_charged_and_passed_on_with_the_true_key(meter: Meter, server: ModelServer, purse: Purse) -> None:
    status, answer, _ = ask(meter)
    assert (status, answer["content"][0]["text"]) == (200, "hi")
    assert server.asked[0].headers["x-api-key"] == "sk-true"
    assert meter.token not in json.dumps(server.asked[0].headers)
    [took] = purse.took.values()
    assert (took.input_tokens > 0, took.output_tokens) == (True, 8)


def test_stream_is_passed_on_as_it_comes_and_counted(meter: Meter, purse: Purse) -> None:
    status, answer, _ = ask(meter, stream=True)
    assert status == 200
    assert "event: message_stop" in answer
    assert next(iter(purse.took.values())).output_tokens == 8


def test_each_charged_request_is_told_with_its_seconds_and_its_failure(purse: Purse, tmp_path: Path) -> None:
    told: list[tuple[float, FailureClass | None]] = []
    replies = iter([say("hi"), OVERLOADED])

    def note(seconds: float, failure: FailureClass | None) -> None:
        told.append((seconds, failure))

    with (
        model_server(script=lambda asked: next(replies)) as server,
        Meter(purse, upstream=server.url, key="k", place=tmp_path, timeout_seconds=2, ended=note) as meter,
    ):
        ask(meter)
        ask(meter, "/v1/messages/count_tokens")
        ask(meter, stream=True)
    with Meter(purse, upstream="http://127.0.0.1:9", key="k", place=tmp_path, timeout_seconds=2, ended=note) as meter:
        assert ask(meter)[0] == 502
    assert [failure for _, failure in told] == [None, FailureClass.OVERLOADED, FailureClass.NETWORK]
    assert all(seconds >= 0 for seconds, _ in told)


def test_nothing_passes_at_the_cap(meter: Meter, server: ModelServer, purse: Purse) -> None:
    statuses = [ask(meter)[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 403, 403]
    assert len(server.asked) == len(purse.charged) == 3
    assert isinstance(meter.seen.over, BudgetError)


def test_many_at_once_do_not_pass_the_cap(meter: Meter, server: ModelServer) -> None:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(ask(meter)[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 3
    assert sorted(statuses) == [200] * 3 + [403] * 17


def test_stranger_on_this_machine_cannot_spend(meter: Meter, server: ModelServer, purse: Purse) -> None:
    for token in ("", "sk-true", "nightcrew-", "ü"):
        assert ask(meter, token=token)[0] == 401
    assert (server.asked, purse.charged) == ([], [])


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/batches", "/v1/files", "/v1/organizations/x/api_keys", "/", "/v1/messages/../files",
        "/v1/files/%2e%2e/messages", "/v1/files?x=/v1/messages", "//evil/v1/messages", "http://127.0.0.1:1/v1/messages",
        "http://127.0.0.1:1/v1/messages/x", "/v1/complete", "/v1/models",
    ],
)  # fmt: skip
def test_only_requests_to_a_model_are_passed_on(path: str, meter: Meter, server: ModelServer, purse: Purse) -> None:
    assert ask(meter, path)[0] == 404
    assert (server.asked, server.others, purse.charged) == ([], [], [])


def test_tools_that_reach_out_from_the_service_are_taken_out(meter: Meter, server: ModelServer) -> None:
    tools = [
        {"name": "Bash", "input_schema": {}},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "mcp", "server_url": "https://evil.example"},
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "function", "name": "shell"},
        {"type": ["web_search"], "name": "odd"},
    ]
    ask(meter, tools=tools, mcp_servers=[{"url": "https://evil.example"}])
    assert server.asked[0].tools == ["Bash", "shell"]
    assert "evil.example" not in server.asked[0].text


def test_body_that_two_readers_would_read_differently_is_written_anew(meter: Meter, server: ModelServer) -> None:
    twice = b'"tools": [{"type": "web_search"}], "tools": []'
    body = b'{"model": "m", %b, "messages": [{"role": "user", "content": "x"}]}' % twice
    connection = http.client.HTTPConnection("127.0.0.1", meter.port, timeout=10)
    connection.request("POST", "/v1/messages", body, {"x-api-key": meter.token})
    assert connection.getresponse().status == 200
    assert server.asked[0].body["tools"] == []


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "source": {"type": "url", "url": "https://evil.example/?secret"}}],
        [{"type": "input_image", "image_url": "https://evil.example/?secret"}],
        [{"type": "image_url", "image_url": {"url": "http://evil.example/?secret"}}],
        [{"type": "input_file", "file_url": "https://evil.example/x"}],
        [{"type": "tool_result", "content": [{"type": "document", "source": {"type": "url", "url": "https://e/x"}}]}],
    ],
)
def test_service_is_not_made_to_fetch_an_address(content: Any, meter: Meter, server: ModelServer, purse: Purse) -> None:
    status, answer, _ = ask(meter, messages=[{"role": "user", "content": content}])
    assert (status, server.asked, purse.charged) == (400, [], [])
    assert "not to fetch addresses" in answer["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_model_and_fields_that_search_are_not_passed_on(path: str, meter: Meter, server: ModelServer) -> None:
    assert ask(meter, path, model="gpt-4o-search-preview")[0] == 400
    if path.endswith("count_tokens"):
        return
    ask(meter, web_search_options={}, plugins=[{"id": "web"}], tools=[{"type": "shell", "environment": {}}])
    assert {"web_search_options", "plugins"}.isdisjoint(server.asked[-1].body)
    assert server.asked[-1].body["tools"] == []


def test_figure_that_no_database_holds_is_left_out(meter: Meter, server: ModelServer, purse: Purse) -> None:
    server.script = lambda asked: say(Call("x", {"input_tokens": 10**20, "cache_read_input_tokens": 5}))
    assert ask(meter)[0] == 200
    assert next(iter(purse.took.values())).input_tokens < 10**9


def test_words_about_addresses_are_no_addresses(meter: Meter, server: ModelServer) -> None:
    said = {"type": "tool_use", "id": "1", "name": "Edit", "input": {"url": "https://example.com", "type": "url"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "assistant", "content": [said]},
        {"role": "user", "content": [{"type": "text", "text": "see https://example.com"}, image]},
    ]
    assert ask(meter, messages=messages)[0] == 200
    assert server.asked[0].body["messages"] == messages


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_body_that_is_no_request_is_refused(body: bytes, meter: Meter, purse: Purse) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", meter.port, timeout=10)
    connection.request("POST", "/v1/messages", body, {"x-api-key": meter.token, "Content-Length": str(len(body))})
    assert connection.getresponse().status == 400
    assert purse.charged == []


def test_counting_tokens_is_free(meter: Meter, purse: Purse) -> None:
    assert ask(meter, "/v1/messages/count_tokens")[0] == 200
    assert purse.charged == []


def test_failure_of_the_service_is_passed_on_and_classified(meter: Meter, server: ModelServer) -> None:
    server.script = lambda asked: OVERLOADED
    assert ask(meter)[0] == 529
    server.script = lambda asked: rate_limited(120)
    status, _, answer = ask(meter)
    assert (status, answer.getheader("retry-after")) == (429, "120")
    assert meter.seen.failure is not None
    assert (meter.seen.failure.kind, meter.seen.failure.retry_after) == ("transient.rate_limit", 120.0)
    assert meter.seen.failed_in_a_row == 2


def test_reset_of_a_subscription_is_a_time_to_wait_for(meter: Meter, server: ModelServer) -> None:
    import time

    reset = (("anthropic-ratelimit-unified-reset", str(int(time.time()) + 600)),)
    server.script = lambda asked: Reply(status=429, headers=reset, message="limit", kind="rate_limit_error")
    ask(meter)
    assert meter.seen.failure is not None
    assert meter.seen.failure.retry_after == pytest.approx(600, abs=5)


def test_service_that_breaks_off_or_is_silent_is_no_success(meter: Meter, server: ModelServer, purse: Purse) -> None:
    server.script = lambda asked: Reply(fault="silent")
    assert ask(meter)[0] == 502
    server.script = lambda asked: Reply(fault="cut", blocks=say("x" * 1000).blocks)
    assert ask(meter)[0] == 502
    assert len(purse.charged) == 2
    assert meter.seen.failed_in_a_row == 2


def test_service_that_is_not_there(purse: Purse, tmp_path: Path) -> None:
    with Meter(purse, upstream="http://127.0.0.1:9", key="k", place=tmp_path, timeout_seconds=2) as meter:
        assert ask(meter)[0] == 502
        assert meter.seen.failure is not None
        assert meter.seen.failure.kind == "transient.network"


def test_token_of_a_subscription_is_sent_as_one(server: ModelServer, purse: Purse, tmp_path: Path) -> None:
    with Meter(purse, upstream=server.url, key="sk-ant-oat01-x", place=tmp_path, timeout_seconds=2) as meter:
        ask(meter)
    headers = server.asked[0].headers
    assert headers["authorization"] == "Bearer sk-ant-oat01-x"
    assert "oauth" in headers["anthropic-beta"]
    assert "x-api-key" not in headers


def test_body_without_a_length_is_refused(meter: Meter, purse: Purse) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", meter.port, timeout=10)
    connection.request("POST", "/v1/messages", iter([b"{}"]), {"x-api-key": meter.token}, encode_chunked=True)
    assert connection.getresponse().status == 413
    assert purse.charged == []


@pytest.mark.parametrize("token", ["", "wrong"])
def test_refusal_reaches_an_agent_that_sends_its_body_after_it(token: str, meter: Meter, purse: Purse) -> None:
    """The agent is as late as can be: the whole answer is there before it begins with the body."""
    head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: {token or meter.token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", meter.port), timeout=10) as agent:
        agent.sendall(head.encode())
        answer = b""
        while data := agent.recv(1 << 16):
            answer += data
        agent.sendall(b"x" * (16 << 20))
    assert answer.startswith(b"HTTP/1.1 401 " if token else b"HTTP/1.1 413 ")
    assert purse.charged == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="sandboxes have a network of their own on Linux only")
def test_refusal_reaches_an_agent_in_a_sandbox_that_sends_its_body_after_it(meter: Meter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    agent = f"""
import socket
agent = socket.create_connection(("127.0.0.1", {port}), timeout=10)
agent.sendall(b"POST /v1/messages HTTP/1.1\\r\\n\\r\\n")
while data := agent.recv(1 << 16):
    print(data.decode())
agent.sendall(b"x" * (16 << 20))
"""
    argv = relay.through([sys.executable, "-c", agent], port=port, directory=meter.directory)
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("HTTP/1.1 401 ")


def test_refused_request_leaves_no_body_behind_that_is_taken_for_the_next(meter: Meter, server: ModelServer) -> None:
    inner = json.dumps(BODY)
    smuggled = f"POST /v1/messages HTTP/1.1\r\nx-api-key: {meter.token}\r\nContent-Length: {len(inner)}\r\n\r\n{inner}"
    connection = http.client.HTTPConnection("127.0.0.1", meter.port, timeout=10)
    connection.request("POST", "/v1/messages", smuggled, {"x-api-key": "wrong"})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("connection")) == (401, "close")
    assert server.asked == []
