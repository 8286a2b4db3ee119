"""Real coding agents, driven through their own protocols in the sandbox, against a scripted model."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.brain_task import Purse, task
from tests.coding_agents import program
from tests.model_server import (
    BROKEN,
    OVERLOADED,
    Asked,
    Call,
    ModelServer,
    Reply,
    Script,
    model_server,
    rate_limited,
    say,
)

from nightcrew.brains import Answer, Brain, BrainUnavailable, MustStop
from nightcrew.brains.acp import AcpBrain
from nightcrew.brains.claude_code import ClaudeCodeBrain
from nightcrew.brains.codex import CodexBrain
from nightcrew.brains.protocol import Notes
from nightcrew.model.errors import BudgetError, SandboxError
from nightcrew.model.settings import Brain as Settings
from nightcrew.sandbox import landlock

pytestmark = pytest.mark.slow
DONE = 'All is done.\n```json\n{"finished": true, "done": "It is done.", "decisions": ["so"]}\n```'
ENDED = say(DONE)
AGENTS = ["claude-code", "acp", "codex"]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-true")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-true")


def shell(asked: Asked, command: str) -> Reply:
    """A call of the agent's shell, whatever it calls it."""
    if "exec_command" in asked.tools:
        return say(Call("exec_command", {"cmd": command}))
    return say(Call("Bash", {"command": command, "description": "run it"}))


class Desk:
    def __init__(self, folder: Path, enter: ExitStack) -> None:
        self.folder = folder
        self._enter = enter
        self.purse = Purse()
        self.journal = Notes()

    def serve(self, script: Script) -> ModelServer:
        self.server = self._enter.enter_context(model_server(script=script))
        return self.server

    def brain(self, kind: str, **more: Any) -> Brain:
        programs = {"claude-code": "claude", "acp": "claude-agent-acp", "codex": "codex"}
        path = "/v1" if kind == "codex" else ""
        more = {"model": "gpt-5.1-codex", **more} if kind == "codex" else more
        given: dict[str, Any] = {"command": (program(programs[kind]),), "base_url": self.server.url + path, **more}
        settings = Settings.model_validate({"kind": kind, "timeout_seconds": 20, **given})
        makers: dict[str, Any] = {"claude-code": ClaudeCodeBrain, "acp": AcpBrain, "codex": CodexBrain}
        brain: Brain = makers[kind]("it", settings)
        return brain

    def work(self, agent_kind: str, *, settings: dict[str, Any] | None = None, **more: Any) -> Answer:
        return self.brain(agent_kind, **(settings or {})).work(
            task(self.folder, self.purse, journal=self.journal, **more)
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)


@pytest.mark.parametrize("kind", AGENTS)
def test_agent_works_and_its_end_is_read(kind: str, desk: Desk) -> None:
    desk.serve(lambda asked: shell(asked, "echo made > f.txt; env") if asked.turn == 0 else ENDED)
    made = desk.work(kind)
    assert (made.finished, made.done, made.decisions) == (True, "It is done.", ("so",))
    made_file = desk.folder / "work" / "f.txt"
    assert made_file.exists(), desk.server.asked[1].last
    assert made_file.read_text() == "made\n"
    assert len(desk.purse.charged) == len(desk.server.asked) == 2
    assert "sk-true" not in desk.server.asked[1].text, "the agent never has the key"


@pytest.mark.parametrize("kind", AGENTS)
def test_endless_agent_is_ended_at_the_cap(kind: str, desk: Desk) -> None:
    desk.purse = Purse(soft=2, hard=4)
    desk.serve(lambda asked: shell(asked, "echo again >> log"))
    with pytest.raises(BudgetError):
        desk.work(kind)
    assert len(desk.server.asked) == len(desk.purse.charged) == 4


@pytest.mark.parametrize("kind", AGENTS)
def test_agent_that_only_talks_has_not_finished(kind: str, desk: Desk) -> None:
    desk.serve(lambda asked: say("I looked at it and it is fine."))
    made = desk.work(kind)
    assert not made.finished
    assert "without saying whether the work is finished" in made.next


