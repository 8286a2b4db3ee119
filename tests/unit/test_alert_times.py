"""Times of day in alerts, on the days when clocks change."""

from datetime import UTC, datetime

import pytest

from nightcrew.model.alerting import AlertRule
from nightcrew.monitoring.alerts.local_time import last_deadline, quiet_until

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rule(
    by: str, since: str = "", days: tuple[str, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
) -> AlertRule:
    times = {"expected_by": by, "expected_from": since, "days": days}
    return AlertRule.model_validate({"name": "no-shift", "metric": "shifts", "subject": "crew", **times})


@pytest.mark.parametrize(
    ("now", "since", "deadline"),
    [
        ("2026-01-15T05:00", "2026-01-14T02:00", "2026-01-15T02:00"),  # winter: 03:00 is 02:00 UTC
        ("2026-07-15T05:00", "2026-07-14T01:00", "2026-07-15T01:00"),  # summer: 01:00 UTC
        ("2026-01-15T01:59", "2026-01-13T02:00", "2026-01-14T02:00"),  # the deadline has not come yet
        ("2026-03-29T05:00", "2026-03-28T02:00", "2026-03-29T01:00"),  # clocks go forward: a day of 23 hours
        ("2026-10-25T05:00", "2026-10-24T01:00", "2026-10-25T02:00"),  # and back: one of 25
    ],
)
def test_a_deadline_is_at_the_local_time_of_its_day(now: str, since: str, deadline: str) -> None:
    assert last_deadline(rule("03:00"), at(now), BERLIN) == (at(since), at(deadline))


def test_a_time_that_is_left_out_is_an_hour_later() -> None:
    found = last_deadline(rule("02:30"), at("2026-03-29T01:45"), BERLIN)
    assert found is not None
    assert found[1] == at("2026-03-29T00:30"), "02:30 by the clock that went forward only at 03:00"


def test_a_time_that_comes_twice_is_late_only_after_the_second_and_counts_from_the_first() -> None:
    # 02:30 is at 00:30 UTC and, after the clocks went back, at 01:30 UTC again.
    twice = rule("02:30")
    between, after = (last_deadline(twice, at(f"2026-10-25T{time}"), BERLIN) for time in ("01:00", "01:30"))
    assert between is not None
    assert after is not None
    assert between[1] == at("2026-10-24T00:30")
    assert after[1] == at("2026-10-25T01:30")
    following = last_deadline(twice, at("2026-10-26T02:00"), BERLIN)
    assert following is not None
    assert following[0] == at("2026-10-25T00:30")


def test_a_window_that_begins_the_evening_before() -> None:
    assert last_deadline(rule("06:00", "22:00"), at("2026-01-15T06:00"), BERLIN) == (
        at("2026-01-14T21:00"),
        at("2026-01-15T05:00"),
    )


def test_days_without_a_deadline_keep_the_last_one() -> None:
    workdays = rule("03:00", days=("mon", "tue", "wed", "thu", "fri"))
    sunday = last_deadline(workdays, at("2026-01-18T12:00"), BERLIN)
    assert sunday is not None
    assert sunday[1] == at("2026-01-16T02:00")


@pytest.mark.parametrize(
    ("now", "over"),
    [
        ("2026-01-15T20:59", None),
        ("2026-01-15T21:00", "2026-01-16T06:00"),
        ("2026-01-16T05:59", "2026-01-16T06:00"),
        ("2026-01-16T06:00", None),
        ("2026-03-28T22:00", "2026-03-29T05:00"),  # the night is an hour shorter
        ("2026-10-24T22:00", "2026-10-25T06:00"),
    ],
)
def test_quiet_hours_end_at_the_local_time(now: str, over: str | None) -> None:
    assert quiet_until(at(now), "22:00", "07:00", BERLIN) == (None if over is None else at(over))


def test_quiet_hours_within_a_day() -> None:
    assert quiet_until(at("2026-01-15T12:00"), "12:30", "14:00", BERLIN) == at("2026-01-15T13:00")
    assert quiet_until(at("2026-01-15T12:00"), "", "", BERLIN) is None
