"""What launchd, systemd and cron are told of a schedule: read back by their own programs wherever these are there."""

import json
import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import schedulers

from nightcrew.model.errors import BusyError, ConfigurationError, UsageError
from nightcrew.model.scheduling import DAYS, Schedule, between
from nightcrew.schedule import backends
from nightcrew.schedule.cron import Cron
from nightcrew.schedule.crontab import block, with_block, without_block
from nightcrew.schedule.launchd import Launchd
from nightcrew.schedule.local_times import LocalTime, local_minutes, local_times
from nightcrew.schedule.machine import Machine, Ran, Runner, run
from nightcrew.schedule.protocol import Job
from nightcrew.schedule.systemd import Systemd

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NASTY = "a b%h;$HOME \"q\" 's' \\ü"
ARGUMENTS = ("a b", "$HOME ${HOME} $$", "100% %h", "\"q\" 's'", "back\\slash\\n", "", "ü;|&><*?~#")


def machine(home: Path, runner: Runner = run, environment: Mapping[str, str] | None = None) -> Machine:
    """A machine with a home of its own, where no scheduler can be reached unless ``runner`` reaches one."""
    home.mkdir(exist_ok=True)
    reachable = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "no-runtime")}
    return Machine(
        home=home, environment={**reachable, **(environment or {})}, user="ada", uid=1001, zone=BERLIN, runner=runner,
        clock=lambda: NOW,
    )  # fmt: skip


def job(folder: Path, *argv: str, at: Sequence[str] = ("02:00",), zone: str = "Europe/Berlin", **more: Any) -> Job:
    """A job of a repository in ``folder``."""
    root = folder / "repo"
    root.mkdir(parents=True, exist_ok=True)
    return Job(
        id="sums-1a2b3c-nightly",
        name="nightly",
        argv=argv or ("/usr/bin/env", "true"),
        root=root,
        schedule=Schedule(at=tuple(at), zone=zone, **more),
        environment={"NIGHTCREW_CONFIG_DIR": str(folder / "config"), "WORDS": NASTY},
        log=root / "schedule.log",
    )


