"""Completion driven in real shells, help and manual pages, and what nightcrew alone says."""

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightcrew.cli import COMMANDS, completing
from nightcrew.cli.completion import completion
from nightcrew.cli.described import described, find
from nightcrew.cli.manual import ENVIRONMENT, Item, Page, main_page, page_of, roff, text
from nightcrew.crew.project import open_project
from nightcrew.model.scheduling import Schedule
from nightcrew.model.ticket import Event
from nightcrew.store import schedules, shifts, tickets

SHELLS = Path(completing.__file__).parent / "shells"
ASK = """
source "$1"; shift
while IFS= read -r line; do
  eval "COMP_WORDS=($line)"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _nightcrew
  (IFS=,; echo "${COMPREPLY[*]}")
done
"""


def needed(program: str) -> str:
    """The path of a shell or a checker; skips without it, and fails where CI says that it must be there."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("NIGHTCREW_REQUIRE_SHELLS") == "1":
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{program} is not installed")
    return found


def environment(cli: Any) -> dict[str, str]:
    from tests.acceptance.conftest import NIGHTCREW

    return {**cli.environment, "PATH": f"{Path(NIGHTCREW).parent}:{os.environ['PATH']}"}


class TestCompletion:
    def test_bash_completes_commands_options_ids_and_files(self, project: Any) -> None:
        with closing(sqlite3.connect(project.folder / ".nightcrew" / "nightcrew.db")) as written:
            empty = ("body", "kind", "priority", "breaks_build", "depends_on", "origin", "note", "findings", "created")
            # More tickets than are shown at once, and what the words of one could do to a shell.
            written.executemany(
                f"insert into tickets (id, title, state, entry, {', '.join(empty)})"
                f" values (?, ?, 'open', 0, {', '.join(['0'] * len(empty))})",
                [(f"T-{n:04}", "Sort; rm -rf $HOME `x` \x1b[2J") for n in range(1, 2000)],
            )
            written.commit()
        (project.folder / "a file.md").touch()
        lines = {
            "nightcrew tick": "ticket",
            "nightcrew ticket sh": "show",
            "nightcrew ticket show T-012": ",".join(f"T-0{n}" for n in range(129, 119, -1)),
            "nightcrew ticket add x --depends T-1,t-0001": "T-1,T-0001",
            "nightcrew shift --agent = sec": "security",
            "nightcrew --repo /nowhere ticket show ''": "",
            "nightcrew plan --output a": "a file.md",
            "nightcrew runbook NC-BUS": "NC-BUSY",
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", ASK, "bash", str(SHELLS / "nightcrew.bash")],
            cwd=project.folder,
            env=environment(project),
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
        )
        assert dict(zip(lines, done.stdout.splitlines(), strict=True)) == lines, done.stderr

    def test_fish_completes(self, cli: Any) -> None:
        argv = [needed("fish"), "--no-config", "-c", 'source $argv[1]; complete -C "nightcrew ticket sh"']
        done = subprocess.run(
            [*argv, str(SHELLS / "nightcrew.fish")], env=environment(cli), capture_output=True, text=True
        )
        assert done.stdout.split("\t")[0] == "show", done.stderr

    def test_zsh_reads_it_and_asks_for_the_words(self, cli: Any) -> None:
        # What compsys would call is called by hand, with what it calls put in its place.
        code = (
            "_describe() { print -rl -- $candidates }; _files() { print files }\n"
            'words=(nightcrew ticket show T); CURRENT=4; source "$1"\n'
            "words=(nightcrew ticket sh); CURRENT=3; _nightcrew\n"
            'words=(nightcrew plan --output ""); CURRENT=4; _nightcrew\n'
        )
        argv = [needed("zsh"), "-f", "-c", code, "zsh", str(SHELLS / "nightcrew.zsh")]
        done = subprocess.run(argv, env=environment(cli), capture_output=True, text=True)
        first, second = done.stdout.splitlines()
        assert (first.partition(":")[0], second) == ("show", "files"), done.stderr

    @pytest.mark.parametrize(
        ("shell", "place"),
        [
            ("bash", ".local/share/bash-completion/completions/nightcrew"),
            ("zsh", ".local/share/zsh/site-functions/_nightcrew"),
            ("fish", ".config/fish/completions/nightcrew.fish"),
        ],
    )
    def test_it_is_put_where_the_shell_looks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, place: str
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)
        completion(shell, install=True)
        assert (tmp_path / place).read_text() == (SHELLS / f"nightcrew.{shell}").read_text()

    def test_commands_options_and_what_is_inside_a_command(self) -> None:
        for words, only in (
            (["shift", "--u"], "--until"),
            (["--json", "tick"], "ticket"),
            (["help", "ticket", "pri"], "prioritise"),
        ):
            assert [value for value, _ in completing.complete(words)] == [only]

    def test_what_a_repository_says_is_never_more_than_a_word(self, tmp_path: Path) -> None:
        (tmp_path / ".nightcrew").mkdir()
        names = ("good", "$(touch x)", "a b", "-x;y", ":files")
        (tmp_path / "nightcrew.toml").write_text("".join(f"[agents.{json.dumps(name)}]\n" for name in names))
        found = completing.complete(["--repo", str(tmp_path), "plan", ""])
        assert [value for value, _ in found] == ["build", "qa", "security", "good"]

    def test_nothing_is_raised_and_nothing_written_for_what_is_not_there(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for words in (
            [],
            ["nosuch", "x"],
            ["--repo"],
            ["ticket", "show", "--nosuch", ""],
            ["=", "="],
            ["help", "no", ""],
        ):
            completing.main(words)
        assert "error" not in capsys.readouterr().out


class TestHelp:
    @pytest.mark.parametrize("word", sorted(COMMANDS))
    def test_every_page_is_whole(self, word: str) -> None:
        page = page_of(described(word))
        titles = [title for title, _ in page.sections]
        for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"):
            assert title in titles
        said = text(page, width=60)
        assert f"nightcrew-{word} - " in said
        assert "None" not in said.partition("EXIT STATUS")[0].replace("None.", "")

    def test_it_is_shown_for_a_command_an_inner_one_and_a_code(self, cli: Any) -> None:
        assert "--depends T-1,T-2" in text(page_of(find(("ticket", "add"))))
        assert cli("help", "nc-busy").out.startswith("# NC-BUSY")
        done = cli("help", "tickets", "--json")
        assert (done.status, done.error()["message"]) == (2, "there is no command tickets")

    def test_manual_pages_are_what_man_reads(self, cli: Any) -> None:
        done = cli("man", "--output", str(cli.folder / "man1"), "--json")
        pages = sorted((cli.folder / "man1").iterdir())
        assert len(pages) == len(done.json()["written"]) == len(COMMANDS) + 1
        checked = subprocess.run(
            [needed("mandoc"), "-Tlint", "-W", "warning", *map(str, pages)], capture_output=True, text=True
        )
        assert checked.stdout == ""

    def test_text_gives_roff_no_commands(self) -> None:
        page = Page("x", "x", (("NAME", (".so /etc/passwd", "'nf \\fB", Item(".ex -y", "a \\n(.z é `x`"))),))
        body = roff(page, datetime(2026, 1, 1, tzinfo=UTC)).split(".SH", 1)[1].splitlines()[1:]
        assert [line for line in body if line.startswith((".", "'"))] == [".PP", ".TP"]
        assert "\\e" in "\n".join(body)
        assert all(line.isascii() for line in body)

    def test_the_variables_that_are_told_are_those_that_are_read(self) -> None:
        source = Path(completing.__file__).parents[1]
        code = "\n".join(path.read_text() for path in source.rglob("*.py") if path.name != "manual.py")
        told = {name for names, _ in ENVIRONMENT for name in names.split(", ") if name.startswith("NIGHTCREW_")}
        assert {name for name in told if f'"{name}"' not in code} == set()
        assert "nightcrew-shift" not in text(main_page()).partition("SEE ALSO")[0]


class TestAlone:
    def test_it_says_what_happened_and_what_waits(self, project: Any) -> None:
        done = project()
        assert (done.status, done.out.splitlines()[0]) == (0, "No shift has run yet.")
        assert "nightcrew schedule install" in done.out
        # Options of every command may stand before it.
        done = project("--json", "--repo", str(project.folder), "ticket", "add", "Think hard")
        assert (done.status, done.json()["title"]) == (0, "Think hard"), done.err
        found = project("--repo", str(project.folder), "--json").json()
        assert (found["tickets"], found["shift"]) == ({"open": 1}, None)

    def test_done_is_what_the_report_says_and_waiting_what_is_so_now(
        self, project: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in project.environment.items():
            monkeypatch.setenv(name, value)
        opened = open_project(project.folder)
        with opened.store.begin() as tx:
            aside = tickets.add(tx, actor="human", title="Odd")
            note = "broke \x1b[2J twice"
            tickets.apply(tx, aside.id, Event.QUARANTINE, actor="human", note=note)
            shift = shifts.start(tx, agents=["build"])
            report = {"merged": [{"ticket": "T-0009", "title": "Sort"}], "deferred": "damaged", "not_checked": [{}]}
            shifts.end(tx, shift.id, outcome="out_of_budget", report=report)
            schedules.save(tx, Schedule(at=("02:30",), zone="Europe/Berlin"))
        opened.close()
        done = project()
        assert done.status == 1
        for said in (
            "out of budget; 1 merged, 1 not checked.",
            "T-0009 Sort",
            f"{aside.id} broke \\x1b[2J twice",
            "02:30 CE",
            "(nightly)",
            f"Next: nightcrew ticket show {aside.id}",
        ):
            assert said in done.out, done.out

    def test_without_a_crew_it_says_how_to_use_it(self, cli: Any) -> None:
        done = cli()
        assert (done.status, done.out.startswith("Usage: nightcrew COMMAND")) == (0, True)
        assert cli("--json").status == 4

    def test_a_folder_that_is_gone_is_no_crew(self, cli: Any) -> None:
        done = subprocess.run(
            ["bash", "-c", 'mkdir gone; cd gone; rmdir ../gone; nightcrew | head -n 1; exit "${PIPESTATUS[0]}"'],
            cwd=cli.folder, env=environment(cli), capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "Usage: nightcrew COMMAND [ARGS]\n", "")

    def test_that_nobody_reads_on_is_no_error_and_needs_no_person(self, cli: Any) -> None:
        for words in ("--help", "runbook NC-BUSY"):
            done = subprocess.run(
                ["bash", "-c", f'nightcrew {words} > >(exec 0<&-); exit "$?"'],
                cwd=cli.folder,
                env={**environment(cli), "PYTHONUNBUFFERED": "1"},
                capture_output=True,
                text=True,
            )
            assert (done.returncode, done.stderr) == (0, "")
