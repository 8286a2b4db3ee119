"""The checks on small real repositories, with the real tools in the real sandbox: what must never be called a pass."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nightcrew.checks.linting import lint
from nightcrew.checks.project import detect
from nightcrew.checks.python import Environment
from nightcrew.checks.regressions import Comparison, compare, findings, to_rerun
from nightcrew.checks.scan import ScanResult, configured, scan
from nightcrew.checks.suite import TestRun, run_tests
from nightcrew.sandbox import Completed, Policy, run, scrubbed_environment

OURS = Environment(Path(sys.executable), (), "nightcrew's own Python", "own")
# A pytest without what is installed for our own tests, which takes a second to import.
BARE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_WORD = "correct-horse-battery"  # the body of every secret below
SECRETS = {
    "config.py": f'password = "{_WORD}-1"\nconnect(password="{_WORD}-2")\n',
    "deploy.py": 'KEY = "AKIA' + "Q3EGVXK7TPLMZ2WN" + '"\n',
    "key.pem": "-----BEGIN RSA PRIVATE KEY-----\n" + f"{_WORD}-3\n" + "-----END RSA PRIVATE KEY-----\n",
}


class Tree:
    """A checkout and the commands that are run on it."""

    def __init__(self, root: Path, name: str) -> None:
        self.path, self.temp = root / name, root / f"{name}-temp"
        for folder in (self.path, self.temp):
            folder.mkdir()

    def write(self, **files: str) -> "Tree":
        """Write files; two underscores in a name stand for a dot, ``_in_`` for a slash."""
        for name, text in files.items():
            self.file(name.replace("_in_", "/").replace("__", "."), text.encode())
        return self

    def file(self, name: str, data: bytes) -> None:
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        network: bool = False,
    ) -> Completed:
        return run(
            argv,
            cwd=cwd or self.path,
            policy=Policy(writable=(self.path, self.temp, *writable), readable=tuple(readable), network=network),
            environment={**scrubbed_environment(temp=self.temp), **BARE, **(environment or {})},
            timeout=timeout or 60,
        )

    def tests(
        self,
        *,
        only: Sequence[str] = (),
        timeout: float = 60,
        environment: Environment | None = OURS,
        command: str = "",
        junit: str = "",
    ) -> TestRun:
        return run_tests(
            self.path,
            detect(self.path),
            environment,
            run=self.run,
            temp=self.temp,
            timeout=timeout,
            only=only,
            command=command,
            junit=junit,
        )

    def scan(self, name: str, command: Sequence[str] = (), *, timeout: float = 60) -> ScanResult:
        scanner = configured([], [(name, command)]) if command else configured([name], [])
        return scan(name, scanner[name], self.path, run=self.run, temp=self.temp, timeout=timeout)


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Tree]:
    return lambda name: Tree(tmp_path, name)


@pytest.fixture
def head(tree: Callable[[str], Tree]) -> Tree:
    return tree("head")


def _compared(base: Tree, head: Tree) -> tuple[TestRun, Comparison]:
    before, after = base.tests(), head.tests()
    suspects = to_rerun(before, after)
    again = head.tests(only=suspects) if suspects else None
    return after, compare(before, after, again)


# Tests of the project -------------------------------------------------------------------------------------------------

_SUITE = """
import os, tempfile
from pathlib import Path
from thing import double

def test_good(): assert double(1) == double(1)
def test_double(): assert double(2) == 4
def test_never(): assert double(2) == 5
def test_sometimes():
    counter = Path(tempfile.gettempdir()) / "counter"
    ran = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(ran + 1))
    assert double(2) == 4 or ran
