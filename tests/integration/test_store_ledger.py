"""The chain of the ledger against somebody who can write the database, and its replay to the tickets."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import text

from nightcrew.model.entry import Entry, broken, entry_hash
from nightcrew.model.errors import TransitionError
from nightcrew.model.ticket import APPROVING, Event, State, Ticket
from nightcrew.store import ledger, tickets
from nightcrew.store.store import Store

KEY = b"k" * 32
COUNT = 12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/nightcrew.db", seal_key=KEY)
    with opened.begin() as tx:
        for number in range(COUNT):
            ledger.append(tx, actor="ä", action="a.b", subject=f"x:{number % 2}", data={"n": number, "t": 'q"\n\x7f☃'})
    yield opened
    opened.close()


def verify(store: Store) -> list[tuple[int, str]]:
    with store.read() as tx:
        found = ledger.verify(tx)[1]
        assert found == list(broken(ledger.entries(tx), key=KEY))
    return found


def tamper(store: Store, statement: str) -> list[tuple[int, str]]:
    with store.begin() as tx:
        tx.connection.execute(text(statement))
    return verify(store)


def test_an_untouched_ledger_has_no_problem(store: Store) -> None:
    assert verify(store) == []
    with store.read() as tx:
        head = ledger.head(tx)
        assert head is not None
        assert ledger.genesis(tx) == next(ledger.entries(tx)).hash
        assert [entry.seq for entry in ledger.entries(tx, after=3, limit=2)] == [4, 5]
        assert [entry.seq for entry in ledger.entries(tx, subject="x:1")] == [2, 4, 6, 8, 10, 12]
        assert ledger.verify(tx, after=(head.seq, head.hash)) == (0, [])


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE ledger SET data = '{}' WHERE seq = 5", [5]),
        ("UPDATE ledger SET actor = 'me' WHERE seq = 1", [1]),
        ("UPDATE ledger SET at = at || 'x' WHERE seq = 12", [12]),
        ("UPDATE ledger SET seal = hash WHERE seq = 5", [5]),
        ("UPDATE ledger SET prev = seal WHERE seq = 5", [5, 5]),
        ("DELETE FROM ledger WHERE seq = 5", [6]),
        ("DELETE FROM ledger WHERE seq <= 2", [3]),
    ],
)
def test_a_change_in_the_middle_is_found(store: Store, statement: str, where: list[int]) -> None:
    assert [seq for seq, _ in tamper(store, statement)] == where


def test_a_chain_rebuilt_without_the_key_does_not_pass(store: Store) -> None:
    with store.begin() as tx:
        forged: list[Entry] = []
        for entry in ledger.entries(tx):
            prev = forged[-1].hash if forged else entry.prev
            content = (*entry[:4], entry.subject, '{"forged":1}' if entry.seq == 4 else entry.data, prev)
            forged.append(Entry(*content, entry_hash(*content), entry.seal))
        for entry in forged:
            tx.connection.execute(
                text("UPDATE ledger SET data = :data, prev = :prev, hash = :hash WHERE seq = :seq"), entry._asdict()
            )
    assert {problem for _, problem in verify(store)} == {"its seal is not nightcrew's"}
    assert [seq for seq, _ in verify(store)] == list(range(4, COUNT + 1))


def test_a_ledger_cut_short_shows_only_against_what_was_seen(store: Store) -> None:
    with store.read() as tx:
        seen = ledger.head(tx)
    assert seen is not None
    assert tamper(store, "DELETE FROM ledger WHERE seq > 8") == []
    with store.read() as tx:
        head = ledger.head(tx)
        assert head is not None
        assert head.seq < seen.seq
        assert ledger.verify(tx, after=(seen.seq, seen.hash))[1] == [
            (seen.seq, "it is not the entry that was seen before")
        ]


class LedgerReplay(RuleBasedStateMachine):
    """Whatever happens to tickets, the ledger alone tells the state and the digest of each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(f"sqlite:///{self.folder}/nightcrew.db", seal_key=KEY)
        self.made = 0

    @rule(state=st.sampled_from([State.OPEN, State.IN_REVIEW]), body=st.text(st.characters(codec="utf-8")))
    def add(self, state: State, body: str) -> None:
        with self.store.begin() as tx:
            tickets.add(tx, actor="me", title="x", state=state, body=body.replace("\0", ""))
        self.made += 1

    @rule(number=st.integers(0, 9), event=st.sampled_from(sorted(set(Event) - APPROVING)), fails=st.booleans())
    def happen(self, number: int, event: Event, fails: bool) -> None:
        if not self.made:
            return
        try:
            with self.store.begin() as tx:
                tickets.apply(tx, f"T-{number % self.made + 1:04d}", event, actor="crew", note=event.value)
                if fails:
                    raise TransitionError("the process dies before it commits")
        except TransitionError:
            pass

    @rule(number=st.integers(0, 9), priority=st.sampled_from(["P0", "P3"]))
    def edit(self, number: int, priority: str) -> None:
        if self.made:
            with self.store.begin() as tx:
                tickets.edit(tx, f"T-{number % self.made + 1:04d}", actor="me", changes={"priority": priority})

    @invariant()
    def the_ledger_replays_to_the_tickets(self) -> None:
        replayed: dict[str, tuple[str, str]] = {}
        with self.store.read() as tx:
            for entry in ledger.entries(tx):
                said = ledger.data(entry)
                name = entry.subject.removeprefix("ticket:")
                before = replayed.get(name, ("", ""))[0]
                assert said.get("from", before) == before
                replayed[name] = (said.get("to", before), said["digest"])
            found: list[Ticket] = tickets.all(tx)
            assert replayed == {ticket.id: (ticket.state.value, ticket.digest) for ticket in found}
            assert all(tickets.verify_row(tx, ticket.id) == ticket for ticket in found)
            assert ledger.verify(tx)[1] == []

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestLedgerReplay = LedgerReplay.TestCase
TestLedgerReplay.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
