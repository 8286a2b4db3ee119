"""The repositories of the store, on real SQLite and real Postgres."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nightcrew.model.budget import Budget
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import (
    ApprovalError,
    BudgetError,
    BusyError,
    ConfigurationError,
    DocumentError,
    IntegrityError,
    NotFoundError,
    PolicyError,
    TransitionError,
)
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import Handoff, HandoffKind
from nightcrew.model.manifest import manifest_id
from nightcrew.model.record import SessionRecord
from nightcrew.model.review import Decision, Review, ReviewState
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Event, Kind, State
from nightcrew.store import (
    audit,
    effects,
    findings,
    handoffs,
    ids,
    ledger,
    locks,
    manifests,
    quarantine,
    records,
    reviews,
    sessions,
    shifts,
    tickets,
    turns,
)
from nightcrew.store.migrations.upgrade import differences
from nightcrew.store.store import Store

KEY = b"k" * 32
START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/nightcrew.db"
    server, name = request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex[:12]}"
    server.psql(f"create database {name};")
    return str(server.get_uri(database=name))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    opened = Store(url, seal_key=KEY, clock=clock)
    yield opened
    opened.close()


def execute(store: Store, statement: str, **values: Any) -> None:
    """What somebody who can write the database does."""
    with store.begin() as tx:
        tx.connection.execute(text(statement), values)


def handoff(name: str = "H-000001", **fields: Any) -> Handoff:
    return Handoff(
        **{
            "id": name, "from": "build", "to": "qa", "ticket": "T-0001", "session": "S-0001", "kind": HandoffKind.WORK,
            "created": START, "done": "Work.\n## Next\nnot a heading", **fields,
        }
    )  # fmt: skip


def review(name: str = "R-0001", **fields: Any) -> Review:
    return Review(
        **{
            "id": name, "ticket": "T-0001", "reason": "high", "severity": Severity.HIGH, "confidence": 0.7,
            "subjects": ({"name": "ticket", "digest": {"sha256": "0" * 64}},), "subject_digest": "1" * 64,
            "on_approve": Event.APPROVE_WORK, "created": START, "deadline": START + timedelta(days=1), **fields,
        }
    )  # fmt: skip


def finding(letter: str = "a", **fields: Any) -> Finding:
    return Finding(
        **{
            "fingerprint": letter * 32, "tool": "ruff", "rule": "E1", "category": Category.LINT,
            "severity": Severity.LOW, "message": "m", **fields,
        }
    )  # fmt: skip


def test_the_tables_are_those_that_the_migrations_make(store: Store) -> None:
    with store.begin() as tx:
        tx.connection.execute(text("CREATE TABLE workflow_status (id TEXT)"))  # another library's
        assert differences(tx.connection) == []


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    store = Store(url, seal_key=KEY)
    execute(store, "UPDATE nightcrew_migrations SET version_num = '9999'")
    execute(store, "UPDATE meta SET value = '9999'")
    store.close()
    with pytest.raises(ConfigurationError, match="9999"):
        Store(url, seal_key=KEY)


def test_opening_again_keeps_what_is_there_and_does_not_load_alembic(url: str, tmp_path: Path) -> None:
    store = Store(url, seal_key=KEY)
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x")
    store.close()
    code = (
        "import sys; from nightcrew.store.store import Store; from nightcrew.store import tickets\n"
        f"with Store({url!r}, seal_key=b'').read() as tx: assert tickets.get(tx, 'T-0001').title == 'x'\n"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_that_is_missing_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Store(f"sqlite:///{tmp_path}/none/x.db", seal_key=KEY)
    (tmp_path / "x.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(IntegrityError):
        Store(f"sqlite:///{tmp_path}/x.db", seal_key=KEY)


def test_an_exception_rolls_back_the_row_and_its_entry(store: Store) -> None:
    def fail() -> None:
        with store.begin() as tx:
            tickets.add(tx, actor="me", title="x")
            raise FileNotFoundError("mine, not the database's")

    with pytest.raises(FileNotFoundError):
        fail()
    with store.read() as tx:
        assert ledger.head(tx) is None
        assert tickets.all(tx) == []


def test_a_read_sees_one_moment(store: Store) -> None:
    with store.read() as tx:
        assert tickets.all(tx) == []
        with store.begin() as other:
            tickets.add(other, actor="me", title="x")
        assert tickets.all(tx) == []
        assert ledger.head(tx) is None


def test_a_ticket_goes_through_its_states_and_each_step_is_in_the_ledger(store: Store) -> None:
    with store.begin() as tx:
        added = tickets.add(tx, actor="me", title=" Ä title ", depends_on=["T-0009", 'a","b'], kind=Kind.BUG)
        assert tickets.get(tx, added.id) == added
        tickets.apply(tx, added.id, Event.START, actor="build")
        done = tickets.apply(
            tx, added.id, Event.SUBMIT, actor="build", reason="finished", head="1" * 40, findings=["x"]
        )
        assert (done.state, done.head, done.findings) == (State.IN_QA, "1" * 40, ("x",))
        assert tickets.verify_row(tx, added.id) == done
        entries = list(ledger.entries(tx, subject="ticket:T-0001"))
    assert [entry.action for entry in entries] == ["ticket.add", "ticket.start", "ticket.submit"]
    assert ledger.data(entries[-1]) == {"from": "building", "to": "in_qa", "reason": "finished", "digest": done.digest}
    with store.read() as tx:
        (row,) = tickets.candidates(tx)
        assert row.depends_on == added.depends_on
        assert (row.state, row.kind) == (State.IN_QA, Kind.BUG)
        assert tickets.count(tx) == {State.IN_QA: 1}


def test_what_cannot_happen_to_a_ticket_does_not(store: Store) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x")
        before = ledger.head(tx)
        with pytest.raises(TransitionError):
            tickets.apply(tx, "T-0001", Event.MERGE, actor="agent")
        with pytest.raises(NotFoundError):
            tickets.apply(tx, "T-0002", Event.START, actor="agent")
        with pytest.raises(DocumentError):
            tickets.apply(tx, "T-0001", Event.START, actor="agent", state="ready")
        with pytest.raises(DocumentError):
            tickets.edit(tx, "T-0001", actor="agent", changes={"state": "ready"})
        with pytest.raises(DocumentError):
            tickets.edit(tx, "T-0001", actor="agent", changes={"title": "a\0b"})
        with pytest.raises(DocumentError):
            tickets.apply(tx, "T-0001", Event.START, actor="agent", reason="\ud800")
        with pytest.raises(PolicyError):
            tickets.add(tx, actor="agent", title="x", state=State.READY)
        assert ledger.head(tx) == before
        assert tickets.edit(tx, "T-0001", actor="me", changes={"priority": "P0"}).priority == "P0"
        tickets.verify_row(tx, "T-0001")


def test_an_approving_event_needs_a_review_that_was_approved_for_it(store: Store) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x", state=State.IN_REVIEW)
        with pytest.raises(PolicyError):
            tickets.apply(tx, "T-0001", Event.APPROVE_WORK, actor="agent")
        proof: dict[str, Any] = {"review": "R-0001", "envelopes_sha256": [sha256_hex(b"{}")]}
        with pytest.raises(ApprovalError):
            tickets.apply_approved(tx, "T-0001", Event.APPROVE_WORK, actor="agent", **proof)
        reviews.add(tx, review())
        reviews.sign(tx, ["R-0001"], decision=Decision.APPROVE, reviewer="ann", comment="", envelope="{}", nonce="n")
        with pytest.raises(ApprovalError):  # signed, and not yet by enough people
            tickets.apply_approved(tx, "T-0001", Event.APPROVE_WORK, actor="agent", **proof)
        reviews.settle(tx, "R-0001", Decision.APPROVE, reviewer="ann", comment="")
        others = {**proof, "envelopes_sha256": ["0" * 64]}
        for event, bad in ((Event.APPROVE_CHANGE, proof), (Event.APPROVE_WORK, others)):
            with pytest.raises(ApprovalError):
                tickets.apply_approved(tx, "T-0001", event, actor="agent", **bad)
        with pytest.raises(PolicyError):
            tickets.apply_approved(tx, "T-0001", Event.REJECT, actor="agent", **proof)
        opened = tickets.apply_approved(tx, "T-0001", Event.APPROVE_WORK, actor="ann", **proof)
        assert opened.state is State.OPEN
        entry = ledger.latest_for(tx, "ticket:T-0001")
        assert entry is not None
        assert ledger.data(entry)["review"] == "R-0001"


def test_ids_count_up_past_their_width_and_past_chosen_ones(store: Store) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x", id="T-9999")
        assert tickets.add(tx, actor="me", title="y").id == "T-10000"
        assert [ticket.id for ticket in tickets.all(tx)] == ["T-9999", "T-10000"]
        assert [ticket.id for ticket in tickets.all(tx, limit=1, offset=1)] == ["T-10000"]
        assert [ids.next_id(tx, "H", width=6) for _ in range(2)] == ["H-000001", "H-000002"]
        with pytest.raises(PolicyError):
            tickets.add(tx, actor="me", title="z", id="T-9999")


def test_a_manifest_is_written_once(store: Store) -> None:
    with store.begin() as tx:
        first, second = manifests.put(tx, "build", b"a: 1\n"), manifests.put(tx, "build", b"a: 1\n")
        assert first == second == manifest_id(b"a: 1\n")
        assert len(list(ledger.entries(tx))) == 1
        assert manifests.get(tx, first) == ("build", b"a: 1\n")
    execute(store, "UPDATE manifests SET body = :body", body=b"a: 2\n")
    with store.read() as tx, pytest.raises(IntegrityError):
        manifests.get(tx, first)


def test_a_shift_runs_stops_and_ends(store: Store, clock: Clock) -> None:
    with store.begin() as tx:
        shift = shifts.start(tx, agents=["build", "qa"], brain="mechanical", deadline=START + timedelta(hours=6))
        assert shift == shifts.current(tx)
        assert shift.deadline == START + timedelta(hours=6)
        with pytest.raises(BusyError, match=r"N-0001.*2026-03-01 02:00"):
            shifts.start(tx, agents=["build"])
        assert shifts.request_stop(tx, shift.id) is True
        assert shifts.request_stop(tx, shift.id) is False
        assert shifts.stop_requested(tx, shift.id)
        clock.forward(hours=1)
        ended = shifts.end(tx, shift.id, outcome="stopped", report={"turns": 3})
        assert (ended.ended, ended.report, shifts.current(tx)) == (clock.now, {"turns": 3}, None)
        with pytest.raises(TransitionError):
            shifts.end(tx, shift.id, outcome="done")
        later = shifts.start(tx, agents=["build"])
        assert shifts.latest(tx) == later
        assert [each.id for each in shifts.list(tx)] == ["N-0002", "N-0001"]


def make_session(store: Store, *names: str) -> str:
    with store.begin() as tx:
        return sessions.create(
            tx, shift=None, agent="build", manifest="M-1", budget=Budget(soft=2, hard=3), brain=None, tickets=names
        )


def test_a_session_keeps_the_order_and_the_outcome_of_its_tickets(store: Store) -> None:
    name = make_session(store, "T-0002", "T-0001")
    with store.begin() as tx:
        sessions.start(tx, name)
        sessions.start(tx, name)  # resumed
        before = ledger.head(tx)
        sessions.set_ticket_now(tx, name, "T-0002")
        assert ledger.head(tx) == before
        sessions.set_ticket_outcome(tx, name, "T-0002", "submitted", handoff="H-000001")
        with pytest.raises(NotFoundError):
            sessions.set_ticket_outcome(tx, name, "T-0003", "submitted")
        ended = sessions.end(tx, name, outcome="done", note="n")
        assert sessions.end(tx, name, outcome="done") == ended
        with pytest.raises(TransitionError):
            sessions.end(tx, name, outcome="failed")
        with pytest.raises(TransitionError):
            sessions.start(tx, name)
        assert [(each.ticket, each.outcome) for each in ended.tickets] == [("T-0002", "submitted"), ("T-0001", None)]
        assert sessions.list(tx) == [ended]
        assert sessions.list(tx, shift="N-0001") == []
        actions = [entry.action for entry in ledger.entries(tx)]
    assert actions == ["session.create", "session.start", "session.ticket", "session.end"]


def test_a_turn_is_charged_once_and_never_past_the_cap(store: Store) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x", kind=Kind.BUG)
    name = make_session(store, "T-0001")
    with store.begin() as tx:
        assert [turns.charge(tx, name, key, "T-0001", 3) for key in ("a", "b", "a", "c", "b")] == [1, 2, 2, 3, 3]
        with pytest.raises(BudgetError):
            turns.charge(tx, name, "d", "T-0001", 3)
        assert turns.charge(tx, name, "a", "T-0001", 3) == 3
        assert turns.used(tx, name) == turns.used_for(tx, name, "T-0001") == 3
        assert turns.medians(tx) == {}
        sessions.end(tx, name, outcome="done")
        assert turns.medians(tx) == {("build", Kind.BUG): 3}


CHARGE_UNTIL_REFUSED = """
import sys
from nightcrew.model.errors import BudgetError
from nightcrew.store import turns
from nightcrew.store.store import Store
url, session, who, hard = sys.argv[1:]
store = Store(url, seal_key=b"k" * 32)
for number in range(int(hard)):
    try:
        with store.begin() as tx:
            turns.charge(tx, session, f"{who}/{number}", None, int(hard))
    except BudgetError:
        break
