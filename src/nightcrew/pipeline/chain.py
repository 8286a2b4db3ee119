"""A pipeline's steps and gates in their order, and what going through them makes of one record."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nightcrew.pipeline.measuring import Meter
from nightcrew.reliability import Failure, FailureClass, Gate, Guarded, Result

MadeState = Literal["accepted", "fallback", "in_review", "quarantined", "waiting_retry"]


@dataclass(slots=True)
class Made:
    """What a record became. ``stage`` is where it goes on: after the gate that holds it, or at the step that failed.

    ``status`` tells a whole answer (``accepted``) from one of a later level (``fallback``) and a truncated one
    (``partial``); ``level`` and ``made_by`` name which function made it.
    """

    state: MadeState
    status: str
    output: Any
    confidence: float | None
    level: int
    made_by: str
    reason: str
    notice: str
    attempts: int
    failure: Failure | None
    stage: int


@dataclass(frozen=True)
class Step:
    """A guarded function; with two parameters it takes the record and what the step before made."""

    name: str
    call: Guarded[..., Any]
    takes_both: bool
    is_async: bool


@dataclass(frozen=True)
class Hold:
    """A gate: a reason why a person must look, or None."""

    name: str
    gate: Gate


Stage = Step | Hold


def parameters(function: Callable[..., Any]) -> int:
    """How many positional arguments a step takes; a callable without a signature takes one."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    required = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(required)


class Chain:
    """The stages of a pipeline as one call for one record; its ``meter`` notes what they take and come to."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self.is_async = any(isinstance(stage, Step) and stage.is_async for stage in stages)
        self.meter = Meter(stage.name for stage in stages if isinstance(stage, Step))
        self._took = [self.meter.steps[stage.name].took if isinstance(stage, Step) else None for stage in stages]

    def run(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """Take one record through the stages from ``stage`` on; ``before`` is the outcome that it goes on from."""
        flow = _Flow(record, before)
        made = None
        for index in range(stage, len(self.stages)):
            found = self.stages[index]
            if isinstance(found, Step):
                made = self._after(flow, found, found.call.attempt(*flow.arguments(found)), index)
            else:
                made = flow.held_by(found, index)
            if made is not None:
                break
        return self._through(flow, made)

    async def run_async(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """The same where steps may be async."""
        flow = _Flow(record, before)
        made = None
        for index in range(stage, len(self.stages)):
            found = self.stages[index]
            if isinstance(found, Step):
                result: Any = found.call.attempt(*flow.arguments(found))
                made = self._after(flow, found, await result if found.is_async else result, index)
            else:
                made = flow.held_by(found, index)
            if made is not None:
                break
        return self._through(flow, made)

    def _after(self, flow: "_Flow", step: Step, result: Result[Any], index: int) -> Made | None:
        took = self._took[index]
        if took is not None:
            took(result)
        flow.seconds += result.seconds
        return flow.after(step.name, result, index)

    def _through(self, flow: "_Flow", made: Made | None) -> Made:
        made = made or flow.end(len(self.stages))
        self.meter.through(flow.record, made, flow.seconds)
        return made


class _Flow:
    """One record on its way."""

    __slots__ = (
        "attempts", "confidence", "level", "made_by", "notice", "reason", "record", "seconds", "status", "value",
    )  # fmt: skip

    def __init__(self, record: Any, before: Mapping[str, Any] | None) -> None:
        self.record = self.value = record
        self.confidence: float | None = None
        self.status = "accepted"
        self.seconds = 0.0
        self.level = self.attempts = 0
        self.made_by = self.reason = self.notice = ""
        if before is not None:
            self._go_on_from(before)

    def _go_on_from(self, before: Mapping[str, Any]) -> None:
        self.attempts = int(before["attempts"])
        if before["stage"]:
            self.value, self.confidence = before["output"], before["confidence"]
            self.status, self.level = before["status"], int(before["level"])
            self.made_by, self.reason, self.notice = before["made_by"], before["reason"], before["notice"]

    def arguments(self, step: Step) -> tuple[Any, ...]:
        return (self.record, self.value) if step.takes_both else (self.value,)

    def after(self, name: str, result: Result[Any], index: int) -> Made | None:
        """Take in what a step gave; what is made of it if that is the end."""
        self.attempts += result.attempts
        status = result.status
        if status == "failed":
            return self._failed(name, result, index)
        self.value = result.value
        if result.confidence is not None:
            self.confidence = result.confidence
        self.made_by = result.made_by
        if status != "accepted":
            self.notice = result.notice or self.notice
            if result.level or status == "fallback":
                self.status, self.level = "fallback", result.level
            elif status == "partial":
                self.status = "partial"
            self.reason = result.reason or self.reason
            if status == "review":
                return self._make("in_review", index + 1)
        return None

    def held_by(self, hold: Hold, index: int) -> Made | None:
        reason = hold.gate.check(self.record, self.value, self.confidence)
        if reason is None:
            return None
        self.reason = reason
        return self._make("in_review", index + 1)

    def end(self, stage: int) -> Made:
        return self._make("accepted" if self.status == "accepted" else "fallback", stage)

    def _make(self, state: MadeState, stage: int) -> Made:
        return Made(
            state, self.status, self.value, self.confidence, self.level, self.made_by, self.reason, self.notice,
            self.attempts, None, stage,
        )  # fmt: skip

    def _failed(self, name: str, result: Result[Any], index: int) -> Made:
        failure = result.failure or Failure(FailureClass.BUG, "unknown", "a failure without a cause", None)
        state: MadeState = "waiting_retry" if failure.kind.transient else "quarantined"
        reason = f"{name}: {failure.message}"
        value = self.value if index else None
        return Made(
            state, "failed", value, self.confidence, 0, result.made_by, reason, "", self.attempts, failure, index
        )
