"""Secrets taken out of what is about to be logged: by the name they stand under, by their look, and by their value."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nightcrew.credentials import values_read
from nightcrew.reliability.secrets import MASK

_SECRET_NAME = re.compile(
    r"(^|[^a-z])(pass(word|wd|phrase)?|secrets?|tokens?|(api|access|private|secret|signing|account)[-_ ]?key|apikey"
    r"|auth|authorization|cookies?|set[-_]cookie|credentials?|dsn|session[-_]?id)($|[^a-z])",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(^|[._])(input|output|max|total|context|cached)?_?tokens($|[._])|(input|output)_tokens$", re.IGNORECASE
)
"""Names of counts of tokens."""

# Texts come from agents, who may write what they like: none of these may look at a character more than a few times.
# So nothing that repeats stands before what is looked for, unless it cannot begin within itself.
_LOOKS = re.compile(
    r"""
    \b(sk|pk|rk)[-_](ant[-_]|proj[-_]|live[-_]|test[-_]|or[-_])?[A-Za-z0-9_-]{8,}       # Anthropic, OpenAI, Stripe
    | \b(gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|npm_|pypi-|hf_|AIza|ya29\.|nightcrew-)[A-Za-z0-9_.-]{10,}
    | \b(AKIA|ASIA)[A-Z0-9]{16}\b                                                       # AWS
    | \beyJ(?:[A-Za-z0-9_]|-(?!eyJ)){8,}+\.[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]*           # JSON web tokens
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE,
)
_HOOK = re.compile(
    r"""
    (hooks\.slack(?:-gov)?\.com/ | hooks\.zapier\.com/ | \.webhook\.office\.com/ | outlook\.office(?:365)?\.com/webhook/
    | discord(?:app)?\.com/api/(?:v\d{1,3}/)?webhooks/ | api\.telegram\.org/bot)
    [^\s"'<>()\[\]{}|\\^`]+
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Addresses that are secret themselves: whoever has one may write there."""

_QUERY = re.compile(
    r"""
    ((?:[?&] | &amp; | \\u0026)(?:[\w.-]{0,40}[-_.])?
    (?:key|apikey|sig|signature|secret|token|auth|pass|passwd|password|pwd|credential)=)
    [^\s&"'<>#\\]+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic|Token)\s+[A-Za-z0-9+/=_.~-]{8,}", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=[a-z0-9+.-])://[^/\s@'\"]++@", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""((?:password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|authorization|signature)\b
    ["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&)}\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_LONGEST = 200_000
"""Characters of a text; what is longer is cut."""

_MARGIN = 4096
"""So much more is looked at, and left out, of a text that is cut: a secret that the cut runs through is found whole."""

_SHORTEST = 8
"""Shorter values of the environment are not looked for in texts: they would be found in any word."""

_DEEPEST = 8


class Redaction:
    """What is secret here: ``environment`` is where the program was given its keys."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._given = dict(os.environ) if environment is None else environment
        self._kept = -1
        self._known: re.Pattern[str] | None = None

    def text(self, text: str) -> str:
        """``text`` without secrets, and cut if it is very long."""
        if len(text) <= _LONGEST:
            return self._without(text)
        found = self._without(text[: _LONGEST + _MARGIN])[:-_MARGIN]
        return f"{found}[... cut: {len(text):,} characters]"

    def _without(self, text: str) -> str:
        if (known := self._values()) is not None:
            text = known.sub(MASK, text)
        text = _HOOK.sub(rf"\1{MASK}", text)
        text = _QUERY.sub(rf"\1{MASK}", text)
        text = _USER_INFO.sub(f"://{MASK}@", text)
        text = _BEARER.sub(rf"\1 {MASK}", text)
        text = _LOOKS.sub(MASK, text)
        return _ASSIGNED.sub(rf"\1{MASK}", text)

    def _values(self) -> "re.Pattern[str] | None":
        """The secrets that are known by their value: the environment's, and what was read since from elsewhere."""
        read = values_read()
        if len(read) != self._kept:
            found = {*_secrets_of(self._given), *(value for value in read if len(value) >= _SHORTEST)}
            listed = sorted(found, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, listed))) if listed else None
            self._kept = len(read)
        return self._known

    def value(self, value: Any, depth: int = 0) -> Any:
        """A value of a log entry without secrets, whatever it is and however deep they lie."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= _DEEPEST:
            return self.text(repr(value))
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): MASK if is_secret_name(str(name)) and inner else self.value(inner, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(inner, depth + 1) for inner in value]
        return self.text(str(value) if isinstance(value, BaseException) else repr(value))


def is_secret_name(name: str) -> bool:
    """Whether what stands under a name is secret by that name."""
    return _SECRET_NAME.search(_words(name)) is not None and _NO_SECRET.search(name) is None


def _secrets_of(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if len(value) >= _SHORTEST and (is_secret_name(name) or name.upper().endswith("_KEY")) and not _is_path(value):
            yield value
        if name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("HEADERS"):
            yield from (part.partition("=")[2] for part in value.split(",") if len(part.partition("=")[2]) >= _SHORTEST)
        if "://" in value and (found := re.search(r"://[^/\s:@]*:([^/\s@]+)@", value)) and len(found[1]) >= _SHORTEST:
            yield found[1]


def _is_path(value: str) -> bool:
    return value.startswith(("/", "~", "."))


def _words(name: str) -> str:
    """``apiKey`` as ``api_Key``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
