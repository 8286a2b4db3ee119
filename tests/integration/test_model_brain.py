"""The brain that asks a model through its API: the real clients, and a scripted server that has every fault."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.brain_task import Purse, task
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
    steps,
    too_long,
)

from nightcrew.brains import Answer, BrainUnavailable, Context, MustStop, Piece
from nightcrew.brains.model import ModelBrain
from nightcrew.model.errors import BudgetError, ConfigurationError
from nightcrew.model.settings import Brain
from nightcrew.reliability import Retry

FINISH = Call("finish", {"finished": True, "done": "It is done."})
QUICK = Retry(attempts=3, base=0.01, cap=0.02, deadline=5)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("GOOGLE_API_KEY", "sk-test")


class Desk:
    """A brain, its server and its task."""

    def __init__(self, folder: Path, enter: ExitStack) -> None:
        self.folder = folder
        self._enter = enter
        self.purse = Purse()
        self.journal: Any = None
        self.context: Context | None = None

    def serve(self, script: Script) -> ModelServer:
        self.server = self._enter.enter_context(model_server(script=script))
        return self.server

    def work(self, model: str = "anthropic:claude-sonnet-5-5", **more: Any) -> Answer:
        path = "" if model.startswith(("anthropic", "google")) else "/v1"
        settings: dict[str, Any] = {"base_url": self.server.url + path, "timeout_seconds": 2}
        options = {name: more.pop(name) for name in list(more) if name in ("timeout_seconds", "context_tokens")}
        brain = ModelBrain("it", Brain(kind="model", model=model, **{**settings, **options}), retry=QUICK)
        return brain.work(task(self.folder, self.purse, journal=self.journal, context=self.context, **more))

    def file(self, name: str) -> str:
        return (self.folder / "work" / name).read_text()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)


def after(*first: Reply, then: Reply) -> Script:
    """Answer the first requests with ``first``, all later ones with ``then``."""
    left = list(first)
    return lambda asked: left.pop(0) if left else then


@pytest.mark.parametrize(
    "model",
    ["anthropic:claude-sonnet-5-5", "openai:gpt-5", "openai-responses:gpt-5", "ollama:qwen3", "google:gemini-3-pro"],
)
def test_tools_are_called_through_each_protocol(model: str, desk: Desk) -> None:
    desk.serve(
        steps(
            say("First I write.", Call("write", {"path": "a/b.txt", "text": "one\ntwo\n"})),
            say(Call("edit", {"path": "a/b.txt", "old": "two", "new": "three"})),
            say(Call("read", {"path": "a/b.txt"})),
            say(Call("run", {"command": "wc -l < a/b.txt"})),
            say(FINISH),
        )
    )
    made = desk.work(model)
    assert (made.finished, made.done, made.brain) == (True, "It is done.", "it")
    assert desk.file("a/b.txt") == "one\nthree\n"
    assert "1\\tone\\n2\\tthree" in json.dumps(desk.server.asked[3].text).replace("\\\\", "\\")
    assert "Exit status 0." in desk.server.asked[4].text
    assert len(desk.purse.charged) == len(desk.server.asked) == 5
    assert all(took.input_tokens > 0 and took.output_tokens == 8 for took in desk.purse.took.values())


def test_price_is_known_for_known_models(desk: Desk) -> None:
    desk.serve(steps(say(FINISH)))
    desk.work()
    [took] = desk.purse.took.values()
    assert took.dollars is not None
    assert 0 < took.dollars < 0.1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call("read", {"path": "/etc/passwd"}), "is not a path inside the workspace"),
        (Call("read", {"path": "../home/x"}), "is not a path inside the workspace"),
        (Call("read", {"path": "link"}), "links are not followed"),
        (Call("write", {"path": "dir/x", "text": "out"}), "links are not followed"),
        (Call("write", {"path": ".git/hooks/pre-commit", "text": "x"}), "the git directory is not open"),
        (Call("write", {"path": "a/.git/config", "text": "x"}), "the git directory is not open"),
        (Call("read", {"path": "pipe"}), "pipe is not a regular file"),
        (Call("write", {"path": "pipe", "text": "x"}), "pipe is not a regular file"),
        (Call("read", {"path": "dir"}), "links are not followed"),
        (Call("read", {"path": "folder"}), "folder is not a regular file"),
        (Call("read", {"path": "."}), "a path is needed"),
        (Call("read", {"path": "binary"}), "is not UTF-8 text"),
        (Call("read", {"path": "gone"}), "there is no file gone"),
        (Call("edit", {"path": "twice", "old": "x", "new": "y"}), "stands 2 times in twice"),
        (Call("read", {}), "Field required"),
        (Call("read", raw='{"path": '), "Invalid JSON"),
        (Call("delete_everything", {}), "there is no tool delete_everything"),
    ],
)
def test_call_that_cannot_be_made_is_told_to_the_model(call: Call, said: str, desk: Desk) -> None:
    work = desk.folder / "work"
    (desk.folder / "outside").mkdir()
    work.mkdir()
    (desk.folder / "secret").write_text("top secret")
    (work / "link").symlink_to(desk.folder / "secret")
    (work / "dir").symlink_to(desk.folder / "outside")
    (work / "binary").write_bytes(b"\xff\xfe")
    (work / "twice").write_text("x x")
    os.mkfifo(work / "pipe")
    (work / "folder").mkdir()
    desk.serve(steps(say(call), say(FINISH)))
    model = "openai:gpt-5" if call.raw else "anthropic:claude-sonnet-5-5"
    assert desk.work(model).finished
    assert said in desk.server.asked[1].text
    assert "top secret" not in desk.server.asked[1].text
    assert not list((desk.folder / "outside").iterdir())


def test_command_has_no_way_out_and_no_key(desk: Desk) -> None:
    (desk.folder / "secret").write_text("top secret")
    port = desk.serve(lambda asked: say(FINISH)).server_port
    out = (
        f"env; cat {desk.folder}/secret; python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'"
    )
    desk.server.script = steps(say(Call("run", {"command": out})), say(FINISH))
    desk.work()
    said = desk.server.asked[1].last
    assert "sk-test" not in said
    assert "top secret" not in said
    assert "Connection refused" in said


def test_search_finds_what_git_does_not_ignore(desk: Desk) -> None:
    work = desk.folder / "work"
    work.mkdir()
    (work / "a.py").write_text("x = 1\nneedle = 2\n")
    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    desk.serve(
        steps(say(Call("search", {"pattern": "need+le"}), Call("search", {"pattern": "nothing like it"})), say(FINISH))
    )
    desk.work()
    assert "a.py:2:needle = 2" in desk.server.asked[1].text
    assert "Nothing fits." in desk.server.asked[1].text


def test_endless_model_is_stopped_at_the_cap_and_told_to_wrap_up_before(desk: Desk) -> None:
    desk.purse = Purse(soft=3, hard=6)
    desk.serve(lambda asked: say(Call("list")))
    with pytest.raises(BudgetError):
        desk.work()
    assert len(desk.server.asked) == len(desk.purse.charged) == 6
    told = ["soft cap of your budget is reached" in asked.last for asked in desk.server.asked]
    assert told == [False, False, False, True, True, True]


@pytest.mark.parametrize(
    "fault", [OVERLOADED, BROKEN, rate_limited(0.01), Reply(fault="cut", blocks=say(FINISH).blocks)]
)
def test_fault_that_passes_is_tried_again_and_each_try_is_charged(fault: Reply, desk: Desk) -> None:
    desk.serve(after(fault, fault, then=say(FINISH)))
    assert desk.work().finished
    assert len(desk.server.asked) == len(desk.purse.charged) == 3


@pytest.mark.parametrize("model", ["openai:gpt-5", "openai-responses:gpt-5", "google:gemini-3-pro"])
@pytest.mark.parametrize("fault", [BROKEN, rate_limited(0.01)])
def test_no_client_retries_by_itself(model: str, fault: Reply, desk: Desk) -> None:
    """A retry that the client made would be a request that nobody charged."""
    desk.serve(after(fault, then=say(FINISH)))
    assert desk.work(model).finished
    assert len(desk.server.asked) == len(desk.purse.charged) == 2


def test_slow_answer_is_given_up_after_its_time(desk: Desk) -> None:
    desk.serve(after(Reply(fault="silent"), then=say(FINISH)))
    assert desk.work(timeout_seconds=0.5).finished
    assert len(desk.purse.charged) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "asked"),
    [
        (OVERLOADED, "transient.overloaded", 3),
        (Reply(status=401, message="invalid x-api-key", kind="authentication_error"), "permanent.auth", 1),
        (Reply(status=404, message="model: claude-9", kind="not_found_error"), "permanent.not_found", 1),
        (Reply(status=400, message="credit balance is too low", kind="billing_error"), "permanent.auth", 1),
    ],
)
def test_brain_that_cannot_work_says_why(fault: Reply, kind: str, asked: int, desk: Desk) -> None:
    desk.serve(lambda _: fault)
    with pytest.raises(BrainUnavailable) as refused:
        desk.work()
    assert str(refused.value.failure.kind) == kind
    assert len(desk.server.asked) == len(desk.purse.charged) == asked


def test_limit_with_a_time_is_waited_for_if_the_night_is_long_enough(desk: Desk) -> None:
    desk.serve(after(rate_limited(3600), then=say(FINISH)))
    assert desk.work().finished
    assert desk.purse.parked == [3600.0]
    assert len(desk.purse.charged) == 2


def test_limit_beyond_the_night_is_not_tried_again(desk: Desk) -> None:
    desk.purse = Purse(parks=False)
    desk.serve(lambda _: rate_limited(3600))
    with pytest.raises(BrainUnavailable):
        desk.work()
    assert len(desk.server.asked) == 1


def test_stop_takes_effect_before_the_next_request(desk: Desk) -> None:
    def script(asked: Asked) -> Reply:
        desk.purse.stop = "somebody asked"
        return say(Call("list"))

    desk.serve(script)
    with pytest.raises(MustStop, match="somebody asked"):
        desk.work()
    assert len(desk.server.asked) == 1


def test_context_that_is_too_long_is_trimmed_by_the_rule_and_said(desk: Desk) -> None:
    (desk.folder / "work").mkdir()
    (desk.folder / "work" / "big.txt").write_text("x" * 30_000)
    desk.context = Context(records=(Piece("record of session S-0000", "RECALLED " * 1500),))

    def script(asked: Asked) -> Reply:
        if len(asked.text) > 40_000:
            return too_long(len(asked.text) // 4, 10_000)
        return say(FINISH) if asked.turn == 4 else say(Call("read", {"path": "big.txt"}))

    desk.serve(script)
    made = desk.work()
    assert made.finished
    assert "older tool results" in made.done
    last = desk.server.asked[-1]
    assert "left out to fit" in last.text
    assert "x" * 1000 in last.last, "the newest result is still there"


def test_records_go_when_tool_results_are_not_enough(desk: Desk) -> None:
    desk.context = Context(records=(Piece("record of session S-0000", "RECALLED " * 1300),))

    def script(asked: Asked) -> Reply:
        return too_long(9000, 3000) if "RECALLED" in asked.text else say(FINISH)

    desk.serve(script)
    made = desk.work()
    assert "the recalled records" in made.done
    assert "RECALLED" not in desk.server.asked[-1].text


def test_text_that_no_document_holds_is_made_one(desk: Desk) -> None:
    work = desk.folder / "work"
    work.mkdir()
    (work / os.fsdecode(b"odd-\xff-name")).write_text("x")
    odd = {"finished": True, "done": "nul \0", "decisions": ["nul \0"]}
    desk.serve(steps(say(Call("list"), Call("run", {"command": "printf 'a\\377b\\000c'"})), say(Call("finish", odd))))
    made = desk.work()
    assert made.finished
    for text in (made.done, *made.decisions):
        assert "\0" not in text
        text.encode()
    desk.server.script = steps(say(Call("finish", {**odd, "done": "half \ud800 of a pair"})))
    with pytest.raises(BrainUnavailable):  # No client takes it; that is the service's fault, and said as one.
        desk.work()


def test_model_that_only_talks_is_unfinished_work(desk: Desk) -> None:
    desk.serve(lambda asked: say("I think that all is well."))
    made = desk.work()
    assert not made.finished
    assert "did not end its work" in made.next


def test_refusal_is_unfinished_work(desk: Desk) -> None:
    desk.serve(lambda asked: Reply([], stop="refusal"))
    made = desk.work()
    assert not made.finished


def test_killed_work_goes_on_without_asking_or_doing_anything_twice(desk: Desk) -> None:
    """The same journal, another process's life: answers and finished calls are taken from it."""
    from nightcrew.brains.protocol import Notes

    desk.journal = Notes()
    calls = [
        say(Call("run", {"command": "echo once >> log"})),
        say(Call("run", {"command": "echo twice >> log"})),
        say(FINISH),
    ]

    def dies(asked: Asked) -> Reply:
        if asked.turn == 2:
            desk.purse.stop = "killed"
            return BROKEN
        return calls[asked.turn]

    desk.serve(dies)
    with pytest.raises((MustStop, BrainUnavailable)):
        desk.work()
    desk.purse.stop = None
    before = len(desk.server.asked)
    desk.server.script = steps(*calls)
    made = desk.work(resumed=True)
    assert made.finished
    assert desk.file("log") == "once\ntwice\n"
    assert [asked.turn for asked in desk.server.asked[before:]] == [2]


