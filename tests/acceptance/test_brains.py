"""Nights with a thinking crew: models through their real clients, real coding agents, against a scripted model."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from tests.acceptance.conftest import Cli
from tests.coding_agents import program
from tests.model_server import Asked, Call, ModelServer, Reply, Script, model_server, say

SOURCE = 'def triple(number):\n    """Three times a number."""\n    return 3 * number\n'
TESTS = "from sums.triple import triple\n\n\ndef test_triple():\n    assert triple(2) == 6\n"
SHELL = (
    f"cat > src/sums/triple.py <<'END'\n{SOURCE}END\ncat > tests/test_triple.py <<'END'\n{TESTS}END\n"
    "PYTHONPATH=src python3 -c 'from sums.triple import triple; print(\"it gives\", triple(2))'"
)
FINISHED = {"finished": True, "done": "Wrote triple and its test.", "decisions": ["triple has a module of its own"]}
ENDING = f"I wrote triple.\n\n```json\n{json.dumps(FINISHED)}\n```"
KEYS = {"ANTHROPIC_API_KEY": "sk-true-anthropic", "OPENAI_API_KEY": "sk-true-openai"}


def by_tools(asked: Asked) -> Reply:
    """What a model does with nightcrew's own tools."""
    replies = (
        say(Call("list"), Call("search", {"pattern": "def add"})),
        say(
            "I read enough.",
            Call("write", {"path": "src/sums/triple.py", "text": SOURCE}),
            Call("write", {"path": "tests/test_triple.py", "text": TESTS}),
        ),
        say(Call("run", {"command": "PYTHONPATH=src python3 -c 'import sums.triple; print(sums.triple.triple(2))'"})),
        say(Call("finish", FINISHED)),
    )
    return replies[min(asked.turn, len(replies) - 1)]


def by_shell(asked: Asked) -> Reply:
    """What it does with a coding agent's tools, whatever that calls its shell."""
    if asked.turn:
        return say(ENDING)
    shells: dict[str, dict[str, Any]] = {
        "Bash": {"command": SHELL, "description": "write it"},
        "bash": {"command": SHELL, "description": "write it"},
        "exec_command": {"cmd": SHELL},
    }
    name = next((name for name in shells if name in asked.tools), None)
    return say(Call(name, shells[name])) if name else say("A title")


def configure(project: Cli, text: str) -> None:
    with (project.folder / "nightcrew.toml").open("a") as file:
        file.write(f"\n{text}\n")
    project.more.update(KEYS)


def brain(kind: str, url: str) -> str:
    tables = {
        "model": f'kind = "model"\nmodel = "anthropic:claude-sonnet-5-5"\nbase_url = "{url}"',
        "openai": f'kind = "model"\nmodel = "openai:gpt-5"\nbase_url = "{url}/v1"',
        "claude-code": f'kind = "claude-code"\nbase_url = "{url}"\ncommand = ["%s"]',
        "acp": f'kind = "acp"\nbase_url = "{url}"\ncommand = ["%s"]',
        "opencode": f'kind = "acp"\nbase_url = "{url}/v1"\ncommand = ["%s", "acp"]\n'
        "[brains.it.environment]\nOPENCODE_CONFIG_CONTENT = '''"
        '{"provider": {"anthropic": {"options": {"baseURL": "{url}", "apiKey": "{token}"}}},'
        ' "model": "anthropic/claude-sonnet-4-5", "small_model": "anthropic/claude-sonnet-4-5", "autoupdate": false}'
        "'''",
        "codex": f'kind = "codex"\nmodel = "gpt-5.1-codex"\nbase_url = "{url}/v1"\ncommand = ["%s"]',
    }
    programs = {"claude-code": "claude", "acp": "claude-agent-acp", "opencode": "opencode", "codex": "codex"}
    table = tables[kind]
    return f"[brains.it]\n{table % program(programs[kind]) if kind in programs else table}"


def file_ticket(project: Cli) -> None:
    done = project("ticket", "add", "Add triple", "--body", "A function triple in a module of its own, with a test.")
    assert done.status == 0, done.err


