"""macOS: sandbox-exec with a profile of our own (Apple's seatbelt; deprecated by Apple, used by every browser)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nightcrew.sandbox import trees
from nightcrew.sandbox.process import Policy
from nightcrew.sandbox.protocol import Launch

_PROGRAM = Path("/usr/bin/sandbox-exec")
_SYSTEM = ("/System", "/Library", "/private/etc", "/private/var/db/timezone", "/usr", "/bin", "/sbin", "/opt")
_BASE = """(version 1)
(deny default)
(allow process-fork process-exec)
(allow signal (target same-sandbox))
(allow sysctl-read)
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
(allow file-read-metadata)
(allow file-read* file-write-data file-ioctl (literal "/dev/null") (literal "/dev/zero") (literal "/dev/tty"))
(allow file-read* (literal "/") (literal "/dev/random") (literal "/dev/urandom") (subpath "/dev/fd"))
"""


class Seatbelt:
    """Holds a command with sandbox-exec(1)."""

    name = "seatbelt"

    @staticmethod
    def installed() -> bool:
        """Whether this macOS has sandbox-exec."""
        return _PROGRAM.exists()

    def prepare(self, argv: Sequence[str], *, cwd: Path, policy: Policy, environment: Mapping[str, str]) -> Launch:  # noqa: ARG002
        """See ``Sandbox``."""
        trees.check(policy)
        gaps = ("processes that leave their group outlive the command", "the limit on memory")
        return Launch((str(_PROGRAM), "-p", profile(policy), *argv), self.name, not_enforced=gaps)


def profile(policy: Policy) -> str:
    """The seatbelt profile of ``policy``, in its Scheme-like language; later rules win."""
    readable = [*map(Path, _SYSTEM), *trees.readable_trees(policy)]
    lines = [f"(allow file-read* file-map-executable {_subpath(tree)})" for tree in readable]
    lines += [f"(allow file-read* file-write* {_subpath(tree)})" for tree in trees.writable_trees(policy)]
    if policy.network:
        lines.append(
            '(allow network-outbound (remote ip "*:*")) (allow network-inbound (local ip "*:*")) (allow system-socket)'
        )
    elif policy.port is not None:
        lines.append(f'(allow network-outbound (remote ip "localhost:{policy.port}")) (allow system-socket)')
    return _BASE + "\n".join(lines) + "\n"


def _subpath(tree: Path) -> str:
    quoted = str(tree.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    return f'(subpath "{quoted}")'
