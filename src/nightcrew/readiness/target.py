"""What readiness is asked of: the crew on a repository, a pipeline, or plain code that is neither yet."""

import ast
import importlib.util
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nightcrew.model.errors import ConfigurationError, NightcrewError, UsageError
from nightcrew.readiness.fingerprint import Fingerprint, of_crew, of_modules
from nightcrew.readiness.material import UNREADABLE

if TYPE_CHECKING:
    from nightcrew.crew.project import Project
    from nightcrew.pipeline import Pipeline


@dataclass(frozen=True)
class CrewTarget:
    """The crew of a prepared repository."""

    project: "Project"

    @property
    def root(self) -> Path:
        """The top of the working tree."""
        return self.project.root

    @property
    def label(self) -> str:
        """What results are stored under."""
        return "crew"

    def fingerprint(self) -> Fingerprint:
        """What a result holds for: settings, playbook, CI, nightcrew."""
        return of_crew(self.root, self.project.playbook_text)


@dataclass(frozen=True)
class PipelineTarget:
    """A pipeline.

    ``path`` is the file that declares it, ``name`` its variable there, ``module`` how it is imported if it was named so
    (``package.module``), else empty. ``home`` is where its state is looked for, as ``nightcrew run`` does.
    """

    path: Path
    name: str
    module: str = ""
    home: Path = Path()

    @property
    def root(self) -> Path:
        """The folder of the application: the one that its imports begin in."""
        return self.path.parents[self._depth]

    @property
    def _depth(self) -> int:
        return self.module.count(".") + (self.path.name == "__init__.py") if self.module else 0

    @property
    def spec(self) -> str:
        """What ``pipeline.loading.load`` and ``nightcrew run`` take: ``APP.py:NAME``; a module, from ``root``."""
        return f"{self.module or self.path}:{self.name}"

    @property
    def typed(self) -> str:
        """As a person names it to a command, in the folder of the application."""
        return f"{self.module or self.path.name}:{self.name}"

    @property
    def label(self) -> str:
        """What results are stored under: where it lies below the folder of its state, and its name there.

        One state may be that of many applications.
        """
        place = Path(os.path.relpath(self.root.resolve(), _home(self.home.resolve())))
        return f"pipeline:{(place / (self.module or self.path.name)).as_posix()}:{self.name}"

    @cached_property
    def pipeline(self) -> "Pipeline":
        """The pipeline, imported into this process: runs the user's module, as ``nightcrew run`` does.

        Raises ConfigurationError if the module does not let itself be imported.
        """
        from nightcrew.pipeline.loading import load

        with redirect_stdout(sys.stderr):  # What the module prints is no part of what a command answers.
            try:
                pipeline = load(self.spec)
            except NightcrewError:
                raise
            except (Exception, SystemExit) as error:
                if isinstance(error, SystemExit) and type(error) is not SystemExit:
                    raise  # It is this process that was told to end.
                said = f"{self.spec} cannot be imported: {type(error).__name__}: {error}"
                raise ConfigurationError(said, hint="Mend it, or set what it needs of the environment.") from error
        pipeline.use_default(state=self.home)
        return pipeline

    def fingerprint(self) -> Fingerprint:
        """What a result holds for: its own modules and tests, settings, nightcrew. Nothing is imported."""
        settings = tuple(_home(start.resolve()) / "nightcrew.toml" for start in (self.root, self.home))
        return of_modules(self.path, self.root, settings)


@dataclass(frozen=True)
class CodeTarget:
    """Plain code, such as a prototype: it is read, never run."""

    path: Path

    @property
    def root(self) -> Path:
        """The folder that it lies in."""
        return self.path.parent

    @property
    def label(self) -> str:
        """What results are stored under."""
        return f"code:{self.path.name}"

    def fingerprint(self) -> Fingerprint:
        """What a result holds for."""
        return of_modules(self.path, self.root)


def _home(start: Path) -> Path:
    """The folder whose state and settings count in a folder: the nearest with a state, as ``find_state`` looks."""
    return next((at for at in (start, *start.parents) if (at / ".nightcrew").is_dir()), start)


Target = CrewTarget | PipelineTarget | CodeTarget


def resolve(text: str, repo: Path) -> Target:
    """The target that ``text`` names: paths from the current directory, state from ``repo``. Nothing is imported.

    Empty: the crew of ``repo``; a folder: the crew of the repository around it. ``APP.py:NAME`` or
    ``package.module:NAME``: a pipeline. ``APP.py``, in which none is declared: plain code. Raises UsageError, and what
    opening a project raises.
    """
    place, colon, name = text.rpartition(":")
    if colon and name.isidentifier() and place:
        return _pipeline(place, name, repo)
    path = Path(text) if text else repo
    if path.is_dir():
        from nightcrew.crew.project import open_project

        return CrewTarget(open_project(path))
    if path.suffix == ".py":
        if not path.is_file():
            raise UsageError(f"there is no file {text}")
        if names := _pipelines(path):
            raise UsageError(
                f"{text} declares {'a pipeline' if len(names) == 1 else 'pipelines'}: {', '.join(names)}",
                hint=f"Name it: {text}:{names[0]}",
            )
        return CodeTarget(path.resolve())
    raise UsageError(
        f"{text!r} is no target", hint="Name a folder (its crew), APP.py:NAME (a pipeline) or APP.py (plain code)."
    )


def _pipeline(place: str, name: str, repo: Path) -> PipelineTarget:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise UsageError(f"there is no file {place}")
        return PipelineTarget(path.resolve(), name, home=repo)
    return PipelineTarget(_module(place).resolve(), name, place, repo)


def _pipelines(path: Path) -> list[str]:
    """The names at the top of a file that are given a ``nightcrew.Pipeline``; read from its source."""
    try:
        tree = ast.parse(path.read_bytes())
    except UNREADABLE:
        return []
    makers = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            makers |= {f"{one.asname or one.name}.Pipeline" for one in node.names if one.name == "nightcrew"}
        elif isinstance(node, ast.ImportFrom) and node.module == "nightcrew":
            makers |= {one.asname or one.name for one in node.names if one.name == "Pipeline"}
    return [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in makers
        for target in node.targets
        if isinstance(target, ast.Name)
    ]


def _module(name: str) -> Path:
    """The file of a module, found without importing it or its packages."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise UsageError(f"{name!r} is no module")
    places = [Path.cwd()]
    top = None if _in(places, parts) else importlib.util.find_spec(parts[0])
    if top is not None and top.submodule_search_locations:
        places = [Path(place).parent for place in top.submodule_search_locations]
    found = _in(places, parts)
    if found is None:
        raise UsageError(f"there is no module {name}")
    return found


def _in(places: list[Path], parts: list[str]) -> Path | None:
    for place in places:
        base = place.joinpath(*parts)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None
