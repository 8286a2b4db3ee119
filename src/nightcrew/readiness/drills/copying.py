"""Making the isolated copy of a target: a clone of the repository, or the folder of an application."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nightcrew.crew.project import STATE
from nightcrew.location import config_directory
from nightcrew.model.errors import ConfigurationError, UsageError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.readiness.drills import settings
from nightcrew.readiness.target import CrewTarget, PipelineTarget

MAX_BYTES = 200 * 1024 * 1024
PREFIX = "nightcrew-drill-"
"""What the folders of copies begin with: no copy is copied along, if they lie in the application's own folder."""
_WRITTEN = (f"{PREFIX}0.txt", f"{PREFIX}notes.md")
"""Names such as a drill's agents write."""
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
    changed = [SETTINGS_FILE] if _git(["ls-files", "--", SETTINGS_FILE], root, environment) else []
    changed += _let_through(root, environment)
    if changed:
        _git(["add", "--force", "--", *changed], root, environment)
        commit = ["commit", "--quiet", "--no-verify", "--message", "Settings of the drill", "--", *changed]
        _git(commit, root, environment)
    return root


def _let_through(root: Path, environment: Mapping[str, str]) -> list[str]:
    """Let git see the files that a drill's agents write, where the repository ignores such names; gives what changed.

    What git ignores is no change, so that agents who write nothing else would have done nothing.
    """
    if not _git(["check-ignore", *_WRITTEN], root, environment, fine=(0, 1)):
        return []
    path = root / ".gitignore"
    before = path.read_bytes()
    path.unlink()  # A link may lead out of the copy.
    path.write_bytes(before + f"\n!/{PREFIX}*\n".encode())
    return [path.name]


def copy(target: PipelineTarget, place: Path, data: Sequence[Path]) -> Path:
    """Copy the application's folder into ``place``, without repositories, state, environments and caches.

    ``data`` are folders or files of it that are large: they are linked to, to be read where they are. Raises UsageError
    for more than 200 MB, and ConfigurationError for what cannot be read.
    """
    root = place / (target.root.name or "app")
    places = {at: path.resolve() for path in data for at in (path.resolve(), path.parent.resolve() / path.name)}
    named = _outermost(places)
    linked = set(named)
    _check_size(target.root, linked)

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if _is_left_out(Path(folder) / name, linked)]

    try:
        shutil.copytree(target.root, root, symlinks=True, ignore=left_out)
    except shutil.Error as error:
        # What was removed in the meantime, such as a log that was rotated, is not missed.
        if problems := [why for source, _, why in error.args[0] if os.path.lexists(source)]:
            raise ConfigurationError(f"{target.root} cannot be copied: {problems[0]}") from None
    for path, real in named.items():
        if path.is_relative_to(target.root):
            at = root / path.relative_to(target.root)
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(real)
    _turned(target.root, root)
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


def _outermost(named: Mapping[Path, Path]) -> dict[Path, Path]:
    """What is named, without what lies in a folder that is named too: it is reached through that."""
    return {path: real for path, real in named.items() if not any(other in named for other in path.parents)}


def _turned(live: Path, root: Path) -> None:
    """Have links lead where they do in the live folder: those that lead back into it, into the copy.

    Where the others lead nothing is in the sandbox, unless it was named with --data.
    """
    for folder, folders, files in os.walk(root):
        for path in (Path(folder) / name for name in (*folders, *files)):
            if not path.is_symlink():
                continue
            real = Path(os.path.realpath(live / path.relative_to(root)))
            there = root / real.relative_to(live) if real.is_relative_to(live) else None
            if there is not None and there != path and os.path.lexists(there):
                path.unlink()
                path.symlink_to(os.path.relpath(there, path.parent))
            elif there is None and real.exists():
                path.unlink()
                path.symlink_to(real)


def _is_left_out(path: Path, linked: set[Path]) -> bool:
    if path.name in _LEFT_OUT or path.name.startswith(PREFIX) or (path / "pyvenv.cfg").is_file():
        return True
    if path in linked or path == config_directory().resolve():
        return True
    if path.name.startswith(".") and path.parent == Path.home().resolve():
        return True  # Where keys lie.
    mode = path.lstat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def _check_size(root: Path, linked: set[Path]) -> None:
    total, largest, size = 0, root, 0
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not _is_left_out(Path(folder) / name, linked)]
        for name in files:
            path = Path(folder) / name
            if path.is_symlink() or _is_left_out(path, linked):
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


def _git(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], *, fine: Sequence[int] = (0,)) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=dict(environment), capture_output=True, text=True,
            timeout=_GIT_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"git {arguments[0]}: {error}") from None
    if done.returncode not in fine:
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
