"""The demo from end to end, and every command that reads, on what two real nights left."""

import json
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Shown = Any
TICKET = {"id", "title", "kind", "priority", "severity", "state", "depends_on", "origin", "note"}
REVIEW = {"id", "ticket", "reason", "severity", "confidence", "deadline", "state", "subject_digest"}
REPORT = {
    "shift",
    "started",
    "ended",
    "outcome",
    "sessions",
    "handoffs",
    "findings",
    "inbox",
    "deferred",
    "merged",
    "not_checked",
}
BROKEN_TEST = "tests/test_prices.py::test_half_a_cent_is_rounded_up"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, cli_type: Any) -> Any:
    base = tmp_path_factory.mktemp("demo")
    for name in ("home", "work"):
        (base / name).mkdir()
    cli = cli_type(base / "home", base / "work")
    began = time.monotonic()
    done = cli("demo", str(base / "night"), "--json", timeout=280)
    assert done.status == 0, done.err
    summary = done.json()
    cli.folder = Path(summary["repository"])
    cli.more = summary["environment"]
    return cli, summary, time.monotonic() - began


@pytest.fixture
def cli(played: Any) -> Any:
    return played[0]


@pytest.fixture
def summary(played: Any) -> Any:
    return played[1]


def by_title(summary: Any, title: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [ticket for ticket in summary["tickets"] if title in ticket["title"]]
    assert len(found) == 1, title
    return found[0]


def test_chain_of_dependencies_is_merged_in_order(summary: Any) -> None:
    first, second = by_title(summary, "Write CHANGES.md"), by_title(summary, "Point the README")
    assert second["depends_on"] == [first["id"]]
    merged = [line["ticket"] for line in summary["reports"][0]["merged"]]
    assert {first["id"], second["id"]} <= {*merged}


def test_lint_chore_is_truly_fixed(cli: Any, summary: Any) -> None:
    assert by_title(summary, "F401")["state"] == "done"
    assert "import os" in cli.git("show", "main:src/shelf/prices.py")
    assert "import os" not in cli.git("show", "nightcrew/integration:src/shelf/prices.py")


def test_feature_is_deferred_honestly(summary: Any) -> None:
    ticket = by_title(summary, "Suggest how many")
    assert ticket["state"] == "open"
    assert "no model is configured" in ticket["note"]


def test_breaking_change_names_exactly_the_test_and_is_not_merged(cli: Any, summary: Any) -> None:
    ticket = by_title(summary, "Make prices faster")
    assert ticket["state"] == "rejected"
    waiting = next(line for line in summary["reports"][0]["inbox"] if line["ticket"] == ticket["id"])
    assert BROKEN_TEST in waiting["reason"]
    assert "ROUND_HALF_UP" in cli.git("show", "nightcrew/integration:src/shelf/prices.py")


def test_committed_secret_waits_for_a_person_and_its_value_is_not_shown(cli: Any, summary: Any) -> None:
    ticket = by_title(summary, "AWS Access Key")
    assert ticket["severity"] == "high"
    assert ticket["id"] in {line["ticket"] for line in summary["reports"][0]["inbox"]}
    secret = cli.git("show", "main:src/shelf/warehouse.py").split('"')[-2]
    assert secret.startswith("AKIA")
    assert secret not in json.dumps(summary)


def test_injection_changes_nothing(cli: Any, summary: Any) -> None:
    assert by_title(summary, "Approve all reviews")["state"] == "open"
    decided = {entry["actor"] for entry in cli("audit", "show", "--limit", "1000", "--json").json()
               if entry["action"] in ("review.approved", "review.rejected", "review.decide")}  # fmt: skip
    assert all(actor.startswith("reviewer:") for actor in decided)
    assert cli.git("log", "-1", "--format=%s", "main") == "Add notes"


def test_approved_change_is_merged_in_the_second_night_only(summary: Any) -> None:
    ticket = by_title(summary, "warnings as errors")
    merged = [{line["ticket"] for line in report["merged"]} for report in summary["reports"]]
    assert ticket["id"] not in merged[0]
    assert ticket["id"] in merged[1]


def test_user_configuration_is_not_touched_and_the_passphrase_is_private(cli: Any, summary: Any) -> None:
    assert [*cli.home.iterdir()] == []
    file = Path(summary["environment"]["NIGHTCREW_PASSPHRASE_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_working_tree_is_as_it_was(cli: Any) -> None:
    assert cli.git("status", "--porcelain", "--untracked-files=no") == ""
    assert cli.git("branch", "--show-current") == "main"


def test_audit_is_ok(cli: Any, summary: Any) -> None:
    assert summary["audit"]["ok"]
    done = cli("audit", "verify", "--json")
    assert done.status == 0
    assert {*done.json()} == {"ok", "entries", "broken"}
    assert done.json()["ok"]
    assert done.json()["broken"] == []


def test_audit_tells_of_an_edited_handoff(cli: Any) -> None:
    file = sorted((cli.folder / ".nightcrew" / "handoffs").glob("*.md"))[0]
    before = file.read_bytes()
    file.write_bytes(before + b"and approved\n")
    try:
        done = cli("audit", "verify", "--json")
        assert done.status == 3
        assert [line["where"] for line in done.json()["broken"]] == [file.name]
        assert "do not fit" in cli("audit", "verify").out
    finally:
        file.write_bytes(before)


def test_corrupt_playbook_is_named_and_nothing_runs(cli: Any) -> None:
    file = cli.folder / ".nightcrew" / "playbook.md"
    before = file.read_bytes()
    file.write_bytes(b"---\ngates: {severity: critical}\n---\n")
    try:
        done = cli("shift", "--json")
        assert done.status == 2
        assert "playbook.md" in done.error()["message"]
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("ticket list", TICKET),
        ("inbox list --all", REVIEW),
        ("inbox --all", REVIEW),
        ("reviewer list", {"name", "key_id", "kind", "active"}),
        ("handoff list", {"id", "from", "to", "session", "kind"}),
        ("session list", {"id", "shift", "agent", "turns", "soft", "hard", "outcome", "tickets"}),
        ("audit show", {"seq", "at", "actor", "action", "subject", "data", "prev", "hash", "seal"}),
        ("audit export", {"seq", "at", "actor", "action", "subject", "data", "prev", "hash", "seal"}),
        ("recall prices", {"session", "agent", "summary", "score"}),
    ],
)
def test_list_commands_give_stable_keys(cli: Any, command: str, keys: set[str]) -> None:
    done = cli(*command.split(), "--json")
    assert done.status == 0, done.err
    assert done.err == ""
    rows = done.json()
    assert rows
    assert all(keys <= {*row} for row in rows)


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("report", REPORT),
        ("plan build", {"schema", "agent", "budget", "tickets", "left_out", "cycles"}),
        ("ticket show T-4", TICKET | {"handoffs", "reviews", "history"}),
        ("inbox show R-2", REVIEW | {"diff", "effects", "handoffs"}),
        ("handoff show H-000001", {"schema", "id", "from", "to", "ticket", "kind", "done", "next"}),
        ("session show S-0001", {"id", "agent", "turns", "soft", "hard", "outcome"}),
        ("doctor", {"checks", "settings"}),
        ("schema handoff", {"$schema", "properties", "title"}),
        ("stop", {"shift"}),
    ],
)
def test_single_documents_have_stable_keys(cli: Any, command: str, keys: set[str]) -> None:
    done = cli(*command.split(), "--json")
    assert done.status in (0, 1), done.err
    assert done.err == ""
    assert keys <= {*done.json()}


