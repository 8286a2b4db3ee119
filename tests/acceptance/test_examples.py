"""The examples as their reader runs them: the prototype, its production version, and what that does on failures."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.model_server import ModelServer, model_server

EXAMPLES = Path(__file__).parents[2] / "examples"
ON_CALL = (
    "import json, production as p; from prototype import {source}; print(json.dumps(p.{name}.run({given}).plain()))"
)


def run(folder: Path, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    env = {**kept, "HOME": str(folder), "NO_PROXY": "127.0.0.1", **more}
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=240)


def python(folder: Path, code: str, **more: str) -> Any:
    done = run(folder, sys.executable, "-c", code, **more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def nightcrew(folder: Path, *arguments: str, **more: str) -> Any:
    done = run(folder, sys.executable, "-m", "nightcrew", *arguments, "--json", **more)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=["fraud", "inventory", "reports"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def example(name: str, tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES / name, tmp_path / name)
    return tmp_path / name


def test_production_needs_fewer_than_forty_lines_more(name: str) -> None:
    lines = (EXAMPLES / name / "production.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 40


def test_fraud_holds_what_is_unsure_or_large_and_sums_up(tmp_path: Path) -> None:
    folder = example("fraud", tmp_path)
    assert run(folder, sys.executable, "prototype.py").stdout.endswith("flagged\n")
    done = run(folder, sys.executable, "production.py")
    assert done.returncode == 0, done.stderr
    [line] = nightcrew(folder, "outcome", "runs")
    assert line["seen"] == sum(line["states"].values()) == 200
    assert line["states"]["in_review"] >= 1
    reasons = {one["reason"] for one in nightcrew(folder, "outcome", "list", "--state", "in_review")}
    assert reasons <= {"low confidence", "a large amount"}
    assert len((folder / "decisions.jsonl").read_text().splitlines()) == line["states"]["accepted"]


def test_fraud_without_its_model_goes_by_the_rules(tmp_path: Path) -> None:
    folder = example("fraud", tmp_path)
    code = ON_CALL.format(source="transactions", name="fraud", given="transactions(20, seed=9)")
    dead = "import production\ndef gone(_): raise FileNotFoundError('model.pkl')\nproduction.score = gone\n"
    summary = python(folder, dead + code)
    # By the rules nothing is sure enough: each waits for a person, with the level that made it in its outcome.
    assert (summary["in_review"], summary["adds_up"]) == (20, True)
    shown = nightcrew(folder, "outcome", "list", "--state", "in_review", "--limit", "1")
    document = nightcrew(folder, "outcome", "show", shown[0]["record"])["document"]
    assert (document["level"], document["made_by"], document["status"]) == (1, "rules", "fallback")


def test_inventory_falls_back_to_the_heuristic(tmp_path: Path) -> None:
    folder = example("inventory", tmp_path)
    assert run(folder, sys.executable, "prototype.py").returncode in (0, 1), "a prototype may crash"
    code = ON_CALL.format(source="orders", name="inventory", given="orders(60)")
    summary = python(folder, code)
    assert (summary["seen"], summary["adds_up"]) == (60, True)
    held = nightcrew(folder, "outcome", "list", "--state", "in_review")
    assert held
    assert all(one["reason"].endswith("units cannot be sent") for one in held)
    document = nightcrew(folder, "outcome", "show", held[0]["record"])["document"]
    assert (document["level"], document["made_by"]) == (1, "greedy")


def with_model(server: ModelServer) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "dummy"}


REPORTS = ON_CALL.format(source="incidents", name="reports", given="incidents(10)")


def test_reports_are_cut_with_a_notice_and_wait_for_a_person(tmp_path: Path) -> None:
    folder = example("reports", tmp_path)
    with model_server() as server:
        server.overloaded = 2
        assert python(folder, REPORTS, **with_model(server))["in_review"] == 10
        sent = len(server.requests)
    assert sent == 10 + 1 + 2, "one call each, one more for the long one, two that were overloaded"
    assert not (folder / "published").exists(), "nothing goes out before a person has looked"
    document = nightcrew(folder, "outcome", "show", "reports/incident-7-0009")["document"]
    assert document["status"] == "partial"
    assert "the input was cut at the beginning" in document["notice"]
    assert nightcrew(folder, "outcome", "show", "reports/incident-7-0001")["document"]["status"] == "accepted"


def test_reports_without_a_model_are_plain(tmp_path: Path) -> None:
    folder = example("reports", tmp_path)
    with model_server() as server:
        gone = with_model(server)
    assert python(folder, REPORTS, **gone)["in_review"] == 10
    document = nightcrew(folder, "outcome", "show", "reports/incident-7-0000")["document"]
    assert (document["status"], document["level"], document["made_by"]) == ("fallback", 1, "plain")
    assert "had an incident" in document["output"]
