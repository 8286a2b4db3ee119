"""Which faults a game day has, and what is said of each."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from nightcrew.readiness.game_day.judging import Seen, seen, unaccounted
from nightcrew.readiness.game_day.timeline import KINDS, SLOT, Planned, drawn, slot_of, slots, whole_seed


def test_same_seed_draws_the_same_day_and_each_fault_comes_once_before_any_comes_again() -> None:
    day = drawn(7, 600, ["score", "explain"])
    assert day == drawn(7, 600, ["score", "explain"])
    assert day != drawn(8, 600, ["score", "explain"])
    assert len(day) == slots(600) == 74
    assert {one.kind for one in day[: len(KINDS)]} == set(KINDS)
    assert max(Counter(one.kind for one in day).values()) == 11
    assert all(later.at > one.end + SLOT / 4 for one, later in pairwise(day))
    assert {one.step for one in day} == {"score", "explain", ""}
    assert slots(6) == 1
    at_once, slow = whole_seed(7, 0.5), whole_seed(7, 6.0)
    assert (slot_of(at_once), slot_of(slow)) == (SLOT, 3 * SLOT)
    assert whole_seed(slow, 0.5) == slow, "the seed that a report names holds the same day, however fast it starts now"
    assert drawn(at_once, 60, ["score"]) == drawn(7, 60, ["score"])
    assert len(drawn(slow, 60, ["score"], slot_of(slow))) == 2


def judged(kind: str, *rows: tuple[float, int, str, int], began: float | None = None) -> Seen:
    """What is said of a fault from 2 s to 3 s at one record a second; rows are (time, position, state, attempts)."""
    fault = Planned(kind, "score", 2.0, 0.0 if kind == "kill-mid-step" else 1.0)
    events: list[dict[str, Any]] = [{"time": when, "rows": [list(row)]} for when, *row in rows]
    if began is not None:
        events.append({"time": began, "began": True})
    (found,) = seen([fault], sorted(events, key=lambda one: one["time"]), rate=1.0, steps=1, until=10.0)
    return found


CALM = (1.1, 2, "accepted", 1)
WELL = (5.0, 6, "accepted", 1)


def test_time_to_detect_and_to_recover_count_from_the_injection() -> None:
    found = judged("transient-storm", CALM, (2.5, 3, "accepted", 3), (3.5, 4, "waiting_retry", 3), WELL)
    assert (found.passed, found.detected, found.recovered) == (True, 0.5, 3.0)
    assert found.happened == "of the records that met it 1 waiting retry, 1 answered after more attempts"


def test_retry_of_an_earlier_fault_is_no_trouble_of_a_later_one() -> None:
    found = judged("rate-limit", CALM, (2.5, 3, "waiting_retry", 3), WELL, (9.0, 3, "accepted", 4))
    assert (found.passed, found.recovered) == (True, 3.0)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (judged("transient-storm", CALM, (2.5, 3, "quarantined", 3), WELL), "were given up, although"),
        (judged("permanent-error", CALM, (2.5, 3, "accepted", 1), WELL), "nothing was noticed"),
        (judged("slow-model", CALM, (3.5, 3, "accepted", 1), WELL), "has no timeout"),
        (judged("corrupt-record", CALM, (2.5, 3, "accepted", 1), WELL), "cut off were not quarantined"),
        (judged("rate-limit", CALM, (2.5, 3, "waiting_retry", 3)), "no record was well again"),
        (judged("store-unavailable", CALM), "no record was well again"),
        (judged("kill-mid-step", CALM), "was not taken up again"),
    ],
)
def test_fault_that_is_not_noticed_or_not_survived_fails_and_says_why(found: Seen, why: str) -> None:
    assert not found.passed
    assert why in found.happened


def test_killed_run_is_well_when_it_was_taken_up_and_went_on() -> None:
    found = judged("kill-mid-step", CALM, (6.0, 3, "accepted", 1), began=4.0)
    assert (found.passed, found.detected, found.recovered) == (True, 2.0, 4.0)


def test_records_that_are_lost_doubled_or_left_are_told() -> None:
    stored = {"outcomes": {"day@1": "accepted", "day@3": "waiting_retry"}, "double": ["day@1"], "problems": ["hash"]}
    assert unaccounted(stored, 3) == [
        "1 of 3 records have no outcome: they are lost",
        "1 records have two outcomes",
        "1 records still wait, although nothing is wrong any more",
        "hash",
    ]
