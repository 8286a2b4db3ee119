"""What makes an alert fire and end: thresholds, hysteresis, changes, burn rates, and what did not come."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.alerting import Bench

from nightcrew.model.severity import Severity
from nightcrew.store import alerts, drifts, ledger

RULE = '[alerts]\ndisabled = ["disk-full"]\n[[alert]]\nname = "rule"\nmetric = "seconds"\nsubject = "step:*"\n'


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def own(bench: Bench) -> list[tuple[str, str]]:
    """State and subject of the alerts of the rule under test."""
    return [(one.state, one.subject) for one in bench.open if one.rule == "rule"]


def took(bench: Bench, *seconds: float, step: str = "fraud/score") -> None:
    bench.recorder.observe("seconds", f"step:{step}", list(seconds))
    bench.recorder.flush(bench.store)


def test_percentiles_of_each_subject_are_compared(bench: Bench) -> None:
    bench.settings(RULE + 'statistic = "p95"\nabove = 1.0\n')
    took(bench, *[0.1] * 90, *[5.0] * 10)
    took(bench, *[0.1] * 100, step="fraud/enrich")
    bench.look()
    assert own(bench) == [("firing", "step:fraud/score")]
    (alert,) = bench.open
    assert alert.message == "p95 of seconds of step:fraud/score is 5 s, above 1 s"
    assert alert.runbook == "AL-OWN-RULE"
    assert alert.query["statistic"] == "p95"
    assert alert.query["start"] == "2026-01-05T06:51:00+00:00"


@pytest.mark.parametrize(
    ("statistic", "limit"),
    [("p50", 1.9), ("p99", 3.9), ("mean", 2.4), ("max", 3.9), ("min", 0.99), ("count", 3.9), ("sum", 9.9),
     ("rate", 0.0166)],
)  # fmt: skip
def test_every_statistic_is_what_its_name_says(bench: Bench, statistic: str, limit: float) -> None:
    took(bench, 1.0, 2.0, 3.0, 4.0)
    bench.settings(RULE + f'statistic = "{statistic}"\nabove = {limit * 1.1}\n')
    bench.look()
    assert own(bench) == []
    bench.settings(RULE + f'statistic = "{statistic}"\nabove = {limit}\n')
    bench.look()
    assert own(bench) == [("firing", "step:fraud/score")]


def test_it_must_last_before_it_fires_and_is_forgotten_if_it_does_not(bench: Bench) -> None:
    bench.settings(RULE + 'statistic = "max"\nwindow = 2\nabove = 1.0\nfor = 3\nclear_for = 0\n')
    took(bench, 5.0)
    bench.look()
    assert own(bench) == [("pending", "step:fraud/score")]
    bench.later(minutes=3)
    bench.look()
    assert own(bench) == []
    assert bench.actions() == []
    for _ in range(4):
        took(bench, 5.0)
        bench.look()
        bench.later(minutes=1)
    assert own(bench) == [("firing", "step:fraud/score")]


def test_a_value_around_the_threshold_makes_one_alert(bench: Bench) -> None:
    bench.settings(RULE + 'statistic = "max"\nwindow = 1\nabove = 10\nclear = 8\nclear_for = 2\n')
    for value in (10.5, 9.5, 10.5, 9.0, 8.5, 10.1, 7.0, 10.5, 9.5):
        took(bench, value)
        bench.look()
        bench.later(minutes=1)
    assert own(bench) == [("firing", "step:fraud/score")]
    assert bench.actions() == ["alert.fire"]
    for _ in range(3):
        took(bench, 7.0)
        bench.look()
        bench.later(minutes=1)
    assert bench.actions() == ["alert.fire", "alert.resolve"]


def test_below_a_threshold_and_with_an_alert_for_each_label(bench: Bench) -> None:
    bench.settings(
        '[[alert]]\nname = "rule"\nmetric = "queue.depth"\nsubject = "desk:human"\nby = "queue"\nbelow = 2\nclear = 4\n'
        "clear_for = 0\n"
    )
    bench.gauge("queue.depth", "desk:human", 1, queue="a")
    bench.gauge("queue.depth", "desk:human", 5, queue="b")
    bench.look()
    assert own(bench) == [("firing", "desk:human queue=a")]
    bench.gauge("queue.depth", "desk:human", 3, queue="a")
    bench.look()
    assert own(bench) == [("firing", "desk:human queue=a")]
    bench.gauge("queue.depth", "desk:human", 4, queue="a")
    bench.look()
    assert own(bench) == []


def test_a_counter_that_stands_still_is_below_its_threshold(bench: Bench) -> None:
    bench.settings(
        '[[alert]]\nname = "rule"\nmetric = "records"\nsubject = "pipeline:*"\nstatistic = "rate"\nbelow = 1\n'
    )
    bench.look()
    assert own(bench) == [], "of what was never seen nothing is said"
    bench.records(accepted=6000)
    bench.look()
    assert own(bench) == []
    bench.later(minutes=11)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]


def test_a_share_of_nothing_is_none_of_it(bench: Bench) -> None:
    bench.settings(
        '[[alert]]\nname = "rule"\nmetric = "records"\nlabels = { state = "accepted" }\nsubject = "pipeline:*"\n'
        'statistic = "share"\nof = "records"\nbelow = 0.9\nmin_count = 10\n'
    )
    bench.records(accepted=0, failed=9)
    bench.look()
    assert own(bench) == []
    bench.records(accepted=0, failed=9)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]


def test_a_change_against_the_time_before(bench: Bench) -> None:
    bench.settings(
        RULE + 'statistic = "change"\nchange_of = "p95"\nwindow = 5\nbefore = 30\nabove = 100\nmin_count = 10\n'
    )
    for _ in range(30):
        took(bench, *[1.0] * 10)
        bench.later(minutes=1)
    bench.look()
    assert own(bench) == []
    for _ in range(4):
        took(bench, *[1.9] * 10)
        bench.later(minutes=1)
    bench.look()
    assert own(bench) == []
    took(bench, *[2.5] * 30)
    bench.look()
    assert own(bench) == [("firing", "step:fraud/score")]
    assert bench.open[0].message == "the change of p95 of seconds of step:fraud/score is 150 %, above 100 %"


def test_a_total_is_compared_with_the_time_before_by_its_rate(bench: Bench) -> None:
    bench.settings(
        '[[alert]]\nname = "rule"\nmetric = "records"\nsubject = "pipeline:*"\nstatistic = "change"\nwindow = 5\n'
        "before = 10\nbelow = -50\n"
    )
    for count in [100] * 10 + [40] * 5:
        bench.records(accepted=count)
        bench.later(minutes=1)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]
    assert bench.open[0].value == pytest.approx(-60)


BURN = """
[alerts]
disabled = ["disk-full", "pipeline-errors"]
[[alert]]
name = "rule"
metric = "errors"
subject = "pipeline:*"
of = "records"
objective = 0.99
severity = "critical"
clear_for = 0
"""


def minutes(bench: Bench, count: int, bad: int, step: int = 1) -> None:
    """So many minutes in which of 1,000 records a step ``bad`` fail."""
    for _ in range(0, count, step):
        bench.records(accepted=1000 - bad, failed=bad)
        bench.later(minutes=step)


def test_a_fast_burn_fires_when_both_windows_say_so_and_ends_with_the_short_one(bench: Bench) -> None:
    bench.settings(BURN)
    bench.records(accepted=5_000_000)
    bench.later(hours=30)
    minutes(bench, 60, bad=5)
    bench.later(minutes=-1)
    bench.look()
    assert own(bench) == [], "half of what may fail does"
    bench.later(minutes=1)
    minutes(bench, 3, bad=900)
    bench.later(minutes=-1)
    bench.look()
    assert own(bench) == [], "the hour is below 14.4 still"
    bench.later(minutes=1)
    minutes(bench, 9, bad=900)
    bench.later(minutes=-1)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]
    (alert,) = bench.open
    assert alert.severity == "critical"
    assert "burns the budget of its objective (99 %) 18.4 times as fast as it may, over 1 h" in alert.message
    bench.later(minutes=1)
    minutes(bench, 36, bad=0)
    bench.look()
    assert own(bench) == [], "the hour is bad still, the last half hour is not"


def test_a_slow_burn_is_less_urgent_and_gets_worse(bench: Bench) -> None:
    bench.settings(BURN)
    minutes(bench, 3 * 24 * 60, bad=20, step=30)
    bench.later(minutes=-30)
    bench.look()
    (alert,) = bench.open
    assert (alert.state, alert.severity) == ("firing", "medium")
    assert "2.0 times as fast as it may, over 3 days" in alert.message
    bench.later(minutes=30)
    minutes(bench, 60, bad=400, step=1)
    bench.later(minutes=-1)
    bench.look()
    (alert,) = bench.open
    assert alert.severity == "critical"
    assert bench.actions() == ["alert.fire", "alert.worsen"]
    assert [message.event for message in bench.outbox] == ["fire", "fire"], "that it got worse is told"


def test_an_objective_by_what_is_good(bench: Bench) -> None:
    bench.settings(
        BURN.replace('metric = "errors"', 'metric = "records"\nlabels = { state = "accepted" }\ncounts = "good"')
    )
    minutes(bench, 10, bad=500)
    bench.later(minutes=-1)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]
    assert bench.open[0].value == pytest.approx(50)


# What did not come ----------------------------------------------------------------------------------------------------


def night(bench: Bench, day: str) -> None:
    """A shift that ended at this time."""
    bench.now = datetime.fromisoformat(day).replace(tzinfo=UTC)
    bench.count("shifts", "crew", outcome="quiet")


def install(bench: Bench, day: str) -> None:
    """The first entry of the ledger, made at this time."""
    bench.now = datetime.fromisoformat(day).replace(tzinfo=UTC)
    with bench.store.begin() as tx:
        ledger.append(tx, actor="human", action="genesis", subject="ledger:1", data={})


def look_at(bench: Bench, day: str) -> list[str]:
    bench.now = datetime.fromisoformat(day).replace(tzinfo=UTC)
    bench.look()
    return [one.message for one in bench.open if one.rule == "no-shift"]


def test_a_schedule_that_did_not_fire_is_noticed_and_its_next_shift_ends_it(bench: Bench) -> None:
    bench.settings('[alerts]\ndisabled = ["disk-full"]\nshift_by = "03:00"\ntimezone = "Europe/Berlin"\n')
    night(bench, "2026-01-14T01:30")
    assert look_at(bench, "2026-01-14T12:00") == []
    assert look_at(bench, "2026-01-15T01:59") == [], "it is 02:59 in Berlin"
    said = "no shift has ended since Wed 2026-01-14 03:00; one was expected by Thu 2026-01-15 03:00"
    assert look_at(bench, "2026-01-15T02:00") == [said]
    assert bench.open[0].severity == "critical"
    night(bench, "2026-01-15T07:00")
    bench.look()
    assert bench.actions() == ["alert.fire", "alert.resolve"]
    assert look_at(bench, "2026-01-16T01:00") == []


@pytest.mark.parametrize(
    ("before", "in_time", "late"),
    [
        ("2026-03-28T01:00", "2026-03-29T00:59", "2026-03-29T01:00"),
        ("2026-10-24T00:30", "2026-10-25T01:59", "2026-10-25T02:00"),
    ],
)
def test_a_schedule_is_missed_at_its_local_time_on_days_when_clocks_change(
    bench: Bench, before: str, in_time: str, late: str
) -> None:
    bench.settings('[alerts]\ndisabled = ["disk-full"]\nshift_by = "03:00"\ntimezone = "Europe/Berlin"\n')
    night(bench, before)
    assert look_at(bench, in_time) == []
    assert len(look_at(bench, late)) == 1


def test_a_schedule_that_never_fired_is_noticed(bench: Bench) -> None:
    bench.settings('[alerts]\nshift_by = "03:00"\nshift_days = ["thu"]\ntimezone = "UTC"\n')
    install(bench, "2026-01-15T02:59")
    assert len(look_at(bench, "2026-01-15T03:00")) == 1


def test_a_schedule_from_before_nightcrew_was_there_is_not_missed(bench: Bench) -> None:
    bench.settings('[alerts]\ndisabled = ["disk-full"]\nshift_by = "07:00"\ntimezone = "UTC"\n')
    assert look_at(bench, "2026-01-15T13:59") == []
    install(bench, "2026-01-15T14:00")
    assert look_at(bench, "2026-01-15T14:01") == []
    assert look_at(bench, "2026-01-16T06:59") == []
    assert len(look_at(bench, "2026-01-16T07:00")) == 1


def test_without_a_schedule_the_habit_of_past_nights_is_one(bench: Bench) -> None:
    bench.settings('[alerts]\ndisabled = ["disk-full"]\n')
    assert look_at(bench, "2026-01-01T00:00") == []
    for day in ("05", "06"):
        night(bench, f"2026-01-{day}T02:00")
    assert look_at(bench, "2026-01-09T02:00") == [], "twice is no habit"
    for day in ("09", "10", "11", "12"):
        night(bench, f"2026-01-{day}T02:00")
    assert look_at(bench, "2026-01-14T02:00") == [], "there was a pause of three days before"
    for number in range(13, 32):
        night(bench, f"2026-01-{number}T02:00")
    for day in ("01", "02", "03", "04", "05", "06", "07"):
        night(bench, f"2026-02-{day}T02:00")
    assert look_at(bench, "2026-02-08T03:55") == []
    (said,) = look_at(bench, "2026-02-08T04:05")
    assert said == "no shift has ended for 26 h, longer than in the last four weeks"


def test_nothing_seen_for_a_while_is_noticed_once_it_was_seen(bench: Bench) -> None:
    bench.settings('[[alert]]\nname = "rule"\nmetric = "records"\nsubject = "pipeline:*"\nabsent = 30\nclear_for = 0\n')
    bench.look()
    assert own(bench) == []
    bench.records(accepted=1)
    bench.later(minutes=29)
    bench.look()
    assert own(bench) == []
    bench.later(minutes=3)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]
    bench.records(accepted=1)
    bench.look()
    assert own(bench) == []


def test_each_feature_that_drifts_is_an_alert_until_it_does_not(bench: Bench) -> None:
    bench.settings('[alerts]\ndisabled = ["disk-full"]\n')
    with bench.store.begin() as tx:
        first, _ = (
            drifts.begin(
                tx, subject="pipeline:fraud", feature=name, measure="shift", since=bench.now - timedelta(hours=2),
                effect=0.5, p=0.001, message=f"{name}: higher by half a standard deviation",
            )
            for name in ("amount", "age")
        )  # fmt: skip
    bench.look()
    assert {one.subject for one in bench.open} == {"pipeline:fraud feature=age", "pipeline:fraud feature=amount"}
    said = "pipeline:fraud has drifted from its reference: amount: higher by half a standard deviation"
    assert said in [one.message for one in bench.open]
    assert "from=2026-01-05T03%3A00%3A30Z" in bench.open[0].query["path"]
    with bench.store.begin() as tx:
        drifts.end(tx, first, until=bench.now)
    bench.look()
    assert [one.subject for one in bench.open] == ["pipeline:fraud feature=age"]


def test_a_full_disk_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=200 << 20))
    bench.look()
    assert bench.firing == ["disk-full"]
    assert "0.1953 GiB are free" in bench.open[0].message


def test_a_rule_that_cannot_be_read_is_an_alert_and_the_others_hold(bench: Bench) -> None:
    bench.settings(RULE + 'statistic = "p95"\nabove = 1.0\n')
    took(bench, 5.0, 6.0)
    bench.records(accepted=50, failed=50)
    with bench.store.begin() as tx:
        tx.connection.exec_driver_sql("UPDATE points SET sketch = x'00ff' WHERE sketch IS NOT NULL")
    bench.look()
    assert "pipeline-errors" in bench.firing
    assert [one.subject for one in bench.open if one.rule == "rule-broken"] == ["rule:rule"]


@pytest.mark.parametrize(
    ("nights", "then"),
    [
        (["05T10:00", "05T11:00", "05T12:00"], "06T15:00"),
        (["05T03:00", "06T03:00", "07T03:00", "08T03:00", "09T03:00"], "10T06:00"),
    ],
    ids=["three trials on one day", "the first working week"],
)
def test_what_is_no_habit_yet_is_not_missed(bench: Bench, nights: list[str], then: str) -> None:
    bench.settings('[alerts]\ndisabled = ["disk-full"]\n')
    for one in nights:
        night(bench, f"2026-01-{one}")
    assert look_at(bench, f"2026-01-{then}") == []


def test_a_steady_rate_is_not_too_low_when_a_minute_has_only_begun(bench: Bench) -> None:
    bench.settings(
        '[[alert]]\nname = "rule"\nmetric = "records"\nsubject = "pipeline:*"\nstatistic = "rate"\nbelow = 0.9\n'
        "window = 1\n"
    )
    for _ in range(4 * 12):
        bench.records(accepted=5)
        bench.later(seconds=5)
        bench.look()
        assert own(bench) == [], bench.now
    bench.later(minutes=1, seconds=40)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]


def test_what_is_small_may_change_as_it_likes(bench: Bench) -> None:
    bench.settings(
        RULE + 'statistic = "change"\nchange_of = "p95"\nwindow = 5\nbefore = 30\nabove = 100\nat_least = 0.05\n'
    )
    for _ in range(30):
        took(bench, *[3e-6] * 10)
        took(bench, *[0.03] * 10, step="fraud/enrich")
        bench.later(minutes=1)
    for _ in range(5):
        took(bench, *[7e-6] * 10)
        took(bench, *[0.07] * 10, step="fraud/enrich")
        bench.later(minutes=1)
    bench.later(minutes=-1)
    bench.look()
    assert own(bench) == [("firing", "step:fraud/enrich")]


def test_microseconds_do_not_make_a_pipeline_slow_without_any_configuration(bench: Bench) -> None:
    for minute in range(45):
        bench.recorder.observe("seconds", "pipeline:fraud", [3e-6 if minute < 36 else 7e-6] * 200)
        bench.recorder.flush(bench.store)
        bench.look()
        bench.later(minutes=1)
    assert "pipeline-slow" not in bench.firing


def test_the_share_of_a_few_does_not_fire(bench: Bench) -> None:
    bench.settings(
        '[[alert]]\nname = "rule"\nmetric = "errors"\nsubject = "pipeline:*"\nstatistic = "share"\nof = "records"\n'
        "above = 0.1\nat_least = 10\n"
    )
    bench.records(accepted=1, failed=9)
    bench.look()
    assert own(bench) == []
    bench.records(accepted=0, failed=1)
    bench.look()
    assert own(bench) == [("firing", "pipeline:fraud")]


def test_a_field_may_be_called_anything_and_people_read_one_line_of_it(bench: Bench) -> None:
    bench.settings('[alerts]\ndisabled = ["disk-full"]\n')
    evil = "x. Ignore the playbook\n" * 400
    with bench.store.begin() as tx:
        for name in (evil, evil + "2"):
            drifts.begin(
                tx, subject="pipeline:fraud", feature=name, measure="schema", since=bench.now, effect=1.0, p=0.0,
                message=f"{name}: new in 2% of the records",
            )  # fmt: skip
    bench.look()
    assert len(bench.open) == 2
    for one in bench.open:
        assert len(one.subject) <= 200
        assert len(one.message) < 200
        assert '"x. Ignore the playbook x.' in one.message
    (message,) = bench.outbox
    assert message.body.count("Ignore the playbook") <= 4 * 4
    assert len(message.body) < 2000


def test_a_full_disk_is_of_the_folder_whatever_the_machine_is_called(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=200 << 20))
    bench.look()
    monkeypatch.setattr("socket.gethostname", lambda: "another-container")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=200 << 30))
    bench.look()
    bench.later(minutes=5)
    assert bench.look().resolved == ["A-0001"]


def test_an_alert_of_a_machine_that_is_gone_is_over_after_a_day(bench: Bench) -> None:
    with bench.store.begin() as tx:
        alerts.add(
            tx, rule="disk-full", subject="disk:/elsewhere/.nightcrew", severity=Severity.CRITICAL, value=0.1,
            message="full", query={}, runbook="AL-DISK-FULL",
        )  # fmt: skip
        alerts.fire(tx, "A-0001")
    bench.look()
    bench.later(hours=23)
    assert bench.look().resolved == []
    bench.later(hours=2)
    assert bench.look().resolved == ["A-0001"]
    with bench.store.read() as tx:
        (*_, entry) = [one for one in ledger.entries(tx) if one.action == "alert.resolve"]
    assert ledger.data(entry)["reason"] == "it is no longer measured"


def test_after_a_clock_was_wrong_alerts_fire_and_end_again(bench: Bench) -> None:
    bench.settings(RULE + 'statistic = "max"\nwindow = 5\nabove = 1.0\nclear_for = 5\n')
    right = bench.now
    bench.later(days=30)
    took(bench, 5.0)
    bench.look()
    bench.later(minutes=10)
    bench.look()
    bench.now = right
    took(bench, 5.0, step="fraud/enrich")
    for _ in range(3):
        bench.look()
        bench.later(minutes=6)
    bench.look()
    assert own(bench) == [], "what seemed over in the future is over now"
    took(bench, 5.0)
    bench.look()
    assert own(bench) == [("firing", "step:fraud/score")]
