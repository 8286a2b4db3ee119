"""What a shell is told when somebody presses the tab key: ``nightcrew __complete WORD...``, the last word unfinished.

Each line is a candidate, a tab, and what it is; ``:files`` says that paths fit. Nothing here fails or writes: a shell
that waits for an answer is better off with none. What is read from the repository is data: a candidate that a shell
would read as more than a word is left out.
"""

import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from nightcrew.cli import COMMANDS
from nightcrew.cli.described import Command, Parameter, described

FILES = ":files"
_COMMON = (
    ("--repo", "the repository"),
    ("--json", "one JSON document"),
    ("--debug", "show tracebacks"),
    ("--log-json", "logs as JSON lines"),
    ("--help", "help with an example"),
)
_WORD = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./:@+=-]*|--?[a-z][a-z0-9-]*")
_LONGEST = 70
_SETTINGS, _STATE, _DATABASE = "nightcrew.toml", ".nightcrew", "nightcrew.db"
_IDS = {
    "ticket": "ticket",
    "depends": "ticket",
    "review": "review",
    "handoff": "handoff",
    "session": "session",
    "shift": "shift",
    "alert": "alert",
    "alerts": "alert",
    "silence": "silence",
    "pipeline": "pipeline",
}
"""The parameters that take an id of something, by their names."""

Candidate = tuple[str, str]


def main(words: Sequence[str]) -> None:
    """Print the candidates for the last of ``words``."""
    try:
        found = complete(list(words))
    except Exception:
        found = []
    sys.stdout.write("".join(f"{value}\t{what}\n" if value != FILES else f"{FILES}\n" for value, what in found))


def complete(words: list[str]) -> list[Candidate]:
    """The candidates for the last of ``words``, all that follow ``nightcrew``."""
    repo, words = _without_common(_joined(words))
    before, current = words[:-1], words[-1] if words else ""
    if before and before[-1] == "--repo":
        return [(FILES, "")]
    if not before:
        listed = _COMMON if current.startswith("-") else [(name, text) for name, (_, text) in COMMANDS.items()]
        return _fitting(listed, current)
    if before[0] == "help":
        return _fitting(_commands_after(before[1:]), current)
    return _of_command(described(before[0]), before[1:], current, repo)


def _of_command(command: Command, before: list[str], current: str, repo: Path) -> list[Candidate]:
    used: set[str] = set()
    places = 0
    wanted: Parameter | None = None
    for word in before:
        if wanted is not None:
            wanted = None
        elif word.startswith("-"):
            used.add(word.partition("=")[0])
            option = _option(command, word)
            wanted = option if option is not None and option.kind == "option" and "=" not in word else None
        elif (inner := command.inner(word)) is not None:
            command, places = inner, 0
        else:
            places += 1
    if wanted is not None:
        return _values(wanted, command, current, repo)
    name, equals, value = current.partition("=")
    if equals and (option := _option(command, name)) is not None:
        found = _values(option, command, value, repo)
        return [(one if one == FILES else f"{name}={one}", what) for one, what in found]
    if current.startswith("-"):
        options = [(n, one.help) for one in command.parameters if one.kind != "argument" for n in one.names]
        repeated = {n for one in command.parameters if one.repeated for n in one.names}
        listed = [(n, what) for n, what in (*options, *_COMMON) if n not in used or n in repeated]
        return _fitting(listed, current)
    if command.commands and not places:
        return _fitting([(one.words[-1], one.summary) for one in command.commands], current)
    arguments = [one for one in command.parameters if one.kind == "argument"]
    if not arguments:
        return []
    at = arguments[min(places, len(arguments) - 1)]
    if places >= len(arguments) and not at.repeated:
        return []
    return _values(at, command, current, repo)


def _values(one: Parameter, command: Command, current: str, repo: Path) -> list[Candidate]:
    if one.path:
        return [(FILES, "")]
    if one.choices:
        return _fitting([(choice, "") for choice in one.choices], current)
    if one.name == "name" and command.words[0] == "schedule":
        return _fitting(_ids("schedule", repo, current), current)
    if one.name in _IDS:
        return _fitting(_ids(_IDS[one.name], repo, current), current)
    if one.name in _OF_REPOSITORY:
        return _fitting(_OF_REPOSITORY[one.name](repo), current)
    fixed = _FIXED.get((command.words[0], one.name)) or _FIXED.get(("", one.name))
    return _fitting(fixed(), current) if fixed is not None else []


def _ids(kind: str, repo: Path, current: str) -> list[Candidate]:
    from nightcrew.store.completing import ids

    root = _root(repo)
    begins = current.rpartition(",")[2]
    return ids(root / _STATE / _DATABASE, kind, begins) if root is not None else []