"""


def test_regression_flaky_and_already_failing_are_told_apart(tree: Callable[[str], Tree]) -> None:
    base = tree("base").write(thing__py="def double(n): return 2 * n\n", test_thing__py=_SUITE)
    head = tree("head").write(thing__py="def double(n): return 3 * n\n", test_thing__py=_SUITE)
    after, compared = _compared(base, head)
    assert after.outcome == "ran"
    assert [case.id for case in compared.regressions] == ["test_thing.py::test_double"]
    assert compared.flaky == ("test_thing.py::test_sometimes",)
    assert compared.already_failing == ("test_thing.py::test_never",)
    assert (compared.new_failing, compared.removed, compared.breaks_build) == ((), (), None)
    rules = {found.rule: found.severity.value for found in findings(compared)}
    assert rules == {"regression": "high", "flaky": "info"}


def test_a_hanging_test_is_a_timeout_and_leaves_no_process(tree: Callable[[str], Tree]) -> None:
    fine, hang = "def test_a(): pass\n", "import subprocess\ndef test_a(): subprocess.run(['sleep', '7321'])\n"
    base, head = tree("base").write(test_a__py=fine), tree("head").write(test_a__py=hang)
    began = time.monotonic()
    after = head.tests(timeout=4)
    assert after.outcome == "timeout"
    assert time.monotonic() - began < 15
    assert not _running("7321")
    assert compare(base.tests(), after).breaks_build


def _running(word: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:1] == [b"sleep"] and word.encode() in words:
            found.append(str(entry))
    return found


@pytest.mark.parametrize("broken", ["import nothing_of_that_name\n", "def test_a(:\n"])
def test_what_does_not_collect_breaks_the_build(tree: Callable[[str], Tree], broken: str) -> None:
    base, head = tree("base").write(test_a__py="def test_a(): pass\n"), tree("head").write(test_a__py=broken)
    after, compared = _compared(base, head)
    assert after.outcome == "broken"
    assert compared.breaks_build
    assert [found.breaks_build for found in findings(compared)] == [True]


def test_one_file_of_two_that_does_not_collect_breaks_the_build(tree: Callable[[str], Tree]) -> None:
    good = "def test_a(): pass\n"
    base = tree("base").write(test_a__py=good, test_b__py=good)
    head = tree("head").write(test_a__py=good, test_b__py="import nothing_of_that_name\n")
    _, compared = _compared(base, head)
    assert "test_b.py" in (compared.breaks_build or "")
    assert compared.removed == ()


def test_no_tests_is_said_and_is_no_pass(tree: Callable[[str], Tree]) -> None:
    base, head = tree("base").write(test_a__py="def test_a(): pass\n"), tree("head").write(thing__py="A = 1\n")
    after, compared = _compared(base, head)
    assert (after.outcome, dict(after.cases)) == ("no_tests", {})
    assert compared.breaks_build == "no test is left"


def test_a_test_that_is_skipped_now_is_named(tree: Callable[[str], Tree]) -> None:
    base = tree("base").write(test_a__py="def test_a(): pass\ndef test_b(): pass\n")
    head = tree("head").write(test_a__py="import pytest\n@pytest.mark.skip\ndef test_a(): pass\ndef test_b(): pass\n")
    _, compared = _compared(base, head)
    assert compared.newly_skipped == ("test_a.py::test_a",)


def _environment(root: Path) -> tuple[Environment, Path]:
    """A virtual environment that has our pytest, and its site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    (site,) = (root / "lib").glob("python*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "ours.pth").write_text(ours + "\n")
    return Environment(root / "bin" / "python", (root, Path(ours)), "the user's", "x"), site


_TEST = "from thing import GOOD\ndef test_a(): assert GOOD\n"
_FINDER = """
import importlib.util, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "thing":
            return importlib.util.spec_from_file_location(name, {where!r} + "/thing/__init__.py")
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("install", ["pth", "copy"])
def test_the_workspace_wins_over_an_installed_copy(tmp_path: Path, head: Tree, install: str) -> None:
    environment, site = _environment(tmp_path / "env")
    other = site if install == "copy" else tmp_path / "env" / "user-tree"
    (other / "thing").mkdir(parents=True)
    (other / "thing/__init__.py").write_text("GOOD = True\n")
    if install == "pth":
        (site / "__editable__.pth").write_text(f"{other}\n")
    head.write(thing_in___init__py="", test_thing__py=_TEST)
    head.file("thing/__init__.py", b"GOOD = False\n")
    ran = head.tests(environment=environment)
    assert (ran.outcome, ran.counts["failed"], ran.counts["passed"]) == ("ran", 1, 0)


def test_a_finder_that_hides_the_workspace_is_never_a_pass(tmp_path: Path, head: Tree) -> None:
    environment, site = _environment(tmp_path / "env")
    other = tmp_path / "env" / "user-tree"
    (other / "thing").mkdir(parents=True)
    (other / "thing/__init__.py").write_text("GOOD = True\n")
    (site / "_finder.py").write_text(_FINDER.format(where=str(other)))
    (site / "_finder.pth").write_text("import _finder\n")
    head.file("thing/__init__.py", b"GOOD = False\n")
    head.file("test_thing.py", _TEST.encode())
    ran = head.tests(environment=environment)
    assert (ran.outcome, dict(ran.cases)) == ("not_run", {})
    assert "not from the commit under test" in ran.reason


def test_a_package_that_cannot_be_found_in_the_workspace_is_never_a_pass(tmp_path: Path, head: Tree) -> None:
    environment, site = _environment(tmp_path / "env")
    (site / "thing").mkdir()
    (site / "thing/__init__.py").write_text("GOOD = True\n")
    head.file("thing/__init__.py", b"GOOD = True\n")
    head.file("test_thing.py", _TEST.encode())
    hidden = replace(detect(head.path), source="lib")
    ran = run_tests(head.path, hidden, environment, run=head.run, temp=head.temp, timeout=60)
    assert ran.outcome == "ran"  # the workspace itself is on the path too
    (head.path / "thing").rename(head.path / "moved")
    ran = run_tests(head.path, hidden, environment, run=head.run, temp=head.temp, timeout=60)
    assert (ran.outcome, dict(ran.cases)) == ("not_run", {})


def test_a_package_that_does_not_import_is_not_hidden_by_a_passing_test(tree: Callable[[str], Tree]) -> None:
    base, head = tree("base"), tree("head")
    for side, text in ((base, b"GOOD = True\n"), (head, b"import nothing_of_that_name\n")):
        side.file("thing/__init__.py", text)
        side.file("test_a.py", b"def test_a(): pass\n")
    _, compared = _compared(base, head)
    assert "thing" in (compared.breaks_build or "")


@pytest.mark.parametrize(
    "meddle",
    ["pass", "open(report, 'w').write('<html>')", "open(report, 'w').write('')", "os.mkdir(report)"],
    ids=["missing", "not-junit", "empty", "directory"],
)
def test_results_that_cannot_be_read_are_not_a_pass(head: Tree, meddle: str) -> None:
    head.write(
        test_a__py="def test_a(): pass\n",
        conftest__py=f"""
import os
def pytest_unconfigure(config):
    report = next(word.split("=", 1)[1] for word in config.invocation_params.args if "junitxml" in word)
    os.path.exists(report) and os.unlink(report)
    {meddle}
""",
    )
    ran = head.tests()
    assert (ran.outcome, dict(ran.cases)) == ("not_run", {}), ran


def test_a_run_that_exits_in_the_middle_is_not_a_pass(head: Tree) -> None:
    head.write(test_a__py="import os\ndef test_a(): os._exit(0)\ndef test_b(): assert False\n")
    assert head.tests().outcome == "not_run"


@pytest.mark.parametrize("command", ["true", "printf hello > out.xml", "no-such-tool --run"])
def test_a_command_without_its_results_is_not_a_pass(head: Tree, command: str) -> None:
    head.write(thing__py="A = 1\n")
    assert head.tests(command=command, junit="out.xml").outcome == "not_run"


def test_a_committed_report_is_not_this_runs_result(head: Tree) -> None:
    head.file("out.xml", b'<testsuite><testcase classname="a" name="b"/></testsuite>')
    assert head.tests(command="true", junit="*.xml").outcome == "not_run"


# Scanners -------------------------------------------------------------------------------------------------------------


def test_no_value_of_a_secret_is_in_any_finding(head: Tree) -> None:
    for name, text in SECRETS.items():
        head.file(name, text.encode())
    results = [head.scan(name) for name in ("bandit", "ruff-s", "detect-secrets")]
    found = [finding for result in results for finding in result.findings] + lint(head.path, run=head.run, timeout=60)
    tools = {finding.tool for finding in found}
    assert {"bandit", "ruff-s", "detect-secrets"} <= tools
    text = json.dumps([finding.plain() for finding in found]) + "".join(result.reason for result in results)
    assert _WORD not in text
    assert "Q3EGVXK7TPLMZ2WN" not in text


def test_asserts_in_tests_are_not_reported_and_others_are(head: Tree) -> None:
    head.write(thing__py="assert 1\n", test_thing__py="assert 1\n", tests_in_helper__py="assert 1\n")
    for name in ("bandit", "ruff-s"):
        assert {finding.path for finding in head.scan(name).findings} == {"thing.py"}


def test_comments_do_not_silence_the_scanners(head: Tree) -> None:
    head.write(thing__py="exec(input())  # nosec  # noqa: S102\n")
    assert [head.scan(name).status for name in ("bandit", "ruff-s")] == ["findings", "findings"]


def _writes(text: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; open(sys.argv[1], 'w').write({text!r})", "{output}"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": "2.1.0"}',
        '{"version": "2.1.0", "runs": []}',
        '{"version": "2.1.0", "runs": [{}]}',
        '{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [{"ruleId": "a"}]}]}',
        '{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": 7}]}',
        '{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [],'
        ' "invocations": [{"executionSuccessful": false}]}]}',
        "[" * 100_000,
    ],
)
def test_a_report_that_is_not_sarif_is_not_checked(head: Tree, text: str) -> None:
    result = head.scan("odd", _writes(text) if len(text) < 10_000 else [*_writes("")[:2], _DEEP, "{output}"])
    assert (result.status, bool(result.reason)) == ("not_checked", True)


_DEEP = "import sys; open(sys.argv[1], 'w').write('[' * 100_000)"


@pytest.mark.parametrize("command", [["true"], ["false"], ["no-such-scanner"], ["mkdir", "{output}"]])
def test_a_scanner_that_writes_nothing_is_not_checked(head: Tree, command: list[str]) -> None:
    assert head.scan("silent", command).status == "not_checked"


def test_a_scanner_that_hangs_is_not_checked(head: Tree) -> None:
    began = time.monotonic()
    result = head.scan("slow", ["sleep", "7322"], timeout=2)
    assert result.status == "not_checked"
    assert "time" in result.reason
    assert time.monotonic() - began < 10
    assert not _running("7322")


_MANY = """
import json, sys
row = {"ruleId": "R", "message": {"text": "m" * 90}, "properties": {"trace": "t" * 9000}, "locations": [
    {"physicalLocation": {"artifactLocation": {"uri": "a.py"}, "region": {"startLine": 1}}}]}
size = int(sys.argv[2])
one = json.dumps(row)
with open(sys.argv[1], "w") as out:
    out.write('{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "big"}}, "results": [')
    out.write(", ".join([one] * (size // (len(one) + 2))))
    out.write("]}]}")
"""


def test_a_report_of_50_megabytes_is_read(head: Tree) -> None:
    head.file("a.py", b"A = 1\n")
    began = time.monotonic()
    result = head.scan("big", [sys.executable, "-c", _MANY, "{output}", str(50 * 1024**2)])
    assert (result.status, result.reason) == ("findings", "")
    assert len(result.findings) > 5_000
    assert len({finding.fingerprint for finding in result.findings}) == len(result.findings)
    assert time.monotonic() - began < 60


def test_a_report_above_the_limit_is_not_checked(head: Tree) -> None:
    result = head.scan("big", [sys.executable, "-c", _MANY, "{output}", str(66 * 1024**2)])
    assert (result.status, result.findings) == ("not_checked", ())


def test_binary_and_oddly_encoded_files_do_not_crash_the_checks(head: Tree) -> None:
    head.file("latin.py", "# -*- coding: latin-1 -*-\nNAME = 'Café'\nexec(NAME)\n".encode("latin-1"))
    head.file("bad.py", b"NAME = '\xff\xfe'\nexec(NAME)\n")
    head.file("nul.py", b"a = 1\0\n")
    head.file("data.bin", os.urandom(4096))
    head.file("image.py", os.urandom(4096))
    head.file("test_a.py", b"def test_a(): pass\n")
    head.file(os.fsdecode(b"odd-\xff.txt"), b"x")
    for name in ("bandit", "ruff-s", "detect-secrets"):
        assert head.scan(name).status in ("findings", "clean", "not_checked")
    assert any(finding.path == "latin.py" for finding in head.scan("bandit").findings)
    lint(head.path, run=head.run, timeout=60)
    assert head.tests().outcome == "ran"


def test_a_line_made_to_be_slow_to_mask_is_not(head: Tree) -> None:
    head.file("thing.py", b"exec('" + b"password" * 100_000 + b"')\n" + b"token = exec('" + b"s3" * 4_000 + b"')\n")
    began = time.monotonic()
    result = head.scan("bandit")
    assert time.monotonic() - began < 30
    assert result.status == "findings"
    assert all(len(finding.evidence) <= 300 for finding in result.findings)
