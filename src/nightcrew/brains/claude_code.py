"""The brain that drives the real ``claude`` program, over its stream of JSON lines.

What was measured on the program and is dealt with here: ``--max-turns`` is off by one, so turns are counted where they
are charged; retries that ran out, and denied tools, end as a success by their subtype; after a kill there is no result
event, and ``--resume`` restores the conversation.
"""

import json
from collections.abc import Iterator
from typing import Any

from nightcrew.brains import ending, prompt
from nightcrew.brains.agent_process import ANTHROPIC, AgentBrain, check_stopped, goes_on, look, metered, started
from nightcrew.brains.meter import Meter
from nightcrew.brains.protocol import Answer, Task
from nightcrew.sandbox import Live

_TOOLS = {"build": "Bash,Edit,Read", "qa": "Bash,Edit,Read", "security": "Bash,Read"}
_USUAL = ("claude",)


class ClaudeCodeBrain(AgentBrain):
    """Works tickets with Claude Code, in the sandbox, with a budget that it cannot pass."""

    def once(self, task: Task) -> Answer | None:
        """See AgentBrain."""
        with metered(self._name, self._settings, task, upstream=ANTHROPIC) as meter:
            session = _session(task)
            arguments, environment = self._arguments(task, session), self._environment(meter)
            with started(
                self._name, self._settings, task, meter, usual=_USUAL, arguments=arguments, environment=environment
            ) as running:
                talk = _Talk(running, task, meter, self._name)
                result = talk.through(again=session is not None)
            return talk.answer(result)

    def _arguments(self, task: Task, session: str | None) -> list[str]:
        words = [
            "-p", "--bare", "--verbose", "--output-format", "stream-json", "--input-format", "stream-json",
            "--permission-mode", "bypassPermissions", "--tools", _TOOLS.get(task.agent, _TOOLS["build"]),
            "--append-system-prompt", prompt.rules(task), "--max-turns", str(task.turns.left().hard + 2),
        ]  # fmt: skip
        if self._settings.model:
            words += ["--model", self._settings.model]
        if session is not None:
            words += ["--resume", session]
        return words

    def _environment(self, meter: Meter) -> dict[str, str]:
        return {
            "ANTHROPIC_BASE_URL": meter.url,
            "ANTHROPIC_API_KEY": meter.token,
            "API_TIMEOUT_MS": str(round(self._settings.timeout_seconds * 1000)),
            "BASH_DEFAULT_TIMEOUT_MS": "300000",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "3",
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(self._settings.output_tokens),
            "IS_SANDBOX": "1",
        }


def _session(task: Task) -> str | None:
    """The conversation to go on with: one that the program has still. It writes it down itself, and not at once."""
    session = task.journal.get("session")
    if not task.resumed or not isinstance(session, str) or not session.replace("-", "").isalnum():
        return None
    return session if any((task.place / "home").glob(f".claude/projects/*/{session}.jsonl")) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class _Talk:
    """The conversation with one run of the program."""

    def __init__(self, running: Live, task: Task, meter: Meter, name: str) -> None:
        self._running = running
        self._task = task
        self._meter = meter
        self._name = name
        self._wrapped_up = False
        self._text = ""

    def through(self, *, again: bool) -> dict[str, Any]:
        """Ask, listen to the end, and give the result event; empty if there was none. ``again``: it knows the task."""
        task = self._task
        asked = [prompt.resumed()] if again else [prompt.request(task)]
        self._say(prompt.joined([*asked, prompt.finish(task)]))
        result: dict[str, Any] = {}
        for event in self._events():
            kind = event.get("type")
            if kind == "system" and event.get("subtype") == "init":
                task.journal.put("session", str(event.get("session_id")))
            elif kind == "assistant":
                self._note(event)
            elif kind == "result":
                result = event
                self._running.hang_up()
            look(task, self._meter, self._running)
            self._wrap_up()
        return result

    def answer(self, result: dict[str, Any]) -> Answer | None:
        """What it came to, None if it is to go on after a wait. Raises BudgetError, MustStop or BrainUnavailable."""
        check_stopped(self._task, self._meter)
        if not result or result.get("is_error"):
            said = str(result.get("result") or "") or self._running.errors(500) or "it ended without a result"
            goes_on(self._name, self._task, self._meter, said)
            return None
        made = ending.read(str(result.get("result") or self._text), self._task, brain=self._name)
        denied = [str(one.get("tool_name")) for one in _list(result.get("permission_denials")) if isinstance(one, dict)]
        if not denied:
            return made
        note = f"It was refused tools that it asked for: {', '.join(sorted(set(denied)))}."
        return Answer(
            made.finished, f"{made.done}\n\n{note}", made.next, made.questions, made.decisions, made.findings,
            brain=self._name,
        )  # fmt: skip

    def _note(self, event: dict[str, Any]) -> None:
        message = event.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            return
        texts = [str(block.get("text")) for block in content if isinstance(block, dict) and block.get("type") == "text"]
        self._text = "\n".join(texts) or self._text

    def _wrap_up(self) -> None:
        left = self._task.turns.left()
        if left.soft == 0 and not self._wrapped_up:
            self._wrapped_up = True
            self._say(prompt.wrap_up(max(left.hard, 1)))

    def _say(self, text: str) -> None:
        message = {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": text}]}}
        self._running.send(json.dumps(message).encode() + b"\n")

    def _events(self) -> Iterator[dict[str, Any]]:
        for line in self._running.lines():
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue  # A line that is no event is noise of the program's.
            if isinstance(event, dict):
                yield event
