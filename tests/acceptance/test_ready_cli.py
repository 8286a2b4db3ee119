"""``nightcrew ready`` as it is typed: status, JSON, files, reports that are checked and that expire."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli


def test_the_crew_of_a_repository_and_its_report(project: "Cli") -> None:
    done = project("ready", "--json", "--report", "r.md", "--html", "r.html", "--badge", "b.svg")
    assert done.status == 1
    found = done.json()
    status = {one["box"]: one["status"] for one in found["boxes"]}
    assert status["reviews"] == "missing", "nobody may decide yet"
    assert status["retries"] == "not_applicable", "a mechanical brain calls nothing"
    assert status["inputs"] == status["state"] == "configured"
    assert found["written"] == ["r.md", "r.html", "b.svg"]
    for name in ("r.md", "r.html"):
        assert project("ready", "--verify", name).status == 0
    (project.folder / "nightcrew.toml").write_text("[limits]\nmax_tickets = 3\n")
    expired = project("ready", "--verify", "r.md", "--json")
    assert (expired.status, {one.partition(",")[0] for one in expired.json()["changed"]}) == (1, {"nightcrew.toml"})
    text = (project.folder / "r.md").read_text()
    (project.folder / "r.md").write_text(text.replace("missing", "proven"))
    forged = project("ready", "--verify", "r.md", "--json")
    assert (forged.status, forged.error()["code"]) == (3, "NC-INTEGRITY")
    assert project("ready", "--public-key", "key.pem").status == 0
    known = project("ready", "--verify", "r.html", "--key", "key.pem", "--json")
    assert (known.status, known.json()["genuine"], known.json()["compared"]) == (1, True, False)
    entries = json.loads(project("audit", "show", "--json", "--subject", "readiness:crew").out)
    assert len(entries) == 2
    assert project("audit", "verify").status == 0


def test_the_ledger_of_a_pipeline_is_audited_where_there_is_no_crew(cli: "Cli") -> None:
    (cli.folder / "app.py").write_text("import nightcrew as nc\n\nleads = nc.Pipeline('leads')\n")
    assert cli("ready", "app.py:leads", "--report", "r.md").status == 1
    assert cli("audit", "verify").status == 0
    [entry] = cli("audit", "show", "--entry", "2", "--json").json()
    assert (entry["action"], entry["subject"]) == ("readiness.report", "readiness:pipeline:app.py:leads")
    assert cli("audit", "show", "--entry", "3").status != 0


def test_what_is_no_target_is_said(cli: "Cli") -> None:
    for target in ("nothing.py", "nothing.py:app", "what is this"):
        done = cli("ready", target, "--json")
        assert done.status == 2
        assert done.error()["code"] == "NC-USAGE"
    (cli.folder / "plain.py").write_text("import nightcrew as nc\n\n\ndef main():\n    pass\n")
    done = cli("drill", "--all", "--target", "plain.py", "--json")
    assert (done.status, done.error()["code"], done.out) == (2, "NC-USAGE", "")
    assert "plain code is read, never run" in done.error()["message"]
    done = cli("drill", "--all", "--target", "plain.py:main")
    assert (done.status, done.out) == (2, ""), "it is said before the first copy is made"
    assert "a function, not a Pipeline, named main" in done.err
    (cli.folder / "r.md").write_text("# nothing\n")
    assert cli("ready", "--verify", "r.md").status == 3
