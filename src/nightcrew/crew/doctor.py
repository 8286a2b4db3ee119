"""What works on this machine, what does not, and what to do about it."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightcrew.checks.project import detect
from nightcrew.crew.planning import agents_of, brain_names
from nightcrew.crew.project import STATE, Project, load_project
from nightcrew.crew.workspace import workable
from nightcrew.model.errors import NightcrewError
from nightcrew.sandbox import available

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at; ``hint`` says what to do if it is not ok."""

    name: str
    status: Status
    detail: str
    hint: str = ""


def diagnose(start: Path) -> list[Diagnosis]:
    """Look at this machine and at the repository around ``start``; what fails is an error in the list, never raised."""
    found = [_python(), _git(), _sandbox()]
    try:
        project = load_project(workable(start).root)
    except NightcrewError as error:
        return [*found, Diagnosis("repository", "error", str(error), error.hint)]
    try:
        found += list(_repository(project))
    finally:
        project.close()
    return found


def _repository(project: Project) -> Iterator[Diagnosis]:
    state = project.repository()
    yield Diagnosis("repository", "ok", f"{project.root} at {(state.head or '')[:12]}")
    if state.dirty:
        yield Diagnosis(
            "working tree", "warning", "has changes that are not committed", "Commit what the crew should see."
        )
    yield from _checked("checks", lambda: "; ".join(f"{k}: {v}" for k, v in detect(project.root).summary().items()))
    if not (project.state_dir / "nightcrew.db").exists() and not project.settings.database_url:
        yield Diagnosis("state", "error", f"{STATE} is not prepared", "Run: nightcrew init")
        return
    yield from _checked("state", lambda: project.database_url.split("@")[-1])
    yield from _checked("ledger", lambda: _ledger(project))
    yield from _checked("reviewers", lambda: _reviewers(project))
    yield from _schedules(project)
    yield from _brains(project)
    yield from _loreconvo(project)
    yield from _github(project)
    yield from _workspaces(project)


def _schedules(project: Project) -> Iterator[Diagnosis]:
    """Each schedule: whether what calls it is in place, when it runs next, and what it would lack at night."""
    from nightcrew.crew.scheduling import names, show

    for name in names(project):
        try:
            found = show(project, name)
        except NightcrewError as error:
            yield Diagnosis(f"schedule {name}", "error", str(error), error.hint)
            continue
        wrong = [*found.status.warnings, *found.warnings]
        in_use = found.status.installed and found.status.enabled
        following = f"next {found.next[0].local:%Y-%m-%d %H:%M %Z}" if found.next else "never due"
        detail = f"{found.schedule.backend}, {following}" if in_use else f"is not called: {found.status.detail}"
        hint = wrong[0] if wrong else "" if in_use else "Install it again: nightcrew schedule install --at HH:MM"
        yield Diagnosis(f"schedule {name}", "ok" if in_use and not wrong else "warning", detail, hint)


def _brains(project: Project) -> Iterator[Diagnosis]:
    """Each brain that an agent may be given: whether its program and key are there. Nothing is asked of a service."""
    from nightcrew.brains import MECHANICAL
    from nightcrew.brains.catalog import look

    asked = [name for agent in agents_of(project) for name in brain_names(project, agent)]
    for name in dict.fromkeys(asked):
        if name == MECHANICAL:
            continue
        users = ", ".join(agent for agent in agents_of(project) if name in brain_names(project, agent))
        try:
            ready, detail, hint = look(name, project.settings)
        except NightcrewError as error:
            yield Diagnosis(f"brain {name}", "error", str(error), error.hint)
            continue
        yield Diagnosis(f"brain {name}", "ok" if ready else "warning", f"for {users}: {detail}", hint)


def _loreconvo(project: Project) -> Iterator[Diagnosis]:
    """The other memory, if it is used: started and asked, what waits for it."""
    from nightcrew.crew import loreconvo

    if project.settings.memory.loreconvo:
        ready, detail, hint = loreconvo.look(project)
        yield Diagnosis("loreconvo", "ok" if ready else "warning", detail, hint)


def _github(project: Project) -> Iterator[Diagnosis]:
    """GitHub, if it is used: whether the token is there and may read and write, what waits for it."""
    if project.settings.github.repository:
        from nightcrew.crew.forge import looking

        yield from _checked("github", lambda: looking.look(project))
        yield from _github_reviewer(project)
        if said := looking.waits(project):
            yield Diagnosis("github outbox", "warning", said, "See why: nightcrew sync")


def _github_reviewer(project: Project) -> Iterator[Diagnosis]:
    from nightcrew.crew.forge import looking

    try:
        name = looking.reviews_itself(project)
    except NightcrewError:  # Told as what GitHub says of the repository.
        return
    if name:
        said = f"the token is of {name}'s own account, whose reviews on GitHub count as approvals"
        yield Diagnosis("github token", "warning", said, "Give the crew an account of its own: a token of a bot.")


def _checked(name: str, look: Callable[[], str]) -> Iterator[Diagnosis]:
    try:
        yield Diagnosis(name, "ok", look())
    except NightcrewError as error:
        yield Diagnosis(name, "error", str(error), error.hint)


def _ledger(project: Project) -> str:
    project.check_ledger()
    seen = project.anchor.ledger(project.repository_id).read()
    return f"its head was seen at entry {seen.sequence if seen else 0}"


def _reviewers(project: Project) -> str:
    active = [reviewer.name for reviewer in project.anchor.reviewers(project.repository_id) if reviewer.active]
    return ", ".join(active) if active else "nobody yet: nightcrew reviewer add NAME"


def _workspaces(project: Project) -> Iterator[Diagnosis]:
    folder = project.work_dir / "workspaces"
    kept = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if kept:
        hint = "They hold work that is nowhere else; look at them, then delete them by hand."
        yield Diagnosis("workspaces", "warning", f"{len(kept)} kept in {folder}", hint)


def _python() -> Diagnosis:
    return Diagnosis("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _git() -> Diagnosis:
    git = shutil.which("git")
    if git is None:
        return Diagnosis("git", "error", "not found on PATH", "Install git 2.38 or newer.")
    said = subprocess.run([git, "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = tuple(int(part) for part in said[2].split(".")[:2]) if len(said) > 2 else (0, 0)
    if version < (2, 38):
        return Diagnosis(
            "git", "error", f"version {said[2]} cannot merge without a working tree", "Install 2.38 or newer."
        )
    return Diagnosis("git", "ok", f"{said[2]} at {git}")


def _sandbox() -> Diagnosis:
    name = available()
    if name is None:
        hint = 'Use Linux 5.13 or newer, or write mode = "off" under [sandbox] to run commands without one.'
        return Diagnosis("sandbox", "error", "none can hold a command on this machine", hint)
    return Diagnosis("sandbox", "ok", name)
