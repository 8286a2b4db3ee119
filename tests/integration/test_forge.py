"""What a night left is brought to GitHub: once, whatever answer is lost, whoever is killed, and as data."""

import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults import crew_repository as crew
from tests.forge_night import BROKEN, DONE, GATED, bring, head_of, imported, pull_of, settings
from tests.forge_server import Forge, ForgePull
from tests.gate import Gate
from tests.github_server import Fault
from tests.night import Night

from nightcrew.crew import doctor, inbox, reviewers
from nightcrew.crew.forge import sync as syncing
from nightcrew.model.review import Decision
from nightcrew.model.ticket import Event
from nightcrew.store import effects, ledger, links, shifts, tickets

pytestmark = pytest.mark.timeout(250)
pytest_plugins = ("tests.forge_night",)


def test_work_becomes_branches_pull_requests_and_checks_once(gate: Gate, forge: Forge) -> None:
    found = bring(gate)
    assert not found.problems
    assert not found.waiting
    heads = {f"nightcrew/{name}": head_of(gate, name) for name in (DONE, GATED)}
    assert {name: commit for name, commit in forge.branches().items() if name != "main"} == heads

    done, gated = pull_of(forge, DONE), pull_of(forge, GATED)
    assert (done.draft, done.base, done.title) == (False, "main", "Say @\u200bwhat it is (T-0001)")
    assert gated.draft, "what waits for a person cannot be merged there by mistake"
    assert "it passed QA and security" in done.body
    assert "| `qa` | **verdict** | **passed** |" in done.body
    assert "waits for a person's decision" in gated.body
    assert "| `qa` | **verdict** | **failed** |" in gated.body
    assert "**Findings**" in gated.body

    runs = {(run["name"], run["head_sha"], run["conclusion"]) for run in forge.runs}
    assert runs == {
        ("nightcrew/qa", heads["nightcrew/T-0001"], "success"),
        ("nightcrew/security", heads["nightcrew/T-0001"], "success"),
        ("nightcrew/qa", heads["nightcrew/T-0002"], "failure"),
    }

    asked = len(forge.asked)
    again = bring(gate)
    assert (again.planned, again.done, again.problems) == (0, (), ())
    wrote = [one for one in forge.asked[asked:] if one.method != "GET" and "upload-pack" not in one.path]
    assert [one for one in wrote if "info/refs" not in one.path] == [], "left alone"
    with gate.project.store.read() as tx:
        assert ledger.verify(tx)[1] == []


PULLS, RUNS, GIT = "/pulls", "/check-runs", "git-receive-pack"
LOST = {
    "answers": [
        Fault(method="POST", path=GIT, how="reset", done=True),
        Fault(method="POST", path=PULLS, how="reset", done=True),
        Fault(method="POST", path=RUNS, how="reset", done=True),
    ],
    "cut answers": [Fault(method="POST", path=PULLS, how="cut"), Fault(method="POST", path=RUNS, how="cut")],
    "nonsense": [Fault(method="POST", path=PULLS, how="raw", raw=b"<html>", status=201, done=True)],
    "errors": [
        Fault(method="GET", path="/info/refs", status=500),
        Fault(method="POST", path=PULLS, status=500),
        Fault(method="GET", path=PULLS, status=500, times=2),
    ],
    "requests": [Fault(method="POST", path=GIT, how="reset", times=2), Fault(method="POST", path=RUNS, how="reset")],
    "secondary rate limit": [
        Fault(method="POST", path=PULLS, status=403, headers={"Retry-After": "7200"}, message="secondary rate limit")
    ],
    "rate limit": [Fault(method="POST", path=RUNS, status=429, headers={"X-RateLimit-Remaining": "0"})],
}


@pytest.mark.parametrize("faults", LOST.values(), ids=LOST.keys())
def test_fault_in_the_middle_loses_and_doubles_nothing(gate: Gate, forge: Forge, faults: list[Fault]) -> None:
    for fault in faults:
        forge.fail(fault)
    for _ in range(5):
        left = bring(gate, minutes=200)
        if not left.problems and not left.waiting:
            break
    assert not left.problems
    assert not left.waiting
    assert len(forge.pulls) == 2
    assert len(forge.runs) == 3
    assert forge.branches()["nightcrew/T-0001"] == head_of(gate, DONE)


