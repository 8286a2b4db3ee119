"""What a backend needs of the machine: the user's home, a runner of commands, the time and the machine's own zone."""

import getpass
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import ConfigurationError, TransientError
from nightcrew.schedule.protocol import Job
from nightcrew.schedule.zones import machine_zone

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
_PATIENCE = 30.0
NOT_FOUND = 127
"""What a command answers, as a shell says it, whose program is missing."""


@dataclass(frozen=True)
class Ran:
    """What a command of the system answered."""

    status: int
    out: bytes
    err: bytes

    @property
    def said(self) -> str:
        """Its complaint on one line, for an error message."""
        text = (self.err.strip() or self.out.strip()).decode("utf-8", "replace")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


Runner = Callable[[Sequence[str], Mapping[str, str]], Ran]
"""Runs a command (argv, environment) to its end and gives its answer; a program that is missing answers 127."""


def run(argv: Sequence[str], environment: Mapping[str, str]) -> Ran:
    """Run a command of the system; raises TransientError if it does not answer within 30 seconds."""
    try:
        done = subprocess.run(
            argv, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return Ran(NOT_FOUND, b"", f"{argv[0]}: {error.strerror}".encode())
    except subprocess.TimeoutExpired:
        raise TransientError(f"{argv[0]} {argv[1]} did not answer within {_PATIENCE:.0f} seconds") from None
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Machine:
    """The machine and the user that a schedule is installed for."""

    home: Path
    environment: Mapping[str, str]
    user: str
    uid: int
    zone: tzinfo
    runner: Runner = run
    clock: Clock = field(default=system_clock)

    def run(self, *argv: str) -> Ran:
        """Run a command of the system; it speaks English and tells times in UTC."""
        return self.runner(argv, {**self.environment, "LC_ALL": "C", "TZ": "UTC"})

    def directory(self, variable: str, default: str) -> Path:
        """One of the XDG base directories: the variable's if it is an absolute path, else ``default`` in the home."""
        chosen = Path(self.environment.get(variable, ""))
        return chosen if chosen.is_absolute() else self.home / default


def this_machine() -> Machine:
    """The machine and user of this process."""
    return Machine(
        home=Path.home(),
        environment=dict(os.environ),
        user=getpass.getuser(),
        uid=os.getuid(),
        zone=machine_zone()[1],
    )


def checked(job: Job) -> Job:
    """The job, if its texts can be written into a unit as they are.

    Raises ConfigurationError for a control character (a line break would begin a line of its own), for a path that is
    not UTF-8, and for one that begins or ends with white space or ends in a backslash: units have no form for it.
    """
    if not _ID.fullmatch(job.id):
        raise ConfigurationError(f"{job.id!r} is no id of a schedule", hint="Letters, digits and -.")
    for text in (*job.argv, *job.environment.keys(), *job.environment.values(), str(job.root), str(job.log)):
        if not all(c.isprintable() for c in text):  # a surrogate, which stands for a byte that is no UTF-8, is not
            raise ConfigurationError(
                f"a schedule cannot name {text!r}: it holds a character that units have no form for",
                hint="Rename the folder, or clean the variable.",
            )
    for path in (job.root, job.log):
        if not path.is_absolute() or str(path) != str(path).strip() or str(path).endswith("\\"):
            raise ConfigurationError(f"a schedule cannot name the path {str(path)!r}", hint="Rename the folder.")
    return job


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all; one that is there with this content is left alone."""
    try:
        if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
            path.chmod(mode)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".nightcrew-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def remove(path: Path) -> None:
    """Delete a file if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be deleted: {error.strerror}") from None


def differs(files: Mapping[Path, bytes]) -> str:
    """What is wrong with the files that a job has on this machine; empty if each is as an install now writes it."""
    for path, data in files.items():
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return f"{path} is missing"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        if found != data:
            return f"{path} is not what an install would write now (changed by hand, moved, or of another version)"
    return ""
