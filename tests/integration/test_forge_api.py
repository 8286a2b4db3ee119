"""Requests to a forge: what is tried again, what is not, and what a server cannot make nightcrew do."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.forge_server import forge_server
from tests.github_server import Fault, Github, Pull, Review, github_server

from nightcrew.crew.forge.api import Api
from nightcrew.crew.forge.errors import ForgeAway, ForgeRefused
from nightcrew.reliability import FailureClass, Retry, no_waits

ANY: TypeAdapter[Any] = TypeAdapter(Any)
LIST: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(list[dict[str, Any]])
HEAD = "a" * 40
PATH = f"/repos/octo-org/hello.world/commits/{HEAD}/pulls"


@pytest.fixture
def github() -> Iterator[Github]:
    with github_server() as running, no_waits():
        running.add(Pull(7, HEAD))
        yield running


@pytest.fixture
def api(github: Github) -> Iterator[Api]:
    with Api(github.url, lambda: github.token, token_env="TOKEN") as made:
        yield made


def refusal(api: Api, path: str = PATH) -> ForgeRefused:
    with pytest.raises(ForgeRefused) as caught:
        list(api.every(path, LIST))
    return caught.value


def test_answer_comes_after_a_500_and_a_reset(api: Api, github: Github) -> None:
    github.fail(Fault(status=502))
    github.fail(Fault(how="reset"))
    assert [pull["number"] for pull in api.every(PATH, LIST)] == [7]
    assert len(github.asked) == 3
    assert github.asked[0].headers["authorization"] == f"Bearer {github.token}"


def test_service_that_stays_away_is_left_alone_and_said_to_be(api: Api, github: Github) -> None:
    github.fail(Fault(status=500, times=100))
    for _ in range(4):
        with pytest.raises(ForgeAway) as caught:
            list(api.every(PATH, LIST))
        assert caught.value.exit_status == 75
    assert len(github.asked) <= 8, "the breaker is open"


@pytest.mark.parametrize("status", [403, 429])
def test_rate_limit_is_told_from_a_missing_right_and_not_waited_for(api: Api, github: Github, status: int) -> None:
    github.fail(Fault(status=status, headers={"Retry-After": "3600"}, message="You have exceeded a rate limit"))
    with pytest.raises(ForgeAway) as caught:
        list(api.every(PATH, LIST))
    assert caught.value.failure.kind is FailureClass.RATE_LIMIT
    assert caught.value.failure.retry_after == 3600
    assert len(github.asked) == 1

    github.fail(Fault(status=403, message="Resource not accessible by personal access token"))
    error = refusal(api)
    assert (error.failure.kind, error.status, error.code) == (FailureClass.AUTH, 403, "NC-FORGE")
    assert "TOKEN" in error.hint


def test_rate_limit_that_is_used_up_waits_until_its_reset(api: Api, github: Github) -> None:
    reset = str(int(api.clock().timestamp()) + 600)
    github.fail(Fault(status=403, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, message="no"))
    with pytest.raises(ForgeAway) as caught:
        list(api.every(PATH, LIST))
    assert 500 < (caught.value.failure.retry_after or 0) <= 600


def test_absent_is_no_answer_for_a_rate_limit(api: Api, github: Github) -> None:
    assert api.get("/nothing", ANY, absent={404}) is None
    github.fail(Fault(status=403, headers={"Retry-After": "60"}))
    with pytest.raises(ForgeAway):
        api.get("/nothing", ANY, absent={403})


@pytest.mark.parametrize("lost", [Fault(how="reset"), Fault(status=500), Fault(how="silent")])
def test_what_creates_is_sent_once_when_it_may_have_been_done(tmp_path: Path, lost: Fault) -> None:
    with forge_server(tmp_path) as forge, no_waits(), Api(forge.url, lambda: forge.token) as api:
        forge.issue("It crashes", number=1)
        forge.fail(lost)
        with pytest.raises(ForgeAway):
            api.post("/repos/octo-org/hello.world/issues/1/comments", {"body": "x"}, ANY)
        assert len(forge.asked) == 1
        forge.fail(replace(lost, done=True))
        api.post("/repos/octo-org/hello.world/issues/1/labels", {"labels": ["x"]}, ANY, repeatable=True)
        assert forge.issues[1].labels == ["x"]


def test_what_creates_is_tried_again_where_it_cannot_have_arrived() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tries: list[float] = []
    with Api(f"http://127.0.0.1:{port}", lambda: "token") as api, no_waits():
        api.retry = Retry(attempts=3, on_retry=lambda attempt: tries.append(attempt.delay))
        with pytest.raises(ForgeAway):
            api.post("/repos/x", {}, ANY)
    assert len(tries) == 2


def test_pages_are_read_to_the_end_and_never_on_another_server(api: Api, github: Github) -> None:
    github.page_size = 2
    github.pulls[0].reviews = [Review(n, "ada", "COMMENTED", HEAD) for n in range(1, 6)]
    path = "/repos/octo-org/hello.world/pulls/7/reviews"
    assert [one["id"] for one in api.every(path, LIST)] == [1, 2, 3, 4, 5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightcrew.crew.forge.api.LIST_SECONDS", 0.0)
        with pytest.raises(ForgeAway, match="no end of the list"):
            list(api.every(path, LIST))
    github.next_link = "https://evil.example/repos?page=2"
    assert "another server" in str(refusal(api, path))


@pytest.mark.parametrize("target", ["http://evil.example/x", "//evil.example/x", "file:///etc/passwd"])
def test_redirect_to_another_server_is_not_followed(api: Api, github: Github, target: str) -> None:
    github.fail(Fault(status=301, headers={"Location": target}))
    assert "another server" in str(refusal(api))


def test_renamed_repository_is_found(api: Api, github: Github) -> None:
    github.fail(Fault(status=301, headers={"Location": PATH}))
    assert len(list(api.every("/repos/old/name/pulls", LIST))) == 1


@pytest.mark.parametrize("raw", [b"", b"<html>", b'{"a": 1}', b"[1]", b"\xff"])
def test_answer_of_another_shape_is_refused(api: Api, github: Github, raw: bytes) -> None:
    github.fail(Fault(how="raw", raw=raw))
    assert "something else than is documented" in str(refusal(api))


def test_endless_answer_is_cut_off(api: Api, github: Github, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightcrew.crew.forge.api.MAX_ANSWER_BYTES", 1000)
    github.fail(Fault(how="raw", raw=b"[" + b" " * 100_000 + b"]"))
    assert "too long" in str(refusal(api))


def test_token_is_never_told(github: Github) -> None:
    github.fail(Fault(status=400, message=f"bad header: Bearer {github.token}"))
    with Api(github.url, lambda: github.token, token_env="TOKEN") as api:
        error = refusal(api)
    assert github.token not in f"{error} {error.hint} {error.failure}"
    assert github.token not in repr(api)


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Injected: 1", "ü"])
def test_nothing_is_asked_without_a_token_that_is_one(github: Github, token: str) -> None:
    with Api(github.url, lambda: token, token_env="TOKEN") as api:
        error = refusal(api)
    assert "TOKEN" in str(error)
    assert "nightcrew key add TOKEN" in error.hint
    assert not github.asked


@pytest.mark.parametrize(
    "base", ["http://api.github.com", "ftp://x", "https://a:b@x", "https://x/", "https://x?y", "api.github.com", ""]
)
def test_token_goes_to_no_address_in_the_clear_or_strange(base: str) -> None:
    with pytest.raises(ForgeRefused):
        Api(base, lambda: "token")


def test_gitlab_is_asked_with_its_own_header(github: Github) -> None:
    with Api(github.url, lambda: "glpat", scheme="PRIVATE-TOKEN") as api, pytest.raises(ForgeRefused):
        list(api.every(PATH, LIST))
    assert github.asked[0].headers["private-token"] == "glpat"
    assert "authorization" not in github.asked[0].headers
