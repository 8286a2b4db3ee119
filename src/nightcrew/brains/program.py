"""The program of a coding agent: where it lies, and what a sandbox must let it read."""

import os
import shutil
from pathlib import Path

from nightcrew.brains.protocol import BrainUnavailable
from nightcrew.model.settings import Brain
from nightcrew.reliability import Failure, FailureClass

_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/opt", "/sbin", "/nix/store")


def argv_of(name: str, brain: Brain, usual: tuple[str, ...]) -> tuple[list[str], list[Path]]:
    """The argv of the agent with its program's full path, and the folders that it is read from.

    Raises BrainUnavailable if the program is not there.
    """
    words = brain.command or usual
    if not words or not words[0]:
        message = f"brain {name} names no command"
        raise BrainUnavailable(Failure(FailureClass.NOT_FOUND, "NoProgram", message, None))
    found = shutil.which(words[0])
    if found is None:
        message = f"brain {name}: there is no program {words[0]} on PATH"
        raise BrainUnavailable(Failure(FailureClass.NOT_FOUND, "NoProgram", message, None))
    program = Path(found).resolve()
    readable = [*_folders(program), *(Path(folder).expanduser() for folder in brain.readable)]
    interpreter = _interpreter(program)
    if interpreter is not None:
        readable += _folders(interpreter)
    return [str(program), *words[1:]], [folder for folder in dict.fromkeys(readable) if folder.is_dir()]


def _folders(program: Path) -> list[Path]:
    """What belongs to a program: the packages it was installed among, or the folder it lies in."""
    if any(program.is_relative_to(system) for system in _SYSTEM):
        return []
    packages = next((parent for parent in program.parents if parent.name == "node_modules"), None)
    if packages is not None:
        return [packages]
    home = Path.home().resolve()
    around = program.parent.parent if program.parent.name == "bin" else program.parent
    return [program.parent if home.is_relative_to(around) else around]


def _interpreter(program: Path) -> Path | None:
    """The interpreter of a script, by its first line."""
    try:
        with program.open("rb") as stream:
            first = stream.readline(200)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = os.fsdecode(first[2:]).split()
    named = words[-1] if words and words[0].endswith("/env") else words[0] if words else ""
    found = shutil.which(named)
    return Path(found).resolve() if found else None
