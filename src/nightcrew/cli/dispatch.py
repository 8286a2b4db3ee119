"""From arguments to a command's function, and from errors to exit statuses."""

import contextlib
import difflib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from nightcrew.cli import COMMANDS, UNLISTED
from nightcrew.cli.output import OPTIONS, error_line


def dispatch(arguments: list[str]) -> int:
    """Run the command that ``arguments`` name; gives the exit status. Nothing is raised."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        rest = _common(arguments[1:])
    except ValueError as error:
        return _fail("NC-USAGE", str(error), "See: nightcrew --help", 2)
    name = arguments[0]
    if name not in COMMANDS and name not in UNLISTED:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean {near[0]}?" if near else "See: nightcrew --help"
        return _fail("NC-USAGE", f"there is no command {name}", hint, 2)
    try:
        _begin_logs()
        return _call(name, rest)
    except BrokenPipeError:
        # Who read our output has gone; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail("NC-INTERRUPTED", "interrupted", "Nothing is lost: the same command goes on from here.", 130)
    except Exception as error:
        return _explained(error)


def _begin_logs() -> None:
    if OPTIONS.log_json:
        os.environ["NIGHTCREW_LOG"] = "json"  # for workers
    OPTIONS.log_json = os.environ.get("NIGHTCREW_LOG", "").strip().lower() == "json"
    if OPTIONS.log_json:
        from nightcrew.monitoring.logs import configure

        configure()


def _call(name: str, rest: list[str]) -> int:
    import typer

    module = importlib.import_module(f"nightcrew.cli.{(COMMANDS.get(name) or UNLISTED[name])[0]}")
    app: typer.Typer = module.APPS[name]
    if OPTIONS.json and not rest and app.info.no_args_is_help is True:
        # Its help would stand on standard output, where a machine expects a document.
        return _fail("NC-USAGE", f"nightcrew {name} needs a command", f"See: nightcrew {name} --help", 2)
    try:
        status = app(args=rest, prog_name=f"nightcrew {name}", standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except SystemExit as done:
        # When who reads our output has gone, typer exits by itself, with 1: that would say that a person is needed.
        if not isinstance(done.__context__, BrokenPipeError):
            raise
        raise done.__context__ from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # Older releases of typer raise click's classes, newer ones those of a copy of it that is private.
        if not type(error).__module__.startswith(("click", "typer")):
            raise
        return _misused(name, error)
    sys.stdout.flush()
    return status if isinstance(status, int) else 0


def _misused(name: str, error: Exception) -> int:
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else f"nightcrew {name}"
    if type(error).__name__ == "NoArgsIsHelpError":
        said = f"{path} needs a command"  # What it says itself is the whole help, or nothing after it was printed.
    return _fail("NC-USAGE", said, f"See: {path} --help", 2)


def _common(arguments: list[str]) -> list[str]:
    """Take out what every command has: --json, --debug, --log-json, --repo."""
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*rest, word, *words]
        if word == "--json":
            OPTIONS.json = True
        elif word == "--debug":
            OPTIONS.debug = True
        elif word == "--log-json":
            OPTIONS.log_json = True
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
    if isinstance(error, UnicodeEncodeError):
        return _fail("NC-USAGE", "an argument is not UTF-8 text", "Write it as text of this terminal's encoding.", 2)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        hint = "Check the path, its permissions and the free space."
        return _fail("NC-CONFIG", f"{place}{error.strerror or error}", hint, 4)
    hint = "Run the command again with --debug and report the traceback."
    return _fail("NC-BUG", f"{type(error).__name__}: {error}", hint, 70)


def _fail(code: str, message: str, hint: str, status: int) -> int:
    from nightcrew.readiness.runbook import exists

    runbook = f"nightcrew runbook {code}" if exists(code) else ""  # Errors of the user's own have none.
    if OPTIONS.log_json and not OPTIONS.json:
        import logging

        more = {"code": code, "hint": hint, "runbook": runbook}
        logging.getLogger("nightcrew").error(message, extra={**more, "exit_status": status})
    elif OPTIONS.json:
        said = {"code": code, "message": message, "hint": hint, "runbook": runbook}
        sys.stderr.write(json.dumps({"error": said}) + "\n")
    else:
        sys.stderr.write(error_line(message, hint, runbook))
    return status