@pytest.mark.parametrize("kind", AGENTS)
def test_service_that_stays_down_is_handed_on(kind: str, desk: Desk) -> None:
    desk.purse = Purse(soft=30, hard=40)
    desk.serve(lambda asked: Reply(status=401, message="invalid x-api-key", kind="authentication_error"))
    with pytest.raises(BrainUnavailable) as refused:
        desk.work(kind)
    assert refused.value.failure.kind == "permanent.auth"
    assert len(desk.server.asked) == len(desk.purse.charged)


@pytest.mark.parametrize("fault", [OVERLOADED, BROKEN])
def test_exhausted_retries_are_no_success_and_each_was_charged(fault: Reply, desk: Desk) -> None:
    desk.purse = Purse(soft=30, hard=40)
    desk.serve(lambda asked: fault)
    with pytest.raises(BrainUnavailable) as refused:
        desk.work("claude-code")
    assert refused.value.failure.kind == "transient.overloaded"
    assert 2 <= len(desk.server.asked) == len(desk.purse.charged) <= 7


def test_wrap_up_message_reaches_the_model_at_the_soft_cap(desk: Desk) -> None:
    desk.purse = Purse(soft=2, hard=8)

    def script(asked: Asked) -> Reply:
        return ENDED if "soft cap of your budget is reached" in asked.text else shell(asked, "sleep 0.5; echo x >> log")

    desk.serve(script)
    assert desk.work("claude-code").finished
    assert 2 <= len(desk.server.asked) < 8


def test_limit_is_waited_for_and_the_conversation_goes_on(desk: Desk) -> None:
    limited = [True]

    def script(asked: Asked) -> Reply:
        if asked.turn == 1 and limited:
            return rate_limited(7200)
        return ENDED if asked.turn else shell(asked, "echo once >> log")

    server = desk.serve(script)
    purse = desk.purse

    class Patient(Purse):
        def park(self, seconds: float, why: str) -> bool:
            limited.clear()
            return super().park(seconds, why)

    desk.purse = Patient(soft=20, hard=30)
    made = desk.work("claude-code", settings={"environment": {"CLAUDE_CODE_MAX_RETRIES": "0"}})
    assert made.finished
    assert desk.purse.parked == [7200.0]
    assert (desk.folder / "work" / "log").read_text() == "once\n", "it went on, and did not begin anew"
    assert server.asked[-1].turn >= 1
    assert not purse.charged


def test_limit_beyond_the_night_hands_on(desk: Desk) -> None:
    desk.purse = Purse(soft=20, hard=30, parks=False)
    desk.serve(lambda asked: rate_limited(7200))
    with pytest.raises(BrainUnavailable) as refused:
        desk.work("claude-code", settings={"environment": {"CLAUDE_CODE_MAX_RETRIES": "0"}})
    assert refused.value.failure.kind == "transient.rate_limit"
    assert len(desk.server.asked) <= 2, "no hot loop"


def test_stop_ends_the_agent_within_seconds(desk: Desk) -> None:
    def script(asked: Asked) -> Reply:
        desk.purse.stop = "somebody asked"
        return shell(asked, "sleep 60")

    desk.serve(script)
    with pytest.raises(MustStop, match="somebody asked"):
        desk.work("claude-code")
    assert len(desk.server.asked) == 1


