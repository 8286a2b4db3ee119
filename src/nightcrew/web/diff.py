"""A unified patch of git as files, hunks and lines that a page can show, fold and number."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from markupsafe import Markup

from nightcrew.crew.workspace.diff import unquoted
from nightcrew.web.code import coloured
from nightcrew.web.markup import visible

MAX_DIFF = 2_000_000
"""Characters of a patch that a page shows."""
FOLDED_FROM = 400
"""Changed lines of one file above which it is closed at first."""
_LINE = 2_000

Kind = Literal["add", "del", "same", "note"]
_HUNK = re.compile(r"^@@ -(\d{1,9})(?:,\d+)? \+(\d{1,9})(?:,\d+)? @@ ?(.*)$")
_SIGN: dict[str, Kind] = {"+": "add", "-": "del", " ": "same", "\\": "note"}


@dataclass(frozen=True)
class Line:
    """One line of a hunk; ``old`` and ``new`` are its numbers on either side."""

    kind: Kind
    old: int | None
    new: int | None
    code: Markup
    sign: str = " "


@dataclass(frozen=True)
class Hunk:
    """A run of lines; ``heading`` is what git found to stand above it."""

    at: str
    heading: str
    lines: tuple[Line, ...]


@dataclass
class FileDiff:
    """One file's change; ``notes`` says what the lines do not: renamed, a new mode, binary."""

    path: str
    status: str = "changed"
    notes: list[str] = field(default_factory=list)
    hunks: list[Hunk] = field(default_factory=list)
    added: int = 0
    removed: int = 0

    @property
    def folded(self) -> bool:
        """Whether it is closed until somebody opens it."""
        return self.added + self.removed > FOLDED_FROM


@dataclass(frozen=True)
class Diff:
    """A patch, and the number of its characters that are not shown."""

    files: tuple[FileDiff, ...]
    left_out: str = ""

    @property
    def added(self) -> int:
        """Lines added in all files."""
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        """Lines removed in all files."""
        return sum(file.removed for file in self.files)


@lru_cache(maxsize=8)
def parse(text: str) -> Diff:
    """Read what ``git diff-tree -p -M`` gives, at most MAX_DIFF of it; what does not fit is shown as a note."""
    left_out = ""
    last = text.rstrip("\n").rsplit("\n", 1)[-1]
    if last.startswith("[... ") and last.endswith(" left out ...]"):
        left_out = last.strip("[. ]")
        text = text[: text.rindex(last)]
    if len(text) > MAX_DIFF:
        left_out = left_out or f"{len(text) - MAX_DIFF:,} more characters of this change are not shown"
        text = text[: text.rfind("\n", 0, MAX_DIFF) + 1]
    parts = re.split(r"^(?=diff --git )", text, flags=re.MULTILINE)
    return Diff(tuple(_file(part) for part in parts if part.startswith("diff --git ")), left_out)


def _file(part: str) -> FileDiff:
    lines = part.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    file = FileDiff(path=_path_of(lines[0]))
    at = 1
    while at < len(lines) and not lines[at].startswith("@@ "):
        _header(file, lines[at])
        at += 1
    while at < len(lines):
        end = at + 1
        while end < len(lines) and not _HUNK.match(lines[end]):
            end += 1
        _add_hunk(file, lines[at], lines[at + 1 : end])
        at = end
    return file


def _header(file: FileDiff, line: str) -> None:
    if line.startswith("+++ ") and not line.startswith("+++ /dev/null"):
        file.path = visible(unquoted(line[4:].rstrip("\t")).removeprefix("b/"))
    elif line.startswith("--- ") and not line.startswith("--- /dev/null"):
        file.path = visible(unquoted(line[4:].rstrip("\t")).removeprefix("a/"))
    elif line.startswith("new file"):
        file.status = "new"
        if not line.endswith("100644"):
            file.notes.append(visible(line))
    elif line.startswith("deleted file"):
        file.status = "deleted"
    elif line.startswith("rename to "):
        file.status = "renamed"
        file.path = visible(unquoted(line.removeprefix("rename to ")))
    elif not line.startswith(("index ", "similarity ", "dissimilarity ", "--- /dev/null", "+++ /dev/null")):
        file.notes.append(visible(line))


def _add_hunk(file: FileDiff, heading: str, body: list[str]) -> None:
    match = _HUNK.match(heading)
    if match is None:
        file.notes.append(visible(heading))
        return
    old, new = int(match[1]), int(match[2])
    kinds = [_SIGN.get(line[:1], "note") for line in body]
    texts = [line[1 : _LINE + 1] + (" [...]" if len(line) > _LINE else "") for line in body]
    # Each side is coloured as a whole, so that a string over several lines is one on both.
    before = iter(coloured((t for t, kind in zip(texts, kinds, strict=True) if kind in ("del", "same")), file.path))
    after = iter(coloured((t for t, kind in zip(texts, kinds, strict=True) if kind in ("add", "same")), file.path))
    lines: list[Line] = []
    for kind, text in zip(kinds, texts, strict=True):
        if kind == "add":
            lines.append(Line(kind, None, new, next(after), "+"))
            new, file.added = new + 1, file.added + 1
        elif kind == "del":
            lines.append(Line(kind, old, None, next(before), "-"))
            old, file.removed = old + 1, file.removed + 1
        elif kind == "same":
            next(before)
            lines.append(Line(kind, old, new, next(after)))
            old, new = old + 1, new + 1
        else:
            lines.append(Line(kind, None, None, Markup.escape(visible(text.strip()))))
    at = f"lines {match[2]} and on"
    file.hunks.append(Hunk(at, visible(match[3]), tuple(lines)))


def _path_of(line: str) -> str:
    """The new path in ``diff --git a/x b/x``, for changes that have no other line with it (binary, mode only)."""
    rest = line.removeprefix("diff --git ")
    half = rest[(len(rest) + 1) // 2 :] if " b/" in rest else rest.rsplit(" ", 1)[-1]
    return visible(unquoted(half).removeprefix("b/"))
