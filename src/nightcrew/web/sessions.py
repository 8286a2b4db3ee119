"""Who is at the browser: one-time links that open a session, and the session's proof that a request is its own.

A browser sends the cookies of ``localhost`` to every port of it, so a page of another program on this machine can see
ours. Therefore the cookie alone opens pages to read; whatever changes something needs the session's *proof* too, which
is handed over once, in the fragment of the address that a one-time link leads to, and kept by the page in storage that
belongs to our origin only. It is in no page, so that a stolen cookie does not lead to it.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock

IDLE_SECONDS = 12 * 3600
LINK_SECONDS = 3600
MAX_SESSIONS = 64
MAX_LINKS = 16


@dataclass
class Session:
    """One browser. ``offered`` maps a reviewer's name to the challenge of a passkey that is being registered."""

    id: str = field(repr=False)
    seen: float
    offered: dict[str, bytes] = field(default_factory=dict)
    registered: dict[str, bytes] = field(default_factory=dict)


class Sessions:
    """Sessions and one-time links, in memory: a restart ends them all. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds that only rise (``time.monotonic``)."""
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._sessions: dict[str, Session] = {}
        self._links: dict[bytes, float] = {}
        self._lock = Lock()

    def add_link(self, token: str) -> None:
        """Let ``token`` (at least 256 bits of chance) open one session within LINK_SECONDS. Raises ValueError."""
        if len(token) < 43:
            raise ValueError("a token has at least 256 bits: 43 characters of base64url")
        with self._lock:
            while len(self._links) >= MAX_LINKS:
                self._links.pop(next(iter(self._links)))
            self._links[_digest(token)] = self._clock()

    def new_link(self) -> str:
        """A fresh token."""
        token = secrets.token_urlsafe(32)
        self.add_link(token)
        return token

    def enter(self, token: str) -> Session | None:
        """Open a session with a link's token, which is used up by that; None if it is none, used or too old."""
        given, now = _digest(token), self._clock()
        with self._lock:
            # Each is compared, each in constant time: how long it takes says nothing of what is valid.
            fitting = [known for known in self._links if hmac.compare_digest(known, given)]
            if not fitting:
                return None
            if now - self._links.pop(fitting[0]) > LINK_SECONDS:
                return None
            self._drop_idle(now)
            while len(self._sessions) >= MAX_SESSIONS:
                self._sessions.pop(min(self._sessions.values(), key=lambda one: one.seen).id)
            session = Session(secrets.token_urlsafe(32), now)
            self._sessions[session.id] = session
            return session

    def find(self, session_id: str) -> Session | None:
        """The session of a cookie, None if there is none or it was idle for too long. It counts as used now."""
        now = self._clock()
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None or now - session.seen > IDLE_SECONDS:
                self._sessions.pop(session_id, None)
                return None
            session.seen = now
            return session

    def end(self, session: Session) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(session.id, None)

    def proof(self, session: Session) -> str:
        """What a request that changes something has to show: an HMAC of the session's id."""
        return hmac.digest(self._key, session.id.encode(), "sha256").hex()

    def proves(self, session: Session, given: str) -> bool:
        """Whether ``given`` is the session's proof."""
        return hmac.compare_digest(self.proof(session).encode(), given.encode("utf-8", "replace"))

    def _drop_idle(self, now: float) -> None:
        for idle in [one.id for one in self._sessions.values() if now - one.seen > IDLE_SECONDS]:
            del self._sessions[idle]


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
