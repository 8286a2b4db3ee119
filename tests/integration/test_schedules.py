"""Schedules: each time that is due runs once, whatever calls it and whenever; what was missed or killed is told."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.gate import Gate, prepare

from nightcrew import credentials
from nightcrew.crew import alerting, scheduled, scheduling
from nightcrew.model.errors import BusyError, ConfigurationError, NightcrewError, NotFoundError
from nightcrew.model.scheduling import Schedule, between
from nightcrew.schedule import captured, due, in_process
from nightcrew.schedule.firing import Firer, Ran
from nightcrew.schedule.protocol import Job
from nightcrew.store import alerts, connection, firings, ledger, locks, schedules, shifts
from nightcrew.store.firings import Firing
from nightcrew.store.store import Store

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = Schedule(at=("02:00",), zone="Europe/Berlin")
START = datetime(2026, 1, 5, 12, 0, 7, tzinfo=UTC)


@dataclass
class Machine:
    """A repository's store, a clock, and shifts as rows: each takes an hour unless it is told what else to do."""

    store: Store
    now: datetime = START
    waited: list[float] = field(default_factory=list)
    instead: Callable[[], None] | None = None
    runs: list[str] = field(default_factory=list)

    def run(self, firing: Firing, schedule: Schedule, note_shift: Callable[[str], None]) -> Ran:
        self.runs.append(schedule.name)
        if self.instead is not None:
            self.instead()
        with self.store.begin() as tx:
            shift = shifts.current(tx) or shifts.start(tx, agents=["build"])
        note_shift(shift.id)
        self.now += timedelta(hours=1)
        with self.store.begin() as tx:
            shifts.end(tx, shift.id, outcome="quiet")
        return Ran(shift.id, "quiet", 0)

    def left(self, firing: Firing) -> Ran | None:
        with self.store.read() as tx:
            shift = shifts.latest(tx)
        if shift is None or shift.started < firing.started:
            return None
        return Ran(shift.id, shift.outcome, None if shift.outcome is None else 0)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += timedelta(seconds=seconds)

    @property
    def firer(self) -> Firer:
        return Firer(self.store, self, "host-1", lambda: self.now, self.wait)

    def install(self, schedule: Schedule = NIGHTLY) -> None:
        with self.store.begin() as tx:
            schedules.save(tx, schedule)

    def fire(self, name: str = "nightly") -> list[Firing]:
        return self.firer.fire(name)

    def at(self, text: str, zone: ZoneInfo = BERLIN) -> None:
        self.now = datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)

    def history(self) -> list[Firing]:
        with self.store.read() as tx:
            return firings.list(tx)[::-1]

    def states(self) -> list[str]:
        return [one.state for one in self.history()]

    def begin(self) -> Firing:
        """Claim what is due, as a process that is killed right after it."""
        with self.store.begin() as tx:
            found = due.due(tx, schedules.get(tx, "nightly")).now
            assert found is not None
            claimed = firings.claim(tx, "nightly", found.due)
            assert claimed is not None
            return claimed


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine.__new__(Machine)
    store = Store(f"sqlite:///{tmp_path / 'state.db'}", seal_key=b"k" * 32, clock=lambda: made.now)
    made.__init__(store)  # type: ignore[misc]
    yield made
    store.close()


# What is due --------------------------------------------------------------------------------------------------------


def test_nothing_is_run_before_it_is_due_however_often_it_is_called(machine: Machine) -> None:
    machine.install()
    assert [machine.fire() for _ in range(3)] == [[], [], []]
    machine.at("2026-01-06T01:59:59")
    assert machine.fire() == []
    assert machine.history() == []


