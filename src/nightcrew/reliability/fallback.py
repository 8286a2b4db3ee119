"""Fallbacks: later levels for when the first fails, and truncation for when the input is too long."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple


class Fallback:
    """Functions that take what the guarded one takes, tried in order when what stands before has failed.

    The last is best a rule that needs nothing from outside. A record that breaks the input's contract gets no fallback.
    """

    def __init__(self, *levels: Callable[..., Any]) -> None:
        if not levels:
            raise ValueError("a Fallback has at least one level")
        self.levels = levels

    @classmethod
    def of(
        cls, given: "Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None"
    ) -> tuple[Callable[..., Any], ...]:
        """The levels of what was given as ``fallback=``."""
        if given is None:
            return ()
        if isinstance(given, Fallback):
            return given.levels
        return (given,) if callable(given) else tuple(given)


class Truncated(NamedTuple):
    """A text that fits: ``notice`` says what was left out (None: nothing); ``tokens`` is ``estimated`` or counted."""

    text: str
    notice: str | None
    tokens: int
    estimated: bool


def estimate_tokens(text: str) -> int:
    """An estimate, not a count: a token for every four bytes of UTF-8, rounded up; English text has about that."""
    return math.ceil(len(text.encode(errors="replace")) / 4)


def truncate_to(
    text: str,
    limit: int,
    *,
    count: Callable[[str], int] | None = None,
    keep: Literal["head", "tail", "both"] = "head",
    marker: str = "\n[...]\n",
) -> Truncated:
    """``text`` cut so that it has at most ``limit`` tokens.

    ``count`` gives the number of tokens of a text (the provider's own tokenizer); without it they are estimated, with a
    tenth of the limit held back. Cut at the end (``keep="head"``), the beginning or in the middle, where ``marker``
    then stands.
    Raises ValueError if even the marker does not fit.
    """
    estimated = count is None
    counted = count or estimate_tokens
    room = limit - limit // 10 if estimated else limit
    whole = counted(text)
    if whole <= room:
        return Truncated(text, None, whole, estimated)
    if counted(marker) > room:
        raise ValueError(f"a limit of {limit} tokens leaves no room for any text")
    low, high = 0, len(text)  # The most characters that fit, by bisection: tokens do not map to characters evenly.
    while low < high:
        middle = (low + high + 1) // 2
        if counted(_cut(text, middle, keep, marker)) <= room:
            low = middle
        else:
            high = middle - 1
    short = _cut(text, low, keep, marker)
    tokens = counted(short)
    about = "about " if estimated else ""
    where = {"head": "at the end", "tail": "at the beginning", "both": "in the middle"}[keep]
    notice = f"the input was cut {where}: {about}{tokens} of {about}{whole} tokens were used (limit {limit})"
    return Truncated(short, notice, tokens, estimated)


def _cut(text: str, length: int, keep: str, marker: str) -> str:
    if length >= len(text):
        return text
    if keep == "head":
        return text[:length] + marker
    if keep == "tail":
        return marker + text[len(text) - length :]
    head = (length + 1) // 2
    return text[:head] + marker + text[len(text) - (length - head) :]
