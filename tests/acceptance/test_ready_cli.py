"""``nightcrew ready`` as it is typed: status, JSON, files, reports that are checked and that expire."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_prototype_is_read_and_its_lines_are_named(cli: "Cli") -> None:
    shutil.copy(EXAMPLES / "reports" / "prototype.py", cli.folder)
    done = cli("ready", "prototype.py")
    assert done.status == 1
    lines = (cli.folder / "prototype.py").read_text().splitlines()
    number = next(index for index, line in enumerate(lines, 1) if "messages.create" in line)
    assert f"prototype.py:{number}: anthropic" in done.out
    assert "code:prototype.py: 8 missing." in done.out
    assert sorted(path.name for path in cli.folder.iterdir()) == ["prototype.py"], "it leaves nothing behind"


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
    assert (expired.status, expired.json()["changed"]) == (1, ["nightcrew.toml changed"])
    text = (project.folder / "r.md").read_text()
    (project.folder / "r.md").write_text(text.replace("missing", "proven"))
    forged = project("ready", "--verify", "r.md", "--json")
    assert (forged.status, forged.error()["code"]) == (3, "NC-INTEGRITY")
    entries = json.loads(project("audit", "show", "--json", "--subject", "readiness:crew").out)
    assert len(entries) == 2
    assert project("audit", "verify").status == 0


def test_what_is_no_target_is_said(cli: "Cli") -> None:
    for target in ("nothing.py", "nothing.py:app", "what is this"):
        done = cli("ready", target, "--json")
        assert done.status == 2
        assert done.error()["code"] == "NC-USAGE"
    (cli.folder / "r.md").write_text("# nothing\n")
    assert cli("ready", "--verify", "r.md").status == 3