def teller(folder: Path) -> str:
    """A program that tells its arguments, its folder and a variable, and that a person should look."""
    folder.mkdir(exist_ok=True)
    program = folder / "nightcrew"
    told = "json.dumps([sys.argv[1:], os.getcwd(), os.environ['WORDS']])"
    program.write_text(f"#!{sys.executable}\nimport json, os, sys\nprint({told})\nsys.exit(1)\n")
    program.chmod(0o755)
    return str(program)


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder, and links by what they point to."""
    return {
        str(path.relative_to(folder)): bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


# Times on the wall


def test_a_time_that_summer_time_leaves_out_has_a_time_of_its_own() -> None:
    schedule = Schedule(at=("02:00",), zone="Europe/Berlin")

    assert local_times(schedule, BERLIN, NOW) == (LocalTime(2, 0), LocalTime(3, 0, days=(7,), months=(3,)))


def test_in_a_zone_without_summer_time_there_is_one_time_only() -> None:
    schedule = Schedule(at=("02:00",), days=("mon", "fri"), zone="Asia/Kathmandu")

    assert local_times(schedule, ZoneInfo("Asia/Kathmandu"), NOW) == (LocalTime(2, 0, days=(1, 5)),)


def test_a_clock_in_another_zone_shows_another_hour_for_some_weeks() -> None:
    schedule = Schedule(at=("02:00",), days=("tue",), zone="Europe/Berlin")

    assert local_times(schedule, ZoneInfo("America/New_York"), NOW) == (
        LocalTime(20, 0, days=(1,)),
        LocalTime(21, 0, days=(1,), months=(3, 10, 11)),
    )


def test_a_schedule_without_a_zone_goes_by_the_machines_clock() -> None:
    assert local_times(Schedule(at=("05:30",)), BERLIN, NOW) == (LocalTime(5, 30),)


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Santiago",
    "Africa/Cairo",
)


@settings(max_examples=12, deadline=None)
@given(
    at=st.sampled_from(["00:00", "00:30", "01:30", "02:00", "02:15", "02:30", "03:00", "23:45"]),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    zone=st.sampled_from(ZONES),
    clock=st.sampled_from([*ZONES, "UTC"]),
)
def test_each_occurrence_is_met_on_each_clock(at: str, days: set[Any], zone: str, clock: str) -> None:
    schedule = Schedule(at=(at,), days=tuple(days), zone=zone)
    wall = ZoneInfo(clock)
    times, minutes = local_times(schedule, wall, NOW), local_minutes(schedule, wall, NOW)
    for occurrence in between(schedule, ZoneInfo(zone), after=NOW, until=NOW + timedelta(days=800)):
        shown = occurrence.due.astimezone(wall)
        assert any(
            (time.hour, time.minute) == (shown.hour, shown.minute)
            and (not time.days or shown.isoweekday() in time.days)
            and (not time.months or shown.month in time.months)
            for time in times
        )
        assert shown.minute in minutes


# systemd


@pytest.mark.parametrize(
    ("zone", "at", "base"),
    [
        ("Europe/Berlin", "02:00", "2027-03-27"),
        ("Europe/Berlin", "02:30", "2027-10-30"),
        ("America/New_York", "02:30", "2027-03-13"),
        ("America/New_York", "01:30", "2027-11-06"),
        ("Australia/Lord_Howe", "02:15", "2027-10-01"),
        ("Australia/Lord_Howe", "01:45", "2027-04-02"),
        ("America/Santiago", "00:30", "2027-09-04"),
        ("Africa/Cairo", "00:00", "2027-04-29"),
        ("Asia/Kathmandu", "02:00", "2027-03-27"),
    ],
)
def test_systemd_itself_reckons_each_occurrence_when_the_clocks_change(
    tmp_path: Path, zone: str, at: str, base: str
) -> None:
    analyze = schedulers.need("systemd-analyze", "NIGHTCREW_REQUIRE_SYSTEMD")
    nightly = job(tmp_path, at=(at,), zone=zone)
    timer = next(
        data for path, data in Systemd(machine(tmp_path / "home")).files(nightly).items() if path.suffix == ".timer"
    )
    events = [line.partition("=")[2] for line in timer.decode().splitlines() if line.startswith("OnCalendar=")]
    begin = datetime.fromisoformat(base).replace(tzinfo=UTC)

    told = subprocess.run(
        [analyze, "calendar", f"--base-time={base} 00:00:00 UTC", "--iterations=6", *events],
        env={"TZ": "UTC", "LC_ALL": "C"}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    reckoned = {
        datetime.strptime(line.partition(": ")[2], "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
        for line in told.splitlines()
        if line.strip().startswith(("Next elapse:", "Iter. #"))
    }
    due = {one.due for one in between(nightly.schedule, ZoneInfo(zone), after=begin, until=begin + timedelta(days=4))}
    assert len(due) >= 4
    assert due <= reckoned


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = schedulers.need("systemd-analyze", "NIGHTCREW_REQUIRE_SYSTEMD")
    program = teller(tmp_path / NASTY)
    (tmp_path / "runtime").mkdir(mode=0o700)
    written = Systemd(machine(tmp_path / "home")).install(job(tmp_path / NASTY, program, *ARGUMENTS))

    done = subprocess.run(
        [analyze, "verify", "--user", *map(str, written[:2])],
        env={"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "runtime"), "LC_ALL": "C"},
        capture_output=True, text=True,
    )  # fmt: skip

    # What it does not know it only warns of.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_units_go_into_a_scratch_home_and_leave_it_as_it_was(tmp_path: Path) -> None:
    schedulers.need("systemctl", "NIGHTCREW_REQUIRE_SYSTEMD")
    home, nightly = tmp_path / "home", job(tmp_path)
    backend = Systemd(machine(home))
    other = home / ".config/systemd/user/timers.target.wants/other.timer"
    other.parent.mkdir(parents=True)
    other.write_text("")
    before = files_of(home)

    written = backend.install(nightly)
    status = backend.status(nightly)
    once = files_of(home)
    backend.install(nightly)

    assert [path.relative_to(home / ".config/systemd/user") for path in written] == [
        Path("nightcrew-sums-1a2b3c-nightly.service"),
        Path("nightcrew-sums-1a2b3c-nightly.timer"),
        Path("timers.target.wants/nightcrew-sums-1a2b3c-nightly.timer"),
    ]
    assert files_of(home) == once
    assert (status.installed, status.enabled) == (True, False)
    assert "no user manager of systemd answers" in " ".join(status.warnings)
    backend.remove(nightly)
    backend.remove(nightly)
    assert files_of(home) == before
    assert not backend.status(nightly).installed


def test_systemd_units_honour_the_base_directories(tmp_path: Path) -> None:
    backend = Systemd(machine(tmp_path / "home", environment={"XDG_CONFIG_HOME": str(tmp_path / "elsewhere")}))

    assert {path.parent for path in backend.files(job(tmp_path))} == {tmp_path / "elsewhere/systemd/user"}


def test_a_unit_changed_by_hand_is_told(tmp_path: Path) -> None:
    nightly = job(tmp_path)
    backend = Systemd(machine(tmp_path / "home"))
    _, timer, _ = backend.install(nightly)
    timer.write_text(timer.read_text().replace("02:00", "04:00"))

    assert any("is not what an install would write now" in warning for warning in backend.status(nightly).warnings)


def test_systemd_is_handed_everything_as_it_was_meant(tmp_path: Path) -> None:
    """These lines were read by a real user manager (252), which handed over exactly what was given."""
    nightly = job(tmp_path, "/opt/a b%$'/nightcrew", *ARGUMENTS)
    service = next(
        data for path, data in Systemd(machine(tmp_path / "home")).files(nightly).items() if path.suffix == ".service"
    )

    lines = service.decode().splitlines()

    assert (
        'ExecStart="/bin/sh" "-c" "exec \\"$$0\\" \\"$$@\\"" "/opt/a b%%$$\'/nightcrew" "a b" "$$HOME $${HOME} $$$$" '
        '"100%% %%h" "\\"q\\" \'s\'" "back\\\\slash\\\\n" "" "ü;|&><*?~#"'
    ) in lines
    assert """Environment="WORDS=a b%%h;$HOME \\"q\\" 's' \\\\ü\"""" in lines
    assert f"WorkingDirectory={nightly.root}" in lines
    assert f"StandardOutput=append:{nightly.log}" in lines
    # As Ctrl-C; 1 says that a person should look.
    assert {"KillSignal=SIGINT", "KillMode=mixed", "SuccessExitStatus=1", "Type=oneshot"} <= {*lines}


