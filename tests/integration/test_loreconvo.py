"""LoreConvo, the real one, over its own protocol: records are saved, found, read back, and never lost between."""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.faults import crew_repository as crew
from tests.gate import Gate, prepare
from tests.loreconvo import Kept, breaking, kept_running, program
from tests.model_server import Asked, Call, Reply, model_server, say

from nightcrew.cli.dispatch import dispatch
from nightcrew.cli.output import OPTIONS
from nightcrew.crew import audit, backlog, doctor, loreconvo, loreconvo_queue
from nightcrew.crew.loreconvo_server import LoreConvoDown, Server, environment, one_line, talk
from nightcrew.crew.night import run_shift
from nightcrew.crew.project import Project
from nightcrew.crew.report import markdown
from nightcrew.model.budget import Budget
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.record import SessionRecord
from nightcrew.store import ledger, memory_sync, records, sessions

pytestmark = pytest.mark.timeout(200)

Command = Callable[..., tuple[int, str, str]]
MODEL = '[agents.build]\nbrains = ["it"]\n[brains.it]\nkind = "model"\nmodel = "anthropic:claude-test"\n'


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-not-for-loreconvo")
    made = prepare(tmp_path / "home", monkeypatch)
    (made.home / "repo" / "thing.py").write_text(crew.SOURCE.replace("import os\n\n\n", ""))  # Nothing to find in it.
    crew.git(made.home / "repo", "commit", "-qam", "Tidy", env=crew.environment(made.home))
    use(made, [program()])
    yield made
    made.reopen()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with kept_running(tmp_path_factory.mktemp("loreconvo")) as started:
        yield started


