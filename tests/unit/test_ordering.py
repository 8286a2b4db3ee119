"""Cycles are named, all of them, whatever else they hang on; what waits for a ticket is counted up to a cap."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nightcrew.model.ordering import UNBLOCKS_CAP, Item, cycles, survey, unblocks
from nightcrew.model.ticket import Kind, Priority, State


def backlog(edges: dict[int, list[int]]) -> dict[str, Item]:
    return {
        name(number): Item(
            name(number), Kind.BUG, Priority.P2, None, State.OPEN, tuple(map(name, needs)), "2026-01-01", False
        )
        for number, needs in edges.items()
    }


def name(number: int) -> str:
    return f"T-{number:04d}"


def named(edges: dict[int, list[int]]) -> tuple[tuple[str, ...], ...]:
    items = backlog(edges)
    return cycles(survey(list(items.values())))


def reaches(edges: dict[int, list[int]], start: int) -> set[int]:
    seen: set[int] = set()
    queue = list(edges[start])
    while queue:
        number = queue.pop()
        if number in edges and number not in seen:
            seen.add(number)
            queue.extend(edges[number])
    return seen


def test_self_dependency_is_a_cycle_of_one() -> None:
    assert named({1: [1], 2: [1]}) == ((name(1),),)


def test_cycle_begins_at_its_smallest_id() -> None:
    assert named({3: [1], 1: [2], 2: [3]}) == ((name(1), name(2), name(3)),)


def test_cycle_that_waits_for_another_cycle_is_named_too() -> None:
    assert named({1: [2], 2: [1], 3: [4, 1], 4: [3]}) == ((name(1), name(2)), (name(3), name(4)))


def test_many_cycles_and_a_long_one_are_found_without_recursion() -> None:
    size = 5_000
    assert len(named({number: [number ^ 1] for number in range(size)})) == size // 2
    assert len(named({number: [(number + 1) % size] for number in range(size)})[0]) == size


def test_done_ticket_breaks_a_cycle() -> None:
    items = backlog({1: [2], 2: [1]})
    items[name(2)] = items[name(2)]._replace(state=State.DONE)
    assert cycles(survey(list(items.values()))) == ()


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    size = draw(st.integers(0, 12))
    return {number: draw(st.lists(st.integers(0, size), max_size=3)) for number in range(size)}


@given(graphs())
@settings(max_examples=300, deadline=None)
def test_every_knot_has_one_named_cycle_and_each_named_one_is_real(edges: dict[int, list[int]]) -> None:
    items = backlog(edges)
    found = named(edges)
    for path in found:
        assert path[0] == min(path)
        for ticket, needed in zip(path, (*path[1:], path[0]), strict=True):
            assert needed in items[ticket].depends_on
    knots = {frozenset(m for m in reaches(edges, n) if n in reaches(edges, m)) for n in edges if n in reaches(edges, n)}
    assert len(found) == len(knots)
    for knot in knots:
        assert sum({int(ticket[2:]) for ticket in path} <= knot for path in found) == 1


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_unblocks_counts_exactly_below_the_cap(edges: dict[int, list[int]]) -> None:
    found = survey(list(backlog(edges).values()))
    for number in edges:
        assert unblocks(name(number), found) == len(
            {other for other in edges if number in reaches(edges, other)} - {number}
        )


def test_unblocks_stops_at_its_cap() -> None:
    items = backlog({0: [], **{number: [number - 1] for number in range(1, 200)}})
    assert unblocks(name(0), survey(list(items.values()))) == UNBLOCKS_CAP


def test_numbers_far_apart_need_no_huge_table() -> None:
    items = list(backlog({3: [], 4: [3], 10**15: [4, 5]}).values())
    found = survey(items)
    assert unblocks(name(3), found) == 2
    assert found.blocked == {
        name(4): "waits for T-0003 (open)",
        name(10**15): "waits for T-0004 (open)",
    }


def test_a_dependency_beyond_all_tickets_does_not_exist() -> None:
    found = survey(list(backlog({1: [10**9]}).values()))
    assert found.blocked == {"T-0001": "depends on T-1000000000, which does not exist"}
