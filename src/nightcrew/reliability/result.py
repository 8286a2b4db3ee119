"""What a guarded call gives."""

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from nightcrew.reliability.failure import Failure

T = TypeVar("T")
Status = Literal["accepted", "fallback", "partial", "review", "failed"]


@dataclass(slots=True)
class Result(Generic[T]):
    """A value with how it came about.

    ``status``: ``accepted`` (made as meant), ``fallback`` (by a later level), ``partial`` (with a ``notice`` of what is
    missing), ``review`` (a gate holds it) or ``failed`` (no value). ``level`` is 0 for the function itself, n for the
    n-th fallback, and ``made_by`` its name; ``reason`` says why it is not simply accepted. ``attempts`` counts calls of
    all levels, ``confidence`` is 0..1 where the value has one, ``seconds`` is the time of all of it.
    """

    value: T | None
    status: Status
    level: int
    made_by: str
    reason: str
    attempts: int
    confidence: float | None
    failure: Failure | None
    notice: str
    seconds: float
    error: BaseException | None = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class Prediction:
    """A value with how sure its maker is, 0..1; what a gate's confidence threshold looks at."""

    value: Any
    confidence: float | None = None


@dataclass(slots=True)
class Partial:
    """A value that is not the whole answer, and the notice that says so; a step returns it to have that recorded."""

    value: Any
    notice: str
