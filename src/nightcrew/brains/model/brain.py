"""One ticket worked by a model: prompt, tools, a typed end."""

import asyncio
import logging
from typing import Any

from pydantic_ai import Agent, RunContext, ToolOutput, UsageLimits
from pydantic_ai.exceptions import AgentRunError, UnexpectedModelBehavior
from pydantic_ai.models import Model
from pydantic_ai.toolsets import FunctionToolset, ToolsetTool, WrapperToolset

from nightcrew.brains import ending, prompt
from nightcrew.brains.model.metered import RETRY, Metered
from nightcrew.brains.model.providers import model_of, settings_of
from nightcrew.brains.model.tools import Tools
from nightcrew.brains.protocol import Answer, BrainUnavailable, Task
from nightcrew.model.settings import Brain
from nightcrew.reliability import Retry, classify

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
        model = model_of(self._name, self._settings)
        return asyncio.run(self._work(task, model))

    async def _work(self, task: Task, model: Model) -> Answer:
        metered = Metered(model, task, context_tokens=self._settings.context_tokens, retry=self._retry)
        if not task.resumed:
            task.journal.forget("tool")  # This workspace has nothing of what they did: they are called again.
        tools = Tools(task)
        result = ending.Finish if task.kind == "build" else ending.Report
        agent: Agent[object, ending.Finish | ending.Report] = Agent(
            metered,
            instructions=prompt.rules(task),
            output_type=ToolOutput(result, name="finish", description=result.__doc__),
            toolsets=[_Journalled(tools, task)],
            model_settings=settings_of(self._settings),
            retries={"tools": 20, "output": 3},
        )
        with agent.parallel_tool_call_execution_mode("sequential"):
            try:
                ended = await agent.run(prompt.request(task), usage_limits=UsageLimits(request_limit=None))
            except UnexpectedModelBehavior as error:
                return Answer(False, "", f"The model did not end its work as asked: {error}", brain=self._name)
            except AgentRunError as error:
                raise BrainUnavailable(classify(error)) from error
        return _answer(ended.output, task, tools, metered, self._name)


def _answer(result: ending.Finish | ending.Report, task: Task, tools: Tools, metered: Metered, name: str) -> Answer:
    made = ending.answer(result, task, brain=name)
    decisions = tuple(dict.fromkeys([*tools.decisions, *made.decisions]))
    done = prompt.joined([made.done, *metered.notices])
    return Answer(made.finished, done, made.next, made.questions, decisions, made.findings, brain=name)


class _Journalled(WrapperToolset[object]):
    """The tools, each call done once however often the process dies."""

    def __init__(self, tools: Tools, task: Task) -> None:
        offered = [tool for tool in tools.all() if task.kind == "build" or tool.__name__ in _offered(task)]
        super().__init__(FunctionToolset(offered, sequential=True))
        self._tools = tools
        self._by_name = {tool.__name__: tool for tool in offered}

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[object], tool: ToolsetTool[object]
    ) -> Any:
        """See AbstractToolset."""
        del tool
        key = f"{ctx.run_step:04d} {ctx.tool_call_id or name}"
        # In a thread: a command may run for minutes, and the loop keeps connections alive meanwhile.
        return await asyncio.to_thread(self._tools.once, key, self._by_name[name], tool_args)


def _offered(task: Task) -> frozenset[str]:
    """What a reviewer may do: QA may write tests, security may not write at all."""
    return _READING | ({"run", "write", "edit"} if task.agent == "qa" else {"run"})


logging.getLogger("httpx2").setLevel(logging.WARNING)  # It logs the address of each request at level INFO.
