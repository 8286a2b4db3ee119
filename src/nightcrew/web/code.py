"""Code on a page: lines with their syntax coloured by classes, since the page's policy forbids style attributes."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from markupsafe import Markup, escape
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

from nightcrew.web.markup import visible

MAX_COLOURED = 200_000
"""Characters of one piece of code above which it is shown plain: colouring takes about a second a megabyte."""


class CodeLine(NamedTuple):
    """One line of code with its number, and whether it is what is spoken of."""

    number: int
    code: Markup
    marked: bool = False


def coloured(lines: Iterable[str], path: str) -> list[Markup]:
    """Each line as HTML; the lexer is chosen by the file's name."""
    shown = [visible(line.rstrip("\r")) for line in lines]
    text = "\n".join(shown)
    if len(text) > MAX_COLOURED:
        return [escape(line) for line in shown]
    made = list(_lines(_lexer(path.rsplit("/", 1)[-1]), text))
    # Whatever a lexer does with odd input, a line is never lost and never shifted.
    if len(made) != len(shown):
        return [escape(line) for line in shown]
    return made


def excerpt(text: str, path: str, first: int, last: int, *, around: int = 4) -> list[CodeLine]:
    """Lines ``first`` to ``last`` (from 1) of a file with some before and after; empty if the file is shorter."""
    lines = text.split("\n")
    if first > len(lines):
        return []
    start, end = max(1, first - around), min(len(lines), min(last, first + 40) + around)
    made = coloured((line[:500] for line in lines[start - 1 : end]), path)
    return [CodeLine(number, code, first <= number <= last) for number, code in enumerate(made, start)]


_COLOURED = frozenset(
    {
        *(
            "c",
            "cc",
            "cfg",
            "cjs",
            "cpp",
            "css",
            "go",
            "h",
            "hpp",
            "htm",
            "html",
            "ini",
            "java",
            "js",
            "json",
            "jsx",
            "kt",
        ),
        *("bash", "md", "mjs", "php", "py", "pyi", "rb", "rs", "sh", "sql", "toml", "ts", "tsx", "xml", "yaml", "yml"),
    }
)
"""Files whose lexers take linear time; a name is chosen by whoever wrote the change, and some lexers need minutes."""


@lru_cache(maxsize=64)
def _lexer(name: str) -> Lexer:
    suffix = name.rpartition(".")[2].lower()
    if suffix not in _COLOURED and name.rpartition("/")[2] != "Dockerfile":
        return TextLexer(stripnl=False, stripall=False, ensurenl=False)
    try:
        return get_lexer_for_filename(name, stripnl=False, stripall=False, ensurenl=False)
    except ClassNotFound:
        return TextLexer(stripnl=False, stripall=False, ensurenl=False)


def _lines(lexer: Lexer, text: str) -> Iterator[Markup]:
    """Tokens put together into lines: a token that spans several is closed and opened again at each end."""
    line: list[str] = []
    for kind, value in lexer.get_tokens(text):
        name = STANDARD_TYPES.get(kind, "")
        while not name and kind.parent is not None:
            kind = kind.parent
            name = STANDARD_TYPES.get(kind, "")
        for index, part in enumerate(value.split("\n")):
            if index:
                yield Markup("".join(line))  # noqa: S704 - made of escaped text and our own tags
                line = []
            if part:
                line.append(f'<span class="{name}">{escape(part)}</span>' if name else str(escape(part)))
    yield Markup("".join(line))  # noqa: S704 - as above