def test_what_is_due_is_run_once_and_its_shift_is_noted(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:03")
    [done] = machine.fire()
    assert (done.state, done.outcome, done.exit_status, done.shift, done.detail) == ("done", "quiet", 0, "N-0001", "")
    assert done.due == datetime(2026, 1, 6, 1, tzinfo=UTC)
    assert (done.cause, done.ended) == ("time", machine.now)
    assert machine.fire() == []
    assert machine.history() == [done]
    with machine.store.read() as tx:
        said = [entry.action for entry in ledger.entries(tx, subject="schedule:nightly")]
        assert ledger.verify(tx)[1] == []
    assert sorted(said) == ["schedule.end", "schedule.fire", "schedule.install"]


def test_a_machine_that_was_off_for_a_week_makes_up_for_one_night(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-13T09:30:00")
    [done] = machine.fire()
    assert done.due == datetime(2026, 1, 13, 1, tzinfo=UTC)
    assert done.detail == "called 7 h 30 min late"
    assert machine.states() == ["missed"] * 7 + ["done"]
    assert {one.detail for one in machine.history()[:-1]} == {"not called"}
    assert machine.fire() == []
    assert len(machine.runs) == 1


def test_of_very_many_missed_times_the_last_are_listed_and_the_others_counted(machine: Machine) -> None:
    machine.install(Schedule(at=tuple(f"{hour:02}:00" for hour in range(24)), zone="UTC"))
    machine.now += timedelta(days=10)
    machine.fire()
    found = machine.history()
    assert [one.state for one in found] == ["missed"] * due.MOST_MISSED + ["done", "overlapped"]
    assert found[0].detail == f"not called; and {10 * 24 - 1 - due.MOST_MISSED} times before it"


def test_a_missed_run_is_not_made_up_for_once_its_end_has_passed(machine: Machine) -> None:
    machine.install(Schedule(at=("22:00",), zone="Europe/Berlin", until="06:00"))
    machine.at("2026-01-06T05:59:00")
    assert [one.state for one in machine.fire()] == ["done"]
    machine.at("2026-01-07T08:00:00")
    assert machine.fire() == []
    assert machine.states() == ["done", "missed"]
    assert machine.history()[-1].detail == "it was to end at 06:00 and was not called before"
    machine.at("2026-01-07T22:00:00")
    assert [one.state for one in machine.fire()] == ["done"]


def test_what_a_new_schedule_would_have_meant_for_yesterday_was_not_missed(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    machine.fire()
    machine.at("2026-01-06T09:00:00")
    machine.install(NIGHTLY.model_copy(update={"at": ("08:00",)}))
    assert machine.fire() == []
    machine.at("2026-01-08T09:00:00")
    machine.install(NIGHTLY.model_copy(update={"at": ("08:00",), "max_minutes": 5}))
    assert [one.state for one in machine.fire()] == ["done"], "only its limit is new: what was missed before stays so"
    assert machine.states() == ["done", "missed", "done"]


def test_to_install_the_same_again_changes_nothing_and_to_remove_keeps_the_history(machine: Machine) -> None:
    with machine.store.begin() as tx:
        assert schedules.save(tx, NIGHTLY)
        assert not schedules.save(tx, NIGHTLY)
    machine.at("2026-01-06T02:00:00")
    machine.fire()
    with machine.store.begin() as tx:
        schedules.remove(tx, "nightly")
        assert schedules.list(tx) == []
        assert due.next_run(tx) is None
    assert machine.states() == ["done"]
    with pytest.raises(NotFoundError, match="no schedule nightly"):
        machine.fire()


def test_the_next_run_of_all_schedules_is_told(machine: Machine) -> None:
    machine.install()
    machine.install(Schedule(name="noon", at=("12:00",), zone="America/New_York", days=("tue",)))
    with machine.store.read() as tx:
        found = due.next_run(tx)
    assert found is not None
    assert (found[0].name, f"{found[1].local:%a %H:%M}") == ("nightly", "Tue 02:00")


@pytest.mark.parametrize(
    ("zone", "first"),
    [("Europe/Berlin", "2026-03-25"), ("Europe/Berlin", "2026-10-21"), ("Australia/Lord_Howe", "2026-09-30")],
)
def test_a_caller_that_asks_each_hour_and_sometimes_is_off_accounts_for_each_night_once(
    machine: Machine, zone: str, first: str
) -> None:
    chosen = Schedule(at=("02:15",), zone=zone)
    machine.now = begin = datetime.fromisoformat(first).replace(minute=15, tzinfo=UTC)
    machine.install(chosen)
    for hour in range(9 * 24):
        machine.now = begin + timedelta(hours=hour)
        if hour % 61 < 34:  # It is on for 34 hours, then off for 27.
            machine.fire()
    want = [one.due for one in between(chosen, ZoneInfo(zone), after=begin, until=machine.history()[-1].due)]
    assert [one.due for one in machine.history()] == want
    assert len(want) >= 8
    assert set(machine.states()) == {"done", "missed"} or set(machine.states()) == {"done"}
    assert all(one.started >= one.due for one in machine.history())


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_a_run_that_breaks_is_noted_told_and_not_repeated_until_the_next_night(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")

    def broken() -> None:
        raise ConfigurationError("the key\nis not there")

    machine.instead = broken
    with pytest.raises(ConfigurationError):
        machine.fire()
    assert machine.fire() == []
    [failed] = machine.history()
    assert (failed.state, failed.outcome, failed.exit_status) == ("failed", "NC-CONFIG", 4)
    assert failed.detail == "the key is not there"
    machine.instead = None
    machine.at("2026-01-07T02:00:00")
    assert [one.state for one in machine.fire()] == ["done"]


def test_a_bug_is_noted_as_one(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")

    def broken() -> None:
        raise ZeroDivisionError("by zero")

    machine.instead = broken
    with pytest.raises(ZeroDivisionError):
        machine.fire()
    [failed] = machine.history()
    assert (failed.outcome, failed.exit_status, failed.detail) == ("NC-BUG", 70, "ZeroDivisionError: by zero")


def test_a_run_whose_time_comes_while_another_shift_runs_is_left_out(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")

    def busy() -> None:
        raise BusyError("pid 7 holds shift")

    machine.instead = busy
    [done] = machine.fire()
    assert (done.state, done.exit_status, done.detail) == ("overlapped", 0, "pid 7 holds shift")
    assert machine.fire() == []


def test_two_calls_at_once_are_one_run(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    inner: list[list[Firing]] = []
    machine.instead = lambda: inner.append(machine.fire())
    assert len(machine.fire()) == 1
    assert inner == [[]]
    with locks.held(machine.store, "schedule:nightly", hint=""), pytest.raises(BusyError):
        machine.firer.run_now("nightly")


def test_a_database_that_is_written_for_long_costs_no_night(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 1)
    machine.store.close()
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def wait(seconds: float) -> None:
            machine.wait(seconds)
            if machine.waited == [30, 60]:
                other.execute("ROLLBACK")

        [done] = Firer(machine.store, machine, "host-1", lambda: machine.now, wait).fire("nightly")
        assert done.state == "done"
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError):
            machine.fire()


def test_a_run_that_was_killed_before_its_shift_began_begins_with_the_next_call(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    killed = machine.begin()
    machine.now += timedelta(minutes=20)
    [done] = machine.fire()
    assert (done.id, done.state, done.shift) == (killed.id, "done", "N-0001")
    assert machine.fire() == []


def test_a_run_that_was_killed_before_its_shift_began_gives_way_to_a_newer_one(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    machine.begin()
    machine.at("2026-01-07T02:00:00")
    assert [one.state for one in machine.fire()] == ["missed", "done"]
    assert len(machine.runs) == 1
    assert machine.history()[0].detail == "its process was killed before the shift began"


def test_a_shift_that_was_killed_is_gone_on_with_and_then_tonights_is_run(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    machine.begin()
    with machine.store.begin() as tx:
        left = shifts.start(tx, agents=["build"])
    machine.at("2026-01-07T02:00:00")
    first, second = machine.fire()
    assert (first.state, first.shift) == ("done", left.id)
    assert (second.state, second.due) == ("done", datetime(2026, 1, 7, 1, tzinfo=UTC))
    assert second.shift != left.id


def test_a_process_that_was_killed_after_its_shift_had_ended_is_only_noted(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    machine.begin()
    with machine.store.begin() as tx:
        shifts.end(tx, shifts.start(tx, agents=["build"]).id, outcome="out_of_time")
    [done] = machine.fire()
    assert (done.state, done.outcome, done.shift) == ("done", "out_of_time", "N-0001")
    assert machine.runs == []


def test_a_run_by_hand_is_in_the_history_and_takes_no_nights_place(machine: Machine) -> None:
    machine.install()
    done = machine.firer.run_now("nightly")
    assert (done.cause, done.state, done.due) == ("hand", "done", START)
    machine.at("2026-01-06T02:00:00")
    assert [one.cause for one in machine.fire()] == ["time"]
    with pytest.raises(NotFoundError):
        machine.firer.run_now("another")


def test_jitter_is_waited_out_by_the_clock_and_not_at_all_by_a_late_run(machine: Machine) -> None:
    machine.install(NIGHTLY.model_copy(update={"jitter_minutes": 30}))
    machine.at("2026-01-06T02:00:00")
    [done] = machine.fire()
    assert machine.waited
    assert max(machine.waited) <= 30
    assert 0 < sum(machine.waited) < 1800
    waits = len(machine.waited)
    machine.at("2026-01-07T05:00:00")
    machine.fire()
    assert len(machine.waited) == waits
    assert done.detail == "", "a run is not late because of its jitter"


def test_a_clock_that_was_years_ahead_and_is_set_right_keeps_nothing_from_running(machine: Machine) -> None:
    machine.at("2030-01-05T12:00:00")
    machine.install()
    machine.at("2030-01-06T02:00:00")
    machine.fire()
    machine.at("2026-01-06T02:00:00")
    with machine.store.read() as tx:
        machine.now += timedelta(minutes=20)
        assert due.overdue_seconds(tx, schedules.get(tx, "nightly")) == 1200
    assert [(one.state, one.due.year) for one in machine.fire()] == [("done", 2026)]
    assert machine.fire() == []
    machine.at("2026-01-07T02:00:00")
    assert [one.state for one in machine.fire()] == ["done"]


def test_a_clock_that_is_set_back_by_an_hour_runs_no_night_twice(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    assert len(machine.fire()) == 1
    for text in ("2026-01-06T01:30:00", "2026-01-06T02:00:00", "2026-01-06T04:00:00"):
        machine.at(text)
        assert machine.fire() == []


def test_a_clock_that_is_set_back_while_the_jitter_is_waited_out_prolongs_it_by_no_year(machine: Machine) -> None:
    machine.install(NIGHTLY.model_copy(update={"jitter_minutes": 30}))
    machine.at("2026-01-06T02:00:00")
    wait = machine.wait

    def set_back(seconds: float) -> None:
        if not machine.waited:
            machine.at("2025-01-06T02:00:00")
        wait(seconds)

    Firer(machine.store, machine, "host-1", lambda: machine.now, set_back).fire("nightly")
    assert 0 < sum(machine.waited) <= 1800


def test_what_is_due_while_a_run_goes_on_is_left_out_and_called_overlapped(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")

    def long() -> None:
        machine.now += timedelta(hours=25)

    machine.instead = long
    machine.fire()
    machine.instead = None
    assert machine.fire() == []
    assert [(one.state, one.detail) for one in machine.history()] == [
        ("done", ""), ("overlapped", "the run before it still went on")
    ]  # fmt: skip
    machine.at("2026-01-08T02:00:00")
    assert [one.state for one in machine.fire()] == ["done"]


def test_a_shift_that_somebody_else_goes_on_with_is_noted_when_it_has_ended(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    machine.begin()
    with machine.store.begin() as tx:
        shift = shifts.start(tx, agents=["build"])

    def busy() -> None:
        raise BusyError("pid 7 holds shift")

    machine.instead = busy
    assert machine.fire() == []
    assert machine.states() == ["running"]
    with machine.store.begin() as tx:
        shifts.end(tx, shift.id, outcome="quiet")
    assert [(one.state, one.outcome) for one in machine.fire()] == [("done", "quiet")]


def test_what_is_due_while_a_run_goes_on_is_not_reported_as_called_by_nothing(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T03:00:00")

    def waits() -> float:
        with machine.store.read() as tx:
            return due.overdue_seconds(tx, schedules.get(tx, "nightly"))

    with locks.held(machine.store, "schedule:nightly", hint=""):
        assert waits() == 0
    assert waits() == 3600


def test_a_run_by_hand_leaves_what_was_missed_before_it_to_the_next_call(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T09:00:00")
    machine.firer.run_now("nightly")
    [done] = machine.fire()
    assert (done.cause, done.state, done.detail) == ("time", "done", "called 8 h 0 min late")


def test_a_shift_of_last_night_that_cannot_be_gone_on_with_costs_no_second_night(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    machine.begin()
    with machine.store.begin() as tx:
        shifts.start(tx, agents=["build"])
    machine.at("2026-01-07T02:00:00")

    def broken() -> None:
        machine.instead = None
        raise ConfigurationError("the key is not there")

    machine.instead = broken
    with pytest.raises(ConfigurationError):
        machine.fire()
    assert machine.states() == ["failed", "done"]


# The scheduler in a process -------------------------------------------------------------------------------------------


def test_the_scheduler_in_a_process_calls_what_is_due_and_no_other_backends_schedules(machine: Machine) -> None:
    machine.install()
    machine.install(NIGHTLY.model_copy(update={"name": "other", "backend": "cron"}))
    called: list[tuple[str, datetime]] = []

    def call(name: str) -> None:
        called.append((name, machine.now))
        machine.fire(name)

    def wait(seconds: float) -> bool:
        assert 0 <= seconds <= 30
        machine.now += timedelta(seconds=max(seconds, 0.001))
        return machine.now > datetime(2026, 1, 6, 3, tzinfo=UTC)

    machine.at("2026-01-06T01:30:00")
    in_process.serve(machine.store, clock=lambda: machine.now, wait=wait, call=call)
    assert [name for name, _ in called] == ["nightly"]
    assert called[0][1] - datetime(2026, 1, 6, 1, tzinfo=UTC) < timedelta(seconds=1)


def test_a_call_that_comes_to_nothing_is_not_repeated_at_once(machine: Machine) -> None:
    machine.install()
    machine.at("2026-01-06T02:00:00")
    begin = machine.now
    called: list[str] = []

    def wait(seconds: float) -> bool:
        machine.now += timedelta(seconds=seconds)
        return machine.now > begin + timedelta(minutes=25)

    in_process.serve(machine.store, clock=lambda: machine.now, wait=wait, call=called.append)
    assert called == ["nightly"] * 3


def test_one_scheduler_a_repository_is_enough(machine: Machine) -> None:
    machine.install()
    job = Job("x", "nightly", ("/bin/true",), Path("/"), NIGHTLY, {}, Path("/x.log"))
    backend = in_process.InProcess(machine.store)
    assert not backend.status(job).enabled
    with locks.held(machine.store, in_process.LOCK, hint=""):
        assert backend.status(job).enabled
        with pytest.raises(BusyError):
            in_process.serve(machine.store, clock=lambda: machine.now, wait=lambda _: True, call=print)


def test_the_scheduler_in_a_process_outlives_what_breaks_and_a_clock_that_is_set_back(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.install()
    called: list[int] = []
    clock = ["2030-01-06T02:00:00", "2026-01-07T02:00:00", "2026-01-08T02:00:00"]

    def call(name: str) -> None:
        called.append(machine.now.year)
        raise FileNotFoundError(2, "No such file or directory", "/gone/bin/python")

    def wait(seconds: float) -> bool:
        assert 0 <= seconds <= 30
        if clock:
            machine.at(clock.pop(0))
        return not clock

    in_process.serve(machine.store, clock=lambda: machine.now, wait=wait, call=call)
    assert called == [2030, 2026]
    assert "/gone/bin/python" in caplog.text


# The environment ------------------------------------------------------------------------------------------------------


def test_what_is_captured_are_places_and_languages_and_no_secret(tmp_path: Path) -> None:
    mine, everybodys = tmp_path / "bin", tmp_path / "open"
    mine.mkdir()
    everybodys.mkdir()
    everybodys.chmod(0o777)
    given = {
        "PATH": f"{mine}:.:bin::/nowhere/at/all:{everybodys}:{mine}",
        "LANG": "de_DE.UTF-8",
        "HTTPS_PROXY": "http://ada:secret@proxy:3128",
        "http_proxy": "ada:secret@proxy:3128",
        "NO_PROXY": "localhost",
        "ANTHROPIC_API_KEY": "sk-1",
        "SSH_AUTH_SOCK": "/tmp/agent",
        "TZ": "Europe/Berlin\nX=1",
        "HOME": "",
    }
    found = captured.capture(given)
    assert found.environment == {"PATH": str(mine), "LANG": "de_DE.UTF-8", "NO_PROXY": "localhost"}
    assert len(found.warnings) == 7
    assert not any("secret" in warning for warning in found.warnings)


def test_no_folder_of_path_stays_that_an_agents_work_may_get_into(gate: Gate, tmp_path: Path) -> None:
    """Nightcrew's own calls of git and the like are in no sandbox: at night they would run what an agent put there."""
    inside = gate.project.root / ".venv" / "bin"
    workspace = gate.project.work_dir / "workspaces" / "T-0001" / "bin"
    below, link = tmp_path / "open" / "bin", tmp_path / "link"
    for folder in (inside, workspace, below):
        folder.mkdir(parents=True)
    below.parent.chmod(0o777)
    link.symlink_to(inside)
    path = os.pathsep.join(map(str, ("/usr/bin", inside, workspace, below, link)))
    prepared = scheduling.prepare(gate.project, NIGHTLY, backend="in-process", given={"PATH": path})
    assert prepared.environment == {"PATH": "/usr/bin"}
    assert len(prepared.warnings) == 4


def test_a_run_sees_what_was_captured_and_nothing_else_of_those_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("VIRTUAL_ENV", "/x")
    monkeypatch.setenv("OWN_KEY", "1")
    for name in captured.NAMES:
        monkeypatch.setenv(name, os.environ.get(name, ""))  # put back at the end
    captured.apply({"PATH": "/opt/bin", "JAVA_HOME": "/java"})
    seen = {name: os.environ[name] for name in (*captured.NAMES, "OWN_KEY") if name in os.environ}
    assert seen == {"PATH": "/opt/bin", "JAVA_HOME": "/java", "OWN_KEY": "1"}


# In a repository ------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-true-anthropic")
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


def install(gate: Gate, schedule: Schedule = NIGHTLY, backend: str = "in-process") -> scheduling.Installed:
    prepared = scheduling.prepare(gate.project, schedule, backend=backend, given=os.environ)
    return scheduling.install(gate.project, prepared)


def test_a_job_says_all_that_its_caller_needs_and_no_secret(gate: Gate) -> None:
    job = install(gate).shown.job
    root = str(gate.project.root)
    assert job.argv[1:4] == ("-P", "-m", "nightcrew")
    assert job.argv[4:] == ("schedule", "fire", "nightly", "--repo", root)
    assert Path(job.argv[0]).is_absolute()
    assert set(job.id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
    assert job.environment["NIGHTCREW_CONFIG_DIR"] == os.environ["NIGHTCREW_CONFIG_DIR"]
    assert "sk-true-anthropic" not in repr(job)
    assert job.log.parent.is_dir()
    other = scheduling.job_id(gate.project.root, "other")
    assert other != job.id


def test_the_zone_of_the_terminal_is_meant_if_none_is_named(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Schedule(at=("02:00",))
    for zone, used in (("Asia/Kathmandu", "Asia/Kathmandu"), (":Asia/Kathmandu", "Asia/Kathmandu"), ("nonsense", "")):
        monkeypatch.setenv("TZ", zone)
        assert scheduling.prepare(gate.project, plain, backend="in-process", given=os.environ).schedule.zone == used


def test_a_key_that_only_a_terminal_has_is_warned_of_until_it_is_kept(gate: Gate) -> None:
    (gate.project.root / "nightcrew.toml").write_text('[agents.build]\nbrains = ["anthropic:claude-sonnet-4-5"]\n')
    gate.reopen()
    shown = install(gate).shown
    [key] = [key for key in shown.keys if key.name == "ANTHROPIC_API_KEY"]
    assert key.place == "environment"
    assert key.warning in shown.warnings
    assert key.warning.endswith("nightcrew key add ANTHROPIC_API_KEY")
    credentials.keep_in_file("ANTHROPIC_API_KEY", credentials.own_file("ANTHROPIC_API_KEY"), "sk-true-anthropic")
    again = scheduling.show(gate.project, "nightly")
    assert [key.place for key in again.keys if key.name == "ANTHROPIC_API_KEY"] == ["file"]
    assert "sk-true-anthropic" not in str(again.plain())


def test_an_install_that_the_machine_refuses_leaves_all_as_it_was(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "no-programs").mkdir()
    before = os.environ["PATH"]
    for known in (None, NIGHTLY):
        if known is not None:
            install(gate, known)
        kept = [(one.schedule, one.since) for one in schedules_of(gate)]
        prepared = scheduling.prepare(gate.project, Schedule(at=("03:00",)), backend="cron", given=os.environ)
        monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
        with pytest.raises(ConfigurationError):
            scheduling.install(gate.project, prepared)
        monkeypatch.setenv("PATH", before)
        assert [one.schedule for one in schedules_of(gate)] == [schedule for schedule, _ in kept]


def test_what_a_run_sees_lies_where_no_agent_can_write_and_goes_with_the_schedule(gate: Gate) -> None:
    shown = install(gate).shown
    config = Path(os.environ["NIGHTCREW_CONFIG_DIR"])
    [there] = (config / "schedules").iterdir()
    assert there.stat().st_mode & 0o777 == 0o600
    assert shown.environment["PATH"]
    with gate.project.store.read() as tx:
        assert shown.environment["PATH"] not in str([ledger.data(entry) for entry in ledger.entries(tx)])
    text = there.read_text()
    there.write_text(text.replace('"PATH"', '"LD_PRELOAD"'))
    assert "LD_PRELOAD" not in scheduling.show(gate.project, "nightly").environment, "no other names are taken"
    there.write_text("[")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        scheduling.show(gate.project, "nightly")
    there.unlink()
    assert any("no environment is kept" in warning for warning in scheduling.show(gate.project, "nightly").warnings)
    there.write_text(text)
    scheduling.remove(gate.project, "nightly")
    assert not there.exists()


def schedules_of(gate: Gate) -> list[schedules.Kept]:
    with gate.project.store.read() as tx:
        return schedules.list(tx)


@pytest.mark.parametrize(
    "wrong", [{"agents": ("nobody",)}, {"brain": "nobody"}, {"zone": "Mars/Olympus"}], ids=lambda wrong: str(*wrong)
)
def test_what_is_not_there_cannot_be_scheduled(gate: Gate, wrong: dict[str, object]) -> None:
    with pytest.raises(NightcrewError):
        scheduling.prepare(gate.project, NIGHTLY.model_copy(update=wrong), backend="in-process", given={})


def test_a_schedule_that_nothing_calls_raises_an_alert_until_it_is_called(gate: Gate) -> None:
    install(gate)
    watcher = alerting.watcher(gate.project)

    def fires() -> bool:
        watcher.look()
        gate.now += timedelta(minutes=1)  # A minute counts when it is complete.
        watcher.look()
        with gate.project.store.read() as tx:
            return any(one.rule == "schedule-missed" for one in alerts.open_ones(tx))

    gate.now = datetime(2026, 1, 6, 1, 13, tzinfo=UTC)
    assert not fires()
    gate.now += timedelta(minutes=2)
    assert fires()
    with gate.project.store.begin() as tx:
        firings.claim(tx, "nightly", datetime(2026, 1, 6, 1, tzinfo=UTC))
    assert not fires()
    gate.now += timedelta(days=1)
    assert fires()
    scheduling.remove(gate.project, "nightly")
    assert not fires()


def test_a_night_that_cannot_begin_is_told_at_once(gate: Gate) -> None:
    install(gate, NIGHTLY.model_copy(update={"agents": ("build",)}))
    gate.now = datetime(2026, 1, 6, 1, 0, tzinfo=UTC)
    with gate.project.store.begin() as tx:
        schedules.save(tx, NIGHTLY.model_copy(update={"agents": ("nobody",)}))
    with pytest.raises(NightcrewError):
        scheduled.fire(gate.project, "nightly")
    with gate.project.store.read() as tx:
        [notice] = [ledger.data(entry) for entry in ledger.entries(tx, subject="alert:notice")]
    assert notice["title"] == "[repo] the scheduled run nightly could not begin"
    assert "nobody" in str(notice["lines"])
    assert scheduled.fire(gate.project, "nightly") == []


def test_a_late_night_that_cannot_begin_is_told_though_a_run_by_hand_was_due_after_it(gate: Gate) -> None:
    install(gate, NIGHTLY)
    gate.now = datetime(2026, 1, 6, 8, 0, tzinfo=UTC)
    with gate.project.store.begin() as tx:
        schedules.save(tx, NIGHTLY.model_copy(update={"agents": ("nobody",)}))
    for call in (scheduled.run_now, scheduled.fire):
        with pytest.raises(NightcrewError):
            call(gate.project, "nightly")
        gate.now += timedelta(hours=1)
    with gate.project.store.read() as tx:
        assert len([*ledger.entries(tx, subject="alert:notice")]) == 1


def test_a_large_log_is_turned_over_under_the_run_that_writes_it(gate: Gate) -> None:
    log = install(gate).shown.job.log
    log.write_bytes(b"x" * 1_000_001)
    with log.open("ab", buffering=0) as stream:
        scheduled.fire(gate.project, "nightly")
        stream.write(b"what this run says")
    assert log.read_bytes() == b"what this run says"
    assert log.with_suffix(".log.1").stat().st_size == 1_000_001
