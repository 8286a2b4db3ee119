"""The real scanners and ruff, in the real sandbox."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from nightcrew.checks.linting import lint
from nightcrew.checks.located import new_against
from nightcrew.checks.running import CheckError
from nightcrew.checks.scan import ScanResult, configured, scan
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity
from nightcrew.sandbox import Completed, Policy, run, scrubbed_environment

SECRET = "AKIA" + "Q3EGRZLVHFN2XK7T"
PASSWORD = "hunter2-" + "correct-horse"
STAND_INS = {
    "bandit.py": "import json, sys\nrun = {'tool': {'driver': {'name': 'Bandit'}}, 'results': []}\n"
    "log = {'version': '2.1.0', 'runs': [run]}\n"
    "open(sys.argv[sys.argv.index('--output') + 1], 'w').write(json.dumps(log))\n",
    "detect_secrets.py": "print('{\"results\": {}}')\n",
    "ruff.py": "import sys\nopen(sys.argv[sys.argv.index('--output-file') + 1], 'w').write('[]')\n",
}
"""Modules of a checkout that say that nothing was found."""
DIRTY = f"""import subprocess


def f(x):
    assert x
    return subprocess.call(x, shell=True)  # nosec  # noqa: S602


password = "{PASSWORD}"
key = "{SECRET}"  # pragma: allowlist secret
"""


class Runner:
    """Runs commands at a workspace as the crew does."""

    def __init__(self, workspace: Path, temp: Path) -> None:
        self.workspace, self.temp, self.home = workspace, temp, temp / "home"
        self.home.mkdir(parents=True, exist_ok=True)

    def __call__(
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
            cwd=cwd or self.workspace,
            policy=Policy(writable=(self.workspace, self.temp, *writable), readable=tuple(readable), network=network),
            environment={**scrubbed_environment(temp=self.temp, home=self.home), **(environment or {})},
            timeout=timeout or 60,
        )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    return root


def scanned(workspace: Path, name: str, command: Sequence[str] = (), timeout: float = 60) -> ScanResult:
    temp = workspace.parent / "tmp"
    temp.mkdir(exist_ok=True)
    chosen = configured(() if command else (name,), [(name, command)] if command else ())
    return scan(name, chosen[name], workspace, run=Runner(workspace, temp), temp=temp, timeout=timeout)


def linted(workspace: Path) -> list[tuple[str, int | None, bool]]:
    found = lint(workspace, run=Runner(workspace, workspace.parent / "tmp"), timeout=60)
    return [(finding.rule, finding.line, finding.fixable) for finding in found]


class TestBuiltIn:
    @pytest.mark.parametrize(
        ("name", "rules"),
        [
            ("bandit", ["B101", "B105", "B404", "B602"]),
            ("ruff-s", ["S101", "S105", "S602"]),
            ("detect-secrets", ["AWS Access Key"]),
        ],
    )
    def test_nothing_in_the_checkout_silences_it_and_no_secret_is_shown(
        self, workspace: Path, name: str, rules: list[str]
    ) -> None:
        path = Path(".tox", "CVSa.py")  # Both are words that bandit leaves out by itself, wherever they stand.
        (workspace / path).parent.mkdir()
        (workspace / path).write_text(DIRTY)
        (workspace / ".bandit").write_text("[bandit]\nskips = B602,B105,B101,B404\n")
        (workspace / "ruff.toml").write_text('lint.ignore = ["S"]\n')
        (workspace / ".gitignore").write_text("*.py\n")
        for module, text in STAND_INS.items():
            (workspace / module).write_text(text)
        result = scanned(workspace, name)
        assert (result.status, sorted(finding.rule for finding in result.findings)) == ("findings", rules), result
        text = repr(result)
        assert SECRET not in text
        assert PASSWORD not in text
        assert {finding.path for finding in result.findings} == {str(path)}

    @pytest.mark.parametrize("name", ["bandit", "ruff-s", "detect-secrets"])
    def test_what_moved_is_not_new(self, workspace: Path, name: str) -> None:
        (workspace / "a.py").write_text(DIRTY)
        before = scanned(workspace, name).findings
        (workspace / "a.py").write_text('"""New."""\n\nimport os\n\n' + DIRTY)
        assert new_against(before, scanned(workspace, name).findings) == []
        (workspace / "a.py").write_text(DIRTY + DIRTY.replace(SECRET, "AKIA" + "Z9YGRZLVHFN2XK7A"))
        assert new_against(before, scanned(workspace, name).findings)

    def test_asserts_and_made_up_passwords_in_tests_are_left_out(self, workspace: Path) -> None:
        (workspace / "tests").mkdir()
        (workspace / "tests" / "test_a.py").write_text(f'def test_a():\n    password = "{PASSWORD}"\n    assert 1\n')
        assert [scanned(workspace, name).status for name in ("bandit", "ruff-s")] == ["clean", "clean"]

    def test_odd_files_do_not_stop_it(self, workspace: Path) -> None:
        (workspace / "a.py").write_bytes(b"x = '\xff\xfe'\n")
        (workspace / "b.py").write_bytes(b"\0\0\0")
        (workspace / "c.bin").write_bytes(bytes(range(256)) * 100)
        (workspace / "out.py").symlink_to("/etc/passwd")
        (workspace / "loop").symlink_to(".")
        for name in ("bandit", "ruff-s", "detect-secrets"):
            assert scanned(workspace, name).status in ("clean", "findings"), name
        unread = [finding.path for finding in scanned(workspace, "bandit").findings if finding.rule == "not-scanned"]
        assert "b.py" in unread

    def test_pip_audit_without_network_is_not_checked(self, workspace: Path) -> None:
        (workspace / "requirements.txt").write_text("a==1\n")
        result = scanned(workspace, "pip-audit")
        assert result.status == "not_checked"
        assert "network" in result.reason


def writes(value: object, then: str = "") -> list[str]:
    code = f"import sys, time, os, signal; open(sys.argv[1], 'w').write({json.dumps(value)!r}); {then or 'pass'}"
    return [sys.executable, "-c", code, "{output}"]


GOOD = {
    "version": "2.1.0",
    "runs": [
        {"tool": {"driver": {"name": "X"}}, "results": [{"ruleId": "r", "level": "error", "message": {"text": "m"}}]}
    ],
}
EMPTY = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "X"}}, "results": []}]}
FAILED = {**EMPTY, "runs": [{**EMPTY["runs"][0], "invocations": [{"executionSuccessful": False}]}]}  # type: ignore[dict-item]


class TestConfigured:
    def test_its_sarif_is_read_whatever_its_status(self, workspace: Path) -> None:
        result = scanned(workspace, "x", writes(GOOD, "sys.exit(3)"))
        assert [(finding.rule, finding.severity) for finding in result.findings] == [("r", Severity.HIGH)]
        assert scanned(workspace, "x", writes(EMPTY)).status == "clean"

    @pytest.mark.parametrize(
        ("command", "why"),
        [
            (["no-such-scanner", "{output}"], "could not run"),
            ([sys.executable, "-c", "import sys; sys.exit('crashed')"], "crashed"),
            ([sys.executable, "-c", "pass"], "not written"),
            (writes("text"), "not an object"),
            (writes({**GOOD, "version": "1"}), "version"),
            (writes({"version": "2.1.0", "runs": []}), "no run"),
            (writes(FAILED), "did not finish"),
            (writes(GOOD, "os.kill(os.getpid(), signal.SIGKILL)"), "died"),
            ([sys.executable, "-c", "import os,sys; os.mkfifo(sys.argv[1])", "{output}"], "regular"),
            (
                [sys.executable, "-c", "import os,sys; os.symlink('/etc/passwd', sys.argv[1])", "{output}"],
                "cannot be read",
            ),
        ],
    )
    def test_one_that_did_not_work_is_not_checked(self, workspace: Path, command: list[str], why: str) -> None:
        result = scanned(workspace, "x", command)
        assert result.status == "not_checked"
        assert why in result.reason

    def test_one_that_outruns_its_time_is_not_checked(self, workspace: Path) -> None:
        result = scanned(workspace, "x", writes(GOOD, "time.sleep(60)"), timeout=2)
        assert (result.status, result.reason) == ("not_checked", "it ran out of time")

    def test_an_unknown_name_is_not_checked(self, workspace: Path) -> None:
        assert scanned(workspace, "nothing").status == "not_checked"

    def test_fifty_megabytes_are_read_in_time_and_more_is_refused(self, workspace: Path) -> None:
        place = {
            "physicalLocation": {
                "artifactLocation": {"uri": "a.py"},
                "region": {"startLine": 1, "snippet": {"text": "x" * 300}},
            }
        }
        one = {"ruleId": "r", "message": {"text": "m" * 100}, "locations": [place]}
        count = 50 * 1024**2 // len(json.dumps(one)) + 1
        for number, status in ((count, "findings"), (count * 2, "not_checked")):
            run_ = {"tool": {"driver": {"name": "X"}}, "results": [one] * number}
            (workspace / "big.sarif").write_text(json.dumps({"version": "2.1.0", "runs": [run_]}))
            started = time.process_time()
            result = scanned(workspace, "x", ["cp", "big.sarif", "{output}"])
            assert result.status == status
            assert time.process_time() - started < 10
        assert "larger than 64 MiB" in result.reason


class TestLint:
    def test_the_projects_rules_or_the_default_ones(self, workspace: Path) -> None:
        (workspace / "a.py").write_text("import os\nx = 1 if True else 2\nl = 0\n")
        default = linted(workspace)
        assert ("F401", 1, True) in default
        (workspace / "pyproject.toml").write_text('[tool.ruff.lint]\nselect = ["E741"]\n')
        assert linted(workspace) == [("E741", 3, False)]

    def test_rules_of_the_folders_above_do_not_count(self, workspace: Path) -> None:
        (workspace.parent / "ruff.toml").write_text('lint.ignore = ["F401"]\n')
        (workspace.parent / ".gitignore").write_text("*\n")
        (workspace / ".git").mkdir()
        (workspace / "a.py").write_text("import os\n")
        assert [rule for rule, _, _ in linted(workspace)] == ["F401"]

    def test_a_syntax_error_breaks_the_build(self, workspace: Path) -> None:
        (workspace / "a.py").write_text("def f(:\n")
        found = lint(workspace, run=Runner(workspace, workspace.parent / "tmp"), timeout=60)
        assert found
        assert {(f.category, f.severity, f.breaks_build) for f in found} == {(Category.BUILD, Severity.HIGH, True)}

    def test_more_findings_than_a_command_may_print_are_all_read(self, workspace: Path) -> None:
        (workspace / "a.py").write_text("".join(f"import a{number}\n" for number in range(5000)))
        assert len(linted(workspace)) >= 5000

    def test_a_broken_configuration_is_not_a_clean_result(self, workspace: Path) -> None:
        (workspace / "ruff.toml").write_text("nonsense = true\n")
        (workspace / "a.py").write_text("import os\n")
        with pytest.raises(CheckError, match="ruff failed"):
            linted(workspace)
