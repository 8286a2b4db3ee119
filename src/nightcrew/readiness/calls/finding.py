"""Reads files and finds their external calls."""

import ast
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from nightcrew.model.errors import UsageError
from nightcrew.readiness.calls.endpoints import asks_a_model
from nightcrew.readiness.calls.files import MAX_BYTES, MAX_FILES, python_files
from nightcrew.readiness.calls.found import Calls, ExternalCall, Unread
from nightcrew.readiness.calls.passing import ROUNDS
from nightcrew.readiness.calls.reaching import Reached
from nightcrew.readiness.calls.scopes import Scope, scopes_of
from nightcrew.readiness.calls.values import Values
from nightcrew.readiness.calls.walking import Seen, Site, walk

_ACCEPTED = re.compile(r"#\s*nightcrew:\s*unguarded[\s:,-]+(\S.*)")


def find_calls(root: Path, files: Sequence[Path] | None = None, *, entry: Path | None = None) -> Calls:
    """The external calls in ``files`` (default: ``python_files(root)``), their paths relative to ``root``.

    With ``entry``, the file that is run: what other files do under ``if __name__ == "__main__"`` is no way to a call.
    Nothing is imported or run. A file that cannot be read is named in ``unread``. Raises UsageError for a ``root`` that
    is no folder.
    """
    root = root.resolve()
    if not root.is_dir():
        raise UsageError(f"{root} is no folder")
    read = _Read(root)
    wanted = python_files(root) if files is None else list(files)
    for path in wanted[:MAX_FILES]:
        read.add(path.resolve())
    if len(wanted) > MAX_FILES:
        rest = read.shown(wanted[MAX_FILES])
        read.unread.append(Unread(rest, f"this file and those after it: more than {MAX_FILES:,} are not read"))
    roots = tuple(dict.fromkeys((*((entry.resolve().parent,) if entry else ()), root, root / "src")))
    values = Values(read.modules, roots)
    seen = _seen(read, values)
    for _ in range(ROUNDS):
        if not seen.passed:
            break
        for binding, value in seen.passed:
            values.passed.setdefault(binding, value)
        values.forget()
        seen = _seen(read, values)
    functions = [scope for scope in read.scopes.values() if scope.kind == "function"]
    reached = Reached(seen, functions, values, entry.resolve() if entry else None, read.shown)
    found = {_told(site, reached, read) for site in seen.sites}
    return Calls(tuple(sorted(found)), len(read.modules), tuple(read.unread))


def _seen(read: "_Read", values: Values) -> Seen:
    seen = Seen()
    for path, scope in list(read.modules.items()):
        try:
            walk(scope, read.scopes, values, seen)
        except (RecursionError, MemoryError):
            read.unread.append(Unread(read.shown(path), "nested too deeply"))
            del read.modules[path]
    return seen


class _Read:
    """The files as they were read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[Path, Scope] = {}
        self.scopes: dict[ast.AST, Scope] = {}
        self.lines: dict[Path, list[str]] = {}
        self.unread: list[Unread] = []

    def add(self, path: Path) -> None:
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"larger than {MAX_BYTES:,} bytes")
            data = path.read_bytes()
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(data)
            scopes = scopes_of(path, tree)
        except OSError as error:
            self.unread.append(Unread(self.shown(path), error.strerror or type(error).__name__))
        except SyntaxError as error:
            self.unread.append(Unread(self.shown(path), f"not Python 3: {error.msg} (line {error.lineno or 1})"))
        except ValueError as error:
            self.unread.append(Unread(self.shown(path), str(error)))
        except (RecursionError, MemoryError):
            self.unread.append(Unread(self.shown(path), "nested too deeply"))
        else:
            self.modules[path] = scopes[tree]
            self.scopes.update(scopes)
            self.lines[path] = data.decode("utf-8", "replace").splitlines()

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def accepted(self, path: Path, node: ast.expr) -> str:
        lines = self.lines[path]
        for number in dict.fromkeys((node.lineno, node.end_lineno or node.lineno)):
            said = _ACCEPTED.search(lines[number - 1]) if number <= len(lines) else None
            if said is not None:
                return said[1].strip()
        return ""


def _told(site: Site, reached: Reached, read: _Read) -> ExternalCall:
    guard = site.guard or reached.guard(site.unit)
    scope = site.unit.scope
    return ExternalCall(
        path=read.shown(scope.path),
        line=site.node.lineno,
        column=site.node.col_offset + 1,
        what=site.what,
        kind="model" if site.kind == "http" and asks_a_model(scope) else site.kind,
        function=scope.name,
        guarded_by=guard.name if guard is not None else "",
        way="" if guard is not None else reached.why(site.unit),
        accepted=read.accepted(scope.path, site.node),
        timeout=site.timeout or (guard is not None and guard.timeout),
        loop=site.loop,
    )