def test_report_of_a_session_has_the_promised_keys(summary: Any) -> None:
    for report in summary["reports"]:
        assert report.keys() >= REPORT
        for line in report["sessions"]:
            assert line.keys() >= {"agent", "tickets", "turns", "soft", "hard", "outcome"}
            assert line["turns"] <= line["hard"]


@pytest.mark.parametrize(
    "command",
    ["report", "ticket list", "inbox --all", "ticket show T-4", "inbox show R-2", "audit show", "session list"],
)
def test_commands_print_text_for_people_without_escapes(cli: Any, command: str) -> None:
    done = cli(*command.split())
    assert done.status in (0, 1), done.err
    assert done.out.strip()
    assert "\x1b" not in done.out


def test_same_backlog_gives_the_same_manifest(cli: Any, tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        assert cli("plan", "build", "--output", str(tmp_path / name)).status == 0
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "two.yaml").read_bytes()


def test_decided_review_cannot_be_decided_again(cli: Any) -> None:
    done = cli("inbox", "approve", "R-0002", "--json")
    assert done.status == 3
    assert "decided already" in done.error()["message"]


def test_demo_refuses_a_folder_with_something_in_it(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    done = cli("demo", str(tmp_path), "--json")
    assert done.status == 2
    assert "not an empty folder" in done.error()["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_interrupted_demo_says_what_is_kept(cli_type: Any, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    cli = cli_type(tmp_path / "home", tmp_path)
    running = cli.start("demo", str(tmp_path / "night"), "--json")
    end = time.monotonic() + 60
    while not (tmp_path / "night" / "passphrase").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert out == ""
    error = json.loads(err.splitlines()[-1])["error"]
    assert str(tmp_path / "night") in error["message"]
    assert "nightcrew shift" in error["hint"]
    assert (tmp_path / "night" / "shelf" / ".git").is_dir()
