"""The outermost layer of the server: who may ask for what, before any of the application runs.

It checks the host (against DNS rebinding), the method, the session, the origin and the proof of what changes something
(against cross-site requests), and the size of the body; puts the security headers on every answer; and turns an
unexpected error into a page with a number. Sources: the OWASP cheat sheets "Cross-Site Request Forgery Prevention" and
"Session Management", https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Fetch-Site.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from nightcrew.web import scraper
from nightcrew.web.headers import SECURITY_HEADERS
from nightcrew.web.problems import Answer, Problem
from nightcrew.web.sessions import Session, Sessions

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 256 * 1024
PROOF_HEADER = "x-csrf-token"
_METHODS = {"GET", "HEAD", "POST"}
_OPEN = ("/enter", "/static/")
_LOG = logging.getLogger("nightcrew.web")


class Refused(Exception):
    """The request goes no further, for the problem in it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def cookie_name(origin: str) -> str:
    """The session cookie: over TLS with the prefix that browsers let nobody but this host set.

    Without it, with the port: cookies go to every port of a host, and two inboxes must not put each other out.
    """
    if origin.startswith("https://"):
        return "__Host-nightcrew_session"
    return f"nightcrew_session_{urlsplit(origin).port or 80}"


def session_cookie(origin: str, session: Session) -> str:
    """The ``Set-Cookie`` header that opens a session."""
    secure = "; Secure" if origin.startswith("https://") else ""
    return f"{cookie_name(origin)}={session.id}; Path=/; HttpOnly; SameSite=Strict{secure}"


class Security:
    """ASGI middleware around the whole application, which finds the session in ``scope["state"]["session"]``."""

    def __init__(self, app: App, *, origin: str, sessions: Sessions, answer: Answer) -> None:
        self._app = app
        self._origin = origin
        self._hosts = _hosts(origin)
        self._cookie = cookie_name(origin)
        self._sessions = sessions
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        sent = _Sent(send, head=scope["method"] == "HEAD")
        try:
            await self._handle(scope, receive, sent)
        except Refused as refused:
            await self._answer(refused.problem, scope)(scope, receive, sent)
        except Exception:
            number = secrets.token_hex(4)
            _LOG.exception("error %s: %s %r", number, scope["method"], scope["path"])
            if sent.begun:
                raise
            await self._answer(Problem.bug(number), scope)(scope, receive, sent)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if _all(headers, "host") not in [[host] for host in self._hosts]:
            raise Refused(Problem(421, "NC-HOST", "this server does not answer under that host name"))
        method = scope["method"]
        # HEAD is for pages: it must not use up a link, and the API says what it answers.
        if method not in _METHODS or (method == "HEAD" and scope["path"].startswith(("/enter", "/api/"))):
            raise Refused(Problem(405, "NC-METHOD", f"{method[:20]} is not answered here", headers={"allow": "GET"}))
        if method == "POST":
            self._check_origin(headers)
        elif headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise Refused(Problem(403, "NC-ORIGIN", "another site's page may not read this"))
        session = self._session(headers)
        if session is None and not scope["path"].startswith(_OPEN) and not scraper.admits(scope["path"], headers):
            raise Refused(scraper.refusal() if scope["path"] == scraper.PATH else Problem.no_session())
        if method == "POST" and (session is None or not self._sessions.proves(session, headers.get(PROOF_HEADER, ""))):
            raise Refused(
                Problem(
                    403,
                    "NC-CSRF",
                    "the request does not carry this session's proof",
                    "Open a fresh link: press Enter in the terminal where nightcrew serve runs.",
                )
            )
        scope.setdefault("state", {})["session"] = session
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, await _bounded(headers, receive), send)

    def _check_origin(self, headers: Headers) -> None:
        """What changes something comes from a page of ours: the browser says where from, and pages cannot change it."""
        site = headers.get("sec-fetch-site", "same-origin")
        if _all(headers, "origin") != [self._origin] or site != "same-origin":
            raise Refused(Problem(403, "NC-ORIGIN", "the request does not come from a page of this server"))

    def _session(self, headers: Headers) -> Session | None:
        """The session of the one cookie of that name; two are a sign that somebody else set one."""
        # By hand: the standard library's parser stops at the first cookie of another program that it dislikes.
        pairs = (pair.partition("=") for value in _all(headers, "cookie") for pair in value.split(";"))
        given = [value.strip() for name, _, value in pairs if name.strip() == self._cookie]
        return self._sessions.find(given[0]) if len(given) == 1 else None


class _Sent:
    """``send`` that adds our headers, remembers whether the answer has begun, and for HEAD leaves the body out."""

    def __init__(self, send: Send, *, head: bool) -> None:
        self._send, self._head, self.begun = send, head, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            # Only files of ours say themselves how long they may be kept.
            kept = headers.get("cache-control")
            for name, value in SECURITY_HEADERS.items():
                headers[name] = kept if kept is not None and name == "cache-control" else value
            message = {**message, "headers": headers.raw}
        elif message["type"] == "http.response.body" and self._head:
            message = {**message, "body": b""}
        await self._send(message)


async def _bounded(headers: Headers, receive: Receive) -> Receive:
    """``receive`` with the body read already, at most MAX_BODY of it: what is too long reaches no parser."""
    too_long = Refused(Problem(413, "NC-TOO-LONG", f"a request has at most {MAX_BODY // 1024} KiB"))
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:20]) > MAX_BODY:
        raise too_long
    chunks: list[bytes] = []
    total, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        chunks.append(message.get("body", b""))
        total += len(chunks[-1])
        if total > MAX_BODY:
            raise too_long
        more = message.get("more_body", False)
    body: list[Message] = [{"type": "http.request", "body": b"".join(chunks), "more_body": False}]

    async def again() -> Message:
        return body.pop() if body else await receive()

    return again


def _hosts(origin: str) -> tuple[str, ...]:
    """What ``Host`` may be: the origin's, and over the scheme's own port with that port named too."""
    parts = urlsplit(origin)
    host = parts.netloc
    own = {"http": 80, "https": 443}.get(parts.scheme)
    return (host,) if parts.port is not None else (host, f"{host}:{own}")


def _all(headers: Headers, name: str) -> list[str]:
    return headers.getlist(name)