def test_call_in_flight_at_a_kill_is_done_again_and_says_so(desk: Desk) -> None:
    from nightcrew.brains.protocol import Notes

    journal = Notes()
    desk.journal = journal
    desk.serve(steps(say(Call("write", {"path": "f", "text": "x"})), say(FINISH)))
    desk.work()
    journal.forget("tool 0001")  # As if the process had died before the call's result was kept.
    journal.forget("answer 0002")
    assert desk.work(resumed=True).finished
    assert "has been done again" in desk.server.asked[-1].text


def test_findings_of_a_review_are_typed(desk: Desk) -> None:
    found = {"severity": "low", "message": "off by one", "path": "a.py", "line": 3, "confidence": 0.7}
    bad = {"severity": "enormous", "message": "x"}
    desk.serve(
        steps(say(Call("finish", {"findings": [bad]})), say(Call("finish", {"findings": [found], "done": "Read it."})))
    )
    made = desk.work(kind="review", agent="qa")
    [finding] = made.findings
    assert (finding.severity, finding.path, finding.line, finding.confidence) == ("low", "a.py", 3, 0.7)
    assert finding.tool == "qa-it"
    assert len(desk.server.asked) == 2


@pytest.mark.parametrize(
    ("model", "said"), [("", "names no model"), ("claude", "names no model"), ("nobody:x", "names no model")]
)
def test_model_that_does_not_exist_is_a_configuration_error(model: str, said: str, desk: Desk) -> None:
    desk.serve(steps(say(FINISH)))
    with pytest.raises(ConfigurationError, match=said):
        desk.work(model)


def test_missing_key_names_the_variable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    desk.serve(steps(say(FINISH)))
    with pytest.raises(BrainUnavailable, match="ANTHROPIC_API_KEY"):
        desk.work()
    assert not desk.server.asked
