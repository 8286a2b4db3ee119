"""Running the server: on loopback only, with links that open it once."""

import contextlib
import errno
import os
import re
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from nightcrew.approvals import private_files
from nightcrew.model.errors import ConfigurationError, UsageError

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)


class Server(uvicorn.Server):
    """Uvicorn that says when it is ready, and ends the streams of live updates before it waits for connections."""

    def __init__(self, app: FastAPI, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here depends on who the proxy says is asking
                ws="none",
                timeout_graceful_shutdown=2,
                timeout_keep_alive=30,
            )
        )
        self._live = app.state.server.live
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then as uvicorn's."""
        self._live.close()
        await super().shutdown(sockets)


def origin_of(public_url: str | None, port: int) -> str:
    """Scheme, host and port that browsers see: of ``public_url`` if given, else of this machine. Raises UsageError."""
    if public_url is None:
        return f"http://localhost:{port}"
    wrong = UsageError(
        f"{public_url!r} is no address of the form https://host[:port]",
        hint="A proxy that speaks TLS stands before the inbox; name the address that browsers see.",
    )
    try:
        parts = urlsplit(public_url)
        host, own_port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme != "https" or not _HOST.fullmatch(host) or parts.path not in ("", "/") or parts.username:
        raise wrong
    if parts.query or parts.fragment:
        raise wrong
    return f"https://{host}" + (f":{own_port}" if own_port not in (None, 443) else "")


@contextlib.contextmanager
def listening(port: int) -> Iterator[tuple[list[socket.socket], int]]:
    """Sockets on the loopback addresses, both of them where the machine has both, and their port (chosen for port 0).

    A browser may take either address for ``localhost``: another program on the second one could pose as the inbox.
    Raises ConfigurationError if one is taken.
    """
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(_bound(socket.AF_INET, "127.0.0.1", port))
        port = first.getsockname()[1]
        found = [first]
        if _has_ipv6():
            found.append(stack.enter_context(_bound(socket.AF_INET6, "::1", port)))
        yield found, port


def open_in_browser(link: str, directory: Path) -> Callable[[], None]:
    """Open ``link`` in the user's browser, if there is one with a window; gives what tidies up.

    The link stands in a file that only the user can read: on a command line every process could.
    """
    if not _has_window():
        return lambda: None
    page = directory / "open-inbox.html"
    private_files.ensure_directory(directory)
    private_files.replace(
        page, f'<meta http-equiv="refresh" content="0; url={link}"><a href="{link}">inbox</a>'.encode()
    )
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(page.as_uri())
    return lambda: page.unlink(missing_ok=True)


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} of {address} is taken by another program", hint="Name another one with --port."
            ) from None
        raise ConfigurationError(f"port {port} of {address} cannot be used: {error.strerror}") from None
    return made


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _has_window() -> bool:
    if sys.platform.startswith(("darwin", "win")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and "SSH_CONNECTION" not in os.environ
