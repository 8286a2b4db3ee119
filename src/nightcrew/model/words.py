"""The words of a text as they are looked for: names of code taken apart, and what people call a thing in other words.

A database's own tokenizer splits ``RateLimiter``, ``rate_limiter.py`` and ``rate-limit`` in three ways, and each
database in its own; so texts are split here, before they are indexed and before they are looked for.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

MOST_WORDS = 48
"""Words of a query that are looked for."""
MOST_INDEXED = 150_000
"""Characters that are indexed of one record: Postgres takes no more than a megabyte."""

_LONGEST = 60
_COMPOUND = re.compile(r"[^\W_]+(?:[_\-.'’:]+[^\W_]+)*")
_PIECE = re.compile(r"[.:]+")
_PART = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[a-z][0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_APOSTROPHE = re.compile(r"['’](?:s|t|re|ve|ll|d|m)\b|['’]", re.IGNORECASE)

_COMMON = frozenset(
    _PART.findall(
        "a about above after again against all also am an and any are as at be because been before being below "
        "between both but by can cannot could did do does doing don done down during each ever few for from further "
        "get gets give given got had has have having he her here hers him his how however i if in into is it its "
        "itself just let like made make makes may me might more most much must my need no nor not now of off on once "
        "only onto or other our ours out over own per please same shall she should so some still such than that the "
        "their theirs them then there these they thing things this those through to too under until up upon us use "
        "used uses using very was we were what when where whether which while who whom whose why will with within "
        "without would yes yet you your yours"
    )
)
"""Words that say nothing of what a question is about."""

_SAME = (
    "auth authentication authenticate login signin",
    "authorization authorisation permission",
    "cfg conf config configuration configure setting",
    "db database",
    "dep dependency dependencies package",
    "dir directory folder",
    "doc documentation",
    "env environment",
    "err error exception failure",
    "flaky intermittent",
    "i18n internationalization translation localization",
    "k8s kubernetes",
    "mail email",
    "memory ram",
    "mfa 2fa totp factor",
    "pg postgres postgresql",
    "perf performance slow latency",
    "pr pull",
    "py python",
    "regex regexp",
    "repo repository",
    "concurrency race deadlock",
    "secret credential password",
    "timezone zone tz dst",
    "vuln vulnerability cve",
    "delete remove",
    "bug defect",
    "limit throttle quota",
    "upgrade update bump",
    "cache caching memoize",
    "crash abort panic segfault",
    "deploy deployment release rollout",
    "privacy gdpr",
    "id identifier",
    "msg message",
    "req request",
    "res response",
    "async asynchronous",
    "sync synchronous synchronize",
    "admin administrator",
    "ui frontend interface",
    "img image picture",
    "retry retries reattempt",
)
"""Words that people use for the same thing. General language of the trade, of no one project."""

_OTHERS: dict[str, frozenset[str]] = {}
for _line in _SAME:
    for _word in _line.split():
        _OTHERS[_word] = _OTHERS.get(_word, frozenset()) | frozenset(_line.split()) - {_word}


def indexed(texts: Iterable[str]) -> str:
    """The words of ``texts`` as one text for the index, cut if it is too long: each name as its parts, and whole."""
    return " ".join(split("\n".join(texts)[:MOST_INDEXED]))[:MOST_INDEXED]


def asked(query: str) -> list[str]:
    """The words of a query that tell something, each once, the first 48."""
    return [*dict.fromkeys(word for word in split(query) if word not in _COMMON)][:MOST_WORDS]


def others(word: str) -> frozenset[str]:
    """Other words for the same thing."""
    return _OTHERS.get(word) or _OTHERS.get(word.removesuffix("s"), frozenset())


def split(text: str) -> Iterator[str]:
    """Lower-case words without accents, in their order; ``RateLimiter.take`` is rate, limiter, ratelimiter, take."""
    for compound in _COMPOUND.findall(_APOSTROPHE.sub(" ", _without_accents(text))):
        for piece in _PIECE.split(compound):
            parts = [part for run in _PART.findall(piece) for part in _CAMEL.split(run)]
            yield from (part.lower()[:_LONGEST] for part in parts if len(part) > 1)
            if len(parts) > 1:
                yield "".join(parts).lower()[:_LONGEST]


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
