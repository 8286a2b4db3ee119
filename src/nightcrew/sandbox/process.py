"""What may be run, and what came of it: the seam between those who run commands and the sandboxes that hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """Resource limits of one command and all its children.

    ``memory`` (of each process) and ``file_size`` in bytes, ``processes`` a count above what the user already runs,
    ``cpu_seconds`` per process. None: no limit.
    """

    memory: int | None = None
    processes: int | None = 512
    file_size: int | None = 4 * 1024**3
    cpu_seconds: int | None = None


@dataclass(frozen=True)
class Policy:
    """What a command may touch. Anything not named, and not part of the system's own trees, is out of reach.

    ``writable``: trees that may be read and written. ``readable``: trees that may be read and executed, beside the
    system's (``/usr``, ``/lib``, ``/bin``, ``/etc``, this Python's prefix). ``network``: whether sockets may reach
    anything but the command's own processes. ``port``: the one TCP port of this machine's loopback that may be
    connected to without ``network``; where the command has a network of its own, it is brought in by ``relay.through``,
    and a sandbox that cannot open one port alone refuses. ``off``: run without a sandbox, because the user wrote so
    (the environment is scrubbed all the same).
    """

    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: bool = False
    port: int | None = None
    limits: Limits = field(default_factory=Limits)
    off: bool = False


@dataclass(frozen=True)
class Completed:
    """How a command ended. ``returncode`` is None when it was killed for time or on request; negative: by a signal."""

    argv: tuple[str, ...]
    returncode: int | None
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False
    stopped: bool = False
    truncated: bool = False
    sandbox: str = "off"

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.returncode == 0

    def tail(self, characters: int = 2000) -> str:
        """The end of what it printed (errors last), as text; undecodable bytes are replaced."""
        return (self.stdout + b"\n" + self.stderr).decode("utf-8", "replace").strip()[-characters:]


Environment = Mapping[str, str]
