"""What each command takes, read off the command itself: for help, manual pages and completion."""

import importlib
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal

from nightcrew.cli import COMMANDS
from nightcrew.model.errors import NotFoundError

_EXAMPLE = "Example: "


@dataclass(frozen=True)
class Parameter:
    """One argument or option; ``names`` are as they are typed, ``name`` is that of the value in the code."""

    name: str
    names: tuple[str, ...]
    kind: Literal["argument", "option", "flag"]
    metavar: str
    help: str
    default: str
    required: bool
    repeated: bool
    choices: tuple[str, ...]
    path: bool


@dataclass(frozen=True)
class Command:
    """One command; ``words`` follow ``nightcrew``. ``text`` is what its help says, its first line the ``summary``."""

    words: tuple[str, ...]
    summary: str
    text: str
    parameters: tuple[Parameter, ...]
    commands: tuple["Command", ...]
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it is typed."""
        return " ".join(("nightcrew", *self.words))

    def inner(self, word: str) -> "Command | None":
        """Its command of this name, if it has one."""
        return next((one for one in self.commands if one.words[-1] == word), None)


def described(word: str) -> Command:
    """The command ``nightcrew WORD`` with all below it; raises NotFoundError if there is none."""
    import typer.main

    if word not in COMMANDS:
        raise NotFoundError(f"there is no command {word}", hint="See: nightcrew --help")
    module, summary = COMMANDS[word]
    app = importlib.import_module(f"nightcrew.cli.{module}").APPS[word]
    return _command(typer.main.get_command(app), (word,), summary)


def find(words: tuple[str, ...]) -> Command:
    """The command that ``words`` name, such as ticket add; raises NotFoundError."""
    found = described(words[0])
    for word in words[1:]:
        inner = found.inner(word)
        if inner is None:
            raise NotFoundError(f"there is no command {found.name} {word}", hint=f"See: nightcrew help {words[0]}")
        found = inner
    return found


def _command(made: Any, words: tuple[str, ...], summary: str = "") -> Command:
    """From what typer made of a function; its classes are click's, or a private copy of those."""
    text = inspect.cleandoc(made.help or "")
    annotations = _annotations(made.callback)
    epilog = made.epilog or ""
    return Command(
        words=words,
        summary=summary or " ".join(text.split("\n\n")[0].split()).rstrip("."),
        text=text,
        parameters=tuple(_parameter(one, annotations.get(one.name)) for one in made.params if not _hidden(one)),
        commands=tuple(
            _command(inner, (*words, name)) for name, inner in getattr(made, "commands", {}).items() if not inner.hidden
        ),
        examples=tuple(line.removeprefix(_EXAMPLE) for line in epilog.splitlines() if line.startswith(_EXAMPLE)),
    )


def _hidden(parameter: Any) -> bool:
    return bool(getattr(parameter, "hidden", False)) or parameter.name == "help"


def _parameter(made: Any, annotation: Any) -> Parameter:
    kinds = list(_kinds(annotation))
    argument = made.param_type_name == "argument"
    flag = not argument and bool(getattr(made, "is_flag", False))
    name = str(made.name).strip("_")
    path = Path in kinds
    choices = tuple(str(one) for kind in kinds if typing.get_origin(kind) is Literal for one in typing.get_args(kind))
    metavar = str(made.metavar or "") or ("|".join(choices) if choices else _metavar(kinds, name))
    default = made.default
    shown = "" if flag or default in (None, "", [], ()) or callable(default) else str(default)
    return Parameter(
        name=name,
        names=(metavar,) if argument else (*made.opts, *made.secondary_opts),
        kind="argument" if argument else "flag" if flag else "option",
        metavar="" if flag else metavar,
        help=" ".join((getattr(made, "help", None) or "").split()),
        default=shown,
        required=bool(made.required),
        repeated=bool(getattr(made, "multiple", False)) or made.nargs == -1,
        choices=choices,
        path=path,
    )


def _metavar(kinds: list[Any], name: str) -> str:
    if int in kinds or float in kinds:
        return "NUMBER"
    return name.upper().replace("_", "-")


def _annotations(callback: Any) -> dict[str, Any]:
    if callback is None:
        return {}
    return {name: one.annotation for name, one in inspect.signature(inspect.unwrap(callback)).parameters.items()}


def _kinds(annotation: Any) -> Iterator[Any]:
    """The plain types in an annotation: ``Path`` of ``Annotated[list[Path] | None, ...]``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _kinds(typing.get_args(annotation)[0])
    elif origin in (typing.Union, UnionType, list, tuple):
        for inner in typing.get_args(annotation):
            yield from _kinds(inner)
    elif annotation is not None:
        yield annotation
