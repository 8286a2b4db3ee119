"""Changes to Python source that leave everything else byte for byte as it was."""

import ast
import tokenize
from dataclasses import dataclass, field
from io import BytesIO


@dataclass
class Source:
    """The source of a file, and the changes wanted of it."""

    data: bytes
    tree: ast.Module
    _edits: list[tuple[int, int, str]] = field(default_factory=list)
    _imports: set[tuple[str, str]] = field(default_factory=set)
    _plain: str = ""

    @classmethod
    def of(cls, data: bytes) -> "Source":
        """The source in ``data``. Raises SyntaxError and ValueError for what is not Python, or not UTF-8."""
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        if encoding not in ("utf-8", "utf-8-sig"):
            raise ValueError(f"its encoding is {encoding}; only UTF-8 is changed")
        return cls(data, ast.parse(data))

    @property
    def changed(self) -> bool:
        """Whether a change is wanted."""
        return bool(self._edits)

    def insert_before_line(self, line: int, text: str) -> None:
        """Put whole lines before a line (from 1)."""
        at = self._offset(line, 0)
        self._edits.append((at, at, text))

    def insert_argument(self, call: ast.Call, text: str) -> None:
        """Give a call one more keyword argument."""
        first, last = self._span(call)
        told = [*tokenize.tokenize(BytesIO(self.data[first:last]).readline)]
        plain = [one for one in told if one.type in (tokenize.OP, tokenize.NAME, tokenize.NUMBER, tokenize.STRING)]
        before = plain[-2]  # The last is the closing parenthesis.
        lines = self.data[first:last].splitlines(keepends=True)
        line, column = before.end
        at = first + sum(map(len, lines[: line - 1])) + len(lines[line - 1].decode()[:column].encode())
        first_of_all, after_comma = before.string == "(" and not call.args, before.string == ","
        text = text if first_of_all else f" {text}," if after_comma else f", {text}"
        self._edits.append((at, at, text))

    def replace(self, node: ast.expr, text: str) -> None:
        """Put something else in the place of an expression."""
        self._edits.append((*self._span(node), text))

    def need(self, module: str, name: str) -> None:
        """See to it that ``from module import name`` is there."""
        for node in self.tree.body:
            names = node.names if isinstance(node, ast.ImportFrom) and node.module == module and not node.level else ()
            if any(alias.name == name and alias.asname in (None, name) for alias in names):
                return
        self._imports.add((module, name))

    def nightcrew(self) -> str:
        """The name that the file has for nightcrew; an import is added where it has none."""
        for node in self.tree.body:
            for alias in node.names if isinstance(node, ast.Import) else ():
                if alias.name == "nightcrew":
                    return alias.asname or "nightcrew"
        self._plain = "import nightcrew as nc\n"
        return "nc"

    def names(self) -> set[str]:
        """Every name that stands at the top of the file, or is used anywhere in it."""
        used = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}
        defined = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        return used | {node.name for node in self.tree.body if isinstance(node, defined)}

    def result(self) -> bytes:
        """The source with all changes."""
        edits = list(self._edits)
        added = self._plain + "".join(
            f"from {module} import {', '.join(sorted(name for one, name in self._imports if one == module))}\n"
            for module in sorted({module for module, _ in self._imports}, key=lambda one: (one != "typing", one))
        )
        if added:
            at = self._offset(self._after_imports(), 0)
            edits.append((at, at, added))
        newline = "\r\n" if b"\r\n" in self.data else "\n"
        made = self.data
        for first, last, text in sorted(edits, key=lambda edit: (edit[0], edit[1]), reverse=True):
            made = made[:first] + text.replace("\n", newline).encode() + made[last:]
        ast.parse(made)  # A change that breaks the file is a bug of ours: better none at all.
        return made

    def _after_imports(self) -> int:
        """The line after the last import at the top of the file; after its docstring if there is none."""
        line = 1
        for place, node in enumerate(self.tree.body):
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and place == 0
            if isinstance(node, ast.Import | ast.ImportFrom) or is_text:
                line = (node.end_lineno or 1) + 1
            elif line > 1 or not isinstance(node, ast.Import | ast.ImportFrom):
                break
        return line

    def _span(self, node: ast.expr) -> tuple[int, int]:
        """Where an expression begins and ends, in bytes."""
        first = self._offset(node.lineno, node.col_offset)
        return first, self._offset(node.end_lineno or 1, node.end_col_offset or 0)

    def _offset(self, line: int, column: int) -> int:
        lines = self.data.splitlines(keepends=True)
        start = 3 if self.data.startswith(b"\xef\xbb\xbf") and line == 1 else 0
        return sum(len(one) for one in lines[: line - 1]) + column + start
