"""Spans of a run: the run itself, its chunks, and once a second one record's way through the steps."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from nightcrew.monitoring import telemetry
from nightcrew.pipeline.chain import Chain, Made, Step
from nightcrew.reliability import Result
from nightcrew.store.runs import Run

if TYPE_CHECKING:
    from nightcrew.pipeline.pipeline import Pipeline

SAMPLE_SECONDS = 1.0
"""One record in this time is traced; the others cost a look at the clock, and nothing if telemetry is off."""


def whole_run(pipeline: "Pipeline", found: Run) -> telemetry.Span:
    """The span of a run, for the process that ends it."""
    began = datetime.fromisoformat(found.started)
    state = pipeline.state.repository_id
    return telemetry.whole(state, f"run:{found.id}", started=began, pipeline=pipeline.name, source=found.kind)


def part_of_run(
    pipeline: "Pipeline", found: Run, name: str, **attributes: telemetry.Value
) -> AbstractContextManager[Any]:
    """A span of something done for a run, in whichever process."""
    stack = ExitStack()
    stack.enter_context(telemetry.within(pipeline.state.repository_id, f"run:{found.id}"))
    stack.enter_context(telemetry.span(name, pipeline=pipeline.name, **attributes))
    return stack


def traced(chain: Chain) -> Chain:
    """``chain``, or one that has records traced if telemetry is on."""
    return _TracedChain(chain) if telemetry.is_on() else chain


class _TracedChain(Chain):
    """A chain that has one record a second traced."""

    def __init__(self, chain: Chain) -> None:
        self.__dict__.update(chain.__dict__)
        stages = [
            replace(stage, call=_traced_call(stage)) if isinstance(stage, Step) else stage for stage in chain.stages
        ]
        self._slow = Chain(stages)
        self._slow.__dict__.update({name: value for name, value in chain.__dict__.items() if name != "stages"})
        self._next = 0.0

    def run(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """See Chain."""
        if not self._is_due():
            return super().run(record, stage, before)
        with telemetry.span("record") as seen:
            return _told(seen, self._slow.run(record, stage, before))

    async def run_async(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """See Chain."""
        if not self._is_due():
            return await super().run_async(record, stage, before)
        with telemetry.span("record") as seen:
            return _told(seen, await self._slow.run_async(record, stage, before))

    def _is_due(self) -> bool:
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + SAMPLE_SECONDS
        return True


class _Call:
    def __init__(self, step: Step) -> None:
        self._step = step

    def attempt(self, *arguments: Any) -> Any:
        """As the guarded function's."""
        with telemetry.span("step", step=self._step.name) as seen:
            return _told_step(seen, self._step.call.attempt(*arguments))


class _AsyncCall(_Call):
    async def attempt(self, *arguments: Any) -> Any:
        """As the guarded function's."""
        with telemetry.span("step", step=self._step.name) as seen:
            result: Any = self._step.call.attempt(*arguments)
            return _told_step(seen, await result)


def _traced_call(step: Step) -> Any:
    return _AsyncCall(step) if step.is_async else _Call(step)


def _told(seen: telemetry.Span, made: Made) -> Made:
    seen.set(state=made.state, level=made.level, attempts=made.attempts, confidence=made.confidence)
    if made.failure is not None:
        seen.failed(made.failure.kind.value)
    return made


def _told_step(seen: telemetry.Span, result: Result[Any]) -> Result[Any]:
    seen.set(status=result.status, level=result.level, attempts=result.attempts, confidence=result.confidence)
    if result.failure is not None:
        seen.failed(result.failure.kind.value)
    return result
