"""Reading what tools and tests leave behind: JUnit XML and SARIF, hostile or not."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightcrew.checks.errors import ReportError
from nightcrew.checks.junit import Status, parse_junit
from nightcrew.checks.located import locate
from nightcrew.checks.reports import read_report
from nightcrew.checks.results import read_results
from nightcrew.checks.sarif_in import parse_sarif
from nightcrew.checks.sarif_write import write_sarif
from nightcrew.model.finding import Category, Finding
from nightcrew.model.severity import Severity

ROOT = Path("/work/space")


def log(*results: dict[str, Any], **run: Any) -> bytes:
    driver = run.pop("driver", {"name": "Tool"})
    return json.dumps(
        {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": list(results), **run}]}
    ).encode()


def result(**fields: Any) -> dict[str, Any]:
    return {"ruleId": "R1", "message": {"text": "bad"}, **fields}


def at(uri: str, **artifact: Any) -> list[dict[str, Any]]:
    region = {"startLine": 3, "endLine": 4, "snippet": {"text": "code()"}}
    return [{"physicalLocation": {"artifactLocation": {"uri": uri, **artifact}, "region": region}}]


class TestJunit:
    def test_cases_keep_the_worse_of_call_and_teardown(self) -> None:
        cases = parse_junit(
            b'<testsuites><testsuite><testcase classname="t" name="a"/><testcase classname="t" name="a">'
            b'<error message="teardown"/></testcase><testcase name="s"><skipped/></testcase></testsuite></testsuites>'
        )
        assert [(case.name, case.status) for case in cases] == [("a", Status.ERROR), ("s", Status.SKIPPED)]

    def test_nested_suites_and_a_bare_suite_are_read(self) -> None:
        nested = b'<testsuite><testsuite><testcase name="a"><failure>boom</failure></testcase></testsuite></testsuite>'
        assert [(case.name, case.status, case.message) for case in parse_junit(nested)] == [("a", "failed", "boom")]

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "empty"),
            (b"  \n", "empty"),
            (b"all tests passed", "not XML"),
            (b"<testsuites><testsuite><testcase name='a'/>", "not XML"),
            (b"<html><body/></html>", "not JUnit"),
            (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuite>&a;</testsuite>', "document type"),
            (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite>&a;</testsuite>', "document type"),
            ('<!DOCTYPE x [<!ENTITY a "a">]><testsuite/>'.encode("utf-16"), "document type"),
            (b'<?xml version="1.0" encoding="utf-7"?><testsuite/>', "not XML"),
            (b'<?xml version="1.0" encoding="none-such"?><testsuite/>', "not XML"),
            (b"<a>" * 5000 + b"</a>" * 5000, "deeply"),
        ],
    )
    def test_what_is_not_junit_is_refused_with_the_reason(self, data: bytes, why: str) -> None:
        with pytest.raises(ReportError, match=why):
            parse_junit(data)

    def test_a_report_above_the_limit_is_refused(self) -> None:
        with pytest.raises(ReportError, match="larger than"):
            parse_junit(b"<testsuite>" + b" " * 2_000_000 + b"</testsuite>", limit=1024**2)

    def test_control_characters_and_escapes_are_stripped(self) -> None:
        (case,) = parse_junit(
            '<testsuite><testcase name="a"><failure message="x\u202ey\u009bz"/></testcase></testsuite>'.encode()
        )
        assert case.message == "xyz"

    def test_ids_are_those_that_pytest_takes(self, tmp_path: Path) -> None:
        report = tmp_path / "junit.xml"
        report.write_text(
            '<testsuite><testcase classname="tests.test_a.TestX" name="test_m[a.b]" file="tests/test_a.py"/>'
            '<testcase classname="" name="sub.test_b" file="sub/test_b.py"><error message="collection failure">'
            "Traceback\nE   ModuleNotFoundError: No module named 'nope'</error></testcase></testsuite>"
        )
        results = read_results(report)
        assert list(results.cases) == ["tests/test_a.py::TestX::test_m[a.b]"]
        assert results.uncollected == {"sub/test_b.py": "ModuleNotFoundError: No module named 'nope'"}


class TestReadReport:
    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/etc/passwd")
        with pytest.raises(ReportError):
            read_report(tmp_path / "link", limit=1000)

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ReportError, match="not a regular file"):
            read_report(tmp_path / "pipe", limit=1000)

    def test_missing_and_too_large_are_told_apart(self, tmp_path: Path) -> None:
        with pytest.raises(ReportError, match="not written"):
            read_report(tmp_path / "none", limit=10)
        (tmp_path / "big").write_bytes(b"x" * 11)
        with pytest.raises(ReportError, match="larger"):
            read_report(tmp_path / "big", limit=10)


class TestSarif:
    @pytest.mark.parametrize(
        ("fields", "rule", "severity"),
        [
            ({}, {}, Severity.MEDIUM),
            ({"level": "error"}, {}, Severity.HIGH),
            ({"level": "note"}, {}, Severity.LOW),
            ({"level": "none"}, {}, Severity.INFO),
            ({}, {"defaultConfiguration": {"level": "error"}}, Severity.HIGH),
            ({"level": "warning"}, {"properties": {"security-severity": "9.8"}}, Severity.CRITICAL),
            # Invariant 3: a score does not lower what the level says.
            ({"level": "error"}, {"properties": {"security-severity": "1.0"}}, Severity.HIGH),
            ({"properties": {"security-severity": 7.0}}, {}, Severity.HIGH),
            ({"properties": {"security-severity": "nonsense"}}, {}, Severity.MEDIUM),
        ],
    )
    def test_severity_is_the_higher_of_level_and_score(
        self, fields: dict[str, Any], rule: dict[str, Any], severity: Severity
    ) -> None:
        data = log(result(**fields), driver={"name": "T", "rules": [{"id": "R1", **rule}]})
        assert parse_sarif(data, ROOT).hits[0].severity is severity

    @pytest.mark.parametrize(
        ("uri", "artifact", "path"),
        [
            ("src/a.py", {}, "src/a.py"),
            ("./src//a%20b.py", {}, "src/a b.py"),
            ("file:///work/space/src/a.py", {}, "src/a.py"),
            ("/work/space/src/a.py", {}, "src/a.py"),
            ("a.py", {"uriBaseId": "%SRCROOT%"}, "a.py"),
            ("a.py", {"uriBaseId": "SUB"}, "sub/a.py"),
            ("a.py", {"uriBaseId": "LOOP"}, "a.py"),
            ("../outside.py", {}, None),
            ("src/../../outside.py", {}, None),
            ("file:///etc/passwd", {}, None),
            ("https://example.org/a.py", {}, None),
        ],
    )
    def test_paths_are_relative_to_the_repository_or_dropped(
        self, uri: str, artifact: dict[str, Any], path: str | None
    ) -> None:
        bases = {
            "ROOT": {"uri": "file:///work/space/"},
            "SUB": {"uri": "sub", "uriBaseId": "ROOT"},
            "LOOP": {"uriBaseId": "LOOP"},
        }
        data = log(result(locations=at(uri, **artifact)), originalUriBaseIds=bases)
        assert parse_sarif(data, ROOT).hits[0].path == path

    def test_artifacts_and_rules_are_found_by_index(self) -> None:
        location = [{"physicalLocation": {"artifactLocation": {"index": 0}, "region": {"startLine": 1}}}]
        text = {"messageStrings": {"m": {"text": "{0} is {1}"}}}
        data = log(
            {"ruleIndex": 0, "message": {"id": "m", "arguments": ["x", "bad"]}, "locations": location},
            driver={"name": "T", "rules": [{"id": "R9", **text}]},
            artifacts=[{"location": {"uri": "a.py"}}],
        )
        (hit,) = parse_sarif(data, ROOT).hits
        assert (hit.rule, hit.message, hit.path, hit.line) == ("R9", "x is bad", "a.py", 1)

    def test_suppressed_and_passed_results_do_not_count(self) -> None:
        data = log(
            result(suppressions=[{"kind": "inSource"}]),
            result(kind="pass"),
            result(baselineState="absent"),
            result(ruleId="kept", suppressions=[{"kind": "external", "status": "underReview"}]),
        )
        assert [hit.rule for hit in parse_sarif(data, ROOT).hits] == ["kept"]

    def test_a_tool_that_did_not_finish_is_a_failure(self) -> None:
        note = {"level": "error", "message": {"text": "out of memory"}}
        data = log(invocations=[{"executionSuccessful": False, "toolExecutionNotifications": [note]}])
        assert parse_sarif(data, ROOT).failures == ("out of memory",)

    def test_text_is_data(self) -> None:
        data = log(result(message={"text": "a\x1b[31mred\x1b[0m\u202e\x07"}))
        assert parse_sarif(data, ROOT).hits[0].message == "ared"

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "empty"),
            (b"not json", "not JSON"),
            (b"[]", "not an object"),
            (b'{"version": "2.0.0", "runs": []}', "version"),
            (b'{"version": "2.1.0"}', r"runs: not an array"),
            (b'{"version": "2.1.0", "runs": [3]}', r"runs\[0\]: not an object"),
            (log({"ruleId": "x"}), r"runs\[0\]\.results\[0\]\.message"),
            (log(result(level="fatal")), r"results\[0\]\.level"),
            (log(result(ruleId=4)), r"results\[0\]\.ruleId"),
            (b"[" * 200_000, "nested|not JSON"),
            (b'\xff\xfe"', "not JSON"),
        ],
    )
    def test_what_does_not_fit_is_an_error_that_names_the_place(self, data: bytes, why: str) -> None:
        with pytest.raises(ReportError, match=why):
            parse_sarif(data, ROOT)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "message",
                            "locations",
                            "ruleId",
                            "ruleIndex",
                            "rule",
                            "level",
                            "suppressions",
                            "text",
                            "physicalLocation",
                            "artifactLocation",
                            "uri",
                            "region",
                            "startLine",
                            "index",
                        ]
                    ),
                    inner,
                )
            ),
        )
    )
    def test_any_result_is_read_or_refused(self, value: Any) -> None:
        with contextlib.suppress(ReportError):
            parse_sarif(log(value), ROOT)


text = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=("Cc", "Cs")), min_size=1)
names = st.text("abcdefgh_", min_size=1, max_size=8)
findings = st.builds(
    Finding,
    fingerprint=st.text("0123456789abcdef", min_size=32, max_size=32),
    tool=st.sampled_from(["alpha", "beta"]),
    rule=names,
    category=st.just(Category.SECURITY),
    severity=st.sampled_from(Severity),
    message=text,
    path=st.none() | st.lists(names, min_size=1, max_size=3).map("/".join),
    evidence=text,
)


@given(st.lists(findings, max_size=5))
def test_what_is_written_as_sarif_is_read_again(written: list[Finding]) -> None:
    report = parse_sarif(write_sarif(written), ROOT)
    got = sorted((hit.tool, hit.rule, hit.severity, hit.message, hit.path or "") for hit in report.hits)
    assert got == sorted((f.tool, f.rule, f.severity, f.message, f.path or "") for f in written)
    assert write_sarif(written) == write_sarif(list(written))


def test_a_sarif_result_without_source_is_identified_by_its_snippet(tmp_path: Path) -> None:
    first, second = (
        locate(parse_sarif(log(result(locations=at("gone.py"), message={"text": message})), tmp_path).hits, tmp_path)
        for message in ("line 3 is bad", "line 9 is bad")
    )
    assert first[0].fingerprint == second[0].fingerprint
    assert first[0].evidence == "code()"