SCRIPTS: dict[str, Callable[[Asked], Reply]] = {"model": by_tools, "openai": by_tools}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "openai", "claude-code", "acp", "opencode", "codex"])
def test_feature_is_built_tested_checked_and_merged_in_one_shift(kind: str, project: Cli) -> None:
    script: Script = SCRIPTS.get(kind, by_shell)
    with model_server(script=script) as server:
        configure(project, f'[agents.build]\nbrains = ["it"]\n{brain(kind, server.url)}')
        file_ticket(project)
        done = project("shift", "--json")
        assert done.status == 0, done.err
        report = done.json()
    assert [merged["ticket"] for merged in report["merged"]] == ["T-0001"], report
    assert project.git("show", "nightcrew/integration:src/sums/triple.py") == SOURCE.strip()
    assert project.git("show", "nightcrew/integration:tests/test_triple.py") == TESTS.strip()
    [tests] = [check for check in report["checks"] if check["check"] == "tests"]
    assert tests["detail"].startswith("head: 2 passed; base: 1 passed")
    assert {check["status"] for check in report["checks"]} == {"passed"}
    assert not report["not_checked"]
    charged = next(session["turns"] for session in report["sessions"] if session["agent"] == "build")
    assert charged == len(server.asked) >= 2, "each request is a turn, and no turn is anything else"
    [session] = [session for session in report["sessions"] if session["agent"] == "build"]
    assert session["tokens"] > 1000
    assert f"{session['tokens']:,} tokens" in project("report").out
    handoff = project("handoff", "show", "H-000001").out
    assert "brain: it" in handoff
    assert "Wrote triple and its test." in handoff
    keeps_its_key(server, project)
    workspaces = next((project.home / ".local/state/nightcrew").glob("*/workspaces"))
    assert not list(workspaces.iterdir()), "nothing is left behind by work that is through"


def keeps_its_key(server: ModelServer, project: Cli) -> None:
    """The service got the true key with each request; nothing that is kept, and nothing the agent said, has it."""
    for asked in server.asked:
        given = asked.headers.get("x-api-key") or asked.headers.get("authorization", "").removeprefix("Bearer ")
        assert given in KEYS.values()
        assert "sk-true" not in asked.text
    kept = [path for path in (project.folder / ".nightcrew").rglob("*") if path.is_file()]
    kept += [path for path in (project.home / ".local").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"sk-true" in path.read_bytes()]


def test_brain_of_one_night_and_one_that_does_not_exist(project: Cli) -> None:
    project.more.update(KEYS)
    refused = project("shift", "--brain", "huge", "--json")
    assert (refused.status, refused.error()["code"]) == (2, "NC-USAGE")
    assert "claude-code" in refused.error()["hint"]
    with model_server(script=by_tools) as server:
        configure(project, brain("model", server.url))
        file_ticket(project)
        report = project("shift", "--brain", "it", "--json").json()
    assert [merged["ticket"] for merged in report["merged"]] == ["T-0001"]


def test_chain_goes_on_with_the_next_brain_and_says_why(project: Cli) -> None:
    def broke(asked: Asked) -> Reply:
        if asked.protocol == "chat":
            return Reply(status=429, message="You exceeded your current quota", kind="insufficient_quota")
        return by_tools(asked)

    with model_server(script=broke) as server:
        configure(
            project,
            f'[agents.build]\nbrains = ["keyless", "poor", "it", "mechanical"]\n{brain("model", server.url)}\n'
            '[brains.keyless]\nkind = "model"\nmodel = "anthropic:claude-sonnet-5-5"\nkey_env = "NO_SUCH_KEY"\n'
            f'[brains.poor]\nkind = "model"\nmodel = "openai:gpt-5"\nbase_url = "{server.url}/v1"',
        )
        file_ticket(project)
        report = project("shift", "--json").json()
    assert [merged["ticket"] for merged in report["merged"]] == ["T-0001"], report
    handoff = project("handoff", "show", "H-000001").out
    assert "brain: it" in handoff
    assert "NO_SUCH_KEY is not set" in handoff
    assert "poor could not" in handoff


