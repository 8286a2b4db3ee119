"""One damaged row, one huge change, one odd file name: the rest of the inbox is shown all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.gate import Gate, prepare

from nightcrew.web.app import create_app
from nightcrew.web.code import coloured
from nightcrew.web.diff import MAX_DIFF, parse

ORIGIN = "http://localhost:8377"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


@pytest.fixture
def client(gate: Gate) -> Iterator[TestClient]:
    app = create_app(gate.home / "repo", origin=ORIGIN, token="t" * 43)
    with TestClient(app, base_url=ORIGIN) as found:
        found.get(f"/enter?token={'t' * 43}", follow_redirects=False)
        yield found


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tickets SET title = '' WHERE id = 'T-0001'",
        "UPDATE tickets SET kind = 'no such' WHERE id = 'T-0001'",
        "DELETE FROM tickets WHERE id = 'T-0001'",
        "DELETE FROM findings",
        "UPDATE reviews SET handoff = 'H-999999' WHERE id = 'R-0001'",
        "UPDATE reviews SET severity = 'enormous' WHERE id = 'R-0001'",
        "UPDATE reviews SET subjects = 'no json' WHERE id = 'R-0001'",
        "UPDATE reviews SET ticket = 'T-9999' WHERE id = 'R-0001'",
    ],
)
def test_damaged_row_hides_no_other_review(gate: Gate, client: TestClient, damage: str) -> None:
    gate.review(title="Damaged")
    other = gate.review(title="Whole and waiting")
    with gate.project.store.begin() as tx:
        tx.connection.exec_driver_sql(damage)
    gate.reopen()
    answers = [client.get(path) for path in ("/", "/inbox", f"/reviews/{other.id}", "/api/reviews", "/tickets")]
    assert [answer.status_code for answer in answers] == [200] * 5, [answer.text[-300:] for answer in answers]
    assert all("Whole and waiting" in answer.text for answer in answers)
    assert client.get("/reviews/R-0001").status_code < 500


def test_what_of_a_huge_change_is_not_shown_is_said_in_full() -> None:
    patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,9 @@\n" + "+y\n" * (MAX_DIFF // 3)
    assert (
        parse(f"{patch}\n[... 57,000,000 more characters left out ...]").left_out
        == "57,000,000 more characters left out"
    )


@pytest.mark.parametrize("name", ["x.service", "x.ly", "x.ahk", "x.feature", "x.tf", "x.cr", "x.au3", "x.py", "x.md"])
@pytest.mark.parametrize("line", [" " * 1990, "a" * 1990, "\\" * 1990, "'" * 1990])
@pytest.mark.timeout(60)  # some lexers need minutes for this
def test_no_file_name_makes_the_colouring_slow(name: str, line: str) -> None:
    assert len(list(coloured([line] * 3, name))) == 3
