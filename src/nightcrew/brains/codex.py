"""The brain that drives ``codex exec --json``. It has no turn cap of its own: the meter has."""

import json

from nightcrew.brains import ending, prompt
from nightcrew.brains.agent_process import OPENAI, AgentBrain, check_stopped, goes_on, look, metered, started
from nightcrew.brains.meter import Meter
from nightcrew.brains.protocol import Answer, Task

_USUAL = ("codex",)
_KEY = "NIGHTCREW_TOKEN"


class CodexBrain(AgentBrain):
    """Works tickets with Codex, in the sandbox, with a budget that it cannot pass."""

    def once(self, task: Task) -> Answer | None:
        """See AgentBrain."""
        with metered(self._name, self._settings, task, upstream=OPENAI) as meter:
            with started(
                self._name,
                self._settings,
                task,
                meter,
                usual=_USUAL,
                arguments=self._arguments(task, meter),
                environment={"CODEX_HOME": str(task.place / "home" / ".codex"), _KEY: meter.token},
            ) as running:
                (task.place / "home" / ".codex").mkdir(parents=True, exist_ok=True)
                running.send(self._asked(task).encode())
                running.hang_up()
                said, ended, failed = "", False, ""
                for line in running.lines():
                    event = _event(line)
                    kind = event.get("type")
                    item = event.get("item")
                    if kind == "thread.started":
                        task.journal.put("thread", str(event.get("thread_id")))
                    elif kind == "item.completed" and isinstance(item, dict) and item.get("type") == "agent_message":
                        said = str(item.get("text"))
                    elif kind == "turn.completed":
                        ended = True
                    elif kind in ("turn.failed", "error"):
                        failed = str(event.get("error") or event.get("message"))
                    look(task, meter, running)
            check_stopped(task, meter)
            if not ended:
                goes_on(self._name, task, meter, failed or running.errors(500) or "it ended without a result")
                return None
            return ending.read(said, task, brain=self._name)

    def _asked(self, task: Task) -> str:
        first = prompt.resumed() if self._thread(task) else prompt.request(task)
        return prompt.joined([prompt.rules(task), first, prompt.finish(task)])

    def _thread(self, task: Task) -> str | None:
        """The conversation to go on with, if there is one."""
        thread = task.journal.get("thread")
        kept = isinstance(thread, str) and thread.replace("-", "").isalnum()
        home = task.place / "home" / ".codex"
        if not kept or not task.resumed or home.is_symlink() or (home / "sessions").is_symlink():
            return None
        return thread if any((home / "sessions").glob(f"*/*/*/*{thread}*")) else None

    def _arguments(self, task: Task, meter: Meter) -> list[str]:
        settings = {
            "model_provider": '"nightcrew"',
            "model_providers.nightcrew.name": '"nightcrew"',
            "model_providers.nightcrew.base_url": json.dumps(meter.url),
            "model_providers.nightcrew.env_key": f'"{_KEY}"',
            "model_providers.nightcrew.wire_api": '"responses"',
            "model_providers.nightcrew.request_max_retries": "2",
            "model_providers.nightcrew.stream_max_retries": "2",
            "model_providers.nightcrew.supports_websockets": "false",
            "check_for_update_on_startup": "false",
            "analytics.enabled": "false",
            "allow_login_shell": "false",  # A login shell forgets the PATH that the sandbox gives.
        }
        words = ["exec"]
        if thread := self._thread(task):
            words += ["resume", thread]
        # The sandbox around it is ours; its own would be one within one, which kernels refuse.
        words += ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        for name, value in settings.items():
            words += ["-c", f"{name}={value}"]
        if self._settings.model:
            words += ["-m", self._settings.model]
        return [*words, "-"]


def _event(line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
