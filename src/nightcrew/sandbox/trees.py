"""Which trees a command may see: the system's own, and those of its policy."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from nightcrew.location import config_directory
from nightcrew.model.errors import SandboxError
from nightcrew.sandbox.process import Policy

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc", "/opt", "/nix/store", "/gnu/store")
_RESOLVER = "/etc/resolv.conf"  # on many systems a link into /run, which is not a system tree


@cache
def system_trees() -> tuple[Path, ...]:
    """The trees that every command may read and execute: the system's, this Python's and git's."""
    found = [Path(tree) for tree in _SYSTEM if Path(tree).exists()]
    for prefix in (sys.prefix, sys.base_prefix, _git_exec_path()):
        path = Path(prefix) if prefix else None
        if path is not None and path.is_dir() and not _too_wide(path) and not any(map(path.is_relative_to, found)):
            found.append(path)
    return tuple(found)


def readable_trees(policy: Policy) -> tuple[Path, ...]:
    """All trees that a command under ``policy`` may read, absolute and as they are written (links not resolved)."""
    resolver = (Path(_RESOLVER).resolve(),) if policy.network and Path(_RESOLVER).exists() else ()
    return (*system_trees(), *resolver, *(absolute(tree) for tree in policy.readable))


def writable_trees(policy: Policy) -> tuple[Path, ...]:
    """All trees that a command under ``policy`` may write, absolute and as they are written."""
    return tuple(absolute(tree) for tree in policy.writable)


def check(policy: Policy) -> None:
    """Raise SandboxError for a tree that is missing, or that would open the reviewers' keys to a command."""
    anchor = _trust_anchor()
    for tree in (*policy.readable, *policy.writable):
        if not tree.exists():
            raise SandboxError(f"{tree}: no such tree", hint="Create it, or take it out of the policy.")
        real = tree.resolve()
        if real == Path("/") or anchor.is_relative_to(real) or real.is_relative_to(anchor):
            raise SandboxError(
                f"{tree}: a sandboxed command would reach the reviewers' keys in {anchor}",
                hint="Keep the repository, and every path given to agents, outside that directory and its parents.",
            )


def absolute(path: Path) -> Path:
    """``path`` made absolute with ``..`` folded, links not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute does not fold


def _trust_anchor() -> Path:
    return config_directory().resolve()


def _too_wide(path: Path) -> bool:
    real, home = path.resolve(), Path.home().resolve()
    return real == Path("/") or home.is_relative_to(real)


def _git_exec_path() -> str:
    try:
        completed = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, timeout=10, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return completed.stdout.strip()
