"""What ``nightcrew init --pipeline`` proposes: it is right, it is taken only on a yes, and it changes nothing else."""

import ast
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import NIGHTCREW

from nightcrew.model.alerting import AlertRule
from nightcrew.model.errors import PolicyError, UsageError
from nightcrew.monitoring.alerts.configured import read_settings
from nightcrew.pipeline.loading import load
from nightcrew.readiness.calls import find_calls
from nightcrew.readiness.propose import accept, propose
from nightcrew.readiness.propose.shapes import contract_source, shape_of
from nightcrew.readiness.propose.thresholds import ENOUGH, Reference, rules_from, toml_of
from nightcrew.reliability import Contract, ContractError

APP = '''\
"""Scores leads."""

import subprocess

import requests

import nightcrew as nc

# Ümläute, so that columns are not bytes.
leads = nc.Pipeline(
    "leads",
    key="id",  # the key
)


def enrich(lead):
    return requests.get("http://127.0.0.1:1/", params=lead, timeout=1).json()


def notify(text):
    subprocess.run(["true", text])
    requests.post("http://127.0.0.1:1/", json=text)


class Store:
    def __init__(self):
        requests.get("http://127.0.0.1:1/")

    def save(self, lead):
        requests.put("http://127.0.0.1:1/", json=lead)

    def all(self):
        yield requests.get("http://127.0.0.1:1/")


@leads.step
def score(lead):
    return {"score": len(lead["name"])}


open("ran", "w")
'''
RECORDS = [
    {"id": f"l-{n}", "name": "x", "amount": n * 1.5, "hour": n % 24, "geo": {"city": "", "lat": -n}, "tags": ["a"]}
    | ({"note": None if n % 2 else "said"} if n % 4 else {})
    for n in range(300)
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets are named as seen from the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "leads.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in RECORDS))
    return tmp_path


def contract_of(records: list[Any]) -> Contract:
    """The contract that is proposed for records, made from its source."""
    written = contract_source(shape_of(records), "Made")
    names: dict[str, Any] = {}
    for module, name in written.needs:
        exec(f"from {module} import {name}", names)
    exec(written.source, names)
    return Contract(names["Made"])


def test_the_proposed_contract_takes_the_sample_and_refuses_what_is_wrong() -> None:
    contract = contract_of(RECORDS)
    for record in RECORDS:
        assert contract.validate(record) == record
    assert contract.validate(RECORDS[0] | {"new": 1})["new"] == 1, "a field that the sample has not is kept"
    for wrong, field in (
        ({"amount": -1.0}, "amount"), ({"amount": "much"}, "amount"), ({"name": ""}, "name"), ({"hour": None}, "hour"),
        ({"geo": {"city": "x"}}, "geo.lat"), ({"tags": [1]}, "tags.0"),
    ):  # fmt: skip
        with pytest.raises(ContractError, match=field):
            contract.validate(RECORDS[0] | wrong)
    with pytest.raises(ContractError, match="name: this field is missing"):
        contract.validate({key: value for key, value in RECORDS[0].items() if key != "name"})


@pytest.mark.parametrize(
    "records",
    [
        [{"class": 1, "a-b": "x", "__x": None}] * 3,
        [{"a": 1}, {"a": "x"}, {"a": [1, "x", None]}, {"a": {"b": []}}, {"a": True}],
        [{'"); import os; os.abort() #': 1, "\n'": {"\\": 2}}],
        [{"a": {}}, {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}}],
        [{"a": {"b": 1}, "A": {"b": "x"}}],
        [{"ä": 1, "名": 2.5}, {}],
        [{}],
    ],
)
def test_records_of_any_shape_give_a_contract_that_takes_them(records: list[Any]) -> None:
    contract = contract_of(records)
    for record in records:
        contract.validate(record)


