"""Manual pages, as text for the terminal and as roff for man(1): one page, two ways to write it."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nightcrew import __version__
from nightcrew.cli import COMMANDS
from nightcrew.cli.described import Command, Parameter

COMMON = (
    ("--repo PATH", "the repository (default: the current directory)"),
    ("--json", "one JSON document on standard output, for machines"),
    ("--debug", "show the traceback of an error"),
    ("--log-json", "logs as JSON lines on standard error"),
    ("--help", "help of the command, with an example"),
)
STATUS = (
    ("0", "done"),
    ("1", "done, and something needs a person"),
    ("2", "wrong usage"),
    ("3", "refused by policy"),
    ("4", "configuration or environment"),
    ("70", "a bug"),
    ("75", "try again"),
    ("130", "interrupted"),
)
FILES = (
    ("nightcrew.toml", "settings of the repository; nightcrew doctor says what each does"),
    (".nightcrew/", "state of the crew: its database, the handoffs, the playbook; not in git"),
    ("~/.config/nightcrew/trust/", "the trust anchor: who may decide, and what was last seen of each ledger"),
    ("~/.config/nightcrew/keys.toml", "where keys and tokens lie; none is in it"),
    ("~/.local/state/nightcrew/", "workspaces, environments and caches"),
)
ENVIRONMENT = (
    ("NIGHTCREW_CONFIG_DIR", "an absolute path, in place of ~/.config/nightcrew"),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "in place of ~/.config and ~/.local/state"),
    ("NIGHTCREW_LOG", "json: logs as JSON lines, as with --log-json"),
    ("NIGHTCREW_NOTIFY", "addresses that alerts and the morning report go to (apprise URLs, separated by spaces)"),
    ("NIGHTCREW_PASSPHRASE_FILE", "a file that holds the passphrase of a reviewer's key"),
    ("NIGHTCREW_STATE_KEY", "the key that nightcrew state seals with"),
    ("NO_COLOR", "if set, no colours"),
    ("PAGER", "what nightcrew help shows a page with"),
)
_INDENT = 7
_WIDEST = 88


@dataclass(frozen=True)
class Item:
    """A term with what it is, such as an option; ``term`` alone is a line as it is typed."""

    term: str
    text: str = ""


Block = str | Item
"""A paragraph, or an item of a list."""


@dataclass(frozen=True)
class Page:
    """A manual page: ``name`` as in ``man NAME``, sections in their order."""

    name: str
    summary: str
    sections: tuple[tuple[str, tuple[Block, ...]], ...]

    def plain(self) -> dict[str, object]:
        """As JSON."""
        return {
            "name": self.name,
            "summary": self.summary,
            "sections": {
                title: [one if isinstance(one, str) else {"term": one.term, "text": one.text} for one in blocks]
                for title, blocks in self.sections
            },
        }


def page_of(command: Command) -> Page:
    """The page of one command, with the commands below it."""
    name = "-".join(("nightcrew", *command.words))
    sections: list[tuple[str, tuple[Block, ...]]] = [
        ("NAME", (f"{name} - {command.summary}",)),
        ("SYNOPSIS", tuple(Item(line) for line in _synopsis(command))),
        ("DESCRIPTION", tuple(_paragraphs(command.text)) or (f"{command.summary}.",)),
        ("ARGUMENTS AND OPTIONS", tuple(_parameter(one) for one in command.parameters)),
        *((f"COMMAND {inner.words[-1].upper()}", tuple(_inner(inner))) for inner in command.commands),
        ("OPTIONS OF EVERY COMMAND", tuple(Item(*row) for row in COMMON)),
        ("EXAMPLES", tuple(Item(line) for line in _examples(command))),
        ("EXIT STATUS", tuple(Item(*row) for row in STATUS)),
        ("FILES", tuple(Item(*row) for row in FILES)),
        ("ENVIRONMENT", tuple(Item(*row) for row in ENVIRONMENT)),
        ("SEE ALSO", (_see_also(command.words[0]),)),
    ]
    return Page(name, command.summary, tuple((title, blocks) for title, blocks in sections if blocks))


def main_page() -> Page:
    """The page of ``nightcrew`` itself."""
    summary = "a crew of agents that works a repository's backlog at night"
    return Page(
        "nightcrew",
        summary,
        (
            ("NAME", (f"nightcrew - {summary}",)),
            ("SYNOPSIS", (Item("nightcrew"), Item("nightcrew COMMAND [ARGUMENTS]"), Item("nightcrew help COMMAND"))),
            (
                "DESCRIPTION",
                (
                    "Runs AI work unattended, at 2 AM, and is trusted in the morning. Without a command it says what"
                    " happened last night and what waits for a person.",
                ),
            ),
            ("COMMANDS", tuple(Item(name, text) for name, (_, text) in COMMANDS.items())),
            ("OPTIONS OF EVERY COMMAND", tuple(Item(*row) for row in COMMON)),
            ("EXIT STATUS", tuple(Item(*row) for row in STATUS)),
            ("FILES", tuple(Item(*row) for row in FILES)),
            ("ENVIRONMENT", tuple(Item(*row) for row in ENVIRONMENT)),
            ("SEE ALSO", ("nightcrew-demo(1), nightcrew-init(1), nightcrew-shift(1), nightcrew-runbook(1)",)),
        ),
    )


def text(page: Page, *, width: int = 80, bold: bool = False) -> str:
    """The page for a terminal; ``bold`` marks headings and terms as man does, for a pager to show."""
    width = min(max(width, 40), _WIDEST)
    mark = _struck if bold else str
    lines: list[str] = []
    for title, blocks in page.sections:
        lines.append(mark(title))
        for block in blocks:
            if isinstance(block, str):
                lines += [
                    *textwrap.wrap(block, width, initial_indent=" " * _INDENT, subsequent_indent=" " * _INDENT),
                    "",
                ]
            else:
                inner = " " * (_INDENT + 4)
                lines += [
                    " " * _INDENT + mark(part) if n == 0 else inner + mark(part) for n, part in _typed(block, width)
                ]
                if not block.text:
                    continue
                lines += textwrap.wrap(block.text, width, initial_indent=inner, subsequent_indent=inner)
        if lines[-1]:
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _typed(item: Item, width: int) -> Iterator[tuple[int, str]]:
    """A term in lines: where it is cut, no option loses its hyphens or its value its place."""
    room = width - _INDENT - 4
    return enumerate(textwrap.wrap(item.term, room, break_long_words=False, break_on_hyphens=False) or [""])


def roff(page: Page, date: datetime) -> str:
    """The page in man(7), the macros that every man(1) reads."""
    name = page.name.upper()
    lines = [
        '.\\" Written by: nightcrew man',
        f'.TH {_quoted(name)} 1 "{date:%Y-%m-%d}" {_quoted(f"nightcrew {__version__}")} "nightcrew manual"',
    ]
    for title, blocks in page.sections:
        lines.append(f".SH {_quoted(title)}")
        between = False
        for block in blocks:
            if isinstance(block, str):
                lines += [*([".PP"] if between else []), _escaped(block)]
            elif block.text:
                lines += [".TP", f"\\fB{_escaped(block.term)}\\fP", _escaped(block.text)]
            else:
                lines += [*([".br"] if between else []), f"\\fB{_escaped(block.term)}\\fP"]
            between = True
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> Iterator[str]:
    if not command.commands or command.parameters:
        yield " ".join([command.name, *(_usage(one) for one in _in_order(command.parameters))])
    for inner in command.commands:
        yield from _synopsis(inner)


def _in_order(parameters: tuple[Parameter, ...]) -> list[Parameter]:
    """Arguments first, as they must come; then options."""
    return sorted(parameters, key=lambda one: one.kind != "argument")


def _usage(one: Parameter) -> str:
    said = one.metavar if one.kind == "argument" else " ".join(filter(None, (one.names[0], one.metavar)))
    more = "..." if one.repeated and not said.rstrip("]").endswith("...") else ""
    return f"{said}{more}" if one.required or said.startswith("[") else f"[{said}]{more}"


def _parameter(one: Parameter) -> Item:
    term = one.metavar if one.kind == "argument" else f"{', '.join(one.names)} {one.metavar}".strip()
    notes = [
        f"default: {one.default}" if one.default else "",
        "required" if one.required and one.kind == "option" else "",
        "may be given again" if one.repeated and one.kind == "option" and "again" not in one.help else "",
    ]
    said = "; ".join(filter(None, (one.help, *notes)))
    return Item(term, said or one.name.replace("_", " "))


def _inner(command: Command) -> Iterator[Block]:
    yield from (Item(line) for line in _synopsis(command))
    yield from _paragraphs(command.text)
    yield from (_parameter(one) for one in _in_order(command.parameters))


def _examples(command: Command) -> Iterator[str]:
    yield from command.examples
    for inner in command.commands:
        yield from _examples(inner)


def _paragraphs(said: str) -> Iterator[str]:
    for part in said.split("\n\n"):
        if folded := " ".join(part.split()):
            yield folded


def _see_also(word: str) -> str:
    near = [name for name, (module, _) in COMMANDS.items() if module == COMMANDS[word][0] and name != word]
    pages = ["nightcrew(1)", *(f"nightcrew-{name}(1)" for name in near), "nightcrew-runbook(1)"]
    return ", ".join(dict.fromkeys(page for page in pages if page != f"nightcrew-{word}(1)"))


def _struck(said: str) -> str:
    """Each letter over itself: how a pager is told that it is bold."""
    return "".join(f"{letter}\b{letter}" if letter != " " else letter for letter in said)


def _escaped(said: str) -> str:
    """Text in which roff sees no command of its own: hyphens that can be copied, no control at a line's start."""
    plain = " ".join(said.split())
    for mark, written in (("\\", "\\e"), ("-", "\\-"), ("~", "\\(ti"), ("^", "\\(ha"), ("`", "\\(ga"), ("'", "\\(aq")):
        plain = plain.replace(mark, written)
    plain = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in plain)
    return f"\\&{plain}" if plain.startswith((".", "\\(aq")) else plain


def _quoted(said: str) -> str:
    return '"' + _escaped(said).replace('"', "\\(dq") + '"'
