"""The command ``nightcrew alerts`` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.alerting import webhook

from nightcrew.monitoring.metrics import Recorder
from nightcrew.pipeline.state import find_state
from nightcrew.store import ledger

SETTINGS = '[alerts]\ndisabled = ["disk-full", "quarantine-growing"]\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a pipeline has run and failed."""
    (tmp_path / "nightcrew.toml").write_text(SETTINGS)
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("NIGHTCREW_NOTIFY", raising=False)
    state = find_state(tmp_path)
    recorder = Recorder()
    recorder.count("records", "pipeline:fraud", 50, state="accepted")
    recorder.count("errors", "pipeline:fraud", 50, **{"class": "bug"})
    recorder.count("records", "pipeline:fraud", 50, state="waiting_retry")
    recorder.flush(state.store)
    state.close()
    return tmp_path


def run(home: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "nightcrew", "alerts", *arguments],
        cwd=home,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def document(home: Path, *arguments: str) -> Any:
    done = run(home, *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_from_check_to_acknowledgement(home: Path) -> None:
    assert run(home, "list").stdout == "Nothing fires.\n"
    with webhook() as hook:
        done = run(home, "check", NIGHTCREW_NOTIFY=hook.url)
        assert (done.returncode, "fires: A-0001" in done.stdout) == (1, True), done.stderr
        assert len(hook.got) == 1
        assert run(home, "check", NIGHTCREW_NOTIFY=hook.url).returncode == 1
        assert len(hook.got) == 1
    listed = run(home, "list")
    assert listed.returncode == 1
    assert "A-0001" in listed.stdout
    assert "AL-PIPELINE-ERRORS" in listed.stdout
    shown = run(home, "show", "a1").stdout
    assert "A-0001 pipeline-errors, pipeline:fraud: firing (high)" in shown
    assert "metric errors" in shown
    assert "sent" in shown
    assert "A-0001 is acknowledged" in run(home, "ack", "A-0001", "--comment", "mine").stdout
    (alert,) = document(home, "list")["alerts"]
    assert (alert["state"], alert["acknowledged_by"]) == ("acknowledged", "human")
    assert [one["id"] for one in document(home, "history")] == ["A-0001"]


def test_silences_have_an_end_and_are_listed(home: Path) -> None:
    assert run(home, "silence", "pipeline-*").returncode == 2
    assert run(home, "silence", "pipeline-*", "--for", "2 weeks").returncode == 2
    assert run(home, "silence", "*", "--until", "2020-01-01T00:00").returncode == 2
    made = document(home, "silence", "pipeline-*", "--subject", "pipeline:fraud", "--for", "2h", "--comment", "known")
    hours = (datetime.fromisoformat(made["until"]) - datetime.now(UTC)).total_seconds() / 3600
    assert 1.9 < hours < 2.1
    with webhook() as hook:
        assert run(home, "check", NIGHTCREW_NOTIFY=hook.url).returncode == 1
        assert hook.got == []
        assert "known" in run(home, "list").stdout
        assert run(home, "unsilence", made["id"]).stdout == f"{made['id']} has ended.\n"
        run(home, "check", NIGHTCREW_NOTIFY=hook.url)
        assert len(hook.got) == 1


def test_lengths_and_numbers_beyond_all_measure_are_refused(home: Path) -> None:
    done = run(home, "silence", "*", "--for", "99999d")
    assert (done.returncode, "a silence ends within 90 days" in done.stderr) == (2, True)
    assert run(home, "silence", "*", "--until", "9999-01-01T00:00").returncode == 2
    done = run(home, "history", "--limit", "99999999999999999999")
    assert (done.returncode, "NC-BUG" in done.stderr) == (2, False)


def test_settings_that_are_damaged_stop_no_alert_and_are_one(home: Path) -> None:
    (home / "nightcrew.toml").write_text("[alerts\n")
    with webhook() as hook:
        done = run(home, "check", NIGHTCREW_NOTIFY=hook.url)
        assert done.returncode == 1, done.stderr
        assert "problem: rule:nightcrew.toml: nightcrew.toml: not TOML" in done.stdout
        (message,) = hook.got
        assert "rule-broken" in message["message"]
        assert "pipeline-errors" in message["message"]


def test_a_person_says_that_an_alert_is_over_and_who_was_told_hears_of_it(home: Path) -> None:
    with webhook() as hook:
        run(home, "check", NIGHTCREW_NOTIFY=hook.url)
        done = run(home, "resolve", "A-0001", "--comment", "that machine is gone")
        assert (done.returncode, done.stdout.startswith("A-0001 is over: ")) == (0, True), done.stderr
        assert run(home, "list").returncode == 0
        again = run(home, "resolve", "A-0001")
        assert again.returncode != 0
        assert "A-0001 is resolved" in again.stderr
        run(home, "check", NIGHTCREW_NOTIFY=hook.url)
    said = [title.removeprefix("[nightcrew] ").partition(": ")[0] for title in hook.titles]
    assert said == ["high", "over", "high"], "what is still wrong fires anew"
    state = find_state(home)
    with state.store.read() as tx:
        (entry,) = [one for one in ledger.entries(tx) if one.action == "alert.resolve"]
        assert (entry.actor, ledger.data(entry)["reason"]) == ("human", "that machine is gone")
    state.close()


def test_channels_are_tried_and_each_says_what_became_of_it(home: Path) -> None:
    (home / "nightcrew.toml").write_text(
        SETTINGS + '[[channel]]\nname = "chat"\nurls_env = "CHAT"\n[[channel]]\nname = "backlog"\nkind = "ticket"\n'
    )
    with webhook() as chat, webhook() as hook:
        done = run(home, "test", "--json", CHAT=chat.url, NIGHTCREW_NOTIFY=hook.url)
        assert done.returncode == 0
        results = {one["channel"]: one["result"] for one in json.loads(done.stdout)}
        assert results == {"chat": "taken", "backlog": "ticket", "default": "taken"}
        assert chat.titles == hook.titles == ["[nightcrew] a test"]
        chat.status = 500
        done = run(home, "test", "--channel", "chat", CHAT=chat.url)
        assert done.returncode == 1
        assert "status 500" in done.stdout
        assert "hook-5f3a7c" not in done.stdout + done.stderr
    assert run(home, "test", "--channel", "default").returncode == 1
    assert run(home, "test", "--channel", "pager").returncode == 2


def test_the_rules_that_hold_are_listed(home: Path) -> None:
    found = {one["name"]: one for one in document(home, "rules")}
    assert found["pipeline-errors"]["runbook"] == "AL-PIPELINE-ERRORS"
    assert "disk-full" not in found
    assert "nothing for 26 h" in run(home, "rules").stdout


def test_what_is_no_alert_is_refused(home: Path) -> None:
    assert run(home, "ack", "A-0099").returncode == 2
    assert run(home, "show", "nonsense").returncode == 2
    assert run(home, "unsilence", "SL-0001").returncode == 2


def test_where_nothing_has_run_it_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "list")
    assert done.returncode == 2
    assert "nothing has run here yet" in done.stderr


def test_watch_goes_on_until_it_is_interrupted(home: Path) -> None:
    with webhook() as hook:
        env = {**os.environ, "NIGHTCREW_NOTIFY": hook.url}
        argv = [sys.executable, "-m", "nightcrew", "alerts", "watch", "--json"]
        running = subprocess.Popen(
            argv,
            cwd=home,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["fired"] == ["A-0001"]
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 0
        assert len(hook.got) == 1