def _root(start: Path) -> Path | None:
    start = start.absolute()
    return next((folder for folder in (start, *start.parents) if (folder / _STATE).is_dir()), None)


def _settings(repo: Path) -> dict[str, Any]:
    root = _root(repo)
    return tomllib.loads((root / _SETTINGS).read_text()) if root is not None else {}


def _table(repo: Path, name: str) -> list[str]:
    try:
        found = _settings(repo).get(name)
    except (OSError, ValueError):
        return []
    return list(found) if isinstance(found, dict) else []


def _agents(repo: Path) -> list[Candidate]:
    return [(name, "") for name in dict.fromkeys(("build", "qa", "security", *_table(repo, "agents")))]


def _desks(repo: Path) -> list[Candidate]:
    return [*_agents(repo), ("human", "")]


def _brains(repo: Path) -> list[Candidate]:
    return [(name, "") for name in dict.fromkeys(("mechanical", *_table(repo, "brains")))]


def _states() -> list[Candidate]:
    from nightcrew.model.ticket import State

    return [(state.value, "") for state in State]


def _kinds() -> list[Candidate]:
    from nightcrew.model.ticket import Kind

    return [(kind.value, "") for kind in Kind]


def _priorities() -> list[Candidate]:
    from nightcrew.model.ticket import Priority

    return [(priority.value, "") for priority in Priority]


def _severities() -> list[Candidate]:
    from nightcrew.model.severity import Severity

    return [(severity.value, "") for severity in Severity]


def _runbooks() -> list[Candidate]:
    from nightcrew.readiness.runbook import codes

    return [(code, "") for code in codes()]


def _schemas() -> list[Candidate]:
    from nightcrew.model.schemas import SCHEMAS

    return [(name, "") for name in SCHEMAS]


def _shells() -> list[Candidate]:
    return [(shell, "") for shell in ("bash", "zsh", "fish")]


def _ci() -> list[Candidate]:
    return [("github", "GitHub Actions")]


_OF_REPOSITORY: dict[str, Callable[[Path], list[Candidate]]] = {"agent": _agents, "desk": _desks, "brain": _brains}
"""What the settings of the repository say, by the name of the parameter."""

_FIXED: dict[tuple[str, str], Callable[[], list[Candidate]]] = {
    ("", "priority"): _priorities,
    ("", "severity"): _severities,
    ("ticket", "state"): _states,
    ("ticket", "kind"): _kinds,
    ("import", "kind"): _kinds,
    ("runbook", "code"): _runbooks,
    ("schema", "document"): _schemas,
    ("init", "ci"): _ci,
    ("completion", "shell"): _shells,
}
"""What is the same everywhere, by the command ("" is any) and the name of the parameter."""


def _option(command: Command, word: str) -> Parameter | None:
    name = word.partition("=")[0]
    return next((one for one in command.parameters if one.kind != "argument" and name in one.names), None)


def _commands_after(words: list[str]) -> list[Candidate]:
    if not words:
        return [(name, text) for name, (_, text) in COMMANDS.items()]
    command: Command | None = described(words[0])
    for word in words[1:]:
        command = command.inner(word) if command is not None else None
    return [(one.words[-1], one.summary) for one in command.commands] if command is not None else []


def _joined(words: list[str]) -> list[str]:
    """``--at = 02:00``, as bash splits it, as the option and its value."""
    return [word for place, word in enumerate(words) if word != "=" or place == 0] + (
        [""] if words[-1:] == ["="] else []
    )


def _without_common(words: list[str]) -> tuple[Path, list[str]]:
    """The repository that was named, and the words without the finished options of every command."""
    repo, rest, place = Path(), [], 0
    while place < len(words) - 1:
        word = words[place]
        if word == "--repo" and place + 1 < len(words) - 1:
            repo = Path(words[place + 1]).expanduser()
            place += 1
        elif word.startswith("--repo="):
            repo = Path(word.partition("=")[2]).expanduser()
        elif word not in ("--json", "--debug", "--log-json"):
            rest.append(word)
        place += 1
    return repo, [*rest, *words[-1:]]


def _fitting(listed: Iterable[Candidate], current: str) -> list[Candidate]:
    """Those that begin as ``current`` does; of a list with commas, of its last part."""
    head, comma, part = current.rpartition(",")
    found = []
    for value, what in listed:
        if value.casefold().startswith(part.casefold()) and _WORD.fullmatch(value):
            said = "".join(c if c.isprintable() else " " for c in what)
            found.append((f"{head}{comma}{value}", " ".join(said.split())[:_LONGEST]))
    return found
