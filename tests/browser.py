"""A real Chromium without a window, with an authenticator of its own, and the served inbox that it looks at."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

NIGHTCREW = str(Path(sys.executable).with_name("nightcrew"))
expect.set_options(timeout=20_000)  # the two cores of a test machine are shared
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def chromium_path() -> str:
    """Where the browser is; skips the test if there is none, unless this machine has to have one."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("NIGHTCREW_REQUIRE_BROWSER"):
            pytest.fail("no Chromium is installed, and NIGHTCREW_REQUIRE_BROWSER is set")
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, started and ended."""
    path = chromium_path()
    # Its sockets want a short path, whatever the test made of TMPDIR and HOME.
    with tempfile.TemporaryDirectory(prefix="nc", dir="/tmp") as place, sync_playwright() as playwright:
        environment: dict[str, str | float | bool] = {**os.environ, "TMPDIR": place, "HOME": place}
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS, env=environment)
        try:
            yield browser
        finally:
            browser.close()


def authenticator(page: Page, *, verified: bool = True) -> str:
    """Give the page a built-in authenticator that touches for itself; ``verified``: it knows its owner."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": verified,
        "automaticPresenceSimulation": True,
    }
    return str(session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"])


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(
    repo: Path, environment: Mapping[str, str], *, port: int | None = None, more: tuple[str, ...] = ()
) -> Iterator[str]:
    """``nightcrew serve`` as a process of its own; gives the link that opens the inbox once."""
    process = subprocess.Popen(
        [NIGHTCREW, "serve", "--json", "--port", str(port or free_port()), *more],
        cwd=repo,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            raise AssertionError(f"serve ended: {process.stderr.read()}")
        yield str(json.loads(line)["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
