"""Nights on repositories that are in a bad way: each ends with a defined result, and loses or touches nothing."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
CODE: dict[str, str | bytes] = {
    "pytest.ini": "[pytest]\naddopts = --disable-plugin-autoload\n",
    "sums.py": '"""Sums."""\n\n\ndef add(a, b):\n    """The sum."""\n    return a + b\n',
    "test_sums.py": "from sums import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
}
HOSTILE = ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "diff.external", "gpg.program")
HOOKS = ("post-checkout", "pre-commit", "post-commit", "post-merge", "pre-merge-commit", "reference-transaction")


def begin(cli: Any, files: dict[str, str | bytes] | None = None, settings: str = "") -> Any:
    """A prepared repository with ``files`` committed."""
    cli.git("init", "--quiet", "--initial-branch=main")
    cli.commit(CODE if files is None else files, "Begin")
    done = cli("init", "--yes")
    assert done.status == 0, done.err
    with (cli.folder / "nightcrew.toml").open("a") as file:
        file.write(settings)
    return cli


def states(cli: Any) -> dict[str, str]:
    return {row["id"]: row["state"] for row in cli("ticket", "list", "--json").json()}


def until(holds: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of a working tree, outside ``.git`` and ``.nightcrew``, with its mode and bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes(),
        )
        for path in files
        if path.relative_to(folder).parts[0] not in (".git", ".nightcrew")
    }


# --- One night on a repository with everything wrong at once


class OddNight:
    """A dirty tree with a detached head and hostile git settings; what was there before the shift and after."""

    def __init__(self, cli: Any) -> None:
        self.cli = begin(cli)
        self.canary = cli.home / "canary"
        folder = cli.folder
        script = cli.home / "trap.sh"
        script.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{self.canary}'\nexit 1\n")
        script.chmod(0o755)
        hooks = cli.home / "hooks"
        hooks.mkdir()
        for name in HOOKS:
            (hooks / name).symlink_to(script)
            (folder / ".git" / "hooks" / name).unlink(missing_ok=True)
        self.add("Binary", "printf 'a\\000\\377\\376b' > blob.bin; printf '# caf\\351\\n' > latin.txt")
        self.add("Out of its workspace", f"echo escaped > '{cli.home}/escaped'")
        self.add("Into the user's tree", f"echo escaped > '{folder}/escaped'")
        self.add("Into the user's git", f"echo escaped > '{folder}/.git/hooks/post-commit'")
        self.add("Itself", "echo fine > fine.txt")
        cli.git("switch", "--quiet", "--detach")
        (folder / "sums.py").write_bytes(b"half a thought \xff\x00")
        (folder / "new.py").write_text("not added\n")
        (folder / "staged.py").write_text("staged\n")
        cli.git("add", "staged.py")
        (folder / "link").symlink_to("/etc/passwd")
        self.before = self.seen()
        for name in HOSTILE:
            cli.git("config", name, str(script))
        cli.git("config", "core.hooksPath", str(hooks))
        self.shift = cli("shift", "--json")
        self.ran = self.canary.read_text() if self.canary.exists() else ""
        for name in (*HOSTILE, "core.hooksPath"):
            cli.git("config", "--unset", name)
        self.after = self.seen()
        self.report = self.shift.json() if self.shift.status in (0, 1) else {}
        self.states = states(cli)

    def add(self, title: str, command: str) -> None:
        assert self.cli("ticket", "add", title, "--command", command).status == 0

    def seen(self) -> tuple[Any, ...]:
        git = self.cli.git
        return (
            tree(self.cli.folder),
            git("status", "--porcelain=v2", "--branch", "--untracked-files=all"),
            git("rev-parse", "HEAD", "main"),
            git("ls-files", "--stage"),
            git("stash", "list"),
        )


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, cli_type: Any) -> OddNight:
    place = tmp_path_factory.mktemp("odd")
    (place / "home").mkdir()
    (place / "repo").mkdir()
    return OddNight(cli_type(place / "home", place / "repo"))


def test_dirty_tree_and_detached_head_end_a_night_as_any_other(odd: OddNight) -> None:
    assert odd.shift.status in (0, 1), odd.shift.err
    assert odd.report["outcome"] == "quiet"
    assert odd.states["T-0005"] == "done"


def test_dirty_tree_is_as_it_was_to_the_byte(odd: OddNight) -> None:
    assert odd.after == odd.before


def test_hooks_and_programs_of_the_users_git_settings_never_run(odd: OddNight) -> None:
    assert odd.ran == ""


def test_binary_and_non_utf8_files_in_a_change_are_carried_whole(odd: OddNight) -> None:
    assert odd.states["T-0001"] in ("done", "in_review")
    show = ["git", "show", "nightcrew/T-0001:blob.bin"]
    done = subprocess.run(show, cwd=odd.cli.folder, env=odd.cli.environment, capture_output=True, check=False)
    assert done.stdout == b"a\x00\xff\xfeb", done.stderr


@pytest.mark.parametrize("ticket", ["T-0002", "T-0003", "T-0004"])
def test_command_that_writes_outside_its_workspace_fails(odd: OddNight, ticket: str) -> None:
    assert odd.states[ticket] == "open"
    assert any(line["ticket"] == ticket for line in odd.report["deferred"])
    assert not (odd.cli.home / "escaped").exists()
    assert not (odd.cli.folder / "escaped").exists()
    assert not (odd.cli.folder / ".git/hooks/post-commit").exists()


def test_damaged_handoff_file_is_reported_and_kept(odd: OddNight) -> None:
    assert odd.cli("audit", "verify", "--json").status == 0
    file = sorted((odd.cli.folder / ".nightcrew" / "handoffs").glob("H-*"))[0]
    good = file.read_bytes()
    for bad in (good.replace(b"schema", b"scheme", 1), good[:40], b"", None):
        file.unlink() if bad is None else file.write_bytes(bad)
        done = odd.cli("audit", "verify", "--json")
        assert done.status == 3, done.out
        found = done.json()
        assert not found["ok"]
        assert [broken["where"] for broken in found["broken"]] == [file.name]
    file.write_bytes(good)
    assert odd.cli("audit", "verify", "--json").json()["ok"]


# --- Checks that cannot be made


def test_without_tests_nothing_is_merged(cli: Any) -> None:
    begin(cli, {"notes.txt": "No code here.\n"})
    assert cli("ticket", "add", "Note", "--command", "echo more >> notes.txt").status == 0
    done = cli("shift", "--json")
    assert done.status == 1, done.err
    assert states(cli)["T-0001"] == "in_review"
    assert any(line["ticket"] == "T-0001" and line["check"] == "tests" for line in done.json()["not_checked"])
    assert done.json()["merged"] == []


def test_tests_that_hang_are_killed_with_all_they_started(cli: Any) -> None:
    hanging = (
        "import subprocess\n\n\ndef test_hangs():\n"
        "    subprocess.Popen(['sleep', '4711'], start_new_session=False)\n"
        "    subprocess.run(['sh', '-c', 'trap \"\" TERM; sleep 4711; sleep 4711'])\n"
    )
    begin(cli, {**CODE, "test_hang.py": hanging}, "\n[limits]\ntest_minutes = 0.08\n")
    assert cli("ticket", "add", "Note", "--command", "echo more > notes.txt").status == 0
    done = cli("shift", "--json", timeout=180)
    assert done.status == 1, done.err
    assert states(cli)["T-0001"] == "in_review"
    assert done.json()["merged"] == []
    assert subprocess.run(["pgrep", "-f", "sleep 4711"], capture_output=True, check=False).stdout == b""


# --- Interruptions


def test_second_shift_ctrl_c_and_stop_lose_nothing(cli: Any) -> None:
    begin(cli)
    assert cli("ticket", "add", "Slow", "--command", "sleep 60; echo slow > slow.txt").status == 0
    assert cli("ticket", "add", "Next", "--command", "echo next > next.txt").status == 0
    building = lambda: states(cli)["T-0001"] == "building"  # noqa: E731

    running = cli.start("shift", "--json")
    until(building)
    second = cli("shift", "--json")
    assert second.status == 75, second.err
    assert str(running.pid) in second.error()["message"]
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=90)
    assert running.returncode in (0, 1), err
    assert '"outcome": "stopped"' in out.replace('":"', '": "')
    assert states(cli) == {"T-0001": "open", "T-0002": "open"}

    running = cli.start("shift", "--json")
    until(building)
    assert cli("stop").status == 0
    out, err = running.communicate(timeout=90)
    assert running.returncode in (0, 1), err
    assert '"outcome": "stopped"' in out.replace('":"', '": "')
    assert states(cli) == {"T-0001": "open", "T-0002": "open"}

    assert cli("audit", "verify", "--json").json()["ok"]
    assert cli("report", "--json").json()["outcome"] == "stopped"


# --- Files and repositories that are not what they should be


def test_neither_a_folder_nor_a_bare_repository_is_worked(cli: Any) -> None:
    for command in ("init --yes", "shift"):
        done = cli(*command.split())
        assert (done.status, done.out) == (4, "")
        assert "not" in done.err
        assert "repository" in done.err
    assert list(cli.folder.iterdir()) == []
    cli.git("init", "--quiet", "--bare")
    before = tree(cli.folder)
    for command in ("init --yes", "shift"):
        done = cli(*command.split())
        assert (done.status, done.out) == (4, "")
    assert "bare" in cli("init", "--yes").err
    assert tree(cli.folder) == before


def test_repository_whose_commits_are_gone_is_not_worked(cli: Any) -> None:
    begin(cli)
    cli.git("update-ref", "-d", "refs/heads/main")
    done = cli("shift", "--json")
    assert done.status == 4, done.out + done.err
    assert "commit" in done.error()["message"]


def test_dependencies_that_cannot_be_met_are_named(cli: Any) -> None:
    begin(cli)
    assert cli("ticket", "add", "Itself", "--depends", "T-1").status == 2
    for title, depends in (("A", "T-2"), ("B", "T-1"), ("C", "T-99"), ("D", "T-3")):
        assert cli("ticket", "add", title, "--depends", depends).status == 0
    plan = cli("plan", "build", "--json").json()
    assert plan["tickets"] == []
    assert [sorted(cycle) for cycle in plan["cycles"]] == [["T-0001", "T-0002"]]
    reasons = {line["ticket"]: line["reason"] for line in plan["left_out"]}
    assert "T-0002" in reasons["T-0001"]
    assert "T-0099, which does not exist" in reasons["T-0003"]
    assert "T-0003" in reasons["T-0004"]


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        (".nightcrew/playbook.md", b"---\ngates: {severity: tepid}\n---\nBe good.\n", "gates.severity"),
        (".nightcrew/playbook.md", b"---\n!!python/object/apply:os.system [touch pwned]\n---\n", "playbook.md"),
        (".nightcrew/playbook.md", b"\xff\xfe\x00", "playbook.md"),
        ("nightcrew.toml", b"[budget]\nsoft = 9\nhard = 3\n", "hard (3)"),
        ("nightcrew.toml", b"[limits]\ntest_minutes = 'soon'\n", "limits.test_minutes"),
        ("nightcrew.toml", b"[budget\n", "nightcrew.toml"),
        ("nightcrew.toml", b"\xff\xfe\x00", "nightcrew.toml"),
    ],
)
def test_damaged_settings_and_playbook_stop_a_shift_before_it_begins(
    cli: Any, file: str, text: bytes, named: str
) -> None:
    begin(cli)
    (cli.folder / file).write_bytes(text)
    done = cli("shift", "--json")
    assert done.status == 2, done.out + done.err
    message = done.error()["message"]
    assert Path(file).name in message
    assert named in message
    assert (cli.folder / file).read_bytes() == text
    assert not (cli.folder / "pwned").exists()


def test_state_folder_that_became_a_file(cli: Any) -> None:
    begin(cli)
    state = cli.folder / ".nightcrew"
    state.rename(cli.folder / "kept")
    state.write_text("mine")
    for command in ("shift", "plan build", "ticket list", "init --yes"):
        done = cli(*command.split(), "--json")
        assert done.status == 4, done.out + done.err
        assert "Traceback" not in done.err
    assert state.read_text() == "mine"
    state.unlink()
    (cli.folder / "kept").rename(state)
    assert cli("audit", "verify", "--json").json()["ok"]
