"""The brain that drives any agent which speaks the Agent Client Protocol, over its standard streams."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from acp import PROTOCOL_VERSION, RequestError, connect_to_agent, text_block
from acp.schema import (
    AgentMessageChunk,
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    FileSystemCapabilities,
    PermissionOption,
    RequestPermissionResponse,
    TextContentBlock,
    ToolCallUpdate,
)

from nightcrew.brains import ending, prompt
from nightcrew.brains.agent_process import ANTHROPIC, AgentBrain, check_stopped, goes_on, look, metered, started
from nightcrew.brains.meter import Meter
from nightcrew.brains.protocol import Answer, Task
from nightcrew.model.errors import ConfigurationError
from nightcrew.sandbox import Live

_LOOK_SECONDS = 0.2
_STREAM_LIMIT = 50 << 20
_CHANGING = frozenset({"edit", "delete", "move"})
_START_SECONDS = 60.0


class AcpBrain(AgentBrain):
    """Works tickets with an agent of the protocol, in the sandbox, with a budget that it cannot pass."""

    def once(self, task: Task) -> Answer | None:
        """See AgentBrain."""
        if not self._settings.command:
            raise ConfigurationError(f"brain {self._name}: an agent of the protocol needs its command")
        with metered(self._name, self._settings, task, upstream=ANTHROPIC) as meter:
            environment = {
                "ANTHROPIC_BASE_URL": meter.url,
                "ANTHROPIC_API_KEY": meter.token,
                "OPENAI_BASE_URL": meter.url,
                "OPENAI_API_KEY": meter.token,
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "CLAUDE_CODE_MAX_RETRIES": "3",
                "IS_SANDBOX": "1",
            }
            with started(self._name, self._settings, task, meter, usual=(), environment=environment) as running:
                client = _Client(task)
                said, failed = asyncio.run(_Talk(running, task, meter, client).through())
            check_stopped(task, meter)
            if failed:
                goes_on(self._name, task, meter, f"{failed} {running.errors(500)}".strip())
                return None
            made = ending.read(said, task, brain=self._name)
            if not client.refused:
                return made
            note = f"It was refused what is not for its desk: {', '.join(sorted(set(client.refused)))}."
            return replace(made, done=f"{made.done}\n\n{note}")


class _Talk:
    """One conversation with a running agent."""

    def __init__(self, running: Live, task: Task, meter: Meter, client: "_Client") -> None:
        self._running = running
        self._task = task
        self._meter = meter
        self._client = client

    async def through(self) -> tuple[str, str]:
        """Ask and wait for the end: the last message, and what went wrong or an empty text."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_STREAM_LIMIT)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._running.stdout)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, self._running.stdin)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        agent = connect_to_agent(self._client, writer, reader)  # type: ignore[arg-type]
        talk = asyncio.create_task(self._talk(agent))
        try:
            while not talk.done():
                await asyncio.wait([talk], timeout=_LOOK_SECONDS)
                # Blocking on purpose: ending the program takes two seconds at most, and nothing else is to be done.
                look(self._task, self._meter, self._running)
                if self._running.why_stopped:
                    break
            if not talk.done():
                return "", self._running.why_stopped
            return self._client.text, talk.result()
        finally:
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
            await agent.close()

    async def _talk(self, agent: Any) -> str:
        task = self._task
        try:
            await asyncio.wait_for(
                agent.initialize(
                    protocol_version=PROTOCOL_VERSION,
                    client_capabilities=ClientCapabilities(
                        fs=FileSystemCapabilities(read_text_file=False, write_text_file=False), terminal=False
                    ),
                ),
                _START_SECONDS,
            )
            session = await asyncio.wait_for(agent.new_session(cwd=str(task.workspace), mcp_servers=[]), _START_SECONDS)
            again = [prompt.resumed()] if task.resumed else []
            asked = prompt.joined([prompt.rules(task), prompt.request(task), *again, prompt.finish(task)])
            ended = await agent.prompt(session_id=session.session_id, prompt=[text_block(asked)])
            if ended.stop_reason == "end_turn":
                return ""
            return f"it ended with {ended.stop_reason}"
        except TimeoutError:
            return f"it did not answer within {_START_SECONDS:.0f} seconds"
        except RequestError as error:
            return f"it answered with an error: {error}"
        except (OSError, EOFError) as error:
            return f"it broke off: {error}"
        except ValueError as error:  # An answer that is not of the protocol.
            return f"it answered what the protocol does not have: {str(error).splitlines()[0]}"


class _Client:
    """What an agent of the protocol asks of us: permissions. It has no other way than its sandbox to do anything."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.text = ""
        self.refused: list[str] = []

    async def request_permission(
        self, session_id: str, tool_call: ToolCallUpdate, options: list[PermissionOption], **_: Any
    ) -> RequestPermissionResponse:
        """Allow once what the desk may do in the workspace; refuse the rest."""
        del session_id
        allowed = self._may(tool_call)
        wanted = "allow_once" if allowed else "reject_once"
        found = next((one for one in options if one.kind == wanted), None)
        if not allowed:
            self.refused.append(tool_call.title or str(tool_call.kind))
        if found is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=found.option_id))

    def _may(self, call: ToolCallUpdate) -> bool:
        workspace = self._task.workspace.resolve()
        places = [Path(location.path) for location in call.locations or []]
        if any(not (workspace / place).resolve().is_relative_to(workspace) for place in places):
            return False
        changes_nothing = self._task.agent == "security" or self._task.kind == "answer"
        return not changes_nothing or call.kind not in _CHANGING

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Keep what the agent says; a tool call begins a new message."""
        del session_id
        self._task.turns.alive()
        if isinstance(update, AgentMessageChunk) and isinstance(update.content, TextContentBlock):
            self.text += update.content.text
        elif not isinstance(update, AgentMessageChunk) and getattr(update, "session_update", "") == "tool_call":
            self.text = ""
