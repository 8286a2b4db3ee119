"""systemd's user manager calls a schedule: a timer and the service it starts, in the user's own directory of units."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path

from nightcrew.model.errors import ConfigurationError
from nightcrew.model.scheduling import DAYS, BackendName
from nightcrew.schedule.local_times import LocalTime, local_times
from nightcrew.schedule.machine import Machine, checked, differs, remove, this_machine, write
from nightcrew.schedule.protocol import Job, Status
from nightcrew.schedule.zones import named

_SERVICE = """\
# Written by: nightcrew schedule install. It holds no secret; what is changed here is lost with the next install.
[Unit]
Description=nightcrew: the schedule {name} of {root}

[Service]
Type=oneshot
# 1 says that a person should look, not that something failed.
SuccessExitStatus=1
# As Ctrl-C does: it stops before the next turn. What it started is ended by itself.
KillSignal=SIGINT
KillMode=mixed
TimeoutStopSec=120
WorkingDirectory={root}
{environment}ExecStart={command}
StandardOutput=append:{log}
StandardError=append:{log}
"""
_TIMER = """\
# Written by: nightcrew schedule install. Each of these times only asks whether the schedule is due.
[Unit]
Description=nightcrew: the times of the schedule {name} of {root}

[Timer]
{calendar}Persistent=true
AccuracySec=1s
RandomizedDelaySec=0
Unit={service}

[Install]
WantedBy=timers.target
"""
_WANTS = "timers.target.wants"
_UNSAFE = {*"\"'\\$"}


class Systemd:
    """Timers of systemd's user manager.

    It calls again after the machine was off or asleep (``Persistent=true``). Without a login it runs only for a user
    who *lingers*; ``status`` warns of one who does not.
    """

    name: BackendName = "systemd"

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine or this_machine()

    def available(self) -> str:
        """Empty if the user's manager answers."""
        ran = self._machine.run("systemctl", "--user", "is-system-running")
        # A manager that answers says degraded or starting with a status of its own; who cannot reach one says offline.
        if ran.out.strip() in (b"running", b"degraded", b"starting", b"initializing", b"maintenance"):
            return ""
        return f"no user manager of systemd answers ({ran.said or f'status {ran.status}'})"

    def files(self, job: Job) -> dict[Path, bytes]:
        """The service and the timer; raises ConfigurationError for a path that units have no form for."""
        checked(job)
        service, timer = self._paths(job)
        root = _plain(str(job.root))
        zone = named(job.schedule.zone) if job.schedule.zone else self._machine.zone
        times = local_times(job.schedule, zone, self._machine.clock())
        written = {
            service: _SERVICE.format(
                name=_plain(job.name),
                root=root,
                environment="".join(
                    f"Environment={_quoted(f'{name}={value}')}\n" for name, value in sorted(job.environment.items())
                ),
                command=_command(job.argv),
                log=_plain(str(job.log)),
            ),
            timer: _TIMER.format(
                name=_plain(job.name),
                root=root,
                calendar="".join(f"OnCalendar={_calendar(time, job.schedule.zone)}\n" for time in times),
                service=service.name,
            ),
        }
        return {path: text.encode() for path, text in written.items()}

    def install(self, job: Job) -> list[Path]:
        """Write the units, enable the timer and start it; a service that runs at this moment is left alone.

        Where no manager answers, the units are written and enabled all the same: the next one to start has them.
        """
        files = self.files(job)
        service, timer = self._paths(job)
        before = {path: path.read_bytes() if path.is_file() else None for path in files}
        try:
            for path, data in files.items():
                write(path, data)
            self._enable(timer)
            if not self.available():
                self._call("daemon-reload")
                self._call("restart", timer.name)
        except BaseException:
            self._undo(job, before)
            raise
        return [service, timer, self._link(timer)]

    def remove(self, job: Job) -> None:
        """Stop the timer and delete the units; a service that runs at this moment ends by itself."""
        service, timer = self._paths(job)
        answers = not self.available()
        if answers:
            self._machine.run("systemctl", "--user", "stop", timer.name)
            if self._shown(timer.name).get("ActiveState") == "active":
                raise ConfigurationError(f"the timer does not stop; see: systemctl --user status {timer.name}")
        self._delete(job)
        if answers:
            self._call("daemon-reload")
            self._machine.run("systemctl", "--user", "reset-failed", service.name, timer.name)

    def _delete(self, job: Job) -> None:
        service, timer = self._paths(job)
        stamp = self._machine.directory("XDG_DATA_HOME", ".local/share") / "systemd/timers" / f"stamp-{timer.name}"
        for path in (self._link(timer), timer, service, stamp):
            remove(path)
        with contextlib.suppress(OSError):  # others may have units in it
            self._link(timer).parent.rmdir()

    def status(self, job: Job) -> Status:
        """Whether the units are there and the timer waits, and whether that outlives the user's login."""
        _, timer = self._paths(job)
        wrong = differs(self.files(job))
        installed = timer.exists()
        if not installed:
            return Status(False, False, f"no {timer}")
        warnings = [f"{wrong}; run: nightcrew schedule install"] if wrong else []
        linked = self._link(timer).is_symlink()
        unavailable = self.available()
        if unavailable:
            warnings.append(f"{unavailable}: the timer starts with the next login")
            return Status(True, False, str(timer), None, tuple(warnings))
        shown = self._shown(timer.name)
        active = shown.get("ActiveState") == "active"
        if not active:
            warnings.append(f"the timer does not wait; run: systemctl --user start {timer.name}")
        if not self._lingers():
            user = self._machine.user
            warnings.append(f"it runs only while {user} is logged in; run: loginctl enable-linger {user}")
        return Status(True, linked and active, str(timer), _moment(shown), tuple(warnings))

    def _paths(self, job: Job) -> tuple[Path, Path]:
        units = self._machine.directory("XDG_CONFIG_HOME", ".config") / "systemd/user"
        return units / f"nightcrew-{job.id}.service", units / f"nightcrew-{job.id}.timer"

    def _link(self, timer: Path) -> Path:
        return timer.parent / _WANTS / timer.name

    def _enable(self, timer: Path) -> None:
        """What ``systemctl enable`` does, and without a manager too."""
        link = self._link(timer)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            if not (link.is_symlink() and link.readlink() == timer):
                link.unlink(missing_ok=True)
                link.symlink_to(timer)
        except OSError as error:
            raise ConfigurationError(f"{link} cannot be made: {error.strerror}") from None

    def _undo(self, job: Job, before: dict[Path, bytes | None]) -> None:
        """Put back what was there: an install that was refused leaves the schedule as it was before."""
        if None in before.values():
            self._delete(job)
        else:
            for path, data in before.items():
                write(path, data or b"")
        with contextlib.suppress(ConfigurationError):
            self._call("daemon-reload")
            self._call("stop" if None in before.values() else "restart", self._paths(job)[1].name)

    def _call(self, *arguments: str) -> None:
        ran = self._machine.run("systemctl", "--user", *arguments)
        if ran.status:
            raise ConfigurationError(f"systemctl --user {' '.join(arguments)} failed: {ran.said}")

    def _shown(self, timer: str) -> dict[str, str]:
        wanted = "--property=ActiveState,NextElapseUSecRealtime"
        out = self._machine.run("systemctl", "--user", "show", wanted, timer).out.decode("utf-8", "replace")
        return {name: value for name, _, value in (line.partition("=") for line in out.splitlines())}

    def _lingers(self) -> bool:
        ran = self._machine.run("loginctl", "show-user", self._machine.user, "--property=Linger", "--value")
        if ran.status == 0 and ran.out.strip():
            return ran.out.strip() == b"yes"
        return Path("/var/lib/systemd/linger", self._machine.user).exists()


