"""Whatever the backlog: the same one gives the same manifest, and nothing is planned before what it depends on."""

import random
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from nightcrew.crew.planner import plan
from nightcrew.model.budget import Budget
from nightcrew.model.errors import ApprovalError
from nightcrew.model.manifest import Manifest, parse, render
from nightcrew.model.ordering import Item
from nightcrew.model.playbook import Playbook
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority, State, Ticket

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def name_of(number: int) -> str:
    return f"T-{number:04d}"


@st.composite
def backlogs(draw: st.DrawFn) -> list[Item]:
    """Up to 30 tickets; dependencies may be missing, cyclic, or on oneself."""
    size = draw(st.integers(0, 30))
    return [
        Item(
            name_of(number),
            draw(st.sampled_from(Kind)),
            draw(st.sampled_from(Priority)),
            draw(st.none() | st.sampled_from(Severity)),
            draw(st.sampled_from(State)),
            tuple(draw(st.lists(st.integers(0, size + 1).map(name_of), max_size=3, unique=True))),
            f"2026-01-01T00:00:{draw(st.integers(0, 59)):02d}.000000Z",
            draw(st.booleans()),
        )
        for number in range(size)
    ]


def planned(items: list[Item], *, soft: int = 40, refused: frozenset[str] = frozenset()) -> Manifest:
    by_id = {item.id: item for item in items}

    def details(ticket: str) -> Ticket:
        item = by_id[ticket]
        return Ticket(id=ticket, title=ticket, kind=item.kind, priority=item.priority, created=CREATED)

    def approval(ticket: Ticket) -> str | None:
        if ticket.id in refused:
            raise ApprovalError("nobody signed")
        return None

    return plan(
        "build",
        items,
        budget=Budget(soft=soft, hard=60),
        playbook=Playbook(),
        playbook_digest="0" * 64,
        medians={},
        details=details,
        approval=approval,
    )


@given(backlogs(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_same_backlog_in_any_order_gives_the_same_bytes(items: list[Item], rng: random.Random) -> None:
    shuffled = list(items)
    rng.shuffle(shuffled)
    assert render(planned(items)) == render(planned(shuffled))


@given(backlogs())
@settings(max_examples=200, deadline=None)
def test_nothing_is_planned_before_what_it_depends_on(items: list[Item]) -> None:
    states = {item.id: item.state for item in items}
    needs = {item.id: item.depends_on for item in items}
    for line in planned(items, soft=60).tickets:
        assert states[line.ticket] is State.OPEN
        assert all(states.get(dependency) is State.DONE for dependency in needs[line.ticket])


@given(backlogs(), st.sets(st.integers(0, 30).map(name_of)))
@settings(max_examples=200, deadline=None)
def test_every_open_ticket_is_planned_or_has_a_reason(items: list[Item], refused: set[str]) -> None:
    manifest = planned(items, refused=frozenset(refused))
    lines = {line.ticket for line in manifest.tickets}
    left = {out["ticket"] for out in manifest.left_out}
    assert {item.id for item in items if item.state is State.OPEN} <= lines | left
    assert lines.isdisjoint(left | refused)
    assert all(out["reason"] for out in manifest.left_out)


@given(backlogs(), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_allotted_turns_fit_the_soft_cap(items: list[Item], soft: int) -> None:
    lines = planned(items, soft=soft).tickets
    assert len(lines) <= 1 or sum(line.turns for line in lines) <= soft


@given(backlogs())
@settings(max_examples=100, deadline=None)
def test_manifest_reads_back_as_it_was_written(items: list[Item]) -> None:
    data = render(planned(items))
    assert render(parse(data, source="manifest")) == data
