"""What the command line says to input that does not fit: an exit status, what happened, what to do; nothing is lost."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest


def refused(done: Any, status: int, *said: str) -> None:
    assert done.status == status, done.out + done.err
    error = done.error()
    assert {*error} == {"code", "message", "hint", "runbook"}
    assert error["runbook"] == f"nightcrew runbook {error['code']}"
    for text in said:
        assert text in error["message"], error
    assert error["hint"]
    assert done.out == ""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, cli_type: Any) -> Any:
    """A small project that no test changes: whatever is asked of it is refused."""
    base = tmp_path_factory.mktemp("prepared")
    for name in ("home", "repo"):
        (base / name).mkdir()
    cli = cli_type(base / "home", base / "repo")
    cli.git("init", "--quiet", "--initial-branch=main")
    cli.commit({"README.md": "# sums\n"}, "Begin")
    assert cli("init", "--yes").status == 0
    return cli


def test_not_a_repository(cli: Any) -> None:
    for command in ("init --yes", "shift", "ticket list", "inbox", "plan build", "audit verify"):
        refused(cli(*command.split(), "--json"), 4, "not", "repository")


def test_error_is_a_line_and_one_of_what_to_do_and_one_that_names_its_runbook(cli: Any) -> None:
    done = cli("ticket", "list")
    lines = done.err.splitlines()
    assert len(lines) == 3
    assert "repository" in lines[0]
    assert lines[2].strip() == "Runbook: nightcrew runbook NC-REPOSITORY"
    assert "Traceback" not in done.err
    assert "Traceback" in cli("ticket", "list", "--debug").err


def test_repository_without_commits(cli: Any) -> None:
    cli.git("init", "--quiet")
    refused(cli("init", "--yes", "--json"), 4, "commit")


def test_bare_repository(cli: Any) -> None:
    cli.git("init", "--quiet", "--bare")
    refused(cli("init", "--yes", "--json"), 4, "bare")


def test_repository_that_is_not_prepared(bare_project: Any) -> None:
    for command in ("shift", "ticket list", "report"):
        refused(bare_project(*command.split(), "--json"), 4, "not prepared")


def test_folder_that_does_not_exist(cli: Any) -> None:
    refused(cli("ticket", "list", "--repo", "/no/such/folder", "--json"), 4)


def test_init_twice_makes_nothing_new(project: Any) -> None:
    done = project("init", "--yes", "--json")
    assert done.status == 0
    assert done.json()["created"] == []
    assert {*done.json()} == {"root", "created", "detected", "notes"}


def test_init_does_not_ask_where_nobody_is(bare_project: Any) -> None:
    done = bare_project("init")
    assert done.status == 2
    assert "--yes" in done.err
    assert not (bare_project.folder / ".nightcrew").exists()


def test_dirty_tree_and_detached_head_are_noted(bare_project: Any) -> None:
    bare_project.git("switch", "--quiet", "--detach")
    (bare_project.folder / "src/sums/__init__.py").write_text("changed = True\n")
    notes = " ".join(bare_project("init", "--yes", "--json").json()["notes"])
    assert "not committed" in notes
    assert "detached" in notes


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_read_only_directory(bare_project: Any) -> None:
    bare_project.folder.chmod(0o555)
    try:
        refused(bare_project("init", "--yes", "--json"), 4)
    finally:
        bare_project.folder.chmod(0o755)


def test_file_where_the_state_folder_should_be(bare_project: Any) -> None:
    (bare_project.folder / ".nightcrew").write_text("mine")
    refused(bare_project("init", "--yes", "--json"), 4)
    assert (bare_project.folder / ".nightcrew").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "no command nonsense"),
        (["ticket"], "needs a command"),
        (["ticket", "nonsense"], "nonsense"),
        (["ticket", "add"], "title"),
        (["ticket", "add", "x", "--kind", "wish"], "wish"),
        (["ticket", "add", "x", "--priority", "P9"], "P9"),
        (["ticket", "add", "two\nlines"], "one line"),
        (["ticket", "add", " "], "title"),
        (["ticket", "add", "x", "--depends", "T-0001"], "depend on itself"),
        (["ticket", "add", "x", "--depends", "soon"], "'soon'"),
        (["ticket", "show", "T-9"], "T-0009"),
        (["ticket", "list", "--state", "lost"], "lost"),
        (["inbox", "show", "R-9"], "R-0009"),
        (["inbox", "approve", "R-9"], "R-0009"),
        (["handoff", "show", "H-000009"], "H-000009"),
        (["session", "show", "S-0009"], "S-0009"),
        (["report"], "no shift"),
        (["report", "--shift", "N-9"], "N-9"),
        (["plan", "poet"], "poet"),
        (["shift", "--agent", "poet"], "poet"),
        (["shift", "--brain", "huge"], "huge"),
        (["shift", "--until", "25:00"], "25:00"),
        (["shift", "--max-minutes", "0"], "--max-minutes"),
        (["work", "build", "--manifest", "/no/such/file"], "/no/such/file"),
        (["schema", "poem"], "poem"),
    ],
)
def test_wrong_usage(prepared: Any, arguments: list[str], said: str) -> None:
    refused(prepared(*arguments, "--json"), 2, said)


def test_ticket_from_standard_input(project: Any) -> None:
    assert project("ticket", "add", "Read this", "--body", "-", stdin="é\n".encode()).status == 0
    assert project("ticket", "show", "T-1", "--json").json()["body"] == "é\n"
    refused(project("ticket", "add", "Not this", "--body", "-", "--json", stdin=b"\xff"), 2, "UTF-8")


def test_control_characters_of_a_ticket_do_not_reach_the_terminal(project: Any) -> None:
    title = "clear \x1b[2J\x1b]0;owned\x07 [bold]me[/bold]"
    assert project("ticket", "add", title).status == 0
    for command in ("ticket list", "ticket show T-1", "plan build"):
        out = project(*command.split()).out
        assert "\x1b" not in out
        assert "\x07" not in out
    assert "[bold]me[/bold]" in project("ticket", "list").out
    assert project("ticket", "list", "--json").json()[0]["title"] == title


def test_damaged_settings_are_named(project: Any) -> None:
    file = project.folder / "nightcrew.toml"
    file.write_text("[merge\n")
    refused(project("plan", "build", "--json"), 2, "nightcrew.toml")
    file.write_text("[merge]\nintoo = 'x'\n")
    refused(project("plan", "build", "--json"), 2, "merge.intoo", "merge.into?")


@pytest.mark.parametrize("text", [b"\xff\xfe", b"no front matter", b"---\nschema: [\n---\n", b"---\nroutes: 7\n---\n"])
def test_damaged_playbook_is_named(project: Any, text: bytes) -> None:
    (project.folder / ".nightcrew" / "playbook.md").write_bytes(text)
    refused(project("plan", "build", "--json"), 2, "playbook.md")


def test_damaged_database_is_told_and_kept(project: Any) -> None:
    file = project.folder / ".nightcrew" / "nightcrew.db"
    for extra in file.parent.glob("nightcrew.db-*"):
        extra.unlink()
    file.write_bytes(b"not a database at all" * 1000)
    refused(project("ticket", "list", "--json"), 3, "damaged")
    assert file.read_bytes().startswith(b"not a database")


def test_manifest_that_is_none(project: Any, tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text("agent: build\n")
    refused(project("work", "build", "--manifest", str(file), "--json"), 2, "manifest")


def test_file_that_cannot_be_written(project: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(project("plan", "build", "--output", str(tmp_path / "file" / "inner"), "--json"), 4)


def test_passphrase_is_needed_and_there_is_nobody_to_ask(project: Any) -> None:
    refused(project("reviewer", "add", "ada", "--json"), 4, "passphrase")


def test_passphrase_file_that_others_can_read(project: Any, tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery staple")
    file.chmod(0o644)
    project.more["NIGHTCREW_PASSPHRASE_FILE"] = str(file)
    assert project("reviewer", "add", "ada", "--json").status == 4
    file.chmod(0o600)
    done = project("reviewer", "add", "ada", "--json")
    assert done.status == 0, done.err
    assert done.json()["name"] == "ada"
    assert project("reviewer", "add", "ada", "--json").status in (2, 3)


def test_cycle_and_missing_dependency_are_named(project: Any) -> None:
    for number, depends in ((1, "T-2"), (2, "T-3"), (3, "T-1"), (4, "T-77")):
        assert project("ticket", "add", f"Number {number}", "--depends", depends).status == 0
    manifest = project("plan", "build", "--json").json()
    assert manifest["tickets"] == []
    assert [sorted(cycle) for cycle in manifest["cycles"]] == [["T-0001", "T-0002", "T-0003"]]
    reasons = {line["ticket"]: line["reason"] for line in manifest["left_out"]}
    assert "T-0077" in reasons["T-0004"]


def test_output_that_nobody_reads_to_the_end(project: Any) -> None:
    for number in range(30):
        assert project("ticket", "add", f"Number {number}", "--body", "x" * 5000).status == 0
    running = project.start("audit", "export")
    assert running.stdout is not None
    running.stdout.close()
    assert running.stderr is not None
    assert running.stderr.read() == ""
    running.wait(timeout=30)


@pytest.mark.slow
def test_odd_files_no_tests_and_a_command_that_fails(project: Any) -> None:
    project.git("rm", "-q", "-r", "tests")
    odd: dict[str, Any] = {
        "blob.bin": bytes(range(256)) * 50,
        "latin.py": b'NAME = "caf\xe9"\n',
        "sp ace/\u00fc.txt": "x",
    }
    project.commit(odd, "Odd files")
    assert project("ticket", "add", "Good", "--command", "echo done > done.txt").status == 0
    assert project("ticket", "add", "Bad", "--command", "echo no >&2; exit 9").status == 0
    done = project("shift", "--json")
    assert done.status == 1, done.err
    report = done.json()
    states = {row["id"]: row["state"] for row in project("ticket", "list", "--json").json()}
    assert states["T-0001"] == "in_review"  # Without tests nothing says that it is right: a person must.
    assert any(line["ticket"] == "T-0001" and line["check"] == "tests" for line in report["not_checked"])
    assert states["T-0002"] == "open"
    assert any(line["ticket"] == "T-0002" for line in report["deferred"])


@pytest.mark.slow
def test_tests_that_hang_are_killed_and_never_clean(project: Any) -> None:
    hanging = "import subprocess\n\n\ndef test_hangs():\n    subprocess.run(['sleep', '3217'])\n"
    with (project.folder / "nightcrew.toml").open("a") as file:
        file.write("\n[limits]\ntest_minutes = 0.1\n")
    project.commit({"tests/test_hang.py": hanging}, "Hang")
    assert project("ticket", "add", "Good", "--command", "echo done > done.txt").status == 0
    assert project("shift", "--json").status == 1
    assert project("ticket", "list", "--json").json()[0]["state"] == "in_review"
    assert subprocess.run(["pgrep", "-f", "sleep 3217"], capture_output=True).stdout == b""


@pytest.mark.slow
def test_two_shifts_at_once_and_interruption_lose_nothing(project: Any) -> None:
    assert project("ticket", "add", "Slow", "--command", "sleep 8; echo done > done.txt").status == 0
    assert project("ticket", "add", "Next", "--command", "echo next > next.txt").status == 0
    running = project.start("shift", "--json")
    _until(lambda: project("ticket", "show", "T-1", "--json").json()["state"] == "building")
    refused(project("shift", "--json"), 75)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode in (0, 1), err
    assert '"shift"' in out
    done = project("shift", "--json")
    assert done.status in (0, 1), done.err
    states = {row["id"]: row["state"] for row in project("ticket", "list", "--json").json()}
    assert states["T-0001"] == states["T-0002"] == "done"
    assert project("audit", "verify", "--json").json()["ok"]


def _until(holds: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
