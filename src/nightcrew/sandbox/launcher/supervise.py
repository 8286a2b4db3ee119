"""Waiting for a command and ending all that it started."""

# The C module behind ``signal``, which would spend 9 ms on enums that are not needed here.
import _signal  # type: ignore[import-not-found]
import os
import sys

if sys.platform == "linux":
    from . import linux

SIGNALS = {_signal.SIGTERM, _signal.SIGUSR1, _signal.SIGCHLD}
"""SIGTERM: ask the command to end. SIGUSR1: end everything now. SIGCHLD: something ended."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def block_signals() -> None:
    """Hold the signals that the loops below wait for; a command must call ``unblock_signals`` before it is run."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, SIGNALS)


def unblock_signals() -> None:
    """Undo ``block_signals`` and what Python itself ignores, so that the command starts with the usual dispositions."""
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
        _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, set())


def die_with(parent: int | None, *, hard: bool) -> None:
    """Get SIGKILL (``hard``) or SIGUSR1 when the parent ends; end at once if it is not ``parent`` now. Linux only."""
    if sys.platform != "linux":
        return
    linux.prctl(PR_SET_PDEATHSIG, _signal.SIGKILL if hard else _signal.SIGUSR1)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every orphaned descendant, so that none gets away by a double fork. Linux only."""
    if sys.platform == "linux":
        linux.prctl(PR_SET_CHILD_SUBREAPER, 1)


def guard(init: int) -> None:
    """Pass signals on to ``init`` until it has ended, and with it its PID namespace."""
    while True:
        received = _signal.sigwait(SIGNALS)
        if received == _signal.SIGTERM:
            os.kill(init, _signal.SIGTERM)
        elif received == _signal.SIGUSR1:
            os.kill(init, _signal.SIGKILL)
        elif os.waitpid(init, os.WNOHANG)[0] == init:
            return


def init(command: int) -> int:
    """Be process 1: pass SIGTERM on to the command's group, reap orphans; the command's wait status once it ended."""
    while True:
        received = _signal.sigwait(SIGNALS)
        if received == _signal.SIGTERM:
            _signal_group(command, _signal.SIGTERM)
        elif (status := _reap(command)) is not None:
            return status


def guard_tree(command: int) -> int:
    """``guard`` and ``init`` in one, where there is no PID namespace: descendants are sought out and killed."""
    status: int | None = None
    while status is None:
        received = _signal.sigwait(SIGNALS)
        if received == _signal.SIGTERM:
            _signal_group(command, _signal.SIGTERM)
        elif received == _signal.SIGUSR1:
            _signal_group(command, _signal.SIGKILL)
            _sweep()
            status = _signal.SIGKILL
        else:
            status = _reap(command)
    _signal_group(command, _signal.SIGKILL)
    _sweep()
    return status


def _reap(command: int) -> int | None:
    found: int | None = None
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if child == 0:
            return found
        if child == command:
            found = status


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return


def _sweep() -> None:
    """Kill descendants until none is left: each round may find children that were born while it went on."""
    while descendants := _descendants():
        for process in descendants:
            try:
                os.kill(process, _signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap(0)


def _descendants() -> list[int]:
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 - pathlib costs 5 ms
        return []
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stream:  # noqa: PTH123
                    parent = int(stream.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    new = children.get(os.getpid(), [])
    while new:
        found.extend(new)
        new = [grandchild for child in new for grandchild in children.get(child, [])]
    return found
