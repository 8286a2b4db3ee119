"""The state machine with the rules around it, explored whole: every path of every ticket, gated or not."""

from collections import deque
from typing import NamedTuple

import pytest

from nightcrew.model.errors import TransitionError
from nightcrew.model.ticket import APPROVING, ENDED, TRANSITIONS, Event, State, next_state


class Position(NamedTuple):
    """A ticket as the rules see it: ``approved`` stands for a signature over it as it is now."""

    state: State
    gated: bool
    approved: bool


def step(at: Position, event: Event) -> Position | None:
    """What ``event`` makes of the ticket; None if the table or a rule refuses it.

    The rules: an approving event is a signature. A gated ticket is only started, and its change only merged, with one.
    A release takes back what was decided. The gate may close on any ticket.
    """
    try:
        to = next_state(at.state, event)
    except TransitionError:
        return None
    if event in (Event.START, Event.MERGE) and at.gated and not at.approved:
        return None
    approved = event in APPROVING or (at.approved and event not in (Event.GATE, Event.RELEASE))
    return Position(to, at.gated or event is Event.GATE, approved)


def explore(start: Position, *, forbidden: frozenset[Event] = frozenset()) -> dict[Position, tuple[Event, ...]]:
    """Every position that can be come to, with the shortest way there."""
    ways: dict[Position, tuple[Event, ...]] = {start: ()}
    queue = deque([start])
    while queue:
        at = queue.popleft()
        for event in Event:
            to = None if event in forbidden else step(at, event)
            if to is not None and to not in ways:
                ways[to] = (*ways[at], event)
                queue.append(to)
    return ways


@pytest.mark.parametrize("start", [State.OPEN, State.IN_REVIEW])
def test_no_way_of_a_gated_ticket_to_work_or_done_without_a_signature(start: State) -> None:
    ways = explore(Position(start, gated=True, approved=False), forbidden=APPROVING)
    assert {at.state for at in ways} == {State.OPEN, State.IN_REVIEW, State.REJECTED, State.QUARANTINED}


@pytest.mark.parametrize("start", [State.OPEN, State.IN_REVIEW])
def test_every_way_of_a_gated_ticket_to_work_or_done_holds_a_signature_after_its_last_gate(start: State) -> None:
    ways = explore(Position(start, gated=True, approved=False))
    worked = {at: way for at, way in ways.items() if at.state in (State.BUILDING, State.DONE)}
    assert {at.state for at in worked} == {State.BUILDING, State.DONE}
    for at, way in worked.items():
        gates = [number for number, event in enumerate(way) if event in (Event.GATE, Event.RELEASE)]
        assert APPROVING.intersection(way[gates[-1] + 1 if gates else 0 :]), (at, way)


def test_once_the_gate_has_closed_on_a_ticket_it_is_not_merged_without_a_signature() -> None:
    begun = explore(Position(State.OPEN, gated=False, approved=False), forbidden=APPROVING)
    closed = [at for at in begun if at.gated]
    assert {at.state for at in closed} == {State.IN_REVIEW, State.OPEN, State.REJECTED, State.QUARANTINED}
    assert not any(at.state is State.DONE for at in closed)


def test_an_ungated_ticket_is_done_only_by_way_of_both_checks() -> None:
    ways = explore(Position(State.OPEN, gated=False, approved=False), forbidden=APPROVING)
    done = next(way for at, way in ways.items() if at.state is State.DONE)
    assert done == (Event.START, Event.SUBMIT, Event.PASS_QA, Event.PASS_SECURITY, Event.MERGE)
    for check in (Event.PASS_QA, Event.PASS_SECURITY):
        without = explore(Position(State.OPEN, gated=False, approved=False), forbidden=APPROVING | {check})
        assert not any(at.state is State.DONE for at in without)


def test_every_state_is_reached_and_every_event_happens() -> None:
    assert {at.state for at in explore(Position(State.OPEN, gated=False, approved=False))} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_ended_states_have_no_way_out_but_the_release_of_a_rejected_one() -> None:
    out = {(state, event) for state, event in TRANSITIONS if state in ENDED}
    assert out == {(State.REJECTED, Event.RELEASE)}


def test_from_every_state_but_done_a_person_can_bring_it_back_to_open() -> None:
    for state in set(State) - {State.DONE}:
        ways = explore(Position(state, gated=True, approved=False))
        assert any(at.state is State.OPEN for at in ways), state


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_the_table_does_not_hold_is_refused_by_name(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(TransitionError, match=f"^T-0007 is {state}: {event} cannot happen to it$"):
            next_state(state, event, ticket="T-0007")


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.IN_REVIEW, Event.START] = State.BUILDING  # type: ignore[index]
