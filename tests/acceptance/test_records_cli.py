"""run, retry, quarantine, outcome, inbox and audit prove as a user runs them, on good input and bad."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import Cli

APP = """
from pydantic import BaseModel, Field
import nightcrew as nc

class Tx(BaseModel):
    id: str
    amount: float = Field(gt=0)

fraud = nc.Pipeline("fraud", record=Tx, key="id")
other = 7

@fraud.step(retry=nc.Retry(attempts=2, base=0))
def score(tx: Tx) -> nc.Prediction:
    if tx.amount == 13:
        raise ConnectionResetError("the model hung up")
    return nc.Prediction(tx.amount * 2, 0.5 if tx.amount > 900 else 0.9)

@fraud.gate
def unsure(tx, prediction):
    return "low confidence" if prediction.confidence < 0.8 else None

nothing = nc.Pipeline("nothing")
"""


def lines(*records: Any) -> str:
    return "".join(json.dumps(one) + "\n" for one in records)


MIXED = lines(
    {"id": "good", "amount": 1},
    {"id": "bad", "amount": -1},
    {"id": "down", "amount": 13},
    {"id": "held", "amount": 950},
)


@pytest.fixture
def app(cli: Cli) -> Cli:
    """A folder with an application and its input; no repository."""
    (cli.folder / "app.py").write_text(APP)
    (cli.folder / "in.jsonl").write_text(MIXED)
    return cli


def test_run_sums_up_says_what_to_do_and_goes_on_to_the_sink(app: Cli) -> None:
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--sink", "out.jsonl")
    assert done.status == 1, done.err
    assert "4 in = 1 accepted + 1 in review + 1 quarantined + 1 waiting retry" in done.out
    for hint in ("nightcrew inbox", "nightcrew quarantine list --pipeline fraud", "nightcrew retry run"):
        assert hint in done.out
    assert json.loads((app.folder / "out.jsonl").read_text())["output"] == {"value": 2.0, "confidence": 0.9}
    assert (app.folder / ".nightcrew" / ".gitignore").read_text().endswith("*\n")


def test_run_gives_one_document_to_machines(app: Cli) -> None:
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--json")
    assert done.err == "", "nothing else is said, not by extensions at the end either"
    found = done.json()
    assert found["adds_up"] is True
    assert {name: found[name] for name in ("seen", "accepted", "in_review", "quarantined", "waiting_retry")} == {
        "seen": 4, "accepted": 1, "in_review": 1, "quarantined": 1, "waiting_retry": 1,
    }  # fmt: skip


def test_all_good_is_exit_status_zero(app: Cli) -> None:
    (app.folder / "in.jsonl").write_text(lines({"id": "a", "amount": 1}))
    assert app("run", "app.py:fraud", "--input", "in.jsonl").status == 0


def test_quarantine_is_listed_shown_released_and_discarded(app: Cli) -> None:
    app("run", "app.py:fraud", "--input", "in.jsonl")
    [one] = app("quarantine", "list", "--json").json()
    assert (one["record"], one["kind"]) == ("fraud/bad", "permanent.contract")
    assert "amount: input should be greater than 0" in app("quarantine", "show", "fraud/bad").out
    assert app("quarantine", "list", "--kind", "permanent.auth").out == "Quarantine is empty.\n"
    (app.folder / "app.py").write_text(APP.replace("Field(gt=0)", "Field(gt=-5)"))
    assert "1 record released" in app("quarantine", "release", "--kind", "permanent.contract").out
    assert app("retry", "run", "app.py:fraud", "--json").json()["accepted"] == 2
    assert app("quarantine", "release", "fraud/bad").status == 3
    assert app("quarantine", "discard", "fraud/nobody").status == 2
    assert app("quarantine", "release").status == 2


def test_retry_queue_is_listed_and_worked_at_once_if_asked(app: Cli) -> None:
    app("run", "app.py:fraud", "--input", "in.jsonl")
    [one] = app("retry", "list", "--json").json()
    assert (one["record"], one["kind"], one["rounds"]) == ("fraud/down", "transient.network", 0)
    assert one["next_at"] > "2026"
    (app.folder / "app.py").write_text(APP.replace("tx.amount == 13", "False"))
    found = app("retry", "run", "app.py:fraud", "--all", "--json").json()
    assert (found["accepted"], found["waiting_retry"], found["adds_up"]) == (2, 0, True)


def test_outcomes_are_listed_and_one_is_shown_and_proven(app: Cli) -> None:
    app("run", "app.py:fraud", "--input", "in.jsonl")
    assert [one["record"] for one in app("outcome", "list", "--json").json()] == [
        "fraud/good", "fraud/bad", "fraud/down", "fraud/held",
    ]  # fmt: skip
    assert [one["record"] for one in app("outcome", "list", "--state", "in_review", "--json").json()] == ["fraud/held"]
    shown = app("outcome", "show", "fraud/good", "--json").json()
    assert shown["output"] == {"value": 2.0, "confidence": 0.9}
    [run] = app("outcome", "runs", "--json").json()
    assert (run["seen"], run["state"]) == (4, "done")
    proof = app("audit", "prove", "fraud/good").json()
    assert json.loads(proof["outcome"])["key"] == "good"
    assert app("audit", "prove", "good").json() == proof, "the key alone will do where one pipeline has it"
    assert app("audit", "prove", "nobody", "--json").error()["code"] == "NC-NOT-FOUND"


def test_held_records_are_decided_in_the_inbox_by_signature(project: Cli) -> None:
    secret = project.home / "passphrase"
    secret.write_text("correct horse battery")
    secret.chmod(0o600)
    project.more["NIGHTCREW_PASSPHRASE_FILE"] = str(secret)
    (project.folder / "app.py").write_text(APP)
    (project.folder / "in.jsonl").write_text(MIXED)
    project("run", "app.py:fraud", "--input", "in.jsonl", "--sink", "out.jsonl")
    listed = project("inbox")
    assert "fraud/held" in listed.out
    assert "low confidence" in listed.out
    refused = project("inbox", "approve", "fraud/held", "--json")
    assert (refused.status, refused.error()["code"]) == (4, "NC-CONFIG")
    assert project("reviewer", "add", "ada", "--passphrase").status == 0
    assert "950" in project("inbox", "show", "fraud/held").out
    approved = project("inbox", "approve", "fraud/held", "--comment", "known customer")
    assert approved.status == 0, approved.err
    again = project("inbox", "approve", "fraud/held", "--json")
    assert (again.status, again.error()["code"]) == (3, "NC-TRANSITION")
    assert project("retry", "run", "app.py:fraud", "--json").json()["accepted"] == 2
    keys = [json.loads(line)["key"] for line in (project.folder / "out.jsonl").open()]
    assert keys == ["good", "held"]
    shown = project("outcome", "show", "fraud/held", "--json").json()
    assert shown["document"]["review"]["by"] == "ada"
    verified = project("audit", "verify", "--json")
    assert verified.status == 0, verified.out
    assert verified.json()["ok"] is True


def test_machines_get_every_held_record_people_the_first_ones(project: Cli) -> None:
    (project.folder / "app.py").write_text(APP)
    (project.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": 950} for n in range(60))))
    project("run", "app.py:fraud", "--input", "in.jsonl")
    assert len(project("inbox", "--json").json()) == 60
    assert "The first 50 records" in project("inbox").out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["run", "app.py", "--input", "in.jsonl"], 2, "APP.py:NAME"),
        (["run", "gone.py:fraud", "--input", "in.jsonl"], 2, "there is no file gone.py"),
        (["run", "app.py:nobody", "--input", "in.jsonl"], 2, "app.py has no nobody"),
        (["run", "app.py:other", "--input", "in.jsonl"], 2, "a int, not a Pipeline"),
        (["run", "no.such.module:fraud", "--input", "in.jsonl"], 2, "no module no.such.module"),
        (["run", "app.py:nothing", "--input", "in.jsonl"], 4, "pipeline nothing has no step"),
        (["run", "app.py:fraud", "--input", "gone.jsonl"], 2, "there is no input gone.jsonl"),
        (["run", "app.py:fraud", "--input", "app.py"], 2, "format is not known"),
        (["run", "app.py:fraud", "--input", "in.jsonl", "--sink", "out.xml"], 2, "no sink is known"),
        (["run", "app.py:fraud", "--input", "in.jsonl", "--sink", "in.jsonl"], 2, "is the input"),
        (["run", "app.py:fraud", "--input", "in.jsonl", "--max-rejected", "7"], 2, "max-rejected"),
        (["run", "app.py:fraud", "--input", "-", "--workers", "2"], 2, "several processes"),
        (["retry", "run", "app.py:fraud"], 2, "has not run yet"),
        (["outcome", "list"], 2, "no pipeline has run here yet"),
        (["quarantine", "list"], 2, "no pipeline has run here yet"),
        (["audit", "prove", "fraud/x"], 2, "no pipeline has run here yet"),
    ],
)
def test_bad_input_says_what_is_wrong(app: Cli, arguments: list[str], status: int, said: str) -> None:
    done = app(*arguments, "--json")
    assert done.status == status, done.out + done.err
    assert said in done.error()["message"]
    assert done.out == ""


def test_state_that_is_not_known_lists_those_that_are(app: Cli) -> None:
    app("run", "app.py:fraud", "--input", "in.jsonl")
    done = app("outcome", "list", "--state", "lost", "--json")
    assert done.status == 2
    assert "in_review" in done.error()["message"]
    assert app("outcome", "show", "fraud/nobody", "--json").error()["code"] == "NC-NOT-FOUND"
    assert app("outcome", "list", "--pipeline", "nobody", "--json").error()["code"] == "NC-NOT-FOUND"


def test_application_that_fails_at_import_shows_its_own_error(app: Cli) -> None:
    (app.folder / "broken.py").write_text("import no_such_thing\n")
    done = app("run", "broken.py:fraud", "--input", "in.jsonl", "--json")
    assert done.status == 70
    assert "no_such_thing" in done.error()["message"]


def test_empty_input_is_no_error(app: Cli) -> None:
    (app.folder / "in.jsonl").write_text("")
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--sink", "out.jsonl")
    assert done.status == 0, done.err
    assert "0 in = 0" in done.out
    assert (app.folder / "out.jsonl").read_text() == ""


def test_standard_input_is_a_source(app: Cli) -> None:
    done = app("run", "app.py:fraud", "--input", "-", "--json", stdin=MIXED.encode())
    assert done.json()["seen"] == 4


def test_other_shapes_of_the_same_input(app: Cli) -> None:
    (app.folder / "in.csv").write_text("id,amount\na,1\nb,2\n")
    assert app("run", "app.py:fraud", "--input", "in.csv", "--json").json()["accepted"] == 2


def test_workers_share_a_run_on_sqlite(app: Cli) -> None:
    (app.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": n % 890 + 100} for n in range(20_000))))
    found = app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "2", "--sink", "out.jsonl", "--json").json()
    assert (found["seen"], found["adds_up"], found["repeated"]) == (20_000, True, 0)
    assert len((app.folder / "out.jsonl").read_text().splitlines()) == found["accepted"]
    again = app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "2", "--json").json()
    assert (again["seen"], again["repeated"], again["adds_up"]) == (20_000, 20_000, True)


def test_lanes_are_shared_between_workers(app: Cli) -> None:
    laned = APP.replace('key="id")', 'key="id", ordered_by=lambda tx: tx.id[-1])', 1)
    (app.folder / "app.py").write_text(laned)
    (app.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": n % 890 + 100} for n in range(3000))))
    found = app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "2", "--json").json()
    assert (found["seen"], found["adds_up"], found["repeated"]) == (3000, True, 0)


def test_record_that_kills_a_worker_costs_a_child_not_the_run(app: Cli) -> None:
    deadly = "if tx.amount == 666:\n        import os; os.kill(os.getpid(), 9)\n    if tx.amount == 13:"
    killing = APP.replace("if tx.amount == 13:", deadly)
    (app.folder / "app.py").write_text(killing)
    amounts = [666 if n == 300 else 1 for n in range(1000)]
    (app.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": a} for n, a in enumerate(amounts))))
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "1", "--json")
    assert done.status == 1, done.err
    assert (done.json()["accepted"], done.json()["quarantined"], done.json()["adds_up"]) == (999, 1, True)
    [one] = app("quarantine", "list", "--json").json()
    assert (one["record"], one["kind"]) == ("fraud/r300", "permanent.poison")


def test_drift_is_refused_by_policy_and_can_be_let_through(app: Cli) -> None:
    (app.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": f"{n} EUR"} for n in range(3000))))
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--json")
    assert (done.status, done.error()["code"]) == (3, "NC-DRIFT")
    assert "--max-rejected 1" in done.error()["hint"]
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--max-rejected", "1", "--json")
    assert (done.json()["quarantined"], done.json()["adds_up"]) == (3000, True)


def test_drift_halts_a_run_of_workers_too_and_it_goes_on_when_let_through(app: Cli) -> None:
    (app.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": f"{n} EUR"} for n in range(9000))))
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "2", "--json")
    assert (done.status, done.error()["code"]) == (3, "NC-DRIFT"), done.err
    assert "refused by the contract" in done.error()["message"]
    more = ("--workers", "2", "--max-rejected", "1", "--json")
    found = app("run", "app.py:fraud", "--input", "in.jsonl", *more).json()
    assert (found["seen"], found["quarantined"], found["adds_up"]) == (9000, 9000, True)


def test_chunk_that_fails_is_said_and_goes_on_after_a_fix(app: Cli) -> None:
    (app.folder / "app.py").write_text(
        APP.replace(
            "fraud = nc.Pipeline(",
            "import os\nif 'child' in __import__('sys').argv[0]: raise KeyError('no model')\nfraud = nc.Pipeline(",
        )
    )
    (app.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": 1} for n in range(100))))
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "1", "--json")
    assert (done.status, done.error()["code"]) == (70, "NC-CHUNK"), done.err
    assert "no model" in done.error()["message"]
    (app.folder / "app.py").write_text(APP)
    assert app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "1", "--json").json()["accepted"] == 100


def test_interrupted_workers_leave_nothing_behind_and_go_on(app: Cli) -> None:
    (app.folder / "app.py").write_text(
        APP.replace("return nc.Prediction", "import time; time.sleep(0.01); return nc.Prediction")
    )
    (app.folder / "in.jsonl").write_text(lines(*({"id": f"r{n}", "amount": 1} for n in range(1000))))
    running = app.start("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "2")
    wait_for(app.folder / ".nightcrew" / "flight")
    time.sleep(1.0)
    os.kill(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    found = app("run", "app.py:fraud", "--input", "in.jsonl", "--workers", "2", "--json").json()
    assert (found["seen"], found["accepted"], found["adds_up"], found["repeated"]) == (1000, 1000, True, 0)


def test_changed_input_of_an_unfinished_run_is_refused_unless_new(app: Cli) -> None:
    slow = APP.replace("return nc.Prediction", "import time; time.sleep(0.02); return nc.Prediction")
    (app.folder / "app.py").write_text(slow)
    path = app.folder / "in.jsonl"
    path.write_text(lines(*({"id": f"r{n}", "amount": 1} for n in range(500))))
    running = app.start("run", "app.py:fraud", "--input", "in.jsonl")
    wait_for(app.folder / ".nightcrew" / "flight")
    time.sleep(0.5)
    os.kill(running.pid, signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    path.write_text(lines({"id": "z", "amount": 1}))
    done = app("run", "app.py:fraud", "--input", "in.jsonl", "--json")
    assert (done.status, done.error()["code"]) == (3, "NC-INPUT-CHANGED")
    assert app("run", "app.py:fraud", "--input", "in.jsonl", "--new", "--json").json()["accepted"] == 1


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()
