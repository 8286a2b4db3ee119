"""What an agent's desk writes with its next transaction, on a real store."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightcrew.brains import Spent
from nightcrew.crew import backlog
from nightcrew.crew.desk import Desk
from nightcrew.crew.project import Project, load_project
from nightcrew.crew.setup import initialise
from nightcrew.crew.tasks import DeskJournal, DeskTurns
from nightcrew.model.budget import Budget
from nightcrew.model.errors import BudgetError, TransientError
from nightcrew.store import journal, sessions, shifts, turns


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "a.txt").write_text("a\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", *identity, *words], cwd=repo, check=True)
    initialise(repo)
    opened = load_project(repo)
    yield opened
    opened.close()


@pytest.fixture
def desk(project: Project) -> Desk:
    ticket = backlog.add(project, title="Think")
    budget = Budget(soft=2, hard=3)
    with project.store.begin() as tx:
        shift = shifts.start(tx, agents=["build"])
        session = sessions.create(
            tx, shift=shift.id, agent="build", manifest="M-0", budget=budget, brain="it", tickets=[ticket.id]
        )
        sessions.start(tx, session)
    return Desk(project, session, "build", shift.id, ticket, None, budget, project.work_dir / "place")


def kept(desk: Desk, key: str) -> Any:
    with desk.project.store.read() as tx:
        return journal.get(tx, desk.session, desk.ticket.id, key)


def test_what_is_kept_soon_is_there_with_the_next_charge(desk: Desk) -> None:
    notes, budget = DeskJournal(desk), DeskTurns(desk)
    budget.charge("one")
    notes.put_soon("tool 1", "a result")
    budget.spent("one", Spent(10, 2, 0.5))
    assert kept(desk, "tool 1") is None
    budget.charge("two")
    assert kept(desk, "tool 1") == "a result"
    with desk.project.store.read() as tx:
        assert turns.usage(tx, desk.session) == (10, 2, 500_000)


def test_store_that_is_busy_for_a_moment_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = DeskJournal(desk)
    notes.put_soon("tool 1", "a result")

    def busy() -> None:
        raise TransientError("the database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(desk.project.store, "begin", busy)
        with pytest.raises(TransientError):
            desk.flush()
    desk.flush()
    assert kept(desk, "tool 1") == "a result"


def test_charge_that_is_refused_loses_nothing(desk: Desk) -> None:
    notes, budget = DeskJournal(desk), DeskTurns(desk)
    for name in "abc":
        budget.charge(name)
    notes.put_soon("tool 1", "a result")
    with pytest.raises(BudgetError):
        budget.charge("d")
    desk.flush()
    assert kept(desk, "tool 1") == "a result"
    assert budget.left() == (0, 0)


def test_write_that_fails_by_itself_does_not_stop_those_after_it(desk: Desk) -> None:
    def broken(_tx: object) -> None:
        raise OverflowError("a figure that no database holds")

    desk.soon(broken)
    with pytest.raises(OverflowError):
        desk.flush()
    DeskTurns(desk).charge("one")
    assert desk.used == 1
