"""Reports of readiness under attack: what is told as proven, what a report holds for, what a stranger can check."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.test_ready import APP, NOW, state

from nightcrew.approvals import TrustAnchor
from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import IntegrityError, UsageError
from nightcrew.pipeline.pinned import hash_of
from nightcrew.readiness.boxes import Box, BoxState, Status
from nightcrew.readiness.checklist import check
from nightcrew.readiness.drills.protocol import Outcome, Result
from nightcrew.readiness.drills.running import keep_result, opened
from nightcrew.readiness.fingerprint import of_crew, of_modules
from nightcrew.readiness.report import read, write, write_public_key
from nightcrew.readiness.statement import ReadinessPredicate
from nightcrew.readiness.target import PipelineTarget
from nightcrew.readiness.verifying import differs
from nightcrew.store import drills as stored

OWN = """

class Mine(nc.Drill):
    boxes = ("inputs",)

    def run(self, pipeline, records):
        return "ok"
"""


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path.parent / f"{tmp_path.name}-config"))
    monkeypatch.delenv("NIGHTCREW_NOTIFY", raising=False)


def pipeline(folder: Path, source: str = APP, *, home: Path | None = None) -> PipelineTarget:
    """A pipeline in ``folder``, whose state is in ``home``; its name is unique: modules stay imported."""
    folder.mkdir(exist_ok=True)
    path = folder / f"app_{abs(hash((str(folder), source)))}.py"
    path.write_text(source)
    return PipelineTarget(path, "leads", home=home or folder)


def drilled(
    target: PipelineTarget, name: str = "corrupt-record", outcome: Outcome = "passed", *, stood_in: str = ""
) -> Result:
    fingerprint = target.fingerprint()
    result = Result(
        name, target.label, outcome, (Box.INPUTS,), "something", "something", "it was so", 0.1, 0.2, stood_in, NOW,
        1.0, {}, fingerprint.digest, fingerprint.parts,
    )  # fmt: skip
    return keep_result(target, result)


def inputs(target: PipelineTarget) -> BoxState:
    return state(check(target), Box.INPUTS)


def test_what_one_application_has_shown_says_nothing_of_another_with_the_same_name_in_it(tmp_path: Path) -> None:
    one, other = (pipeline(tmp_path / name, home=tmp_path) for name in ("one", "other"))
    other.path.rename(other.path.with_name(one.path.name))
    other = replace(other, path=other.path.with_name(one.path.name))
    drilled(one)
    drilled(other, outcome="failed")
    assert [inputs(target).status for target in (one, other)] == [Status.PROVEN, Status.MISSING]
    assert one.label.startswith("pipeline:one/app_")


@pytest.mark.parametrize("home", [".", ".."])
def test_a_pipeline_has_one_name_from_wherever_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    target = pipeline(tmp_path / "app", home=tmp_path)
    drilled(target)
    monkeypatch.chdir(target.root)
    assert inputs(replace(target, home=Path(home))).status is Status.PROVEN


def test_a_drill_of_the_users_own_proves_no_box_that_one_of_nightcrews_could(tmp_path: Path) -> None:
    target = pipeline(tmp_path, APP + OWN)
    drilled(target, "mine")
    found = inputs(target)
    assert found.status is Status.CONFIGURED
    assert "mine" in found.reason
    assert "corrupt-record" in found.reason
    drilled(target, "corrupt-record")
    assert inputs(target).status is Status.PROVEN


def test_what_stood_in_is_told_with_what_it_proved(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    drilled(target, stood_in="enrich was answered by its fallback plain")
    assert inputs(target).reason.endswith("corrupt-record (with stand-ins)")
    drilled(target, "schema-drift")
    assert inputs(target).reason.endswith("(with stand-ins: corrupt-record)")


def forget(folder: Path, statement: str) -> None:
    """What somebody does who can write the database: the results that failed, and more, are gone."""
    with sqlite3.connect(folder / ".nightcrew" / "nightcrew.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DELETE FROM drill_runs WHERE outcome = 'failed'")
        database.execute(statement)


def nothing_counts(target: PipelineTarget) -> None:
    found = check(target)
    assert found.count(Status.PROVEN) == 0
    assert "of the ledger" in state(found, Box.STATE).reason or "the ledger lost" in state(found, Box.STATE).reason


def test_a_drill_that_failed_is_not_forgotten_when_its_row_and_its_entry_are_removed(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    drilled(target)
    drilled(target, outcome="failed")
    forget(tmp_path, "DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)")
    nothing_counts(target)


def test_an_entry_removed_from_the_middle_is_missed(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    drilled(target)
    gone = drilled(target, outcome="failed").entry
    drilled(target, "schema-drift")
    forget(tmp_path, f"DELETE FROM ledger WHERE seq = {gone}")
    nothing_counts(target)


FILES = {
    "app.py": 'import rules\n\n\ndef f(a):\n    """Do it."""\n    return a  # as it is\n',
    "rules.py": "LIMIT = 1\n",
    "nightcrew.toml": '# what we want\ndatabase_url = "postgres://me:secret@h/db"\n[alerts]\nevery_seconds = 30\n',
    "requirements.txt": "requests==2  # http\n",
    "README.md": "# It\n",
}
IMMATERIAL = {
    "app.py": "import rules\n\n# New.\ndef f( a ):\n    '''Do it.'''\n\n    return (a)\n",
    "nightcrew.toml": 'database_url="postgres://me:other@h/db"\n[alerts]\nevery_seconds=30 # half a minute\n',
    "requirements.txt": "\n# ours\nrequests==2\n",
    "README.md": "# Something else\n",
}
MATERIAL = [
    ("app.py", "return a", "return a + 1", "app.py changed"),
    ("app.py", "Do it.", "Do that.", "app.py changed"),
    ("rules.py", "1", "2", "rules.py changed"),
    ("nightcrew.toml", "30", "60", "nightcrew.toml, alerts.every_seconds changed"),
    ("nightcrew.toml", "[alerts]", "[alerts]\nx = 1", "nightcrew.toml, alerts.x is new"),
    ("nightcrew.toml", "@h/", "@other/", "nightcrew.toml, database_url changed"),
    ("requirements.txt", "==2", "==3", "requirements.txt changed"),
]


def files(folder: Path, contents: dict[str, str]) -> Path:
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_comments_layout_and_documentation_are_not_material(tmp_path: Path) -> None:
    path = files(tmp_path, FILES) / "app.py"
    before = of_modules(path, tmp_path)
    files(tmp_path, IMMATERIAL)
    assert of_modules(path, tmp_path).changed(before) == []


@pytest.mark.parametrize(("name", "old", "new", "said"), MATERIAL)
def test_what_is_material_is_named(tmp_path: Path, name: str, old: str, new: str, said: str) -> None:
    path = files(tmp_path, FILES) / "app.py"
    before = of_modules(path, tmp_path)
    assert old in FILES[name]
    (tmp_path / name).write_text(FILES[name].replace(old, new))
    assert of_modules(path, tmp_path).changed(before) == [said]


PLAYBOOK = "---\n# rules\nschema: x\nagents:\n  qa:\n    must: [look]\n---\n# It\n\nWork.\n\n## How\n\nWell.\n"
CI = "# ci\non: push\njobs:\n  test:\n    steps: [pytest]\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# rules\n", "# the rules\n", []),
        ("Well.\n", "Well.   \n\n\n", []),
        ("[look]", "[look, say]", ["playbook, agents.qa.must changed"]),
        ("Well.", "Badly.", ["playbook, How changed"]),
    ],
)
def test_a_rule_of_the_playbook_is_named(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    assert old in PLAYBOOK
    before = of_crew(tmp_path, PLAYBOOK)
    assert of_crew(tmp_path, PLAYBOOK.replace(old, new)).changed(before) == said


def test_ci_counts_but_for_its_comments(tmp_path: Path) -> None:
    files(tmp_path, {".github/workflows/ci.yml": CI})
    before = of_crew(tmp_path, PLAYBOOK)
    files(tmp_path, {".github/workflows/ci.yml": CI.replace("# ci", "# the ci")})
    assert of_crew(tmp_path, PLAYBOOK).changed(before) == []
    files(tmp_path, {".github/workflows/ci.yml": CI.replace("[pytest]", "[]")})
    assert of_crew(tmp_path, PLAYBOOK).changed(before) == [".github/workflows/ci.yml, jobs.test.steps changed"]


def reported(target: PipelineTarget, path: Path, *, clock: Clock = system_clock) -> ReadinessPredicate:
    write(target, check(target, clock=clock), path)
    return read(path, TrustAnchor.of_user())


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_no_byte_of_a_report_can_be_another(tmp_path: Path, suffix: str) -> None:
    target = pipeline(tmp_path)
    drilled(target, stood_in="\ufffd half a letter")
    path = tmp_path / f"readiness{suffix}"
    reported(target, path)
    data = path.read_bytes()
    envelope = data.index(b'{"payload"') if suffix == ".md" else data.index(b'<pre id="dsse">')
    places = [*range(0, envelope, 397), *range(envelope - 5, len(data), 211), data.index("\ufffd".encode())]
    for place in places:
        path.write_bytes(data[:place] + bytes((data[place] ^ 0x81,)) + data[place + 1 :])
        with pytest.raises(IntegrityError):
            read(path, TrustAnchor.of_user())
    for changed in (data + b"\n", data.replace(b'{"payload"', b'{ "payload"'), data.replace(b"\n", b"\r\n")):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            read(path, TrustAnchor.of_user())


def test_evidence_is_named_by_the_number_and_the_hash_of_its_entry(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    entry = drilled(target).entry
    reported(target, tmp_path / "r.md")
    with target.pipeline.state.store.read() as tx:
        hashed = hash_of(tx, entry or 0)
    assert f"entry {entry} of the ledger (SHA-256 {hashed})" in (tmp_path / "r.md").read_text()


def test_a_report_holds_until_a_drill_fails(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    drilled(target)
    report = reported(target, tmp_path / "r.md")
    assert differs(report, target) == []
    drilled(target, outcome="failed")
    [said] = differs(report, target)
    assert said == "inputs was proven, and is missing: corrupt-record failed: it was so"


def test_a_report_names_the_entry_that_is_not_what_it_was(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    entry = drilled(target).entry
    report = reported(target, tmp_path / "r.md")
    forget(tmp_path, f"DELETE FROM ledger WHERE seq = {entry}")
    assert differs(report, target) == [f"entry {entry} of the ledger, evidence for inputs, is not what it was"]


def test_a_report_of_the_same_code_in_another_repository_is_refused(tmp_path: Path) -> None:
    one, other = (pipeline(tmp_path / name) for name in ("one", "other"))
    other.path.rename(other.path.with_name(one.path.name))
    other = replace(other, path=other.path.with_name(one.path.name))
    drilled(one)
    report = reported(one, tmp_path / "r.md")
    assert one.label == other.label
    assert differs(report, other) == ["the ledger with its evidence is not here"]
    drilled(other)
    with pytest.raises(IntegrityError, match="another repository"):
        differs(report, other)


def test_dates_that_cannot_be_are_told(tmp_path: Path) -> None:
    target = pipeline(tmp_path)
    drilled(target)
    back = reported(target, tmp_path / "r.md", clock=lambda: NOW - timedelta(days=2))
    assert "before its evidence" in differs(back, target, clock=lambda: NOW)[0]
    ahead = reported(target, tmp_path / "r.md", clock=lambda: NOW + timedelta(days=2))
    assert "yet to come" in differs(ahead, target, clock=lambda: NOW)[0]


def test_a_stranger_checks_a_report_with_nothing_but_the_public_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = pipeline(tmp_path)
    reported(target, tmp_path / "r.md")
    write_public_key(tmp_path / "key.pem")
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "elsewhere"))
    stranger = TrustAnchor.of_user()
    assert read(tmp_path / "r.md", stranger, tmp_path / "key.pem").target == target.label
    with pytest.raises(IntegrityError, match="no key of its own"):
        read(tmp_path / "r.md", stranger)
    write_public_key(tmp_path / "other.pem")
    with pytest.raises(IntegrityError, match="is signed by"):
        read(tmp_path / "r.md", stranger, tmp_path / "other.pem")
    (tmp_path / "other.pem").write_text("no key")
    with pytest.raises(UsageError, match="no Ed25519 public key"):
        read(tmp_path / "r.md", stranger, tmp_path / "other.pem")


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_a_stranger_checks_a_report_with_the_script_of_the_documentation(tmp_path: Path, suffix: str) -> None:
    target = pipeline(tmp_path)
    path = tmp_path / f"r{suffix}"
    reported(target, path)
    write_public_key(tmp_path / "key.pem")
    [_, rest] = (Path(__file__).parents[2] / "docs/how-to/ready.md").read_text().split("```python\n")
    script = tmp_path / "check.py"
    script.write_text(rest.partition("```\n\n")[0])

    def checked() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-I", script, path, tmp_path / "key.pem"], capture_output=True, text=True, check=False
        )

    assert checked().stdout.startswith(target.label)
    path.write_text(path.read_text().replace("configured", "proven", 1))
    assert "not the one that was signed" in checked().stderr


def test_a_load_test_from_before_a_change_leaves_its_box_unproven(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").touch()
    target = pipeline(tmp_path)
    (tmp_path / "test_app.py").write_text(f"import {target.path.stem}\n{target.path.stem}.leads.run([])\n")
    (tmp_path / ".gitlab-ci.yml").write_text("test: {script: pytest}\n")

    def shown() -> BoxState:
        keep_result(target, replace(drilled(target), drill="broken-step", boxes=(Box.TESTS,), id=None, entry=None))
        return state(check(target), Box.TESTS)

    with opened(target) as store, store.begin() as tx:
        stored.add_load(
            tx, target=target.label, started=NOW, fingerprint=target.fingerprint().digest, doc={"knee": 5.0}
        )
    assert shown().status is Status.PROVEN
    target.path.write_text(APP + "\nMORE = 1\n")
    found = shown()
    assert (found.status, "before something changed" in found.reason) == (Status.CONFIGURED, True)
