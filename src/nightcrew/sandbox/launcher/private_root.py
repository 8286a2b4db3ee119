"""A file system that holds nothing but what the policy names.

Landlock alone leaves gaps: it does not restrict chmod, chown, utime, stat, or connecting to a unix socket by its path.
What is not there cannot be reached, and on a mount that is read-only no metadata can be changed.
"""

from __future__ import annotations

import os

from . import linux

TYPE_CHECKING = False  # the name that type checkers know; ``typing`` itself costs 12 ms
if TYPE_CHECKING:
    from typing import Any

_STAGE = "/sys"  # exists everywhere and nothing of it is needed inside
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


def enter(isolation: dict[str, Any]) -> None:
    """Build the root in the current mount namespace and move into it; raises OSError when a mount is not permitted.

    ``isolation["binds"]`` are (path, target, writable), parents before children, and a source of ""
    for a new tmpfs; ``isolation["links"]`` (path, target).
    """
    linux.mount("", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", _STAGE, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")
    for source, target, _ in isolation["binds"]:
        if source == "":
            _tmpfs(_STAGE + target, isolation["shared_memory"])
        else:
            _bind(source, _STAGE + target)
    for path, target in isolation["links"]:
        _link(target, _STAGE + path)
    _proc(f"{_STAGE}/proc")
    fresh = _dev(f"{_STAGE}/dev", isolation["shared_memory"])
    for path in ("/tmp", "/sys"):  # noqa: S108 - mount points, not files
        os.makedirs(_STAGE + path, exist_ok=True)  # noqa: PTH103
    linux.mount_attributes(_STAGE, set_=linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID, recursive=True)
    writable = [target for _, target, is_writable in isolation["binds"] if is_writable]
    for path in [_STAGE + target for target in writable] + fresh:
        linux.mount_attributes(path, clear=linux.MOUNT_ATTR_RDONLY)
    os.chdir(_STAGE)
    linux.syscall(linux.SYS_PIVOT_ROOT, b".", b".", what="pivot_root")
    linux.unmount(".")
    os.chdir("/")


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):  # noqa: PTH112
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)


def _tmpfs(target: str, size: int | None) -> None:
    """A file system in memory that all may write, of at most ``size`` bytes (None: half of the machine's memory)."""
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    options = f"mode=1777,size={'50%' if size is None else size}"
    linux.mount("tmpfs", target, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)


def _link(target: str, path: str) -> None:
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.symlink(target, path)  # noqa: PTH211


def _proc(path: str) -> None:
    os.makedirs(path, exist_ok=True)  # noqa: PTH103
    try:
        linux.mount("proc", path, "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except PermissionError:
        # Inside many containers a new one is not permitted; Landlock keeps the secrets of other processes closed.
        linux.mount("/proc", path, None, linux.MS_BIND | linux.MS_REC)


def _dev(path: str, shared_memory: int | None) -> list[str]:
    """A small /dev; gives the mounts in it that must stay writable. ``shared_memory``: size in bytes of /dev/shm."""
    os.makedirs(path, exist_ok=True)  # noqa: PTH103
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):  # noqa: PTH110
            _bind(f"/dev/{name}", f"{path}/{name}")
    for name, target in _LINKS.items():
        os.symlink(target, f"{path}/{name}")  # noqa: PTH211
    fresh = [f"{path}/shm"]
    _tmpfs(f"{path}/shm", shared_memory)
    os.mkdir(f"{path}/pts")  # noqa: PTH102
    try:
        linux.mount(
            "devpts", f"{path}/pts", "devpts", linux.MS_NOSUID | linux.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"
        )
    except OSError:
        return fresh  # no pseudo-terminals inside, then
    os.symlink("pts/ptmx", f"{path}/ptmx")  # noqa: PTH211
    return [*fresh, f"{path}/pts"]
