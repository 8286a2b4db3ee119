"""nightcrew key."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from nightcrew.credentials import Key

key_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Where keys and tokens lie, so that a run at night finds them."
)
APPS = {"key": key_app}
_LONGEST = 16_384


@key_app.command("add", epilog="Example: nightcrew key add ANTHROPIC_API_KEY")
def add(
    name: Annotated[str, typer.Argument(help="name of the variable that programs look for, as GITHUB_TOKEN")],
    file: Annotated[Path | None, typer.Option(help="it lies in this file already, readable by you alone")] = None,
    keychain: Annotated[bool, typer.Option("--keychain", help="the keychain or nothing")] = False,
) -> None:
    """Keep a key: in the system's keychain if there is one, else in a file that only you can read.

    It is asked for without showing it, or read from standard input; never an argument, and nothing shows it again.
    """
    from nightcrew import credentials

    if file is not None and keychain:
        raise UsageError("--file and --keychain exclude each other")
    key = (
        credentials.keep_in_file(name, file) if file is not None else _kept(name, _asked(name), only_keychain=keychain)
    )
    if OPTIONS.json:
        show_json(vars(key))
    else:
        where = "the keychain" if key.place == "keychain" else key.detail
        say(f"{key.name} is read from {where} where the environment does not have it.")


def _kept(name: str, value: str, *, only_keychain: bool) -> "Key":
    from nightcrew import credentials

    try:
        return credentials.keep_in_keychain(name, value)
    except ConfigurationError:
        if only_keychain:
            raise
    return credentials.keep_in_file(name, credentials.own_file(name), value)


def _asked(name: str) -> str:
    from nightcrew.credentials import is_one_line

    said = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read(_LONGEST + 1)
    value = str(said).strip()
    if not is_one_line(value) or len(value) > _LONGEST:
        raise UsageError(f"no key was given for {name}", hint=f"One line: nightcrew key add {name} < FILE, or type it.")
    return value


@key_app.command("list", epilog="Example: nightcrew key list")
def list_keys() -> int:
    """Where each key lies that is kept, or that this repository's settings name; never a value."""
    from nightcrew import credentials

    found = [(key, *_readable(key)) for key in credentials.located(_wanted())]
    if OPTIONS.json:
        show_json([{**vars(key), "readable": readable, "problem": problem} for key, readable, problem in found])
    else:
        rows = [(key.name, key.place, key.detail, problem or "found") for key, _, problem in found]
        table(("key", "where", "detail", ""), rows, empty="No key is kept, and no setting names one.")
    return 1 if any(not readable for key, readable, _ in found if key.place != "nowhere") else 0


@key_app.command("allow", epilog="Example: nightcrew key allow OPENAI_API_KEY llm.example.com")
def allow(
    name: Annotated[str, typer.Argument(help="name of the key")],
    host: Annotated[str, typer.Argument(help="host that it may be sent to, with a port if it is an unusual one")],
) -> None:
    """Let a key go to a host that nightcrew does not know, where a repository's settings name both.

    The settings may be somebody else's: look at them first. To take it back, delete it in hosts.toml.
    """
    from nightcrew import key_hosts

    found = key_hosts.allow(name, host)
    if OPTIONS.json:
        show_json({"name": name, "host": found})
    else:
        say(f"{name} may be sent to {found}.")


@key_app.command("remove", epilog="Example: nightcrew key remove GITHUB_TOKEN")
def remove(name: str) -> None:
    """Forget where a key lies, and delete what nightcrew itself kept of it."""
    from nightcrew import credentials

    key = credentials.forget(name)
    if OPTIONS.json:
        show_json(vars(key))
    else:
        say(f"{name} is forgotten" + (f"; {key.detail} is still there." if _left(key.place, key.detail) else "."))


def _left(place: str, detail: str) -> bool:
    return place == "file" and Path(detail).exists()


def _readable(key: "Key") -> tuple[bool, str]:
    from nightcrew import credentials

    try:
        found = bool(credentials.secret(key.name))
    except ConfigurationError as error:
        return False, str(error)
    return found, "" if found else "not set: nightcrew key add " + key.name


def _wanted() -> list[str]:
    """The names that the settings of the repository here give; none outside a repository."""
    from nightcrew.crew.keys import names_in_settings
    from nightcrew.crew.project import find_root, read_settings
    from nightcrew.model.errors import NightcrewError

    try:
        return names_in_settings(read_settings(find_root(OPTIONS.repo)))
    except NightcrewError:
        return []
