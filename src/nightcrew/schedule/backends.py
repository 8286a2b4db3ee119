"""Which of the machine's own schedulers calls a schedule: launchd on a Mac, systemd where it answers, else cron."""

import sys

from nightcrew.model.errors import ConfigurationError, UsageError
from nightcrew.schedule.cron import Cron
from nightcrew.schedule.launchd import Launchd
from nightcrew.schedule.machine import Machine, this_machine
from nightcrew.schedule.protocol import Backend
from nightcrew.schedule.systemd import Systemd

IN_PROCESS = "in-process"
"""What needs no scheduler of the machine: ``nightcrew schedule serve``, a process that is kept running."""

_KINDS: dict[str, type[Systemd] | type[Launchd] | type[Cron]] = {"launchd": Launchd, "systemd": Systemd, "cron": Cron}


def named(name: str, machine: Machine | None = None) -> Backend:
    """The backend of that name, whether or not it can be used here; raises UsageError for a name that is none."""
    if name not in _KINDS:
        raise UsageError(f"there is no scheduler {name!r}", hint=f"One of: {', '.join((*_KINDS, IN_PROCESS))}.")
    return _KINDS[name](machine or this_machine())


def chosen(machine: Machine | None = None, platform: str = sys.platform) -> Backend:
    """The first backend that can be used here; raises ConfigurationError that says why none can."""
    machine = machine or this_machine()
    reasons = []
    for name in ("launchd",) if platform == "darwin" else ("systemd", "cron"):
        backend = named(name, machine)
        reason = backend.available()
        if not reason:
            return backend
        reasons.append(f"{name}: {reason}")
    raise ConfigurationError(
        f"nothing on this machine can call a schedule ({'; '.join(reasons)})",
        hint="Keep a process running that does: nightcrew schedule install --backend in-process, "
        "then nightcrew schedule serve",
    )
