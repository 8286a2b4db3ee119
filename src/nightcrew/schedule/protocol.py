"""What calls a schedule on this machine: the one interface of launchd, systemd, cron and the scheduler in a process.

A backend only calls ``nightcrew schedule fire NAME``, at least once soon after each time that is due. It may call more
often, and late: ``fire`` decides by the store whether something is due, so that a backend needs to know neither of
clocks that change nor of runs that were missed.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from nightcrew.model.scheduling import BackendName, Schedule


@dataclass(frozen=True)
class Job:
    """One schedule as a backend sees it.

    ``id`` is stable and the same for no two repositories or schedules: letters, digits and ``-``. ``argv`` begins with
    an absolute path. ``environment`` is what must be set for ``argv`` to find the schedule; all else that a run sees,
    ``fire`` sets itself from what was captured. It never holds a secret. ``log`` takes what the call writes; its
    directory is there.
    """

    id: str
    name: str
    argv: tuple[str, ...]
    root: Path
    schedule: Schedule
    environment: dict[str, str]
    log: Path


@dataclass(frozen=True)
class Status:
    """Whether a job is really there: its files or lines, and whether the machine's scheduler has them in use.

    ``detail`` says where, in one line; ``next`` is when the machine itself calls it next, if it says so; ``warnings``
    are what a person should know or do.
    """

    installed: bool
    enabled: bool
    detail: str
    next: datetime | None = None
    warnings: tuple[str, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        following = None if self.next is None else self.next.isoformat()
        return {**self.__dict__, "next": following, "warnings": [*self.warnings]}


class Backend(Protocol):
    """Something of the machine that calls jobs at their times."""

    @property
    def name(self) -> BackendName:
        """Its name in a schedule."""
        ...

    def available(self) -> str:
        """Empty if it can be used here, else why not, in one line."""
        ...

    def files(self, job: Job) -> dict[Path, bytes]:
        """The files that ``install`` writes for the job; of cron, its lines under the name of no real file."""
        ...

    def install(self, job: Job) -> list[Path]:
        """Have the job called from now on; gives what was written. Again is no error and changes nothing else.

        Raises ConfigurationError if the machine's scheduler does not take it; then nothing is left behind.
        """
        ...

    def remove(self, job: Job) -> None:
        """Have the job called no more and take away what ``install`` wrote; nothing there is no error."""
        ...

    def status(self, job: Job) -> Status:
        """Whether it is there and in use."""
        ...
