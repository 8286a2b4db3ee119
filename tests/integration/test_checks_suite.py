"""Tests of real projects in the real sandbox: regressions, hangs, broken reports, and whose code is imported."""

import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nightcrew.checks.project import detect
from nightcrew.checks.python import Environment, prepare
from nightcrew.checks.regressions import Comparison, compare, to_rerun
from nightcrew.checks.running import CheckError
from nightcrew.checks.suite import COMMAND, TestRun, run_tests
from nightcrew.sandbox import Completed, Policy, run, scrubbed_environment

# A pytest without what is installed for our own tests, which takes a second to import.
BARE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
Tree = Callable[[str, Mapping[str, str]], Path]


class Runner:
    """Runs commands at a workspace as the crew does; remembers them."""

    def __init__(self, workspace: Path, temp: Path) -> None:
        self.workspace, self.temp, self.home = workspace, temp, temp / "home"
        self.argvs: list[list[str]] = []
        self.networks: list[bool] = []
        self.refused: tuple[str, ...] = ("nothing",)

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
        self.argvs.append(list(argv))
        self.networks.append(network)
        if set(self.refused) <= set(argv):
            return Completed(tuple(argv), 1, b"", b"refused", 0.0)
        return run(
            argv,
            cwd=cwd or self.workspace,
            policy=Policy(writable=(self.workspace, self.temp, *writable), readable=tuple(readable), network=network),
            environment={**scrubbed_environment(temp=self.temp, home=self.home), **BARE, **(environment or {})},
            timeout=timeout or 60,
        )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make(name: str, files: Mapping[str, str]) -> Path:
        root = tmp_path / name
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return root

    return make


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    (tmp_path / "tmp" / "home").mkdir(parents=True)
    return tmp_path / "tmp"


OWN = Environment(Path(sys.executable), (), "own", "own")


def run_suite(
    workspace: Path,
    temp: Path,
    *,
    environment: Environment | None = OWN,
    timeout: float = 60,
    command: str = "",
    junit: str = "",
    only: Sequence[str] = (),
) -> TestRun:
    return run_tests(
        workspace,
        detect(workspace),
        environment,
        run=Runner(workspace, temp),
        temp=temp,
        timeout=timeout,
        command=command,
        junit=junit,
        only=only,
    )


CALC = "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n"
TESTS = """
import calc, os, pathlib

def test_add(): assert calc.add(1, 2) == 3
def test_sub(): assert calc.sub(3, 2) == 1
def test_known(): assert False
def test_shaky():
    marker = pathlib.Path(os.environ["TMPDIR"]) / "second-time"
    if "shaky" in calc.__doc__ and not marker.exists():
        marker.touch()
        assert False
"""


def compared(base: Path, head: Path, temp: Path) -> tuple[Comparison, TestRun]:
    before, after = run_suite(base, temp), run_suite(head, temp)
    suspects = to_rerun(before, after)
    return compare(before, after, run_suite(head, temp, only=suspects) if suspects else None), after


def test_regression_flaky_and_failing_before_are_told_apart(tree: Tree, temp: Path) -> None:
    base = tree("base", {"calc.py": '"""Doc."""\n' + CALC, "tests/test_calc.py": TESTS})
    head = tree("head", {"calc.py": '"""shaky."""\n' + CALC.replace("a - b", "b - a"), "tests/test_calc.py": TESTS})
    found, after = compared(base, head, temp)
    assert [case.id for case in found.regressions] == ["tests/test_calc.py::test_sub"]
    assert found.flaky == ("tests/test_calc.py::test_shaky",)
    assert found.already_failing == ("tests/test_calc.py::test_known",)
    assert after.counts == {"passed": 1, "failed": 3, "error": 0, "skipped": 0}


