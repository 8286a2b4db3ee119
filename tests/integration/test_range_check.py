"""QA and security on a range of commits, through the command that a gate calls."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.faults import crew_repository as crew

from nightcrew.checks.junit import read_junit
from nightcrew.checks.sarif_in import read_sarif
from nightcrew.crew.project import Project, load_project, open_project
from nightcrew.crew.range_check import AgentVerdict, RangeCheck, RangeReport, check_range
from nightcrew.crew.range_files import annotations, junit, markdown
from nightcrew.model.errors import RepositoryError
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import Verdict
from nightcrew.model.severity import Severity

SETTINGS = """\
[checks]
scanners = ["ruff-s"]
test = "python3 -B -c 'import thing; assert thing.double(2) == 4'"
"""
HOSTILE = "bad\n::error::x <img src=x> | `a` @everyone [x](https://e.example) \x1b[2J\x00"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A prepared repository with the branches broken (a test fails) and loose (a finding below the gate)."""
    home = tmp_path_factory.mktemp("home")
    repo, env = home / "repo", crew.environment(home)
    crew.make(repo, env)
    (repo / "nightcrew.toml").write_text(SETTINGS)
    crew.git(repo, "add", "nightcrew.toml", env=env)
    crew.git(repo, "commit", "-qm", "Settings", env=env)
    crew.git(repo, "switch", "-qc", "loose", "main", env=env)
    (repo / "loose.py").write_text("import os\n")
    crew.git(repo, "add", ".", env=env)
    crew.git(repo, "commit", "-qm", "loose", env=env)
    crew.git(repo, "switch", "-q", "main", env=env)
    crew.nightcrew(repo, "init", "--yes", env=env, check=True)
    return repo, env


def check(repository: tuple[Path, dict[str, str]], *arguments: str) -> "subprocess.CompletedProcess[str]":
    repo, env = repository
    return crew.nightcrew(repo, "check", *arguments, env=env)


def counts(repo: Path) -> list[int]:
    with closing(sqlite3.connect(repo / ".nightcrew" / "nightcrew.db")) as read:
        tables = ("ledger", "tickets", "findings", "handoffs")
        return [read.execute(f"select count(*) from {table}").fetchone()[0] for table in tables]