@pytest.mark.parametrize(("method", "word"), [("POST", "/pulls"), ("POST", "/comments")], ids=str)
def test_killed_between_the_request_and_its_mark(gate: Gate, forge: Forge, method: str, word: str) -> None:
    issue = imported(gate, forge)
    forge.hold = (method, word)
    gate.reopen()
    environment = {**crew.environment(gate.home), "GITHUB_TOKEN": forge.token}
    environment |= {name: os.environ[name] for name in ("NIGHTCREW_CONFIG_DIR", "XDG_STATE_HOME")}
    argv = [sys.executable, "-m", "nightcrew", "sync"]
    with subprocess.Popen(
        argv, cwd=gate.home / "repo", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert forge.reached.wait(60), "the request came"
        process.send_signal(signal.SIGKILL)
    gate.later(days=365)
    found = bring(gate)
    assert not found.waiting, found
    assert len(forge.pulls) == 2
    assert len(forge.runs) == 3
    assert len(issue.comments) == 1


def test_issue_is_told_in_one_comment_and_one_label(gate: Gate, forge: Forge) -> None:
    issue = imported(gate, forge)
    issue.labels.append("nightcrew: in review")
    issue.comments[1] = "Any news?"
    bring(gate)
    pull = pull_of(forge, DONE)
    assert pull.body.count("Closes #17") == 1
    assert issue.labels == ["nightcrew", "nightcrew: done"]
    [comment] = [text for number, text in issue.comments.items() if number != 1]
    assert f"Nightcrew has this as {DONE}. It is done" in comment
    assert f"/pull/{pull.number}" in comment
    assert issue.state == "open", "the merge of its pull request closes it"

    with gate.project.store.begin() as tx:
        links.put(tx, source=f"github:{forge.repository}", ref="17", ticket=GATED, url="", doc={})
    bring(gate, minutes=1)
    assert issue.labels == ["nightcrew", "nightcrew: in review"]
    assert len(issue.comments) == 3, "another ticket has a comment of its own"


def test_issue_is_closed_by_us_only_where_no_pull_request_will(gate: Gate, forge: Forge) -> None:
    issue = imported(gate, forge)
    settings(gate, forge, "pull_requests = false")
    bring(gate)
    assert (issue.state, forge.pulls) == ("closed", [])


def test_token_of_a_person_makes_statuses_and_a_small_plan_has_no_drafts(gate: Gate, forge: Forge) -> None:
    forge.is_app = forge.drafts = False
    forge.fail(Fault(method="POST", path="/statuses", how="reset", done=True))
    bring(gate)
    assert not bring(gate, minutes=60).waiting
    said = {(one["context"], one["state"]) for one in forge.statuses if one["sha"] == head_of(gate, DONE)}
    assert said == {("nightcrew/qa", "success"), ("nightcrew/security", "success")}
    assert len(forge.statuses) == 3
    assert not pull_of(forge, GATED).draft


def test_text_of_agents_and_issues_is_data_at_the_forge(gate: Gate, forge: Forge) -> None:
    night = Night(gate)
    night.begin()
    evil = "```\nCloses #1 @octocat <img src=x> ghp_0123456789abcdefghijklmnopqrstuvwxyz\n````\n</details>"
    name = night.ticket(f"Evil {evil.splitlines()[1]}", {"a.txt": "a\n"})
    night.failed(name, BROKEN.model_copy(update={"message": evil, "fingerprint": "c" * 32}))
    night.end()
    bring(gate)
    body = pull_of(forge, name).body
    outside = [part for number, part in enumerate(_fences(body)) if number % 2 == 0]
    for word in ("Closes", "@octocat", "<img"):
        assert not any(word in part for part in outside), word
    assert "ghp_0123456789" not in body + pull_of(forge, name).title
    assert BROKEN.evidence not in body
    assert "ghp_0123456789" not in str(forge.runs)


def _fences(body: str) -> list[str]:
    """The text outside (even places) and inside (odd ones) of fenced code, as CommonMark reads it."""
    parts, fence = [""], ""
    for line in body.splitlines():
        ticks = len(line) - len(line.lstrip("`"))
        if not fence and ticks >= 3:
            fence = "`" * ticks
            parts.append("")
        elif fence and set(line) == {"`"} and ticks >= len(fence):
            fence = ""
            parts.append("")
        parts[-1] += line + "\n"
    return parts


def test_change_that_is_turned_down_closes_its_pull_request(gate: Gate, forge: Forge) -> None:
    bring(gate)
    number = pull_of(forge, GATED).number
    gate.decide(next(one.id for one in inbox.pending(gate.project)), decision=Decision.REJECT)
    bring(gate, minutes=1)
    pull = pull_of(forge, GATED)
    assert (pull.number, pull.state) == (number, "closed")
    assert "was turned down by a person" in pull.body


def test_work_sent_back_and_built_anew_moves_branch_and_pull_request(gate: Gate, forge: Forge) -> None:
    night = Night(gate)
    night.begin()
    name = night.ticket("Say more", {"MORE.md": "More.\n"})
    night.passed(name, "qa")
    night.passed(name, "security")
    bring(gate)
    first = pull_of(forge, name)
    old = first.head
    assert (first.draft, old) == (False, head_of(gate, name))

    with gate.project.store.begin() as tx:
        tickets.apply(tx, name, Event.SEND_BACK, actor="merger", reason="conflict", base=None, head=None)
    bring(gate, minutes=1)
    assert first.draft
    assert "waits to be worked" in first.body
    night.ticket("", {"MORE.md": "Much more.\n"}, ticket=name)
    night.passed(name, "qa")
    night.passed(name, "security")
    bring(gate, minutes=1)
    second = pull_of(forge, name)
    assert (second.number, second.draft) == (first.number, False)
    assert forge.branches()[f"nightcrew/{name}"] == head_of(gate, name) != old


def test_commit_of_somebody_else_on_our_branch_is_left_alone(gate: Gate, forge: Forge) -> None:
    bring(gate)
    theirs = forge.git(
        "-c", "user.name=Eve", "-c", "user.email=e@x", "commit-tree", "main^{tree}", "-p", "main", "-m", "Mine"
    )
    forge.git("update-ref", f"refs/heads/nightcrew/{GATED}", theirs)
    with gate.project.store.begin() as tx:
        again = head_of(gate, DONE)
        tickets.edit(tx, GATED, actor="test", changes={"head": again})
    found = bring(gate, minutes=1)
    assert any("somebody else" in problem for problem in found.problems), found
    assert forge.branches()[f"nightcrew/{GATED}"] == theirs
    forge.git("update-ref", "-d", f"refs/heads/nightcrew/{GATED}")
    assert not bring(gate, minutes=1).problems


def test_pull_request_that_a_person_closed_stays_closed(gate: Gate, forge: Forge) -> None:
    bring(gate)
    pull_of(forge, DONE).state = "closed"
    issue = imported(gate, forge)
    bring(gate, minutes=1)
    assert pull_of(forge, DONE).state == "closed"
    assert len(forge.pulls) == 2
    assert "nightcrew: done" in issue.labels


def test_findings_are_uploaded_without_their_evidence(gate: Gate, forge: Forge) -> None:
    settings(gate, forge, "code_scanning = true")
    forge.scans = False
    found = bring(gate)
    assert any("not enabled" in problem for problem in found.problems)
    forge.scans = True
    assert not bring(gate, minutes=1).problems, "what was refused is tried again"
    assert {upload["ref"] for upload in forge.uploads} == {f"refs/heads/nightcrew/{name}" for name in (DONE, GATED)}
    logs = [forge.sarif(number) for number in range(2)]
    [result] = [result for log in logs for run in log["runs"] for result in run["results"]]
    assert result["ruleId"] == "regression"
    assert BROKEN.evidence not in str(logs)


def test_dry_run_says_what_would_be_done_and_does_nothing(gate: Gate, forge: Forge) -> None:
    found = syncing.sync(gate.project, dry_run=True)
    kinds = {(one["subject"], one["kind"]) for one in found.waiting}
    assert (DONE, "push") in kinds
    assert (GATED, "pull") in kinds
    assert not forge.pulls
    assert {*forge.branches()} == {"main"}
    with gate.project.store.read() as tx:
        assert effects.waiting(tx) == []


def test_change_that_is_in_the_base_already_needs_no_pull_request(gate: Gate, forge: Forge) -> None:
    repo, env = gate.home / "repo", crew.environment(gate.home)
    crew.git(repo, "push", "-q", str(forge.git_dir), "nightcrew/integration:main", env=env)
    bring(gate)
    assert [one.branch for one in forge.pulls if isinstance(one, ForgePull)] == [f"nightcrew/{GATED}"]


def test_token_is_on_no_command_line_and_in_nothing_that_is_kept(
    gate: Gate, forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, log = shutil.which("git"), tmp_path / "argv"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    forge.fail(Fault(method="POST", path="/pulls", status=422, message=f"sent: Bearer {forge.token}"))
    bring(gate)
    packed = base64.b64encode(f"x-access-token:{forge.token}".encode())
    gate.reopen()
    kept = [path for path in gate.home.rglob("*") if path.is_file()]
    assert "push" in log.read_text()
    for path in [log, *kept]:
        data = path.read_bytes()
        assert forge.token.encode() not in data, path
        assert packed not in data, path


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% pwned", "--upload-pack=touch pwned", "http://example.com/x/y.git", "gopher://x/y", ""]
)
def test_address_that_runs_something_or_is_in_the_clear_is_not_pushed_to(gate: Gate, forge: Forge, url: str) -> None:
    crew.git(gate.home / "repo", "config", "remote.origin.url", url, env=crew.environment(gate.home))
    found = bring(gate)
    assert found.problems
    assert not (gate.home / "repo" / "pwned").exists()
    assert {*forge.branches()} == {"main"}


def test_token_goes_to_no_other_host(gate: Gate, forge: Forge) -> None:
    other = forge.remote.replace("127.0.0.1", "localhost")
    crew.git(gate.home / "repo", "config", "remote.origin.url", other, env=crew.environment(gate.home))
    found = bring(gate)
    assert found.problems
    assert not [one for one in forge.asked if one.path.endswith(".git/info/refs") and "Authorization" in one.headers]


def test_hooks_and_configuration_of_the_repository_do_not_run(gate: Gate, forge: Forge) -> None:
    repo = gate.home / "repo"
    hook = repo / ".git" / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\ntouch pwned\n")
    hook.chmod(0o755)
    for name in ("core.sshCommand", "credential.helper", "core.askPass", "remote.origin.receivepack"):
        crew.git(repo, "config", name, "touch pwned;", env=crew.environment(gate.home))
    assert not bring(gate).problems
    assert not (repo / "pwned").exists()


def test_shift_begins_and_ends_though_github_is_away(gate: Gate, forge: Forge) -> None:
    forge.fail(Fault(status=500, times=1000))
    [first] = syncing.begin(gate.project)
    assert "issues were not imported" in first
    assert syncing.end(gate.project)
    gate.later(minutes=60)
    with gate.project.store.read() as tx:
        shift = shifts.latest(tx)
        assert shift is not None
        lines = syncing.notes(tx, replace(shift, ended=None))
    assert any(line.startswith("GitHub: issues were not imported") for line in lines)


def test_doctor_says_what_the_token_may_and_whose_it_is(
    gate: Gate, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> dict[str, tuple[str, str]]:
        found = doctor.diagnose(gate.home / "repo")
        return {one.name: (one.status, one.detail) for one in found if one.name.startswith("github")}

    assert said() == {"github": ("ok", said()["github"][1])}
    assert "octo-org/hello.world" in said()["github"][1]
    reviewers.add_github(
        gate.project, "grace", "crew", repository=forge.repository, token_env="GITHUB_TOKEN", api=forge.url,
        passphrase=lambda _: "", by="ada", signer=gate.signers["ada"][0],
    )  # fmt: skip
    assert "grace's own account" in said()["github token"][1]
    forge.may_push = False
    assert said()["github"] == ("error", f"the token in GITHUB_TOKEN may read {forge.repository} and not write to it")
    monkeypatch.setenv("GITHUB_TOKEN", "wrong")
    assert "401" in said()["github"][1]


def test_rows_that_somebody_wrote_publish_nothing(gate: Gate, forge: Forge) -> None:
    issue = forge.issue("Ours", number=17)
    forge.scans = False
    settings(gate, forge, "code_scanning = true")
    bring(gate)
    runs, pulls = len(forge.runs), [(one.body, one.head) for one in forge.pulls if isinstance(one, ForgePull)]
    other = head_of(gate, GATED)
    database = gate.project.database_url.removeprefix("sqlite:///")
    gate.reopen()
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE tickets SET head = ?, state = 'ready' WHERE id = '{DONE}'", (other,))
        connection.execute(
            "INSERT INTO links VALUES (?, '17', ?, '', '{}', ?, ?)",
            (f"github:{forge.repository}", GATED, *["2026-01-01T00:00:00.000000Z"] * 2),
        )
        connection.execute("UPDATE effects SET doc = replace(doc, 'nightcrew/T', 'main/T') WHERE kind = 'sarif'")
    forge.scans = True
    found = bring(gate, minutes=1)
    assert any(f"{DONE}: the row of {DONE} is not what" in problem for problem in found.problems), found
    assert any("is not what the ledger says was planned" in problem for problem in found.problems)
    assert pulls == [(one.body, one.head) for one in forge.pulls if isinstance(one, ForgePull)]
    assert (len(forge.runs), forge.uploads, issue.comments, issue.labels) == (runs, [], {}, [])


def test_branches_go_to_a_folder_too(gate: Gate, forge: Forge) -> None:
    settings(gate, forge, f'remote = "{forge.git_dir}"')
    assert not bring(gate).problems
    assert forge.branches()[f"nightcrew/{DONE}"] == head_of(gate, DONE)
    assert not [one for one in forge.asked if one.method.startswith("git")]
