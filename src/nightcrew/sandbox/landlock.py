"""Linux: Landlock, with namespaces and a private root around it where the machine permits them.

Sources: landlock(7), user_namespaces(7), pid_namespaces(7), seccomp(2). Landlock works without privileges and holds for
root; namespaces close what it leaves open (UDP, chmod, unix sockets, /proc). Where they are not permitted (some
containers, Ubuntu's AppArmor profile) a seccomp filter refuses sockets instead, and what is not enforced is said.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nightcrew.model.errors import SandboxError
from nightcrew.sandbox import trees
from nightcrew.sandbox.process import Policy
from nightcrew.sandbox.protocol import Launch

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SIGNALS_ABI = 6
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_refused: str | None = None
"""Why this machine does not permit namespaces, once that has been seen; there is no use in asking for each command."""


@cache
def abi() -> int:
    """The kernel's Landlock ABI, 0 if it has none."""
    try:
        from py_landlock import get_abi_version
        from py_landlock.errors import LandlockError
    except ImportError:
        return 0
    try:
        return int(get_abi_version())
    except LandlockError:
        return 0


class Landlock:
    """The sandbox of Linux machines."""

    @property
    def name(self) -> str:
        """With the ABI, which decides what is enforced."""
        return f"landlock ABI {abi()}"

    def prepare(self, argv: Sequence[str], *, cwd: Path, policy: Policy, environment: Mapping[str, str]) -> Launch:  # noqa: ARG002
        """See ``Sandbox``. Raises SandboxError when the kernel has no Landlock or refuses a ruleset."""
        trees.check(policy)
        if _refused is not None:
            return self._plain(argv, policy, _refused)
        ruleset = _ruleset(restrict_tcp=False)

        def without_namespaces(reason: str) -> Launch:
            global _refused
            _refused = reason
            return self._plain(argv, policy, reason)

        binds, links = _layout(policy, environment)
        isolation = {
            "namespaces": True,
            "network": not policy.network,
            "ruleset": ruleset,
            "rules": _rules(policy, private=True),
            "families": (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK),
            "binds": binds,
            "links": links,
            "shared_memory": policy.limits.memory,
        }
        return Launch(tuple(argv), f"{self.name}, namespaces, seccomp", isolation, (ruleset,), retry=without_namespaces)

    def _plain(self, argv: Sequence[str], policy: Policy, reason: str) -> Launch:
        if policy.port is not None and not policy.network:
            # A rule for a port has no address, and there is none for UDP: the whole network would be within reach.
            raise SandboxError(
                f"without namespaces a program cannot be given one way out only ({reason})",
                hint="Permit user namespaces to this user, use a brain of kind model, or write [sandbox] mode = off.",
            )
        ruleset = _ruleset(restrict_tcp=not policy.network)
        isolation = {
            "namespaces": False,
            "network": not policy.network,
            "ruleset": ruleset,
            "rules": _rules(policy, private=False),
            "families": (_AF_INET, _AF_INET6, _AF_NETLINK) if policy.network else (),
        }
        gaps = [
            f"namespaces ({reason})",
            "metadata of readable files (chmod, utime)",
            "names, priorities and limits of other processes",
            "System V IPC",
        ]
        if abi() < _SIGNALS_ABI:
            gaps.append("signals to the user's other processes")
        if os.getuid() == 0 and policy.limits.processes is not None:
            gaps.append("the limit on processes")
        return Launch(tuple(argv), f"{self.name}, seccomp", isolation, (ruleset,), tuple(gaps))


def _ruleset(*, restrict_tcp: bool) -> int:
    from py_landlock import ABIVersion, RulesetAttr, create_ruleset
    from py_landlock.abi import get_supported_fs, get_supported_net, get_supported_scope
    from py_landlock.errors import LandlockError

    version = ABIVersion(abi())
    net = int(get_supported_net(version)) if restrict_tcp else 0
    try:
        return int(create_ruleset(RulesetAttr(int(get_supported_fs(version)), net, int(get_supported_scope(version)))))
    except LandlockError as error:
        raise SandboxError(f"the kernel refuses a Landlock ruleset: {error}") from None