def test_a_regression_is_gated_and_all_files_say_so(repository: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    sarif, results, summary, notes = (tmp_path / name for name in ("s.sarif", "j.xml", "s.md", "a.txt"))
    files = ["--sarif", str(sarif), "--junit", str(results), "--summary", str(summary), "--annotations", str(notes)]
    done = check(repository, "--head", "broken", *files, "--json")
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert (report["decision"], report["files"]) == ("gated", ["thing.py"])
    assert [one["decision"] for one in report["verdicts"]] == ["gated", "passed"]
    assert [hit.rule for hit in read_sarif(sarif, tmp_path).hits] == ["regression"]
    failed = [case.name for case in read_junit(results) if case.status.bad]
    assert failed == ["tests", "regression"]
    assert "a person must decide" in summary.read_text()
    assert notes.read_text().startswith("::error title=high%3A tests regression::the test command itself")


def test_findings_below_the_gate_are_told_and_nothing_is_filed(repository: tuple[Path, dict[str, str]]) -> None:
    repo, env = repository
    before = counts(repo)
    done = check(repository, "--head", "loose")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "findings to mend" in done.stdout
    assert counts(repo) == before
    assert not list((Path(env["HOME"]) / ".local" / "state").rglob("range-*"))


@pytest.fixture
def opened(repository: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The repository in this process."""
    repo, env = repository
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    project = open_project(repo)
    yield project
    project.close()


def commit(project: Project, files: dict[str, str], *parents: str, links: dict[str, str] | None = None) -> str:
    """A commit with these files, symbolic links and submodules (a mode before the id) beside those of ``main``."""
    repo, index = project.root, {"GIT_INDEX_FILE": str(project.root / ".git" / "made")}
    env = {**os.environ, **index}
    crew.git(repo, "read-tree", parents[0], env=env)
    for name, text in {**files, **(links or {})}.items():
        mode, value = ("120000", text) if name in (links or {}) else ("100644", text)
        if text.startswith("160000 "):
            crew.git(repo, "update-index", "--add", "--cacheinfo", f"160000,{text.split()[1]},{name}", env=env)
            continue
        done = subprocess.run(
            ["git", "hash-object", "-w", "--stdin"], cwd=repo, input=value.encode(), capture_output=True, check=True
        )
        crew.git(repo, "update-index", "--add", "--cacheinfo", f"{mode},{done.stdout.decode().strip()},{name}", env=env)
    tree = crew.git(repo, "write-tree", env=env)
    above = [word for parent in parents for word in ("-p", parent)]
    return crew.git(repo, "commit-tree", "-m", "made", *above, tree, env=env)


def test_nothing_to_check_passes_and_no_such_commit_is_an_error(
    repository: tuple[Path, dict[str, str]], opened: Project
) -> None:
    done = check(repository)
    assert (done.returncode, "has nothing that" in done.stdout) == (0, True)
    for base, head in (("", "nowhere"), ("--output=/tmp/x", "HEAD")):
        with pytest.raises(RepositoryError, match="there is no commit"):
            check_range(opened, base, head)


def test_where_a_change_begins_must_be_known(opened: Project, tmp_path: Path) -> None:
    """With two commits where they part, what a merge brings can be missing in the difference from either."""
    main = crew.git(opened.root, "rev-parse", "main", env=dict(os.environ))
    alone = crew.git(opened.root, "commit-tree", "-m", "alone", "main^{tree}", env=dict(os.environ))
    with pytest.raises(RepositoryError, match="no commit in common"):
        check_range(opened, alone)
    bad = commit(opened, {"bad.py": "eval(input())\n"}, main)
    fixed, later = commit(opened, {}, main), commit(opened, {"a.txt": ""}, bad)
    base, head = commit(opened, {"a.txt": ""}, main, later, fixed), commit(opened, {}, later, fixed)
    with pytest.raises(RepositoryError, match="part at 2 commits"):
        check_range(opened, base, head)
    shallow = tmp_path / "shallow"
    crew.git(tmp_path, "clone", "-q", "--depth=1", f"file://{opened.root}", str(shallow), env=dict(os.environ))
    with pytest.raises(RepositoryError, match="shallow"):
        check_range(load_project(shallow))


def test_what_hides_code_from_the_tools_is_no_way_past_them(opened: Project) -> None:
    main = crew.git(opened.root, "rev-parse", "main", env=dict(os.environ))
    files = {".tox/a.py": "eval(input())\n", "vendored": f"160000 {main}", "assets/playbook.md": "x"}
    report = check_range(opened, head=commit(opened, files, main, links={".nightcrew": "assets"}))
    assert report.decision == "gated"
    found = {(one.rule, one.path) for one in report.findings}
    assert {("S307", ".tox/a.py"), ("submodule", "vendored"), ("protected-path", ".nightcrew")} <= found


def test_one_check_that_the_change_makes_fail_is_no_pass(opened: Project) -> None:
    main = crew.git(opened.root, "rev-parse", "main", env=dict(os.environ))
    report = check_range(opened, head=commit(opened, {"ruff.toml": "[["}, main))
    assert [one.verdict for one in report.verdicts] == [Verdict.PASSED, Verdict.PASSED]
    assert report.decision == "not_checked"


def hostile_report() -> RangeReport:
    finding = Finding(
        fingerprint="0" * 32,
        tool="bandit",
        rule="B1,x::y",
        category=Category.SECURITY,
        severity=Severity.HIGH,
        message=HOSTILE,
        path="a,b::c.py",
        line=3,
    )
    return RangeReport(
        base="a" * 40,
        head="b" * 40,
        files=("a",),
        decision="gated",
        verdicts=(AgentVerdict(agent="security", verdict=Verdict.FAILED, decision="gated", reason=HOSTILE),),
        checks=(RangeCheck(agent="security", name=HOSTILE, status="failed", detail=HOSTILE),),
        findings=(finding,),
    )


def test_what_tools_said_gives_no_commands_and_no_markup(tmp_path: Path) -> None:
    report = hostile_report()
    lines = annotations(report).splitlines()
    assert len(lines) == 1
    head, _, message = lines[0].removeprefix("::").partition("::")
    assert head == "error file=a%2Cb%3A%3Ac.py,line=3,title=high%3A bandit B1%2Cx%3A%3Ay"
    assert message.startswith("bad%0A::error::x")
    text = markdown(report)
    assert "\n::" not in text
    for forbidden in ("<img", "@everyone", "[x](", "https://", "| `a`"):
        assert forbidden not in text.replace("\\<", "").replace("\\[", "").replace("\\|", "").replace("\\`", "")
    (tmp_path / "j.xml").write_bytes(junit(report))
    assert len(read_junit(tmp_path / "j.xml")) == 2
