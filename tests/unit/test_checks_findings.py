"""Fingerprints, what is new, what is masked, and findings by rule."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightcrew.checks.located import Hit, locate, new_against
from nightcrew.checks.scan import audit_report
from nightcrew.checks.text import in_tests, inside, masked, plain_text, relative_path
from nightcrew.checks.touched import dependencies, protected
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity


def hit(line: int, rule: str = "R", path: str = "a.py", *, secret: bool = False) -> Hit:
    return Hit("tool", rule, Category.LINT, Severity.LOW, "a problem", path, line, secret=secret)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    code=st.lists(st.sampled_from(["x = 1", "y = 2", "x = 1", "  z()", ""]), min_size=1, max_size=8),
    above=st.integers(0, 5),
    indent=st.sampled_from(["", "    "]),
)
def test_findings_survive_moved_and_indented_lines(tmp_path: Path, code: list[str], above: int, indent: str) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir(exist_ok=True)
    (before / "a.py").write_text("\n".join(code))
    (after / "a.py").write_text("\n".join(["# new"] * above + [indent + line for line in code]))
    base = locate([hit(number + 1) for number in range(len(code))], before)
    head = locate([hit(number + 1 + above) for number in range(len(code))], after)
    assert new_against(base, head) == []
    assert len({finding.fingerprint for finding in base}) == len(base)


def test_one_more_of_the_same_is_new_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("bad()\nbad()\nbad()\n")
    base = locate([hit(1), hit(2)], tmp_path)
    head = locate([hit(1), hit(2), hit(3)], tmp_path)
    assert [finding.line for finding in new_against(base, head)] == [3]


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.py").write_text("outside\n")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "zero").symlink_to("/dev/zero")
    (root / "loop").symlink_to("loop")
    assert locate([hit(1, path="link.py"), hit(1, path="../outside.py")], root)[0].evidence == ""
    assert [inside(root, name) for name in ("link.py", "zero", "loop", "none", "a\0b")] == [None] * 5


def test_undecodable_and_odd_files_do_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xff\xfe\x00\nx = '\x0c'\nlast")
    assert [finding.evidence for finding in locate([hit(1), hit(3), hit(99)], tmp_path)][1:] == ["last", ""]


def test_a_secret_is_neither_shown_nor_lost_when_it_changes(tmp_path: Path) -> None:
    found = []
    for value in ("hunter2-hunter2", "other-secret-1"):
        (tmp_path / "a.py").write_text(f'password = "{value}"\n')
        (finding,) = locate([hit(1, secret=True)], tmp_path)
        assert value not in finding.model_dump_json()
        found.append(finding)
    assert len(new_against([found[0]], [found[1]])) == 1


@pytest.mark.parametrize(
    "line",
    [
        'password = "SECRETVALUE"',
        "db_password: str = 'SECRETVALUE'",
        'connect(api_key="SECRETVALUE")',
        '{"token": "SECRETVALUE"}',
        'os.environ["SECRET"] = "SECRETVALUE"',
        "url = 'https://user:SECRETVALUE@host/x'",
        "key = AKIAIOSFODNN7SECRETV",
        "x = 'ghp_SECRETVALUESECRETVALUESECRETVALUE1234'",
    ],
)
def test_what_looks_like_a_credential_is_masked_in_evidence(line: str) -> None:
    assert "SECRETV" not in masked(line)


@given(st.text())
def test_plain_text_has_no_control_characters(value: str) -> None:
    assert not set(plain_text(value)) & {chr(code) for code in range(32)} - {"\n", "\t"}


def test_paths() -> None:
    assert [relative_path(p) for p in ("a/./b", "a/../b", "../a", "/a", "", "a/../..")] == [
        "a/b",
        "b",
        None,
        None,
        None,
        None,
    ]
    assert [in_tests(p) for p in ("tests/a.py", "test_a.py", "a_test.py", "src/contest.py")] == [
        True,
        True,
        True,
        False,
    ]


@dataclass
class Changed:
    path: str
    base_text: str | None
    head_text: str | None
    head_mode: str | None = "100644"


@pytest.mark.parametrize(
    ("path", "base", "head", "expected"),
    [
        ("requirements.txt", "a==1\n", "a==1\nb==2\n", ["new-dependency"]),
        ("requirements.txt", "a==1\n", "a==1\nB_c>=2  # why\n", ["new-unpinned-dependency"]),
        ("requirements/dev.txt", None, "b==2.*\n", ["new-unpinned-dependency"]),
        ("requirements.txt", "a==1\n", "a>=1\n", ["unpinned-dependency"]),
        ("requirements.txt", "a==1\n", "a==2\n", []),
        ("requirements.txt", "", "b @ git+https://host/b@main\n", ["new-unpinned-dependency"]),
        ("requirements.txt", "", f"b @ git+https://host/b@{'a' * 40}\n", ["new-dependency"]),
        ("pyproject.toml", "", '[project]\ndependencies = ["x>=1"]\n', ["new-unpinned-dependency"]),
        ("pyproject.toml", "", '[tool.poetry.dependencies]\npython = "^3"\nx = "1.2.3"\n', ["new-dependency"]),
        ("pyproject.toml", "", '[dependency-groups]\ntest = ["x==1", {include-group = "y"}]\n', ["new-dependency"]),
        ("pyproject.toml", "", "[project]\ndependencies = 5\n", []),
        ("pyproject.toml", "", "not [toml", []),
        ("package.json", '{"dependencies": {}}', '{"dependencies": {"x": "^1.0.0"}}', ["new-unpinned-dependency"]),
        ("web/package.json", "{}", '{"devDependencies": {"@a/x": "1.0.0"}}', []),
        ("requirements.txt", "a==1", None, []),
        ("README.md", "", "b==2", []),
    ],
)
def test_new_and_loosened_dependencies_are_findings(
    path: str, base: str | None, head: str | None, expected: list[str]
) -> None:
    expected = ["new-dependency"] if path == "web/package.json" else expected
    assert [found.rule for found in dependencies([Changed(path, base, head)])] == expected


def test_protected_paths_are_high() -> None:
    paths = ["a.py", ".github", ".github/workflows/ci.yml", ".githubs", "sub/poetry.lock"]
    found = protected(paths, [".github/**", "*.lock"])
    assert [(one.path, one.severity) for one in found] == [
        (".github", Severity.HIGH),  # A link in the place of the folder.
        (".github/workflows/ci.yml", Severity.HIGH),
        ("sub/poetry.lock", Severity.HIGH),
    ]


def test_what_pip_audit_skipped_is_told_apart_from_what_is_clean() -> None:
    report = b"""{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]},
        {"name": "b", "skip_reason": "not on PyPI"}, {"name": "c", "version": "3", "vulns": []}]}"""
    hits, skipped = audit_report(report, "requirements.txt")
    assert ([one.rule for one in hits], skipped) == (["PYSEC-1"], ["b"])