@pytest.mark.parametrize(("cap", "said"), [("tokens = 4000", "tokens"), ("dollars = 0.01", "dollars")])
def test_optional_cap_stops_the_session(cap: str, said: str, project: Cli) -> None:
    with model_server(script=lambda asked: say(Call("list"))) as server:
        table = (project.folder / "nightcrew.toml").read_text().replace("[budget]", f"[budget]\n{cap}")
        (project.folder / "nightcrew.toml").write_text(table)
        configure(project, f'[agents.build]\nbrains = ["it"]\n{brain("model", server.url)}')
        file_ticket(project)
        project("work", "build")
        asked = len(server.asked)
    assert 1 < asked < 10
    handoff = project("handoff", "show", "H-000001").out
    assert f"{said}" in handoff
    assert "had to stop before the ticket was done" in handoff


def test_unfinished_work_is_gone_on_with_by_the_next_session(project: Cli) -> None:
    def first(asked: Asked) -> Reply:
        half = (
            say(
                Call("write", {"path": "src/sums/triple.py", "text": SOURCE}),
                Call("note_decision", {"decision": "own module"}),
            ),
            say(Call("finish", {"finished": False, "done": "Wrote it.", "next": "The test is missing."})),
        )
        return half[min(asked.turn, 1)]

    def second(asked: Asked) -> Reply:
        assert "The test is missing." in asked.text, "the handoff is before it"
        rest = (
            say(Call("read", {"path": "src/sums/triple.py"})),
            say(Call("write", {"path": "tests/test_triple.py", "text": TESTS})),
            say(Call("finish", FINISHED)),
        )
        return rest[min(asked.turn, 2)]

    with model_server(script=first) as server:
        configure(project, f'[agents.build]\nbrains = ["it"]\n{brain("model", server.url)}')
        file_ticket(project)
        project("shift")
        assert "T-0001: own module" in project("recall", "triple", "--json").out
        server.script = second
        server.asked.clear()
        report = project("shift", "--json").json()
        assert "Three times a number" in server.asked[1].text, "its work is there"
    assert [merged["ticket"] for merged in report["merged"]] == ["T-0001"], report
    assert project.git("show", "nightcrew/integration:src/sums/triple.py") == SOURCE.strip()


def test_no_brain_at_all_is_an_honest_deferral(project: Cli) -> None:
    configure(project, '[agents.build]\nbrains = ["anthropic:claude-sonnet-5-5", "codex", "mechanical"]')
    project.more.clear()
    file_ticket(project)
    report = project("shift", "--json").json()
    assert report["merged"] == []
    [deferred] = report["deferred"]
    handoff = project("handoff", "show", "H-000001").out
    assert "ANTHROPIC_API_KEY is not set" in handoff
    assert "there is no program codex" in handoff or "OPENAI_API_KEY" in handoff
    assert deferred["ticket"] == "T-0001"
    assert "open" in project("ticket", "show", "T-0001").out


def test_agent_of_the_users_own_works_its_tickets(project: Cli) -> None:
    def script(asked: Asked) -> Reply:
        text = "# Sums\n\nAdds numbers.\n" if "Write for readers" in asked.text else "wrong agent"
        replies = (say(Call("write", {"path": "README.md", "text": text})), say(Call("finish", FINISHED)))
        return replies[min(asked.turn, 1)]

    with model_server(script=script) as server:
        (project.folder / ".nightcrew" / "docs.md").write_text("Write for readers who are in a hurry.\n")
        configure(
            project,
            f'[agents.docs]\nbrains = ["it"]\nprompt = ".nightcrew/docs.md"\nsoft = 5\nhard = 8\n'
            f"{brain('model', server.url)}",
        )
        project("ticket", "add", "Docs: say what it is")
        project("ticket", "add", "Something for build")
        report = project("shift", "--json").json()
    assert [merged["ticket"] for merged in report["merged"]] == ["T-0001"], report
    assert [note["ticket"] for note in report["deferred"]] == ["T-0002"]
    [session] = [one for one in report["sessions"] if one["agent"] == "docs"]
    assert (session["turns"], session["soft"], session["hard"]) == (2, 5, 8)
    assert project.git("show", "nightcrew/integration:README.md") == "# Sums\n\nAdds numbers."


