"""launchd calls a schedule on a Mac: a property list in LaunchAgents, bootstrapped into the user's domain."""

import plistlib
import time
from pathlib import Path
from typing import Any

from nightcrew.model.errors import BusyError, ConfigurationError
from nightcrew.model.scheduling import BackendName
from nightcrew.schedule.local_times import LocalTime, local_times
from nightcrew.schedule.machine import Machine, checked, differs, remove, this_machine, write
from nightcrew.schedule.protocol import Job, Status

_GUARDED = ("Desktop", "Documents", "Downloads", "Library/Mobile Documents", "Library/CloudStorage")
_POLLS, _PAUSE = 50, 0.1


class Launchd:
    """An agent of launchd.

    A time that passes while the Mac sleeps is made up for once when it wakes, and one that passes while it is off when
    the user logs in (``RunAtLoad``). launchd knows no zones: it is told the times that the Mac's own clock shows.
    """

    name: BackendName = "launchd"

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine or this_machine()

    def available(self) -> str:
        """Empty if there is a launchctl that answers."""
        ran = self._machine.run("launchctl", "managerpid")
        return "" if ran.status == 0 else f"launchd does not answer ({ran.said or f'status {ran.status}'})"

    def files(self, job: Job) -> dict[Path, bytes]:
        """The property list; raises ConfigurationError for a path that it has no form for."""
        checked(job)
        times = local_times(job.schedule, self._machine.zone, self._machine.clock())
        content = {
            "Label": _label(job),
            "ProgramArguments": [*job.argv],
            "WorkingDirectory": str(job.root),
            "EnvironmentVariables": dict(job.environment),
            "StartCalendarInterval": [interval for each in times for interval in _intervals(each)],
            "RunAtLoad": True,
            "StandardOutPath": str(job.log),
            "StandardErrorPath": str(job.log),
            "ProcessType": "Standard",
            "ExitTimeOut": 120,
            "LimitLoadToSessionType": ["Aqua", "Background"],
        }
        return {self._path(job): plistlib.dumps(content, fmt=plistlib.FMT_XML, sort_keys=False)}

    def install(self, job: Job) -> list[Path]:
        """Write the property list and bootstrap it; where no launchd answers it is only written.

        Raises BusyError while the schedule's run is going on: launchd would end it to take the new list.
        """
        ((path, data),) = self.files(job).items()
        before = path.read_bytes() if path.is_file() else None
        if self.available():
            write(path, data)
            return [path]
        domain, said = self._loaded(job)
        if domain and before == data:
            return [path]
        _not_running(job, said)
        try:
            self._bootout(job, domain)
            write(path, data)
            self._bootstrap(job)
        except BaseException:
            if before is None:
                remove(path)
            else:
                write(path, before)
                self._bootstrap(job, required=False)
            raise
        return [path]

    def remove(self, job: Job) -> None:
        """Unload the agent and delete its list. Raises BusyError while its run is going on: launchd would end it."""
        if not self.available():
            domain, said = self._loaded(job)
            _not_running(job, said)
            self._bootout(job, domain)
        remove(self._path(job))

    def status(self, job: Job) -> Status:
        """Whether the list is there, is loaded and is not disabled."""
        path = self._path(job)
        if not path.exists():
            return Status(False, False, f"no {path}")
        wrong = differs(self.files(job))
        warnings = [f"{wrong}; run: nightcrew schedule install"] if wrong else []
        if self._guarded(job.root):
            warnings.append(f"macOS may keep agents out of {job.root} until they have Full Disk Access")
        unavailable = self.available()
        if unavailable:
            return Status(True, False, str(path), None, (*warnings, f"{unavailable}: it is loaded at the next login"))
        domain, _ = self._loaded(job)
        if not domain:
            warnings.append("launchd has not loaded it; run: nightcrew schedule install")
        elif self._disabled(job, domain):
            warnings.append(f"it is switched off; run: launchctl enable {domain}/{_label(job)}")
            domain = ""
        return Status(True, bool(domain), str(path), None, tuple(warnings))

    def _path(self, job: Job) -> Path:
        return self._machine.home / "Library/LaunchAgents" / f"{_label(job)}.plist"

    def _domains(self) -> tuple[str, str]:
        """Where the user is logged in at the screen, and where only by ssh."""
        return f"gui/{self._machine.uid}", f"user/{self._machine.uid}"

    def _loaded(self, job: Job) -> tuple[str, str]:
        """The domain that has the agent loaded (or "") and what launchd says of it."""
        for domain in self._domains():
            ran = self._machine.run("launchctl", "print", f"{domain}/{_label(job)}")
            if ran.status == 0:
                return domain, ran.out.decode("utf-8", "replace")
        return "", ""

    def _bootout(self, job: Job, domain: str) -> None:
        if not domain:
            return
        ran = self._machine.run("launchctl", "bootout", f"{domain}/{_label(job)}")
        for _ in range(_POLLS):  # it answers before it is done
            if not self._loaded(job)[0]:
                return
            time.sleep(_PAUSE)
        raise ConfigurationError(f"launchctl bootout {domain}/{_label(job)} failed: {ran.said}")

    def _bootstrap(self, job: Job, *, required: bool = True) -> None:
        problems = []
        for domain in self._domains():
            self._machine.run("launchctl", "enable", f"{domain}/{_label(job)}")
            ran = self._machine.run("launchctl", "bootstrap", domain, str(self._path(job)))
            if ran.status == 0:
                return
            problems.append(f"{domain}: {ran.said}")
        if required:
            raise ConfigurationError(f"launchctl bootstrap failed ({'; '.join(problems)})")

    def _disabled(self, job: Job, domain: str) -> bool:
        out = self._machine.run("launchctl", "print-disabled", domain).out.decode("utf-8", "replace")
        said = next((line for line in out.splitlines() if f'"{_label(job)}"' in line), "")
        return said.rstrip().endswith(("=> true", "=> disabled"))

    def _guarded(self, root: Path) -> bool:
        return any(root.is_relative_to(self._machine.home / name) for name in _GUARDED) or root.is_relative_to(
            "/Volumes"
        )


def _label(job: Job) -> str:
    return f"nightcrew.{job.id}"


def _not_running(job: Job, said: str) -> None:
    if any(line.strip().startswith("pid = ") for line in said.splitlines()):
        raise BusyError(
            f"the schedule {job.name} runs at this moment, and launchd would end it",
            hint="Wait for its end, or run: nightcrew stop",
        )


def _intervals(each: LocalTime) -> list[dict[str, Any]]:
    """The dictionaries of StartCalendarInterval (launchd.plist(5)); a key that is left out stands for any value."""
    return [
        {
            **({} if month is None else {"Month": month}),
            **({} if day is None else {"Weekday": day % 7}),  # Sunday is 0
            "Hour": each.hour,
            "Minute": each.minute,
        }
        for month in (each.months or (None,))
        for day in (each.days or (None,))
    ]