class Systemctl:
    """What systemctl and loginctl answer of a manager that runs, as version 252 does."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.active = False

    def __call__(self, argv: Sequence[str], environment: Mapping[str, str]) -> Ran:
        if argv[0] == "loginctl":
            return Ran(0, b"no\n", b"")
        _, _, verb, *rest = argv
        if verb == "is-system-running":
            return Ran(0, b"running\n", b"")
        if verb == "show":
            state = "active" if self.active else "inactive"
            following = "Sun 2026-11-29 01:00:00 UTC" if self.active else ""
            return Ran(0, f"NextElapseUSecRealtime={following}\nActiveState={state}\n".encode(), b"")
        self.active = {"restart": True, "stop": False}.get(verb, self.active)
        self.said.append(" ".join((verb, *rest)))
        return Ran(0, b"", b"")


def test_a_manager_that_runs_is_told_and_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    home, nightly, systemctl = tmp_path / "home", job(tmp_path), Systemctl()
    backend = Systemd(machine(home, systemctl))
    timer = "nightcrew-sums-1a2b3c-nightly.timer"

    backend.install(nightly)
    status = backend.status(nightly)
    backend.remove(nightly)

    service = timer.replace(".timer", ".service")
    told = ["daemon-reload", f"restart {timer}", f"stop {timer}", "daemon-reload", f"reset-failed {service} {timer}"]
    assert systemctl.said == told
    assert (status.installed, status.enabled, status.next) == (True, True, datetime(2026, 11, 29, 1, tzinfo=UTC))
    assert status.warnings == ("it runs only while ada is logged in; run: loginctl enable-linger ada",)
    assert files_of(home) == {}


def test_a_timer_that_systemd_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def refusing(argv: Sequence[str], environment: Mapping[str, str]) -> Ran:
        return Ran(0, b"running\n", b"") if "is-system-running" in argv else Ran(1, b"", b"Refusing.\n")

    with pytest.raises(ConfigurationError, match="daemon-reload failed: Refusing"):
        Systemd(machine(home, refusing)).install(job(tmp_path))

    assert files_of(home) == {}


# launchd


class Launchctl:
    """What launchctl answers, after its manual and macOS 14: there is no launchd but on a Mac."""

    def __init__(self, *, screen: bool = True) -> None:
        self.screen, self.running = screen, False
        self.loaded: dict[str, dict[str, Any]] = {}
        self.disabled: set[str] = set()

    def __call__(self, argv: Sequence[str], environment: Mapping[str, str]) -> Ran:
        program, verb, *rest = argv
        assert program == "launchctl"
        if verb == "managerpid":
            return Ran(0, b"1\n", b"")
        if verb == "print-disabled":
            lines = "".join(f'\t"{name}" => disabled\n' for name in self.disabled)
            return Ran(0, f"disabled services = {{\n{lines}}}\n".encode(), b"")
        if verb == "bootstrap":
            domain, path = rest
            content = plistlib.loads(Path(path).read_bytes())
            if domain.startswith("gui/") and not self.screen:
                return Ran(125, b"", b"Bootstrap failed: 125: Domain does not support specified action\n")
            if f"{domain}/{content['Label']}" in self.loaded:
                return Ran(5, b"", b"Bootstrap failed: 5: Input/output error\n")
            self.loaded[f"{domain}/{content['Label']}"] = content
            return Ran(0, b"", b"")
        (target,) = rest
        if verb == "enable":
            self.disabled.discard(target.rpartition("/")[2])
            return Ran(0, b"", b"")
        if target not in self.loaded:
            return Ran(113, b"", b'Could not find service "x" in domain\n')
        if verb == "bootout":
            del self.loaded[target]
            return Ran(0, b"", b"")
        return Ran(0, f"{target} = {{\n{chr(9) + 'pid = 77' if self.running else ''}\n}}\n".encode(), b"")


def test_the_property_list_says_when_and_what(tmp_path: Path) -> None:
    nightly = job(tmp_path / NASTY, "/opt/nightcrew", *ARGUMENTS, days=("mon", "sun"))
    ((path, data),) = Launchd(machine(tmp_path / "home")).files(nightly).items()

    assert path == tmp_path / "home/Library/LaunchAgents/nightcrew.sums-1a2b3c-nightly.plist"
    content = plistlib.loads(data)
    assert content["Label"] == path.stem
    assert content["ProgramArguments"] == ["/opt/nightcrew", *ARGUMENTS]
    assert content["WorkingDirectory"] == str(nightly.root)
    assert content["EnvironmentVariables"] == nightly.environment
    assert content["StandardOutPath"] == content["StandardErrorPath"] == str(nightly.log)
    assert content["RunAtLoad"] is True
    assert content["StartCalendarInterval"] == [
        {"Weekday": 1, "Hour": 2, "Minute": 0},
        {"Weekday": 0, "Hour": 2, "Minute": 0},
        {"Month": 3, "Weekday": 0, "Hour": 3, "Minute": 0},
    ]
    if shutil.which("plutil"):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        assert subprocess.run(["plutil", "-lint", str(path)], capture_output=True).returncode == 0


@pytest.mark.parametrize(("screen", "domain"), [(True, "gui/1001"), (False, "user/1001")])
def test_launchd_loads_the_agent_and_unloads_it(tmp_path: Path, screen: bool, domain: str) -> None:
    home, nightly, launchctl = tmp_path / "home", job(tmp_path), Launchctl(screen=screen)
    backend = Launchd(machine(home, launchctl))

    written = backend.install(nightly)
    status = backend.status(nightly)
    backend.install(nightly)

    assert list(launchctl.loaded) == [f"{domain}/nightcrew.sums-1a2b3c-nightly"]
    assert (status.installed, status.enabled, status.warnings) == (True, True, ())
    assert [str(path.relative_to(home)) for path in written] == list(files_of(home))
    backend.install(job(tmp_path, at=("04:00",)))
    assert [content["StartCalendarInterval"][0]["Hour"] for content in launchctl.loaded.values()] == [4]
    backend.remove(nightly)
    backend.remove(nightly)
    assert (launchctl.loaded, files_of(home)) == ({}, {})


def test_launchd_is_not_made_to_end_a_run_that_goes_on(tmp_path: Path) -> None:
    launchctl, nightly = Launchctl(), job(tmp_path)
    backend = Launchd(machine(tmp_path / "home", launchctl))
    backend.install(nightly)
    launchctl.running = True

    backend.install(nightly)  # nothing to change, nothing to end
    with pytest.raises(BusyError):
        backend.install(job(tmp_path, at=("04:00",)))
    with pytest.raises(BusyError):
        backend.remove(nightly)

    assert backend.status(nightly).enabled


def test_an_agent_that_was_switched_off_is_told(tmp_path: Path) -> None:
    launchctl, nightly = Launchctl(), job(tmp_path)
    backend = Launchd(machine(tmp_path / "home", launchctl))
    backend.install(nightly)
    launchctl.disabled.add("nightcrew.sums-1a2b3c-nightly")

    status = backend.status(nightly)

    assert not status.enabled
    assert status.warnings == ("it is switched off; run: launchctl enable gui/1001/nightcrew.sums-1a2b3c-nightly",)


def test_a_property_list_goes_into_a_scratch_home_where_there_is_no_launchd(tmp_path: Path) -> None:
    home, nightly = tmp_path / "home", job(tmp_path)
    backend = Launchd(machine(home, lambda argv, environment: Ran(127, b"", b"launchctl: No such file or directory")))

    backend.install(nightly)
    status = backend.status(nightly)

    assert (status.installed, status.enabled) == (True, False)
    assert "launchd does not answer" in status.warnings[0]
    backend.remove(nightly)
    assert files_of(home) == {}


# cron

LINES = b"0 * * * * /bin/sh '/home/ada/a \\% b.sh'\n@reboot /bin/sh x\n"
# Lines of others: any bytes but those that a crontab cannot hold, and no mark of ours.
FOREIGN = st.lists(
    st.one_of(
        st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\0", b"")),
        st.sampled_from(
            [b"", b"# nightcrew", b"#nightcrew begin x", b" \t", b"MAILTO=ada", b"\r", b"\xff\x85", b"5 5 * * * a\\%b"]
        ),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(above=FOREIGN, below=FOREIGN, other=st.booleans())
def test_the_lines_of_others_stay_byte_for_byte(above: list[bytes], below: list[bytes], other: bool) -> None:
    before = b"".join(line + b"\n" for line in above)
    after = b"".join(line + b"\n" for line in below)
    if other:
        before = with_block(before, "other", b"1 1 * * * other\n")

    installed = with_block(before, "own", LINES) + after
    again = with_block(installed, "own", LINES)
    changed = with_block(installed, "own", b"7 * * * * x\n")

    assert installed == before + b"# nightcrew begin own\n" + LINES + b"# nightcrew end own\n" + after
    assert again == installed
    assert block(installed, "own") == LINES
    assert block(changed, "own") == b"7 * * * * x\n"
    assert without_block(installed, "own") == without_block(changed, "own") == before + after
    assert without_block(before + after, "own") == before + after


def test_a_last_line_without_a_break_is_not_joined_to_ours() -> None:
    assert without_block(with_block(b"1 1 * * * a", "own", LINES), "own") == b"1 1 * * * a\n"


@pytest.mark.parametrize(
    "text",
    [
        b"# nightcrew begin own\n1 1 * * * a\n",
        b"1 1 * * * a\n# nightcrew end own\n",
        b"# nightcrew begin own\n# nightcrew begin own\n# nightcrew end own\n",
        b"# nightcrew begin own\n# nightcrew end other\n",
    ],
)
def test_a_crontab_whose_marks_do_not_pair_is_left_alone(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match="crontab"):
        with_block(text, "own", LINES)
    with pytest.raises(ConfigurationError, match="crontab"):
        without_block(text, "own")


def test_the_script_that_cron_runs_hands_everything_over_as_it_was_meant(tmp_path: Path) -> None:
    nightly = job(tmp_path / NASTY, teller(tmp_path / NASTY), *ARGUMENTS)
    script = Cron(machine(tmp_path / "home")).files(nightly)[
        tmp_path / "home/.config/nightcrew/cron/sums-1a2b3c-nightly.sh"
    ]

    subprocess.run(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, cwd="/")

    assert json.loads(nightly.log.read_text()) == [[*ARGUMENTS], str(nightly.root), NASTY]


def test_the_script_that_cron_runs_does_not_bring_a_deleted_repository_back(tmp_path: Path) -> None:
    nightly = job(tmp_path / "x")
    nightly = Job(**{**nightly.__dict__, "root": tmp_path / "gone", "log": tmp_path / "gone/.nightcrew/logs/a.log"})
    [script, _] = Cron(machine(tmp_path / "home")).files(nightly).values()

    done = subprocess.run(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, cwd="/", capture_output=True)

    assert done.returncode == 4
    assert b"gone" in done.stderr, "cron mails it"
    assert not (tmp_path / "gone").exists()


def test_a_schedule_can_be_removed_where_cron_was_removed_before_it(tmp_path: Path) -> None:
    there = machine(tmp_path / "home", lambda _argv, _environment: Ran(127, b"", b"crontab: not found"))
    script = tmp_path / "home/.config/nightcrew/cron/sums-1a2b3c-nightly.sh"
    script.parent.mkdir(parents=True)
    script.touch()

    Cron(there).remove(job(tmp_path))

    assert not script.exists()


def test_cron_asks_each_hour_at_the_minutes_that_its_clock_shows(tmp_path: Path) -> None:
    """Kathmandu is a quarter of an hour off, and Lord Howe is half an hour off in one half of the year."""
    config = {"NIGHTCREW_CONFIG_DIR": str(tmp_path / "100% a")}
    for zone, minutes in (("Europe/Berlin", "0"), ("Asia/Kathmandu", "15"), ("Australia/Lord_Howe", "0,30")):
        lines = (
            Cron(machine(tmp_path / "home", environment=config))
            .files(job(tmp_path, zone=zone))[Path("crontab")]
            .decode()
        )
        script = str(tmp_path / "100\\% a/cron/sums-1a2b3c-nightly.sh")
        assert [line for line in lines.splitlines() if not line.startswith("#")] == [
            f"{minutes} * * * * /bin/sh '{script}'",
            f"@reboot /bin/sh '{script}'",
        ]


# All


@pytest.mark.parametrize("kind", [Systemd, Launchd, Cron])
def test_what_a_unit_has_no_form_for_is_refused(
    tmp_path: Path, kind: type[Systemd] | type[Launchd] | type[Cron]
) -> None:
    backend = kind(machine(tmp_path / "home"))
    for folder in ("a\nExecStart=b", "a\x1b[2J", "a\udcff"):
        nightly = Job(**{**job(tmp_path).__dict__, "root": tmp_path / folder})
        with pytest.raises(ConfigurationError, match="no form for"):
            backend.install(nightly)
    with pytest.raises(ConfigurationError):
        backend.install(Job(**{**job(tmp_path).__dict__, "root": tmp_path / "ends in a backslash\\"}))
    with pytest.raises(ConfigurationError):
        backend.install(Job(**{**job(tmp_path).__dict__, "id": "../x"}))

    assert files_of(tmp_path / "home") == {}


def test_the_backend_is_the_first_that_can_be_used_and_otherwise_each_reason_is_told(tmp_path: Path) -> None:
    def nothing(argv: Sequence[str], environment: Mapping[str, str]) -> Ran:
        return Ran(127, b"", f"{argv[0]}: No such file or directory".encode())

    def a_manager(argv: Sequence[str], environment: Mapping[str, str]) -> Ran:
        # A manager one of whose units failed is one that answers, though with a status of its own.
        return Ran(1, b"degraded\n", b"") if argv[0] == "systemctl" else nothing(argv, environment)

    assert backends.chosen(machine(tmp_path / "a", a_manager), "linux").name == "systemd"
    assert backends.chosen(machine(tmp_path / "b", Launchctl()), "darwin").name == "launchd"
    with pytest.raises(ConfigurationError, match=r"systemd: .*cron: ") as told:
        backends.chosen(machine(tmp_path / "c", nothing), "linux")
    assert "--backend in-process" in told.value.hint
    with pytest.raises(UsageError):
        backends.named("at")
