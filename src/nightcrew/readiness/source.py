"""What the source of a program says of it, read and never run: where records, results and loops stand in it."""

# ruff: noqa: SIM905 - long lists of words

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nightcrew.readiness.looks import relative

METRICS = frozenset(
    "prometheus_client opentelemetry statsd datadog ddtrace influxdb_client mlflow evidently sentry_sdk".split()
)
ENGINES = frozenset("dbos temporalio prefect celery dramatiq rq airflow dagster luigi huey procrastinate".split())
_WRITES = frozenset(
    "write_text write_bytes to_csv to_parquet to_json to_pickle to_excel dump savetxt save writerow writelines".split()
)
_GUARDS = frozenset("guard production step".split())


@dataclass(frozen=True)
class Spot:
    """A place in a file, and what stands there in a few words."""

    path: str
    line: int
    text: str


@dataclass
class Source:
    """The facts of the files of one program; paths are relative to its root."""

    imports: set[str] = field(default_factory=set)
    """The first part of each module that is imported."""
    unchecked: list[Spot] = field(default_factory=list)
    """Where a field of something given is read that no contract has passed."""
    writes: list[Spot] = field(default_factory=list)
    """Where a result is written."""
    loops: list[Spot] = field(default_factory=list)
    """Where many things are worked one after the other, at the top of the program."""
    prints: list[Spot] = field(default_factory=list)
    tried: set[tuple[str, int]] = field(default_factory=set)
    """Lines inside a ``try`` whose handler goes on with something else."""
    falls_back: set[tuple[str, str]] = field(default_factory=set)
    """Functions (path, name) with a guard that has a fallback."""
    calls: dict[str, set[str]] = field(default_factory=dict)
    """The names that each function uses, by the function's name; over all files, for who reaches what."""

    def reaches(self, name: str) -> set[str]:
        """The names of the functions that ``name`` may come to, itself included."""
        found, waiting = {name}, [name]
        while waiting:
            for called in self.calls.get(waiting.pop(), ()):
                if called in self.calls and called not in found:
                    found.add(called)
                    waiting.append(called)
        return found


def read(files: list[Path], root: Path, entry: Path) -> Source:
    """The facts of ``files``; a program's top is that of ``entry``. A file that cannot be read says nothing."""
    source = Source()
    for path in files:
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        _File(source, relative(path, root), tree, path.resolve() == entry.resolve()).look()
    return source


@dataclass
class _File:
    source: Source
    path: str
    tree: ast.Module
    is_entry: bool

    def look(self) -> None:
        self.source.imports |= set(_imports(self.tree))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._function(node)
            elif isinstance(node, ast.Try) and any(_goes_on(handler) for handler in node.handlers):
                last = node.body[-1].end_lineno or node.lineno
                self.source.tried |= {(self.path, line) for line in range(node.lineno, last + 1)}
            elif isinstance(node, ast.Call):
                self._call(node)
        if self.is_entry:
            for statement in _top(self.tree):
                self._at_top(statement)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        used = self.source.calls.setdefault(node.name, set())
        used |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        used |= {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
        guards = [one for one in node.decorator_list if _last_name(one) in _GUARDS]
        if any(isinstance(one, ast.Call) and any(word.arg == "fallback" for word in one.keywords) for one in guards):
            self.source.falls_back.add((self.path, node.name))
        plain = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args) if not _is_class(argument)}
        if not guards and (found := _field_of(node, plain)):
            self.source.unchecked.append(Spot(self.path, found.lineno, f"{node.name}() reads {ast.unparse(found)}"))

    def _call(self, node: ast.Call) -> None:
        name = _last_name(node)
        if name == "print":
            self.source.prints.append(Spot(self.path, node.lineno, "print"))
        elif name in _WRITES or (name == "open" and _opens_to_write(node)):
            self.source.writes.append(Spot(self.path, node.lineno, ast.unparse(node.func)))

    def _at_top(self, statement: ast.stmt) -> None:
        for node in ast.walk(statement):
            loops: Sequence[ast.For | ast.AsyncFor | ast.comprehension] = []
            if isinstance(node, ast.For | ast.AsyncFor):
                loops = [node]
            elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                loops = node.generators
            for loop in loops:
                line = loop.iter.lineno
                self.source.loops.append(Spot(self.path, line, f"for {ast.unparse(loop.target)} in ..."))
                names = {inner.id for inner in ast.walk(loop.target) if isinstance(inner, ast.Name)}
                if found := _field_of(node, names):
                    text = f"the loop reads {ast.unparse(found)}"
                    self.source.unchecked.append(Spot(self.path, found.lineno, text))


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    """What runs when the file is run: its statements, and those of a function named main."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if statement.name == "main":
                yield from statement.body
        elif not isinstance(statement, ast.ClassDef):
            yield statement


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.split(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def _last_name(node: ast.expr) -> str:
    """``b`` of ``a.b``, of ``a.b(...)``."""
    inner = node.func if isinstance(node, ast.Call) else node
    return inner.attr if isinstance(inner, ast.Attribute) else inner.id if isinstance(inner, ast.Name) else ""


def _is_class(argument: ast.arg) -> bool:
    """Whether an argument is annotated with a class of somebody's own, which may check what it holds."""
    name = _last_name(argument.annotation) if argument.annotation is not None else ""
    return name[:1].isupper() and name not in ("Any", "Dict", "Mapping", "List", "Sequence", "MutableMapping")


def _field_of(node: ast.AST, names: set[str]) -> ast.Subscript | None:
    """The first ``name["field"]`` in it."""
    found = [
        inner
        for inner in ast.walk(node)
        if isinstance(inner, ast.Subscript)
        and isinstance(inner.ctx, ast.Load)
        and isinstance(inner.value, ast.Name)
        and inner.value.id in names
        and isinstance(inner.slice, ast.Constant)
        and isinstance(inner.slice.value, str)
    ]
    return min(found, key=lambda inner: (inner.lineno, inner.col_offset), default=None)


def _goes_on(handler: ast.ExceptHandler) -> bool:
    """Whether a handler does something in place of what failed: neither nothing, nor only another error."""
    return not all(isinstance(one, ast.Pass | ast.Raise | ast.Continue | ast.Break) for one in handler.body)


def _opens_to_write(node: ast.Call) -> bool:
    modes = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
    modes += node.args[:1] if isinstance(node.func, ast.Attribute) else []
    return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax") and len(str(mode.value)) < 4
               for mode in modes)  # fmt: skip
