"""The last steps before the command: limits, restrictions, execve."""

from __future__ import annotations

import os
import resource
import sys

from . import supervise
from .report import Report

TYPE_CHECKING = False  # the name that type checkers know; ``typing`` itself costs 12 ms
if TYPE_CHECKING:
    from typing import Any, NoReturn

# All modules are loaded before the private root is entered: it does not hold them.
if sys.platform == "linux":
    from . import linux, socket_filter

PR_SET_NO_NEW_PRIVS = 38
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID: what a build that runs as root does to files of its own trees.
_KEPT_CAPABILITIES = 0b11011
_FILE_RIGHTS = 1 | 2 | 4 | 1 << 14 | 1 << 15  # execute, write, read, truncate, ioctl: those that a file can have


def become(spec: dict[str, Any], report: Report) -> NoReturn:
    """Turn this process into the command; on failure report why and exit."""
    try:
        os.setsid()
        _limit(spec["limits"], spec["isolation"])
        if spec["isolation"] is not None:
            _restrict(spec["isolation"])
    except Exception as error:
        report.refused(error)
        os._exit(1)
    try:
        os.chdir(spec["cwd"])
        supervise.unblock_signals()
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606
    except Exception as error:
        status = 127 if isinstance(error, FileNotFoundError) else 126
        report.failed(status, str(error))
        os._exit(status)


def _limit(limits: dict[str, int | None], isolation: dict[str, Any] | None) -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_FSIZE: limits["file_size"],
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_NPROC: limits["user_processes"],
    }
    for name, value in wanted.items():
        if value is not None:
            hard = resource.getrlimit(name)[1]
            allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
            try:
                resource.setrlimit(name, (allowed, allowed))
            except ValueError:
                if isolation is not None:  # macOS refuses some; there it is stated as not enforced
                    raise OSError(f"limit {name}") from None


def _restrict(isolation: dict[str, Any]) -> None:
    if sys.platform != "linux":
        return
    ruleset = isolation["ruleset"]
    for path, access in isolation["rules"]:
        _allow(ruleset, path, access)
    if os.getuid() == 0 or isolation["namespaces"]:
        linux.keep_capabilities(_KEPT_CAPABILITIES)
    linux.prctl(PR_SET_NO_NEW_PRIVS, 1)
    linux.syscall(linux.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, what="landlock_restrict_self")
    socket_filter.install(isolation["families"])


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # not every machine has every system tree, and what is missing needs no rule
    try:
        is_directory = os.stat(descriptor).st_mode & 0o170000 == 0o040000  # noqa: PTH116
        linux.landlock_allow(ruleset, descriptor, access if is_directory else access & _FILE_RIGHTS)
    finally:
        os.close(descriptor)
