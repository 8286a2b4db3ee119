"""nightcrew serve."""

import contextlib
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say

app = typer.Typer(add_completion=False)
APPS = {"serve": app}


@app.command(epilog="Example: nightcrew serve --port 8377")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="port on loopback; 0 takes a free one")] = 8377,
    public_url: Annotated[
        str | None, typer.Option(help="https://... that browsers see, if a proxy with TLS stands before it")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="do not open a browser")] = False,
) -> None:
    """Show the inbox in the browser, on this machine. Enter prints a fresh link, Ctrl-C ends it."""
    import secrets

    from nightcrew.monitoring.pushing import pushing
    from nightcrew.web import scraper
    from nightcrew.web.app import create_app
    from nightcrew.web.serving import Server, listening, open_in_browser, origin_of

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    scraper.token()  # One that cannot be used is told now, not at the first scrape.
    with opened() as project:
        root, private = project.root, project.anchor.directory
    with contextlib.ExitStack() as stack:
        sockets, port = stack.enter_context(listening(port))
        origin = origin_of(public_url, port)
        measured = stack.enter_context(opened())
        stack.enter_context(pushing(measured.store, measured.repository_id))
        token = secrets.token_urlsafe(32)
        web = create_app(root, origin=origin, token=token)

        def ready() -> None:
            link = f"{origin}/enter?token={token}"
            _tell(link, first=True)
            if not (no_open or OPTIONS.json):
                stack.callback(open_in_browser(link, private))
            with contextlib.suppress(
                AttributeError, ValueError
            ):  # in the background, reading the terminal would stop us
                signal.signal(signal.SIGTTIN, signal.SIG_IGN)
            more = threading.Thread(target=_fresh_links, args=(origin, web.state.server.sessions.new_link), daemon=True)
            more.start()

        # Uvicorn ends in good order, and then raises the interrupt that it was ended by.
        with contextlib.suppress(KeyboardInterrupt):
            Server(web, ready).run(sockets)
    if not OPTIONS.json:
        say("The inbox is closed. Nothing is lost.")


def _fresh_links(origin: str, new_link: Callable[[], str]) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        for _ in sys.stdin:
            _tell(f"{origin}/enter?token={new_link()}", first=False)


def _tell(link: str, *, first: bool) -> None:
    if OPTIONS.json:
        sys.stdout.write(json.dumps({"url": link}) + "\n")
    else:
        say(f"The inbox, for one browser:\n\n  {link}\n")
        if first:
            say("The link works once, within the hour. Enter prints a fresh one, Ctrl-C ends.")
    sys.stdout.flush()
