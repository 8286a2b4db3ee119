"""The queue of records for LoreConvo, on real SQLite and real Postgres."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightcrew.model.errors import NotFoundError
from nightcrew.model.record import SessionRecord
from nightcrew.store import ledger, memory_sync, records
from nightcrew.store.store import Store, Tx

START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/nightcrew.db"
    if request.param == "postgres":
        server, name = request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex[:12]}"
        server.psql(f"create database {name};")
        url = str(server.get_uri(database=name))
    opened = Store(url, seal_key=b"k" * 32, clock=clock)
    yield opened
    opened.close()


def put(tx: Tx, *numbers: int, title: str = "A session") -> list[str]:
    names = [f"S-{number:04d}" for number in numbers]
    for number, name in zip(numbers, names, strict=True):
        created = START + timedelta(minutes=number)
        records.put(tx, SessionRecord(session=name, agent="build", title=title, summary="Done.", created=created))
    return names


def queue(tx: Tx, session: str, project: str = "repo") -> bool:
    return memory_sync.queue(tx, session, remote=f"r-{session}", project=project)


def due(tx: Tx) -> list[str]:
    return [one.session for one in memory_sync.due(tx, limit=100)]


def test_the_queue_keeps_its_rules(store: Store, clock: Clock) -> None:
    with store.begin() as tx:
        names = put(tx, 3, 1, 2)
        assert memory_sync.recorded(tx) == ["S-0001", "S-0002", "S-0003"]
        assert all(queue(tx, name) for name in names)
        assert not queue(tx, "S-0001"), "it is queued once"
        with pytest.raises(NotFoundError):
            queue(tx, "S-0009")
        assert due(tx) == ["S-0001", "S-0002", "S-0003"], "the oldest first"
        digests = {one.session: one.sha256 for one in memory_sync.list(tx)}

        memory_sync.took(tx, {"S-0001": digests["S-0001"]})
        assert memory_sync.counts(tx) == {"waiting": 2, "down": 0, "full": 0, "refused": 0, "sent": 1}
        put(tx, 1, title="Another")
        assert queue(tx, "S-0001"), "what changed is sent again"
        memory_sync.took(tx, {"S-0001": digests["S-0001"]})
        assert due(tx)[0] == "S-0001", "what was sent is not what is there now"

        memory_sync.postpone(tx, ["S-0002"], "full", problem="no room", again=tx.now() + timedelta(days=1))
        assert due(tx) == ["S-0001"], "what it has already, it takes; nothing new"
        memory_sync.postpone(tx, ["S-0003"], "down", problem="gone", again=tx.now() + timedelta(minutes=1))
        assert memory_sync.paused(tx)
        assert due(tx) == [], "it is left alone"
    clock.now += timedelta(minutes=1)
    with store.begin() as tx:
        assert not memory_sync.paused(tx)
        assert due(tx) == ["S-0001"], "it answers again, and is full"
        memory_sync.refused(tx, "S-0001", problem="no", again=None)
        assert due(tx) == [], "it waits for a person"
        assert memory_sync.counts(tx)["refused"] == 1
        memory_sync.at_once(tx)
        assert due(tx) == ["S-0001", "S-0002", "S-0003"]
        assert [(one.attempts, one.problem) for one in memory_sync.list(tx)] == [
            (1, "no"), (1, "no room"), (1, "gone"),
        ]  # fmt: skip
        memory_sync.postpone(tx, ["S-0001", "S-0002"], "down", problem="", again=tx.now(), broke_at="S-0001")
        assert due(tx) == ["S-0003", "S-0002", "S-0001"], "what it broke off at comes last"
        written = [entry.action for entry in ledger.entries(tx) if entry.action.startswith("memory.")]
        assert written.count("memory.queue") == 4
        assert queue(tx, "S-0003", project="renamed"), "of a project with another name it is another record"
        assert {"memory.send", "memory.wait", "memory.refuse", "memory.hurry"} < set(written)
