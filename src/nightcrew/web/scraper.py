"""Who may read ``/metrics`` without a session: a scraper that presents the token that the user gave both of us.

Closed by default: without ``NIGHTCREW_METRICS_TOKEN``, or a file with the token that ``NIGHTCREW_METRICS_TOKEN_FILE``
names, only a browser with a session reads it. Loopback alone would open it to every user and program of the machine.
"""

import hmac
import os
from pathlib import Path

from starlette.datastructures import Headers

from nightcrew.model.errors import ConfigurationError
from nightcrew.web.problems import Problem

PATH = "/metrics"
TOKEN, TOKEN_FILE = "NIGHTCREW_METRICS_TOKEN", "NIGHTCREW_METRICS_TOKEN_FILE"
SHORTEST = 16
"""Characters of a token."""

_OF_BROWSERS = ("origin", "cookie", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")


def token() -> str | None:
    """The token, None if there is none. The file is read each time, so that it can be changed.

    Raises ConfigurationError for a file that cannot be read and for a token that is too short.
    """
    found = os.environ.get(TOKEN, "").strip()
    path = os.environ.get(TOKEN_FILE, "").strip()
    if not found and path:
        try:
            found = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{TOKEN_FILE}: {path} cannot be read: {type(error).__name__}") from None
    if (found or path) and len(found) < SHORTEST:
        raise ConfigurationError(f"the token for {PATH} has fewer than {SHORTEST} characters", hint=_HINT)
    return found or None


def admits(path: str, headers: Headers) -> bool:
    """Whether a request without a session may be answered."""
    if path != PATH or any(name in headers for name in _OF_BROWSERS):
        return False
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    try:
        known = token()
    except ConfigurationError:
        return False
    return known is not None and hmac.compare_digest(given.strip().encode(), known.encode())


def refusal() -> Problem:
    """The answer to a scraper without the token."""
    message = f"{PATH} needs a session, or the token that nightcrew serve was started with"
    return Problem(401, "NC-SESSION", message, _HINT, {"www-authenticate": 'Bearer realm="nightcrew"'})


_HINT = f"Make one with: openssl rand -hex 32. Set {TOKEN} or {TOKEN_FILE} where nightcrew serve is started."
