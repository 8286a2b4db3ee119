"""What the planner takes, in what order, and what it says of the rest; of a random backlog see the properties."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightcrew.crew.planner import plan
from nightcrew.model.budget import Budget
from nightcrew.model.errors import ApprovalError
from nightcrew.model.manifest import Manifest
from nightcrew.model.ordering import Item
from nightcrew.model.playbook import Gates, Playbook
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority, State, Ticket


def item(
    number: int,
    *needs: int,
    kind: Kind = Kind.BUG,
    priority: Priority = Priority.P2,
    severity: Severity | None = None,
    state: State = State.OPEN,
    created: int = 0,
    breaks_build: bool = False,
) -> Item:
    depends_on = tuple(f"T-{need:04d}" for need in needs)
    name = f"T-{number:04d}"
    return Item(name, kind, priority, severity, state, depends_on, f"2026-01-01T00:00:{created:02d}Z", breaks_build)


def planned(
    *items: Item,
    agent: str = "build",
    soft: int = 1000,
    hard: int = 1000,
    max_tickets: int = 20,
    refused: Mapping[str, str] | None = None,
    exclude: Mapping[str, str] | None = None,
    medians: Mapping[tuple[str, Kind], float] | None = None,
    playbook: Playbook | None = None,
) -> Manifest:
    by_id = {one.id: one for one in items}

    def details(name: str) -> Ticket:
        one = by_id[name]
        return Ticket(
            id=name, title=f"title of {name}", kind=one.kind, priority=one.priority, severity=one.severity,
            breaks_build=one.breaks_build, state=one.state, depends_on=one.depends_on,
            created=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip

    def approval(ticket: Ticket) -> str | None:
        if refused and ticket.id in refused:
            raise ApprovalError(refused[ticket.id])
        return "R-0001" if ticket.severity is Severity.HIGH else None

    return plan(
        agent,
        items,
        budget=Budget(soft=soft, hard=hard),
        playbook=playbook or Playbook(),
        playbook_digest="0" * 64,
        medians=medians or {},
        details=details,
        approval=approval,
        exclude=exclude,
        max_tickets=max_tickets,
    )


def lines(manifest: Manifest) -> list[str]:
    return [line.ticket for line in manifest.tickets]


def left(manifest: Manifest) -> dict[str, str]:
    return {out["ticket"]: out["reason"] for out in manifest.left_out}


def test_order_is_gated_then_priority_then_unblocking_then_age_then_number() -> None:
    manifest = planned(
        item(10),
        item(2),
        item(3, created=1),
        item(4, created=5),
        item(5, 4),
        item(6, priority=Priority.P1, created=9),
        item(7, priority=Priority.P3, severity=Severity.HIGH, created=9),
        item(8, priority=Priority.P2, breaks_build=True),
        item(9, priority=Priority.P0, severity=Severity.MEDIUM, created=9),
    )
    assert lines(manifest) == [f"T-{n:04d}" for n in (8, 7, 9, 6, 4, 2, 10, 3)]
    assert left(manifest) == {"T-0005": "waits for T-0004 (open)"}
    assert [line.unblocks for line in manifest.tickets] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert [line.approval for line in manifest.tickets][:3] == [None, "R-0001", None]


def test_a_gate_that_is_lowered_puts_what_it_gates_first() -> None:
    items = (item(1), item(2, severity=Severity.MEDIUM, priority=Priority.P3))
    assert lines(planned(*items)) == ["T-0001", "T-0002"]
    lowered = Playbook(gates=Gates(severity=Severity.MEDIUM))
    assert lines(planned(*items, playbook=lowered)) == ["T-0002", "T-0001"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.DONE, None),
        (State.OPEN, "waits for T-0001 (open)"),
        (State.BUILDING, "waits for T-0001 (building)"),
        (State.READY, "waits for T-0001 (ready)"),
        (State.IN_REVIEW, "waits for T-0001 (in_review)"),
        (State.REJECTED, "waits for T-0001 (rejected)"),
        (State.QUARANTINED, "waits for T-0001 (quarantined)"),
    ],
)
def test_a_ticket_waits_until_what_it_depends_on_is_done(state: State, reason: str | None) -> None:
    manifest = planned(item(1, state=state), item(2, 1))
    assert left(manifest).get("T-0002") == reason
    assert ("T-0002" in lines(manifest)) is (reason is None)


def test_what_is_not_open_says_why() -> None:
    items = (item(1, state=State.IN_REVIEW), item(2, state=State.QUARANTINED), item(3, state=State.IN_QA), item(4, 99))
    manifest = planned(*items)
    assert left(manifest) == {
        "T-0001": "waits for a person in the inbox",
        "T-0002": "in quarantine: see why with nightcrew ticket show, then release it",
        "T-0004": "depends on T-0099, which does not exist",
    }
    assert lines(planned(*items, agent="qa")) == ["T-0003"]


def test_cycles_are_named_and_what_waits_for_one_is_left_out() -> None:
    manifest = planned(
        item(1, 1),
        item(5, 3),
        item(4, 5),
        item(3, 4),
        item(6, 5),
        item(7, 6),
        item(8),
    )
    assert manifest.cycles == (("T-0001",), ("T-0003", "T-0004", "T-0005"))
    loop = "in a dependency cycle: T-0003 -> T-0004 -> T-0005 -> T-0003"
    assert left(manifest) == {
        "T-0001": "in a dependency cycle: T-0001 -> T-0001",
        "T-0003": loop,
        "T-0004": loop,
        "T-0005": loop,
        "T-0006": "waits for T-0005 (open)",
        "T-0007": "waits for T-0006 (open)",
    }
    assert lines(manifest) == ["T-0008"]


def test_of_two_overlapping_cycles_one_is_named_and_neither_is_planned() -> None:
    manifest = planned(item(1, 2), item(2, 1, 3), item(3, 2))
    assert manifest.cycles == (("T-0001", "T-0002"),)
    assert left(manifest)["T-0003"] == "waits for T-0002 (open)"
    assert lines(manifest) == []


def test_a_cycle_through_a_finished_ticket_is_none() -> None:
    assert planned(item(1, 2), item(2, 1, state=State.DONE)).cycles == ()


def test_many_cycles_are_named_in_linear_time() -> None:
    pairs = [(number, number + 1) for number in range(1, 40_000, 2)]
    items = [item(a, b) for a, b in pairs] + [item(b, a) for a, b in pairs]
    manifest = planned(*items)
    assert len(manifest.cycles) == len(pairs)
    assert manifest.cycles[0] == ("T-0001", "T-0002")


def test_a_long_chain_is_no_recursion() -> None:
    manifest = planned(*(item(number, number - 1) for number in range(1, 5000)), item(0))
    assert lines(manifest) == ["T-0000"]
    assert manifest.tickets[0].unblocks == 32


def test_soft_cap_leaves_out_what_does_not_fit_and_takes_what_does() -> None:
    items = (item(1, kind=Kind.FEATURE), item(2, kind=Kind.FEATURE), item(3, kind=Kind.CHORE), item(4, kind=Kind.CHORE))
    manifest = planned(*items, soft=16)
    assert [(line.ticket, line.turns) for line in manifest.tickets] == [("T-0001", 12), ("T-0003", 4)]
    assert left(manifest) == {
        "T-0002": "budget: 12 turns do not fit, 12 of 16 are allotted",
        "T-0004": "budget: all 16 turns are allotted",
    }


def test_one_ticket_may_take_more_than_the_soft_cap_never_more_than_the_hard_one() -> None:
    manifest = planned(item(1, kind=Kind.FEATURE), item(2), soft=5, hard=9)
    assert [(line.ticket, line.turns) for line in manifest.tickets] == [("T-0001", 9)]
    assert left(manifest) == {"T-0002": "budget: all 5 turns are allotted"}


def test_allotments_are_medians_of_the_past_rounded_up_and_capped() -> None:
    medians = {("build", Kind.BUG): 2.5, ("build", Kind.CHORE): 0.0, ("qa", Kind.BUG): 3.0, ("build", Kind.FEATURE): 99}
    items = (item(1), item(2, kind=Kind.CHORE), item(3, kind=Kind.SECURITY), item(4, kind=Kind.FEATURE))
    assert [line.turns for line in planned(*items, medians=medians, hard=50, soft=50).tickets] == [3, 1, 8]
    assert [line.turns for line in planned(item(4, kind=Kind.FEATURE), medians=medians, hard=50, soft=1).tickets] == [
        50
    ]
    waiting = (item(1, state=State.IN_QA), item(2, state=State.IN_QA, kind=Kind.CHORE))
    assert [line.turns for line in planned(*waiting, agent="qa", medians=medians).tickets] == [3, 0]


def test_a_check_without_a_model_takes_no_turns_and_any_number_of_tickets() -> None:
    manifest = planned(*(item(n, state=State.IN_SECURITY) for n in range(9)), agent="security", soft=1, hard=1)
    assert [line.turns for line in manifest.tickets] == [0] * 9


def test_max_tickets() -> None:
    manifest = planned(*(item(number) for number in range(4)), max_tickets=3)
    assert lines(manifest) == ["T-0000", "T-0001", "T-0002"]
    assert left(manifest) == {"T-0003": "the manifest has its 3 tickets"}


def test_what_is_not_admitted_is_left_out_with_the_reason_and_takes_no_room() -> None:
    items = (item(1, kind=Kind.FEATURE), item(2, kind=Kind.FEATURE), item(3))
    manifest = planned(*items, refused={"T-0001": "nobody signed"}, soft=12)
    assert lines(manifest) == ["T-0002"]
    assert left(manifest)["T-0001"] == "not admitted: nobody signed"


def test_exclusions_come_before_waiting_and_after_cycles() -> None:
    exclude = {"T-0001": "deferred in this shift", "T-0002": "mine", "T-0003": "mine", "T-0009": "unknown"}
    manifest = planned(item(1), item(2, 1), item(3, 3), exclude=exclude)
    assert left(manifest) == {
        "T-0001": "deferred in this shift",
        "T-0002": "mine",
        "T-0003": "in a dependency cycle: T-0003 -> T-0003",
    }


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from(Priority), st.booleans()), max_size=30),
    st.integers(1, 60),
    st.integers(0, 40),
    st.integers(1, 8),
    st.dictionaries(st.tuples(st.just("build"), st.sampled_from(Kind)), st.floats(0, 90)),
)
@settings(max_examples=200, deadline=None)
def test_caps_hold(
    wanted: list[tuple[Kind, Priority, bool]],
    soft: int,
    more: int,
    max_tickets: int,
    medians: dict[tuple[str, Kind], float],
) -> None:
    items = [item(n, kind=k, priority=p, breaks_build=b) for n, (k, p, b) in enumerate(wanted)]
    manifest = planned(*items, soft=soft, hard=soft + more, max_tickets=max_tickets, medians=medians)
    turns = [line.turns for line in manifest.tickets]
    assert len(turns) <= max_tickets
    assert all(1 <= each <= soft + more for each in turns)
    assert sum(turns) <= soft or len(turns) == 1
    assert bool(turns) is bool(items)
    assert {*lines(manifest), *left(manifest)} == {one.id for one in items}
