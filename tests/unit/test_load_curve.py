"""The rates that a load test goes through, and the rule by which one holds."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from nightcrew.readiness.load.curve import Climb, Plan, Step, knee, why_no_more

CALM = Step(
    rate=10, seconds=5, arrived=50, stored=50, unserved=0, throughput=10, p50=0.1, p95=0.2, p99=0.3, slowest=0.3,
    work=0.01, growth=0.0, states={"accepted": 50},
)  # fmt: skip


def climbed(plan: Plan, holds: Callable[[float], bool]) -> list[Step]:
    """What is tried of a pipeline that holds what ``holds`` says."""
    climb, steps, rate = Climb(plan, 0.25), [], plan.rate
    found: float | None = rate
    while found is not None:
        step = replace(CALM, rate=found, throughput=found, unserved=0 if holds(found) else 9)
        step = replace(step, why_not=climb.judge(step))
        step = replace(step, held=not step.why_not)
        steps.append(step)
        found = climb.next(step)
    return steps


def test_rate_doubles_until_it_no_longer_holds_and_the_knee_is_narrowed_down() -> None:
    steps = climbed(Plan(rate=10, refine=2), lambda rate: rate <= 100)
    assert [step.rate for step in steps] == [10, 20, 40, 80, 160, 160, 113, 113, 95.1]
    assert knee(steps) == 95.1
    assert why_no_more(steps) == "9 of 50 were not served in time"


def test_rate_that_failed_once_is_tried_again_and_counts_if_it_holds() -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate != 20 or tried.count(20) > 1

    assert knee(climbed(Plan(rate=10, most=40), holds)) == 40


def test_first_rate_that_is_too_high_is_lowered() -> None:
    steps = climbed(Plan(rate=100, refine=0), lambda rate: rate <= 30)
    assert knee(steps) == 25
    assert knee(climbed(Plan(rate=100), lambda _: False)) is None


def test_set_rate_is_tried_once_and_slow_rates_are_held_until_enough_records_came() -> None:
    plan = Plan(rate=0.5, factor=1.0, seconds=5)
    assert [step.rate for step in climbed(plan, lambda _: False)] == [0.5]
    assert Climb(plan, 0.25).length(0.5) == 40


def test_rate_is_held_long_enough_for_waits_to_tell_a_queue_from_the_commit_interval() -> None:
    # At twice what it holds, waits rise by half of the time: in 5 s less than by one interval of 3 s.
    climb = Climb(Plan(seconds=5), 3.0)
    seconds = climb.length(100)
    assert seconds == 30
    assert climb.judge(replace(CALM, rate=100, seconds=seconds, growth=0.5)) == (
        "the queue grew: waits rose by 15.00 s in 30.0 s"
    )


def test_share_that_fails_is_not_taken_for_worse_by_chance() -> None:
    climb = Climb(Plan(), 0.25)
    assert climb.judge(replace(CALM, states={"accepted": 45, "quarantined": 5})) == ""
    tenth = replace(CALM, arrived=240, stored=240, states={"accepted": 212, "quarantined": 28})
    assert climb.judge(tenth) == ""
    many = replace(CALM, arrived=2000, stored=2000, states={"accepted": 1600, "quarantined": 400})
    assert climb.judge(many) == "20.0% failed or were answered by a fallback; before it was 11.4%"


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({}, ""),
        ({"growth": 0.04}, ""),
        ({"growth": 0.2}, "the queue grew: waits rose by 1.00 s in 5.0 s"),
        ({"p99": 1.2}, "the slowest of a hundred took 1.20 s; the limit is 1.00 s"),
        (
            {"states": {"accepted": 40, "fallback": 10}},
            "20.0% failed or were answered by a fallback; before it was 0.0%",
        ),
    ],
)
def test_rate_holds_only_if_waits_stay_within_limits_and_answers_stay_as_good(
    seen: Mapping[str, object], why: str
) -> None:
    climb = Climb(Plan(), 0.25)
    assert climb.judge(CALM) == ""
    assert climb.limit == 1.0
    assert climb.judge(replace(CALM, **seen)) == why  # type: ignore[arg-type]
