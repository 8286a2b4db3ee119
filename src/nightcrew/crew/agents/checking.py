"""What QA and security share: checkouts of exact commits, and the environment that a project's tests run in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightcrew.checks.project import Detected, detect
from nightcrew.checks.python import Environment, prepare
from nightcrew.checks.running import CheckError, Run
from nightcrew.crew.delivery import fresh_workspace, put_away
from nightcrew.crew.desk import Desk
from nightcrew.crew.workspace import Workspace


@dataclass(frozen=True)
class Checkout:
    """One commit, checked out to be looked at. ``run`` runs commands there."""

    workspace: Workspace
    run: Run
    temp: Path

    @property
    def path(self) -> Path:
        """The folder of the checkout."""
        return self.workspace.path


@contextmanager
def checkout(desk: Desk, name: str, commit: str) -> Iterator[Checkout]:
    """A private checkout of ``commit``, put away at the end: checks leave nothing that is worth keeping."""
    workspace = fresh_workspace(desk, name, commit=commit, branch=None)
    run = desk.runner(workspace.path, readable=workspace.borrowed)
    try:
        yield Checkout(workspace, run, desk.place / "tmp")
    finally:
        put_away(desk, workspace, throwaway=True)


def environment_of(desk: Desk, at: Checkout) -> tuple[Detected, Environment | None]:
    """How the tests of a checkout run, and in what environment; None if not by a Python. Raises CheckError."""
    settings = desk.project.settings
    detected = detect(at.path)
    own = detect(desk.project.root)
    if detected.kind != "python":
        return detected, None
    seen = Detected(**{**detected.__dict__, "user_python": own.user_python})
    environment = prepare(
        at.path,
        seen,
        folder=desk.project.work_dir / "envs",
        run=at.run,
        timeout=60 * settings.limits.setup_minutes,
        python=settings.checks.python,
        setup=settings.checks.setup,
        network=settings.checks.package_network,
    )
    return seen, environment


__all__ = ["CheckError", "Checkout", "checkout", "environment_of"]
