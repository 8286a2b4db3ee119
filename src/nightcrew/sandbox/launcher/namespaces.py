"""New namespaces for processes, mounts, IPC and the network: as root, or through a user namespace of one's own."""

import os

from . import linux

_OUT_OF_MEMORY_SCORE = "500"


def enter(*, network: bool) -> None:
    """Move into new namespaces (``network``: one of the network too). Children are born in the new PID namespace.

    Raises OSError when the system permits neither the direct way nor a user namespace.
    """
    flags = linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWIPC | (linux.CLONE_NEWNET if network else 0)
    user, group = os.getuid(), os.getgid()
    try:
        linux.unshare(flags)
    except PermissionError:
        linux.unshare(flags | linux.CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")


def raise_loopback() -> None:
    """Bring up the loopback interface of the new network namespace: test suites talk to servers of their own on it."""
    linux.raise_interface(b"lo")


def limit_processes(count: int | None) -> bool:
    """Make the sandbox the first to go when memory is short, and cap process ids; whether the cap on processes holds.

    RLIMIT_NPROC does not hold for the system's real root. Since Linux 6.14 ``pid_max`` is a property of the PID
    namespace; before, writing it would change it for the whole machine, so it is left alone.
    """
    _write("/proc/self/oom_score_adj", _OUT_OF_MEMORY_SCORE)
    if os.getuid() != 0 or count is None:
        return True
    if _kernel() < (6, 14):
        return False
    try:
        # The kernel keeps ids below 300 for the first processes only, so a cap of N needs room above them.
        _write("/proc/sys/kernel/pid_max", str(301 + count))
    except OSError:
        return False
    return True


def _kernel() -> tuple[int, int]:
    major, _, rest = os.uname().release.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {os.strerror(error.errno or 0)}") from None
