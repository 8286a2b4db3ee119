"""The checklist: what is read from code, what a pipeline declares, what drills change, what a report is worth."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightcrew.approvals import TrustAnchor
from nightcrew.model.errors import IntegrityError, UsageError
from nightcrew.readiness.badge import badge
from nightcrew.readiness.boxes import Box, BoxState, Status
from nightcrew.readiness.checklist import Checklist, check
from nightcrew.readiness.drills.protocol import Outcome, Result
from nightcrew.readiness.drills.running import keep_result
from nightcrew.readiness.report import read, write
from nightcrew.readiness.statement import changed
from nightcrew.readiness.target import CodeTarget, PipelineTarget, resolve

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)
APP = """
import nightcrew as nc
from pydantic import BaseModel

class Lead(BaseModel):
    id: str

leads = nc.Pipeline("leads", record=Lead, key="id")

def plain(lead):
    return "unknown"

@leads.step(fallback=plain)
def enrich(lead: Lead) -> str:
    return "known"

@leads.gate
def unsure(lead, said):
    return None
"""


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path.parent / f"{tmp_path.name}-config"))
    monkeypatch.delenv("NIGHTCREW_NOTIFY", raising=False)


def gaps(found: Checklist, box: Box) -> list[tuple[str, int]]:
    return [(gap.path, gap.line) for gap in state(found, box).gaps]


def state(found: Checklist, box: Box) -> BoxState:
    return next(one for one in found.boxes if one.box is box)


def pipeline(folder: Path, source: str = APP) -> PipelineTarget:
    """A pipeline in a folder of its own; the module's name is unique, since modules stay imported."""
    path = folder / f"app_{abs(hash((str(folder), source)))}.py"
    path.write_text(source)
    return PipelineTarget(path, "leads", home=folder)


def drilled(target: PipelineTarget, name: str, box: Box, outcome: Outcome = "passed") -> Result:
    fingerprint = target.fingerprint()
    result = Result(
        name, target.label, outcome, (box,), "something", "something", "it was so", 0.1, 0.2, "", NOW, 1.0, {},
        fingerprint.digest, fingerprint.parts,
    )  # fmt: skip
    return keep_result(target, result)


def test_code_without_a_call_that_leaves_needs_no_retries() -> None:
    found = state(check(CodeTarget(EXAMPLES / "fraud" / "prototype.py")), Box.RETRIES)
    assert found.status is Status.NOT_APPLICABLE
    assert "no call leaves the program" in found.reason


