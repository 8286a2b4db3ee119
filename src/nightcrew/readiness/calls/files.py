"""Which files are read: a folder's own Python files, or the files that one program is made of."""

# ruff: noqa: SIM905 - long lists of words

import ast
import os
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 2_000_000
MAX_FILES = 20_000

_NOT_OWN = frozenset(
    "node_modules site-packages __pycache__ build dist venv env virtualenv eggs vendor _vendor third_party".split()
)
_NOT_PRODUCTION = frozenset("tests test testing docs doc examples example benchmarks bench samples tutorials".split())
_NOT_PRODUCTION_FILES = frozenset(("conftest.py", "setup.py", "noxfile.py", "tasks.py", "fabfile.py", "dodo.py"))


def python_files(root: Path) -> list[Path]:
    """The Python files under ``root`` that can run in production, in order: no tests, examples, vendored code, or
    virtual environments. Links are not followed.
    """  # noqa: D205
    found: list[Path] = []
    for folder, below, names in os.walk(root):
        inside = Path(folder)
        if inside != root and (inside / "pyvenv.cfg").exists():
            below.clear()
            continue
        below[:] = sorted(name for name in below if not _skipped(name) and not (inside / name).is_symlink())
        for name in sorted(names):
            if name.endswith(".py") and not _is_test(name) and not (inside / name).is_symlink():
                found.append(inside / name)
        if len(found) > MAX_FILES:
            break  # One more than are read, which tells that there are more.
    return found


def _skipped(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOT_OWN or name.lower() in _NOT_PRODUCTION


def _is_test(name: str) -> bool:
    return name in _NOT_PRODUCTION_FILES or name.startswith("test_") or name.endswith("_test.py")


def own_files(entry: Path) -> list[Path]:
    """The file and all files beside and below it that it imports, directly or not, in the order they are met.

    As Python does, an import is looked for in the folder of ``entry``, and in that which holds the file or its package.
    """
    entry = entry.resolve()
    found, waiting = [entry], [entry]
    while waiting:
        one = waiting.pop()
        for path in _imported(one, entry.parent):
            if path not in found and len(found) < MAX_FILES:
                found.append(path)
                waiting.append(path)
    return found


def _imported(path: Path, home: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _found(alias.name, _places(path, home))
        elif isinstance(node, ast.ImportFrom):
            places = [_above(path, node.level)] if node.level else _places(path, home)
            for name in ([node.module] if node.module else []) + [
                f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names
            ]:
                yield from _found(name, places)


def _places(path: Path, home: Path) -> list[Path]:
    return list(dict.fromkeys((package_root(path), home)))


def package_root(path: Path) -> Path:
    """The folder that the outermost package of a file lies in."""
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


def _above(path: Path, level: int) -> Path:
    return path.parents[min(level, len(path.parents)) - 1]


def _found(name: str, places: list[Path]) -> Iterator[Path]:
    for place in places:
        at = place.joinpath(*name.split("."))
        if at.with_suffix(".py").is_file():
            yield at.with_suffix(".py").resolve()
            return
        if (at / "__init__.py").is_file():
            yield (at / "__init__.py").resolve()
            return