def test_a_file_that_no_longer_imports_breaks_the_build_and_the_others_still_run(tree: Tree, temp: Path) -> None:
    files = {
        "pkg/__init__.py": "x = 1\n",
        "test_a.py": "import pkg\ndef test_a(): assert pkg.x",
        "test_b.py": "def test_b(): pass",
    }
    base = tree("base", files)
    head = tree("head", {**files, "pkg/__init__.py": "import nowhere\n"})
    found, after = compared(base, head, temp)
    assert found.breaks_build is not None
    assert "pkg does not import: ModuleNotFoundError" in found.breaks_build
    assert list(after.uncollected) == ["test_a.py"]
    assert [case.id for case in after.cases.values()] == ["test_b.py::test_b"]


def test_settings_of_the_project_do_not_stop_at_the_first_failure(tree: Tree, temp: Path) -> None:
    files = {
        "pytest.ini": "[pytest]\naddopts = -x --maxfail=1\n",
        "test_a.py": "def test_a(): assert 0\ndef test_b(): pass",
    }
    assert run_suite(tree("w", files), temp).counts["passed"] == 1


def test_a_hang_is_ended_with_everything_it_started(tree: Tree, temp: Path) -> None:
    code = "import subprocess, time\ndef test_hang():\n    subprocess.Popen(['sleep', '77.31'])\n    time.sleep(60)\n"
    ran = run_suite(tree("w", {"test_a.py": code}), temp, timeout=2)
    assert (ran.outcome, ran.reason) == ("timeout", "not done after 2 seconds")
    assert ran.seconds < 10
    assert subprocess.run(["pgrep", "-f", "sleep 77.31"], capture_output=True, check=False).stdout == b""


@pytest.mark.parametrize(
    ("files", "outcome"),
    [
        ({"test_a.py": "x = 1\n"}, "no_tests"),
        ({"test_a.py": "def test_a(:\n"}, "broken"),
        ({"conftest.py": "import nowhere\n", "test_a.py": "def test_a(): pass"}, "broken"),
        ({"pytest.ini": "[pytest]\naddopts = --nonsense\n", "test_a.py": "def test_a(): pass"}, "broken"),
        ({"test_a.py": "import os\ndef test_a(): os.kill(os.getpid(), 11)"}, "broken"),
        ({"test_a.py": "import os\ndef test_a(): os._exit(0)"}, "not_run"),
        ({"conftest.py": "import pytest\ndef pytest_sessionstart(): pytest.exit('no')\n", "test_a.py": ""}, "broken"),
        # The report is written by code under test, and may be anything at all.
        (
            {
                "conftest.py": "def pytest_unconfigure(config):\n    open(config.option.xmlpath, 'w').write('ok')\n",
                "test_a.py": "def test_a(): pass",
            },
            "not_run",
        ),
        (
            {
                "conftest.py": "import os\ndef pytest_unconfigure(config):\n    path = config.option.xmlpath\n"
                "    os.remove(path)\n    os.mkfifo(path)\n",
                "test_a.py": "def test_a(): pass",
            },
            "not_run",
        ),
    ],
)
def test_what_is_no_result_is_never_a_pass(tree: Tree, temp: Path, files: dict[str, str], outcome: str) -> None:
    ran = run_suite(tree("w", files), temp)
    assert (ran.outcome, bool(ran.reason)) == (outcome, True)


def test_a_failure_outside_the_tests_counts(tree: Tree, temp: Path) -> None:
    files = {
        "conftest.py": "def pytest_sessionfinish(session): session.exitstatus = 1\n",
        "test_a.py": "def test_a(): pass",
    }
    ran = run_suite(tree("w", files), temp)
    assert ran.cases[COMMAND].status == "failed"


