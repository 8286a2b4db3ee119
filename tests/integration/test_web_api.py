"""The API against everything that its schema allows and forbids: schemathesis over a running server finds no 5xx."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.gate import prepare

from nightcrew.web import app as web
from nightcrew.web.limits import Limit
from nightcrew.web.serving import Server, listening

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
EXAMPLES = os.environ.get("NIGHTCREW_STORM_EXAMPLES", "12")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)
CONFIGURATION = """
[[operations]]
include-name = "GET /api/reviews/{review_id}"
parameters = { review_id = "R-0002" }
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@contextmanager
def running(root: Path, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server without a limit on attempts, which would answer most of the requests instead of the code behind it."""
    patch.setattr(web, "Limit", partial(_unlimited, Limit))
    with listening(0) as (sockets, port):
        origin = f"http://localhost:{port}"
        app = web.create_app(root, origin=origin, token="t" * 43)
        ready = threading.Event()
        server = Server(app, ready.set)
        thread = threading.Thread(target=server.run, args=(sockets,), daemon=True)
        thread.start()
        assert ready.wait(20)
        yield f"{origin}/enter?token={'t' * 43}"
        server.should_exit = True
        thread.join(20)


def _unlimited(kind, **given):  # type: ignore[no-untyped-def]
    return kind(**{**given, "each": 10**9, "all_": 10**9})


def test_schemathesis_finds_no_server_error_and_no_answer_beside_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = prepare(tmp_path / "home", monkeypatch)
    for severity in ("low", "high", "critical"):
        gate.review(title=f"<b>{severity}</b> \u202e finding", severity=severity)
    gate.reopen()
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with running(gate.home / "repo", monkeypatch) as link:
        parts = urlsplit(link)
        origin = f"{parts.scheme}://{parts.netloc}"
        entered = httpx.get(link, follow_redirects=False)
        cookie = entered.headers["set-cookie"].partition(";")[0]
        (proof,) = parse_qs(urlsplit(entered.headers["location"]).fragment)["proof"]
        done = subprocess.run(
            [
                SCHEMATHESIS,
                "run",
                f"{origin}/openapi.json",
                *("--exclude-path", "/api/events"),  # a stream without an end; see test_web_security
                *("-H", f"Cookie: {cookie}", "-H", f"Origin: {origin}", "-H", f"X-CSRF-Token: {proof}"),
                *("--max-examples", EXAMPLES, "--seed", "5", "--phases", "examples,coverage,fuzzing"),
                *("--checks", CHECKS),
                "--no-color",
            ],
            capture_output=True,
            text=True,
            timeout=240,
            cwd=tmp_path,
        )
        assert httpx.get(f"{origin}/api/reviews", headers={"Cookie": cookie}).status_code == 200, "it still answers"
    assert done.returncode == 0, done.stdout[-6000:]
    [(tried, known)] = re.findall(r"Selected: (\d+)/(\d+)", done.stdout)
    assert int(known) - int(tried) == 1, "every operation but the stream was tried"
    assert "Rate limited" not in done.stdout
    assert "401" not in done.stdout
