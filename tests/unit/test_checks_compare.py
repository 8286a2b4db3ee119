"""Head against base, and what is detected from files."""

from pathlib import Path

import pytest

from nightcrew.checks.project import declared_content, detect
from nightcrew.checks.regressions import compare, findings, to_rerun
from nightcrew.checks.results import Case
from nightcrew.checks.suite import COMMAND, TestRun
from nightcrew.model.severity import Severity


def ran(outcome: str = "ran", **cases: str) -> TestRun:
    return TestRun(outcome, {f"t.py::{name}": Case(f"t.py::{name}", status) for name, status in cases.items()})


def test_regression_flaky_known_new_fixed_skipped_and_removed_are_told_apart() -> None:
    base = ran(worked="passed", shaky="passed", known="failed", mended="failed", dropped="passed", muted="passed")
    head = ran(worked="failed", shaky="failed", known="failed", mended="passed", fresh="error", muted="skipped")
    again = ran(worked="failed", shaky="passed", fresh="error")
    assert to_rerun(base, head) == ("t.py::fresh", "t.py::shaky", "t.py::worked")
    compared = compare(base, head, again)
    assert [case.id for case in compared.regressions] == ["t.py::worked"]
    assert [case.id for case in compared.new_failing] == ["t.py::fresh"]
    assert compared.flaky == ("t.py::shaky",)
    assert compared.already_failing == ("t.py::known",)
    assert compared.fixed == ("t.py::mended",)
    assert compared.removed == ("t.py::dropped",)
    assert compared.newly_skipped == ("t.py::muted",)
    assert compared.breaks_build is None
    severities = {finding.rule: finding.severity for finding in findings(compared)}
    assert severities == {
        "regression": Severity.HIGH,
        "new-test-fails": Severity.MEDIUM,
        "no-longer-run": Severity.MEDIUM,
        "flaky": Severity.INFO,
    }


def test_a_rerun_that_could_not_be_made_clears_nobody() -> None:
    compared = compare(ran(a="passed"), ran(a="failed"), TestRun("timeout"))
    assert [case.id for case in compared.regressions] == ["t.py::a"]


def test_a_file_that_no_longer_collects_breaks_the_build_and_removes_no_test() -> None:
    head = TestRun("ran", {"u.py::b": Case("u.py::b", "passed")}, uncollected={"t.py": "ImportError: x"})
    base = TestRun("ran", {name: Case(name, "passed") for name in ("t.py::a", "u.py::b")})
    compared = compare(base, head)
    assert compared.breaks_build == "t.py does not collect: ImportError: x"
    assert compared.removed == ()
    (finding,) = findings(compared)
    assert (finding.breaks_build, finding.severity) == (True, Severity.HIGH)


def test_what_did_not_collect_or_import_on_base_is_not_held_against_head() -> None:
    sides = [TestRun("ran", {"u::b": Case("u::b", "passed")}, uncollected={"t.py": "x"}, unimportable={"p": "y"})] * 2
    assert compare(*sides).breaks_build is None


@pytest.mark.parametrize(
    ("base", "head", "broken"),
    [
        ("ran", "broken", True),
        ("ran", "timeout", True),
        ("ran", "no_tests", True),
        ("no_tests", "broken", True),
        ("broken", "broken", False),
        ("timeout", "timeout", False),
        ("no_tests", "no_tests", False),
        ("ran", "ran", False),
    ],
)
def test_what_breaks_the_build(base: str, head: str, broken: bool) -> None:
    assert (compare(TestRun(base), TestRun(head, reason="why")).breaks_build is not None) is broken


def test_a_command_without_results_is_compared_by_its_status() -> None:
    passed, failed = (TestRun("ran", {COMMAND: Case(COMMAND, s)}, exit_only=True) for s in ("passed", "failed"))
    assert to_rerun(passed, failed) == ()
    assert [case.id for case in compare(passed, failed).regressions] == [COMMAND]
    assert compare(failed, failed).already_failing == (COMMAND,)


def test_a_command_that_fails_although_no_test_does_is_a_regression() -> None:
    head = TestRun("ran", {"t::a": Case("t::a", "passed"), COMMAND: Case(COMMAND, "failed", "coverage 79 < 80")})
    compared = compare(TestRun("ran", {"t::a": Case("t::a", "passed")}), head)
    assert [case.id for case in compared.regressions] == [COMMAND]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {"kind": "unknown"}),
        (
            {"calc.py": "", "test_calc.py": ""},
            {"kind": "python", "packages": ("calc",), "itself": None, "installs": ()},
        ),
        ({"src/pkg/__init__.py": "", "pyproject.toml": ""}, {"source": "src", "packages": ("pkg",)}),
        (
            {"pyproject.toml": '[project]\ndependencies=["y"]\n[project.optional-dependencies]\ntest=["z"]\ndev=["w"]'},
            {"itself": ".[test]"},
        ),
        (
            {"pyproject.toml": '[project]\nname="x"\n[dependency-groups]\ndev=["z"]'},
            {"itself": ".", "installs": ("--group", "pyproject.toml:dev")},
        ),
        ({"pyproject.toml": '[project]\nname="x"\n'}, {"itself": None, "installs": ()}),
        (
            {"requirements.txt": "a", "requirements-test.txt": "b"},
            {"installs": ("-r", "requirements.txt", "-r", "requirements-test.txt")},
        ),
        ({"pyproject.toml": '[tool.poetry.group.dev.dependencies]\npytest="^8"\nmypy="1"'}, {"installs": ("pytest",)}),
        (
            {"setup.py": "", "tox.ini": "[testenv]\ndeps =\n  pytest>=7\n  -rfoo.txt\n  py3: x\n  {env:Y}\n"},
            {"installs": ("pytest>=7",)},
        ),
        ({"setup.py": "setup(ext_modules=[])"}, {"native": True, "backend": ""}),
        (
            {"pyproject.toml": '[build-system]\nrequires=["maturin"]\nbuild-backend="maturin"'},
            {"native": True, "backend": "maturin"},
        ),
        ({"pyproject.toml": "project = 3\ndependency-groups = []\ntool = 'x'"}, {"kind": "python"}),
        ({"pyproject.toml": "not [toml"}, {"kind": "python", "itself": None}),
        ({"package.json": '{"scripts": {"test": "jest"}}'}, {"kind": "node", "test": ("npm", "test")}),
        ({"package.json": "[1"}, {"kind": "unknown"}),
        ({"Cargo.toml": ""}, {"kind": "rust", "test": ("cargo", "test")}),
        ({"go.mod": ""}, {"kind": "go"}),
        ({"Makefile": "test: x\n"}, {"kind": "make"}),
        ({"Makefile": "all: x\n"}, {"kind": "unknown"}),
    ],
)
def test_what_is_detected(tmp_path: Path, files: dict[str, str], expected: dict[str, object]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    detected = detect(tmp_path)
    assert {name: getattr(detected, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "package.json", "Makefile", "tox.ini", "src"])
def test_links_in_a_checkout_are_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    assert detect(tmp_path).kind == "unknown"


def test_settings_of_tools_do_not_change_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    seen = []
    for text in ("", "[tool.ruff]\nline-length = 99\n", '[project]\ndependencies = ["x"]\n'):
        file.write_text('[build-system]\nrequires = ["hatchling"]\n' + text)
        seen.append(declared_content(tmp_path, ["pyproject.toml"]))
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]
