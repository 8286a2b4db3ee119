"""A model that charges before it asks, keeps each answer in the journal, and retries by our own rules."""

import dataclasses
import time
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from nightcrew.brains import prompt
from nightcrew.brains.protocol import BrainUnavailable, MustStop, Spent, Task
from nightcrew.model.errors import BudgetError
from nightcrew.monitoring import telemetry
from nightcrew.reliability import Failure, FailureClass, Retry, classify

_ANSWER: TypeAdapter[ModelResponse] = TypeAdapter(ModelResponse)
_LEFT_OUT = "[left out to fit the model's context; call the tool again if it is needed]"
_CHARACTERS_PER_TOKEN = 3.5
_SLICE_SECONDS = 0.2
_KEPT_WHOLE = 2
"""The last messages are never trimmed: the model is about to answer them."""

RETRY = Retry(attempts=5, base=1.0, cap=30.0, deadline=300.0)
"""Tries of one request; each is a request, and charged as one."""


class Metered(WrapperModel):
    """``wrapped``, for one task of ``brain``. ``notices`` says what was left out of requests."""

    def __init__(self, wrapped: Model, task: Task, *, brain: str, context_tokens: int, retry: Retry = RETRY) -> None:
        super().__init__(wrapped)
        self._task = task
        self._brain = brain
        self._room = context_tokens * _CHARACTERS_PER_TOKEN
        self._retry = retry
        self._number = 0
        self._sizes: list[int] = []
        self._trimmed = 0
        self._records_dropped = False

    @property
    def notices(self) -> list[str]:
        """What was left out, in words for the handoff."""
        said = [f"{self._trimmed} older tool results"] if self._trimmed else []
        said += ["the recalled records"] if self._records_dropped else []
        return [f"To fit the model's context, {' and '.join(said)} were left out of later requests."] if said else []

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The answer: the one in the journal if this request was answered before, else a new one."""
        self._number += 1
        key = f"answer {self._number:04d}"
        kept = self._task.journal.get(key)
        if kept is not None:
            return _ANSWER.validate_python(kept)
        answer = await self._answered(messages, model_settings, model_request_parameters)
        self._task.journal.put(key, _ANSWER.dump_python(answer, mode="json"))
        self._task.turns.alive()
        return answer

    async def _answered(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        tries, began = 0, time.monotonic()
        while True:
            tries += 1
            fitted = self._with_wrap_up(self._fitted(messages))
            key = f"request {self._number} {uuid.uuid4().hex[:12]}"
            self._task.turns.charge(key)
            sent = time.monotonic()
            try:
                with telemetry.span(f"chat {self.model_name}", **_asked(self.wrapped)) as seen:
                    answer = await self.wrapped.request(fitted, settings, parameters)
                    seen.set(**_answer_attributes(answer))
            except (BudgetError, MustStop):
                raise
            except Exception as error:
                failure = classify(error)
                self._task.watch.request(self._brain, time.monotonic() - sent, failure.kind)
                tries = self._after(failure, tries, time.monotonic() - began, messages)
                began = time.monotonic() if tries == 0 else began
                continue
            self._task.watch.request(self._brain, time.monotonic() - sent, None)
            self._task.turns.spent(key, _spent(answer))
            return answer

    def _after(self, failure: Failure, tries: int, elapsed: float, messages: Sequence[ModelMessage]) -> int:
        """Make ready for another try and give how many were made; raises BrainUnavailable if there is to be none."""
        if failure.kind is FailureClass.CONTEXT_LENGTH:
            before = sum(map(_size, self._fitted(messages)))
            self._room = min(self._room, before) * 0.7
            if sum(map(_size, self._fitted(messages))) < before:
                return 0
            raise BrainUnavailable(failure)
        wait = self._retry.next_delay(tries, failure, elapsed)
        if wait is not None:
            self._sleep(wait)
            return tries
        limited = failure.retry_after if failure.kind is FailureClass.RATE_LIMIT else None
        if limited and self._task.turns.park(limited, failure.message):
            return 0
        raise BrainUnavailable(failure)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if reason := self._task.turns.stop_reason():
                raise MustStop(reason)
            self._task.turns.alive()
            time.sleep(min(left, _SLICE_SECONDS))

    def _fitted(self, messages: Sequence[ModelMessage]) -> list[ModelMessage]:
        """``messages`` as they fit: the oldest tool results go first, then the recalled records."""
        fitted = list(messages)
        self._sizes += [_size(message) for message in fitted[len(self._sizes) :]]
        size = sum(self._sizes)
        if size <= self._room:
            return fitted
        trimmed = 0
        for index, message in enumerate(fitted[:-_KEPT_WHOLE]):
            if size <= self._room:
                break
            if isinstance(message, ModelRequest):
                parts, saved, count = _without_results(message.parts)
                if count:
                    fitted[index] = dataclasses.replace(message, parts=parts)
                    size -= saved
                    trimmed += count
        if size > self._room and self._task.context.records and isinstance(fitted[0], ModelRequest):
            plain = prompt.joined([prompt.request(self._task, with_records=False)])
            parts = [
                dataclasses.replace(part, content=plain) if isinstance(part, UserPromptPart) else part
                for part in fitted[0].parts
            ]
            fitted[0] = dataclasses.replace(fitted[0], parts=parts)
            self._records_dropped = True
        self._trimmed = max(self._trimmed, trimmed)
        return fitted

    def _with_wrap_up(self, messages: list[ModelMessage]) -> list[ModelMessage]:
        left = self._task.turns.left()
        last = messages[-1]
        if left.soft > 0 or not isinstance(last, ModelRequest):
            return messages
        said = UserPromptPart(prompt.wrap_up(max(left.hard, 1)))
        return [*messages[:-1], dataclasses.replace(last, parts=[*last.parts, said])]


def _size(message: ModelMessage) -> int:
    return sum(_length(part) for part in message.parts)


def _length(part: Any) -> int:
    """Characters of one part of a message."""
    content = getattr(part, "content", None)
    arguments = getattr(part, "args", None)
    return len(content if isinstance(content, str) else str(content or "")) + len(str(arguments or ""))


def _without_results(parts: Sequence[ModelRequestPart]) -> tuple[list[ModelRequestPart], int, int]:
    """The parts without the text of tool results, the characters that this saves, and how many results went."""
    kept: list[ModelRequestPart] = []
    saved = count = 0
    for part in parts:
        if type(part) is ToolReturnPart and _length(part) > len(_LEFT_OUT):
            saved += _length(part) - len(_LEFT_OUT)
            count += 1
            kept.append(ToolReturnPart(part.tool_name, _LEFT_OUT, part.tool_call_id))
        else:
            kept.append(part)
    return kept, saved, count


def _asked(model: Model) -> dict[str, telemetry.Value]:
    """What is told of a request: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/, without content."""
    return {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": model.system, "gen_ai.request.model": model.model_name,
    }  # fmt: skip


def _answer_attributes(answer: ModelResponse) -> dict[str, telemetry.Value]:
    return {
        "gen_ai.response.model": answer.model_name,
        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
    }


def _spent(answer: ModelResponse) -> Spent:
    try:
        dollars: float | None = float(answer.cost().total_price)
    except (LookupError, ValueError, AssertionError):  # Nobody knows the price of this model.
        dollars = None
    return Spent(answer.usage.input_tokens, answer.usage.output_tokens, dollars)
