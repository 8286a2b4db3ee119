"""When schedules are due: the days on which clocks change, in the zones that change them in different ways."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightcrew.model.errors import DocumentError, UsageError
from nightcrew.model.scheduling import (
    DAYS,
    Schedule,
    between,
    days_of,
    ends,
    first_moment,
    jitter,
    occurrences,
    times_of,
)
from nightcrew.schedule.zones import machine_zone, named

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Cairo",
    "America/Santiago",
    "America/St_Johns",
    "Africa/Casablanca",
)

# zone, day, time of day, the due time in UTC, what the clock there shows then
CHANGES = [
    # Berlin, 29 March 2026: 02:00 becomes 03:00. 25 October: 03:00 becomes 02:00.
    ("Europe/Berlin", "2026-03-29", "01:59", "2026-03-29T00:59", "01:59"),
    ("Europe/Berlin", "2026-03-29", "02:00", "2026-03-29T01:00", "03:00"),
    ("Europe/Berlin", "2026-03-29", "02:30", "2026-03-29T01:00", "03:00"),
    ("Europe/Berlin", "2026-03-29", "03:00", "2026-03-29T01:00", "03:00"),
    ("Europe/Berlin", "2026-03-30", "02:30", "2026-03-30T00:30", "02:30"),
    ("Europe/Berlin", "2026-10-25", "02:00", "2026-10-25T00:00", "02:00"),
    ("Europe/Berlin", "2026-10-25", "02:30", "2026-10-25T00:30", "02:30"),
    ("Europe/Berlin", "2026-10-25", "03:00", "2026-10-25T02:00", "03:00"),
    # New York, 8 March 2026: 02:00 becomes 03:00. 1 November: 02:00 becomes 01:00.
    ("America/New_York", "2026-03-08", "02:30", "2026-03-08T07:00", "03:00"),
    ("America/New_York", "2026-11-01", "00:59", "2026-11-01T04:59", "00:59"),
    ("America/New_York", "2026-11-01", "01:30", "2026-11-01T05:30", "01:30"),
    ("America/New_York", "2026-11-01", "02:00", "2026-11-01T07:00", "02:00"),
    # Lord Howe changes by half an hour: 4 October 2026, 02:00 becomes 02:30; 5 April, 02:00 becomes 01:30.
    ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30", "02:30"),
    ("Australia/Lord_Howe", "2026-10-04", "02:30", "2026-10-03T15:30", "02:30"),
    ("Australia/Lord_Howe", "2026-04-05", "01:29", "2026-04-04T14:29", "01:29"),
    ("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04T14:45", "01:45"),
    ("Australia/Lord_Howe", "2026-04-05", "02:00", "2026-04-04T15:30", "02:00"),
    # Kathmandu never changes.
    ("Asia/Kathmandu", "2026-03-29", "02:30", "2026-03-28T20:45", "02:30"),
    # Cairo and Santiago leave out the hour after midnight.
    ("Africa/Cairo", "2026-04-24", "00:00", "2026-04-23T22:00", "01:00"),
    ("Africa/Cairo", "2026-04-24", "00:30", "2026-04-23T22:00", "01:00"),
    ("Africa/Cairo", "2026-10-29", "23:30", "2026-10-29T20:30", "23:30"),
    ("America/Santiago", "2026-09-06", "00:00", "2026-09-06T04:00", "01:00"),
    ("America/Santiago", "2026-04-04", "23:30", "2026-04-05T02:30", "23:30"),
]


@pytest.mark.parametrize(("zone", "day", "at", "due", "shown"), CHANGES)
def test_each_time_is_due_once_and_as_soon_as_clocks_show_it_or_a_later_one(
    zone: str, day: str, at: str, due: str, shown: str
) -> None:
    chosen = Schedule(at=(at,))
    moment = datetime.fromisoformat(due).replace(tzinfo=UTC)
    found = occurrences(chosen, ZoneInfo(zone), after=moment - timedelta(minutes=1), count=2)
    assert found[0].due == moment
    assert f"{found[0].local:%H:%M}" == shown
    assert first_moment(date.fromisoformat(day), time.fromisoformat(at), ZoneInfo(zone))[0] == moment
    assert found[1].due - found[0].due > timedelta(hours=20), "not a second time on that day"


@pytest.mark.parametrize(
    ("zone", "after", "at", "note"),
    [
        ("Europe/Berlin", "2026-03-28T12:00", "02:30", "there is no 02:30 on 2026-03-29: the clocks go forward"),
        ("Europe/Berlin", "2026-10-24T12:00", "02:30", "02:30 comes twice on 2026-10-25; this is the first"),
        ("Europe/Berlin", "2026-10-24T12:00", "03:30", ""),
    ],
)
def test_what_is_special_about_a_time_is_said(zone: str, after: str, at: str, note: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    [found] = occurrences(Schedule(at=(at,)), ZoneInfo(zone), after=moment, count=1)
    assert found.note == note


def test_times_that_fall_together_in_a_gap_are_one_run() -> None:
    chosen = Schedule(at=("02:10", "02:50", "03:00"))
    found = occurrences(chosen, ZoneInfo("Europe/Berlin"), after=datetime(2026, 3, 28, 12, tzinfo=UTC), count=3)
    assert [f"{one.local:%d %H:%M}" for one in found] == ["29 03:00", "30 02:10", "30 02:50"]


def test_a_day_that_a_zone_left_out_is_made_up_for_when_the_next_begins() -> None:
    zone = ZoneInfo("Pacific/Apia")  # Samoa went over the date line: after 29 December 2011 came the 31st.
    found = occurrences(Schedule(at=("02:00",)), zone, after=datetime(2011, 12, 29, 13, tzinfo=UTC), count=2)
    assert [f"{one.local:%d %H:%M}" for one in found] == ["31 00:00", "31 02:00"]


def test_a_second_of_the_hour_that_comes_twice_is_no_second_run() -> None:
    chosen = Schedule(at=("02:30",))
    between_them = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    [found] = occurrences(chosen, ZoneInfo("Europe/Berlin"), after=between_them, count=1)
    assert found.due == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ZONES)
def test_times_agree_with_a_clock_that_is_watched_minute_by_minute(zone: str) -> None:
    """The other way to know: look at the clock each minute, and run when it first shows the time or a later one."""
    place = ZoneInfo(zone)
    for begin in evenings_before_changes(place):
        shown = [(begin + timedelta(minutes=number)).astimezone(place) for number in range(36 * 60)]
        for minute in range(-60, 4 * 60, 15):
            at = time(minute // 60 % 24, minute % 60)
            chosen = Schedule(at=(f"{at:%H:%M}",))
            found = between(chosen, place, after=shown[0], until=shown[-1].astimezone(UTC))
            assert [one.due for one in found] == watched(shown, at), f"{at} after {begin}"


def evenings_before_changes(place: ZoneInfo) -> list[datetime]:
    """The times, in UTC, half a day before which clocks change within a day; and one on which they do not."""
    noons = [datetime(2023, 1, 1, 12, tzinfo=UTC) + timedelta(days=number) for number in range(5 * 365)]
    offsets = [noon.astimezone(place).utcoffset() for noon in noons]
    before = [noon for noon, here, there in zip(noons, offsets, offsets[1:], strict=False) if here != there]
    return [noons[10], *before]


def watched(shown: list[datetime], at: time) -> list[datetime]:
    found = []
    done = {shown[0].date()} if shown[0].time() >= at else set()
    for now in shown[1:]:
        if now.date() not in done and now.time() >= at:
            done.add(now.date())
            found.append(now.astimezone(UTC))
    return found


@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)),
    at=st.sets(st.times().map(lambda moment: f"{moment:%H:%M}"), min_size=1, max_size=4),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
)
@settings(max_examples=200, deadline=None)
def test_the_next_times_rise_and_asking_from_one_of_them_gives_the_rest(
    zone: str, start: datetime, at: set[str], days: set[str]
) -> None:
    place, begin = ZoneInfo(zone), start.replace(tzinfo=UTC)
    chosen = Schedule(at=tuple(at), days=tuple(days))
    found = occurrences(chosen, place, after=begin, count=8)
    moments = [begin, *(one.due for one in found)]
    assert moments == sorted(set(moments))
    assert occurrences(chosen, place, after=found[2].due, count=5) == found[3:]
    assert all(one.note or (f"{one.local:%H:%M}" in at and DAYS[one.local.weekday()] in days) for one in found)


def test_the_calendar_ends_and_nothing_breaks() -> None:
    chosen = Schedule(at=("02:00",))
    assert len(occurrences(chosen, UTC, after=datetime(9999, 12, 30, tzinfo=UTC), count=5)) <= 2


@pytest.mark.parametrize(
    ("at", "until", "due", "end"),
    [
        ("02:00", "06:00", "2026-01-05T01:00", "2026-01-05T05:00"),
        ("22:00", "06:00", "2026-01-05T21:00", "2026-01-06T05:00"),
        ("01:00", "02:30", "2026-03-29T00:00", "2026-03-29T01:00"),  # There is no 02:30 in that night.
        ("02:30", "02:45", "2026-03-29T01:00", "2026-03-29T01:15"),  # Both in the gap: a quarter of an hour, no day.
        ("02:30", "03:00", "2026-03-29T01:00", "2026-03-29T01:30"),  # The gap's end.
    ],
)
def test_a_run_ends_at_the_first_such_time_after_it_was_due(at: str, until: str, due: str, end: str) -> None:
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (due, end)]
    assert ends(Schedule(at=(at,), until=until), ZoneInfo("Europe/Berlin"), moments[0]) == moments[1]


def test_without_an_end_there_is_none() -> None:
    assert ends(Schedule(at=("02:00",)), UTC, datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_jitter_is_the_same_each_time_and_differs_between_hosts_and_nights() -> None:
    chosen, due = Schedule(at=("02:00",), jitter_minutes=30), datetime(2026, 1, 1, 2, tzinfo=UTC)
    first = jitter(chosen, "host-1", due)
    assert first == jitter(chosen, "host-1", due)
    many = {jitter(chosen, f"host-{number}", due) for number in range(100)}
    assert len(many) > 80
    assert timedelta() <= min(many) < timedelta(minutes=5)
    assert timedelta(minutes=25) < max(many) < timedelta(minutes=30)
    assert first != jitter(chosen, "host-1", due + timedelta(days=1))
    assert jitter(Schedule(at=("02:00",)), "host-1", due) == timedelta()


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("daily", "mon,tue,wed,thu,fri,sat,sun"),
        ("mon-fri", "mon,tue,wed,thu,fri"),
        ("weekdays", "mon,tue,wed,thu,fri"),
        ("weekend", "sat,sun"),
        ("fri-mon", "mon,fri,sat,sun"),
        ("Sunday, wed", "wed,sun"),
        ("tues-thur", "tue,wed,thu"),
    ],
)
def test_days_are_read_as_people_write_them(text: str, days: str) -> None:
    assert ",".join(days_of(text)) == days


@pytest.mark.parametrize("text", ["", "foo", "mo", "mon-", "-fri", "mon--fri", "mon-fri-sun", "mon,,tue"])
def test_what_names_no_day_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no day"):
        days_of(text)


@pytest.mark.parametrize("text", ["2:00", "24:00", "02:60", "02", "02:00:00", "٠٢:٠٠", "", "-1:00", "0200"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="time"):
        times_of([text])
    with pytest.raises(DocumentError):
        Schedule.read({"at": [text]}, source="the schedule")


def test_times_and_days_are_kept_in_order_and_once() -> None:
    chosen = Schedule.read({"at": ["14:00", "02:00", "14:00"], "days": ["sun", "mon", "sun"]}, source="it")
    assert chosen.at == ("02:00", "14:00")
    assert chosen.days == ("mon", "sun")
    assert times_of(["14:00,02:00", "14:00"]) == chosen.at
    assert Schedule.read(chosen.plain(), source="it") == chosen


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": ""},
        {"name": "a\n"},
        {"until": "02:00"},
        {"jitter_minutes": -1},
        {"max_minutes": 0},
        {"days": []},
        {"days": ["someday"]},
        {"days": [{}]},
        {"at": []},
        {"backend": "at"},
        {"else": 1},
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DocumentError):
        Schedule.read({"at": ["02:00"], **wrong}, source="the schedule")


def test_a_zone_that_is_none_is_refused() -> None:
    assert str(named("Asia/Kathmandu")) == "Asia/Kathmandu"
    for name in ("Mars/Olympus", "../../etc/passwd", "/etc/localtime", "", "Europe"):
        with pytest.raises(UsageError, match="no time zone"):
            named(name)


def test_the_machines_zone_is_what_its_clock_shows(tmp_path: Path) -> None:
    there = tmp_path / "localtime"
    assert machine_zone(there) == ("UTC", UTC)
    there.write_bytes(b"no zone")
    assert machine_zone(there) == ("UTC", UTC)
    zone = tmp_path / "zoneinfo" / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.write_bytes(b"")
    there.unlink()
    there.symlink_to(zone)
    assert machine_zone(there) == ("Europe/Berlin", ZoneInfo("Europe/Berlin"))
