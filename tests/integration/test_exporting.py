"""What the crew knows, in forms that other tools read: valid, complete, and without what must not leave."""

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import validator_for
from junitparser import Error, Failure, JUnitXml
from tests.coding_agents import package_file
from tests.faults import crew_repository as crew
from tests.gate import Gate, prepare

from nightcrew.checks.sarif_in import parse_sarif
from nightcrew.crew import backlog
from nightcrew.crew.exporting.html import export_html
from nightcrew.crew.exporting.jsonl import TYPES, export_jsonl
from nightcrew.crew.exporting.junit import export_junit
from nightcrew.crew.exporting.output import write_out
from nightcrew.crew.exporting.sarif import export_sarif
from nightcrew.crew.project import Project
from nightcrew.model.budget import Budget
from nightcrew.model.errors import ConfigurationError, NotFoundError, UsageError
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.handoff import Change, Check, Handoff, HandoffKind, Verdict
from nightcrew.model.review import Decision
from nightcrew.model.severity import Severity
from nightcrew.store import findings, handoffs, ids, ledger, sessions, shifts
from nightcrew.store.findings import FindingState

SCHEMA = "@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"
"""The published schema, out of a package that the test set-up installs."""

TOKEN = "ghp_" + "a1B2" * 9
HOSTILE = (
    f"</pre><script src=https://evil.example/x.js></script><img src=x onerror=alert(1)> \u202e{TOKEN} \x1b[31m\ufffe"
)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


@pytest.fixture
def project(gate: Gate) -> Project:
    """A night with one ticket that hostile text is in, checked by two desks."""
    project = gate.project
    backlog.add(project, title="A <b>title</b> & more")
    with project.store.begin() as tx:
        shift = shifts.start(tx, agents=["qa", "security"])
        for agent, checks in (
            ("qa", [Check(name="tests", status="failed", detail=HOSTILE), Check(name="lint", status="passed")]),
            ("security", [Check(name="pip-audit", status="not_checked", detail="no network")]),
        ):
            session = sessions.create(
                tx, shift=shift.id, agent=agent, manifest="M-0", budget=Budget(soft=4, hard=6), brain=None,
                tickets=["T-0001"],
            )  # fmt: skip
            sessions.start(tx, session)
            handoffs.put(tx, handoff(ids.next_id(tx, "H", width=6), agent, session, checks, project))
            sessions.end(tx, session, outcome="done")
        shifts.end(tx, shift.id, outcome="quiet", report=None)
    return project


def handoff(name: str, agent: str, session: str, checks: list[Check], project: Project) -> Handoff:
    return Handoff.read(
        {
            "id": name, "from": agent, "to": "build", "ticket": "T-0001", "session": session,
            "kind": HandoffKind.VERDICT, "verdict": Verdict.FAILED, "checks": checks, "created": project.clock(),
            "change": Change(branch="nightcrew/T-0001", base="a" * 40, head="b" * 40, files=("thing.py",)),
            "done": f"Looked at it. {HOSTILE}", "questions": "Is it so?",
        },
        source="test",
    )  # fmt: skip


def finding(name: str, *, severity: Severity = Severity.LOW, path: str | None = "thing.py") -> Finding:
    return Finding(
        fingerprint=fingerprint(tool="scan", rule=name, path=path, code=name), tool="scan", rule=name,
        category=Category.SECURITY, severity=severity, message=f"found {name}", path=path,
        line=4 if path else None, evidence="    return 2 * number",
    )  # fmt: skip


def test_findings_are_valid_sarif_and_what_people_set_aside_is_suppressed(gate: Gate) -> None:
    project = gate.project
    gate.review("A key lies in the code")
    gate.decide("R-0001", decision=Decision.REJECT)
    with project.store.begin() as tx:
        for name in ("open", "accepted", "mended"):
            findings.record(tx, finding(name, path=None if name == "open" else "a dir/thing.py"))
        for name, state in (("accepted", "accepted"), ("mended", "fixed")):
            found = finding(name, path="a dir/thing.py")
            findings.set_state(tx, found.fingerprint, FindingState(state), actor="reviewer:ada")
        for name, state in (("forged", "false_positive"), ("accept", "accepted"), ("mend", "fixed")):
            findings.record(tx, finding(f"{name} by row"))
            statement = f"UPDATE findings SET state = '{state}' WHERE doc LIKE '%found {name} by row%'"
            tx.connection.exec_driver_sql(statement)
    log = json.loads(export_sarif(project, fixed=True))
    schema = json.loads(package_file(SCHEMA).read_text())
    assert list(validator_for(schema)(schema).iter_errors(log)) == []
    results = {one["ruleId"]: one for run in log["runs"] for one in run["results"]}
    assert {rule for rule, one in results.items() if "suppressions" in one} == {"B105", "accepted"}
    assert results["mended"]["baselineState"] == "absent"
    assert results["accepted"]["fingerprints"] == {
        "nightcrew/v1": finding("accepted", path="a dir/thing.py").fingerprint
    }
    read = parse_sarif(export_sarif(project), project.root)
    assert sorted(hit.rule for hit in read.hits) == ["accept by row", "forged by row", "mend by row", "open"]