def test_qa_with_a_model_adds_tests_and_nothing_else(project: Cli) -> None:
    extra = "from sums.triple import triple\n\n\ndef test_triple_of_nothing():\n    assert triple(0) == 0\n"

    def script(asked: Asked) -> Reply:
        if "reviewer for quality" not in asked.text:
            return by_tools(asked)
        assert "+def triple(number):" in asked.text, "the diff is before it"
        assert "tests: passed" in asked.text, "and what the tools said"
        if "write" not in asked.tools or asked.turn:
            return say(Call("finish", {"findings": [], "done": "Read the change and tried it with 0."}))
        return say(Call("write", {"path": "tests/test_triple_more.py", "text": extra}))

    with model_server(script=script) as server:
        configure(
            project, f'[agents.build]\nbrains = ["it"]\n[agents.qa]\nbrains = ["it"]\n{brain("model", server.url)}'
        )
        file_ticket(project)
        report = project("shift", "--json").json()
    assert [merged["ticket"] for merged in report["merged"]] == ["T-0001"], report
    assert project.git("show", "nightcrew/integration:tests/test_triple_more.py") == extra.strip()
    [review] = [check for check in report["checks"] if check["check"].startswith("review")]
    assert review["status"] == "passed"
    assert "added tests: tests/test_triple_more.py" in review["detail"]
    [tests] = [check for check in report["checks"] if check["check"] == "tests"]
    assert tests["detail"].startswith("head: 3 passed"), "the commit that goes on is the one that was tested"


def test_test_of_qa_that_fails_is_a_finding(project: Cli) -> None:
    wrong = "from sums.triple import triple\n\n\ndef test_triple_of_text():\n    assert triple('a') == 'a'\n"

    def script(asked: Asked) -> Reply:
        if "reviewer for quality" not in asked.text:
            return by_tools(asked)
        if asked.turn:
            return say(Call("finish", {"findings": [], "done": "Showed it by a test."}))
        return say(Call("write", {"path": "tests/test_more.py", "text": wrong}))

    with model_server(script=script) as server:
        configure(
            project,
            "[limits]\nattempts_per_shift = 1\n"
            f'[agents.build]\nbrains = ["it"]\n[agents.qa]\nbrains = ["it"]\n{brain("model", server.url)}',
        )
        file_ticket(project)
        report = project("shift", "--json").json()
    assert report["merged"] == []
    verdict = project("handoff", "show", "H-000002").out
    assert "verdict: failed" in verdict
    assert "test_triple_of_text" in verdict
    assert "tests/test_more.py" not in project.git("ls-tree", "-r", "--name-only", "nightcrew/T-0001")


@pytest.mark.parametrize("path", ["src/sums/triple.py", "tests/test_triple.py"])
def test_what_qa_changes_beside_new_tests_is_dropped(path: str, project: Cli) -> None:
    def script(asked: Asked) -> Reply:
        if "reviewer for quality" not in asked.text:
            return by_tools(asked)
        replies = (
            say(Call("write", {"path": path, "text": "def triple(number):\n    return 0\n"})),
            say(Call("finish", {"findings": [], "done": "All is well now."})),
        )
        return replies[min(asked.turn, 1)]

    with model_server(script=script) as server:
        configure(
            project, f'[agents.build]\nbrains = ["it"]\n[agents.qa]\nbrains = ["it"]\n{brain("model", server.url)}'
        )
        file_ticket(project)
        report = project("shift", "--json").json()
    assert project.git("show", "nightcrew/integration:src/sums/triple.py") == SOURCE.strip()
    assert project.git("show", "nightcrew/integration:tests/test_triple.py") == TESTS.strip()
    [review] = [check for check in report["checks"] if check["check"].startswith("review")]
    assert f"dropped what it changed beside new tests: {path}" in review["detail"]


