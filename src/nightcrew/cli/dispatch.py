"""From arguments to a command's function, and from errors to exit statuses."""

import difflib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from nightcrew.cli import COMMANDS
from nightcrew.cli.output import OPTIONS, error_line


def dispatch(arguments: list[str]) -> int:
    """Run the command that ``arguments`` name; gives the exit status. Nothing is raised."""
    name = arguments[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        return _fail("NC-USAGE", f"there is no command {name}", f"Did you mean {near[0]}?" if near else "", 2)
    try:
        rest = _common(arguments[1:])
    except ValueError as error:
        return _fail("NC-USAGE", str(error), "See: nightcrew --help", 2)
    try:
        return _call(name, rest)
    except BrokenPipeError:
        # Who read our output has gone; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail("NC-INTERRUPTED", "interrupted", "Nothing is lost: the same command goes on from here.", 130)
    except Exception as error:
        return _explained(error)


def _call(name: str, rest: list[str]) -> int:
    import click

    module = importlib.import_module(f"nightcrew.cli.{COMMANDS[name][0]}")
    try:
        status = module.APPS[name](args=rest, prog_name=f"nightcrew {name}", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        return _fail("NC-USAGE", error.format_message(), f"See: nightcrew {name} --help", 2)
    return status if isinstance(status, int) else 0


def _common(arguments: list[str]) -> list[str]:
    """Take out what every command has: --json, --debug, --repo."""
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*rest, word, *words]
        if word == "--json":
            OPTIONS.json = True
        elif word == "--debug":
            OPTIONS.debug = True
        elif word == "--repo" or word.startswith("--repo="):
            value = word.partition("=")[2] if "=" in word else next(words, None)
            if not value:
                raise ValueError("--repo needs a path")
            OPTIONS.repo = Path(value)
        else:
            rest.append(word)
    return rest


def _explained(error: Exception) -> int:
    from nightcrew.model.errors import NightcrewError

    if OPTIONS.debug:
        traceback.print_exception(error)
    if isinstance(error, NightcrewError):
        return _fail(error.code, str(error), error.hint, error.exit_status)
    if type(error).__module__.startswith(("click", "typer")):
        shown = error.format_message() if hasattr(error, "format_message") else str(error)
        return _fail("NC-USAGE", shown, "See the command's --help.", 2)
    hint = "Run the command again with --debug and report the traceback."
    return _fail("NC-BUG", f"{type(error).__name__}: {error}", hint, 70)


def _fail(code: str, message: str, hint: str, status: int) -> int:
    if OPTIONS.json:
        sys.stderr.write(json.dumps({"error": {"code": code, "message": message, "hint": hint}}) + "\n")
    else:
        sys.stderr.write(error_line(message, hint))
    return status
