"""A gate: says why a person must look at a result before it counts, or that none need to."""

import inspect
import random
from collections.abc import Callable
from typing import Any

AUDIT = "blind audit"
"""The reason of a result held by sampling: it is as good as the rest, and the reviewer is not told otherwise."""


class Gate:
    """Holds a result if ``reason(record, value)`` (or ``reason(value)``) gives a text, if its confidence is below
    ``confidence`` (0..1) or unknown, or, for a blind audit, by chance at the rate ``sample`` (0..1).

    It fails closed: a function that raises, or gives neither text nor None, holds the result.
    """  # noqa: D205

    def __init__(
        self,
        reason: Callable[..., str | None] | None = None,
        *,
        confidence: float | None = None,
        sample: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        if (confidence is not None and not 0 <= confidence <= 1) or not 0 <= sample <= 1:
            raise ValueError("a Gate's confidence and sample are between 0 and 1")
        self._reason = reason
        self._both = reason is None or _takes_two(reason)
        self.confidence = confidence
        self.sample = sample
        self._rng = rng or random.Random()  # noqa: S311 - sampling, not a secret

    def check(self, record: Any, value: Any, confidence: float | None = None) -> str | None:
        """The reason to hold ``value``, made of ``record`` with ``confidence``; None to let it pass."""
        if self._reason is not None and (held := self._asked(record, value)) is not None:
            return held
        if self.confidence is not None:
            if confidence is None:
                return "the confidence is not known"
            if not confidence >= self.confidence:
                return f"confidence {confidence:.3g} is below {self.confidence:.3g}"
        return AUDIT if self.sample and self._rng.random() < self.sample else None

    def _asked(self, record: Any, value: Any) -> str | None:
        assert self._reason is not None  # noqa: S101 - the caller looked
        try:
            said = self._reason(record, value) if self._both else self._reason(value)
        except Exception as error:
            return f"the gate failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if said is None or (isinstance(said, str) and said):
            return said
        return f"the gate failed: it gave {said!r:.40}, not a reason or None"


def is_audit(reason: str) -> bool:
    """Whether a result was held for a blind audit."""
    return reason == AUDIT


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    if any(p.kind is p.VAR_POSITIONAL for p in found):
        return True
    return len([p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]) >= 2