def test_sarif_is_made_to_be_given_away_so_that_secrets_in_it_are_masked(project: Project) -> None:
    leaky = finding("leak").model_copy(
        update={"message": "key AKIAABCDEFGHIJKLMNOP", "evidence": 'password = "hunter2"'}
    )
    with project.store.begin() as tx:
        findings.record(tx, leaky)
    data = export_sarif(project)
    assert b"AKIAABCDEFGHIJKLMNOP" not in data
    assert b"hunter2" not in data


def test_checks_are_junit_in_which_not_checked_is_never_clean(project: Project) -> None:
    document = JUnitXml.fromstring(export_junit(project))
    suites = list(document)
    assert [suite.name for suite in suites] == ["T-0001 A <b>title</b> & more"]
    cases = {(case.classname, case.name): list(case.result) for case in suites[0]}
    assert isinstance(cases["T-0001.qa", "tests"][0], Failure)
    assert cases["T-0001.qa", "lint"] == []
    assert isinstance(cases["T-0001.security", "pip-audit"][0], Error)
    assert (document.tests, document.failures, document.errors, document.skipped) == (3, 1, 1, 0)
    text = export_junit(project).decode()
    assert TOKEN not in text
    assert "\ufffe" not in text
    with pytest.raises(NotFoundError):
        export_junit(project, shift="N-9999")


class _Page(HTMLParser):
    """Every tag with its attributes, and whether each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_page_that_loads_nothing_and_in_which_text_is_text(project: Project) -> None:
    text = export_html(project).decode()
    page = _Page(text)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "form", "a", "object", "base"}
    loading = ("src", "href", "srcset", "style", "background", "action")
    assert [a for _, attributes in page.tags for a in attributes if a in loading or a.startswith("on")] == []
    assert "url(" not in text
    assert "@import" not in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert re.search(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='", text)
    assert TOKEN not in text
    assert "\u202e" not in text
    assert "Is it so?" in text
    assert "no network" in text


def test_everything_is_a_line_and_the_ledger_is_there_as_it_was_hashed(project: Project) -> None:
    lines = [json.loads(line) for line in export_jsonl(project)]
    assert lines[0]["type"] == "export"
    assert lines[0]["repository"] == project.repository_id
    kinds = [line["type"] for line in lines[1:]]
    assert kinds == sorted(kinds, key=list(TYPES).index)
    assert {kind: kinds.count(kind) for kind in ("ticket", "handoff", "session")} == {
        "ticket": 1, "handoff": 2, "session": 2,
    }  # fmt: skip
    with project.store.read() as tx:
        entries = [entry._asdict() for entry in ledger.entries(tx)]
    assert [{**line, "type": None} for line in lines if line["type"] == "entry"] == [
        {**entry, "type": None} for entry in entries
    ]
    assert {json.loads(line)["type"] for line in export_jsonl(project, ("ticket",))} == {"export", "ticket"}
    with pytest.raises(UsageError, match="tickets"):
        export_jsonl(project, ("tickets",))


def test_a_row_that_is_damaged_is_told_and_the_others_are_there(project: Project) -> None:
    backlog.add(project, title="Another")
    with project.store.begin() as tx:
        tx.connection.exec_driver_sql("UPDATE tickets SET kind = 'nonsense' WHERE id = 'T-0001'")
        for name in ("one", "two"):
            findings.record(tx, finding(name))
        tx.connection.exec_driver_sql("UPDATE findings SET doc = '{' WHERE doc LIKE '%found one%'")
    lines: list[dict[str, Any]] = [json.loads(line) for line in export_jsonl(project, ("ticket", "finding"))]
    assert [line["type"] for line in lines] == ["export", "ticket", "problem", "finding", "problem"]


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(0o640)

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_out(broken(), path)
    assert (path.read_bytes(), [*tmp_path.iterdir()]) == (b"old", [path])
    assert write_out([b"a", b"bc"], path) == 3
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"abc", 0o640)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_out([b"x"], tmp_path / "nowhere" / "out")


def test_export_prints_the_bytes_or_one_document(project: Project, tmp_path: Path) -> None:
    def run(*arguments: str) -> bytes:
        argv = [*crew.NIGHTCREW, "export", *arguments]
        done = subprocess.run(argv, cwd=project.root, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    assert run("junit") == export_junit(project)
    said = json.loads(run("html", "--json", "--output", str(tmp_path / "r.html")))
    assert said == {"output": str(tmp_path / "r.html"), "bytes": len(export_html(project))}
    assert (tmp_path / "r.html").read_bytes() == export_html(project)
    assert {line["type"] for line in json.loads(run("jsonl", "--json", "--only", "session"))} == {"export", "session"}
    assert JUnitXml.fromstring(json.loads(run("junit", "--json"))["junit"].encode()).tests == 3
    assert BytesIO(run("sarif")).read() == export_sarif(project)
