"""Changes that break a repository, from its source alone: what its tests call does not work, or nothing loads."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from nightcrew.readiness.drills.broken_step import without_body
from nightcrew.readiness.material import UNREADABLE

_MOST = 3
"""Functions that one change breaks: one alone may not be what its name in a test means."""
_NO_CODE = "nightcrew drill broke this file ((("
_NO_IMPORT = 'raise ImportError("this module was broken by a drill")'
_SUFFIXES = {
    "node": (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx"),
    "go": (".go",),
    "rust": (".rs",),
    "": (
        ".c", ".cc", ".cpp", ".cs", ".cxx", ".d", ".ex", ".go", ".h", ".hpp", ".hs", ".java", ".jl", ".js", ".kt",
        ".lua", ".m", ".ml", ".pl", ".py", ".rb", ".rs", ".scala", ".sh", ".swift", ".ts", ".zig",
    ),
}  # fmt: skip
"""What is source code, by the kind of project; of a Makefile and of a command that somebody named: any."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Break:
    """``what`` it does, in words, and the whole new text of each file that it changes."""

    what: str
    files: Mapping[str, str]


def is_test(path: str, patterns: Iterable[str]) -> bool:
    """Whether a file of the repository belongs to its tests, by ``[checks] test_paths``."""
    return PurePosixPath(path).name == "conftest.py" or any(fnmatchcase(path, pattern) for pattern in patterns)


def called(source: Mapping[str, str], tests: Mapping[str, str]) -> Break | None:
    """Python functions that tests name do nothing but raise an error, and everything imports as before.

    Those that most tests name are taken; None if tests name none that is not needed for importing.
    """
    named: Counter[str] = Counter()
    for text in tests.values():
        for node in _functions(text):
            if node.name.startswith("test"):
                named.update(set(_names(node)))
    trees = {path: tree for path, text in source.items() if (tree := _parsed(text)) is not None}
    there = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, _Function)}
    usable = there - _needed(trees.values())
    chosen = [name for name in sorted(named, key=lambda name: (-named[name], name)) if name in usable]
    chosen = [name for name in chosen if not name.startswith("__")]
    files: dict[str, str] = {}
    broken: list[str] = []
    for name in chosen:
        changed = {
            path: broke for path in trees if (broke := _without(files.get(path, source[path]), name)) is not None
        }
        if changed:
            files |= changed
            broken.append(name)
        if len(broken) == _MOST:
            break
    return Break(f"{_listed(broken)} of the code {_do(broken)} nothing but raise an error", files) if files else None


def unimportable(source: Mapping[str, str], first: str) -> Break:
    """The Python module ``first`` does not import."""
    return Break(f"{first} does not import", {first: _with_line(source[first], _NO_IMPORT)})


def unloadable(source: Mapping[str, str]) -> Break:
    """No file of the source is code any more: whatever compiles or loads one of them fails."""
    return Break(
        f"all {len(source)} files of source code end with a line that is no code",
        {path: _with_line(text, _NO_CODE) for path, text in source.items()},
    )


def is_source(path: str, kind: str) -> bool:
    """Whether a file is source code in a project of this kind (``checks.project``)."""
    return PurePosixPath(path).suffix in _SUFFIXES.get(kind, _SUFFIXES[""])


def _do(names: list[str]) -> str:
    return "does" if len(names) == 1 else "do"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _with_line(text: str, line: str) -> str:
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except UNREADABLE:
        return None


def _functions(text: str) -> Iterator[_Function]:
    tree = _parsed(text)
    return iter(()) if tree is None else (node for node in ast.walk(tree) if isinstance(node, _Function))


def _names(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr


def _needed(trees: Iterable[ast.Module]) -> set[str]:
    """Names of what may be called while modules are imported, and of what that calls."""
    bodies: dict[str, set[str]] = {}
    needed: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, _Function):
                bodies.setdefault(node.name, set()).update(name for one in node.body for name in _names(one))
        needed.update(_at_import(tree))
    waiting = list(needed)
    while waiting:
        new = bodies.get(waiting.pop(), set()) - needed
        needed |= new
        waiting += new
    return needed


def _at_import(tree: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _Function | ast.Lambda):
            waiting += [one for one in (*node.args.defaults, *node.args.kw_defaults) if one is not None]
            waiting += [] if isinstance(node, ast.Lambda) else node.decorator_list
            continue
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        waiting += ast.iter_child_nodes(node)


def _without(text: str, name: str) -> str | None:
    """The text with the functions of a name broken; None if there is none, or it would be no Python any more."""
    lines = sorted((node.lineno for node in _functions(text) if node.name == name), reverse=True)
    changed = text
    for line in lines:
        changed = without_body(changed, line) or changed
    return changed if changed != text and _parsed(changed) is not None else None
