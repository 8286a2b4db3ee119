"""Agreement of people with agents and rules, from made decisions."""

from datetime import UTC, datetime, timedelta

import pytest

from nightcrew.crew.agreement import Label, stats, wilson

START = datetime(2026, 1, 5, 7, tzinfo=UTC)


def label(*, wrong: bool = False, hours: float = 1, rule: str = "bandit B105", confidence: float | None = 0.9) -> Label:
    return Label(
        agent="security",
        rule=rule,
        confidence=confidence,
        severity="high",
        decision="reject" if wrong else "approve",
        asked=START,
        decided=START + timedelta(hours=hours),
        reviewer="ada",
        false_positive=wrong,
    )


def test_shares_and_times_per_rule() -> None:
    labels = [label(hours=n) for n in range(1, 10)] + [label(wrong=True, hours=100), label(rule="x y", confidence=None)]
    found = stats(labels)
    assert [(one.name, one.n, one.agreed) for one in found.rules] == [("bandit B105", 10, 9), ("x y", 1, 1)]
    first = found.rules[0]
    assert (first.median_hours, first.p90_hours) == (5.5, 9)
    assert first.low < 0.9 < first.high
    assert found.agents[0].n == 11
    assert [(one.threshold, one.accepted, one.wrong) for one in found.thresholds if one.threshold in (0.9, 0.95)] == [
        (0.9, 10, 1),
        (0.95, 0, 0),
    ]
    assert found.calibration.n == 10
    assert found.calibration.threshold is None


def test_nothing_decided() -> None:
    found = stats([])
    assert (found.n, found.agents, found.rules) == (0, [], [])
    assert found.plain()["calibration"]["threshold"] is None


def test_interval_is_that_of_wilson() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # as in R's prop.test without continuity
    assert wilson(10, 10)[1] == pytest.approx(1.0)