@pytest.fixture
def kept(running: Kept, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A LoreConvo that runs on, with nothing in it, and is talked to unless a test says otherwise.

    Others that a test starts use the same database.
    """
    monkeypatch.setenv("LORECONVO_DB", str(running.database))
    use(gate, running.argv())
    total(gate.project)  # It makes its database when it is asked for the first time.
    running.forget()
    return running


@pytest.fixture
def command(gate: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``nightcrew memory``: gives its exit status, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(OPTIONS, "json", False)
        capsys.readouterr()
        status = dispatch(["memory", *arguments, "--repo", str(gate.home / "repo")])
        return status, *capsys.readouterr()

    return run


def use(gate: Gate, argv: list[str], more: str = "") -> None:
    """Have LoreConvo started with ``argv``; all of them share the database in the test's home."""
    text = f"[checks]\nscanners = []\nlint = false\n[memory]\nloreconvo = {json.dumps(argv)}\n{more}"
    (gate.home / "repo" / "nightcrew.toml").write_text(text)
    gate.reopen()


def leave(project: Project, *titles: str, **fields: Any) -> list[str]:
    """Sessions that left records, queued in the same transaction as the crew does."""
    names = []
    for title in titles:
        with project.store.begin() as tx:
            name = sessions.create(
                tx, shift=None, agent="build", manifest="M-1", budget=Budget(soft=2, hard=3), brain=None, tickets=[]
            )
            record = {"session": name, "agent": "build", "title": title, "summary": "Done.", "created": tx.now()}
            records.put(tx, SessionRecord.model_validate({**record, **fields}))
            loreconvo_queue.queue_record(project, tx, name)
        names.append(name)
    return names


def ask(us: Project, tool: str, **arguments: Any) -> Any:
    """Ask LoreConvo itself, as any other program that uses it."""
    return talk(us, lambda server: server.call(tool, **arguments), seconds=20)


def total(project: Project) -> int:
    return int(ask(project, "get_stats")["total_sessions"])


def states(project: Project) -> dict[str, int]:
    with project.store.read() as tx:
        return {state: number for state, number in memory_sync.counts(tx).items() if number}


def test_three_nights_are_found_in_it_and_the_open_question_of_the_last_is_in_the_next_session(
    gate: Gate, kept: Kept
) -> None:
    questions = [f"Should the tokenizer keep {kind} input?" for kind in ("old", "torn", "huge")]
    nights: list[str] = []
    asked_of: list[str] = []

    def script(asked: Asked) -> Reply:
        asked_of.append(asked.text)
        answer = {"finished": False, "done": "Looked at it.", "next": "Ask.", "questions": questions[len(nights) - 1]}
        return say(Call("finish", answer))

    async def by_day(server: Server) -> tuple[Any, Any]:
        """Another program that uses LoreConvo: what it finds of the crew, and what it leaves there itself."""
        found = await server.call("search_sessions", query="tokenizer", project="repo")
        [latest] = await server.call("search_sessions", query="huge", project="repo")
        await server.call(
            "save_session",
            title="Chat on the tokenizer",
            surface="chat",
            project="repo",
            summary="Ada wants the tokenizer to stay small.",
            open_questions=["Who owns the tokenizer tables?"],
        )
        return found, await server.call("get_session", session_id=latest["id"])

    with model_server(script=script) as server:
        use(gate, kept.argv(), f'{MODEL}base_url = "{server.url}"\n')
        backlog.add(gate.project, title="Speed up the tokenizer")
        for night in ("Monday", "Tuesday", "Wednesday"):
            nights.append(night)
            assert run_shift(gate.project, agents=["build"]).notes == (), "all is well, and there is nothing to say"
            gate.later(days=1)
        found, latest = talk(gate.project, by_day, seconds=20)
        assert len(found) == 3
        assert {one["project"] for one in found} == {"repo"}
        assert questions[2] in latest["open_questions"][0]
        assert {"nightcrew", "agent:build"} <= set(latest["tags"])
        read = loreconvo.context(gate.project, "T-0009 Test the tokenizer", 10)
        assert any(questions[2] in piece.text and piece.source.startswith("record of session S-") for piece in read)
        asked_of.clear()
        run_shift(gate.project, agents=["build"])
        prompt = asked_of[0]
        assert questions[2] in prompt
        assert "Who owns the tokenizer tables?" in prompt
        assert ", surface chat" in prompt
    assert states(gate.project) == {"sent": 4}
    assert audit.verify(gate.project).broken == ()


def test_killed_in_the_middle_nothing_is_lost_and_the_rest_is_sent_later(
    gate: Gate, kept: Kept, tmp_path: Path
) -> None:
    use(gate, breaking(tmp_path, "dies", 3))
    leave(gate.project, *(f"Night {number}" for number in range(5)))
    made = loreconvo_queue.send(gate.project)
    assert (made.sent, made.waiting, made.down) == (2, 3, True)
    assert "broke off" in made.problem
    assert states(gate.project) == {"down": 3, "sent": 2}
    with gate.project.store.read() as tx:
        assert (
            "3 session records wait for LoreConvo: LoreConvo broke off" in loreconvo.report_lines(gate.project, tx)[0]
        )

    use(gate, ["/nowhere/loreconvo"])
    leave(gate.project, "Night 5")
    assert loreconvo_queue.send(gate.project).problem == "", "it is left alone for a while, with new records too"
    use(gate, kept.argv())
    assert loreconvo.context(gate.project, "night", 5) == []
    assert kept.conversations == 0, "and with what a session would ask"
    use(gate, ["/nowhere/loreconvo"])
    gate.later(minutes=2)
    made = loreconvo_queue.send(gate.project)
    assert (made.sent, made.waiting, made.down) == (0, 4, True)
    assert "is not on this machine" in made.problem
    use(gate, kept.argv())
    gate.later(minutes=3)
    assert loreconvo_queue.send(gate.project).problem == "", "each time it is left alone for longer"
    assert kept.conversations == 0
    gate.later(minutes=2)
    assert (made := loreconvo_queue.send(gate.project)).sent == 4, made
    assert total(gate.project) == 6
    with gate.project.store.read() as tx:
        assert loreconvo.report_lines(gate.project, tx) == []
    assert audit.verify(gate.project).broken == ()


def test_a_record_that_it_chokes_on_holds_up_no_other(gate: Gate, kept: Kept) -> None:
    use(gate, kept.argv("Poison"))
    poison, *_ = leave(gate.project, "Poison", "Two", "Three")
    assert loreconvo_queue.send(gate.project).sent == 0
    gate.later(minutes=2)
    assert loreconvo_queue.send(gate.project).sent == 2
    leave(gate.project, "Four")
    gate.later(hours=1)
    made = loreconvo_queue.send(gate.project)
    assert (made.sent, made.waiting, made.refused, made.down) == (1, 0, 1, False), "it waits for a person now"
    with gate.project.store.read() as tx:
        assert [one.session for one in memory_sync.list(tx)] == [poison]


def test_our_own_death_in_a_night_after_it_took_a_record_doubles_nothing(
    gate: Gate, kept: Kept, tmp_path: Path
) -> None:
    use(gate, breaking(tmp_path, "we die", 2))
    leave(gate.project, "One", "Two")
    backlog.add(gate.project, title="Tidy")
    gate.reopen()
    argv = [sys.executable, "-m", "nightcrew", "shift", "--agent", "build"]
    died = subprocess.run(argv, cwd=gate.home / "repo", capture_output=True, timeout=60)
    assert died.returncode == -9
    use(gate, kept.argv())
    before = total(gate.project)
    assert before >= 2
    assert states(gate.project)["waiting"] == 3
    assert run_shift(gate.project).shift == "N-0001"
    assert states(gate.project) == {"sent": 3}
    assert total(gate.project) == 3
    assert audit.verify(gate.project).broken == ()


def test_a_server_that_hangs_is_ended_in_time(gate: Gate, tmp_path: Path) -> None:
    use(gate, breaking(tmp_path, "hangs", 2))
    leave(gate.project, "One", "Two")
    made = loreconvo_queue.send(gate.project, seconds=6)
    assert (made.sent, made.waiting, made.down) == (1, 1, True)
    assert "did not answer within 6 seconds" in made.problem
    for pid in (tmp_path / "processes").read_text().split():
        assert _has_ended(int(pid))


def _has_ended(pid: int) -> bool:
    """Whether a process ends within the time that a kill takes."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


def test_its_limit_is_reached_and_the_queue_stays(gate: Gate, kept: Kept, command: Command) -> None:
    project = gate.project

    async def fill(server: Server) -> None:
        for number in range(48):
            await server.call(
                "save_session", title=f"Chat {number}", surface="chat", summary="By day.", project="other"
            )

    talk(project, fill, seconds=60)
    one, two, three, _ = leave(project, "One", "Two", "Three", "Four")
    made = loreconvo_queue.send(project)
    assert (made.sent, made.full, made.down) == (2, 2, False)
    assert "50 of 50 sessions" in made.problem
    leave(project, "Five")
    gate.later(hours=23)
    before = kept.conversations
    loreconvo_queue.send(project)
    assert kept.conversations == before, "it is not asked again and again"

    with project.store.begin() as tx:
        changed = records.get(tx, one)
        assert changed is not None
        records.put(tx, changed.model_copy(update={"summary": "It was a walrus."}))
        loreconvo_queue.queue_record(project, tx, one)
    assert loreconvo_queue.send(project).sent == 1, "what it has, it can have anew"
    assert ask(project, "search_sessions", query="walrus")[0]["id"] == loreconvo_queue.remote_id(project, one)
    gate.later(hours=2)
    made = loreconvo_queue.send(project)
    assert (made.sent, made.full, made.waiting) == (0, 3, 0), "once a day it is asked"

    report = run_shift(project, agents=["qa"])
    assert any("3 session records wait for LoreConvo: " in note and "50 of 50" in note for note in report.notes)
    assert "The crew's own memory has them." in markdown(report)
    [found] = [one for one in doctor.diagnose(project.root) if one.name == "loreconvo"]
    assert found.status == "warning"
    assert "version 0.10.20, free tier (50 sessions), sessions: 50 in all, 2 of this repository;" in found.detail
    status, out, _ = command("status", "--json")
    assert status == 1
    told = json.loads(out)
    assert (told["sent"], told["waiting"], told["full"], len(told["queue"])) == (2, 3, True, 3)
    assert {two, three} & {one["session"] for one in told["queue"]} == {three}


def test_what_it_gives_back_is_bounded_and_of_this_repository_only(gate: Gate, kept: Kept) -> None:
    project = gate.project
    secret = "sk-ant-" + "a1" * 20
    leave(project, "Lexer", summary=f"The lexer used {secret}.", questions=("Lexer: keep tabs?\x1b[31m",))
    leave(project, "Parser", summary="The parser " * 3000, decisions=("parser " * 900,) * 5)
    leave(project, "Old lexer", created=gate.now - timedelta(days=400))
    assert loreconvo_queue.send(project).sent == 3

    async def others(server: Server) -> None:
        for where in ("elsewhere", None):
            await server.call("save_session", title="Lexer", surface="chat", summary="A lexer.", project=where)
        crew = {"surface": "custom", "project": "repo", "tags": ["nightcrew", "session:S-0001"]}
        await server.call("save_session", title="Lexer", summary="Of another folder with this name.", **crew)
        assert secret not in json.dumps(await server.call("search_sessions", query="lexer"))

    talk(project, others, seconds=20)
    [lexer] = loreconvo.context(project, "lexers", 10)
    assert lexer.source == "record of session S-0001 of 2026-01-05, from LoreConvo"
    assert "keep tabs?" in lexer.text
    assert secret not in lexer.text
    assert "\x1b" not in lexer.text
    [parser] = loreconvo.context(project, 'How is the "parser" (OR lexer* -tabs) used: T-0001?', 1)
    assert len(parser.text) < 4_200
    assert loreconvo.context(project, "lexer", 10, without=["S-0001"]) == []
    assert loreconvo.context(project, "walrus", 10) == []
    assert loreconvo.context(project, "", 10) == loreconvo.context(project, "lexer", 0) == []
    use(gate, kept.argv(), "characters = 50\n")
    assert loreconvo.context(gate.project, "lexer", 10) == []


def test_a_project_that_is_renamed_takes_its_records_with_it_when_asked_to(gate: Gate, kept: Kept) -> None:
    leave(gate.project, "Parser")
    loreconvo_queue.send(gate.project)
    assert loreconvo_queue.queue_all(gate.project) == 0
    use(gate, kept.argv(), 'project = "My Compiler"\n')
    assert loreconvo.context(gate.project, "parser", 5) == []
    assert loreconvo_queue.queue_all(gate.project) == 1
    assert loreconvo_queue.send(gate.project).sent == 1
    assert [piece.source[:24] for piece in loreconvo.context(gate.project, "parser", 5)] == ["record of session S-0001"]
    assert total(gate.project) == 1
    use(gate, kept.argv(), 'project = " _ "\n')
    assert loreconvo_queue.project_name(gate.project) == "repo", "what LoreConvo takes for no project at all is none"


def test_a_night_does_not_wait_for_it_at_each_ticket(gate: Gate, tmp_path: Path, caplog: Any) -> None:
    use(gate, breaking(tmp_path, "dies", 1))
    assert loreconvo.context(gate.project, "parser", 5) == []
    assert loreconvo.context(gate.project, "parser", 5) == []
    assert len((tmp_path / "processes").read_text().splitlines()) == 1
    assert "LoreConvo was not asked" in caplog.text


def test_its_process_is_given_a_stated_environment(gate: Gate, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORECONVO_PRO", "a-licence")
    monkeypatch.setenv("LORECONVO_ANTHROPIC_API_KEY", "for-summaries")
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_nothing")
    given = environment()
    assert given["LORECONVO_PRO"] == "a-licence"
    assert given["HF_HUB_OFFLINE"] == "1"
    assert given["HOME"] == str(gate.home)
    assert not {"LORECONVO_ANTHROPIC_API_KEY", "GITHUB_TOKEN", "ANTHROPIC_API_KEY"} & given.keys()

    async def running(server: Server) -> bytes:
        await server.call("get_tier")
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        return b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in children)

    if not sys.platform.startswith("linux"):
        return
    seen = talk(gate.project, running, seconds=20)
    assert kept.conversations == 1
    assert b"HF_HUB_OFFLINE=1" in seen
    assert b"LORECONVO_PRO=a-licence" in seen
    assert b"sk-ant-not" not in seen
    assert b"ghp_nothing" not in seen


def test_what_is_no_loreconvo_is_said_to_be_none(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    for argv, error, text in (
        (["no-such-loreconvo"], ConfigurationError, "is not on this machine"),
        ([sys.executable, "-c", "print('hello')"], LoreConvoDown, "broke off"),
        ([sys.executable, "-c", "import sys; sys.exit(3)"], LoreConvoDown, "broke off"),
    ):
        use(gate, argv)
        with pytest.raises(error, match=text):
            ask(gate.project, "get_tier")
    use(gate, [sys.executable, "-c", "import time\nfor _ in range(500): print('x', flush=True)\ntime.sleep(60)"])
    with pytest.raises(LoreConvoDown, match="within 1 seconds"):
        talk(gate.project, lambda server: server.call("get_tier"), seconds=1)
    assert "Failed to parse" not in caplog.text, "a log is not filled with what it prints"


def test_what_a_program_says_of_itself_has_no_keys_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORECONVO_PRO", "LIC-1234-walrus")
    said = one_line("bad licence LIC-1234-walrus\x1b[31m\nat line 3")
    assert "walrus" not in said
    assert said.startswith("bad licence ")
    assert said.endswith("[31m at line 3")


def test_it_is_off_unless_it_is_asked_for(gate: Gate, kept: Kept, command: Command) -> None:
    use(gate, [])
    leave(gate.project, "One")
    assert states(gate.project) == {}
    assert loreconvo_queue.send(gate.project, by_hand=True) == loreconvo_queue.Sent()
    assert loreconvo.context(gate.project, "one", 5) == []
    assert not any(one.name == "loreconvo" for one in doctor.diagnose(gate.project.root))
    status, out, _ = command("status")
    assert (status, "LoreConvo is not used" in out) == (0, True)
    status, _, err = command("sync")
    assert (status, "LoreConvo is not used here" in err) == (2, True)

    use(gate, kept.argv())
    status, out, _ = command("status")
    assert (status, "LoreConvo: 0 of them, as project repo." in out) == (0, True)
    assert loreconvo_queue.send(gate.project, by_hand=True).sent == 0, "records of before are not sent unasked"
    [two] = leave(gate.project, "Two")
    with gate.project.store.begin() as tx:
        memory_sync.postpone(tx, [two], "full", problem="no room", again=tx.now() + timedelta(days=1))
    assert command("status", "--json")[0] == 1
    use(gate, [])
    assert command("status", "--json")[0] == command("status")[0] == 0
    assert loreconvo_queue.send(gate.project) == loreconvo_queue.Sent()
    with gate.project.store.read() as tx:
        assert loreconvo.report_lines(gate.project, tx) == []

    use(gate, kept.argv())
    status, out, _ = command("sync", "--all")
    assert (status, "2 records were sent" in out) == (0, True)
    leave(gate.project, "Three")
    use(gate, ["no-such-loreconvo"])
    status, out, _ = command("sync")
    assert (status, "1 session record waits for LoreConvo: LoreConvo's program" in out) == (75, True)


def test_what_it_refuses_is_tried_a_few_times_and_then_waits_for_a_person(gate: Gate) -> None:
    [name] = leave(gate.project, "One")
    with gate.project.store.begin() as tx:
        [entry] = memory_sync.due(tx, limit=5)
        memory_sync.refused(tx, name, problem="no", again=tx.now() + timedelta(minutes=1))
        assert memory_sync.due(tx, limit=5) == []
    gate.later(minutes=1)
    with gate.project.store.begin() as tx:
        assert [one.attempts for one in memory_sync.due(tx, limit=5)] == [entry.attempts + 1]
        memory_sync.refused(tx, name, problem="no", again=None)
    with gate.project.store.read() as tx:
        assert loreconvo.standing(tx).line().startswith("1 session record was refused by LoreConvo")
        assert [entry.action for entry in ledger.entries(tx, subject=f"session:{name}")][-3:] == [
            "memory.queue", "memory.refuse", "memory.refuse",
        ]  # fmt: skip
