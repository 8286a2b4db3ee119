"""What can be said of a text in numbers, without a model: how long, of what words, in what alphabet."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("length", "words", "word_length", "digits", "capitals", "non_ascii")
"""In characters; words; characters a word; shares (0..1) of digits, of capital letters A to Z, of other than ASCII."""

MAX_CHARACTERS = 20_000
"""Of longer texts only the beginning is looked at, except for their length."""

_DIGITS = b"0123456789"
_CAPITALS = bytes(range(65, 91))
_WORDS_KNOWN = 5000


def statistics(text: str) -> dict[str, float]:
    """The numbers of one text."""
    return dict(zip(STATISTICS, _measured(text), strict=True))


def table(texts: Sequence[str | None]) -> dict[str, NDArray[np.float64]]:
    """The numbers of many texts, an array of each; NaN where there is no text."""
    found = np.array([_NONE if text is None else _measured(text) for text in texts], dtype=np.float64)
    found = found.reshape(len(texts), len(STATISTICS))
    return {name: found[:, column] for column, name in enumerate(STATISTICS)}


def frequent_words(texts: Iterable[str | None]) -> frozenset[str]:
    """The words, in lower case, that come most often."""
    counted: Counter[str] = Counter()
    for text in texts:
        if text:
            counted.update(text[:MAX_CHARACTERS].lower().split())
    return frozenset(word for word, _ in counted.most_common(_WORDS_KNOWN))


def unknown_words(texts: Sequence[str | None], known: frozenset[str]) -> NDArray[np.float64]:
    """The share (0..1) of each text's words that are not ``known``; NaN where there are no words."""
    found = np.full(len(texts), np.nan)
    for place, text in enumerate(texts):
        words = text[:MAX_CHARACTERS].lower().split() if text else ()
        if words:
            found[place] = sum(word not in known for word in words) / len(words)
    return found


def _measured(text: str) -> tuple[float, float, float, float, float, float]:
    length = len(text)
    if not length:
        return _EMPTY
    seen = text if length <= MAX_CHARACTERS else text[:MAX_CHARACTERS]
    words = seen.split()
    count, size = len(words), len(seen)
    plain = seen.encode("ascii", "ignore")
    # Deleting is many times as fast as counting one by one.
    digits = len(plain) - len(plain.translate(None, _DIGITS))
    capitals = len(plain) - len(plain.translate(None, _CAPITALS))
    average = sum(map(len, words)) / count if count else 0.0
    return (
        float(length), count * (length / size), average, digits / size, capitals / size, (size - len(plain)) / size
    )  # fmt: skip


_EMPTY = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_NONE = (float("nan"),) * len(STATISTICS)