def test_the_proposal_changes_what_it_must_and_nothing_else(folder: Path) -> None:
    proposal = propose("app.py:leads", folder, sample=str(folder / "leads.jsonl"))
    (change,) = proposal.changes
    removed = [line for line in proposal.diff.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert removed == ['-    key="id",  # the key']
    text = change.after.decode()
    assert '    key="id", record=LeadsRecord,  # the key\n' in text
    assert "@nc.guard\ndef enrich" in text
    assert "or=nc.Retry()\ndef notify" in text.replace("if so, retry", "or")
    assert "    @nc.guard(retry=None)  # nobody knows whether it may be done twice" in text
    assert not (folder / "ran").exists(), "the code is read, not run"
    assert (folder / "app.py").read_text() == APP, "nothing is written without a yes"
    assert any("Store.__init__" in note for note in proposal.notes)
    assert any("Store.all gives its values one by one" in note for note in proposal.notes)


def test_what_was_accepted_guards_the_calls_and_is_not_proposed_again(folder: Path) -> None:
    before = find_calls(folder).unguarded
    accept(propose("app.py:leads", folder, sample=str(folder / "leads.jsonl")))
    after = find_calls(folder).unguarded
    assert [call.function for call in before if call.function not in {one.function for one in after}] == [
        "enrich", "notify", "notify", "Store.save"
    ]  # fmt: skip
    again = propose("app.py:leads", folder, sample=str(folder / "leads.jsonl"))
    assert again.changes == ()
    assert "the contract stays as it is: record=LeadsRecord" in again.notes


@pytest.mark.parametrize(
    ("call", "made"),
    [
        ("nc.Pipeline('p')", "nc.Pipeline('p', record=PRecord)"),
        ("nc.Pipeline(name='p', record=None, key='id')", "nc.Pipeline(name='p', record=PRecord, key='id')"),
        (
            "nc.Pipeline(\n    'p'\n    , concurrency=(2),)",
            "nc.Pipeline(\n    'p'\n    , concurrency=(2), record=PRecord,)",
        ),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_pipeline_may_be_written_in_any_way(tmp_path: Path, call: str, made: str, newline: str) -> None:
    text = f"from __future__ import annotations\nimport nightcrew as nc\nx: nc.Pipeline = {call}\n"
    (tmp_path / "app.py").write_bytes(text.replace("\n", newline).encode())
    (tmp_path / "in.jsonl").write_text('{"a": 1}\n')
    after = propose("app.py:x", tmp_path, sample=str(tmp_path / "in.jsonl")).changes[0].after
    ast.parse(after)
    assert made.replace("\n", newline).encode() in after
    assert after.count(b"\n") == after.count(newline.encode())


def test_a_file_that_changed_in_between_is_not_written(folder: Path) -> None:
    proposal = propose("app.py:leads", folder, sample=str(folder / "leads.jsonl"))
    (folder / "app.py").write_text(APP + "\n# mine\n")
    with pytest.raises(PolicyError, match="has changed since the proposal"):
        accept(proposal)
    assert (folder / "app.py").read_text() == APP + "\n# mine\n"


def test_a_file_outside_the_repository_is_not_changed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "app.py").write_text(APP)
    with pytest.raises(UsageError, match="lies outside"):
        propose(f"{elsewhere / 'app.py'}:leads", folder)


@pytest.mark.parametrize("target", ["app.py", "app.py:nobody", "none.py:leads", "app.py:score"])
def test_what_is_no_pipeline_is_said(folder: Path, target: str) -> None:
    with pytest.raises(UsageError):
        propose(target, folder)


def test_thresholds_leave_room_for_chance_and_are_rules_that_nightcrew_reads(tmp_path: Path) -> None:
    reference = Reference(records=10_000, errors=200, quarantined=0, fallbacks=1000, p95=0.4, p99=2.0)
    rules = {rule.name: rule for rule in rules_from(reference, "fraud")}
    above = {name: rule.above for name, rule in rules.items()}
    assert above == {"fraud-errors": 0.076, "fraud-quarantine": 0.043, "fraud-fallback": 0.18, "fraud-slow": 2.0}
    path = tmp_path / "nightcrew.toml"
    path.write_text(toml_of(list(rules.values()), reference))
    assert read_settings(path).alert == tuple(rules.values())
    assert all(isinstance(rule, AlertRule) for rule in rules.values())


def test_too_few_records_give_no_threshold() -> None:
    assert rules_from(Reference(ENOUGH - 1, 0, 0, 0, 0.1, 0.1), "fraud") == []


def test_a_person_takes_the_proposal_by_the_command(folder: Path) -> None:
    """The whole way: propose, take, run on a reference window, propose thresholds, take them, run again."""
    (folder / "app.py").write_text(APP.replace('open("ran", "w")\n', ""))
    home = folder / "home"
    home.mkdir()

    def nightcrew(*arguments: str, expect: int = 0) -> Any:
        done = subprocess.run(
            [NIGHTCREW, *arguments, "--json"], cwd=folder, capture_output=True, text=True, timeout=60,
            env={"PATH": str(Path(sys.executable).parent), "HOME": str(home)},
        )  # fmt: skip
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout)

    asked = ("init", "--pipeline", "app.py:leads", "--input", "leads.jsonl")
    shown = nightcrew(*asked, expect=1)
    assert shown["written"] == []
    assert shown["diff"].startswith("--- a/app.py\n+++ b/app.py\n")
    assert nightcrew(*asked, "--yes")["written"] == [str(folder / "app.py")]
    assert nightcrew("run", "app.py:leads", "--input", "leads.jsonl")
    assert nightcrew(*asked, "--yes")["written"] == [str(folder / "nightcrew.toml")]
    assert {rule.name for rule in read_settings(folder / "nightcrew.toml").alert} == {
        "leads-errors", "leads-quarantine", "leads-fallback", "leads-slow"
    }  # fmt: skip
    assert nightcrew(*asked)["diff"] == ""


def test_a_pipeline_with_the_contract_gives_its_steps_what_they_had(folder: Path) -> None:
    accept(propose("app.py:leads", folder, sample="leads.jsonl"))
    (folder / "app.py").rename(folder / "leads_app.py")
    pipeline = load("leads_app.py:leads")
    assert pipeline.contract is not None
    assert pipeline.contract.validate_json(json.dumps(RECORDS[1]).encode()) == RECORDS[1]


def test_a_pipeline_that_needs_nothing_but_a_sample_is_told_so(tmp_path: Path) -> None:
    source = textwrap.dedent(
        """
        import nightcrew as nc
        from openai import OpenAI
        client = OpenAI()
        p = nc.Pipeline("p")
        @p.step
        def ask(record):
            return client.responses.create(input=record["text"]).output_text
        """
    )
    (tmp_path / "app.py").write_text(source)
    proposal = propose("app.py:p", tmp_path)
    assert proposal.changes == ()
    assert proposal.notes[0] == "no contract proposed: give sample records with --input FILE"


def test_contract_leaves_the_texts_of_a_csv_file_as_they_are_and_says_what_it_left_out(folder: Path) -> None:
    (folder / "plain.py").write_text('import nightcrew as nc\n\x0c\nplain = nc.Pipeline("plain", key="id")\n')
    (folder / "in.csv").write_text("id,amount\n007,1\n012,\n")
    made = propose("plain.py:plain", folder, sample=str(folder / "in.csv"))
    assert "id: str\n" in made.diff
    assert "amount: str\n" in made.diff
    assert " \x0c\n" in made.diff  # One line, as git counts them.
    (folder / "in.jsonl").write_text('{"id": 1, "x": 2}\n{"id":\n{"id": 3, "x": NaN}\n')
    notes = propose("plain.py:plain", folder, sample=str(folder / "in.jsonl")).notes
    assert "2 records of the sample are left out: no objects, or a number is not finite" in notes
    assert "PlainRecord takes all 1 records of the sample; fields it does not name pass" in notes


def test_file_that_is_not_utf_8_is_not_changed(folder: Path) -> None:
    (folder / "old.py").write_bytes(
        b'# coding: latin-1\n# gr\xf6\xdfe\nimport nightcrew as nc\nold = nc.Pipeline("old")\n'
    )
    with pytest.raises(UsageError, match="only UTF-8 is changed"):
        propose("old.py:old", folder)
