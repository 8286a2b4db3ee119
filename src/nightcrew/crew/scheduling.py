"""Schedules put in place with the machine's scheduler, taken away again, and shown with what they did and will do."""

import contextlib
import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightcrew import credentials
from nightcrew.crew.keys import names_in_settings
from nightcrew.crew.project import STATE, Project
from nightcrew.model.errors import ConfigurationError, UsageError
from nightcrew.model.scheduling import Occurrence, Schedule
from nightcrew.schedule import captured, kept
from nightcrew.schedule.due import following
from nightcrew.schedule.in_process import NAME as IN_PROCESS
from nightcrew.schedule.in_process import InProcess
from nightcrew.schedule.protocol import Backend, Job, Status
from nightcrew.schedule.zones import machine_zone, named
from nightcrew.store import firings, schedules
from nightcrew.store.firings import Firing

AUTO = "auto"
"""The scheduler that suits the machine."""


@dataclass(frozen=True)
class KeyAtNight:
    """A key that the settings name, and where a run at night finds it; ``warning`` says what to do if it does not."""

    name: str
    place: str
    detail: str
    warning: str


@dataclass(frozen=True)
class Shown:
    """A schedule as it stands: its job, whether that is in place, what comes next, what was last."""

    schedule: Schedule
    job: Job
    environment: dict[str, str]
    status: Status
    zone: str
    next: tuple[Occurrence, ...]
    last: tuple[Firing, ...]
    keys: tuple[KeyAtNight, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return {
            **self.schedule.plain(),
            "environment": self.environment,
            "zone_used": self.zone,
            "status": self.status.plain(),
            "next": [one.plain() for one in self.next],
            "last": [one.plain() for one in self.last],
            "keys": [vars(key) for key in self.keys],
            "warnings": [*self.warnings],
            "command": [*self.job.argv],
            "log": str(self.job.log),
        }


@dataclass(frozen=True)
class Installed:
    """A schedule that was put in place: the files that were written, what was left out, the schedule as it stands."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...]
    shown: Shown


@dataclass(frozen=True)
class Prepared:
    """A schedule as it would be installed: its job, the environment that was captured, what was left out of that."""

    schedule: Schedule
    job: Job
    environment: dict[str, str]
    warnings: tuple[str, ...]


def prepare(project: Project, schedule: Schedule, *, backend: str, given: Mapping[str, str]) -> Prepared:
    """What an install would put in place; ``given`` is the environment that a run at night is to see as well.

    Raises UsageError for an agent, a zone or a backend that is not there, ConfigurationError if the machine has no
    scheduler that can be used.
    """
    from nightcrew.brains import MECHANICAL, settings_of
    from nightcrew.crew.planning import check_agent
    from nightcrew.schedule.backends import chosen
    from nightcrew.schedule.backends import named as backend_named

    for agent in schedule.agents:
        check_agent(project, agent)
    if schedule.brain and schedule.brain != MECHANICAL:
        settings_of(schedule.brain, project.settings)
    if schedule.zone:
        named(schedule.zone)
    if backend == AUTO:
        name: str = chosen().name
    else:
        name = backend if backend == IN_PROCESS else backend_named(backend).name
    taken = captured.capture(given, agents=(project.root, project.work_dir.parent))
    filled_in = {"backend": name, "zone": schedule.zone or _terminal_zone(given)}
    made = Schedule.read({**schedule.plain(), **filled_in}, source="the schedule")
    return Prepared(made, job_of(project, made, taken.environment), taken.environment, taken.warnings)


def _terminal_zone(given: Mapping[str, str]) -> str:
    """The zone of the terminal, if it is another than the machine's: times are meant as its user reads them."""
    zone = given.get("TZ", "").removeprefix(":")
    with contextlib.suppress(UsageError):
        return zone if zone and zone != machine_zone()[0] and named(zone) else ""
    return ""


def install(project: Project, prepared: Prepared) -> Installed:
    """Keep a schedule and have it called from now on, in place of the one of its name.

    Raises ConfigurationError if the machine's scheduler does not take it; then all is as it was before.
    """
    schedule, job = prepared.schedule, prepared.job
    backend, environment = backend_of(project, schedule), kept.load(job.id)
    with project.store.begin() as tx:
        before = schedules.find(tx, schedule.name)
        schedules.save(tx, schedule)
    try:
        kept.save(job.id, prepared.environment)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        written = backend.install(job)
    except BaseException:
        with project.store.begin() as tx:
            if before is None:
                schedules.remove(tx, schedule.name)
            else:
                schedules.save(tx, before.schedule)
        if environment is None:
            kept.forget(job.id)
        else:
            kept.save(job.id, environment)
        raise
    if before is not None and before.schedule.backend != schedule.backend:
        backend_of(project, before.schedule).remove(job_of(project, before.schedule, environment or {}))
    return Installed(tuple(written), prepared.warnings, show(project, schedule.name))


def remove(project: Project, name: str) -> None:
    """Have a schedule called no more and forget it; what it did stays in its history. Raises NotFoundError."""
    with project.store.read() as tx:
        schedule = schedules.get(tx, name).schedule
    job = job_of(project, schedule, {})
    backend_of(project, schedule).remove(job)
    kept.forget(job.id)
    with project.store.begin() as tx:
        schedules.remove(tx, name)
    project.measures.recorder.gauge("schedule.overdue", f"schedule:{name}", 0.0)  # Nothing is expected any more.
    project.measures.flush()


def names(project: Project) -> list[str]:
    """The names of all schedules."""
    with project.store.read() as tx:
        return [kept.schedule.name for kept in schedules.list(tx)]


def show(project: Project, name: str, *, runs: int = 3, last: int = 3) -> Shown:
    """A schedule as it stands; raises NotFoundError."""
    with project.store.read() as tx:
        schedule, now = schedules.get(tx, name).schedule, tx.now()
        history = firings.list(tx, schedule=name, limit=last)
    environment = kept.load(job_id(project.root, name))
    job, keys = job_of(project, schedule, environment or {}), keys_at_night(project)
    missing = "no environment is kept here: a run sees its caller's until the schedule is installed again"
    return Shown(
        schedule=schedule,
        job=job,
        environment=environment or {},
        status=backend_of(project, schedule).status(job),
        zone=schedule.zone or machine_zone()[0] or "the machine's own",
        next=tuple(following(schedule, now, runs)),
        last=tuple(history),
        keys=keys,
        warnings=(*([missing] if environment is None else ()), *(key.warning for key in keys if key.warning)),
    )


def history(project: Project, name: str | None = None, *, limit: int = 20) -> list[Firing]:
    """What schedules did, newest first; of one that was removed too."""
    with project.store.read() as tx:
        return firings.list(tx, schedule=name, limit=limit)


def keys_at_night(project: Project) -> tuple[KeyAtNight, ...]:
    """Where each key that the settings name is found by a run that has no terminal's environment; none is read."""
    known, found = credentials.references(), []
    for name in names_in_settings(project.settings):
        if name in known:
            found.append(KeyAtNight(name, known[name].place, known[name].detail, ""))
        elif credentials.has(name):
            warning = (
                f"{name} is only in this terminal's environment, a run at night has none: nightcrew key add {name}"
            )
            found.append(KeyAtNight(name, "environment", "", warning))
        else:
            found.append(KeyAtNight(name, "nowhere", "", ""))
    return tuple(found)


def backend_of(project: Project, schedule: Schedule) -> Backend:
    """What calls a schedule."""
    from nightcrew.schedule.backends import named as backend_named

    return InProcess(project.store) if schedule.backend == IN_PROCESS else backend_named(schedule.backend)


def job_of(project: Project, schedule: Schedule, environment: Mapping[str, str]) -> Job:
    """The job of a schedule: what the machine's scheduler is to call."""
    if not sys.executable:
        raise ConfigurationError("the path of the Python that runs nightcrew is not known")
    return Job(
        id=job_id(project.root, schedule.name),
        name=schedule.name,
        # -P: the repository's own folder is not searched for modules; an agent's work may lie there.
        argv=(sys.executable, "-P", "-m", "nightcrew", "schedule", "fire", schedule.name, "--repo", str(project.root)),
        root=project.root,
        schedule=schedule,
        environment=captured.finding(environment),
        log=log_of(project.root, schedule.name),
    )


def job_id(root: Path, name: str) -> str:
    """An id that no other schedule of this user has, with the repository's name in it for people."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", root.name).strip("-")[:30] or "repository"
    digest = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{word}-{digest}-{name}"


def log_of(root: Path, name: str) -> Path:
    """Where the output of a schedule's calls goes."""
    return root / STATE / "logs" / f"schedule-{name}.log"
