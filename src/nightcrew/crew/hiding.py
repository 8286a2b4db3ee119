"""Lines that hold a secret, taken out of a patch before anybody is shown it."""

import re
from collections.abc import Collection, Iterator, Mapping

from nightcrew.crew.workspace.diff import unquoted

HIDDEN = "[a line that holds a secret is not shown]"
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)")


def hide_lines(patch: str, hidden: Mapping[str, Collection[int]]) -> str:
    """``patch`` (git's unified format) without what stands in the given lines (from 1) of files as it leaves them."""
    return "\n".join(_hidden(patch.split("\n"), hidden)) if hidden else patch


def _hidden(lines: list[str], hidden: Mapping[str, Collection[int]]) -> Iterator[str]:
    wanted: Collection[int] = ()
    number: int | None = None
    for line in lines:
        if line.startswith("diff --git "):
            number, wanted = None, ()
        elif number is None and line.startswith("+++ "):
            wanted = hidden.get(unquoted(line[4:].rstrip("\t")).removeprefix("b/"), ())
        elif match := _HUNK.match(line):
            number = int(match[1])
        elif number is not None and line[:1] in ("+", " "):
            if number in wanted:
                line = line[:1] + HIDDEN
            number += 1
        yield line
