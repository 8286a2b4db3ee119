"""A finding is fixed when a merged change is proven to have mended it, and open again when it is found again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gate import Gate, prepare
from tests.night import Night

from nightcrew.checks.located import Hit, locate
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import Check
from nightcrew.model.severity import Severity
from nightcrew.store import findings, ledger, tickets
from nightcrew.store.findings import FindingState

BEFORE = "one = eval('1')\ntwo = eval('2')\nthree = 3\n"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


@pytest.fixture
def night(gate: Gate) -> Night:
    """A night whose first change brings in a file with two findings."""
    night = Night(gate)
    night.begin()
    night.merged(passed(night, night.ticket("Write it", {"odd.py": BEFORE})))
    return night


def passed(night: Night, ticket: str) -> str:
    night.passed(ticket, "qa")
    night.passed(ticket, "security")
    return ticket


def found(home: Path, *lines: int, category: Category = Category.SECURITY) -> list[Finding]:
    """What a scanner says of these lines of the file as it was before."""
    home.mkdir(exist_ok=True)
    (home / "odd.py").write_text(BEFORE)
    hits = [Hit("bandit", "B307", category, Severity.LOW, "eval", "odd.py", line) for line in lines]
    return locate(hits, home)


def filed(gate: Gate, listed: list[Finding]) -> str:
    with gate.project.store.begin() as tx:
        names = [one.fingerprint for one in listed]
        ticket = tickets.add(tx, actor="security", title="2 x eval", origin="baseline", findings=names)
        for one in listed:
            findings.record(tx, one, ticket=ticket.id)
        return ticket.id


def states(gate: Gate, listed: list[Finding]) -> list[FindingState]:
    with gate.project.store.read() as tx:
        return [findings.known(tx, [one.fingerprint])[one.fingerprint] for one in listed]


def test_what_is_gone_from_its_file_is_fixed_and_what_is_still_there_is_not(gate: Gate, night: Night) -> None:
    listed = found(gate.home / "scan", 1, 2)
    ticket = filed(gate, listed)
    night.ticket("Mend one", {"odd.py": BEFORE.replace("eval('1')", "1")}, ticket=ticket)
    assert states(gate, listed) == [FindingState.OPEN, FindingState.OPEN]
    night.merged(passed(night, ticket))
    assert states(gate, listed) == [FindingState.FIXED, FindingState.OPEN]
    with gate.project.store.read() as tx:
        assert findings.is_said(tx, listed[0].fingerprint, FindingState.FIXED)
        (said,) = [one for one in ledger.entries(tx) if one.action == "finding.state"]
    assert (said.actor, ledger.data(said)["reason"][:10]) == ("merger", "merged as ")


def test_a_secret_that_was_taken_out_of_the_code_is_not_mended(gate: Gate, night: Night) -> None:
    listed = found(gate.home / "scan", 1, category=Category.SECRET)
    ticket = filed(gate, listed)
    night.ticket("Take it out", {"odd.py": "three = 3\n"}, ticket=ticket)
    night.merged(passed(night, ticket))
    assert states(gate, listed) == [FindingState.OPEN]


@pytest.mark.parametrize("status", ["passed", "not_checked"])
def test_what_a_desk_reported_is_fixed_only_if_it_looked_again_at_everything(
    gate: Gate, night: Night, status: str
) -> None:
    reported = [found(gate.home / "scan", 1)[0].model_copy(update={"line": None})]
    ticket = night.ticket("Another", {"new.py": "one = 1\n"})
    night.failed(ticket, *reported)
    night.ticket("Another", {"new.py": "one = 2\n"}, ticket=ticket)
    night.passed(ticket, "qa", Check(name="tests", status=status))
    night.passed(ticket, "security")
    night.merged(ticket)
    assert states(gate, reported) == [FindingState.FIXED if status == "passed" else FindingState.OPEN]


def test_what_is_found_again_is_open_and_belongs_to_who_found_it(gate: Gate, night: Night) -> None:
    listed = found(gate.home / "scan", 1)
    ticket = filed(gate, listed)
    night.ticket("Mend it", {"odd.py": "three = 3\n"}, ticket=ticket)
    night.merged(passed(night, ticket))
    assert states(gate, listed) == [FindingState.FIXED]
    again = filed(gate, listed)
    with gate.project.store.read() as tx:
        known = findings.find(tx, listed[0].fingerprint)
        assert known is not None
        assert (known.state, known.ticket) == (FindingState.OPEN, again)
        assert not findings.is_said(tx, listed[0].fingerprint, FindingState.FIXED)