class TestConfiguredCommands:
    def test_results_are_read_and_stale_ones_are_not(self, tree: Tree, temp: Path) -> None:
        suite = "<testsuite><testcase name='{}'/></testsuite>"
        workspace = tree("w", {"out/old.xml": suite.format("stale"), "new.xml": suite.format("fresh")})
        ran = run_suite(workspace, temp, environment=None, command="cp new.xml out/new.xml", junit="out/*.xml")
        assert (ran.outcome, list(ran.cases), ran.exit_only) == ("ran", ["fresh"], False)

    def test_no_results_where_they_were_promised_is_not_a_pass(self, tree: Tree, temp: Path) -> None:
        ran = run_suite(tree("w", {"a": ""}), temp, environment=None, command="true", junit="out/*.xml")
        assert ran.outcome == "not_run"

    def test_only_the_status_is_known_without_results(self, tree: Tree, temp: Path) -> None:
        workspace = tree("w", {"a": ""})
        for command, status in (("true", "passed"), ("echo no; false", "failed")):
            ran = run_suite(workspace, temp, environment=None, command=command)
            assert (ran.exit_only, ran.cases[COMMAND].status) == (True, status)
        assert run_suite(workspace, temp, environment=None, command="no-such-program").outcome == "not_run"

    def test_they_too_run_on_the_code_of_the_workspace(self, tree: Tree, temp: Path) -> None:
        workspace = tree("w", {"src/pkg/__init__.py": "", "pyproject.toml": ""})
        ran = run_suite(workspace, temp, command='python -c "import pkg; print(pkg.__file__); raise SystemExit(1)"')
        assert str(workspace / "src/pkg/__init__.py") in ran.log


class TestWhoseCode:
    """An environment that holds another copy of the project must not decide what is tested."""

    @pytest.fixture
    def editable(self, tmp_path: Path) -> Path:
        """A virtual environment with an editable install of a tree of the user; gives the tree."""
        user = tmp_path / "user"
        (user / "src" / "pkg").mkdir(parents=True)
        (user / "src" / "pkg" / "__init__.py").write_text("value = 'user'\n")
        venv.create(user / ".venv", symlinks=True, system_site_packages=False)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = user / ".venv" / "lib" / version / "site-packages"
        ours = Path(pytest.__file__).parent.parent
        # What `pip install -e` of setuptools and hatch leaves behind. Others leave a finder, as further below.
        (site / "pkg.pth").write_text(f"{user / 'src'}\n{ours}\n")
        return user

    def given(self, user: Path) -> Environment:
        ours = Path(pytest.__file__).parent.parent
        return Environment(user / ".venv" / "bin" / "python", (user, ours, Path(sys.base_prefix)), "user's", "user")

    def clone(self, tree: Tree) -> Path:
        code = "import pkg\ndef test_value(): assert pkg.value == 'clone'\n"
        return tree(
            "clone", {"src/pkg/__init__.py": "value = 'clone'\n", "pyproject.toml": "", "tests/test_v.py": code}
        )

    def test_the_workspace_goes_before_an_editable_install(self, tree: Tree, temp: Path, editable: Path) -> None:
        ran = run_suite(self.clone(tree), temp, environment=self.given(editable))
        assert (ran.outcome, ran.counts["passed"]) == ("ran", 1), ran

    def test_an_editable_install_that_goes_first_is_detected(self, tree: Tree, temp: Path, editable: Path) -> None:
        site = next((editable / ".venv" / "lib").glob("python*/site-packages"))
        finder = site / "_pkg_editable.py"
        finder.write_text(
            "import importlib.util, sys\nclass Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        place = {str(editable / 'src' / 'pkg')!r}\n"
            "        if name == 'pkg':\n"
            "            return importlib.util.spec_from_file_location(\n"
            "                name, place + '/__init__.py', submodule_search_locations=[place])\n"
            "sys.meta_path.insert(0, Finder())\n"
        )
        (site / "zz.pth").write_text("import _pkg_editable\n")
        try:
            ran = run_suite(self.clone(tree), temp, environment=self.given(editable))
        finally:
            (site / "zz.pth").unlink()
        assert ran.outcome == "not_run"
        assert "not from the commit under test" in ran.reason
        assert str(editable) in ran.reason

    def test_a_script_beside_the_tests_is_not_run_by_the_proof(self, tree: Tree, temp: Path) -> None:
        workspace = tree("w", {"app.py": "raise SystemExit('ran')\n", "test_a.py": "def test_a(): pass"})
        assert run_suite(workspace, temp).outcome == "ran"


