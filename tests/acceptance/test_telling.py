"""The morning report as a message: real shifts, a real webhook and a real mail server on loopback."""

import email
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.acceptance.conftest import Cli
from tests.alerting import mail_server, webhook
from tests.gate import prepare

from nightcrew.crew.report import Merged, Note, Report
from nightcrew.crew.telling import body_of, needs_you


def test_a_night_that_needs_a_person_is_told_once_by_webhook_and_by_mail(project: Cli) -> None:
    with webhook() as hook, mail_server() as mail:
        project.more["OWN_HOOK"] = hook.url
        # Under the name of a key that is kept, as at night, not in the environment.
        assert project("key", "add", "OWN_MAIL", stdin=mail.url.encode()).status == 0
        settings(project, report_to=["hook", "post"])
        writes = "mkdir -p .github/workflows && echo 'on: push' > .github/workflows/x.yml"
        project("ticket", "add", "Run the tests in CI", "--command", writes)
        done = project("shift")
        assert done.status == 1, done.err
        assert project("report").status == 1
        (told,) = [one for one in hook.got if one["title"].startswith("[repo]")]
        (posted,) = [one for one in map(email.message_from_string, mail.got) if "[repo]" in str(one["Subject"])]
    assert told["title"] == "[repo] 1 waits for you"
    lines = told["message"].splitlines()
    assert lines[0].startswith("Shift N-0001, ")
    assert "Waits for you:" in lines
    assert any(line.startswith("R-0001 high: T-0001 Run the tests in CI. ") for line in lines)
    assert "nightcrew report, nightcrew inbox" in lines
    assert max(map(len, lines)) <= 110
    assert "ada@example.com" in str(posted["To"])


def test_a_quiet_night_is_told_only_to_who_wants_to_hear_of_every_one(project: Cli) -> None:
    with webhook() as hook:
        project.more["NIGHTCREW_NOTIFY"] = hook.url
        assert project("shift").status == 0
        assert hook.got == []
        settings(project, report="always")
        assert project("shift").status == 0
        assert hook.titles == ["[repo] nothing to do"]
        settings(project, report="never")
        assert project("shift").status == 0
        assert len(hook.got) == 1
        assert project("report", "--send").status == 0
        assert hook.titles == ["[repo] nothing to do"] * 2


def test_to_send_a_report_without_an_address_is_an_error_with_a_way_out(project: Cli) -> None:
    assert project("shift").status == 0
    done = project("report", "--send")
    assert done.status == 4
    assert "NIGHTCREW_NOTIFY" in done.err


def test_a_channel_that_fails_costs_the_night_nothing_and_the_report_stays_in_the_outbox(project: Cli) -> None:
    with webhook() as hook:
        project.more["NIGHTCREW_NOTIFY"] = hook.url
        settings(project, report="always")
        hook.status = 500
        assert project("shift").status == 0
        assert hook.got == []
        hook.status = 200
        done = project("report", "--send")
        assert done.status in (0, 75), done.err


def test_a_channel_that_does_not_exist_is_told_when_the_settings_are_read(project: Cli) -> None:
    settings(project, report_to=["nowhere"])
    done = project("shift")
    assert done.status == 2
    assert "there is no channel nowhere" in done.err


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"outcome": "failed"}, True),
        ({"outcome": "stopped"}, False),
        ({"quarantined": (Note(ticket="T-1", reason="x"),)}, True),
        ({"health": ("build fails. Runbook: AL-AGENT-FAILING",)}, True),
        ({"health": ("all 3 agents are well",)}, False),
        ({"merged": (Merged(ticket="T-1", title="x", head="a"),)}, False),
    ],
)
def test_what_needs_a_person(change: dict[str, object], expected: bool) -> None:
    begun = datetime(2026, 1, 5, 2, tzinfo=UTC)
    plain = Report(shift="N-0001", started=begun, ended=begun, outcome="quiet")
    assert needs_you(plain.model_copy(update=change)) is expected


def test_a_title_calls_nobody_and_hides_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "@everyone <!channel> <https://a.example|ok> [Approve](https://a.example) \x1b[31m ada@example.com"
    begun = datetime(2026, 1, 5, 2, tzinfo=UTC)
    merged = (Merged(ticket="T-1", title=title, head="a"),)
    report = Report(shift="N-0001", started=begun, ended=begun, outcome="quiet", merged=merged)
    gate = prepare(tmp_path / "home", monkeypatch)
    body = body_of(gate.project, report)
    gate.reopen()
    assert not any(text in body for text in ("@everyone", "<!channel", "<https:", "](", "\x1b"))
    assert "ada@example.com" in body


def settings(cli: Cli, *, report: str = "needs_you", report_to: list[str] | None = None) -> None:
    channels = '[[channel]]\nname = "hook"\nurls_env = "OWN_HOOK"\n[[channel]]\nname = "post"\nurls_env = "OWN_MAIL"\n'
    path = Path(cli.folder / "nightcrew.toml")
    path.write_text(f'[notify]\nreport = "{report}"\nreport_to = {report_to or []}\n{channels if report_to else ""}')
