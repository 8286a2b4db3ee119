"""The table of faults: each really happens, is told apart, tried as often as it should be, and ends as it should."""

import asyncio
import json
import pickle
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from pydantic import BaseModel

import nightcrew as nc
from nightcrew.reliability import CallTimeoutError, ModelLoadError, RetriesExhaustedError, classify
from tests.faults.loopback import Server, serving


class Record(BaseModel):
    id: str
    amount: float


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def with_urllib(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=0.3) as answer:
        return json.loads(answer.read())


def with_httpx(url: str) -> Any:
    # Nothing of the environment: a proxy there would answer for the server.
    with httpx.Client(timeout=0.3, trust_env=False) as client:
        answer = client.get(url)
    answer.raise_for_status()
    return answer.json()


def with_httpx2(url: str) -> Any:
    with httpx2.Client(timeout=0.3, trust_env=False) as client:
        answer = client.get(url)
    answer.raise_for_status()
    return answer.json()


CLIENTS = [with_urllib, with_httpx, with_httpx2]


class Waits:
    """Takes the place of sleeping, and remembers."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def retry(self, attempts: int = 3) -> nc.Retry:
        return nc.Retry(attempts=attempts, base=0.2, cap=5, deadline=120, rng=random.Random(1), sleep=self.slept.append)


NETWORK = [
    ("/reset", "transient.network", 3, 0.0),
    ("/close", "transient.network", 3, 0.0),
    ("/slow", "transient.timeout", 3, 0.0),
    ("/status/408", "transient.timeout", 3, 0.0),
    ("/status/429", "transient.rate_limit", 3, 0.0),
    ("/limited/7", "transient.rate_limit", 3, 7.0),
    ("/status/503", "transient.overloaded", 3, 0.0),
    ("/status/529", "transient.overloaded", 3, 0.0),
    ("/status/500", "transient.overloaded", 3, 0.0),
    ("/status/504", "transient.timeout", 3, 0.0),
    ("/status/400", "permanent.contract", 1, 0.0),
    ("/status/401", "permanent.auth", 1, 0.0),
    ("/status/403", "permanent.auth", 1, 0.0),
    ("/status/404", "permanent.not_found", 1, 0.0),
]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("path", "kind", "calls", "least"), NETWORK)
def test_network_fault(
    server: Server, client: Callable[[str], Any], path: str, kind: str, calls: int, least: float
) -> None:
    waits = Waits()
    server.calls.clear()
    result = nc.guard(client, retry=waits.retry()).result(server.url + path)
    assert result.status == "failed"
    assert result.failure is not None
    assert result.failure.kind == kind, result.failure
    assert server.calls[path] == result.attempts == calls
    assert len(waits.slept) == calls - 1
    assert all(wait >= least for wait in waits.slept)


def test_fault_that_passes_is_retried_to_success(server: Server) -> None:
    waits = Waits()
    result = nc.guard(with_httpx, retry=waits.retry()).result(f"{server.url}/flaky/2")
    assert (result.status, result.attempts, result.value) == ("accepted", 3, {"score": 0.5})


def test_retry_after_as_a_date_is_honoured(server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError) as raised:
        with_httpx(f"{server.url}/limited-until")
    found = classify(raised.value, clock=lambda: datetime(2026, 11, 27, 2, 0, 0, tzinfo=UTC))
    assert (found.kind, found.retry_after) == ("transient.rate_limit", 30.0)


def test_wait_that_would_pass_the_deadline_is_not_begun(server: Server) -> None:
    waits = Waits()
    result = nc.guard(with_httpx, retry=waits.retry()).result(f"{server.url}/limited/600")
    assert (result.attempts, waits.slept) == (1, [])
    assert result.failure is not None
    assert result.failure.retry_after == 600.0


@pytest.mark.parametrize("client", CLIENTS)
def test_name_that_cannot_be_resolved(client: Callable[[str], Any]) -> None:
    result = nc.guard(client, retry=Waits().retry(2)).result("http://nosuchhost.invalid/")
    assert result.failure is not None
    assert (result.failure.kind, result.attempts) == ("transient.network", 2)


def test_connection_that_nobody_takes() -> None:
    with serving() as gone:
        url = gone.url
    result = nc.guard(with_httpx, retry=Waits().retry(2)).result(url)
    assert result.failure is not None
    assert (result.failure.kind, result.attempts) == ("transient.network", 2)


def test_call_that_does_not_end_is_left_after_its_timeout() -> None:
    result = nc.guard(lambda _: time.sleep(0.4), retry=Waits().retry(2), timeout=0.05).result("x")
    assert result.failure is not None
    assert (result.failure.kind, result.attempts) == ("transient.timeout", 2)
    assert isinstance(result.error, RetriesExhaustedError)
    assert isinstance(result.error.__cause__, CallTimeoutError)


def test_async_call_that_does_not_end_is_cancelled() -> None:
    cancelled = []

    async def endless(_: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    guarded = nc.guard(endless, retry=nc.Retry(attempts=2, base=0), timeout=0.02)
    result: Any = asyncio.run(guarded.result("x"))  # type: ignore[arg-type]
    assert (result.failure.kind, result.attempts, len(cancelled)) == ("transient.timeout", 2, 2)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b'{"id": "a", "amount": 1', "permanent.corrupt", "not JSON"),
        (b"\xff\xfe\x00", "permanent.corrupt", "not UTF-8"),
        (b'{"id": "a", "amount": "much"}', "permanent.contract", "amount: input should be a valid number"),
        (b'{"id": "a", "amount": NaN}', "permanent.contract", "amount: expected a finite number, got nan"),
        (b'{"id": "a", "amount": "-inf"}', "permanent.contract", "amount: expected a finite number, got -inf"),
        (b'{"amount": 1}', "permanent.contract", "id: this field is missing"),
        (b"[]", "permanent.contract", "Record: input should be an object (got list)"),
    ],
)
def test_record_that_cannot_be_worked(data: bytes, kind: str, said: str) -> None:
    calls = []

    def work(text: bytes) -> Any:
        record = nc.Contract(Record).validate_json(text)
        calls.append(record)
        return record

    result = nc.guard(work, retry=Waits().retry()).result(data)
    assert result.failure is not None
    assert result.failure.kind == kind
    assert said in result.failure.message
    assert (result.attempts, calls) == (1, [])


def test_model_file_that_is_missing_goes_to_the_rule(tmp_path: Path) -> None:
    def model(_: str) -> float:
        with (tmp_path / "model.bin").open("rb") as file:
            return float(pickle.load(file))

    result = nc.guard(model, retry=Waits().retry(), fallback=lambda _: 0.1).result("x")
    assert (result.status, result.level, result.value, result.attempts) == ("fallback", 1, 0.1, 2)
    assert "model.bin" in result.reason


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelLoadError("made by version 9"), "permanent.model_load"),
        (pickle.UnpicklingError("invalid load key"), "permanent.model_load"),
        (KeyError("amount"), "bug"),
        (ZeroDivisionError("division by zero"), "bug"),
    ],
)
def test_failure_that_no_retry_mends(error: Exception, kind: str) -> None:
    def work(_: str) -> None:
        raise error

    result = nc.guard(work, retry=Waits().retry()).result("x")
    assert result.failure is not None
    assert (result.failure.kind, result.attempts) == (kind, 1)
    with pytest.raises(type(error)):
        nc.guard(work, retry=Waits().retry())("x")


def test_memory_that_runs_out_is_tried_again() -> None:
    """In a process of its own, under a limit that the kernel holds."""
    code = """
import resource, nightcrew as nc
resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
def hungry(_):
    return len(bytearray(4 << 30))
result = nc.guard(hungry, retry=nc.Retry(attempts=2, base=0), fallback=lambda _: "small").result("x")
print(result.failure.kind, result.attempts, result.status, result.value)
"""
    limit = 2 << 30
    done = subprocess.run(
        [sys.executable, "-c", code.replace("BYTES", str(limit))], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["transient.overloaded", "3", "fallback", "small"], done.stderr


def test_worker_killed_for_its_memory_is_told_from_one_with_a_bug() -> None:
    def child(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    killed = nc.guard(child, retry=Waits().retry(2)).result("import os; os.kill(os.getpid(), 9)")
    broken = nc.guard(child, retry=Waits().retry(2)).result("raise SystemExit(3)")
    assert killed.failure is not None
    assert broken.failure is not None
    assert (killed.failure.kind, killed.attempts) == ("transient.overloaded", 2)
    assert (broken.failure.kind, broken.attempts) == ("bug", 1)
