"""Agreement of people with agents and rules, from made decisions."""

import json
from dataclasses import replace
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
        overruled=wrong,
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


def test_who_has_decided_most_comes_first_and_each_agent_has_its_own_share() -> None:
    qa = replace(label(wrong=True), agent="qa")
    found = stats([qa, label(), label(), replace(qa, agent="docs")])
    assert [(one.name, one.n, one.share) for one in found.agents] == [("security", 2, 1), ("docs", 1, 0), ("qa", 1, 0)]
    assert (found.agents[1].median_hours, found.agents[1].p90_hours) == (1, 1)


def test_a_rejected_change_does_not_say_that_the_finding_was_none() -> None:
    assert stats([replace(label(), decision="reject")]).agents[0].agreed == 1


def test_threshold_needs_no_more_than_what_the_sample_allows() -> None:
    labels = [label(confidence=0.95)] * 400 + [label(confidence=0.7, wrong=n % 2 == 0) for n in range(200)]
    found = stats([*labels, label(confidence=None)], alpha=0.05, delta=0.1)
    assert found.n == 601
    assert (found.calibration.n, found.calibration.threshold) == (600, 0.71)
    assert [(one.accepted, one.wrong) for one in found.thresholds if one.threshold in (0.7, 0.75)] == [
        (600, 100),
        (400, 0),
    ]
    assert stats(labels, alpha=0.2).calibration.accepted == 600


def test_plain_is_what_json_can_say() -> None:
    found = stats([label(), label(wrong=True, confidence=None)])
    plain = json.loads(json.dumps(found.plain()))
    assert plain == found.plain()
    assert plain["agents"][0]["share"] == 0.5
    assert plain["calibration"]["reason"].startswith("Too few")


def test_nothing_decided() -> None:
    found = stats([])
    assert (found.n, found.agents, found.rules) == (0, [], [])
    assert found.plain()["calibration"]["threshold"] is None


def test_interval_is_that_of_wilson() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # as in R's prop.test without continuity
    assert wilson(10, 10)[1] == pytest.approx(1.0)
