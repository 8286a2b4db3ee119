"""Findings by rule, from what a change touches: protected paths and dependencies."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from nightcrew.checks.located import Hit
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity

_REQUIREMENTS = re.compile(r"(^|/)(requirements[^/]*|[^/]*requirements|requirements/[^/]*)\.txt$")
_NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*(.*)$")


class Changed(Protocol):
    """One changed file: its path and its text on both sides (None: not there, or not text)."""

    @property
    def path(self) -> str: ...
    @property
    def base_text(self) -> str | None: ...
    @property
    def head_text(self) -> str | None: ...


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
        if any(fnmatchcase(path, glob) or fnmatchcase(path, f"*/{glob}") for glob in globs)
    ]


def dependencies(changes: Iterable[Changed]) -> Iterator[Hit]:
    """A finding for each dependency that a change adds, and for each added without an exact version."""
    for change in changes:
        reader = _reader(change.path)
        if reader is None or change.head_text is None:
            continue
        before, after = reader(change.base_text or ""), reader(change.head_text)
        for name in sorted(set(after) - set(before)):
            pinned = "==" in after[name] or "@" in after[name]
            yield Hit(
                "playbook",
                "new-dependency" if pinned else "new-unpinned-dependency",
                Category.DEPENDENCY,
                Severity.MEDIUM,
                f"{name} is a new dependency{'' if pinned else ', and no exact version is named'}: {name}{after[name]}",
                change.path,
            )


def _reader(path: str) -> Callable[[str], dict[str, str]] | None:
    if _REQUIREMENTS.search(path):
        return _requirements
    return _pyproject if path.rsplit("/", 1)[-1] == "pyproject.toml" else None


def _requirements(text: str) -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return dict(_parsed(line for line in lines if line and not line.startswith("-")))


def _pyproject(text: str) -> dict[str, str]:
    try:
        value = tomllib.loads(text)
    except ValueError:
        return {}
    project = value.get("project", {})
    listed = list(project.get("dependencies", []))
    listed += [one for extra in project.get("optional-dependencies", {}).values() for one in extra]
    listed += [one for group in value.get("dependency-groups", {}).values() for one in group if isinstance(one, str)]
    listed += [
        f"{name} {spec}" for name, spec in value.get("tool", {}).get("poetry", {}).get("dependencies", {}).items()
    ]
    return dict(_parsed(listed))


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        match = _NAME.match(line)
        if match:
            yield match[1].lower().replace("_", "-").replace(".", "-"), match[3].strip()