"""


def test_two_processes_cannot_charge_past_the_cap(store: Store, url: str) -> None:
    name, hard = make_session(store), 40
    command = [sys.executable, "-c", CHARGE_UNTIL_REFUSED, url, name]
    workers = [subprocess.Popen([*command, str(who), str(hard)]) for who in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    with store.read() as tx:
        assert turns.used(tx, name) == hard
        assert ledger.verify(tx) == (hard + 1, [])


def test_a_serialisable_transaction_that_came_second_is_told_to_try_again(store: Store) -> None:
    """What the durable engine does: it looks, then binds a transaction of ours to its own."""
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    serialisable = store.engine.execution_options(isolation_level="SERIALIZABLE")
    with serialisable.connect() as connection:
        connection.execute(text("SELECT count(*) FROM ledger"))
        with store.begin() as tx:
            tickets.add(tx, actor="me", title="x")
        with pytest.raises(Exception, match="could not serialize") as caught:
            store.bind(connection)
    assert caught.value.orig.sqlstate == "40001"  # type: ignore[attr-defined]


def test_a_bound_transaction_is_committed_by_its_owner(store: Store) -> None:
    with store.engine.connect() as connection:
        tickets.add(store.bind(connection), actor="me", title="x")
        connection.rollback()
        tickets.add(store.bind(connection), actor="me", title="y")
        connection.commit()
    with store.read() as tx:
        assert [ticket.title for ticket in tickets.all(tx)] == ["y"]
        assert ledger.verify(tx) == (1, [])


def test_a_handoff_is_immutable(store: Store) -> None:
    with store.begin() as tx:
        digest = handoffs.put(tx, handoff())
        assert handoffs.put(tx, handoff()) == digest
        with pytest.raises(IntegrityError):
            handoffs.put(tx, handoff(done="something else"))
        read, body = handoffs.get(tx, "H-000001")
        assert read == handoff()
        assert handoffs.sha256(body) == digest
        assert ids.next_id(tx, "H", width=6) == "H-000002"
        assert [each.id for each in handoffs.list(tx, desk="qa", unrouted=True)] == ["H-000001"]
        handoffs.mark_routed(tx, "H-000001")
        handoffs.mark_routed(tx, "H-000001")
        assert handoffs.list(tx, unrouted=True) == []
        assert handoffs.list(tx, ticket="T-0002") == []
        assert [entry.action for entry in ledger.entries(tx)] == ["handoff.write", "handoff.route"]


def test_changed_bytes_of_a_handoff_are_noticed(store: Store) -> None:
    with store.begin() as tx:
        handoffs.put(tx, handoff())
        body = handoffs.get(tx, "H-000001")[1].replace(b"Work.", b"Evil.")
    execute(store, "UPDATE handoffs SET body = :body", body=body)
    with store.read() as tx, pytest.raises(IntegrityError):
        handoffs.get(tx, "H-000001")
    execute(store, "UPDATE handoffs SET sha256 = :sha", sha=sha256_hex(body))
    with store.read() as tx:
        handoffs.get(tx, "H-000001")
        with pytest.raises(IntegrityError):
            handoffs.verify(tx, "H-000001")
        assert [subject for subject, _ in audit.problems(tx)] == ["handoff:H-000001"]


def test_a_finding_is_new_once_and_its_severity_only_rises(store: Store) -> None:
    with store.begin() as tx:
        assert findings.record(tx, finding(), ticket="T-0001")
        assert not findings.record(tx, finding(severity=Severity.HIGH))
        assert not findings.record(tx, finding(severity=Severity.INFO))
        known = findings.find(tx, "a" * 32)
        assert known is not None
        assert (known.finding.severity, known.ticket) == (Severity.HIGH, "T-0001")
        findings.set_state(tx, "a" * 32, "false_positive", actor="ann", reason="it is not")
        findings.record(tx, finding())
        assert findings.known(tx, ["a" * 32, "b" * 32]) == {"a" * 32: "false_positive"}
        findings.set_state(tx, "a" * 32, findings.FindingState.FIXED, actor="qa")
        findings.record(tx, finding())
        assert findings.known(tx, ["a" * 32]) == {"a" * 32: "open"}
        assert len(findings.list(tx, states=[findings.FindingState.OPEN], ticket="T-0001")) == 1


def test_a_review_is_decided_once_and_a_nonce_counts_once(store: Store) -> None:
    with store.begin() as tx:
        for name in ("R-0001", "R-0002"):
            assert reviews.add(tx, review(name)) == review(name)
        reviews.add(tx, review())
        with pytest.raises(IntegrityError):
            reviews.add(tx, review(subject_digest="2" * 64))
        assert reviews.escalate(tx, "R-0001", assigned="bob", reason="late").state is ReviewState.ESCALATED
        said: dict[str, Any] = {
            "decision": Decision.APPROVE,
            "reviewer": "ann",
            "comment": "",
            "envelope": '{"a":1}',
            "nonce": "n1",
        }
        reviews.sign(tx, ["R-0001"], **said)
        assert reviews.get(tx, "R-0001").state is ReviewState.ESCALATED
        ended = reviews.settle(tx, "R-0001", Decision.APPROVE, reviewer="ann", comment="")
        assert ended.state is ReviewState.APPROVED
        with pytest.raises(TransitionError):
            reviews.sign(tx, ["R-0001"], **{**said, "nonce": "n2"})
        with pytest.raises(ApprovalError, match="R-0001"):
            reviews.sign(tx, ["R-0002"], **said)
        assert reviews.nonce_user(tx, "n1") == "R-0001"
        assert reviews.nonce_user(tx, "n2") is None
        assert [(r.id, e) for r, e in reviews.approved(tx, "T-0001")] == [("R-0001", ['{"a":1}'])]
        reviews.void(tx, "R-0001", reason="a new push")
        assert reviews.approved(tx, "T-0001") == []
        with pytest.raises(TransitionError):
            reviews.void(tx, "R-0001", reason="again")
        assert [each.id for each in reviews.list(tx, states=[ReviewState.PENDING])] == ["R-0002"]


def test_records_are_kept_once_with_their_words_tickets_and_files(store: Store) -> None:
    with store.begin() as tx:
        for number, title in enumerate(("Parser rewritten", "Cache for 'users'", "Parsing of parsers")):
            records.put(
                tx,
                SessionRecord(
                    session=f"S-000{number}", agent="build", title=title, summary="done\0", tickets=("T-0001",),
                    files=("src/main_parts.py", "\0"), created=START + timedelta(hours=number),
                ),
            )  # fmt: skip
        assert {hit.session for hit in records.hits(tx, "parser", total=3)[0]} >= {"S-0000", "S-0002"}
        assert records.hits(tx, "zebra", total=3)[0] == []
        late = START + timedelta(hours=1)
        assert {hit.session for hit in records.hits(tx, "main", total=3, since=late)[0]} == {"S-0001", "S-0002"}
        assert records.linked(tx, "file", ["src/main_parts.py", "other"], since=late) == {
            "src/main_parts.py": {"S-0001", "S-0002"}
        }
        assert [one.session for one in records.list(tx, since=late)] == ["S-0002", "S-0001"]
        changed = records.list(tx)[0].model_copy(update={"title": "Zebra", "tickets": ()})
        records.put(tx, changed)
        records.put(tx, changed)
        assert [hit.session for hit in records.hits(tx, "zebra", total=3)[0]] == ["S-0002"]
        assert records.linked(tx, "ticket", ["T-0001"]) == {"T-0001": {"S-0000", "S-0001"}}
        assert records.get(tx, "S-0002") == changed
        assert records.count(tx) == 3
        assert len(list(ledger.entries(tx))) == 4


def test_a_lock_is_held_by_one_until_its_lease_is_over(store: Store, clock: Clock) -> None:
    with store.begin() as tx:
        locks.acquire(tx, "shift", "one", 60)
        with pytest.raises(BusyError, match=r"one \(process \d+ on .*\) holds shift since 2026-03-01 02:00:00 UTC"):
            locks.acquire(tx, "shift", "two", 60)
        clock.forward(seconds=50)
        locks.renew(tx, "shift", "one", 60)
        clock.forward(seconds=50)
        with pytest.raises(BusyError):
            locks.acquire(tx, "shift", "two", 60)
        clock.forward(seconds=11)
        locks.acquire(tx, "shift", "two", 60)
        with pytest.raises(BusyError):
            locks.renew(tx, "shift", "one", 60)
        assert locks.release(tx, "shift", "one") is False
        assert locks.release(tx, "shift", "two") is True


def test_who_has_patience_gets_the_lock_when_the_holder_ends(store: Store) -> None:
    held, end = threading.Event(), threading.Event()

    def first() -> None:
        with locks.held(store, "run:p", hint=""):
            held.set()
            end.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(10)
    with pytest.raises(BusyError, match="holds run:p") as refused, locks.held(store, "run:p", hint="Wait."):
        pass
    assert refused.value.hint == "Wait."
    threading.Timer(0.3, end.set).start()
    with locks.held(store, "run:p", hint="", patience_seconds=30):
        assert end.is_set()
    thread.join()
    with store.read() as tx:
        assert locks.find(tx, "run:p") is None


def test_the_lock_of_a_dead_process_is_taken_over_at_once(store: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with store.begin() as tx:
        locks.acquire(tx, "shift", "one", 3600)
        tx.connection.execute(text("UPDATE locks SET pid = :pid"), {"pid": process.pid})
        assert locks.acquire(tx, "shift", "two", 60).holder == "two"
        tx.connection.execute(text("UPDATE locks SET pid = :pid, host = 'elsewhere'"), {"pid": process.pid})
        with pytest.raises(BusyError, match="elsewhere"):
            locks.acquire(tx, "shift", "three", 60)


def test_what_is_quarantined_waits_for_a_person(store: Store) -> None:
    with store.begin() as tx:
        name = quarantine.add(tx, what="handoff:H-000001", reason="not UTF-8", body=b"\xff")
        assert [each.body for each in quarantine.list(tx)] == [b"\xff"]
        assert quarantine.release(tx, name, actor="ann").state == "released"
        with pytest.raises(TransitionError):
            quarantine.discard(tx, name, actor="ann")
        assert quarantine.list(tx) == []
        assert len(quarantine.list(tx, state=None)) == 1
        assert audit.counts(tx)["quarantine"] == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tickets SET title = 'other'",
        "UPDATE tickets SET state = 'ready'",
        "UPDATE tickets SET severity = NULL",
        "UPDATE tickets SET depends_on = '{'",
        "UPDATE tickets SET created = 'never'",
        "UPDATE tickets SET entry = 1",
        "DELETE FROM ledger",
        "UPDATE ledger SET data = '{}'",
        "UPDATE ledger SET data = 'x'",
        "UPDATE ledger SET seal = hash",
        "UPDATE ledger SET subject = 'ticket:T-0002' WHERE seq = 2",
    ],
)
def test_a_changed_row_or_entry_is_noticed(store: Store, statement: str) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x", severity=Severity.HIGH)
        tickets.apply(tx, "T-0001", Event.START, actor="build")
        tickets.verify_row(tx, "T-0001")
    execute(store, statement)
    with store.read() as tx:
        with pytest.raises(IntegrityError):
            tickets.verify_row(tx, "T-0001")
        assert "ticket:T-0001" in {subject for subject, _ in audit.problems(tx)}


def test_a_deleted_row_is_noticed_by_the_audit(store: Store) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x")
    execute(store, "DELETE FROM tickets")
    with store.read() as tx:
        assert list(audit.problems(tx)) == [("ticket:T-0001", "the ledger knows it and its row is gone")]


def test_an_attacker_without_the_key_cannot_rewrite_row_and_ledger(store: Store, url: str) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x", state=State.IN_REVIEW, severity=Severity.CRITICAL)
    forger = Store(url, seal_key=b"not the key")  # the very code, but not the key
    forger._is_ours = True  # and without its scruples
    with forger.begin() as tx:
        tickets.edit(tx, "T-0001", actor="me", changes={"severity": None})
    forger.close()
    with store.read() as tx:
        with pytest.raises(IntegrityError, match="seal"):
            tickets.verify_row(tx, "T-0001")
        assert ledger.verify(tx) == (2, [(2, "its seal is not nightcrew's")])


def test_another_configuration_directory_may_read_the_state_and_adds_nothing_to_its_ledger(
    store: Store, url: str
) -> None:
    with store.begin() as tx:
        tickets.add(tx, actor="me", title="x")
    elsewhere = Store(url, seal_key=b"k of another home")
    with elsewhere.read() as tx:
        assert tickets.get(tx, "T-0001").title == "x"
    with pytest.raises(IntegrityError, match="begun with another configuration directory"), elsewhere.begin() as tx:
        tickets.add(tx, actor="me", title="y")
    with pytest.raises(IntegrityError):
        elsewhere.require_ours()
    elsewhere.close()
    store.require_ours()
    with store.read() as tx:
        assert ledger.verify(tx) == (1, [])


def test_rows_swapped_with_their_entries_kept_are_noticed(store: Store) -> None:
    with store.begin() as tx:
        for title in ("harmless", "gated"):
            tickets.add(tx, actor="me", title=title)
    execute(store, "DELETE FROM tickets WHERE id = 'T-0002'")
    execute(store, "UPDATE tickets SET id = 'T-0002'")
    with store.read() as tx, pytest.raises(IntegrityError):
        tickets.verify_row(tx, "T-0002")


def test_effect_is_planned_once_replaced_while_undone_and_wanted_anew_after_another(store: Store, clock: Clock) -> None:
    def plan(said: str) -> bool:
        with store.begin() as tx:
            return effects.plan(tx, kind="pull", subject="T-0001", doc={"title": said})

    assert [plan("a"), plan("a"), plan("b")] == [True, False, True]
    with store.begin() as tx:
        [due] = effects.due(tx)
        assert (due.doc, due.attempts) == ({"title": "b"}, 0)
        effects.fail(tx, due, "busy", next_at=tx.now() + timedelta(minutes=1))
        assert effects.due(tx) == []
    clock.forward(minutes=1)
    with store.begin() as tx:
        [due] = effects.due(tx)
        effects.finish(tx, due, {"number": 7})
        assert effects.waiting(tx) == []
    assert [plan("b"), plan("a")] == [False, True], "what was wanted before is wanted anew"
    with store.begin() as tx:
        [again] = effects.due(tx)
        effects.fail(tx, again, "refused", next_at=None)
        assert (effects.due(tx), effects.try_again(tx), len(effects.due(tx))) == ([], 1, 1)
        done = effects.latest_done(tx, "pull", "T-0001")
        assert done is not None
        assert (done.result, done.doc) == ({"number": 7}, {})
        assert ledger.verify(tx)[1] == []