def test_findings_of_a_reading_model_are_added_to_those_of_the_tools(project: Cli) -> None:
    found = {
        "severity": "high", "path": "src/sums/triple.py", "line": 3, "message": "Anyone may triple",
        "evidence": "no check of permission", "confidence": 0.9,
    }  # fmt: skip

    def script(asked: Asked) -> Reply:
        if "reviewer for security" not in asked.text:
            return by_tools(asked)
        assert "write" not in asked.tools, "security changes nothing"
        return say(Call("finish", {"findings": [found], "done": "Read it."}))

    with model_server(script=script) as server:
        configure(
            project,
            f'[agents.build]\nbrains = ["it"]\n[agents.security]\nbrains = ["it"]\n{brain("model", server.url)}',
        )
        file_ticket(project)
        done = project("shift", "--json")
    report = done.json()
    assert done.status == 1
    assert report["merged"] == []
    [waiting] = report["inbox"]
    assert (waiting["severity"], waiting["ticket"]) == ("high", "T-0001")
    assert "Anyone may triple" in waiting["reason"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_coding_agent_is_held_by_bubblewrap_if_asked_for(project: Cli) -> None:
    with model_server(script=by_shell) as server:
        configure(
            project,
            f'[sandbox]\nmode = "bubblewrap"\n[agents.build]\nbrains = ["it"]\n{brain("claude-code", server.url)}',
        )
        file_ticket(project)
        report = project("shift", "--json").json()
    assert [merged["ticket"] for merged in report["merged"]] == ["T-0001"], report


def test_brain_with_a_model_refuses_where_there_is_no_sandbox(project: Cli) -> None:
    """A machine without one, by hiding it: the shift is refused before anything is begun."""
    configure(project, '[agents.build]\nbrains = ["anthropic:claude-sonnet-5-5"]')
    file_ticket(project)
    hidden = project.home / "hide" / "sitecustomize.py"
    hidden.parent.mkdir()
    hidden.write_text("import nightcrew.sandbox.choose as c\nc.choose = lambda: None\nc.available = lambda: None\n")
    project.more["PYTHONPATH"] = str(hidden.parent)
    refused = project("shift", "--json")
    assert (refused.status, refused.error()["code"]) == (4, "NC-SANDBOX")
    assert "T-0001" in project("ticket", "list").out


def test_doctor_says_what_each_brain_lacks(project: Cli) -> None:
    configure(project, '[agents.build]\nbrains = ["claude-code", "anthropic:claude-sonnet-5-5", "mechanical"]')
    del project.more["ANTHROPIC_API_KEY"]
    found = {one["name"]: one for one in project("doctor", "--json").json()["checks"]}
    assert found["brain claude-code"]["status"] == "warning"
    assert "claude setup-token" in found["brain claude-code"]["hint"]
    assert "ANTHROPIC_API_KEY" in found["brain anthropic:claude-sonnet-5-5"]["detail"]
    project.more["ANTHROPIC_API_KEY"] = "sk-true-anthropic"
    again = project("doctor", "--json")
    assert "sk-true" not in again.out
    found = {one["name"]: one for one in again.json()["checks"]}
    assert found["brain anthropic:claude-sonnet-5-5"]["status"] == "ok"


def test_sandbox_that_is_off_is_said_in_the_report_and_the_ledger(project: Cli) -> None:
    with model_server(script=by_tools) as server:
        configure(project, f'[sandbox]\nmode = "off"\n[agents.build]\nbrains = ["it"]\n{brain("model", server.url)}')
        file_ticket(project)
        report = project("shift", "--json").json()
    assert "the sandbox was off, by nightcrew.toml" in report["notes"]
    entries = [json.loads(line) for line in project("audit", "export").out.splitlines()]
    [start] = [entry for entry in entries if entry["action"] == "shift.start"]
    assert json.loads(start["data"])["sandbox"] == "off"
