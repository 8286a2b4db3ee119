"""What a schedule runs when it is called: the shift of ``nightcrew shift``, in the environment that was captured."""

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nightcrew.crew.project import Project
from nightcrew.crew.scheduling import job_id, log_of
from nightcrew.model.errors import NightcrewError
from nightcrew.model.scheduling import Schedule, ends
from nightcrew.schedule import captured, kept
from nightcrew.schedule.firing import Firer, Ran
from nightcrew.schedule.zones import zone_of
from nightcrew.store import firings, schedules, shifts
from nightcrew.store.firings import Firing

if TYPE_CHECKING:
    from nightcrew.crew.night import OnProgress, Progress
    from nightcrew.crew.report import Report

_MOST_LOGGED = 1_000_000
_MOST_AT_ONCE = 100


def fire(project: Project, name: str, *, on_progress: "OnProgress | None" = None) -> list[Firing]:
    """Run what is due of a schedule, and first what a killed process left of it; gives what ended, mostly nothing.

    Raises NotFoundError, and what ``run_shift`` raises; a person is told at once of a night that could not begin.
    """
    with project.store.read() as tx:
        schedules.get(tx, name)
    _turn_over(log_of(project.root, name))
    called = project.clock()
    try:
        return _firer(project, on_progress).fire(name)
    except Exception as error:
        with contextlib.suppress(NightcrewError):
            _tell(project, name, error, called)
        raise


def run_now(project: Project, name: str, *, on_progress: "OnProgress | None" = None) -> Firing:
    """Run a schedule now as it runs at night; raises BusyError if it runs, NotFoundError, and what a shift raises."""
    return _firer(project, on_progress).run_now(name)


def report_of(project: Project, firing: Firing) -> "Report | None":
    """The morning report of the shift that a firing ran; None if it ran none."""
    from nightcrew.crew.report import latest

    return None if firing.shift is None else latest(project, firing.shift)


@dataclass(frozen=True)
class _Shifts:
    """The shifts of one repository."""

    project: Project
    on_progress: "OnProgress | None"

    def run(self, firing: Firing, schedule: Schedule, note_shift: Callable[[str], None]) -> Ran:
        from nightcrew.crew.night import run_shift  # Most calls find nothing due, and end sooner without it.
        from nightcrew.crew.report import exit_status

        environment = kept.load(job_id(self.project.root, schedule.name))
        if environment is not None:
            captured.apply(environment)
            time.tzset()
        with self.project.store.read() as tx:
            left = shifts.current(tx)
        if left is not None and left.started < firing.started:
            # What an earlier night left is finished first; it would take the place of this one.
            run_shift(self.project, on_progress=self.on_progress)
        begin = firing.due if firing.cause == "time" else firing.started
        report = run_shift(
            self.project,
            agents=schedule.agents or None,
            brain=schedule.brain or None,
            until=ends(schedule, zone_of(schedule), begin),
            max_minutes=schedule.max_minutes,
            on_progress=self._noting(note_shift),
        )
        return Ran(report.shift, report.outcome, exit_status(report))

    def left(self, firing: Firing) -> Ran | None:
        from nightcrew.crew.report import exit_status, latest

        with self.project.store.read() as tx:
            shift = shifts.latest(tx) if firing.shift is None else shifts.get(tx, firing.shift)
        if shift is None or shift.started < firing.started:
            return None
        if shift.state == "running":
            return Ran(shift.id, None, None)
        return Ran(shift.id, shift.outcome or "", exit_status(latest(self.project, shift.id)))

    def _noting(self, note_shift: Callable[[str], None]) -> "OnProgress":
        known: set[str] = set()

        def follow(now: "Progress") -> None:
            if now.shift not in known:
                known.add(now.shift)
                note_shift(now.shift)
            if self.on_progress is not None:
                self.on_progress(now)

        return follow


def _firer(project: Project, on_progress: "OnProgress | None") -> Firer:
    return Firer(project.store, _Shifts(project, on_progress), socket.gethostname(), project.clock, time.sleep)


def _tell(project: Project, name: str, error: Exception, called: datetime) -> None:
    """Tell at once of a night that broke before a shift began; of one that broke later an alert tells."""
    with project.store.read() as tx:
        last = firings.list(tx, schedule=name, limit=_MOST_AT_ONCE)
    # Not always the last: one that was called late was due before what ran by hand meanwhile.
    if not any(one.state == "failed" and one.shift is None and one.ended and one.ended >= called for one in last):
        return
    from nightcrew.crew import alerting

    code = error.code if isinstance(error, NightcrewError) else NightcrewError.code
    title = f"[{project.root.name}] the scheduled run {name} could not begin"
    alerting.alert(project, title, [str(error) or type(error).__name__], runbook=code)


def _turn_over(log: Path) -> None:
    """Empty the log when it is large; what was in it is kept beside it."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > _MOST_LOGGED:
            # Who called has it open for what this run says, to append: it stays the same file.
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)
