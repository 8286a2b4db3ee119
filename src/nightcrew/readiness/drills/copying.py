"""Making the isolated copy of a target: a clone of the repository, or the folder of an application."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nightcrew.crew.project import STATE
from nightcrew.model.errors import ConfigurationError, UsageError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.readiness.drills import settings
from nightcrew.readiness.target import CrewTarget, PipelineTarget

MAX_BYTES = 200 * 1024 * 1024
_LEFT_OUT = frozenset(
    {".git", STATE, ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache",
     ".pytest_cache", ".hypothesis"}
)  # fmt: skip
_GIT_SECONDS = 120


def clone(target: CrewTarget, place: Path, environment: Mapping[str, str]) -> Path:
    """Clone the repository at its head into ``place``, with its settings made harmless and its playbook.

    Objects are copied, not linked, and the clone knows of no remote: nothing done in it reaches the repository.
    Raises ConfigurationError with what git said.
    """
    root = place / target.root.name
    _git(
        ["-c", "core.hooksPath=/dev/null", "clone", "--quiet", "--no-hardlinks", "--single-branch", "--no-tags",
         "--template=", str(target.root), str(root)], place, environment,
    )  # fmt: skip
    _git(["remote", "remove", "origin"], root, environment)
    _emptied(root / STATE)
    (root / STATE / "playbook.md").write_text(target.project.playbook_text, encoding="utf-8")
    settings.save(root, settings.harmless(settings.load(target.root)))
    if _git(["ls-files", "--", SETTINGS_FILE], root, environment):
        commit = ["commit", "--quiet", "--no-verify", "--message", "Settings of the drill", "--", SETTINGS_FILE]
        _git(commit, root, environment)
    return root


def copy(target: PipelineTarget, place: Path, data: Sequence[Path]) -> Path:
    """Copy the application's folder into ``place``, without repositories, state, environments and caches.

    ``data`` are folders or files of it that are large: they are linked to, to be read where they are. Raises UsageError
    for more than 200 MB, and ConfigurationError for what cannot be read.
    """
    root = place / (target.root.name or "app")
    linked = {path.resolve() for path in data}
    _check_size(target.root, linked)

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if _is_left_out(Path(folder) / name, linked)]

    try:
        shutil.copytree(target.root, root, symlinks=True, ignore=left_out)
    except shutil.Error as error:
        raise ConfigurationError(f"{target.root} cannot be copied: {error.args[0][0][2]}") from None
    for path in linked:
        if path.is_relative_to(target.root.resolve()):
            (root / path.relative_to(target.root.resolve())).symlink_to(path)
    _emptied(root / STATE)  # No folder above is looked for a state.
    around = next((at for at in (target.root, *target.root.parents) if (at / STATE).is_dir()), target.root)
    if values := settings.load(around):
        values.pop("database_url", None)
        settings.save(root, values)
    return root


def _emptied(folder: Path) -> None:
    """An empty folder, whatever was copied there: a link may lead out of the copy."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    folder.unlink(missing_ok=True)
    folder.mkdir()


def _is_left_out(path: Path, linked: set[Path]) -> bool:
    if path.name in _LEFT_OUT or (path / "pyvenv.cfg").is_file() or path.resolve() in linked:
        return True
    mode = path.lstat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def _check_size(root: Path, linked: set[Path]) -> None:
    total, largest, size = 0, root, 0
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not _is_left_out(Path(folder) / name, linked)]
        for name in files:
            path = Path(folder) / name
            if path.resolve() in linked or path.is_symlink():
                continue
            here = path.lstat().st_size
            total += here
            if here > size:
                largest, size = path, here
    if total > MAX_BYTES:
        raise UsageError(
            f"{root} holds {total / 1e6:,.0f} MB, and a drill copies it (most: {largest.relative_to(root)})",
            hint="Name what is large and only read with --data PATH: it is read where it is.",
        )


def _git(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=dict(environment), capture_output=True, text=True,
            timeout=_GIT_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"git {arguments[0]}: {error}") from None
    if done.returncode:
        raise ConfigurationError(f"the repository cannot be cloned: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()


def remove(folder: Path) -> None:
    """Remove a copy, whatever rights its files have."""

    def unlock(function: Callable[..., object], path: str, _problem: object) -> None:
        at = Path(path)
        for one in (at.parent, at):
            if one.is_dir() and not one.is_symlink():
                one.chmod(0o700)
        if at.exists() or at.is_symlink():
            function(path)

    if folder.exists():
        shutil.rmtree(folder, onerror=unlock)