def _rules(policy: Policy, *, private: bool) -> list[tuple[str, int]]:
    """(path, rights) of all that is granted; ``private``: /dev and /proc are the sandbox's own."""
    from py_landlock import ABIVersion, AccessFs
    from py_landlock.abi import get_supported_fs

    supported = get_supported_fs(ABIVersion(abi()))
    read = AccessFs.EXECUTE | AccessFs.READ_FILE | AccessFs.READ_DIR
    # No device files: root could make one for the disk. No ioctl on devices but terminals.
    write = supported & ~(AccessFs.MAKE_CHAR | AccessFs.MAKE_BLOCK | AccessFs.IOCTL_DEV)
    device = (AccessFs.READ_FILE | AccessFs.WRITE_FILE | AccessFs.IOCTL_DEV) & supported
    rules = [(str(tree.resolve()), int(read)) for tree in trees.readable_trees(policy)]
    rules += [(str(tree.resolve()), int(write)) for tree in trees.writable_trees(policy)]
    rules += [(f"/dev/{name}", int(device)) for name in _DEVICES]
    rules.append(("/proc", int(AccessFs.READ_FILE | AccessFs.READ_DIR)))
    if private:
        # Both are the sandbox's own. What lies below /tmp and is not writable is held by its read-only mount.
        rules += [("/dev/shm", int(write)), ("/tmp", int(write))]  # noqa: S108
        rules.append(("/dev/pts", int(device | AccessFs.READ_DIR)))
    return rules


def _layout(
    policy: Policy, environment: Mapping[str, str]
) -> tuple[list[tuple[str, str, bool]], list[tuple[str, str]]]:
    """What the private root is made of: (source, target, writable), parents first; and symbolic links."""
    wanted: dict[Path, bool] = {}
    links: list[tuple[str, str]] = []
    named = [(tree, False) for tree in trees.readable_trees(policy)]
    named += [(tree, True) for tree in trees.writable_trees(policy)]
    for tree, writable in named:
        real = tree.resolve()
        wanted[real] = writable or wanted.get(real, False)
        if real != tree:
            links.append((str(tree), str(real)))
    kept: dict[Path, bool] = {}
    for path in sorted(wanted, key=lambda tree: len(tree.parts)):
        around = next((kept[parent] for parent in path.parents if parent in kept), None)
        if around != wanted[path]:
            kept[path] = wanted[path]
    binds = [(str(path), str(path), writable) for path, writable in kept.items()]
    return [(_temp_source(kept, environment), "/tmp", True), *binds], links  # noqa: S108


def _temp_source(kept: Mapping[Path, bool], environment: Mapping[str, str]) -> str:
    """What the command sees as /tmp: its own TMPDIR, or ("") a new file system in memory.

    The latter where a tree of the policy lies in the real /tmp: its mount point would else be made in TMPDIR.
    """
    temp = Path(environment.get("TMPDIR") or "/nonexistent").resolve()
    owned = any(writable and temp.is_relative_to(path) for path, writable in kept.items())
    crowded = any(path.is_relative_to("/tmp") for path in kept)  # noqa: S108
    return str(temp) if owned and temp.is_dir() and not crowded else ""


def user_processes() -> int:
    """Processes and threads that this user runs now, by /proc."""
    user, total = os.getuid(), 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == user:
                    total += (entry / "task").stat().st_nlink - 2
            except OSError:
                continue
    return total


def kernel_limits(policy: Policy) -> dict[str, Any]:
    """The limits as the launcher sets them: RLIMIT_NPROC counts all of the user's processes, and does not hold root."""
    limits = policy.limits
    user = None if limits.processes is None or os.getuid() == 0 else user_processes() + limits.processes
    return {
        "memory": limits.memory,
        "processes": limits.processes,
        "user_processes": user,
        "file_size": limits.file_size,
        "cpu_seconds": limits.cpu_seconds,
    }
