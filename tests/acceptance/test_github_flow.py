"""An issue on GitHub becomes a pull request with its handoffs and verdicts, though GitHub fails in the middle."""

from pathlib import Path

import pytest
from tests.acceptance.conftest import Cli
from tests.acceptance.test_brains import SOURCE, TESTS, brain, by_tools, configure
from tests.forge_server import ForgePull, forge_server
from tests.github_server import Fault
from tests.model_server import model_server

PHRASE = "correct horse battery staple"


@pytest.mark.timeout(250)
def test_issue_goes_through_review_build_qa_and_security_and_becomes_a_pull_request(
    project: Cli, tmp_path: Path
) -> None:
    (project.home / "phrase").write_text(PHRASE)
    (project.home / "phrase").chmod(0o600)
    project.more["NIGHTCREW_PASSPHRASE_FILE"] = str(project.home / "phrase")
    assert project("reviewer", "add", "ada", "--passphrase").status == 0
    with forge_server(tmp_path / "github") as forge, model_server(script=by_tools) as model:
        project.git("push", "--quiet", str(forge.git_dir), "main")
        project.git("remote", "add", "origin", forge.remote)
        configure(project, f'[agents.build]\nbrains = ["it"]\n{brain("model", model.url)}')
        configure(project, f'[github]\nrepository = "{forge.repository}"\napi = "{forge.url}"')
        settings = project.folder / "nightcrew.toml"  # the other scanners are tested elsewhere
        settings.write_text(settings.read_text().replace("[checks]", '[checks]\nlint = false\nscanners = ["bandit"]'))
        issue = forge.issue(
            "Add triple, fixes #1", "nightcrew", "severity: high", body="With a test. Closes #1", number=17
        )
        forge.issue("Not for the crew", "question", number=18)

        project.more["GITHUB_TOKEN"] = forge.token

        # The issue is brought in, and waits for a person; GitHub is cut off while it is said so.
        forge.fail(Fault(method="GET", path="/issues", status=500))
        forge.fail(Fault(method="POST", path="/comments", how="reset", done=True))
        assert project("sync").status == 1
        [waits] = project("inbox", "--json").json()
        assert waits["ticket"] == "T-0001"
        assert (len(issue.comments), forge.pulls) == (1, [])

        # A person approves, and the night builds and checks it; GitHub limits the rate in the middle.
        assert project("inbox", "approve", waits["id"]).status == 0
        limit = {"Retry-After": "3600"}
        forge.fail(Fault(method="POST", path="/pulls", status=403, headers=limit, message="secondary rate limit"))
        report = project("shift", "--json").json()
        assert [merged["title"] for merged in report["merged"]] == ["Add triple, fixes #1"], report
        assert any(note.startswith("GitHub: ") and "rate limit" in note for note in report["notes"]), report["notes"]
        assert not forge.pulls
        assert forge.branches()["nightcrew/T-0001"] == report["merged"][0]["head"]

        wind(project)
        forge.fail(Fault(method="POST", path="/pulls", how="cut"))
        forge.fail(Fault(method="POST", path="/check-runs", status=500))
        assert project("sync").status == 1
        wind(project)
        done = project("sync", "--json")
        assert done.json()["waiting"] == [], done.out

        [pull] = forge.pulls
        assert isinstance(pull, ForgePull)
        assert (pull.title, pull.base, pull.draft) == ("Add triple, fixes #\u200b1 (T-0001)", "main", False)
        assert pull.head == report["merged"][0]["head"]
        assert "Closes #17" in pull.body
        assert "Closes #1\n" not in pull.body
        for said in (
            "Wrote triple and its test.",
            "| `qa` | **verdict** | **passed** |",
            "| `security` | **verdict** |",
        ):
            assert said in pull.body
        assert forge.git("show", f"{pull.head}:src/sums/triple.py") == SOURCE.strip()
        assert "#1" not in project.git("log", "--all", "--format=%B"), "a commit closes issues too"
        assert forge.git("show", f"{pull.head}:tests/test_triple.py") == TESTS.strip()
        runs = sorted((run["name"], run["conclusion"], run["head_sha"]) for run in forge.runs)
        assert runs == [("nightcrew/qa", "success", pull.head), ("nightcrew/security", "success", pull.head)]
        [comment] = issue.comments.values()
        assert f"/pull/{pull.number}" in comment
        assert issue.labels == ["nightcrew", "severity: high", "nightcrew: done"]


def wind(project: Cli) -> None:
    """The hour passes that GitHub asked to wait."""
    import sqlite3

    with sqlite3.connect(project.folder / ".nightcrew" / "nightcrew.db") as database:
        database.execute("UPDATE effects SET next_at = '2026-01-01T00:00:00.000000Z' WHERE next_at IS NOT NULL")
