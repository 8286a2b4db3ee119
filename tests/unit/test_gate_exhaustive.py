"""The state machine explored whole: no way from a gated ticket to being worked or merged without a signature."""

from collections import deque

from nightcrew.model.ticket import APPROVING, TRANSITIONS, Event, State

HUMAN_ONLY = {Event.RELEASE}


def reachable(start: State, *, forbidden: frozenset[Event]) -> set[State]:
    seen, queue = {start}, deque([start])
    while queue:
        state = queue.popleft()
        for (source, event), target in TRANSITIONS.items():
            if source is state and event not in forbidden and target not in seen:
                seen.add(target)
                queue.append(target)
    return seen


def test_without_a_signature_nothing_in_review_is_worked_or_merged() -> None:
    # A released ticket that is gated goes through GATE again in the same transaction; planner and merger verify anew.
    without = reachable(State.IN_REVIEW, forbidden=APPROVING | HUMAN_ONLY)
    assert without == {State.IN_REVIEW, State.REJECTED, State.QUARANTINED}


def test_every_way_out_of_review_that_goes_on_is_an_approval() -> None:
    ways = {event for (source, event), target in TRANSITIONS.items() if source is State.IN_REVIEW}
    assert ways == APPROVING | {Event.REJECT, Event.QUARANTINE}


def test_only_a_ready_ticket_is_merged_and_only_security_or_a_signature_makes_it_ready() -> None:
    assert {source for (source, _), target in TRANSITIONS.items() if target is State.DONE} == {State.READY}
    assert {event for (_, event), target in TRANSITIONS.items() if target is State.READY} == {
        Event.PASS_SECURITY,
        Event.APPROVE_CHANGE,
    }


def test_every_state_can_be_reached_and_done_is_final() -> None:
    assert reachable(State.OPEN, forbidden=frozenset()) == set(State)
    assert not [event for (source, event) in TRANSITIONS if source is State.DONE]