def _calendar(time: LocalTime, zone: str) -> str:
    """A calendar event (systemd.time(7)): ``Sun *-03-* 03:00:00 Europe/Berlin``."""
    days = ",".join(DAYS[day - 1].capitalize() for day in time.days)
    months = ",".join(f"{month:02}" for month in time.months) or "*"
    return " ".join(filter(None, (days, f"*-{months}-*", f"{time.hour:02}:{time.minute:02}:00", zone)))


def _command(argv: tuple[str, ...]) -> str:
    """A command line of a unit; a program whose own name systemd would not take is begun by a shell."""
    if set(argv[0]) & _UNSAFE:
        argv = ("/bin/sh", "-c", 'exec "$0" "$@"', *argv)
    program, *arguments = argv
    return " ".join((_quoted(program), *(_quoted(argument.replace("$", "$$")) for argument in arguments)))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_plain(escaped)}"'


def _plain(text: str) -> str:
    """Where nothing but specifiers is made something of."""
    return text.replace("%", "%%")


def _moment(shown: dict[str, str]) -> datetime | None:
    """The time as systemctl tells it where TZ is UTC; it says nothing, or n/a, if there is none."""
    try:
        return datetime.strptime(shown.get("NextElapseUSecRealtime", ""), "%a %Y-%m-%d %H:%M:%S UTC").replace(
            tzinfo=UTC
        )
    except ValueError:
        return None