@pytest.mark.parametrize("kind", ["claude-code", "codex"])
def test_settings_of_the_user_do_not_reach_the_agent(kind: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    home = desk.folder / "true-home"
    (home / ".claude").mkdir(parents=True)
    (home / ".codex").mkdir()
    (home / ".claude" / "CLAUDE.md").write_text("ALWAYS SAY BANANA")
    (home / ".codex" / "AGENTS.md").write_text("ALWAYS SAY BANANA")
    hooks = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": f"touch {home}/hooked"}]}]}}
    (home / ".claude" / "settings.json").write_text(json.dumps(hooks))
    monkeypatch.setenv("HOME", str(home))
    desk.serve(lambda asked: ENDED)
    assert desk.work(kind).finished
    assert "BANANA" not in desk.server.asked[0].text
    assert not (home / "hooked").exists()


def test_hooks_and_settings_of_the_repository_do_not_run(desk: Desk) -> None:
    work = desk.folder / "work"
    (work / ".claude").mkdir(parents=True)
    hooks = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": f"touch {work}/hooked"}]}]}}
    (work / ".claude" / "settings.json").write_text(json.dumps(hooks))
    desk.serve(lambda asked: ENDED)
    assert desk.work("claude-code").finished
    assert not (work / "hooked").exists()


def test_agent_reaches_nothing_but_its_model(desk: Desk) -> None:
    (desk.folder / "secret").write_text("top secret")
    other = desk.serve(lambda asked: ENDED).server_port
    out = (
        f"cat {desk.folder}/secret; cat /proc/*/environ | tr '\\0' '\\n' | grep sk-true; "
        f"curl -sS -m 3 http://127.0.0.1:{other}/ 2>&1; curl -sS -m 3 https://example.com 2>&1; "
        'curl -sS -m 3 -X POST $ANTHROPIC_BASE_URL/v1/messages/batches -H "x-api-key: $ANTHROPIC_API_KEY" -d {} 2>&1'
    )
    desk.server.script = lambda asked: shell(asked, out) if asked.turn == 0 else ENDED
    desk.work("claude-code")
    said = desk.server.asked[1].last
    assert "top secret" not in said
    assert "sk-true" not in said
    assert "only requests to a model are passed on" in said
    assert len(desk.server.asked) == 2
    assert desk.server.others in ([], ["/"])


def test_background_process_does_not_outlive_the_session(desk: Desk) -> None:
    beat = desk.folder / "work" / "beat"
    command = f"(setsid sh -c 'while :; do date >> {beat}; sleep 0.1; done' >/dev/null 2>&1 &) ; sleep 0.3"
    desk.serve(lambda asked: shell(asked, command) if asked.turn == 0 else ENDED)
    assert desk.work("claude-code").finished
    import time

    size = beat.stat().st_size
    time.sleep(0.5)
    assert beat.stat().st_size == size


def test_machine_without_namespaces_runs_no_coding_agent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Landlock alone could open a port, but not to one address, and not close UDP: nothing is run."""
    if os.uname().sysname != "Linux":
        pytest.skip("Landlock is of Linux")
    monkeypatch.setattr(landlock, "_refused", "a test")
    desk.serve(lambda asked: ENDED)
    with pytest.raises(SandboxError, match="one way out only"):
        desk.work("claude-code")
    assert not desk.server.asked


def test_program_that_is_not_there(desk: Desk) -> None:
    desk.serve(lambda asked: ENDED)
    with pytest.raises(BrainUnavailable, match="there is no program no-such-claude"):
        desk.work("claude-code", settings={"command": ("no-such-claude",)})


def test_program_that_fails_at_once_says_what_it_said(desk: Desk, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "claude"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho 'no licence found' >&2\nexit 3\n")
    script.chmod(0o755)
    desk.serve(lambda asked: ENDED)
    with pytest.raises(BrainUnavailable, match="no licence found"):
        desk.work("claude-code", settings={"command": (str(script),)})


def test_security_desk_has_no_tool_to_edit_with(desk: Desk) -> None:
    found = {"findings": [{"severity": "low", "message": "x", "confidence": 0.5}], "done": "Read."}
    ended = say(f"Read.\n```json\n{json.dumps(found)}\n```")
    desk.serve(lambda asked: ended)
    made = desk.work("claude-code", kind="review", agent="security")
    assert [finding.severity for finding in made.findings] == ["low"]
    assert "Edit" not in desk.server.asked[0].tools


def test_conversation_is_taken_up_again_after_a_crash(desk: Desk) -> None:
    """The home of the agent and the journal are what a killed process leaves."""
    desk.purse = Purse(soft=10, hard=2)
    desk.serve(lambda asked: shell(asked, "echo once >> log"))
    with pytest.raises(BudgetError):
        desk.work("claude-code")
    desk.purse = replace(Purse(), soft=10, hard=10)
    desk.server.script = lambda asked: ENDED
    assert desk.work("claude-code", resumed=True).finished
    assert "interrupted and has been started again" in desk.server.asked[-1].text
    assert desk.server.asked[-1].turn >= 2


def test_conversation_that_is_gone_is_begun_anew_with_the_whole_task(desk: Desk) -> None:
    """Killed before the program wrote anything down: what is left is a session's name."""
    desk.journal.put("session", "00000000-0000-0000-0000-000000000000")
    desk.serve(lambda asked: ENDED)
    assert desk.work("claude-code", resumed=True).finished
    assert "Add triple" in desk.server.asked[0].text
