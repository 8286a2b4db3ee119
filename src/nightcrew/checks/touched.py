"""Findings by rule, from what a change touches: protected paths, dependencies and submodules."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

from nightcrew.checks.located import Hit
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity

_REQUIREMENTS = re.compile(r"(^|/)(requirements[^/]*|[^/]*requirements|requirements/[^/]*)\.txt$")
_NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*(.*)$")

_SUBMODULE = "160000"
_EXACT = re.compile(r"=?\s*v?\d+\.\d+\.\d+[\w.+-]*")


class Changed(Protocol):
    """One changed file: its path and its text on both sides (None: not there, or not text)."""

    @property
    def path(self) -> str:
        """Relative to the repository."""
        ...

    @property
    def base_text(self) -> str | None:
        """Its text on base."""
        ...

    @property
    def head_text(self) -> str | None:
        """Its text on head."""
        ...

    @property
    def head_mode(self) -> str | None:
        """Its mode on head as git has it, such as ``100644``; None if it is not there."""
        ...


def protected(paths: Iterable[str], globs: Sequence[str]) -> list[Hit]:
    """A finding for each changed path that the playbook protects."""
    return [
        Hit(
            "playbook",
            "protected-path",
            Category.PROTECTED_PATH,
            Severity.HIGH,
            f"{path} is protected: a person must look at this change",
            path,
        )
        for path in sorted(paths)
        if any(_covers(glob, path) for glob in globs)
    ]


def _covers(glob: str, path: str) -> bool:
    """Whether a path is meant; by ``FOLDER/**`` also the folder itself, in whose place a link may come."""
    return any(fnmatchcase(path, f"{above}{one}") for one in (glob, glob.removesuffix("/**")) for above in ("", "*/"))


def submodules(changes: Iterable[Changed]) -> Iterator[Hit]:
    """A finding for each submodule that a change brings or moves: its code is in another repository, seen by nobody."""
    for change in changes:
        if change.head_mode == _SUBMODULE:
            message = f"{change.path} is a submodule: no check sees the code that it brings"
            yield Hit("playbook", "submodule", Category.DEPENDENCY, Severity.HIGH, message, change.path)


def dependencies(changes: Iterable[Changed]) -> Iterator[Hit]:
    """A finding for each dependency that a change adds, and for each whose exact version it takes away."""
    for change in changes:
        reader = _reader(change.path)
        if reader is None or change.head_text is None:
            continue
        before, after = reader(change.base_text or ""), reader(change.head_text)
        for name, spec in sorted(after.items()):
            loosened = name in before and _is_pinned(before[name]) and not _is_pinned(spec)
            if name in before and not loosened:
                continue
            rule = "unpinned-dependency" if loosened else "new-dependency"
            rule = "new-unpinned-dependency" if not loosened and not _is_pinned(spec) else rule
            said = "is no longer pinned to an exact version" if loosened else "is a new dependency"
            open_ended = ", and no exact version is named" if rule == "new-unpinned-dependency" else ""
            yield Hit(
                "playbook",
                rule,
                Category.DEPENDENCY,
                Severity.MEDIUM,
                f"{name} {said}{open_ended}: {name}{spec}",
                change.path,
            )


def _reader(path: str) -> Callable[[str], dict[str, str]] | None:
    if _REQUIREMENTS.search(path):
        return _requirements
    return {"pyproject.toml": _pyproject, "package.json": _npm}.get(path.rsplit("/", 1)[-1])


def _requirements(text: str) -> dict[str, str]:
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return dict(_parsed(line for line in lines if line and not line.startswith(("-", "#"))))


def _pyproject(text: str) -> dict[str, str]:
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}
    project, poetry = _table(value, "project"), _table(value, "tool", "poetry")
    lists = [project.get("dependencies"), _table(value, "build-system").get("requires")]
    lists += [*_table(project, "optional-dependencies").values(), *_table(value, "dependency-groups").values()]
    listed = [one for each in lists if isinstance(each, list) for one in each if isinstance(one, str)]
    groups = [_table(group, "dependencies") for group in _table(poetry, "group").values()]
    for table in (_table(poetry, "dependencies"), _table(poetry, "dev-dependencies"), *groups):
        listed += [f"{name} {_poetry_version(spec)}" for name, spec in table.items() if name != "python"]
    return dict(_parsed(listed))


def _npm(text: str) -> dict[str, str]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    names = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
    found = {name: str(spec) for key in names for name, spec in _table(value, key).items()}
    # npm writes an exact version bare (semver); we write it as pip does.
    return {name: f"=={spec}" if _EXACT.fullmatch(spec) else f" {spec}" for name, spec in found.items()}


def _poetry_version(spec: Any) -> str:
    version = spec.get("version", "") if isinstance(spec, dict) else spec
    return f"=={version}" if isinstance(version, str) and _EXACT.fullmatch(version) else str(version)


def _is_pinned(spec: str) -> bool:
    """An exact version (PEP 440 ``==`` without a wildcard), a hash, or a commit of a repository named in full."""
    spec = spec.partition(";")[0]
    exact = re.search(r"===?\s*[^*,\s]+(?=\s|,|$)", spec) is not None
    return exact or "--hash=" in spec or re.search(r"@[0-9a-f]{40}(?:#|$|\s)", spec) is not None


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        match = _NAME.match(line)
        if match:
            yield re.sub(r"[-_.]+", "-", match[1]).lower(), match[3].strip()


def _table(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
