"""What a result of readiness holds for: the parts whose change makes it say nothing any more."""

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nightcrew
from nightcrew.model.canonical import canonical_json
from nightcrew.readiness.material import UNREADABLE, parts_of, parts_of_playbook

_BESIDE = ("nightcrew.toml", "pyproject.toml", "requirements.txt", "uv.lock", "poetry.lock")
_CI = (".github/workflows/*.yml", ".github/workflows/*.yaml", ".gitlab-ci.yml")


@dataclass(frozen=True)
class Fingerprint:
    """The SHA-256 of each material part, by its name.

    A path relative to the target, for settings with the one that is meant (``nightcrew.toml, alerts.every_seconds``);
    a rule of the playbook (``playbook, gates.severity``); ``nightcrew``.
    """

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One SHA-256 over all parts, in hexadecimal."""
        return hashlib.sha256(canonical_json(dict(self.parts))).hexdigest()

    def changed(self, since: "Fingerprint") -> list[str]:
        """What is not as it was, in words: ``app.py changed``, ``rules.py is new``, ``playbook is gone``."""
        said = []
        for name in sorted({*self.parts, *since.parts}):
            now, then = self.parts.get(name), since.parts.get(name)
            if now != then:
                said.append(f"{name} {'is new' if then is None else 'is gone' if now is None else 'changed'}")
        return said


def of_crew(root: Path, playbook_text: str) -> Fingerprint:
    """Of the crew on a repository: settings, playbook, CI, nightcrew. What the crew works on is not part of it."""
    parts = {**parts_of_playbook(playbook_text), "nightcrew": own_digest()}
    for pattern in ("nightcrew.toml", *_CI):
        parts.update(_files(root, sorted(root.glob(pattern))))
    return Fingerprint(parts)


def of_modules(path: Path, root: Path, settings: tuple[Path, ...] = ()) -> Fingerprint:
    """Of code: the file, what it imports from its own folder, its drills, the tests that import it, settings and
    dependencies beside it, nightcrew. ``settings``: more files of settings that count, if they are there.
    """  # noqa: D205
    from nightcrew.readiness.outside_code import tests_of

    parts = {"nightcrew": own_digest()}
    parts.update(_files(root, drilled_modules(path, root)))
    parts.update(_files(root, [*tests_of(path, root)]))
    parts.update(_files(root, [*(root / name for name in _BESIDE), *settings]))
    return Fingerprint(parts)


def drilled_modules(path: Path, root: Path) -> list[Path]:
    """``own_modules``, and the files beside it with ``drill`` in their name: where drills of its own may stand."""
    beside = [file for file in root.glob("*drill*.py") if file.is_file()]
    return sorted({module for file in (path, *beside) for module in own_modules(file, root)})


def own_modules(path: Path, root: Path) -> list[Path]:
    """``path`` and the files below ``root`` that it imports, and that these import, in order of their path.

    Read from the source: nothing is run. A file that is not Python is taken as it is.
    """
    found, waiting = {path}, [path]
    while waiting:
        for imported in _imports(waiting.pop(), root):
            if imported not in found and imported.is_relative_to(root):
                found.add(imported)
                waiting.append(imported)
    return sorted(found)


@cache
def own_digest() -> str:
    """The SHA-256 of nightcrew itself: its version, and its source as it is installed."""
    home = Path(nightcrew.__file__).parent
    total = hashlib.sha256(nightcrew.__version__.encode())
    for file in sorted(home.rglob("*.py")):
        total.update(str(file.relative_to(home)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _files(root: Path, files: Iterable[Path]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for file in files:
        if file.is_file():
            parts.update(parts_of(Path(os.path.relpath(file, root)).as_posix(), file))
    return parts


def _imports(path: Path, root: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except UNREADABLE:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _module_files(root, name.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            start = path.parents[node.level - 1] if 0 < node.level <= len(path.parents) else root
            parts = node.module.split(".") if node.module else []
            yield from _module_files(start, parts)
            for name in node.names:
                yield from _module_files(start, [*parts, name.name])


def _module_files(start: Path, parts: list[str]) -> Iterator[Path]:
    """The files that importing ``parts`` from ``start`` runs: each package's, and the module's."""
    for depth in range(1, len(parts) + 1):
        base = start.joinpath(*parts[:depth])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                yield path
