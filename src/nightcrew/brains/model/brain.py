"""One ticket worked by a model: ask, do what it calls for, until it ends its work by calling ``finish``.

The loop is our own, over pydantic-ai's models, messages and tool schemas: its agent takes more than ten milliseconds a
turn for what is not needed here, and each step has to be in the journal (see decision 8).
"""

import asyncio
import json
import logging
from collections.abc import Callable

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.tools import Tool, ToolDefinition

from nightcrew.brains import ending, prompt
from nightcrew.brains.model.metered import RETRY, Metered
from nightcrew.brains.model.providers import model_of, settings_of
from nightcrew.brains.model.tools import Tools
from nightcrew.brains.protocol import Answer, Task
from nightcrew.model.settings import Brain
from nightcrew.reliability import Retry

Result = ending.Finish | ending.Report
FINISH = "finish"
_TALKS = 3
"""Answers without a call that are met with a reminder; after one more the work is unfinished."""
_READING = frozenset({"read", "search", "list", "recall"})


class ModelBrain:
    """Works tickets with a model through its API."""

    def __init__(self, name: str, settings: Brain, *, retry: Retry = RETRY) -> None:
        self._name = name
        self._settings = settings
        self._retry = retry

    @property
    def name(self) -> str:
        """See Brain."""
        return self._name

    def work(self, task: Task) -> Answer:
        """See Brain."""
        return asyncio.run(self._work(task, model_of(self._name, self._settings)))

    async def _work(self, task: Task, model: Model) -> Answer:
        metered = Metered(
            model, task, brain=self._name, context_tokens=self._settings.context_tokens, retry=self._retry
        )
        if not task.resumed:
            task.journal.forget("tool")  # This workspace has nothing of what they did: they are called again.
        tools = Tools(task)
        async with model:
            ended = await _Conversation(task, metered, tools, self._settings).to_its_end()
        if isinstance(ended, str):
            return Answer(
                False, prompt.joined(metered.notices), ended, decisions=tuple(tools.decisions), brain=self._name
            )
        made = ending.answer(ended, task, brain=self._name)
        decisions = tuple(dict.fromkeys([*tools.decisions, *made.decisions]))
        done = prompt.joined([made.done, *metered.notices])
        return Answer(made.finished, done, made.next, made.questions, decisions, made.findings, brain=self._name)


class _Conversation:
    """What is said between the model and its tools."""

    def __init__(self, task: Task, metered: Metered, tools: Tools, settings: Brain) -> None:
        self._metered = metered
        self._tools = tools
        self._settings = settings_of(settings)
        offered = [tool for tool in tools.all() if task.kind == "build" or tool.__name__ in _offered(task)]
        self._offered: dict[str, Tool[object]] = {tool.__name__: Tool(tool) for tool in offered}
        self._functions: dict[str, Callable[..., str]] = {tool.__name__: tool for tool in offered}
        result = ending.Finish if task.kind == "build" else ending.Report
        self._result: TypeAdapter[Result] = TypeAdapter(result)
        finish = ToolDefinition(
            name=FINISH, description=result.__doc__, parameters_json_schema=self._result.json_schema()
        )
        definitions = [*(tool.tool_def for tool in self._offered.values()), finish]
        self._parameters = ModelRequestParameters(function_tools=definitions)
        first: list[ModelRequestPart] = [SystemPromptPart(prompt.rules(task)), UserPromptPart(prompt.request(task))]
        self._messages: list[ModelMessage] = [ModelRequest(parts=first)]

    async def to_its_end(self) -> Result | str:
        """The result, or in words why there is none."""
        talks = turn = 0
        while True:
            turn += 1
            answer = await self._metered.request(self._messages, self._settings, self._parameters)
            if answer.finish_reason == "content_filter":
                return "The model, or its service, refused to go on with this."
            self._messages.append(answer)
            calls = [part for part in answer.parts if isinstance(part, ToolCallPart)]
            said: list[ModelRequestPart] = []
            for call in calls:
                if call.tool_name != FINISH:
                    said.append(_returned(call, await self._called(turn, call)))
                    continue
                try:
                    return self._result.validate_json(_arguments(call))
                except ValidationError as error:
                    said.append(_returned(call, f"Refused: {_words(error)}"))
            if not calls:
                talks += 1
                if talks > _TALKS:
                    return f"The model did not end its work as asked. It said last: {_text(answer)[:2000]}"
                cut = answer.finish_reason == "length"
                said.append(UserPromptPart(prompt.cut_off() if cut else prompt.go_on()))
            self._messages.append(ModelRequest(parts=said))

    async def _called(self, turn: int, call: ToolCallPart) -> str:
        tool = self._offered.get(call.tool_name)
        if tool is None:
            return f"Refused: there is no tool {call.tool_name}. Tools: {', '.join([*self._offered, FINISH])}"
        try:
            arguments = tool.function_schema.validator.validate_json(_arguments(call))
        except ValidationError as error:
            return f"Refused: {_words(error)}"
        key = f"{turn:04d} {call.tool_call_id}"
        # In a thread: a command may run for minutes, and the loop keeps connections alive meanwhile.
        return await asyncio.to_thread(self._tools.once, key, self._functions[call.tool_name], arguments)


def _arguments(call: ToolCallPart) -> str:
    """The call's arguments as the model wrote them; what is no JSON is for the validator to refuse."""
    return call.args or "{}" if isinstance(call.args, str) else json.dumps(call.args or {})


def _returned(call: ToolCallPart, content: str) -> ToolReturnPart:
    return ToolReturnPart(call.tool_name, content, call.tool_call_id)


def _words(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors()[:5]]
    return "; ".join(problems)


def _text(answer: ModelResponse) -> str:
    return "\n".join(str(part.content) for part in answer.parts if part.part_kind == "text")


def _offered(task: Task) -> frozenset[str]:
    """What a reviewer may do: QA may write tests, security, and who answers a question, may not write at all."""
    return _READING | ({"run", "write", "edit"} if task.agent == "qa" and task.kind == "review" else {"run"})


logging.getLogger("httpx2").setLevel(logging.WARNING)  # It logs the address of each request at level INFO.
