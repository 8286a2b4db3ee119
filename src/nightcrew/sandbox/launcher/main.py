"""Reads what to run, holds it, and watches over it until its whole process tree is gone.

Three processes stand between nightcrew and the command::

    nightcrew -> guard (this process) -> init (process 1 of a new PID namespace) -> command

The guard dies with nightcrew, init with the guard, and the kernel ends all of a PID namespace with its process 1. Where
no namespace can be had, the guard itself adopts and ends whatever its command leaves behind. Neither is inside the
sandbox, so the command can neither signal nor trace them.
"""

from __future__ import annotations

import marshal
import os
import sys

from . import command, supervise
from .report import Report

TYPE_CHECKING = False  # the name that type checkers know; ``typing`` itself costs 12 ms
if TYPE_CHECKING:
    from typing import Any

if sys.platform == "linux":
    from . import namespaces, private_root


def main() -> None:
    """Run the command whose specification (a marshalled dict, see ``start_launcher``) is on descriptor argv[1]."""
    spec = _read_spec(int(sys.argv[1]))
    report = Report(spec["report"])
    _forget_at_exec(spec)
    try:
        _launch(spec, report)
    except Exception as error:
        report.refused(error)
    os._exit(0)


def _launch(spec: dict[str, Any], report: Report) -> None:
    isolation = spec["isolation"]
    supervise.block_signals()
    if isolation is not None and isolation["namespaces"]:
        namespaces.enter(network=isolation["network"])
        supervise.die_with(spec["parent"], hard=False)
        child = os.fork()
        if child == 0:
            _as_init(spec, report)
        _detach_standard_streams()
        supervise.guard(child)
        return
    supervise.adopt_orphans()
    supervise.die_with(spec["parent"], hard=False)
    child = os.fork()
    if child == 0:
        command.become(spec, report)
    _detach_standard_streams()
    report.status(supervise.guard_tree(child))


def _as_init(spec: dict[str, Any], report: Report) -> None:
    try:
        supervise.die_with(None, hard=True)
        # Before the private root, whose /proc is read-only.
        report.enforced(namespaces.limit_processes(spec["limits"]["processes"]))
        private_root.enter(spec["isolation"])
        if spec["isolation"]["network"]:
            namespaces.raise_loopback()
    except Exception as error:
        report.refused(error)
        os._exit(1)
    child = os.fork()
    if child == 0:
        command.become(spec, report)
    _detach_standard_streams()
    report.status(supervise.init(child))
    os._exit(0)


def _read_spec(descriptor: int) -> dict[str, Any]:
    with os.fdopen(descriptor, "rb") as stream:
        # Written by nightcrew itself, by this very interpreter, into a file that no other process has a name for.
        spec: dict[str, Any] = marshal.loads(stream.read())  # noqa: S302
    return spec


def _forget_at_exec(spec: dict[str, Any]) -> None:
    os.set_inheritable(spec["report"], False)
    if spec["isolation"] is not None:
        os.set_inheritable(spec["isolation"]["ruleset"], False)


def _detach_standard_streams() -> None:
    """Let go of the command's pipes, so that their other ends see the end of file when the command closes them."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