class TestEnvironments:
    def test_nothing_declared_needs_no_environment(self, tree: Tree, temp: Path) -> None:
        workspace = tree("w", {"calc.py": CALC, "test_a.py": "def test_a(): pass"})
        runner = Runner(workspace, temp)
        made = prepare(workspace, detect(workspace), folder=temp / "envs", run=runner, timeout=60)
        assert made.python == Path(sys.executable)
        assert runner.argvs == []

    def test_one_is_made_once_for_the_same_declarations(self, tree: Tree, temp: Path) -> None:
        """The set-up command stands in for an installer, so that no index is needed."""
        workspace = tree("w", {"requirements.txt": "a\n"})
        runner = Runner(workspace, temp)
        detected = replace(detect(workspace), keys=("requirements.txt",))

        def make() -> Environment:
            return prepare(workspace, detected, folder=temp / "envs", run=runner, timeout=60, setup="false")

        with pytest.raises(CheckError, match="making the environment failed: /bin/sh"):
            make()
        assert not list((temp / "envs").glob("*.done"))  # so that a half-made one is made again
        made = len(runner.argvs)
        key = next((temp / "envs").glob("*.lock")).stem
        (temp / "envs" / f"{key}.done").write_text("{}")
        assert make().key == key
        assert len(runner.argvs) == made

    def test_the_users_environment_serves_only_for_the_same_declarations(self, tree: Tree, temp: Path) -> None:
        user = tree("user", {"requirements.txt": "a\n"})
        (user / ".venv").symlink_to(Path(sys.executable).parent.parent)
        python = user / ".venv" / "bin" / "python"
        for text, makes in (("a\n", False), ("a\nb\n", True)):
            workspace = tree(f"w{len(text)}", {"requirements.txt": text})
            detected = replace(detect(workspace), user_python=python)
            runner = Runner(workspace, temp)
            runner.refused = ("-m", "venv")
            try:
                assert prepare(workspace, detected, folder=temp / "envs", run=runner, timeout=60).python == python
            except CheckError:
                assert makes
            assert any("venv" in argv for argv in runner.argvs) is makes

    @pytest.mark.slow
    @pytest.mark.network
    def test_a_project_with_compiled_parts_is_built_from_the_workspace(self, tree: Tree, temp: Path) -> None:
        code = (
            '#include <Python.h>\nstatic struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "_fast", 0, -1, 0};\n'
            "PyMODINIT_FUNC PyInit__fast(void) { PyObject *o = PyModule_Create(&m);\n"
            '  PyModule_AddIntConstant(o, "value", VALUE); return o; }\n'
        )
        setup = (
            "from setuptools import Extension, setup\nsetup(name='pkg', version='1', packages=['pkg'],\n"
            "  ext_modules=[Extension('pkg._fast', ['fast.c'])])\n"
        )
        check = "from pkg._fast import value\ndef test_value(): assert value == 1\n"
        for number, status in ((1, "passed"), (2, "failed")):
            files = {
                "setup.py": setup,
                "fast.c": code.replace("VALUE", str(number)),
                "pkg/__init__.py": "",
                "test_v.py": check,
            }
            workspace = tree(f"w{number}", files)
            runner = Runner(workspace, temp)
            detected = detect(workspace)
            environment = prepare(workspace, detected, folder=temp / "envs", run=runner, timeout=300)
            ran = run_tests(workspace, detected, environment, run=runner, temp=temp, timeout=120)
            assert {name: case.status for name, case in ran.cases.items()} == {"test_v.py::test_value": status}, ran
        assert runner.networks == [False] * len(runner.networks)  # the second found the environment of the first
