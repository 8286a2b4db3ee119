"""A shift whose own step fails is ended as failed: its tickets are safe, and the next night begins anew."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.gate import Gate, prepare

from nightcrew.crew import backlog
from nightcrew.crew.night import run_shift
from nightcrew.engine import WorkflowFailed
from nightcrew.model.ticket import State
from nightcrew.store import alerts, sessions, shifts, tickets

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


def test_the_shift_after_one_that_broke_begins_anew(gate: Gate) -> None:
    gate.now += timedelta(seconds=30)  # What is measured at the very end of a window belongs to the next one.
    project = gate.project
    ticket = backlog.add(project, title="Say hello", command="echo hello > hello.txt").id
    manifests = project.state_dir / "manifests"
    manifests.write_text("a file where a folder has to be")
    with pytest.raises(WorkflowFailed, match="write"):
        run_shift(project)

    with project.store.read() as tx:
        [broken] = shifts.list(tx)
        assert (broken.state, broken.outcome) == ("ended", "failed")
        assert shifts.current(tx) is None
        assert {(one.state, one.outcome) for one in sessions.list(tx, shift=broken.id)} == {("ended", "failed")}
        assert "shift-failed" in {one.rule for one in alerts.list(tx)}
        assert tickets.get(tx, ticket).state is State.OPEN

    manifests.unlink()
    report = run_shift(project)
    with project.store.read() as tx:
        assert [one.outcome for one in shifts.list(tx)] == ["quiet", "failed"]
        assert tickets.get(tx, ticket).state is not State.OPEN
    assert report.shift != broken.id