def test_plain_code_is_read_and_never_run(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\nraise SystemExit(1)\n")
    assert check(CodeTarget(path)).count(Status.MISSING) > 0
    assert not (tmp_path / "ran").exists()


def test_what_a_pipeline_declares_is_configured(tmp_path: Path) -> None:
    found = check(pipeline(tmp_path))
    for box in (Box.INPUTS, Box.RETRIES, Box.STATE, Box.REVIEWS, Box.RUNBOOKS, Box.FALLBACKS):
        assert state(found, box).status is Status.CONFIGURED, box
    assert not (tmp_path / ".nightcrew").exists(), "looking makes no state"


@pytest.mark.parametrize(
    ("taken", "put", "box", "line"),
    [
        ("record=Lead, ", "", Box.INPUTS, "Pipeline("),
        ("@leads.gate\n", "", Box.REVIEWS, "Pipeline("),
        (
            '    return "known"', '    import requests\n    return requests.get("http://localhost", timeout=1).text',
            None, "",
        ),
        (
            '(fallback=plain)\ndef enrich(lead: Lead) -> str:\n    return "known"',
            '\ndef enrich(lead):\n    import requests\n    return requests.get("http://localhost", timeout=1).text',
            Box.FALLBACKS, "@leads.step",
        ),
        (
            'def plain(lead):', 'import requests\ndef other():\n    requests.get("http://localhost")\ndef plain(lead):',
            Box.RETRIES, "requests.get",
        ),
    ],
)  # fmt: skip
def test_what_is_taken_from_a_pipeline_is_missing(
    tmp_path: Path, taken: str, put: str, box: Box | None, line: str
) -> None:
    assert taken in APP
    target = pipeline(tmp_path, APP.replace(taken, put))
    found = check(target)
    missing = {one.box for one in found.boxes if one.gaps} - {Box.MONITORING, Box.TESTS}
    assert missing == ({box} if box else set())
    if box:
        [(_, number)] = gaps(found, box)
        assert line in target.path.read_text().splitlines()[number - 1]


def test_a_drill_that_passed_proves_a_box_until_the_code_changes(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    result = drilled(target, "corrupt-record", Box.INPUTS)
    found = check(target)
    inputs = state(found, Box.INPUTS)
    assert inputs.status is Status.PROVEN
    [evidence] = [one for one in inputs.evidence if one.kind == "drill"]
    assert (evidence.at, evidence.entry) == (NOW, result.entry)
    assert "corrupt-record" not in found.undrilled[Box.INPUTS]
    target.path.write_text(APP + "\nMORE = 1\n")
    later = check(target)
    assert state(later, Box.INPUTS).status is Status.CONFIGURED
    assert f"{target.path.name} changed" in state(later, Box.INPUTS).reason
    assert "corrupt-record" in later.undrilled[Box.INPUTS]


def test_a_drill_that_failed_outweighs_one_that_passed(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    drilled(target, "corrupt-record", Box.INPUTS)
    drilled(target, "schema-drift", Box.INPUTS, "failed")
    found = state(check(target), Box.INPUTS)
    assert found.status is Status.MISSING
    assert "schema-drift failed" in found.reason
    assert [gap.fix for gap in found.gaps] == [
        f"Do it again and look at the copy: nightcrew drill schema-drift --target {target.path.name}:leads --keep"
    ]


def test_only_a_pipeline_that_may_ask_a_language_model_waits_for_the_drill_of_one(tmp_path: Path) -> None:
    asks = 'import httpx\n    return httpx.post("https://api.openai.com/v1/chat/completions").text'
    for number, (said, waits) in enumerate({"return 1": False, asks: True, "return 'truncate'": True}.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = check(pipeline(folder, APP.replace('return "known"', said)))
        assert ("context-overflow" in found.undrilled[Box.FALLBACKS]) is waits, said


def test_a_language_models_answer_over_http_is_to_be_reviewed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        'import httpx\nURL = "https://api.openai.com/v1/chat/completions"\n\n\n'
        "def summarise(text):\n    return httpx.post(URL, json={'text': text}).text\n"
    )
    found = check(CodeTarget(tmp_path / "app.py"))
    assert gaps(found, Box.REVIEWS) == [("app.py", 6)]


def test_a_file_that_declares_a_pipeline_is_no_plain_code(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(APP)
    with pytest.raises(UsageError, match="declares a pipeline: leads") as refused:
        resolve(str(path), tmp_path)
    assert refused.value.hint == f"Name it: {path}:leads"
    path.write_text("from sklearn.pipeline import Pipeline\n\nmodel = Pipeline([])\n")
    assert isinstance(resolve(str(path), tmp_path), CodeTarget)


def test_a_result_that_was_written_into_the_database_proves_nothing(tmp_path: Path) -> None:
    import sqlite3

    target = pipeline(tmp_path)
    drilled(target, "corrupt-record", Box.INPUTS, "failed")
    with sqlite3.connect(tmp_path / ".nightcrew" / "nightcrew.db") as database:
        database.execute("UPDATE drill_runs SET outcome = 'passed', doc = replace(doc, '\"failed\"', '\"passed\"')")
    assert state(check(target), Box.INPUTS).status is not Status.PROVEN


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_a_report_is_genuine_until_a_letter_changes_and_holds_until_the_code_does(tmp_path: Path, suffix: str) -> None:
    target, anchor = pipeline(tmp_path), TrustAnchor.of_user()
    entry = drilled(target, "corrupt-record", Box.INPUTS).entry
    path = tmp_path / f"readiness{suffix}"
    write(target, check(target), path)
    text = path.read_text()
    assert f"entry {entry} of the ledger" in text
    said = read(path, anchor)
    assert (said.target, said.ready) == (target.label, False)
    assert changed(said, target.fingerprint()) == []
    (tmp_path / "nightcrew.toml").write_text("[alerts]\nevery_seconds = 30\n")
    assert changed(said, target.fingerprint()) == ["nightcrew.toml, alerts.every_seconds is new"]
    path.write_text(text.replace("configured", "proven", 1))
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        read(path, anchor)
    path.write_text(text.replace('"payload":"', '"payload":"AAAA', 1))
    with pytest.raises(IntegrityError):
        read(path, anchor)


def test_a_report_by_another_key_is_refused(tmp_path: Path) -> None:
    target = CodeTarget(EXAMPLES / "fraud" / "prototype.py")
    write(target, check(target), tmp_path / "r.md")
    with pytest.raises(IntegrityError, match="no key of its own"):
        read(tmp_path / "r.md", TrustAnchor(tmp_path / "elsewhere"))


def test_text_of_others_is_no_markup_in_a_report(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text('def f(a):\n    return a["<script>alert(1)</script>|**x**"]\n')
    for suffix in (".md", ".html"):
        write(CodeTarget(path), check(CodeTarget(path)), tmp_path / f"r{suffix}")
        assert "<script>" not in (tmp_path / f"r{suffix}").read_text()
    assert "**x**" not in (tmp_path / "r.md").read_text()


def test_the_badge_counts_what_is_proven(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ET

    target = pipeline(tmp_path)
    drilled(target, "corrupt-record", Box.INPUTS)
    drawn = badge(check(target))
    ET.fromstring(drawn)
    assert "1 of 8 proven, 2 missing" in drawn


def test_plain_is_json(tmp_path: Path) -> None:
    found = json.loads(json.dumps(check(pipeline(tmp_path)).plain()))
    assert [one["box"] for one in found["boxes"]] == list(Box)
    assert {"target", "at", "ready", "fingerprint", "parts", "boxes"} == set(found)
